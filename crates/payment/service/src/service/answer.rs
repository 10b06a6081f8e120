//! Answers of requestors to documents of this node (spec 40 §7.3).

use golem_model::payment::peer::{AcceptDebitNote, AcceptInvoice, AcceptRejectError, RejectInvoiceV2};
use golem_model::payment::{Acceptance, DocumentStatus, EventType};
use golem_model::{Amount, Caller, NodeId};
use golem_payment_core::books::Totals;
use golem_payment_core::document::{self as rules, Kind, Step};
use golem_store::rusqlite::Connection;

use super::Service;
use super::accept::record_accepted;
use crate::error::OpError;
use crate::metrics;
use crate::store::event::{self, Subject};
use crate::store::{Side, agreement, document};

/// Looks at the party and the amount of an acceptance, in this order.
fn check(
    caller: Option<NodeId>,
    recipient: NodeId,
    acceptance: &Acceptance,
    amount: Amount,
) -> Result<(), AcceptRejectError> {
    if caller != Some(recipient) {
        return Err(AcceptRejectError::Forbidden);
    }
    if acceptance.total_amount_accepted != amount {
        let actual = acceptance.total_amount_accepted;
        let text = format!("Invalid amount accepted. Expected: {amount} Actual: {actual}");
        return Err(AcceptRejectError::BadRequest(text));
    }
    Ok(())
}

impl Service {
    pub(crate) async fn note_is_accepted(
        &self,
        caller: &Caller,
        message: AcceptDebitNote,
    ) -> Result<(), AcceptRejectError> {
        metrics::NOTE_ACCEPTED_BY_PEER_CALL.add_one();
        let AcceptDebitNote { debit_note_id: id, acceptance, issuer_id: owner } = message;
        let (caller, now) = (caller.node_id(), self.now());
        let change = move |db: &Connection| {
            let stored = document::note(db, owner, &id)?.filter(|stored| stored.role == Side::Provider);
            let stored = stored.ok_or(OpError::NotFound)?;
            let note = &stored.document;
            check(caller, note.recipient_id, &acceptance, note.total_amount_due)?;
            let step = rules::accepted_by_peer(Kind::DebitNote, note.status)?;
            let mut row = agreement::get(db, owner, &note.agreement_id)?.ok_or(OpError::NotFound)?;
            let mut activity = agreement::activity(db, owner, &note.activity_id)?.ok_or(OpError::NotFound)?;
            let amount = note.total_amount_due.money()?;
            Totals::accept_note(&mut row.totals, &mut activity.totals, amount)?;
            agreement::save(db, owner, &row.id, &row.totals, now)?;
            agreement::save_activity(db, owner, &activity.id, &activity.totals, now)?;
            if step == Step::AlreadyDone {
                // The payment may have come before its acceptance; then only the totals were missing.
                return Ok(false);
            }
            let session = stored.session.as_deref();
            let subject = Subject { owner, kind: Kind::DebitNote, document: &id, role: Side::Provider, session };
            record_accepted(db, subject, rules::after_accept(amount, activity.totals.paid), now)?;
            Ok::<_, OpError>(true)
        };
        if self.store.write(move |db| change(db)).await? {
            metrics::NOTE_ACCEPTED_BY_PEER.add_one();
            self.wake(owner, Kind::DebitNote);
        }
        Ok(())
    }

    pub(crate) async fn invoice_is_accepted(
        &self,
        caller: &Caller,
        message: AcceptInvoice,
    ) -> Result<(), AcceptRejectError> {
        metrics::INVOICE_ACCEPTED_BY_PEER_CALL.add_one();
        let AcceptInvoice { invoice_id: id, acceptance, issuer_id: owner } = message;
        let (caller, now) = (caller.node_id(), self.now());
        let change = move |db: &Connection| {
            let stored = document::invoice(db, owner, &id)?.filter(|stored| stored.role == Side::Provider);
            let stored = stored.ok_or(OpError::NotFound)?;
            let invoice = &stored.document;
            check(caller, invoice.recipient_id, &acceptance, invoice.amount)?;
            let step = rules::accepted_by_peer(Kind::Invoice, invoice.status)?;
            let mut row = agreement::get(db, owner, &invoice.agreement_id)?.ok_or(OpError::NotFound)?;
            let amount = invoice.amount.money()?;
            row.totals.accept_invoice(amount);
            agreement::save(db, owner, &row.id, &row.totals, now)?;
            if step == Step::AlreadyDone {
                return Ok(false);
            }
            let session = stored.session.as_deref();
            let subject = Subject { owner, kind: Kind::Invoice, document: &id, role: Side::Provider, session };
            record_accepted(db, subject, rules::after_accept(amount, row.totals.paid), now)?;
            Ok::<_, OpError>(true)
        };
        if self.store.write(move |db| change(db)).await? {
            metrics::INVOICE_ACCEPTED_BY_PEER.add_one();
            self.wake(owner, Kind::Invoice);
        }
        Ok(())
    }

    pub(crate) async fn invoice_is_rejected(
        &self,
        caller: &Caller,
        message: RejectInvoiceV2,
    ) -> Result<(), AcceptRejectError> {
        metrics::INVOICE_REJECTED_BY_PEER_CALL.add_one();
        let RejectInvoiceV2 { invoice_id: id, rejection, issuer_id: owner } = message;
        let (caller, now) = (caller.node_id(), self.now());
        let change = move |db: &Connection| {
            let stored = document::invoice(db, owner, &id)?.filter(|stored| stored.role == Side::Provider);
            let stored = stored.ok_or(OpError::NotFound)?;
            if caller != Some(stored.document.recipient_id) {
                return Err(OpError::Forbidden);
            }
            if rules::rejected_by_peer(Kind::Invoice, stored.document.status)? == Step::AlreadyDone {
                return Ok(false);
            }
            document::set_status(db, Kind::Invoice, owner, &id, DocumentStatus::Rejected)?;
            let session = stored.session.as_deref();
            let subject = Subject { owner, kind: Kind::Invoice, document: &id, role: Side::Provider, session };
            event::record(db, subject, EventType::Rejected, Some(&rejection), now)?;
            Ok(true)
        };
        if self.store.write(move |db| change(db)).await? {
            metrics::INVOICE_REJECTED_BY_PEER.add_one();
            self.wake(owner, Kind::Invoice);
        }
        Ok(())
    }
}
