//! Blocks and the transactions in them.

use std::collections::VecDeque;
use std::sync::Arc;

use alloy_consensus::transaction::SignerRecoverable;
use alloy_consensus::{Header, TxEnvelope};
use alloy_primitives::{Address, B256, Bloom, Log};

/// A transaction with a valid signature.
#[derive(Debug)]
pub(crate) struct SignedTransaction {
    pub(crate) envelope: TxEnvelope,
    pub(crate) hash: B256,
    pub(crate) from: Address,
}

impl SignedTransaction {
    pub(crate) fn new(envelope: TxEnvelope) -> Option<Self> {
        let from = envelope.recover_signer().ok()?;
        let hash = *envelope.tx_hash();
        Some(Self { envelope, hash, from })
    }
}

/// A transaction and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Mined {
    pub(crate) transaction: Arc<SignedTransaction>,
    pub(crate) succeeded: bool,
    pub(crate) gas_used: u64,
    pub(crate) cumulative_gas_used: u64,
    pub(crate) effective_gas_price: u128,
    pub(crate) created: Option<Address>,
    pub(crate) logs: Vec<Log>,
    pub(crate) bloom: Bloom,
    /// Logs of the transactions before it in the block.
    pub(crate) logs_before: u64,
}

#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) header: Header,
    pub(crate) hash: B256,
    pub(crate) transactions: Vec<Mined>,
}

impl Block {
    pub(crate) const fn number(&self) -> u64 {
        self.header.number
    }

    pub(crate) fn base_fee(&self) -> u64 {
        self.header.base_fee_per_gas.unwrap_or_default()
    }
}

/// Blocks in order, without gaps; the oldest are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Blocks(VecDeque<Block>);

impl Blocks {
    /// Eighteen hours of blocks at one a second, some tens of megabytes when they are empty.
    const KEPT: usize = 65_536;

    pub(crate) fn first(&self) -> u64 {
        self.0.front().map(Block::number).unwrap_or_default()
    }

    pub(crate) fn last(&self) -> Option<&Block> {
        self.0.back()
    }

    pub(crate) fn head(&self) -> u64 {
        self.last().map(Block::number).unwrap_or_default()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Block> {
        let index = number.checked_sub(self.first())?;
        self.0.get(usize::try_from(index).ok()?)
    }

    /// Adds a block; answers one that is too old to be kept.
    pub(crate) fn push(&mut self, block: Block) -> Option<Block> {
        self.0.push_back(block);
        if self.0.len() > Self::KEPT { self.0.pop_front() } else { None }
    }

    /// Takes the newest block off, never the last one there is.
    pub(crate) fn pop(&mut self) -> Option<Block> {
        if self.0.len() > 1 { self.0.pop_back() } else { None }
    }
}
