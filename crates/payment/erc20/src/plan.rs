//! What to send, when and at what price, and what a look at the chain means. Pure: no clock, no node, no books.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use chrono::{DateTime, TimeDelta, Utc};

use crate::abi;
use crate::settings::Chain;
use crate::store::{Attempt, DepositKey, Kind, OpenTransaction, Queued};

/// A transfer is collected so long before it is due (spec 42 §5.1).
const BEFORE_DUE: TimeDelta = TimeDelta::minutes(2);

/// How often the chain may refuse a transfer before it is given up.
pub(crate) const TRIES_MAX: u32 = 3;

/// The queue may grow for so many quiet times before it is collected anyway.
const QUIET_MAX: u32 = 10;

/// Blocks above a transaction of somebody else that make it certain that ours with its nonce will never be mined.
pub(crate) const LOST_AFTER: u64 = 10;

// ---- when -------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collect {
    Nothing,
    At(DateTime<Utc>),
    Now,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Transfers of one cycle come one after the other; so long without a new one and the cycle is whole.
    pub(crate) quiet: Duration,
    /// Transfers that are not due wait for company at most so long.
    pub(crate) gather: Duration,
}

fn plus(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by).ok().and_then(|by| time.checked_add_signed(by)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// When the queue is collected (spec 42 §5.2).
pub(crate) fn collect(queue: &[Queued], now: DateTime<Utc>, pace: Pace, flush: bool) -> Collect {
    let Some(newest) = queue.iter().map(|queued| queued.created_at).max() else { return Collect::Nothing };
    let oldest = queue.iter().map(|queued| queued.created_at).min().unwrap_or(newest);
    let whole = plus(newest, pace.quiet).min(plus(oldest, pace.quiet * QUIET_MAX));
    let due = |queued: &Queued| {
        let wanted = queued.due_at.checked_sub_signed(BEFORE_DUE).unwrap_or(queued.due_at);
        wanted.min(plus(queued.created_at, pace.gather)).max(queued.not_before)
    };
    let first = queue.iter().map(due).min().unwrap_or(now).max(whole);
    if flush && queue.iter().any(|queued| queued.not_before <= now) || first <= now {
        Collect::Now
    } else {
        Collect::At(first)
    }
}

// ---- what -------------------------------------------------------------------

/// All that one receiver gets in one transaction. No receiver comes twice in a transaction, because payees look at the
/// first transfer to them only (spec 42 §5.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) recipient: Address,
    pub(crate) amount: U256,
    pub(crate) payment_ids: Vec<String>,
}

/// A transaction to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) target: Address,
    pub(crate) input: Bytes,
    pub(crate) parcels: Vec<Parcel>,
    /// The contract that must be allowed to take so much.
    pub(crate) allowance: Option<(Address, U256)>,
    pub(crate) deposit: Option<DepositKey>,
}

impl Job {
    pub(crate) fn payment_ids(&self) -> Vec<String> {
        self.parcels.iter().flat_map(|parcel| &parcel.payment_ids).cloned().collect()
    }

