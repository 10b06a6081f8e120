//! Allocations and what they paid for.

use chrono::{DateTime, SecondsFormat, Utc};
use golem_model::payment::{Allocation, AllocationExpenditure, Deposit};
use golem_model::{Amount, NodeId};
use golem_payment_core::books::{Expenditure, Funds};
use golem_store::rusqlite::{Connection, OptionalExtension, Result, Row, named_params, params};

use super::{Text, parsed};

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) owner: NodeId,
    pub(crate) address: String,
    pub(crate) platform: String,
    pub(crate) funds: Funds,
    pub(crate) created: DateTime<Utc>,
    pub(crate) updated: DateTime<Utc>,
    pub(crate) timeout: DateTime<Utc>,
    pub(crate) deposit: Option<Deposit>,
    pub(crate) released: bool,
}

impl Stored {
    fn read(row: &Row<'_>) -> Result<Self> {
        let deposit: Option<String> = row.get("deposit")?;
        Ok(Self {
            id: row.get("id")?,
            owner: parsed(row, "owner")?,
            address: row.get("address")?,
            platform: row.get("platform")?,
            funds: Funds { total: parsed(row, "total")?, spent: parsed(row, "spent")? },
            created: parsed(row, "created")?,
            updated: parsed(row, "updated")?,
            timeout: parsed(row, "timeout")?,
            deposit: deposit.and_then(|deposit| serde_json::from_str(&deposit).ok()),
            released: row.get("released")?,
        })
    }

    /// As clients see it.
    pub(crate) fn view(&self) -> Allocation {
        Allocation {
            allocation_id: self.id.clone(),
            address: self.address.clone(),
            payment_platform: self.platform.clone(),
            total_amount: self.funds.total,
            spent_amount: self.funds.spent,
            remaining_amount: self.funds.remaining(),
            timestamp: self.updated,
            timeout: Some(self.timeout),
            deposit: self.deposit.clone(),
            created_ts: self.created,
            updated_ts: self.updated,
            make_deposit: false,
        }
    }
}

fn precise(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

pub(crate) fn insert(db: &Connection, allocation: &Stored) -> Result<()> {
    let Stored { id, owner, address, platform, funds, created, updated, timeout, deposit, .. } = allocation;
    let deposit = deposit.as_ref().and_then(|deposit| serde_json::to_string(deposit).ok());
    db.prepare_cached(
        "INSERT INTO allocation (id, owner, address, platform, total, spent, created, updated, timeout, deposit,
             deposit_status)
         VALUES (:id, :owner, :address, :platform, :total, :spent, :created, :updated, :timeout, :deposit,
             CASE WHEN :deposit IS NULL THEN NULL ELSE 'open' END)",
    )?
    .execute(named_params! {
        ":id": id, ":owner": Text(owner), ":address": address, ":platform": platform, ":total": Text(funds.total),
        ":spent": Text(funds.spent), ":created": precise(*created), ":updated": precise(*updated),
        ":timeout": precise(*timeout), ":deposit": deposit,
    })?;
    Ok(())
}

pub(crate) fn get(db: &Connection, owner: NodeId, id: &str) -> Result<Option<Stored>> {
    db.prepare_cached("SELECT * FROM allocation WHERE id = ?1 AND owner = ?2")?
        .query_row(params![id, Text(owner)], Stored::read)
        .optional()
}

/// Allocations of `owner` that are not released, oldest first.
pub(crate) fn live(db: &Connection, owner: NodeId) -> Result<Vec<Stored>> {
    db.prepare_cached("SELECT * FROM allocation WHERE owner = ?1 AND released = 0 ORDER BY updated, created, id")?
        .query_map([Text(owner)], Stored::read)?
        .collect()
}

/// All of an address, for the driver's check; of the released ones only those with a deposit matter.
pub(crate) fn of_address(db: &Connection, platform: &str, address: &str) -> Result<Vec<Stored>> {
    db.prepare_cached(
        "SELECT * FROM allocation WHERE platform = ?1 AND lower(address) = lower(?2)
         AND (released = 0 OR deposit IS NOT NULL)",
    )?
    .query_map([platform, address], Stored::read)?
    .collect()
}

pub(crate) fn all_live(db: &Connection) -> Result<Vec<Stored>> {
    db.prepare_cached("SELECT * FROM allocation WHERE released = 0")?.query_map([], Stored::read)?.collect()
}

/// Saves amounts, timeout and deposit. `updated` stays: the daemon's clients know it so.
pub(crate) fn save(db: &Connection, allocation: &Stored) -> Result<()> {
    let Stored { id, funds, timeout, deposit, .. } = allocation;
    let deposit = deposit.as_ref().and_then(|deposit| serde_json::to_string(deposit).ok());
    db.prepare_cached("UPDATE allocation SET total = ?2, spent = ?3, timeout = ?4, deposit = ?5 WHERE id = ?1")?
        .execute(params![id, Text(funds.total), Text(funds.spent), precise(*timeout), deposit])?;
    Ok(())
}

