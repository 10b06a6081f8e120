//! Changes of the books, each one commit.

use alloy_primitives::{Address, B256, Bytes};
use chrono::{DateTime, Utc};
use golem_model::payment::Network;
use golem_store::StoreError;
use golem_store::rusqlite::{OptionalExtension, Transaction, params};

use super::{Attempt, Books, LaneKey, NewTransfer, millis};

/// A transaction that was just signed, and what it carries.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) lane: LaneKey,
    pub(crate) nonce: u64,
    pub(crate) target: Address,
    pub(crate) input: Bytes,
    pub(crate) gas_limit: u64,
    pub(crate) attempt: Attempt,
    pub(crate) payment_ids: Vec<String>,
}

/// Why a transfer is not put into the queue.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum QueueError {
    #[error("payment id `{0}` belongs to another transfer")]
    OtherTransfer(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn signed_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn insert_attempt(tx: &Transaction<'_>, id: i64, attempt: &Attempt) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT INTO attempt (hash, tx, raw, max_fee, tip, made_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            attempt.hash.as_slice(),
            id,
            attempt.raw.as_ref(),
            attempt.max_fee.to_string(),
            attempt.tip.to_string(),
            millis(attempt.made_at),
        ])?;
    Ok(())
}

/// Sender, receiver and amount of a transfer that is there.
fn known(tx: &Transaction<'_>, payment_id: &str) -> Result<Option<(String, String, String)>, StoreError> {
    let known = tx
        .prepare_cached("SELECT sender, recipient, amount FROM transfer WHERE payment_id = ?1")?
        .query_row([payment_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    Ok(known)
}

fn insert_transfer(tx: &Transaction<'_>, new: &NewTransfer) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO transfer (payment_id, network, sender, kind, recipient, amount, deposit_contract,
         deposit_id, due_at, created_at, not_before, notify, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?11, 'queued')",
    )?
    .execute(params![
        new.payment_id,
        new.lane.network.name(),
        new.lane.sender.to_string(),
        new.kind.text(),
        new.recipient.to_string(),
        new.amount.to_string(),
        new.deposit.map(|deposit| deposit.contract.to_string()),
        new.deposit.map(|deposit| deposit.id.to_string()),
        millis(new.due_at),
        millis(new.now),
        new.notify,
    ])?;
    Ok(())
}

