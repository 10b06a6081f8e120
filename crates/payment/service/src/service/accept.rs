//! The requestor's client accepts and rejects (spec 40 §4.4, §4.5).

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use golem_model::payment::{Acceptance, DocumentStatus, EventType, Rejection};
use golem_model::{Amount, NodeId};
use golem_payment_core::books::{BooksError, Totals};
use golem_payment_core::cycle::{Cycle, Defaults};
use golem_payment_core::document::{self as rules, Kind, Step};
use golem_store::rusqlite::Connection;
use tracing::info;

use super::{PEER_TIME_MAX, Service};
use crate::arrow::arrow;
use crate::config::Settle;
use crate::error::OpError;
use crate::metrics;
use crate::store::event::{self, Subject};
use crate::store::outbox::{self, Notice};
use crate::store::{Side, agreement, allocation, cycle, document};

/// What follows an acceptance.
#[derive(Debug)]
struct Accepted {
    peer: NodeId,
    platform: String,
}

/// What the writer needs to know beside the document.
#[derive(Clone, Copy, Debug)]
struct Terms {
    now: DateTime<Utc>,
    /// When the sync job takes the notice over, should the direct message never end.
    first_retry: DateTime<Utc>,
    cycle: Defaults,
}

impl Service {
    fn terms(&self) -> Terms {
        let now = self.now();
        let direct = TimeDelta::from_std(PEER_TIME_MAX + self.config.sync.initial).unwrap_or(TimeDelta::minutes(2));
        Terms { now, first_retry: now + direct, cycle: self.config.cycle }
    }

    pub(crate) async fn accept_note(
        self: &Arc<Self>,
        owner: NodeId,
        id: &str,
        acceptance: Acceptance,
        time: Duration,
    ) -> Result<(), OpError> {
        metrics::NOTE_ACCEPTED_CALL.add_one();
        let (key, terms) = (id.to_owned(), self.terms());
        let accepted = self.store.write(move |db| accept_note(db, owner, &key, &acceptance, terms)).await?;
        let Some(accepted) = accepted else { return Ok(()) };
        metrics::NOTE_ACCEPTED.add_one();
        self.accepted(owner, Kind::DebitNote, &accepted);
        arrow!("accept-stored");
        self.tell_within(
            time,
            "Timeout accepting Debit Note on remote Node.",
            (owner, accepted.peer),
            Notice::AcceptNote,
            id,
        )
        .await
    }

    pub(crate) async fn accept_invoice(
        self: &Arc<Self>,
        owner: NodeId,
        id: &str,
        acceptance: Acceptance,
        time: Duration,
    ) -> Result<(), OpError> {
        metrics::INVOICE_ACCEPTED_CALL.add_one();
        let (key, terms) = (id.to_owned(), self.terms());
        let accepted = self.store.write(move |db| accept_invoice(db, owner, &key, &acceptance, terms)).await?;
        let Some(accepted) = accepted else { return Ok(()) };
        metrics::INVOICE_ACCEPTED.add_one();
        self.accepted(owner, Kind::Invoice, &accepted);
        arrow!("accept-stored");
        self.tell_within(
            time,
            "Timeout accepting Invoice on remote Node.",
            (owner, accepted.peer),
            Notice::AcceptInvoice,
            id,
        )
        .await
    }

    /// Tells everybody on this node.
    fn accepted(self: &Arc<Self>, owner: NodeId, kind: Kind, accepted: &Accepted) {
        self.live.changed(owner);
        self.wake(owner, kind);
        self.sync_changed.notify_one();
        match self.config.settle {
            Settle::AtOnce => self.settle_soon(owner, accepted.platform.clone()),
            Settle::Cycle => self.cycles_changed.notify_one(),
        }
    }

    pub(crate) async fn reject_invoice(
        self: &Arc<Self>,
        owner: NodeId,
        id: &str,
        rejection: Rejection,
        time: Duration,
    ) -> Result<(), OpError> {
        metrics::INVOICE_REJECTED_CALL.add_one();
        let (key, terms) = (id.to_owned(), self.terms());
        let peer = self.store.write(move |db| reject_invoice(db, owner, &key, &rejection, terms)).await?;
        let Some(peer) = peer else { return Ok(()) };
        metrics::INVOICE_REJECTED.add_one();
        self.wake(owner, Kind::Invoice);
        self.sync_changed.notify_one();
        let late = "Timeout rejecting Invoice on remote Node.";
        self.tell_within(time, late, (owner, peer), Notice::RejectInvoice, id).await
    }

