//! Debit notes and invoices.

use chrono::{DateTime, Utc};
use golem_model::payment::{DebitNote, DocumentStatus, Invoice};
use golem_model::{Amount, NodeId};
use golem_payment_core::document::Kind;
use golem_store::rusqlite::{Connection, OptionalExtension, Result, Row, named_params, params};

use super::agreement::Agreement;
use super::{Side, Text, optional_time, parsed, time};

/// A stored document and what its agreement adds.
#[derive(Clone, Debug)]
pub(crate) struct Stored<T> {
    pub(crate) document: T,
    pub(crate) role: Side,
    pub(crate) session: Option<String>,
}

const NOTES: &str = "SELECT d.*, a.role, a.peer, a.payee_addr, a.payer_addr, a.platform, a.session
    FROM note d JOIN agreement a ON a.owner = d.owner AND a.id = d.agreement";
const INVOICES: &str = "SELECT d.*, a.role, a.peer, a.payee_addr, a.payer_addr, a.platform, a.session
    FROM invoice d JOIN agreement a ON a.owner = d.owner AND a.id = d.agreement";

fn parties(row: &Row<'_>) -> Result<(Side, NodeId, NodeId)> {
    let (owner, peer, role) = (parsed(row, "owner")?, parsed(row, "peer")?, Side::of_column(row, "role")?);
    Ok(match role {
        Side::Provider => (role, owner, peer),
        Side::Requestor => (role, peer, owner),
    })
}

impl Stored<DebitNote> {
    fn read(row: &Row<'_>) -> Result<Self> {
        let (role, issuer_id, recipient_id) = parties(row)?;
        let usage: Option<String> = row.get("usage")?;
        let document = DebitNote {
            debit_note_id: row.get("id")?,
            issuer_id,
            recipient_id,
            payee_addr: row.get("payee_addr")?,
            payer_addr: row.get("payer_addr")?,
            payment_platform: row.get("platform")?,
            previous_debit_note_id: row.get("previous")?,
            timestamp: time(row, "timestamp")?,
            agreement_id: row.get("agreement")?,
            activity_id: row.get("activity")?,
            total_amount_due: parsed(row, "amount")?,
            usage_counter_vector: usage.and_then(|usage| serde_json::from_str(&usage).ok()),
            payment_due_date: optional_time(row, "due_date")?,
            status: parsed(row, "status")?,
        };
        Ok(Self { document, role, session: row.get("session")? })
    }
}

impl Stored<Invoice> {
    fn read(row: &Row<'_>) -> Result<Self> {
        let (role, issuer_id, recipient_id) = parties(row)?;
        let activities: String = row.get("activities")?;
        let document = Invoice {
            invoice_id: row.get("id")?,
            issuer_id,
            recipient_id,
            payee_addr: row.get("payee_addr")?,
            payer_addr: row.get("payer_addr")?,
            payment_platform: row.get("platform")?,
            timestamp: time(row, "timestamp")?,
            agreement_id: row.get("agreement")?,
            activity_ids: serde_json::from_str(&activities).unwrap_or_default(),
            amount: parsed(row, "amount")?,
            payment_due_date: time(row, "due_date")?,
            status: parsed(row, "status")?,
        };
        Ok(Self { document, role, session: row.get("session")? })
    }
}

pub(crate) fn note(db: &Connection, owner: NodeId, id: &str) -> Result<Option<Stored<DebitNote>>> {
    db.prepare_cached(&format!("{NOTES} WHERE d.owner = ?1 AND d.id = ?2"))?
        .query_row(params![Text(owner), id], Stored::<DebitNote>::read)
        .optional()
}

pub(crate) fn invoice(db: &Connection, owner: NodeId, id: &str) -> Result<Option<Stored<Invoice>>> {
    db.prepare_cached(&format!("{INVOICES} WHERE d.owner = ?1 AND d.id = ?2"))?
        .query_row(params![Text(owner), id], Stored::<Invoice>::read)
        .optional()
}

/// Own copy of a debit note whose id a peer named without saying of which identity; `peer` is the other party.
pub(crate) fn note_of_peer(
    db: &Connection,
    id: &str,
    peer: NodeId,
    role: Side,
) -> Result<Option<(NodeId, Stored<DebitNote>)>> {
    db.prepare_cached(&format!("{NOTES} WHERE d.id = ?1 AND a.peer = ?2 AND a.role = ?3"))?
        .query_row(params![id, Text(peer), role.letter()], |row| {
            Ok((parsed(row, "owner")?, Stored::<DebitNote>::read(row)?))
        })
        .optional()
}