    /// The same for one of its parcels alone.
    pub(crate) fn only(&self, parcel: &Parcel, token: Address) -> Self {
        let payments = [(parcel.recipient, parcel.amount)];
        let (target, input) = match self.deposit {
            Some(deposit) => (deposit.contract, abi::deposit_transfer(deposit.id, &payments)),
            None => (token, abi::transfer(parcel.recipient, parcel.amount)),
        };
        Self { target, input, parcels: vec![parcel.clone()], allowance: None, deposit: self.deposit }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) job: Option<Job>,
    /// Tokens that are missing for what waits.
    pub(crate) tokens_missing: U256,
    /// What can never be sent, with the reason.
    pub(crate) impossible: Vec<(String, &'static str)>,
}

/// Chooses the next transaction for an account that holds `tokens`.
pub(crate) fn next(queue: &[Queued], now: DateTime<Utc>, chain: &Chain, tokens: U256) -> Next {
    let mut next = Next { job: None, tokens_missing: U256::ZERO, impossible: Vec::new() };
    let ready: Vec<&Queued> = queue.iter().filter(|queued| queued.not_before <= now).collect();
    next.tokens_missing = missing(&ready, tokens);
    for queued in &ready {
        let job = match queued.kind {
            Kind::Mint => match chain.mint {
                Some(mint) => Some(single(queued, mint.address, abi::mint())),
                None => {
                    next.impossible.push((queued.payment_id.clone(), "the network has no faucet"));
                    None
                }
            },
            Kind::CloseDeposit => match queued.deposit {
                // Payments out of the deposit come first, also those that wait for another try.
                Some(deposit) if has_transfers(queue, deposit) => None,
                Some(deposit) => Some(single(queued, deposit.contract, abi::close_deposit(deposit.id))),
                None => {
                    next.impossible.push((queued.payment_id.clone(), "there is no deposit to close"));
                    None
                }
            },
            Kind::Transfer => transfers(queued, &ready, chain, tokens),
        };
        if job.is_some() {
            next.job = job;
            break;
        }
    }
    next
}

fn missing(ready: &[&Queued], tokens: U256) -> U256 {
    let plain = ready.iter().filter(|queued| queued.kind == Kind::Transfer && queued.deposit.is_none());
    let wanted = plain.fold(U256::ZERO, |sum, queued| sum.saturating_add(queued.amount));
    wanted.saturating_sub(tokens)
}

fn has_transfers(queue: &[Queued], deposit: DepositKey) -> bool {
    queue.iter().any(|queued| queued.kind == Kind::Transfer && queued.deposit == Some(deposit))
}

fn single(queued: &Queued, target: Address, input: Bytes) -> Job {
    let parcel =
        Parcel { recipient: queued.recipient, amount: queued.amount, payment_ids: vec![queued.payment_id.clone()] };
    Job { target, input, parcels: vec![parcel], allowance: None, deposit: queued.deposit }
}

/// A transaction with `first` in it and all that may go along.
fn transfers(first: &Queued, ready: &[&Queued], chain: &Chain, tokens: U256) -> Option<Job> {
    let receivers_max = match (first.deposit, chain.multi) {
        (Some(_), _) => crate::network::RECEIVERS_MAX,
        (None, Some(multi)) => multi.receivers_max,
        (None, None) => 1,
    };
    let mut left = if first.deposit.is_some() { U256::MAX } else { tokens };
    // What was refused once goes alone, so that it harms nobody else.
    let goes_along = |queued: &&&Queued| {
        let same = queued.kind == Kind::Transfer && queued.deposit == first.deposit;
        same && if first.tries > 0 { queued.payment_id == first.payment_id } else { queued.tries == 0 }
    };
    let mut parcels: Vec<Parcel> = Vec::new();
    for queued in ready.iter().filter(goes_along) {
        if queued.amount > left {
            continue;
        }
        match parcels.iter().position(|parcel| parcel.recipient == queued.recipient) {
            Some(index) => {
                let Some(parcel) = parcels.get_mut(index) else { continue };
                let sum = parcel.amount.checked_add(queued.amount).filter(|sum| *sum <= abi::PACKED_MAX);
                let Some(amount) = sum else { continue };
                parcel.amount = amount;
                parcel.payment_ids.push(queued.payment_id.clone());
            }
            None => {
                let huge = queued.amount > abi::PACKED_MAX;
                if parcels.len() >= receivers_max || huge && !parcels.is_empty() {
                    continue;
                }
                parcels.push(Parcel {
                    recipient: queued.recipient,
                    amount: queued.amount,
                    payment_ids: vec![queued.payment_id.clone()],
                });
                if huge {
                    break;
                }
            }
        }
        left -= queued.amount;
    }
    let payments: Vec<_> = parcels.iter().map(|parcel| (parcel.recipient, parcel.amount)).collect();
    let sum = payments.iter().fold(U256::ZERO, |sum, (_, amount)| sum.saturating_add(*amount));
    let (target, input, allowance) = match (first.deposit, payments.as_slice(), chain.multi) {
        (_, [], _) => return None,
        (Some(deposit), all, _) => (deposit.contract, abi::deposit_transfer(deposit.id, all), None),
        (None, all @ [_, _, ..], Some(multi)) => (multi.address, abi::multi_transfer(all), Some((multi.address, sum))),
        (None, [(recipient, amount), ..], _) => (chain.token, abi::transfer(*recipient, *amount), None),
    };
    Some(Job { target, input, parcels, allowance, deposit: first.deposit })
}

// ---- at what price ------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fees {
    pub(crate) max_fee: u128,
    pub(crate) tip: u128,
}

