//! Transactions that wait for a block.

use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use alloy_consensus::Transaction;
use alloy_primitives::{Address, B256};

use crate::block::SignedTransaction;

/// Most transactions that wait; a development chain never has so many unless something runs away.
const WAITING_MAX: usize = 4096;

/// A replacement must pay at least so many percent more.
const REPLACEMENT_PERCENT: u128 = 110;

#[derive(Debug, Default)]
pub(crate) struct Pool {
    waiting: BTreeMap<(Address, u64), (u64, Arc<SignedTransaction>)>,
    by_hash: HashMap<B256, (Address, u64)>,
    arrivals: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PoolError {
    #[error("already known")]
    Known,
    #[error("replacement transaction underpriced")]
    Underpriced,
    #[error("txpool is full")]
    Full,
}

impl Pool {
    pub(crate) fn insert(&mut self, transaction: Arc<SignedTransaction>) -> Result<(), PoolError> {
        if self.by_hash.contains_key(&transaction.hash) {
            return Err(PoolError::Known);
        }
        let key = (transaction.from, transaction.envelope.nonce());
        match self.waiting.get(&key) {
            Some((_, old)) if !outbids(&transaction, old) => return Err(PoolError::Underpriced),
            Some((_, old)) => {
                self.by_hash.remove(&old.hash);
            }
            None if self.waiting.len() >= WAITING_MAX => return Err(PoolError::Full),
            None => {}
        }
        self.arrivals += 1;
        self.by_hash.insert(transaction.hash, key);
        self.waiting.insert(key, (self.arrivals, transaction));
        Ok(())
    }

    pub(crate) fn get(&self, hash: B256) -> Option<&Arc<SignedTransaction>> {
        self.waiting.get(self.by_hash.get(&hash)?).map(|(_, transaction)| transaction)
    }

    pub(crate) fn remove(&mut self, hash: B256) {
        if let Some(key) = self.by_hash.remove(&hash) {
            self.waiting.remove(&key);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.by_hash.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The nonce after the transactions of `from` that follow `next` without a gap.
    pub(crate) fn next_nonce(&self, from: Address, next: u64) -> u64 {
        let mut next = next;
        while self.waiting.contains_key(&(from, next)) {
            next += 1;
        }
        next
    }

    /// Takes out those whose nonce is used up.
    pub(crate) fn drop_used(&mut self, nonce_of: impl Fn(Address) -> u64) {
        let used: Vec<B256> = self
            .waiting
            .iter()
            .filter(|((from, nonce), _)| *nonce < nonce_of(*from))
            .map(|(_, (_, transaction))| transaction.hash)
            .collect();
        used.into_iter().for_each(|hash| self.remove(hash));
    }

    /// What a block may take, in its order: the best tip first, a sender's own by nonce.
    pub(crate) fn executable(&self, base_fee: u64, nonce_of: impl Fn(Address) -> u64) -> Vec<Arc<SignedTransaction>> {
        let mut heads = BinaryHeap::new();
        let push = |heads: &mut BinaryHeap<_>, from: Address, nonce: u64| {
            if let Some((arrival, transaction)) = self.waiting.get(&(from, nonce))
                && let Some(tip) = transaction.envelope.effective_tip_per_gas(base_fee)
            {
                heads.push((tip, std::cmp::Reverse(*arrival), from, nonce));
            }
        };
        let mut sender = None;
        for (from, _) in self.waiting.keys() {
            if sender.replace(*from) != Some(*from) {
                push(&mut heads, *from, nonce_of(*from));
            }
        }
        let mut order = Vec::new();
        while let Some((_, _, from, nonce)) = heads.pop() {
            order.extend(self.waiting.get(&(from, nonce)).map(|(_, transaction)| Arc::clone(transaction)));
            push(&mut heads, from, nonce + 1);
        }
        order
    }
}

fn outbids(new: &SignedTransaction, old: &SignedTransaction) -> bool {
    let more = |new: u128, old: u128| new.saturating_mul(100) >= old.saturating_mul(REPLACEMENT_PERCENT);
    let (new, old) = (&new.envelope, &old.envelope);
    more(new.max_fee_per_gas(), old.max_fee_per_gas()) && more(new.priority_fee_or_price(), old.priority_fee_or_price())
}
