//! Payments made and received.

use chrono::{DateTime, Utc};
use golem_model::payment::{Payment, SignedPayment};
use golem_model::{Amount, NodeId};
use golem_store::rusqlite::{Connection, OptionalExtension, Result, Row, named_params, params};

use super::document::micros_floor;
use super::{Side, Text, parsed, time};

fn read(row: &Row<'_>) -> Result<SignedPayment> {
    let (owner, peer): (NodeId, NodeId) = (parsed(row, "owner")?, parsed(row, "peer")?);
    let (payer_id, payee_id) = match Side::of_column(row, "role")? {
        Side::Requestor => (owner, peer),
        Side::Provider => (peer, owner),
    };
    let (agreements, activities): (String, String) = (row.get("agreements")?, row.get("activities")?);
    let payment = Payment {
        payment_id: row.get("id")?,
        payer_id,
        payee_id,
        payer_addr: row.get("payer_addr")?,
        payee_addr: row.get("payee_addr")?,
        payment_platform: row.get("platform")?,
        amount: parsed(row, "amount")?,
        timestamp: time(row, "timestamp")?,
        agreement_payments: serde_json::from_str(&agreements).unwrap_or_default(),
        activity_payments: serde_json::from_str(&activities).unwrap_or_default(),
        details: row.get("details")?,
    };
    Ok(SignedPayment { payment, signature: row.get("signature")?, signed_bytes: row.get("signed_bytes")? })
}

/// The other party of a payment in which the owner has `role`.
const fn peer(role: Side, payment: &Payment) -> NodeId {
    match role {
        Side::Requestor => payment.payee_id,
        Side::Provider => payment.payer_id,
    }
}

/// `agreements`: all that the payment touches, those of its activity shares included.
pub(crate) fn insert<'a>(
    db: &Connection,
    owner: NodeId,
    role: Side,
    signed: &SignedPayment,
    agreements: impl IntoIterator<Item = &'a str>,
) -> Result<()> {
    let SignedPayment { payment, signature, signed_bytes } = signed;
    let peer = peer(role, payment);
    let text = |json: serde_json::Result<String>| json.unwrap_or_default();
    db.prepare_cached(
        "INSERT INTO payment (owner, id, peer, role, payer_addr, payee_addr, platform, amount, timestamp, details,
             agreements, activities, signature, signed_bytes)
         VALUES (:owner, :id, :peer, :role, :payer, :payee, :platform, :amount, :timestamp, :details, :agreements,
             :activities, :signature, :signed)",
    )?
    .execute(named_params! {
        ":owner": Text(owner), ":id": payment.payment_id, ":peer": Text(peer), ":role": role.letter(),
        ":payer": payment.payer_addr, ":payee": payment.payee_addr, ":platform": payment.payment_platform,
        ":amount": Text(payment.amount), ":timestamp": payment.timestamp.timestamp_micros(),
        ":details": payment.details, ":agreements": text(serde_json::to_string(&payment.agreement_payments)),
        ":activities": text(serde_json::to_string(&payment.activity_payments)), ":signature": signature,
        ":signed": signed_bytes,
    })?;
    for agreement in agreements {
        db.prepare_cached(
            "INSERT OR IGNORE INTO payment_agreement (owner, agreement, payment, peer) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![Text(owner), agreement, payment.payment_id, Text(peer)])?;
    }
    Ok(())
}

pub(crate) fn get(db: &Connection, owner: NodeId, id: &str, peer: Option<NodeId>) -> Result<Option<SignedPayment>> {
    db.prepare_cached("SELECT * FROM payment WHERE owner = ?1 AND id = ?2 AND (?3 IS NULL OR peer = ?3)")?
        .query_row(params![Text(owner), id, peer.map(Text)], read)
        .optional()
}

pub(crate) fn set_signature(
    db: &Connection,
    owner: NodeId,
    id: &str,
    peer: NodeId,
    signature: &[u8],
    signed_bytes: &[u8],
) -> Result<()> {
    db.prepare_cached(
        "UPDATE payment SET signature = ?4, signed_bytes = ?5 WHERE owner = ?1 AND id = ?2 AND peer = ?3",
    )?
    .execute(params![Text(owner), id, Text(peer), signature, signed_bytes])?;
    Ok(())
}

/// What was received before under a confirmation on a platform.
pub(crate) fn received_under(db: &Connection, owner: NodeId, platform: &str, details: &str) -> Result<Vec<Amount>> {
    db.prepare_cached("SELECT amount FROM payment WHERE owner = ?1 AND details = ?2 AND platform = ?3 AND role = 'P'")?
        .query_map(params![Text(owner), details, platform], |row| parsed(row, "amount"))?
        .collect()
}

/// A wish of a client that polls.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) owner: NodeId,
    pub(crate) after: Option<DateTime<Utc>>,
    pub(crate) max: i64,
    pub(crate) session: Option<String>,
    /// Pattern of platforms: driver and network.
    pub(crate) driver: Option<String>,
    pub(crate) network: Option<String>,
}

pub(crate) fn list(db: &Connection, filter: &Filter) -> Result<Vec<SignedPayment>> {
    let Filter { owner, after, max, session, driver, network } = filter;
    let any = |part: &Option<String>| part.clone().unwrap_or_else(|| "*".to_owned());
    let platform = (driver.is_some() || network.is_some()).then(|| format!("{}-{}-*", any(driver), any(network)));
    db.prepare_cached(
        "SELECT * FROM payment p WHERE p.owner = ?1 AND p.timestamp > ?2 AND (?3 IS NULL OR p.platform GLOB ?3)
         AND (?4 IS NULL OR EXISTS (SELECT 1 FROM payment_agreement s
             JOIN agreement a ON a.owner = s.owner AND a.id = s.agreement
             WHERE s.owner = p.owner AND s.payment = p.id AND s.peer = p.peer AND a.session = ?4))
         ORDER BY p.timestamp LIMIT ?5",
    )?
    .query_map(params![Text(*owner), micros_floor(*after), platform, session, max], read)?
    .collect()
}

pub(crate) fn of_agreement(db: &Connection, owner: NodeId, agreement: &str) -> Result<Vec<SignedPayment>> {
    db.prepare_cached(
        "SELECT p.* FROM payment p JOIN payment_agreement s ON s.owner = p.owner AND s.payment = p.id
             AND s.peer = p.peer
         WHERE p.owner = ?1 AND s.agreement = ?2 ORDER BY p.timestamp",
    )?
    .query_map(params![Text(owner), agreement], read)?
    .collect()
}
