//! The provider's client issues, sends and cancels documents (spec 40 §4.2).

use std::sync::Arc;
use std::time::Duration;

use golem_model::NodeId;
use golem_model::payment::peer::{CancelInvoice, SendDebitNote, SendInvoice};
use golem_model::payment::{DebitNote, DocumentStatus, EventType, Invoice, NewDebitNote, NewInvoice};
use golem_payment_core::books::Totals;
use golem_payment_core::document::{self as rules, Kind, Step};
use golem_store::StoreError;
use golem_store::rusqlite::Connection;

use super::Service;
use super::deliver::PeerError;
use super::parties::ActivityLookup;
use crate::error::OpError;
use crate::metrics;
use crate::store::agreement::{self, Agreement};
use crate::store::event::{self, Subject};
use crate::store::{Side, document};

/// Activities that one invoice may name.
const ACTIVITIES_MAX: usize = 10_000;

impl Service {
    pub(crate) async fn issue_note(&self, owner: NodeId, new: NewDebitNote) -> Result<DebitNote, OpError> {
        new.total_amount_due.money()?;
        let agreement_id = self.agreement_provided_by(owner, &new.activity_id).await?;
        let agreement = self.provided(owner, &agreement_id).await?;
        let now = self.document_time();
        let (issuer_id, recipient_id, payee_addr, payer_addr, payment_platform) = document::addressed(&agreement);
        let note = DebitNote {
            debit_note_id: uuid::Uuid::new_v4().to_string(),
            issuer_id,
            recipient_id,
            payee_addr,
            payer_addr,
            payment_platform,
            previous_debit_note_id: None,
            timestamp: now,
            agreement_id,
            activity_id: new.activity_id,
            total_amount_due: new.total_amount_due,
            usage_counter_vector: new.usage_counter_vector,
            payment_due_date: new.payment_due_date,
            status: DocumentStatus::Issued,
        };
        let note = self.store.write(move |db| store_note(db, &agreement, note)).await?;
        metrics::NOTE_ISSUED.add_one();
        self.wake(owner, Kind::DebitNote);
        Ok(note)
    }

    pub(crate) async fn issue_invoice(&self, owner: NodeId, new: NewInvoice) -> Result<Invoice, OpError> {
        new.amount.money()?;
        let activity_ids = new.activity_ids.unwrap_or_default();
        if activity_ids.len() > ACTIVITIES_MAX {
            return Err(OpError::BadRequest(format!("an invoice names at most {ACTIVITIES_MAX} activities")));
        }
        let agreement = self.provided(owner, &new.agreement_id).await?;
        self.check_activities(owner, &activity_ids, &new.agreement_id, Side::Provider).await?;
        let now = self.document_time();
        let (issuer_id, recipient_id, payee_addr, payer_addr, payment_platform) = document::addressed(&agreement);
        let invoice = Invoice {
            invoice_id: uuid::Uuid::new_v4().to_string(),
            issuer_id,
            recipient_id,
            payee_addr,
            payer_addr,
            payment_platform,
            timestamp: now,
            agreement_id: new.agreement_id,
            activity_ids,
            amount: new.amount,
            payment_due_date: new.payment_due_date,
            status: DocumentStatus::Issued,
        };
        let issued = invoice.clone();
        let change = move |db: &_| {
            let mut row = stored(db, &agreement)?;
            row.totals.issue_invoice(invoice.amount.money()?)?;
            store_invoice(db, &row, &invoice)
        };
        self.store.write(move |db| change(db)).await?;
        metrics::INVOICE_ISSUED.add_one();
        self.wake(owner, Kind::Invoice);
        Ok(issued)
    }

    /// Every activity of an invoice is known and of its agreement.
    pub(super) async fn check_activities(
        &self,
        owner: NodeId,
        activities: &[String],
        agreement: &str,
        side: Side,
    ) -> Result<(), OpError> {
        for activity in activities {
            match self.agreement_of_activity(owner, activity, side).await {
                Ok(of) if of == agreement => {}
                Ok(of) => {
                    let text = format!("Activity {activity} belongs to agreement {of} not {agreement}");
                    return Err(OpError::BadRequest(text));
                }
                Err(ActivityLookup::Unknown(_)) => {
                    return Err(OpError::BadRequest(format!("Activity not found: {activity}")));
                }
                Err(ActivityLookup::Failed(text)) => {
                    return Err(OpError::Internal(format!("External service error: Activity service error: {text}")));
                }
            }
        }
        Ok(())
    }

