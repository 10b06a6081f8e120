//! Makes the next transaction out of the queue.

use std::time::Duration;

use alloy_primitives::{Address, Bytes, U256};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::{Lane, Pause, StepError};
use crate::abi;
use crate::arrow::arrow;
use crate::plan::{self, Collect, Fees, Job, TRIES_MAX};
use crate::rpc::{NodeError, Question, RpcError};
use crate::store::{Queued, Signed};
use crate::transaction::Unsigned;
use crate::trouble::Trouble;

/// Gas above the estimate, for state that changes until the transaction is mined (spec 42 §5.3).
const SPARE_GAS: u64 = 20_000;

/// The account as the chain has it.
struct Purse {
    nonce: u64,
    pending: u64,
    coin: U256,
    tokens: U256,
    base_fee: u128,
}

impl Lane {
    pub(super) async fn send(&mut self) -> Result<Pause, StepError> {
        let flush = self.take_flush();
        let queue = self.give_up(self.driver.books.queue(self.key).await?).await?;
        let now = self.driver.now();
        match plan::collect(&queue, now, self.pace(), flush) {
            Collect::Nothing => return Ok(Pause::Idle),
            Collect::At(time) => return Ok(Pause::For((time - now).to_std().unwrap_or_default())),
            Collect::Now => {}
        }
        let purse = self.purse().await?;
        let stored = self.driver.books.next_nonce(self.key).await?;
        if purse.nonce < stored {
            // The node is behind, or a reorganisation undid what was final: the look at settled ones finds out which.
            debug!(node = purse.nonce, stored, "the chain has fewer transactions of this account than are known");
            self.troubles.push(Trouble::Rpc);
            return Ok(Pause::Retry);
        }
        if self.must_wait_for_others(&purse) {
            return Ok(Pause::Retry);
        }
        let next = plan::next(&queue, now, &self.net.chain, purse.tokens);
        for (payment_id, reason) in next.impossible {
            self.abandon(vec![payment_id], reason).await?;
        }
        if !next.tokens_missing.is_zero() {
            self.troubles.push(Trouble::NoTokens(next.tokens_missing));
        }
        match next.job {
            Some(job) => self.make(job, &purse).await,
            None if queue.iter().any(|queued| queued.not_before > now) => Ok(Pause::For(Duration::from_secs(1))),
            None => Ok(Pause::Retry),
        }
    }

    /// Gives up what was refused too often; answers the rest.
    async fn give_up(&mut self, queue: Vec<Queued>) -> Result<Vec<Queued>, StepError> {
        let (hopeless, rest): (Vec<_>, Vec<_>) = queue.into_iter().partition(|queued| queued.tries >= TRIES_MAX);
        for queued in hopeless {
            self.abandon(vec![queued.payment_id], "the chain refuses the transfer").await?;
        }
        Ok(rest)
    }

    async fn abandon(&self, payment_ids: Vec<String>, reason: &str) -> Result<(), StepError> {
        error!(?payment_ids, reason, "a transfer is given up; nothing was paid for it");
        metrics::counter!("payment_erc20_transfers_abandoned_total").increment(1);
        self.driver.books.abandon(payment_ids, reason.to_owned()).await?;
        arrow!("erc20-abandoned");
        self.driver.news.notify_one();
        Ok(())
    }

    async fn purse(&self) -> Result<Purse, RpcError> {
        let (sender, token) = (self.key.sender, self.net.chain.token);
        let questions = [
            Question::nonce(sender, None),
            Question::pending_nonce(sender),
            Question::balance(sender),
            Question::call(sender, token, &abi::balance_of(sender)),
            Question::latest_block(),
        ];
        let mut answers = self.net.pool.ask_all(&questions).await?;
        Ok(Purse {
            nonce: answers.number()?,
            pending: answers.number()?,
            coin: answers.amount()?,
            tokens: answers.word()?,
            base_fee: answers.block()?.base_fee,
        })
    }

    /// A transaction of this account that another program sent is let go first, for as long as it would take to
    /// replace one of ours. Then ours takes its nonce.
    fn must_wait_for_others(&mut self, purse: &Purse) -> bool {
        if purse.pending <= purse.nonce {
            self.foreign_since = None;
            return false;
        }
        let since = *self.foreign_since.get_or_insert_with(Instant::now);
        let wait = since.elapsed() < self.net.chain.replacement_timeout;
        if wait {
            debug!("a transaction of another program waits at this account");
        }
        wait
    }

    async fn make(&mut self, job: Job, purse: &Purse) -> Result<Pause, StepError> {
        if let Some((spender, sum)) = job.allowance {
            let (sender, token) = (self.key.sender, self.net.chain.token);
            let question = Question::call(sender, token, &abi::allowance(sender, spender));
            let allowed = self.net.pool.ask(question, |answers| answers.word()).await?;
            if allowed < sum {
                info!(%spender, "the multi transfer contract is allowed to spend tokens");
                let approve = Job {
                    target: token,
                    input: abi::approve_all(spender),
                    parcels: Vec::new(),
                    allowance: None,
                    deposit: None,
                };
                return self.sign_and_send(approve, purse).await;
            }
        }
        self.sign_and_send(job, purse).await
    }

