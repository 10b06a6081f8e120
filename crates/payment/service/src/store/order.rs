//! Batch orders: what was ordered from the driver (spec 40 §6.3, §6.4).

use chrono::{DateTime, Utc};
use golem_model::payment::Deposit;
use golem_model::{Amount, NodeId};
use golem_payment_core::clearing::{Open, Order, PaidPart};
use golem_store::rusqlite::{Connection, OptionalExtension, Result, Row, ToSql, named_params, params};

use super::{Text, parsed, time};

/// Expenditure rows of `owner` on `platform` with a part in no order.
pub(crate) fn open(db: &Connection, owner: NodeId, platform: &str) -> Result<Vec<Open>> {
    db.prepare_cached(
        "SELECT e.allocation, e.agreement, e.activity, e.accepted, e.scheduled, l.address,
             l.deposit IS NOT NULL AS deposit, a.payee_addr, a.peer
         FROM expenditure e JOIN allocation l ON l.id = e.allocation
             JOIN agreement a ON a.owner = l.owner AND a.id = e.agreement
         WHERE e.open = 1 AND l.owner = ?1 AND l.platform = ?2",
    )?
    .query_map(params![Text(owner), platform], |row| {
        let activity: String = row.get("activity")?;
        let (accepted, scheduled): (Amount, Amount) = (parsed(row, "accepted")?, parsed(row, "scheduled")?);
        Ok(Open {
            allocation_id: row.get("allocation")?,
            deposit: row.get("deposit")?,
            payer_addr: row.get("address")?,
            payee_addr: row.get("payee_addr")?,
            peer: parsed(row, "peer")?,
            agreement_id: row.get("agreement")?,
            activity_id: Some(activity).filter(|activity| !activity.is_empty()),
            amount: accepted.minus_or_zero(scheduled),
        })
    })?
    .collect()
}

/// Platforms on which anything of anybody is open or not handed to the driver.
pub(crate) fn unfinished(db: &Connection) -> Result<Vec<(NodeId, String)>> {
    db.prepare_cached(
        "SELECT l.owner, l.platform FROM expenditure e JOIN allocation l ON l.id = e.allocation WHERE e.open = 1
         UNION SELECT o.owner, o.platform FROM batch_item i JOIN batch_order o ON o.id = i.batch WHERE i.state = 'new'",
    )?
    .query_map([], |row| Ok((parsed(row, "owner")?, row.get("platform")?)))?
    .collect()
}

pub(crate) fn insert(
    db: &Connection,
    id: &str,
    owner: NodeId,
    platform: &str,
    order: &Order,
    now: DateTime<Utc>,
) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO batch_order (id, owner, payer_addr, platform, total, created, updated)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
    )?
    .execute(params![id, Text(owner), order.payer_addr, platform, Text(order.total), now.timestamp_micros()])?;
    for item in &order.items {
        db.prepare_cached(
            "INSERT INTO batch_item (batch, payee_addr, allocation, amount, payment) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![id, item.payee_addr, item.allocation_id, Text(item.amount), item.payment_id])?;
        for part in &item.documents {
            let document = super::document::last_accepted(db, owner, &part.agreement_id, part.activity_id.as_deref())?;
            db.prepare_cached(
                "INSERT INTO batch_document (batch, payee_addr, allocation, agreement, activity, peer, amount, document)
                 VALUES (:batch, :payee, :allocation, :agreement, :activity, :peer, :amount, :document)",
            )?
            .execute(named_params! {
                ":batch": id, ":payee": item.payee_addr, ":allocation": item.allocation_id,
                ":agreement": part.agreement_id, ":activity": part.activity_id.as_deref().unwrap_or_default(),
                ":peer": Text(part.peer), ":amount": Text(part.amount), ":document": document,
            })?;
        }
    }
    Ok(())
}

/// A transfer that the driver may not know yet.
#[derive(Clone, Debug)]
pub(crate) struct Unsent {
    pub(crate) payment_id: String,
    pub(crate) payer_addr: String,
    pub(crate) payee_addr: String,
    pub(crate) amount: Amount,
    pub(crate) deposit: Option<Deposit>,
}