    /// Sends a note that was not sent before.
    pub(crate) async fn send_note(self: &Arc<Self>, owner: NodeId, id: &str, time: Duration) -> Result<(), OpError> {
        let key = id.to_owned();
        let note = self.store.read(move |db| Ok::<_, StoreError>(document::note(db, owner, &key)?)).await?;
        let note = note.ok_or(OpError::NotFound)?.document;
        if note.status != DocumentStatus::Issued {
            return Ok(());
        }
        metrics::NOTE_SENT_CALL.add_one();
        let service = Arc::clone(self);
        let send = async move {
            let (peer, id) = (note.recipient_id, note.debit_note_id.clone());
            service.deliver(owner, peer, SendDebitNote(note)).await?;
            metrics::NOTE_SENT.add_one();
            service.mark_received(owner, Kind::DebitNote, id).await
        };
        self.within(time, "Timeout sending DebitNote to remote Node.", send).await
    }

    /// Sends an invoice that was not sent before.
    pub(crate) async fn send_invoice(self: &Arc<Self>, owner: NodeId, id: &str, time: Duration) -> Result<(), OpError> {
        let key = id.to_owned();
        let invoice = self.store.read(move |db| Ok::<_, StoreError>(document::invoice(db, owner, &key)?)).await?;
        let invoice = invoice.ok_or(OpError::NotFound)?.document;
        if invoice.status != DocumentStatus::Issued {
            return Ok(());
        }
        metrics::INVOICE_SENT_CALL.add_one();
        let service = Arc::clone(self);
        let send = async move {
            let (peer, id) = (invoice.recipient_id, invoice.invoice_id.clone());
            service.deliver(owner, peer, SendInvoice(invoice)).await?;
            metrics::INVOICE_SENT.add_one();
            service.mark_received(owner, Kind::Invoice, id).await
        };
        self.within(time, "Timeout sending Invoice to remote Node.", send).await
    }

    /// The peer has the document. It may have accepted it already.
    async fn mark_received(&self, owner: NodeId, kind: Kind, id: String) -> Result<(), OpError> {
        let change = move |db: &Connection| {
            let status = match kind {
                Kind::DebitNote => document::note(db, owner, &id)?.map(|note| note.document.status),
                Kind::Invoice => document::invoice(db, owner, &id)?.map(|invoice| invoice.document.status),
            };
            if status == Some(DocumentStatus::Issued) {
                document::set_status(db, kind, owner, &id, DocumentStatus::Received)?;
            }
            Ok(())
        };
        self.store.write(move |db| change(db)).await
    }

    /// Takes an invoice back: first at the requestor, who may have accepted it.
    pub(crate) async fn cancel_invoice(
        self: &Arc<Self>,
        owner: NodeId,
        id: &str,
        time: Duration,
    ) -> Result<(), OpError> {
        let key = id.to_owned();
        let invoice = self.store.read(move |db| Ok::<_, StoreError>(document::invoice(db, owner, &key)?)).await?;
        let invoice = invoice.filter(|invoice| invoice.role == Side::Provider).ok_or(OpError::NotFound)?.document;
        if rules::cancel(invoice.status)? == Step::AlreadyDone {
            return Ok(());
        }
        metrics::INVOICE_CANCELLED_CALL.add_one();
        let service = Arc::clone(self);
        let cancel = async move {
            let Invoice { invoice_id, recipient_id, status, .. } = invoice;
            let message = CancelInvoice { invoice_id: invoice_id.clone(), recipient_id };
            match service.deliver(owner, recipient_id, message).await {
                // One that never arrived there is cancelled all the same.
                Ok(()) => {}
                Err(PeerError::NotFound) if status == DocumentStatus::Issued => {}
                Err(PeerError::Conflict) => return Err(rules::Refusal::AcceptedByRequestor.into()),
                Err(error) => return Err(error.into()),
            }
            let now = service.now();
            service.store.write(move |db| cancel_stored(db, owner, &invoice_id, Side::Provider, now)).await
        };
        self.within(time, "Timeout canceling Invoice on remote Node.", cancel).await?;
        metrics::INVOICE_CANCELLED.add_one();
        self.wake(owner, Kind::Invoice);
        Ok(())
    }
}

