//! What drivers report: transfers confirmed or given up (spec 40 §6.5, 42 §5.12).

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use golem_model::NodeId;
use golem_model::payment::local::{NotifyPayment, PaymentAbandoned};
use golem_model::payment::{EventType, Payment, SignedPayment};
use golem_payment_core::clearing::{self, PaidPart};
use golem_payment_core::document::{self as rules, Kind};
use golem_payment_core::verify::same_address;
use golem_store::rusqlite::Connection;
use tracing::{error, info, warn};

use super::settle::change_totals;
use super::{PEER_TIME_MAX, Service};
use crate::arrow::arrow;
use crate::error::OpError;
use crate::metrics;
use crate::store::event::{self, Subject};
use crate::store::order::{self, Ordered};
use crate::store::outbox::{self, Notice};
use crate::store::{Side, agreement, allocation, document, payment};

impl Service {
    /// A transfer is confirmed: books it, settles documents and tells the payees. May be repeated.
    pub(crate) async fn transfer_confirmed(self: &Arc<Self>, notice: NotifyPayment) -> Result<(), OpError> {
        if same_address(&notice.sender, &notice.recipient) {
            return Ok(());
        }
        let payment_id = notice.payment_id.clone();
        let (now, direct) = (self.document_time(), TimeDelta::from_std(PEER_TIME_MAX + self.config.sync.initial));
        let first_retry = now + direct.unwrap_or(TimeDelta::minutes(2));
        let booked = self.store.write(move |db| book(db, &notice, now, first_retry)).await?;
        arrow!("notice-stored");
        for (owner, peer) in booked {
            info!(%owner, %peer, payment = payment_id, "payment made");
            self.wake_payment(owner);
            self.tell_payment_soon((owner, peer), payment_id.clone());
        }
        self.sync_changed.notify_one();
        Ok(())
    }

    /// A transfer will never be made: what it was for is open again.
    pub(crate) async fn transfer_abandoned(self: &Arc<Self>, notice: PaymentAbandoned) -> Result<(), OpError> {
        let PaymentAbandoned { payment_id, reason } = notice;
        let now = self.now();
        let change = move |db: &Connection| reopen(db, &payment_id, &reason, now);
        if self.store.write(move |db| change(db)).await? {
            metrics::PAYMENT_DROPPED.add_one();
        }
        Ok(())
    }
}

/// Answers the parties that are to be told; nobody when it was booked before.
fn book(
    db: &Connection,
    notice: &NotifyPayment,
    now: DateTime<Utc>,
    first_retry: DateTime<Utc>,
) -> Result<Vec<(NodeId, NodeId)>, OpError> {
    let id = &notice.payment_id;
    let refuse = |text: String| Err(OpError::BadRequest(text));
    let Some(ordered) = order::by_payment(db, id)? else {
        return refuse(format!("no payment with id {id} was ordered"));
    };
    match ordered.state.as_str() {
        "paid" => return Ok(Vec::new()),
        "dropped" => {
            error!(payment = id, "a transfer was made that its driver had given up; its amount may be paid twice");
            return Ok(Vec::new());
        }
        _ => {}
    }
    if ordered.platform != notice.platform || !same_address(&ordered.payee_addr, &notice.recipient) {
        return refuse(format!("payment {id} was ordered to {} on {}", ordered.payee_addr, ordered.platform));
    }
    let parts: Vec<PaidPart> = ordered.parts.iter().map(|(_, part)| part.clone()).collect();
    let overflow = || OpError::Internal("the sum of shares overflows".to_owned());
    let shares = clearing::shares(&parts).ok_or_else(overflow)?;
    let total = golem_model::Amount::sum(shares.iter().map(|shares| shares.amount)).ok_or_else(overflow)?;
    if notice.amount < total {
        return refuse(format!("payment {id} is {}, but {total} was ordered", notice.amount));
    }

    let owner = ordered.owner;
    book_parts(db, &ordered, now)?;
    let mut told = Vec::new();
    for shares in shares {
        let made = Payment {
            payment_id: id.clone(),
            payer_id: owner,
            payee_id: shares.peer,
            payer_addr: ordered.payer_addr.clone(),
            payee_addr: ordered.payee_addr.clone(),
            payment_platform: ordered.platform.clone(),
            amount: shares.amount,
            timestamp: now,
            agreement_payments: shares.agreements,
            activity_payments: shares.activities,
            details: BASE64.encode(&notice.confirmation.confirmation),
        };
        let agreements: BTreeSet<_> =
            parts.iter().filter(|part| part.peer == shares.peer).map(|part| part.agreement_id.as_str()).collect();
        let unsigned = SignedPayment { payment: made, signature: None, signed_bytes: None };
        payment::insert(db, owner, Side::Requestor, &unsigned, agreements)?;
        outbox::add(db, (owner, shares.peer), Notice::Payment, id, first_retry)?;
        told.push((owner, shares.peer));
    }
    order::finish(db, id, "paid", now)?;
    Ok(told)
}