/// Documents younger than `after`, oldest first.
pub(crate) fn notes(db: &Connection, owner: NodeId, after: Option<DateTime<Utc>>, max: i64) -> Result<Vec<DebitNote>> {
    db.prepare_cached(&format!("{NOTES} WHERE d.owner = ?1 AND d.timestamp > ?2 ORDER BY d.timestamp, d.seq LIMIT ?3"))?
        .query_map(params![Text(owner), micros_floor(after), max], |row| Ok(Stored::<DebitNote>::read(row)?.document))?
        .collect()
}

pub(crate) fn invoices(db: &Connection, owner: NodeId, after: Option<DateTime<Utc>>, max: i64) -> Result<Vec<Invoice>> {
    db.prepare_cached(&format!(
        "{INVOICES} WHERE d.owner = ?1 AND d.timestamp > ?2 ORDER BY d.timestamp, d.seq LIMIT ?3"
    ))?
    .query_map(params![Text(owner), micros_floor(after), max], |row| Ok(Stored::<Invoice>::read(row)?.document))?
    .collect()
}

/// A cursor as the number that stored times are compared with.
pub(crate) fn micros_floor(after: Option<DateTime<Utc>>) -> i64 {
    after.map_or(i64::MIN, |after| after.timestamp_micros())
}

pub(crate) fn notes_of_activity(db: &Connection, owner: NodeId, activity: &str) -> Result<Vec<DebitNote>> {
    db.prepare_cached(&format!("{NOTES} WHERE d.owner = ?1 AND d.activity = ?2 ORDER BY d.seq"))?
        .query_map(params![Text(owner), activity], |row| Ok(Stored::<DebitNote>::read(row)?.document))?
        .collect()
}

pub(crate) fn invoices_of_agreement(db: &Connection, owner: NodeId, agreement: &str) -> Result<Vec<Stored<Invoice>>> {
    db.prepare_cached(&format!("{INVOICES} WHERE d.owner = ?1 AND d.agreement = ?2 ORDER BY d.seq"))?
        .query_map(params![Text(owner), agreement], Stored::<Invoice>::read)?
        .collect()
}

/// Invoices of `owner` with their role, for sums.
pub(crate) fn invoices_since(db: &Connection, owner: NodeId, since: DateTime<Utc>) -> Result<Vec<Stored<Invoice>>> {
    db.prepare_cached(&format!("{INVOICES} WHERE d.owner = ?1 AND d.timestamp > ?2"))?
        .query_map(params![Text(owner), since.timestamp_micros()], Stored::<Invoice>::read)?
        .collect()
}

/// Whether a document of the agreement is younger than `after`.
pub(crate) fn any_since(db: &Connection, owner: NodeId, agreement: &str, after: DateTime<Utc>) -> Result<bool> {
    db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM invoice WHERE owner = ?1 AND agreement = ?2 AND timestamp > ?3)
             OR EXISTS (SELECT 1 FROM note WHERE owner = ?1 AND agreement = ?2 AND timestamp > ?3)",
    )?
    .query_row(params![Text(owner), agreement, after.timestamp_micros()], |row| row.get(0))
}

pub(crate) fn last_note(db: &Connection, owner: NodeId, activity: &str) -> Result<Option<String>> {
    db.prepare_cached("SELECT id FROM note WHERE owner = ?1 AND activity = ?2 ORDER BY seq DESC LIMIT 1")?
        .query_row(params![Text(owner), activity], |row| row.get(0))
        .optional()
}

/// The note or invoice that stands behind accepted money, for people who look at an order.
pub(crate) fn last_accepted(
    db: &Connection,
    owner: NodeId,
    agreement: &str,
    activity: Option<&str>,
) -> Result<Option<String>> {
    let (sql, key) = match activity {
        Some(activity) => (
            "SELECT id FROM note WHERE owner = ?1 AND activity = ?2 AND status IN ('ACCEPTED', 'SETTLED')
             ORDER BY seq DESC LIMIT 1",
            activity,
        ),
        None => (
            "SELECT id FROM invoice WHERE owner = ?1 AND agreement = ?2 AND status IN ('ACCEPTED', 'SETTLED')
             ORDER BY seq DESC LIMIT 1",
            agreement,
        ),
    };
    db.prepare_cached(sql)?.query_row(params![Text(owner), key], |row| row.get(0)).optional()
}