/// Answers whether it was live.
pub(crate) fn release(db: &Connection, owner: NodeId, id: &str) -> Result<bool> {
    let changed = db
        .prepare_cached("UPDATE allocation SET released = 1 WHERE id = ?1 AND owner = ?2 AND released = 0")?
        .execute(params![id, Text(owner)])?;
    Ok(changed > 0)
}

/// Released allocations whose deposit is to be closed.
pub(crate) fn deposits_to_close(db: &Connection, owner: NodeId, platform: &str) -> Result<Vec<Stored>> {
    db.prepare_cached(
        "SELECT * FROM allocation WHERE owner = ?1 AND platform = ?2 AND released = 1 AND deposit_status = 'open'",
    )?
    .query_map(params![Text(owner), platform], Stored::read)?
    .collect()
}

pub(crate) fn deposit_closing(db: &Connection, id: &str) -> Result<()> {
    db.prepare_cached("UPDATE allocation SET deposit_status = 'closing' WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Expenditure of `allocation` for an agreement or one of its activities.
pub(crate) fn expenditure(
    db: &Connection,
    allocation: &str,
    agreement: &str,
    activity: Option<&str>,
) -> Result<Expenditure> {
    let found = db
        .prepare_cached(
            "SELECT accepted, scheduled, paid FROM expenditure
             WHERE allocation = ?1 AND agreement = ?2 AND activity = ?3",
        )?
        .query_row(params![allocation, agreement, activity.unwrap_or_default()], |row| {
            Ok(Expenditure {
                accepted: parsed(row, "accepted")?,
                scheduled: parsed(row, "scheduled")?,
                paid: parsed(row, "paid")?,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

pub(crate) fn save_expenditure(
    db: &Connection,
    allocation: &str,
    agreement: &str,
    activity: Option<&str>,
    row: &Expenditure,
) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO expenditure (allocation, agreement, activity, accepted, scheduled, paid, open, owed)
         VALUES (:allocation, :agreement, :activity, :accepted, :scheduled, :paid, :open, :owed)
         ON CONFLICT DO UPDATE SET accepted = :accepted, scheduled = :scheduled, paid = :paid, open = :open,
             owed = :owed",
    )?
    .execute(named_params! {
        ":allocation": allocation, ":agreement": agreement, ":activity": activity.unwrap_or_default(),
        ":accepted": Text(row.accepted), ":scheduled": Text(row.scheduled), ":paid": Text(row.paid),
        ":open": !row.open().is_zero(), ":owed": !row.unpaid().is_zero(),
    })?;
    Ok(())
}

/// What `allocation` has paid for: first agreements, then activities of each.
pub(crate) fn expenditures(db: &Connection, allocation: &str) -> Result<Vec<AllocationExpenditure>> {
    db.prepare_cached(
        "SELECT agreement, activity, accepted, scheduled FROM expenditure WHERE allocation = ?1
         ORDER BY agreement, activity",
    )?
    .query_map([allocation], |row| {
        let activity: String = row.get("activity")?;
        Ok(AllocationExpenditure {
            allocation_id: allocation.to_owned(),
            agreement_id: row.get("agreement")?,
            activity_id: Some(activity).filter(|activity| !activity.is_empty()),
            accepted_amount: parsed(row, "accepted")?,
            scheduled_amount: parsed(row, "scheduled")?,
        })
    })?
    .collect()
}

/// Accepted and not yet paid, of allocations of `address` that pay from its own account (spec 40 §5.6).
pub(crate) fn unpaid(db: &Connection, platform: &str, address: &str) -> Result<Amount> {
    let rows = db
        .prepare_cached(
            "SELECT e.accepted, e.paid FROM expenditure e JOIN allocation a ON a.id = e.allocation
             WHERE e.owed = 1 AND a.platform = ?1 AND lower(a.address) = lower(?2) AND a.deposit IS NULL",
        )?
        .query_map([platform, address], |row| {
            let (accepted, paid): (Amount, Amount) = (parsed(row, "accepted")?, parsed(row, "paid")?);
            Ok(accepted.minus_or_zero(paid))
        })?
        .collect::<Result<Vec<_>>>()?;
    Ok(Amount::sum(rows).unwrap_or_default())
}

/// Accepted from one allocation and not yet paid.
pub(crate) fn owed(db: &Connection, id: &str) -> Result<Amount> {
    let rows = db
        .prepare_cached("SELECT accepted, paid FROM expenditure WHERE allocation = ?1 AND owed = 1")?
        .query_map([id], |row| {
            let (accepted, paid): (Amount, Amount) = (parsed(row, "accepted")?, parsed(row, "paid")?);
            Ok(accepted.minus_or_zero(paid))
        })?
        .collect::<Result<Vec<_>>>()?;
    Ok(Amount::sum(rows).unwrap_or_default())
}