    async fn sign_and_send(&mut self, job: Job, purse: &Purse) -> Result<Pause, StepError> {
        let eco = self.driver.settings.eco_extra_gwei;
        let ceiling = plan::ceiling(&self.net.chain, purse.base_fee, eco);
        let Some(fees) = plan::fees(purse.base_fee, self.net.chain.tip_wei, ceiling) else {
            warn!(base_fee = purse.base_fee, ceiling, "the network's fee is above the configured maximum");
            self.troubles.push(Trouble::Stuck);
            return Ok(Pause::Retry);
        };
        let gas_limit = match self.estimate(job.target, &job.input).await {
            Ok(gas) => gas.saturating_add(SPARE_GAS),
            Err(RpcError::Node(refused)) => return self.refused(job, refused, purse, fees).await,
            Err(other) => return Err(other.into()),
        };
        let cost = U256::from(gas_limit).saturating_mul(U256::from(fees.max_fee));
        if cost > purse.coin {
            self.troubles.push(Trouble::NoCoin(cost - purse.coin));
            return Ok(Pause::Retry);
        }
        let unsigned = Unsigned {
            chain_id: self.net.chain.chain_id,
            nonce: purse.nonce,
            gas_limit,
            fees,
            target: job.target,
            input: job.input.clone(),
        };
        let attempt = unsigned.sign(&self.driver.bus, self.key.sender, self.driver.now()).await?;
        arrow!("erc20-signed");
        let signed = Signed {
            lane: self.key,
            nonce: purse.nonce,
            target: job.target,
            input: job.input.clone(),
            gas_limit,
            attempt: attempt.clone(),
            payment_ids: job.payment_ids(),
        };
        self.driver.books.bind(signed).await?;
        arrow!("erc20-stored");
        info!(hash = %attempt.hash, nonce = purse.nonce, receivers = job.parcels.len(), "transaction is sent");
        metrics::counter!("payment_erc20_transactions_sent_total").increment(1);
        if let Some(open) = self.driver.books.open_transaction(self.key).await? {
            self.say(open.id, &attempt.raw).await?;
        }
        arrow!("erc20-broadcast");
        Ok(Pause::For(self.poll()))
    }

    async fn estimate(&self, target: Address, input: &Bytes) -> Result<u64, RpcError> {
        let question = Question::estimate(self.key.sender, target, input);
        self.net.pool.ask(question, |answers| answers.number()).await
    }

    /// The node would not run the transaction.
    async fn refused(&mut self, job: Job, why: NodeError, purse: &Purse, fees: Fees) -> Result<Pause, StepError> {
        if why.says("transfer amount exceeds balance") && job.deposit.is_none() {
            // The balance was looked at a moment ago, so it changed meanwhile.
            let sum = job.parcels.iter().fold(U256::ZERO, |sum, parcel| sum.saturating_add(parcel.amount));
            self.troubles.push(Trouble::NoTokens(sum.saturating_sub(purse.tokens).max(U256::ONE)));
            return Ok(Pause::Retry);
        }
        if why.says("cannot acquire more funds") {
            self.abandon(job.payment_ids(), "the faucet gives nothing to who has so much").await?;
            return Ok(Pause::Now);
        }
        if why.says("insufficient funds") || why.says("gas required exceeds allowance") && !why.says("revert") {
            let wanted = U256::from(200_000).saturating_mul(U256::from(fees.max_fee));
            self.troubles.push(Trouble::NoCoin(wanted.saturating_sub(purse.coin).max(U256::ONE)));
            return Ok(Pause::Retry);
        }
        if !why.is_revert() {
            return Err(RpcError::Node(why).into());
        }
        if let [parcel] = job.parcels.as_slice() {
            warn!(payment_ids = ?parcel.payment_ids, %why, "the chain refuses a transfer");
            let again = self.after_refusal();
            self.driver.books.refuse(parcel.payment_ids.clone(), why.message, again).await?;
        } else if job.parcels.is_empty() {
            return Err(RpcError::Node(why).into());
        } else {
            self.isolate(&job).await?;
        }
        Ok(Pause::Now)
    }

    /// Finds those of a batch that are refused on their own; the others go on without them.
    async fn isolate(&mut self, job: &Job) -> Result<(), StepError> {
        let mut guilty = Vec::new();
        for parcel in &job.parcels {
            let alone = job.only(parcel, self.net.chain.token);
            match self.estimate(alone.target, &alone.input).await {
                Ok(_) => {}
                Err(RpcError::Node(why)) => guilty.push((parcel, why.message)),
                Err(other) => return Err(other.into()),
            }
        }
        let now = self.driver.now();
        warn!(of = job.parcels.len(), refused = guilty.len(), "the chain refuses a batch");
        if guilty.is_empty() {
            // Each is fine alone, so the batch contract is not: all go alone.
            self.driver.books.refuse(job.payment_ids(), "the batch was refused".to_owned(), now).await?;
        }
        for (parcel, why) in guilty {
            self.driver.books.refuse(parcel.payment_ids.clone(), why, self.after_refusal()).await?;
        }
        Ok(())
    }
}
