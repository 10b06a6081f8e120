//! Agreements and activities with their totals (spec 40 §4.1).

use chrono::{DateTime, Utc};
use golem_model::{Amount, NodeId};
use golem_payment_core::books::Totals;
use golem_store::rusqlite::{Connection, OptionalExtension, Result, Row, named_params, params};

use super::{Side, Text, parsed, time};

#[derive(Clone, Debug)]
pub(crate) struct Agreement {
    pub(crate) owner: NodeId,
    pub(crate) id: String,
    pub(crate) role: Side,
    pub(crate) peer: NodeId,
    pub(crate) payee_addr: String,
    pub(crate) payer_addr: String,
    pub(crate) platform: String,
    pub(crate) session: Option<String>,
    pub(crate) totals: Totals,
    pub(crate) created: DateTime<Utc>,
    pub(crate) updated: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub(crate) struct Activity {
    pub(crate) id: String,
    pub(crate) agreement: String,
    pub(crate) totals: Totals,
    pub(crate) created: DateTime<Utc>,
    pub(crate) updated: DateTime<Utc>,
}

fn totals(row: &Row<'_>) -> Result<Totals> {
    Ok(Totals {
        due: parsed(row, "due")?,
        accepted: parsed(row, "accepted")?,
        scheduled: parsed(row, "scheduled")?,
        paid: parsed(row, "paid")?,
    })
}

impl Agreement {
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            owner: parsed(row, "owner")?,
            id: row.get("id")?,
            role: Side::of_column(row, "role")?,
            peer: parsed(row, "peer")?,
            payee_addr: row.get("payee_addr")?,
            payer_addr: row.get("payer_addr")?,
            platform: row.get("platform")?,
            session: row.get("session")?,
            totals: totals(row)?,
            created: time(row, "created")?,
            updated: time(row, "updated")?,
        })
    }

    /// Who issues documents and who receives them.
    pub(crate) const fn parties(&self) -> (NodeId, NodeId) {
        match self.role {
            Side::Provider => (self.owner, self.peer),
            Side::Requestor => (self.peer, self.owner),
        }
    }
}

impl Activity {
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            agreement: row.get("agreement")?,
            totals: totals(row)?,
            created: time(row, "created")?,
            updated: time(row, "updated")?,
        })
    }
}

pub(crate) fn get(db: &Connection, owner: NodeId, id: &str) -> Result<Option<Agreement>> {
    db.prepare_cached("SELECT * FROM agreement WHERE owner = ?1 AND id = ?2")?
        .query_row(params![Text(owner), id], Agreement::read)
        .optional()
}

pub(crate) fn list(db: &Connection, owner: NodeId) -> Result<Vec<Agreement>> {
    db.prepare_cached("SELECT * FROM agreement WHERE owner = ?1 ORDER BY created")?
        .query_map([Text(owner)], Agreement::read)?
        .collect()
}

/// Agreements in which `address` is the payer or payee on `platform`, of any identity.
pub(crate) fn of_address(db: &Connection, platform: &str, address: &str) -> Result<Vec<Agreement>> {
    db.prepare_cached(
        "SELECT * FROM agreement WHERE platform = ?1 AND (
             (role = 'R' AND lower(payer_addr) = lower(?2)) OR (role = 'P' AND lower(payee_addr) = lower(?2)))",
    )?
    .query_map([platform, address], Agreement::read)?
    .collect()
}

/// The first document of an agreement brings its row.
pub(crate) fn ensure(db: &Connection, agreement: &Agreement) -> Result<()> {
    let Agreement { owner, id, role, peer, payee_addr, payer_addr, platform, session, created, .. } = agreement;
    db.prepare_cached(
        "INSERT OR IGNORE INTO agreement (owner, id, role, peer, payee_addr, payer_addr, platform, session, created,
             updated) VALUES (:owner, :id, :role, :peer, :payee, :payer, :platform, :session, :now, :now)",
    )?
    .execute(named_params! {
        ":owner": Text(owner), ":id": id, ":role": role.letter(), ":peer": Text(peer), ":payee": payee_addr,
        ":payer": payer_addr, ":platform": platform, ":session": session, ":now": created.timestamp_micros(),
    })?;
    Ok(())
}

pub(crate) fn save(db: &Connection, owner: NodeId, id: &str, totals: &Totals, now: DateTime<Utc>) -> Result<()> {
    save_totals(
        db,
        "UPDATE agreement SET due = ?3, accepted = ?4, scheduled = ?5, paid = ?6, updated = ?7
         WHERE owner = ?1 AND id = ?2",
        owner,
        id,
        totals,
        now,
    )
}

pub(crate) fn activity(db: &Connection, owner: NodeId, id: &str) -> Result<Option<Activity>> {
    db.prepare_cached("SELECT * FROM activity WHERE owner = ?1 AND id = ?2")?
        .query_row(params![Text(owner), id], Activity::read)
        .optional()
}

/// Activities of `owner`, or those of one agreement.
pub(crate) fn activities(db: &Connection, owner: NodeId, agreement: Option<&str>) -> Result<Vec<Activity>> {
    db.prepare_cached(
        "SELECT * FROM activity WHERE owner = ?1 AND (?2 IS NULL OR agreement = ?2) ORDER BY created, id",
    )?
    .query_map(params![Text(owner), agreement], Activity::read)?
    .collect()
}

pub(crate) fn ensure_activity(
    db: &Connection,
    owner: NodeId,
    id: &str,
    agreement: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    db.prepare_cached(
        "INSERT OR IGNORE INTO activity (owner, id, agreement, created, updated) VALUES (?1, ?2, ?3, ?4, ?4)",
    )?
    .execute(params![Text(owner), id, agreement, now.timestamp_micros()])?;
    Ok(())
}

pub(crate) fn save_activity(
    db: &Connection,
    owner: NodeId,
    id: &str,
    totals: &Totals,
    now: DateTime<Utc>,
) -> Result<()> {
    save_totals(
        db,
        "UPDATE activity SET due = ?3, accepted = ?4, scheduled = ?5, paid = ?6, updated = ?7
         WHERE owner = ?1 AND id = ?2",
        owner,
        id,
        totals,
        now,
    )
}

fn save_totals(db: &Connection, sql: &str, owner: NodeId, id: &str, totals: &Totals, now: DateTime<Utc>) -> Result<()> {
    let Totals { due, accepted, scheduled, paid } = *totals;
    db.prepare_cached(sql)?.execute(params![
        Text(owner),
        id,
        Text(due),
        Text(accepted),
        Text(scheduled),
        Text(paid),
        now.timestamp_micros()
    ])?;
    Ok(())
}

/// What the notes of an agreement ask together.
pub(crate) fn activities_due(db: &Connection, owner: NodeId, agreement: &str) -> Result<Option<Amount>> {
    Ok(Amount::sum(activities(db, owner, Some(agreement))?.into_iter().map(|activity| activity.totals.due)))
}
