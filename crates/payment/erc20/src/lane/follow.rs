//! Follows the open transaction until it is final, and looks once more at final ones.

use std::time::Duration;

use alloy_primitives::B256;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Lane, Pause, StepError};
use crate::arrow::arrow;
use crate::plan::{self, Fees, LOST_AFTER, Patience, Sight, Verdict};
use crate::rpc::{Question, Receipt, RpcError};
use crate::store::OpenTransaction;
use crate::transaction::Unsigned;
use crate::trouble::Trouble;
use crate::verify;

/// A receipt may lag behind the nonce where several machines stand behind one URL.
const RECEIPT_LAG: Duration = Duration::from_secs(5);

/// Blocks above a final transaction at which it is looked at again (spec 42 §5.8).
const SETTLED_AFTER: u64 = 10;

impl Lane {
    pub(super) async fn follow(&mut self, open: OpenTransaction) -> Result<Pause, StepError> {
        let (sight, receipts) = self.look(&open).await?;
        match plan::judge(&open, &sight, self.net.chain.confirmations) {
            Verdict::Final { hash, block, succeeded } => {
                arrow!("erc20-mined");
                let moved = succeeded && self.moved(&open, &receipts).await?;
                self.finish(&open, hash, block, moved).await?;
                Ok(Pause::Now)
            }
            Verdict::Young => Ok(Pause::For(self.poll())),
            Verdict::NonceUsed => self.nonce_used(&open, &sight).await,
            Verdict::Gap => {
                // An earlier transaction was undone by a reorganisation; without it this one cannot be mined.
                self.settle().await?;
                self.wait(&open, &sight).await
            }
            Verdict::Waiting => {
                self.nonce_used = None;
                self.wait(&open, &sight).await
            }
        }
    }

    async fn look(&self, open: &OpenTransaction) -> Result<(Sight, Vec<Receipt>), RpcError> {
        let mut questions = vec![Question::nonce(self.key.sender, None), Question::latest_block()];
        questions.extend(open.attempts.iter().map(|attempt| Question::receipt(attempt.hash)));
        let mut answers = self.net.pool.ask_all(&questions).await?;
        let (nonce, block) = (answers.number()?, answers.block()?);
        let (mut mined, mut receipts) = (Vec::new(), Vec::new());
        for _ in &open.attempts {
            let receipt = answers.receipt()?;
            mined.push(receipt.as_ref().map(|receipt| (receipt.block, receipt.succeeded)));
            receipts.extend(receipt);
        }
        Ok((Sight { nonce, head: block.number, base_fee: block.base_fee, mined }, receipts))
    }

    /// Whether each receiver got what the transaction was to bring. A call of an address without the right contract
    /// also succeeds, and moves nothing.
    async fn moved(&self, open: &OpenTransaction, receipts: &[Receipt]) -> Result<bool, StepError> {
        let (token, sender) = (self.net.chain.token, self.key.sender);
        let carried = self.driver.books.carried(open.id).await?;
        Ok(carried.into_iter().all(|(recipient, amount)| {
            receipts.iter().any(|receipt| verify::paid(receipt, token, sender, recipient) >= amount)
        }))
    }

    async fn finish(&mut self, open: &OpenTransaction, hash: B256, block: u64, ok: bool) -> Result<(), StepError> {
        let books = &self.driver.books;
        if ok {
            books.succeed(open.id, hash, block).await?;
            info!(%hash, block, "transaction is final");
            metrics::counter!("payment_erc20_transactions_confirmed_total").increment(1);
            arrow!("erc20-confirmed");
            self.driver.news.notify_one();
        } else {
            warn!(%hash, block, "transaction was reverted or moved nothing; its transfers are tried again");
            metrics::counter!("payment_erc20_transactions_reverted_total").increment(1);
            let again = self.after_refusal();
            books
                .revert(open.id, hash, block, format!("transaction {hash} was reverted or moved no tokens"), again)
                .await?;
        }
        self.broadcast = None;
        Ok(())
    }

    /// The transaction is in no block: say it again now and then, and pay more for it when it takes too long.
    async fn wait(&mut self, open: &OpenTransaction, sight: &Sight) -> Result<Pause, StepError> {
        let Some(newest) = open.attempts.last() else { return Ok(Pause::Retry) };
        let eco = self.driver.settings.eco_extra_gwei;
        let ceiling = plan::ceiling(&self.net.chain, sight.base_fee, eco);
        match plan::patience(newest, sight, &self.net.chain, ceiling, self.driver.now()) {
            Patience::Replace(fees) => self.replace(open, fees).await?,
            Patience::Stuck => {
                self.troubles.push(Trouble::Stuck);
                self.say_again(open).await?;
            }
            Patience::Wait => self.say_again(open).await?,
        }
        Ok(Pause::For(self.poll()))
    }

    async fn replace(&mut self, open: &OpenTransaction, fees: Fees) -> Result<(), StepError> {
        let unsigned = Unsigned {
            chain_id: self.net.chain.chain_id,
            nonce: open.nonce,
            gas_limit: open.gas_limit,
            fees,
            target: open.target,
            input: open.input.clone(),
        };
        let attempt = unsigned.sign(&self.driver.bus, self.key.sender, self.driver.now()).await?;
        info!(hash = %attempt.hash, max_fee = fees.max_fee, "transaction is replaced by one that pays more");
        self.driver.books.add_attempt(open.id, attempt.clone()).await?;
        metrics::counter!("payment_erc20_transactions_replaced_total").increment(1);
        self.say(open.id, &attempt.raw).await
    }