/// Puts a note behind the last one of its activity. The row of the activity must be there.
pub(crate) fn insert_note(db: &Connection, owner: NodeId, note: &DebitNote) -> Result<()> {
    let usage = note.usage_counter_vector.as_ref().map(ToString::to_string);
    db.prepare_cached(
        "INSERT INTO note (owner, id, agreement, activity, previous, timestamp, amount, usage, due_date, status)
         VALUES (:owner, :id, :agreement, :activity, :previous, :timestamp, :amount, :usage, :due, :status)",
    )?
    .execute(named_params! {
        ":owner": Text(owner), ":id": note.debit_note_id, ":agreement": note.agreement_id,
        ":activity": note.activity_id, ":previous": note.previous_debit_note_id,
        ":timestamp": note.timestamp.timestamp_micros(), ":amount": Text(note.total_amount_due), ":usage": usage,
        ":due": note.payment_due_date.map(|due| due.timestamp_micros()), ":status": note.status.as_str(),
    })?;
    Ok(())
}

pub(crate) fn insert_invoice(db: &Connection, owner: NodeId, invoice: &Invoice) -> Result<()> {
    let activities = serde_json::to_string(&invoice.activity_ids).unwrap_or_default();
    db.prepare_cached(
        "INSERT INTO invoice (owner, id, agreement, activities, timestamp, amount, due_date, status)
         VALUES (:owner, :id, :agreement, :activities, :timestamp, :amount, :due, :status)",
    )?
    .execute(named_params! {
        ":owner": Text(owner), ":id": invoice.invoice_id, ":agreement": invoice.agreement_id,
        ":activities": activities, ":timestamp": invoice.timestamp.timestamp_micros(),
        ":amount": Text(invoice.amount), ":due": invoice.payment_due_date.timestamp_micros(),
        ":status": invoice.status.as_str(),
    })?;
    Ok(())
}

pub(crate) fn set_status(db: &Connection, kind: Kind, owner: NodeId, id: &str, status: DocumentStatus) -> Result<()> {
    let sql = match kind {
        Kind::DebitNote => "UPDATE note SET status = ?3 WHERE owner = ?1 AND id = ?2",
        Kind::Invoice => "UPDATE invoice SET status = ?3 WHERE owner = ?1 AND id = ?2",
    };
    db.prepare_cached(sql)?.execute(params![Text(owner), id, status.as_str()])?;
    Ok(())
}

/// Documents of an agreement, or notes of an activity, that a payment may settle: id, amount, status.
pub(crate) fn unsettled(
    db: &Connection,
    kind: Kind,
    owner: NodeId,
    of: &str,
) -> Result<Vec<(String, Amount, DocumentStatus)>> {
    let sql = match kind {
        Kind::DebitNote => {
            "SELECT id, amount, status FROM note WHERE owner = ?1 AND activity = ?2
             AND status NOT IN ('SETTLED', 'CANCELLED') ORDER BY seq"
        }
        Kind::Invoice => {
            "SELECT id, amount, status FROM invoice WHERE owner = ?1 AND agreement = ?2
             AND status NOT IN ('SETTLED', 'CANCELLED') ORDER BY seq"
        }
    };
    db.prepare_cached(sql)?
        .query_map(params![Text(owner), of], |row| {
            Ok((row.get("id")?, parsed(row, "amount")?, parsed(row, "status")?))
        })?
        .collect()
}

/// Requestors from whom this node waits for an answer or money: own identity and peer. `due`: only those with an
/// accepted document whose date has passed.
pub(crate) fn debtors(db: &Connection, due: Option<DateTime<Utc>>) -> Result<Vec<(NodeId, NodeId)>> {
    let sql = "SELECT DISTINCT a.owner, a.peer FROM agreement a WHERE a.role = 'P' AND (
        EXISTS (SELECT 1 FROM invoice d WHERE d.owner = a.owner AND d.agreement = a.id
            AND (?1 IS NULL AND d.status IN ('ISSUED', 'ACCEPTED') OR d.status = 'ACCEPTED' AND d.due_date < ?1))
        OR EXISTS (SELECT 1 FROM note d WHERE d.owner = a.owner AND d.agreement = a.id
            AND (?1 IS NULL AND d.status IN ('ISSUED', 'ACCEPTED') OR d.status = 'ACCEPTED' AND d.due_date < ?1)))";
    db.prepare_cached(sql)?
        .query_map([due.map(|due| due.timestamp_micros())], |row| Ok((parsed(row, "owner")?, parsed(row, "peer")?)))?
        .collect()
}

/// Fields of a note that its agreement decides.
pub(crate) fn addressed(agreement: &Agreement) -> (NodeId, NodeId, String, String, String) {
    let (issuer, recipient) = agreement.parties();
    (issuer, recipient, agreement.payee_addr.clone(), agreement.payer_addr.clone(), agreement.platform.clone())
}