pub(crate) fn unsent(db: &Connection, owner: NodeId, platform: &str) -> Result<Vec<Unsent>> {
    let mut statement = db.prepare_cached(
        "SELECT i.payment, o.payer_addr, i.payee_addr, i.amount, l.deposit
         FROM batch_item i JOIN batch_order o ON o.id = i.batch JOIN allocation l ON l.id = i.allocation
         WHERE i.state = 'new' AND o.owner = ?1 AND o.platform = ?2 ORDER BY o.created, i.payment",
    )?;
    let mut rows = statement.query(params![Text(owner), platform])?;
    let mut transfers: Vec<Unsent> = Vec::new();
    while let Some(row) = rows.next()? {
        let (payment_id, amount): (String, Amount) = (row.get("payment")?, parsed(row, "amount")?);
        match transfers.last_mut().filter(|last| last.payment_id == payment_id) {
            Some(last) => last.amount = last.amount.checked_add(amount).unwrap_or(last.amount),
            None => {
                let deposit: Option<String> = row.get("deposit")?;
                transfers.push(Unsent {
                    payment_id,
                    payer_addr: row.get("payer_addr")?,
                    payee_addr: row.get("payee_addr")?,
                    amount,
                    deposit: deposit.and_then(|deposit| serde_json::from_str(&deposit).ok()),
                });
            }
        }
    }
    Ok(transfers)
}

/// The driver has the transfer, under this or another id.
pub(crate) fn mark_sent(db: &Connection, payment_id: &str, driver_id: &str) -> Result<()> {
    db.prepare_cached("UPDATE batch_item SET state = 'sent', payment = ?2 WHERE payment = ?1 AND state = 'new'")?
        .execute([payment_id, driver_id])?;
    Ok(())
}

/// What a payment id stands for.
#[derive(Clone, Debug)]
pub(crate) struct Ordered {
    pub(crate) owner: NodeId,
    pub(crate) payer_addr: String,
    pub(crate) payee_addr: String,
    pub(crate) platform: String,
    pub(crate) state: String,
    pub(crate) parts: Vec<(String, PaidPart)>,
}

pub(crate) fn by_payment(db: &Connection, payment_id: &str) -> Result<Option<Ordered>> {
    let head = db
        .prepare_cached(
            "SELECT o.owner, o.payer_addr, o.platform, i.payee_addr, i.state FROM batch_item i
             JOIN batch_order o ON o.id = i.batch WHERE i.payment = ?1 LIMIT 1",
        )?
        .query_row([payment_id], |row| {
            Ok(Ordered {
                owner: parsed(row, "owner")?,
                payer_addr: row.get("payer_addr")?,
                payee_addr: row.get("payee_addr")?,
                platform: row.get("platform")?,
                state: row.get("state")?,
                parts: Vec::new(),
            })
        })
        .optional()?;
    let Some(mut ordered) = head else { return Ok(None) };
    ordered.parts = db
        .prepare_cached(
            "SELECT d.allocation, d.agreement, d.activity, d.peer, d.amount FROM batch_document d
             JOIN batch_item i ON i.batch = d.batch AND i.payee_addr = d.payee_addr AND i.allocation = d.allocation
             WHERE i.payment = ?1",
        )?
        .query_map([payment_id], |row| {
            let activity: String = row.get("activity")?;
            let part = PaidPart {
                peer: parsed(row, "peer")?,
                agreement_id: row.get("agreement")?,
                activity_id: Some(activity).filter(|activity| !activity.is_empty()),
                amount: parsed(row, "amount")?,
            };
            Ok((row.get("allocation")?, part))
        })?
        .collect::<Result<_>>()?;
    Ok(Some(ordered))
}

/// Sets the state of all items of a payment; paid ones raise what their orders show as paid.
pub(crate) fn finish(db: &Connection, payment_id: &str, state: &str, now: DateTime<Utc>) -> Result<()> {
    let items: Vec<(String, Amount)> = db
        .prepare_cached("SELECT batch, amount FROM batch_item WHERE payment = ?1")?
        .query_map([payment_id], |row| Ok((row.get("batch")?, parsed(row, "amount")?)))?
        .collect::<Result<_>>()?;
    db.prepare_cached("UPDATE batch_item SET state = ?2 WHERE payment = ?1")?.execute([payment_id, state])?;
    for (batch, amount) in items {
        let paid: Text<Amount> =
            db.prepare_cached("SELECT paid FROM batch_order WHERE id = ?1")?.query_row([&batch], |row| row.get(0))?;
        let paid = if state == "paid" { paid.0.checked_add(amount).unwrap_or(paid.0) } else { paid.0 };
        db.prepare_cached("UPDATE batch_order SET paid = ?2, updated = ?3 WHERE id = ?1")?.execute(params![
            batch,
            Text(paid),
            now.timestamp_micros()
        ])?;
    }
    Ok(())
}