impl Books {
    pub(crate) async fn put_account(&self, network: Network, address: Address, mode: u32) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                tx.execute(
                    "INSERT INTO account (network, address, mode) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET mode = mode | excluded.mode",
                    params![network.name(), address.to_string(), mode],
                )?;
                Ok(())
            })
            .await
    }

    /// Puts a transfer into the queue. One that is there already, in any state, is left alone.
    pub(crate) async fn enqueue(&self, new: NewTransfer) -> Result<(), QueueError> {
        self.0
            .write(move |tx| {
                let wanted = (new.lane.sender.to_string(), new.recipient.to_string(), new.amount.to_string());
                match known(tx, &new.payment_id)? {
                    Some(known) if known == wanted => Ok(()),
                    Some(_) => Err(QueueError::OtherTransfer(new.payment_id)),
                    None => Ok(insert_transfer(tx, &new)?),
                }
            })
            .await
    }

    /// Binds transfers to a signed transaction. It fails, and nothing changes, unless all of them still wait.
    pub(crate) async fn bind(&self, signed: Signed) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                tx.prepare_cached(
                    "INSERT INTO tx (network, sender, nonce, target, input, gas_limit, state, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'open', ?7)",
                )?
                .execute(params![
                    signed.lane.network.name(),
                    signed.lane.sender.to_string(),
                    signed_number(signed.nonce),
                    signed.target.to_string(),
                    signed.input.as_ref(),
                    signed_number(signed.gas_limit),
                    millis(signed.attempt.made_at),
                ])?;
                let id = tx.last_insert_rowid();
                insert_attempt(tx, id, &signed.attempt)?;
                let mut bind = tx.prepare_cached(
                    "UPDATE transfer SET state = 'sent', tx = ?2, reason = NULL WHERE payment_id = ?1 AND state = 'queued'",
                )?;
                for payment_id in &signed.payment_ids {
                    if bind.execute(params![payment_id, id])? != 1 {
                        return Err(super::damaged("transfer.state"));
                    }
                }
                Ok(())
            })
            .await
    }

    /// Adds a signed form with other fees.
    pub(crate) async fn add_attempt(&self, id: i64, attempt: Attempt) -> Result<(), StoreError> {
        self.0.write(move |tx| insert_attempt(tx, id, &attempt)).await
    }

    /// The transaction is final and did what it should.
    pub(crate) async fn succeed(&self, id: i64, hash: B256, block: u64) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                finish(tx, id, hash, block, true)?;
                tx.execute(
                    "UPDATE transfer SET state = CASE WHEN notify THEN 'paid' ELSE 'told' END
                     WHERE tx = ?1 AND state = 'sent'",
                    [id],
                )?;
                Ok(())
            })
            .await
    }

    /// The transaction is final and was reverted: its transfers wait again.
    pub(crate) async fn revert(
        &self,
        id: i64,
        hash: B256,
        block: u64,
        reason: String,
        not_before: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                finish(tx, id, hash, block, false)?;
                tx.execute(
                    "UPDATE transfer SET state = 'queued', tx = NULL, tries = tries + 1, reason = ?2, not_before = ?3
                     WHERE tx = ?1 AND state = 'sent'",
                    params![id, reason, millis(not_before)],
                )?;
                Ok(())
            })
            .await
    }

    /// The transaction can never be mined: its transfers wait again.
    pub(crate) async fn lose(&self, id: i64) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                tx.execute("UPDATE tx SET state = 'lost' WHERE id = ?1", [id])?;
                tx.execute(
                    "UPDATE transfer SET state = 'queued', tx = NULL WHERE tx = ?1 AND state IN ('sent', 'paid', 'told')",
                    [id],
                )?;
                Ok(())
            })
            .await
    }

    /// A final transaction is on the chain no more and goes its way once again.
    pub(crate) async fn reopen(&self, id: i64) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                tx.execute(
                    "UPDATE tx SET state = 'open', mined_hash = NULL, mined_block = NULL, succeeded = NULL WHERE id = ?1",
                    [id],
                )?;
                // What the payment service knows already stays known: the same hash is mined again.
                tx.execute("UPDATE transfer SET state = 'sent' WHERE tx = ?1 AND state = 'paid'", [id])?;
                Ok(())
            })
            .await
    }

    /// A final transaction lies deep enough to be never looked at again.
    pub(crate) async fn settle(&self, id: i64) -> Result<(), StoreError> {
        self.0
            .write(move |tx| tx.execute("UPDATE tx SET settled = 1 WHERE id = ?1", [id]).map(drop).map_err(Into::into))
            .await
    }

    /// The chain refused a waiting transfer.
    pub(crate) async fn refuse(
        &self,
        payment_ids: Vec<String>,
        reason: String,
        not_before: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                let mut refuse = tx.prepare_cached(
                    "UPDATE transfer SET tries = tries + 1, reason = ?2, not_before = ?3
                     WHERE payment_id = ?1 AND state = 'queued'",
                )?;
                for payment_id in payment_ids {
                    refuse.execute(params![payment_id, reason, millis(not_before)])?;
                }
                Ok(())
            })
            .await
    }

    /// A waiting transfer will never be sent.
    pub(crate) async fn abandon(&self, payment_ids: Vec<String>, reason: String) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                let mut abandon = tx.prepare_cached(
                    "UPDATE transfer SET state = CASE WHEN notify THEN 'abandoned' ELSE 'buried' END,
                     reason = coalesce(reason, ?2) WHERE payment_id = ?1 AND state = 'queued'",
                )?;
                for payment_id in payment_ids {
                    abandon.execute(params![payment_id, reason])?;
                }
                Ok(())
            })
            .await
    }

    /// The payment service knows.
    pub(crate) async fn acknowledged(&self, payment_id: &str) -> Result<(), StoreError> {
        let payment_id = payment_id.to_owned();
        self.0
            .write(move |tx| {
                tx.execute(
                    "UPDATE transfer SET state = CASE state WHEN 'paid' THEN 'told' ELSE 'buried' END
                     WHERE payment_id = ?1 AND state IN ('paid', 'abandoned')",
                    [payment_id],
                )?;
                Ok(())
            })
            .await
    }
}

fn finish(tx: &Transaction<'_>, id: i64, hash: B256, block: u64, succeeded: bool) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE tx SET state = 'done', mined_hash = ?2, mined_block = ?3, succeeded = ?4 WHERE id = ?1 AND state = 'open'",
        params![id, hash.as_slice(), signed_number(block), succeeded],
    )?;
    Ok(())
}
