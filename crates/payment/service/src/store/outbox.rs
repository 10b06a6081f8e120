//! What peers must still be told, and when they are tried again (spec 40 §7.6).

use chrono::{DateTime, Utc};
use golem_model::NodeId;
use golem_store::rusqlite::{Connection, OptionalExtension, Result, params};

use super::{Text, from_micros, parsed};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    AcceptNote,
    AcceptInvoice,
    RejectInvoice,
    Payment,
}

impl Notice {
    const fn as_str(self) -> &'static str {
        match self {
            Self::AcceptNote => "accept_note",
            Self::AcceptInvoice => "accept_invoice",
            Self::RejectInvoice => "reject_invoice",
            Self::Payment => "payment",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::AcceptNote, Self::AcceptInvoice, Self::RejectInvoice, Self::Payment]
            .into_iter()
            .find(|notice| notice.as_str() == name)
    }
}

/// Records that `peer` must be told; `first_retry` is when the sync job takes over from the direct message.
pub(crate) fn add(
    db: &Connection,
    (owner, peer): (NodeId, NodeId),
    notice: Notice,
    object: &str,
    first_retry: DateTime<Utc>,
) -> Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO outbox (owner, peer, kind, object) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![Text(owner), Text(peer), notice.as_str(), object])?;
    db.prepare_cached("INSERT OR IGNORE INTO sync_peer (owner, peer, next, retries) VALUES (?1, ?2, ?3, 0)")?
        .execute(params![Text(owner), Text(peer), first_retry.timestamp_micros()])?;
    Ok(())
}

/// The peer knows, or the notice is overtaken.
pub(crate) fn remove(db: &Connection, (owner, peer): (NodeId, NodeId), notice: Notice, object: &str) -> Result<()> {
    db.prepare_cached("DELETE FROM outbox WHERE owner = ?1 AND peer = ?2 AND kind = ?3 AND object = ?4")?
        .execute(params![Text(owner), Text(peer), notice.as_str(), object])?;
    db.prepare_cached(
        "DELETE FROM sync_peer WHERE owner = ?1 AND peer = ?2
         AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.owner = ?1 AND o.peer = ?2)",
    )?
    .execute(params![Text(owner), Text(peer)])?;
    Ok(())
}

pub(crate) fn of_peer(db: &Connection, (owner, peer): (NodeId, NodeId), max: i64) -> Result<Vec<(Notice, String)>> {
    let rows: Vec<(String, String)> = db
        .prepare_cached("SELECT kind, object FROM outbox WHERE owner = ?1 AND peer = ?2 LIMIT ?3")?
        .query_map(params![Text(owner), Text(peer), max], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_>>()?;
    Ok(rows.into_iter().filter_map(|(kind, object)| Some((Notice::named(&kind)?, object))).collect())
}

/// A peer to be tried: own identity, peer, failures so far.
pub(crate) type Retry = (NodeId, NodeId, u32);

pub(crate) fn due(db: &Connection, now: DateTime<Utc>, max: i64) -> Result<Vec<Retry>> {
    db.prepare_cached("SELECT owner, peer, retries FROM sync_peer WHERE next <= ?1 ORDER BY next LIMIT ?2")?
        .query_map(params![now.timestamp_micros(), max], |row| {
            Ok((parsed(row, "owner")?, parsed(row, "peer")?, row.get("retries")?))
        })?
        .collect()
}

pub(crate) fn next_due(db: &Connection) -> Result<Option<DateTime<Utc>>> {
    let next: Option<Option<i64>> =
        db.prepare_cached("SELECT min(next) FROM sync_peer")?.query_row([], |row| row.get(0)).optional()?;
    Ok(next.flatten().map(from_micros))
}

/// When a peer is told next, if it is to be told.
pub(crate) fn next_of(db: &Connection, (owner, peer): (NodeId, NodeId)) -> Result<Option<DateTime<Utc>>> {
    let next: Option<Option<i64>> = db
        .prepare_cached("SELECT next FROM sync_peer WHERE owner = ?1 AND peer = ?2")?
        .query_row(params![Text(owner), Text(peer)], |row| row.get(0))
        .optional()?;
    Ok(next.flatten().map(from_micros))
}

/// Sets when a peer is tried (again). `None`: not any more.
pub(crate) fn schedule(
    db: &Connection,
    (owner, peer): (NodeId, NodeId),
    next: Option<DateTime<Utc>>,
    retries: u32,
) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO sync_peer (owner, peer, next, retries) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET next = ?3, retries = ?4",
    )?
    .execute(params![Text(owner), Text(peer), next.map(|next| next.timestamp_micros()), retries])?;
    Ok(())
}

/// The peer has asked: everything it misses goes out at once.
pub(crate) fn wake_peer(db: &Connection, peer: NodeId, now: DateTime<Utc>) -> Result<()> {
    db.prepare_cached("UPDATE sync_peer SET next = ?2, retries = 0 WHERE peer = ?1")?
        .execute(params![Text(peer), now.timestamp_micros()])?;
    Ok(())
}

/// After a start nobody may be sending, whatever a row says.
pub(crate) fn wake_all(db: &Connection, now: DateTime<Utc>) -> Result<()> {
    db.prepare_cached("UPDATE sync_peer SET next = min(next, ?1) WHERE next IS NOT NULL")?
        .execute([now.timestamp_micros()])?;
    Ok(())
}

/// Direct sending has failed: the sync job takes over at `next` unless it is at work already.
pub(crate) fn take_over(db: &Connection, (owner, peer): (NodeId, NodeId), next: DateTime<Utc>) -> Result<()> {
    db.prepare_cached(
        "UPDATE sync_peer SET next = min(coalesce(next, ?3), ?3) WHERE owner = ?1 AND peer = ?2 AND retries = 0",
    )?
    .execute(params![Text(owner), Text(peer), next.timestamp_micros()])?;
    Ok(())
}
