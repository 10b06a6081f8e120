//! Questions to the books.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};
use golem_model::payment::Network;
use golem_store::StoreError;
use golem_store::rusqlite::{OptionalExtension, Row, params};

use super::{Attempt, Books, DepositKey, Kind, LaneKey, News, OpenTransaction, Queued, Standing, Unsettled};
use super::{damaged, time};

/// Most transfers that are looked at together; more than the largest cycle pays at once.
const QUEUE_MAX: i64 = 1000;

/// Most final transactions that are looked at again at once.
const UNSETTLED_MAX: i64 = 20;

/// Most news fetched at once.
const NEWS_MAX: i64 = 100;

fn text<T: std::str::FromStr>(row: &Row<'_>, column: &'static str) -> Result<T, StoreError> {
    row.get::<_, String>(column)?.parse().map_err(|_| damaged(column))
}

fn number(row: &Row<'_>, column: &'static str) -> Result<u64, StoreError> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| damaged(column))
}

fn hash(row: &Row<'_>, column: &'static str) -> Result<B256, StoreError> {
    B256::try_from(row.get::<_, Vec<u8>>(column)?.as_slice()).map_err(|_| damaged(column))
}

fn queued(row: &Row<'_>) -> Result<Queued, StoreError> {
    let contract: Option<String> = row.get("deposit_contract")?;
    let deposit = match contract {
        Some(_) => Some(DepositKey { contract: text(row, "deposit_contract")?, id: text(row, "deposit_id")? }),
        None => None,
    };
    Ok(Queued {
        payment_id: row.get("payment_id")?,
        kind: Kind::parse(&row.get::<_, String>("kind")?).ok_or_else(|| damaged("kind"))?,
        recipient: text(row, "recipient")?,
        amount: text(row, "amount")?,
        deposit,
        due_at: time(row.get("due_at")?),
        created_at: time(row.get("created_at")?),
        not_before: time(row.get("not_before")?),
        tries: row.get("tries")?,
    })
}

fn news(row: &Row<'_>) -> Result<News, StoreError> {
    let payment_id = row.get("payment_id")?;
    if row.get::<_, String>("state")? == "abandoned" {
        let reason: Option<String> = row.get("reason")?;
        return Ok(News::Abandoned { payment_id, reason: reason.unwrap_or_default() });
    }
    Ok(News::Paid {
        network: text(row, "network")?,
        payment_id,
        sender: text(row, "sender")?,
        recipient: text(row, "recipient")?,
        amount: text::<U256>(row, "amount")?,
        hash: hash(row, "mined_hash")?,
    })
}