    async fn say_again(&mut self, open: &OpenTransaction) -> Result<(), StepError> {
        let every = (self.poll() * 20).clamp(Duration::from_secs(1), Duration::from_secs(30));
        let fresh = self.broadcast.is_some_and(|(id, at)| id == open.id && at.elapsed() < every);
        match open.attempts.last() {
            Some(newest) if !fresh => self.say(open.id, &newest.raw).await,
            _ => Ok(()),
        }
    }

    /// Hands a signed transaction to a node. What the node thinks of it shows in later looks.
    pub(super) async fn say(&mut self, id: i64, raw: &[u8]) -> Result<(), StepError> {
        self.broadcast = Some((id, Instant::now()));
        match self.net.pool.ask(Question::send(raw), |answers| answers.take(|_| Some(()))).await {
            Ok(()) => {}
            Err(RpcError::Node(refused)) if refused.says("already known") || refused.says("nonce too low") => {}
            Err(RpcError::Node(refused)) if refused.says("already imported") => {}
            Err(RpcError::Node(refused)) if refused.says("insufficient funds") => {
                self.troubles.push(Trouble::NoCoin(alloy_primitives::U256::ONE));
            }
            Err(RpcError::Node(refused)) => warn!(%refused, "a node did not take the transaction"),
            Err(other) => return Err(other.into()),
        }
        Ok(())
    }

    /// The nonce is used, but none of our receipts is there. Only when the transaction that used it is known and lies
    /// deep enough is ours given up; all other doubts are waited out, because a second payment cannot be taken back.
    async fn nonce_used(&mut self, open: &OpenTransaction, sight: &Sight) -> Result<Pause, StepError> {
        let since = match self.nonce_used {
            Some((id, since)) if id == open.id => since,
            _ => {
                self.nonce_used = Some((open.id, Instant::now()));
                return Ok(Pause::For(self.poll()));
            }
        };
        if since.elapsed() < RECEIPT_LAG.min(self.poll() * 3) {
            return Ok(Pause::For(self.poll()));
        }
        let wait = Pause::For(self.poll().max(Duration::from_secs(1)));
        let Some((user, block)) = self.find_user(open.nonce, sight.head).await? else {
            self.troubles.push(Trouble::Stuck);
            return Ok(wait);
        };
        let ours = open.attempts.iter().any(|attempt| attempt.hash == user);
        if ours || block + LOST_AFTER.max(self.net.chain.confirmations) > sight.head {
            self.troubles.push(Trouble::Stuck);
            return Ok(wait);
        }
        error!(nonce = open.nonce, by = %user, "another program used the account's nonce; the transfers are sent again");
        self.driver.books.lose(open.id).await?;
        self.nonce_used = None;
        Ok(Pause::Now)
    }

    /// The mined transaction of this account with `nonce`, and its block. None when the node no longer knows.
    async fn find_user(&self, nonce: u64, head: u64) -> Result<Option<(B256, u64)>, RpcError> {
        let sender = self.key.sender;
        let used_at = async |block: u64| {
            let count = self.net.pool.ask(Question::nonce(sender, Some(block)), |answers| answers.number()).await;
            match count {
                Ok(count) => Ok(Some(count > nonce)),
                // The state of that block is forgotten.
                Err(RpcError::Node(_)) => Ok(None),
                Err(other) => Err(other),
            }
        };
        // `used` has the nonce used, `free` has not; first step back ever farther, then halve.
        let (mut used, mut step) = (head, 1);
        let mut free = loop {
            let Some(before) = used.checked_sub(step) else { break 0 };
            match used_at(before).await? {
                Some(true) => used = before,
                Some(false) => break before,
                None => return Ok(None),
            }
            step *= 2;
        };
        while used - free > 1 {
            let middle = free + (used - free) / 2;
            match used_at(middle).await? {
                Some(true) => used = middle,
                Some(false) => free = middle,
                None => return Ok(None),
            }
        }
        let block = self.net.pool.ask(Question::block(used, true), |answers| answers.block()).await?;
        let user =
            block.transactions.iter().find(|transaction| (transaction.from, transaction.nonce) == (sender, nonce));
        Ok(user.map(|transaction| (transaction.hash, used)))
    }

    /// Looks again at final transactions once they lie deep.
    pub(super) async fn settle(&mut self) -> Result<Settling, StepError> {
        let unsettled = self.driver.books.unsettled(self.key).await?;
        let Some(youngest) = unsettled.iter().map(|one| one.created_at).max() else { return Ok(Settling::Done) };
        let mut questions = vec![Question::latest_block()];
        questions.extend(unsettled.iter().map(|one| Question::receipt(one.hash)));
        let mut answers = self.net.pool.ask_all(&questions).await?;
        let head = answers.block()?.number;
        let confirmations = self.net.chain.confirmations;
        let mut left = false;
        for one in unsettled {
            match answers.receipt()? {
                Some(receipt) if receipt.block + confirmations + SETTLED_AFTER <= head => {
                    self.driver.books.settle(one.id).await?;
                }
                None if one.block + confirmations <= head => {
                    error!(hash = %one.hash, "a final transaction was undone by the chain; it is sent again");
                    self.driver.books.reopen(one.id).await?;
                    return Ok(Settling::Reopened);
                }
                _ => left = true,
            }
        }
        // Blocks may never come on a chain that makes them on demand, so the looks become rare.
        let age = (self.driver.now() - youngest).to_std().unwrap_or_default();
        let next = (age / 4).clamp(self.poll().max(Duration::from_secs(1)) * 5, Duration::from_secs(600));
        Ok(if left { Settling::In(next) } else { Settling::Done })
    }
}

/// What is left of looking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settling {
    Done,
    In(Duration),
    /// A transaction is open again.
    Reopened,
}
