//! Documents of providers arrive (spec 40 §4.3), and are cancelled (§7.4).

use golem_model::payment::peer::{AcceptRejectError, CancelError, CancelInvoice, SendError};
use golem_model::payment::{DebitNote, DocumentStatus, EventType, Invoice, Rejection};
use golem_model::{Caller, NodeId};
use golem_payment_core::document::{self as rules, Kind, Step};

use super::Service;
use super::issue::{cancel_stored, store_invoice, store_note, stored};
use crate::error::OpError;
use crate::metrics;
use crate::store::agreement::Agreement;
use crate::store::event::{self, Subject};
use crate::store::{Side, document};

/// Longest id of a foreign document.
const ID_LEN_MAX: usize = 50;
/// Activities that one invoice may name.
const ACTIVITIES_MAX: usize = 10_000;
/// Longest usage vector of a note, as JSON.
const USAGE_LEN_MAX: usize = 64 * 1024;

fn bad(text: impl Into<String>) -> OpError {
    OpError::BadRequest(text.into())
}

impl Service {
    pub(crate) async fn note_arrives(&self, caller: &Caller, note: DebitNote) -> Result<(), SendError> {
        metrics::NOTE_RECEIVED_CALL.add_one();
        let owner = note.recipient_id;
        if self.store_arrived_note(caller, note).await? {
            metrics::NOTE_RECEIVED.add_one();
            self.wake(owner, Kind::DebitNote);
        }
        Ok(())
    }

    async fn store_arrived_note(&self, caller: &Caller, note: DebitNote) -> Result<bool, OpError> {
        check_id(&note.debit_note_id)?;
        note.total_amount_due.money()?;
        if note.usage_counter_vector.as_ref().is_some_and(|usage| usage.to_string().len() > USAGE_LEN_MAX) {
            return Err(bad(format!("the usage vector has more than {USAGE_LEN_MAX} bytes")));
        }
        let owner = note.recipient_id;
        let agreement = self.issuers_agreement(caller, owner, note.issuer_id, &note.agreement_id).await?;
        let activity = std::slice::from_ref(&note.activity_id);
        self.check_activities(owner, activity, &note.agreement_id, Side::Requestor).await?;
        let now = self.document_time();
        self.store
            .write(move |db| {
                if let Some(known) = document::note(db, owner, &note.debit_note_id)? {
                    return if same_note(&known.document, &note) {
                        Ok(false)
                    } else {
                        Err(bad("a debit note with the same id and different content already exists"))
                    };
                }
                let (issuer_id, recipient_id, payee_addr, payer_addr, payment_platform) =
                    document::addressed(&agreement);
                let note = DebitNote {
                    issuer_id,
                    recipient_id,
                    payee_addr,
                    payer_addr,
                    payment_platform,
                    timestamp: now,
                    status: DocumentStatus::Received,
                    ..note
                };
                store_note(db, &agreement, note)?;
                Ok(true)
            })
            .await
    }

    pub(crate) async fn invoice_arrives(&self, caller: &Caller, invoice: Invoice) -> Result<(), SendError> {
        metrics::INVOICE_RECEIVED_CALL.add_one();
        let owner = invoice.recipient_id;
        if self.store_arrived_invoice(caller, invoice).await? {
            metrics::INVOICE_RECEIVED.add_one();
            self.wake(owner, Kind::Invoice);
        }
        Ok(())
    }

    async fn store_arrived_invoice(&self, caller: &Caller, invoice: Invoice) -> Result<bool, OpError> {
        check_id(&invoice.invoice_id)?;
        invoice.amount.money()?;
        if invoice.activity_ids.len() > ACTIVITIES_MAX {
            return Err(bad(format!("an invoice names at most {ACTIVITIES_MAX} activities")));
        }
        let owner = invoice.recipient_id;
        let agreement = self.issuers_agreement(caller, owner, invoice.issuer_id, &invoice.agreement_id).await?;
        self.check_activities(owner, &invoice.activity_ids, &invoice.agreement_id, Side::Requestor).await?;
        let now = self.document_time();
        self.store
            .write(move |db| {
                if let Some(known) = document::invoice(db, owner, &invoice.invoice_id)? {
                    let other = "Data integrity error: Invoice with the same id and different content already exists.";
                    return if same_invoice(&known.document, &invoice) {
                        Ok(false)
                    } else {
                        Err(OpError::Internal(other.to_owned()))
                    };
                }
                let mut row = stored(db, &agreement)?;
                row.totals.receive_invoice(invoice.amount.money()?);
                let (issuer_id, recipient_id, payee_addr, payer_addr, payment_platform) = document::addressed(&row);
                let invoice = Invoice {
                    issuer_id,
                    recipient_id,
                    payee_addr,
                    payer_addr,
                    payment_platform,
                    timestamp: now,
                    status: DocumentStatus::Received,
                    ..invoice
                };
                store_invoice(db, &row, &invoice)?;
                Ok(true)
            })
            .await
    }