/// An order as tools list it.
#[derive(Clone, Debug)]
pub(crate) struct OrderRow {
    pub(crate) id: String,
    pub(crate) owner: NodeId,
    pub(crate) payer_addr: String,
    pub(crate) platform: String,
    pub(crate) total: Amount,
    pub(crate) paid: Amount,
    pub(crate) created: DateTime<Utc>,
    pub(crate) updated: DateTime<Utc>,
}

pub(crate) fn list(db: &Connection, owner: NodeId, id: Option<&str>) -> Result<Vec<OrderRow>> {
    db.prepare_cached("SELECT * FROM batch_order WHERE owner = ?1 AND (?2 IS NULL OR id = ?2) ORDER BY created")?
        .query_map(params![Text(owner), id], |row| {
            Ok(OrderRow {
                id: row.get("id")?,
                owner: parsed(row, "owner")?,
                payer_addr: row.get("payer_addr")?,
                platform: row.get("platform")?,
                total: parsed(row, "total")?,
                paid: parsed(row, "paid")?,
                created: time(row, "created")?,
                updated: time(row, "updated")?,
            })
        })?
        .collect()
}

#[derive(Clone, Debug)]
pub(crate) struct ItemRow {
    pub(crate) order: String,
    pub(crate) payee_addr: String,
    pub(crate) allocation: String,
    pub(crate) amount: Amount,
    pub(crate) payment: String,
    pub(crate) state: String,
}

pub(crate) fn items(db: &Connection, owner: NodeId, order: &str) -> Result<Vec<ItemRow>> {
    db.prepare_cached(
        "SELECT i.* FROM batch_item i JOIN batch_order o ON o.id = i.batch WHERE o.owner = ?1 AND o.id = ?2",
    )?
    .query_map(params![Text(owner), order], |row| {
        Ok(ItemRow {
            order: row.get("batch")?,
            payee_addr: row.get("payee_addr")?,
            allocation: row.get("allocation")?,
            amount: parsed(row, "amount")?,
            payment: row.get("payment")?,
            state: row.get("state")?,
        })
    })?
    .collect()
}

/// A document's part of an order.
#[derive(Clone, Debug)]
pub(crate) struct DetailRow {
    pub(crate) order: String,
    pub(crate) owner: NodeId,
    pub(crate) payee_addr: String,
    pub(crate) allocation: String,
    pub(crate) amount: Amount,
    pub(crate) agreement: String,
    pub(crate) activity: Option<String>,
    pub(crate) document: Option<String>,
    pub(crate) created: DateTime<Utc>,
    pub(crate) updated: DateTime<Utc>,
}

/// Which details are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DetailsOf<'a> {
    Item { order: &'a str, payee: &'a str },
    Allocation(&'a str),
    Agreement(&'a str),
    Activity(&'a str),
}

pub(crate) fn details(db: &Connection, owner: NodeId, of: DetailsOf<'_>) -> Result<Vec<DetailRow>> {
    let owner = Text(owner);
    let (condition, keys): (_, Vec<&dyn ToSql>) = match &of {
        DetailsOf::Item { order, payee } => ("d.batch = ?2 AND d.payee_addr = ?3", vec![&owner, order, payee]),
        DetailsOf::Allocation(id) => ("d.allocation = ?2", vec![&owner, id]),
        DetailsOf::Agreement(id) => ("d.agreement = ?2", vec![&owner, id]),
        DetailsOf::Activity(id) => ("d.activity = ?2", vec![&owner, id]),
    };
    db.prepare_cached(&format!(
        "SELECT d.*, o.owner, o.created, o.updated FROM batch_document d JOIN batch_order o ON o.id = d.batch
         WHERE o.owner = ?1 AND {condition} ORDER BY o.created, d.agreement, d.activity"
    ))?
    .query_map(&keys[..], DetailRow::read)?
    .collect()
}

impl DetailRow {
    fn read(row: &Row<'_>) -> Result<Self> {
        let activity: String = row.get("activity")?;
        Ok(Self {
            order: row.get("batch")?,
            owner: parsed(row, "owner")?,
            payee_addr: row.get("payee_addr")?,
            allocation: row.get("allocation")?,
            amount: parsed(row, "amount")?,
            agreement: row.get("agreement")?,
            activity: Some(activity).filter(|activity| !activity.is_empty()),
            document: row.get("document")?,
            created: time(row, "created")?,
            updated: time(row, "updated")?,
        })
    }
}
