//! Events of documents (spec 40 §10).

use chrono::{DateTime, Utc};
use golem_model::NodeId;
use golem_model::payment::{DebitNoteEvent, DebitNoteEventKind, EventType, InvoiceEvent, InvoiceEventKind, Rejection};
use golem_payment_core::document::Kind;
use golem_store::rusqlite::{Connection, OptionalExtension, Result, Row, named_params, params};

use super::{Side, Text, from_micros};

/// The document an event belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) owner: NodeId,
    pub(crate) kind: Kind,
    pub(crate) document: &'a str,
    pub(crate) role: Side,
    pub(crate) session: Option<&'a str>,
}

const fn letter(kind: Kind) -> &'static str {
    match kind {
        Kind::Invoice => "I",
        Kind::DebitNote => "D",
    }
}

/// Stores an event unless the document has one of this type. Its date is later than that of every other event of the
/// owner, so a cursor never skips one.
pub(crate) fn record(
    db: &Connection,
    subject: Subject<'_>,
    event: EventType,
    rejection: Option<&Rejection>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let detail = rejection.and_then(|rejection| serde_json::to_string(rejection).ok());
    let inserted = db
        .prepare_cached(
            "INSERT OR IGNORE INTO event (owner, date, kind, document, type, role, session, detail)
             SELECT :owner, max(:now, coalesce((SELECT max(date) + 1 FROM event WHERE owner = :owner), 0)),
                 :kind, :document, :type, :role, :session, :detail
             WHERE NOT EXISTS (SELECT 1 FROM event WHERE owner = :owner AND kind = :kind AND document = :document
                 AND type = :type)",
        )?
        .execute(named_params! {
            ":owner": Text(subject.owner), ":now": now.timestamp_micros(), ":kind": letter(subject.kind),
            ":document": subject.document, ":type": event.as_str(), ":role": subject.role.letter(),
            ":session": subject.session, ":detail": detail,
        })?;
    Ok(inserted > 0)
}

/// A wish of a client that polls.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) owner: NodeId,
    pub(crate) after: Option<DateTime<Utc>>,
    pub(crate) max: usize,
    pub(crate) session: Option<String>,
    /// Types that pass for documents in which the owner is the requestor.
    pub(crate) requestor: Vec<EventType>,
    pub(crate) provider: Vec<EventType>,
}

fn select<T>(
    db: &Connection,
    kind: Kind,
    filter: &Filter,
    read: impl Fn(String, DateTime<Utc>, EventType, Option<Rejection>) -> Option<T>,
) -> Result<Vec<T>> {
    let mut statement = db.prepare_cached(
        "SELECT document, date, type, role, detail FROM event WHERE owner = ?1 AND kind = ?2 AND date > ?3
         AND (?4 IS NULL OR session = ?4) ORDER BY date",
    )?;
    let after = filter.after.map_or(i64::MIN, |after| after.timestamp_micros());
    let mut rows = statement.query(params![Text(filter.owner), letter(kind), after, filter.session])?;
    let mut found = Vec::new();
    // The cut comes after the filter by role, or a node in both roles could starve (spec 41 §3.9).
    while found.len() < filter.max
        && let Some(row) = rows.next()?
    {
        if let Some(event) = read_one(row, filter, &read)? {
            found.push(event);
        }
    }
    Ok(found)
}

fn read_one<T>(
    row: &Row<'_>,
    filter: &Filter,
    read: impl Fn(String, DateTime<Utc>, EventType, Option<Rejection>) -> Option<T>,
) -> Result<Option<T>> {
    let name: String = row.get("type")?;
    let wanted = match Side::of_column(row, "role")? {
        Side::Requestor => &filter.requestor,
        Side::Provider => &filter.provider,
    };
    let Some(event) = EventType::named(&name).filter(|event| wanted.contains(event)) else { return Ok(None) };
    let detail: Option<String> = row.get("detail")?;
    let rejection = detail.and_then(|detail| serde_json::from_str(&detail).ok());
    Ok(read(row.get("document")?, from_micros(row.get("date")?), event, rejection))
}

pub(crate) fn invoice_events(db: &Connection, filter: &Filter) -> Result<Vec<InvoiceEvent>> {
    select(db, Kind::Invoice, filter, |invoice_id, event_date, event, rejection| {
        let kind = match event {
            EventType::Received => InvoiceEventKind::Received,
            EventType::Accepted => InvoiceEventKind::Accepted,
            EventType::Rejected => InvoiceEventKind::Rejected { rejection: rejection? },
            EventType::Cancelled => InvoiceEventKind::Cancelled,
            EventType::Settled => InvoiceEventKind::Settled,
            EventType::PaymentOk => InvoiceEventKind::PaymentOk,
            EventType::PaymentEvent => return None,
        };
        Some(InvoiceEvent { invoice_id, event_date, kind })
    })
}

pub(crate) fn note_events(db: &Connection, filter: &Filter) -> Result<Vec<DebitNoteEvent>> {
    select(db, Kind::DebitNote, filter, |debit_note_id, event_date, event, rejection| {
        let kind = match event {
            EventType::Received => DebitNoteEventKind::Received,
            EventType::Accepted => DebitNoteEventKind::Accepted,
            EventType::Rejected => DebitNoteEventKind::Rejected { rejection: rejection? },
            EventType::Cancelled => DebitNoteEventKind::Cancelled,
            EventType::Settled => DebitNoteEventKind::Settled,
            EventType::PaymentOk => DebitNoteEventKind::PaymentOk,
            EventType::PaymentEvent => return None,
        };
        Some(DebitNoteEvent { debit_note_id, event_date, kind })
    })
}

/// Why an invoice was rejected.
pub(crate) fn rejection(db: &Connection, owner: NodeId, invoice: &str) -> Result<Option<Rejection>> {
    let detail: Option<Option<String>> = db
        .prepare_cached(
            "SELECT detail FROM event WHERE owner = ?1 AND kind = 'I' AND document = ?2 AND type = 'REJECTED'",
        )?
        .query_row(params![Text(owner), invoice], |row| row.get(0))
        .optional()?;
    Ok(detail.flatten().and_then(|detail| serde_json::from_str(&detail).ok()))
}