    /// Sends a notice of the outbox and waits for the peer as long as the client wants. A peer that is away is told
    /// later by the sync job; the client need not know.
    async fn tell_within(
        self: &Arc<Self>,
        time: Duration,
        late: &'static str,
        parties: (NodeId, NodeId),
        notice: Notice,
        object: &str,
    ) -> Result<(), OpError> {
        let (service, object) = (Arc::clone(self), object.to_owned());
        let tell = async move {
            let told = service.tell(parties, notice, &object).await;
            arrow!("accept-told");
            match told {
                Ok(()) => Ok(()),
                Err(error) => {
                    service.sync_takes_over(parties).await;
                    if error.is_unreachable() { Ok(()) } else { Err(error.into()) }
                }
            }
        };
        self.within(time, late, tell).await
    }
}

/// Steps 1 to 9 of the specification's table; nothing when there is nothing to do.
fn accept_note(
    db: &Connection,
    owner: NodeId,
    id: &str,
    acceptance: &Acceptance,
    terms: Terms,
) -> Result<Option<Accepted>, OpError> {
    let stored = document::note(db, owner, id)?.ok_or(OpError::NotFound)?;
    let note = &stored.document;
    if stored.role == Side::Provider && note.status != DocumentStatus::Issued {
        return Err(OpError::NotFound);
    }
    if acceptance.total_amount_accepted != note.total_amount_due {
        return Err(OpError::BadRequest("Invalid amount accepted".to_owned()));
    }
    if rules::accept(Kind::DebitNote, note.status)? == Step::AlreadyDone || overtaken(db, owner, note)? {
        return Ok(None);
    }
    let mut row = agreement::get(db, owner, &note.agreement_id)?.ok_or(OpError::NotFound)?;
    let mut activity = agreement::activity(db, owner, &note.activity_id)?.ok_or(OpError::NotFound)?;
    let amount = note.total_amount_due.money()?;
    let to_pay = Totals::accept_note(&mut row.totals, &mut activity.totals, amount)?;
    charge(db, owner, &acceptance.allocation_id, to_pay, &note.agreement_id, Some(&note.activity_id), terms.now)?;
    agreement::save(db, owner, &row.id, &row.totals, terms.now)?;
    agreement::save_activity(db, owner, &activity.id, &activity.totals, terms.now)?;

    let status = rules::after_accept(amount, activity.totals.paid);
    let session = stored.session.as_deref();
    let subject = Subject { owner, kind: Kind::DebitNote, document: id, role: Side::Requestor, session };
    record_accepted(db, subject, status, terms.now)?;
    outbox::add(db, (owner, row.peer), Notice::AcceptNote, id, terms.first_retry)?;
    hurry(db, owner, &row.platform, note.payment_due_date, terms)?;
    Ok(Some(Accepted { peer: row.peer, platform: row.platform }))
}

/// Whether an invoice of the agreement was answered already: then the note is in it, or not wanted (spec 40 §4.5 #4).
fn overtaken(db: &Connection, owner: NodeId, note: &golem_model::payment::DebitNote) -> Result<bool, OpError> {
    let invoices = document::invoices_of_agreement(db, owner, &note.agreement_id)?;
    let Some(answered) = invoices.iter().find(|invoice| invoice.document.status != DocumentStatus::Received) else {
        return Ok(false);
    };
    let status = answered.document.status;
    if status == DocumentStatus::Issued {
        return Err(rules::Refusal::Illegal(status).into());
    }
    info!(note = %note.debit_note_id, agreement = %note.agreement_id, invoice = %status, "late debit note is not paid");
    Ok(true)
}