impl Books {
    pub(crate) async fn accounts(&self) -> Result<Vec<(Network, Address, u32)>, StoreError> {
        self.0
            .read(|db| {
                let mut statement = db.prepare_cached("SELECT network, address, mode FROM account")?;
                let mut rows = statement.query([])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push((text(row, "network")?, text(row, "address")?, row.get("mode")?));
                }
                Ok(found)
            })
            .await
    }

    /// Lanes with anything left to do.
    pub(crate) async fn busy_lanes(&self) -> Result<Vec<LaneKey>, StoreError> {
        self.0
            .read(|db| {
                let mut statement = db.prepare_cached(
                    "SELECT network, sender FROM transfer WHERE state = 'queued'
                     UNION SELECT network, sender FROM tx WHERE state = 'open'
                     UNION SELECT network, sender FROM tx WHERE state = 'done' AND settled = 0",
                )?;
                let mut rows = statement.query([])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(LaneKey { network: text(row, "network")?, sender: text(row, "sender")? });
                }
                Ok(found)
            })
            .await
    }

    /// The open transaction with the lowest nonce.
    pub(crate) async fn open_transaction(&self, lane: LaneKey) -> Result<Option<OpenTransaction>, StoreError> {
        self.0
            .read(move |db| {
                let mut statement = db.prepare_cached(
                    "SELECT * FROM tx WHERE network = ?1 AND sender = ?2 AND state = 'open' ORDER BY nonce LIMIT 1",
                )?;
                let mut rows = statement.query(params![lane.network.name(), lane.sender.to_string()])?;
                let Some(row) = rows.next()? else { return Ok(None) };
                let mut open = OpenTransaction {
                    id: row.get("id")?,
                    nonce: number(row, "nonce")?,
                    target: text(row, "target")?,
                    input: row.get::<_, Vec<u8>>("input")?.into(),
                    gas_limit: number(row, "gas_limit")?,
                    attempts: Vec::new(),
                };
                let mut statement = db.prepare_cached("SELECT * FROM attempt WHERE tx = ?1 ORDER BY made_at, hash")?;
                let mut rows = statement.query([open.id])?;
                while let Some(row) = rows.next()? {
                    open.attempts.push(Attempt {
                        hash: hash(row, "hash")?,
                        raw: row.get::<_, Vec<u8>>("raw")?.into(),
                        max_fee: text(row, "max_fee")?,
                        tip: text(row, "tip")?,
                        made_at: time(row.get("made_at")?),
                    });
                }
                Ok(Some(open))
            })
            .await
    }

    /// Final transactions that were not looked at again, oldest first.
    pub(crate) async fn unsettled(&self, lane: LaneKey) -> Result<Vec<Unsettled>, StoreError> {
        self.0
            .read(move |db| {
                let mut statement = db.prepare_cached(
                    "SELECT id, mined_hash, mined_block, created_at FROM tx
                     WHERE network = ?1 AND sender = ?2 AND state = 'done' AND settled = 0 ORDER BY nonce LIMIT ?3",
                )?;
                let mut rows = statement.query(params![lane.network.name(), lane.sender.to_string(), UNSETTLED_MAX])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(Unsettled {
                        id: row.get("id")?,
                        hash: hash(row, "mined_hash")?,
                        block: number(row, "mined_block")?,
                        created_at: time(row.get("created_at")?),
                    });
                }
                Ok(found)
            })
            .await
    }

    /// The nonce after that of the last final transaction; below it the chain cannot be (spec 42 §5.3).
    pub(crate) async fn next_nonce(&self, lane: LaneKey) -> Result<u64, StoreError> {
        self.0
            .read(move |db| {
                let last: Option<i64> = db
                    .prepare_cached("SELECT max(nonce) FROM tx WHERE network = ?1 AND sender = ?2 AND state = 'done'")?
                    .query_row(params![lane.network.name(), lane.sender.to_string()], |row| row.get(0))?;
                Ok(last.and_then(|nonce| u64::try_from(nonce).ok()).map_or(0, |nonce| nonce + 1))
            })
            .await
    }

    /// What waits, by due date.
    pub(crate) async fn queue(&self, lane: LaneKey) -> Result<Vec<Queued>, StoreError> {
        self.0
            .read(move |db| {
                let mut statement = db.prepare_cached(
                    "SELECT * FROM transfer WHERE network = ?1 AND sender = ?2 AND state = 'queued'
                     ORDER BY due_at, created_at, payment_id LIMIT ?3",
                )?;
                let mut rows = statement.query(params![lane.network.name(), lane.sender.to_string(), QUEUE_MAX])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(queued(row)?);
                }
                Ok(found)
            })
            .await
    }

    pub(crate) async fn news(&self) -> Result<Vec<News>, StoreError> {
        self.0
            .read(|db| {
                let mut statement = db.prepare_cached(
                    "SELECT transfer.*, tx.mined_hash FROM transfer LEFT JOIN tx ON tx.id = transfer.tx
                     WHERE transfer.state IN ('paid', 'abandoned') ORDER BY transfer.created_at LIMIT ?1",
                )?;
                let mut rows = statement.query([NEWS_MAX])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(news(row)?);
                }
                Ok(found)
            })
            .await
    }

    /// What a transaction is to bring to each receiver.
    pub(crate) async fn carried(&self, id: i64) -> Result<BTreeMap<Address, U256>, StoreError> {
        self.0
            .read(move |db| {
                let mut statement =
                    db.prepare_cached("SELECT recipient, amount FROM transfer WHERE tx = ?1 AND kind = 'transfer'")?;
                let mut rows = statement.query([id])?;
                let mut carried = BTreeMap::<Address, U256>::new();
                while let Some(row) = rows.next()? {
                    let sum = carried.entry(text(row, "recipient")?).or_default();
                    *sum = sum.saturating_add(text(row, "amount")?);
                }
                Ok(carried)
            })
            .await
    }

    pub(crate) async fn standing(&self, payment_id: &str) -> Result<Option<Standing>, StoreError> {
        let payment_id = payment_id.to_owned();
        self.0
            .read(move |db| {
                let row: Option<(String, Option<String>)> = db
                    .prepare_cached("SELECT state, reason FROM transfer WHERE payment_id = ?1")?
                    .query_row([payment_id], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()?;
                Ok(row.map(|(state, reason)| match state.as_str() {
                    "paid" | "told" => Standing::Paid,
                    "abandoned" | "buried" => Standing::Abandoned(reason.unwrap_or_default()),
                    _ => Standing::Waiting,
                }))
            })
            .await
    }
}