/// Largest fee that is paid: the configured one, on polygon with eco mode less (spec 42 §3.2).
pub(crate) fn ceiling(chain: &Chain, base_fee: u128, eco_extra_gwei: Option<i64>) -> u128 {
    match eco_extra_gwei {
        Some(gwei) if chain.chain_id == 137 => {
            let extra = u128::from(gwei.unsigned_abs()) * 1_000_000_000;
            let wanted = if gwei < 0 { base_fee.saturating_sub(extra) } else { base_fee.saturating_add(extra) };
            wanted.max(chain.tip_wei).min(chain.max_fee_wei)
        }
        _ => chain.max_fee_wei,
    }
}

/// Fees for a block with `base_fee` or a somewhat higher one; none when the ceiling is too low for it.
pub(crate) fn fees(base_fee: u128, tip: u128, ceiling: u128) -> Option<Fees> {
    let room = ceiling.checked_sub(base_fee).filter(|room| *room > 0)?;
    let max_fee = base_fee.saturating_mul(2).saturating_add(tip).min(ceiling);
    Some(Fees { max_fee, tip: tip.min(room).min(max_fee) })
}

/// Higher fees for a transaction that waits. Nodes want a tenth more of both; none when the ceiling is in the way.
pub(crate) fn bump(old: Fees, base_fee: u128, tip: u128, ceiling: u128) -> Option<Fees> {
    let more = |fee: u128| fee.saturating_add(fee / 8).saturating_add(1);
    let fresh = fees(base_fee, tip, ceiling)?;
    let max_fee = more(old.max_fee).max(fresh.max_fee).min(ceiling);
    let tip = more(old.tip).max(fresh.tip);
    let accepted = max_fee > old.max_fee.saturating_add(old.max_fee / 10);
    (accepted && tip <= max_fee).then_some(Fees { max_fee, tip })
}

// ---- what a look means ----------------------------------------------------------

/// The chain as one node showed it at once.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// Transactions of the account in blocks.
    pub(crate) nonce: u64,
    pub(crate) head: u64,
    pub(crate) base_fee: u128,
    /// Block and success for each attempt that was mined.
    pub(crate) mined: Vec<Option<(u64, bool)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Final {
        hash: B256,
        block: u64,
        succeeded: bool,
    },
    /// Mined, but not deep enough.
    Young,
    /// The nonce is used and none of ours is known to be mined.
    NonceUsed,
    /// An earlier nonce is free again.
    Gap,
    Waiting,
}

pub(crate) fn judge(open: &OpenTransaction, sight: &Sight, confirmations: u64) -> Verdict {
    let mined = open.attempts.iter().zip(&sight.mined).find_map(|(attempt, mined)| Some((attempt.hash, (*mined)?)));
    match mined {
        Some((hash, (block, succeeded))) if block.saturating_add(confirmations) <= sight.head => {
            Verdict::Final { hash, block, succeeded }
        }
        Some(_) => Verdict::Young,
        None if sight.nonce > open.nonce => Verdict::NonceUsed,
        None if sight.nonce < open.nonce => Verdict::Gap,
        None => Verdict::Waiting,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    Wait,
    Replace(Fees),
    /// It should pay more than the ceiling allows.
    Stuck,
}

/// What to do with a transaction that waits.
pub(crate) fn patience(newest: &Attempt, sight: &Sight, chain: &Chain, ceiling: u128, now: DateTime<Utc>) -> Patience {
    let too_cheap = newest.max_fee < sight.base_fee.saturating_add(1);
    if !too_cheap && now < plus(newest.made_at, chain.replacement_timeout) {
        return Patience::Wait;
    }
    let old = Fees { max_fee: newest.max_fee, tip: newest.tip };
    match bump(old, sight.base_fee, chain.tip_wei, ceiling) {
        Some(fees) => Patience::Replace(fees),
        None if too_cheap => Patience::Stuck,
        None => Patience::Wait,
    }
}

#[cfg(test)]
mod tests;