    /// The agreement a document names, in which `owner` rents of the caller.
    async fn issuers_agreement(
        &self,
        caller: &Caller,
        owner: NodeId,
        issuer: NodeId,
        agreement: &str,
    ) -> Result<Agreement, OpError> {
        let agreement = self.agreement(owner, agreement, Side::Requestor).await?;
        if caller.node_id() != Some(agreement.peer) || issuer != agreement.peer {
            return Err(bad("Invalid sender node ID"));
        }
        Ok(agreement)
    }

    /// The issuer takes an invoice back.
    pub(crate) async fn invoice_is_cancelled(
        &self,
        caller: &Caller,
        message: CancelInvoice,
    ) -> Result<(), CancelError> {
        metrics::INVOICE_CANCELLED_BY_PEER_CALL.add_one();
        let CancelInvoice { invoice_id, recipient_id: owner } = message;
        let (caller, now) = (caller.node_id(), self.now());
        let cancel = move |db: &golem_store::rusqlite::Connection| {
            let stored = document::invoice(db, owner, &invoice_id)?;
            let stored = stored.filter(|stored| stored.role == Side::Requestor).ok_or(OpError::NotFound)?;
            if caller != Some(stored.document.issuer_id) {
                return Err(OpError::Forbidden);
            }
            cancel_stored(db, owner, &invoice_id, Side::Requestor, now)
        };
        self.store.write(move |db| cancel(db)).await?;
        metrics::INVOICE_CANCELLED_BY_PEER.add_one();
        self.wake(owner, Kind::Invoice);
        Ok(())
    }

    /// The issuer takes a note back; official daemons never do.
    pub(crate) async fn note_is_cancelled(&self, caller: &Caller, id: String) -> Result<(), CancelError> {
        let (peer, now) = (caller.node_id().ok_or(CancelError::Forbidden)?, self.now());
        let cancel = move |db: &golem_store::rusqlite::Connection| {
            let (owner, note) = document::note_of_peer(db, &id, peer, Side::Requestor)?.ok_or(OpError::NotFound)?;
            if rules::cancelled_by_peer(note.document.status)? == Step::Change {
                document::set_status(db, Kind::DebitNote, owner, &id, DocumentStatus::Cancelled)?;
                record_note_event(db, owner, &id, &note, EventType::Cancelled, None, now)?;
            }
            Ok::<_, OpError>(owner)
        };
        let owner = self.store.write(move |db| cancel(db)).await?;
        self.wake(owner, Kind::DebitNote);
        Ok(())
    }

    /// The requestor rejects a note; official daemons never do.
    pub(crate) async fn note_is_rejected(
        &self,
        caller: &Caller,
        id: String,
        rejection: Rejection,
    ) -> Result<(), AcceptRejectError> {
        let (peer, now) = (caller.node_id().ok_or(AcceptRejectError::Forbidden)?, self.now());
        let reject = move |db: &golem_store::rusqlite::Connection| {
            let (owner, note) = document::note_of_peer(db, &id, peer, Side::Provider)?.ok_or(OpError::NotFound)?;
            if rules::rejected_by_peer(Kind::DebitNote, note.document.status)? == Step::Change {
                document::set_status(db, Kind::DebitNote, owner, &id, DocumentStatus::Rejected)?;
                record_note_event(db, owner, &id, &note, EventType::Rejected, Some(&rejection), now)?;
            }
            Ok::<_, OpError>(owner)
        };
        let owner = self.store.write(move |db| reject(db)).await?;
        self.wake(owner, Kind::DebitNote);
        Ok(())
    }
}

fn record_note_event(
    db: &golem_store::rusqlite::Connection,
    owner: NodeId,
    id: &str,
    note: &document::Stored<DebitNote>,
    event: EventType,
    rejection: Option<&Rejection>,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(), OpError> {
    let session = note.session.as_deref();
    let subject = Subject { owner, kind: Kind::DebitNote, document: id, role: note.role, session };
    event::record(db, subject, event, rejection, now)?;
    Ok(())
}

fn check_id(id: &str) -> Result<(), OpError> {
    if id.is_empty() || id.chars().count() > ID_LEN_MAX {
        return Err(bad(format!("the id of a document has 1 to {ID_LEN_MAX} characters")));
    }
    Ok(())
}

/// Whether a note says again what was stored; each side keeps its own time and status.
fn same_note(known: &DebitNote, new: &DebitNote) -> bool {
    known.agreement_id == new.agreement_id
        && known.activity_id == new.activity_id
        && known.total_amount_due == new.total_amount_due
        && known.usage_counter_vector == new.usage_counter_vector
        && same_time(known.payment_due_date, new.payment_due_date)
}

fn same_invoice(known: &Invoice, new: &Invoice) -> bool {
    known.agreement_id == new.agreement_id
        && known.activity_ids == new.activity_ids
        && known.amount == new.amount
        && same_time(Some(known.payment_due_date), Some(new.payment_due_date))
}

/// Stored times have microseconds.
fn same_time(a: Option<chrono::DateTime<chrono::Utc>>, b: Option<chrono::DateTime<chrono::Utc>>) -> bool {
    a.map(|time| time.timestamp_micros()) == b.map(|time| time.timestamp_micros())
}