fn book_parts(db: &Connection, ordered: &Ordered, now: DateTime<Utc>) -> Result<(), OpError> {
    let owner = ordered.owner;
    for (allocation_id, part) in &ordered.parts {
        let activity = part.activity_id.as_deref();
        pay(db, owner, &part.agreement_id, activity, part.amount, now)?;
        let mut row = allocation::expenditure(db, allocation_id, &part.agreement_id, activity)?;
        row.paid = row.paid.checked_add(part.amount).unwrap_or(row.paid);
        allocation::save_expenditure(db, allocation_id, &part.agreement_id, activity, &row)?;
    }
    for (_, part) in &ordered.parts {
        settle_documents(db, owner, &part.agreement_id, part.activity_id.as_deref(), now)?;
    }
    Ok(())
}

/// A share of an activity counts for its agreement too, so that notes and rest together reach the invoice.
pub(super) fn pay(
    db: &Connection,
    owner: NodeId,
    agreement_id: &str,
    activity_id: Option<&str>,
    amount: golem_model::Amount,
    now: DateTime<Utc>,
) -> Result<(), OpError> {
    change_totals(db, owner, agreement_id, activity_id, now, |totals| Ok(totals.pay(amount)?))
}

/// Documents that what is paid by now covers become SETTLED (spec 40 §4.4).
pub(super) fn settle_documents(
    db: &Connection,
    owner: NodeId,
    agreement_id: &str,
    activity_id: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), OpError> {
    let Some(row) = agreement::get(db, owner, agreement_id)? else { return Ok(()) };
    let mut covered = Vec::new();
    for (id, amount, status) in document::unsettled(db, Kind::Invoice, owner, agreement_id)? {
        if rules::settles(status, amount, row.totals.paid) {
            covered.push((Kind::Invoice, id));
        }
    }
    if let Some(activity_id) = activity_id
        && let Some(activity) = agreement::activity(db, owner, activity_id)?
    {
        for (id, amount, status) in document::unsettled(db, Kind::DebitNote, owner, activity_id)? {
            if rules::settles(status, amount, activity.totals.paid) {
                covered.push((Kind::DebitNote, id));
            }
        }
    }
    for (kind, id) in covered {
        document::set_status(db, kind, owner, &id, golem_model::payment::DocumentStatus::Settled)?;
        let subject = Subject { owner, kind, document: &id, role: row.role, session: row.session.as_deref() };
        event::record(db, subject, EventType::Settled, None, now)?;
        match (kind, row.role) {
            (Kind::Invoice, Side::Provider) => metrics::INVOICE_PAID_TO_ME.add_one(),
            (Kind::Invoice, Side::Requestor) => metrics::INVOICE_PAID.add_one(),
            (Kind::DebitNote, _) => {}
        }
    }
    Ok(())
}

/// Opens the parts of a transfer again. Answers whether there was anything to open.
fn reopen(db: &Connection, id: &str, reason: &str, now: DateTime<Utc>) -> Result<bool, OpError> {
    let Some(ordered) = order::by_payment(db, id)? else {
        return Err(OpError::BadRequest(format!("no payment with id {id} was ordered")));
    };
    match ordered.state.as_str() {
        "dropped" => return Ok(false),
        "paid" => return Err(OpError::BadRequest(format!("payment {id} is confirmed"))),
        _ => {}
    }
    warn!(payment = id, reason, payee = ordered.payee_addr, "transfer given up; its amount is ordered again");
    for (allocation_id, part) in &ordered.parts {
        let activity = part.activity_id.as_deref();
        change_totals(db, ordered.owner, &part.agreement_id, activity, now, |totals| {
            totals.unschedule(part.amount);
            Ok(())
        })?;
        let mut row = allocation::expenditure(db, allocation_id, &part.agreement_id, activity)?;
        row.scheduled = row.scheduled.minus_or_zero(part.amount);
        allocation::save_expenditure(db, allocation_id, &part.agreement_id, activity, &row)?;
    }
    order::finish(db, id, "dropped", now)?;
    Ok(true)
}