/// The row of an agreement, made if this is its first document.
pub(super) fn stored(db: &Connection, agreement: &Agreement) -> Result<Agreement, OpError> {
    agreement::ensure(db, agreement)?;
    agreement::get(db, agreement.owner, &agreement.id)?.ok_or(OpError::NotFound)
}

/// Stores a note that was issued or received, with all that follows.
pub(super) fn store_note(db: &Connection, agreement: &Agreement, mut note: DebitNote) -> Result<DebitNote, OpError> {
    let mut row = stored(db, agreement)?;
    let (owner, now) = (row.owner, note.timestamp);
    agreement::ensure_activity(db, owner, &note.activity_id, &row.id, now)?;
    let mut activity = agreement::activity(db, owner, &note.activity_id)?.ok_or(OpError::NotFound)?;
    if activity.agreement != row.id {
        let (activity, of, not) = (&note.activity_id, activity.agreement, &row.id);
        return Err(OpError::BadRequest(format!("Activity {activity} belongs to agreement {of} not {not}")));
    }
    Totals::claim_note(&mut row.totals, &mut activity.totals, note.total_amount_due.money()?)?;
    agreement::save(db, owner, &row.id, &row.totals, now)?;
    agreement::save_activity(db, owner, &activity.id, &activity.totals, now)?;
    note.previous_debit_note_id = document::last_note(db, owner, &note.activity_id)?;
    document::insert_note(db, owner, &note)?;
    let subject = Subject {
        owner,
        kind: Kind::DebitNote,
        document: &note.debit_note_id,
        role: row.role,
        session: row.session.as_deref(),
    };
    event::record(db, subject, EventType::Received, None, now)?;
    Ok(note)
}

/// Stores an invoice whose amount is in the totals of `row` already.
pub(super) fn store_invoice(db: &Connection, row: &Agreement, invoice: &Invoice) -> Result<(), OpError> {
    let (owner, now) = (row.owner, invoice.timestamp);
    for activity in &invoice.activity_ids {
        agreement::ensure_activity(db, owner, activity, &row.id, now)?;
    }
    agreement::save(db, owner, &row.id, &row.totals, now)?;
    document::insert_invoice(db, owner, invoice)?;
    let subject = Subject {
        owner,
        kind: Kind::Invoice,
        document: &invoice.invoice_id,
        role: row.role,
        session: row.session.as_deref(),
    };
    event::record(db, subject, EventType::Received, None, now)?;
    Ok(())
}

/// Marks an invoice cancelled; what is due are its notes again.
pub(super) fn cancel_stored(
    db: &Connection,
    owner: NodeId,
    id: &str,
    side: Side,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(), OpError> {
    let stored = document::invoice(db, owner, id)?.filter(|invoice| invoice.role == side).ok_or(OpError::NotFound)?;
    let step = match side {
        Side::Provider => rules::cancel(stored.document.status)?,
        Side::Requestor => rules::cancelled_by_peer(stored.document.status)?,
    };
    if step == Step::AlreadyDone {
        return Ok(());
    }
    document::set_status(db, Kind::Invoice, owner, id, DocumentStatus::Cancelled)?;
    let agreement_id = &stored.document.agreement_id;
    if let Some(mut row) = agreement::get(db, owner, agreement_id)? {
        let notes = agreement::activities_due(db, owner, agreement_id)?.unwrap_or(row.totals.due);
        row.totals.cancel_invoice(notes);
        agreement::save(db, owner, agreement_id, &row.totals, now)?;
    }
    let subject = Subject { owner, kind: Kind::Invoice, document: id, role: side, session: stored.session.as_deref() };
    event::record(db, subject, EventType::Cancelled, None, now)?;
    Ok(())
}