fn accept_invoice(
    db: &Connection,
    owner: NodeId,
    id: &str,
    acceptance: &Acceptance,
    terms: Terms,
) -> Result<Option<Accepted>, OpError> {
    let stored = document::invoice(db, owner, id)?.ok_or(OpError::NotFound)?;
    let invoice = &stored.document;
    if stored.role == Side::Provider && invoice.status != DocumentStatus::Issued {
        return Err(OpError::NotFound);
    }
    if acceptance.total_amount_accepted != invoice.amount {
        return Err(OpError::BadRequest("Invalid amount accepted".to_owned()));
    }
    if rules::accept(Kind::Invoice, invoice.status)? == Step::AlreadyDone {
        return Ok(None);
    }
    let mut row = agreement::get(db, owner, &invoice.agreement_id)?.ok_or(OpError::NotFound)?;
    let amount = invoice.amount.money()?;
    if amount < row.totals.accepted {
        let accepted = row.totals.accepted;
        return Err(OpError::BadRequest(format!(
            "Invoice is smaller than agreement.total_amount_accepted. invoice_id={id}, invoice_amount={amount}, \
             total_amount_accepted={accepted}"
        )));
    }
    let to_pay = row.totals.accept_invoice(amount);
    charge(db, owner, &acceptance.allocation_id, to_pay, &invoice.agreement_id, None, terms.now)?;
    agreement::save(db, owner, &row.id, &row.totals, terms.now)?;

    let status = rules::after_accept(amount, row.totals.paid);
    let session = stored.session.as_deref();
    let subject = Subject { owner, kind: Kind::Invoice, document: id, role: Side::Requestor, session };
    record_accepted(db, subject, status, terms.now)?;
    outbox::remove(db, (owner, row.peer), Notice::RejectInvoice, id)?;
    outbox::add(db, (owner, row.peer), Notice::AcceptInvoice, id, terms.first_retry)?;
    // Many agents date an invoice at the day of its issue; paying each at once would waste gas.
    hurry(db, owner, &row.platform, None, terms)?;
    Ok(Some(Accepted { peer: row.peer, platform: row.platform }))
}

/// Takes `amount` from an allocation.
fn charge(
    db: &Connection,
    owner: NodeId,
    id: &str,
    amount: Amount,
    agreement: &str,
    activity: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), OpError> {
    let found = allocation::get(db, owner, id)?.filter(|found| !found.released && found.timeout > now);
    let mut found = found.ok_or_else(|| OpError::BadRequest(format!("Allocation {id} not found")))?;
    found.funds.charge(amount).inspect_err(|error| {
        if matches!(error, BooksError::NotEnough { .. }) {
            metrics::NOT_ENOUGH_FUNDS.add_one();
        }
    })?;
    if amount.is_zero() {
        return Ok(());
    }
    allocation::save(db, &found)?;
    let mut row = allocation::expenditure(db, id, agreement, activity)?;
    row.accept(amount)?;
    allocation::save_expenditure(db, id, agreement, activity, &row)?;
    Ok(())
}

/// Sets the status after an acceptance and tells clients.
pub(super) fn record_accepted(
    db: &Connection,
    subject: Subject<'_>,
    status: DocumentStatus,
    now: DateTime<Utc>,
) -> Result<(), OpError> {
    document::set_status(db, subject.kind, subject.owner, subject.document, status)?;
    event::record(db, subject, EventType::Accepted, None, now)?;
    if status == DocumentStatus::Settled {
        event::record(db, subject, EventType::Settled, None, now)?;
    }
    Ok(())
}

/// Makes sure that the next run is early enough for a due date.
fn hurry(
    db: &Connection,
    owner: NodeId,
    platform: &str,
    due: Option<DateTime<Utc>>,
    terms: Terms,
) -> Result<(), OpError> {
    let known = cycle::get(db, owner, platform)?;
    let is_new = known.is_none();
    let mut row = match known {
        Some(row) => row,
        None => Cycle::default_of(platform, &terms.cycle, terms.now)?,
    };
    let sooner = due.is_some_and(|due| row.hurry(due, terms.now));
    if sooner || is_new {
        cycle::save(db, owner, platform, &row)?;
    }
    Ok(())
}

fn reject_invoice(
    db: &Connection,
    owner: NodeId,
    id: &str,
    rejection: &Rejection,
    terms: Terms,
) -> Result<Option<NodeId>, OpError> {
    let stored = document::invoice(db, owner, id)?.ok_or(OpError::NotFound)?;
    let invoice = &stored.document;
    if stored.role == Side::Provider && invoice.status != DocumentStatus::Issued {
        return Err(OpError::NotFound);
    }
    if rules::reject(invoice.status)? == Step::AlreadyDone {
        return Ok(None);
    }
    document::set_status(db, Kind::Invoice, owner, id, DocumentStatus::Rejected)?;
    let session = stored.session.as_deref();
    let subject = Subject { owner, kind: Kind::Invoice, document: id, role: Side::Requestor, session };
    event::record(db, subject, EventType::Rejected, Some(rejection), terms.now)?;
    outbox::add(db, (owner, invoice.issuer_id), Notice::RejectInvoice, id, terms.first_retry)?;
    Ok(Some(invoice.issuer_id))
}
