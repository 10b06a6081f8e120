//! The chain itself: blocks, states and waiting transactions. No clock and no sockets; `now` is an argument.

use std::collections::HashMap;
use std::sync::Arc;

use alloy_consensus::constants::{EMPTY_OMMER_ROOT_HASH, EMPTY_WITHDRAWALS};
use alloy_consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy_consensus::{Eip658Value, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction, TxType};
use alloy_eips::eip1559::{BaseFeeParams, calc_next_block_base_fee};
use alloy_primitives::{Address, B256, Bloom, Bytes, U256, keccak256};
use revm::context::result::{ExecutionResult, InvalidTransaction};

use crate::block::{Block, Blocks, Mined, SignedTransaction};
use crate::evm::{self, BLOCK_GAS, Mode, Surroundings};
use crate::faults::{ChainFaults, Undone};
use crate::pool::{Pool, PoolError};
use crate::state::{State, View};

/// Base fee never falls below this, as on other chains: 7 wei is where the formula stops.
const BASE_FEE_START: u64 = 1_000_000_000;

/// Where a transaction is: block and index in it.
pub(crate) type Place = (u64, usize);

#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) chain_id: u64,
    pub(crate) state: State,
    pub(crate) blocks: Blocks,
    pub(crate) pool: Pool,
    pub(crate) faults: ChainFaults,
    places: HashMap<B256, Place>,
    /// Heads to which `evm_revert` may return.
    snapshots: Vec<u64>,
    /// Seconds by which the chain's time is ahead of the wall clock.
    ahead: u64,
    /// Makes the blocks after a reorganisation differ from those before.
    branch: u64,
}

/// Why a transaction is not taken. Texts are those of the nodes that drivers know (spec 42 §5.4).
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubmitError {
    #[error("invalid sender")]
    Sender,
    #[error("transaction type not supported")]
    Type,
    #[error("invalid chain id for signer: have {have} want {want}")]
    ChainId { have: u64, want: u64 },
    #[error("nonce too low: next nonce {next}, tx nonce {nonce}")]
    NonceTooLow { next: u64, nonce: u64 },
    #[error("insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, overshot {}", .cost.saturating_sub(*.balance))]
    Funds { balance: U256, cost: U256 },
    #[error("exceeds block gas limit")]
    GasLimit,
    #[error("intrinsic gas too low: gas {gas}, minimum needed {needed}")]
    IntrinsicGas { gas: u64, needed: u64 },
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveFee,
    #[error("{0}")]
    Pool(#[from] PoolError),
    #[error("{0}")]
    Refused(InvalidTransaction),
}

impl Ledger {
    pub(crate) fn new(chain_id: u64, now: u64, funded: impl IntoIterator<Item = (Address, U256)>) -> Self {
        let mut state = State::default();
        for (address, balance) in funded {
            state.set_balance(address, balance, 0);
        }
        let mut ledger = Self {
            chain_id,
            state,
            blocks: Blocks::default(),
            pool: Pool::default(),
            faults: ChainFaults::default(),
            places: HashMap::new(),
            snapshots: Vec::new(),
            ahead: 0,
            branch: 0,
        };
        let header = ledger.header(0, now, BASE_FEE_START, &[]);
        ledger.blocks.push(Block { hash: header.hash_slow(), header, transactions: Vec::new() });
        ledger
    }

    pub(crate) const fn view(&self, block: u64) -> View<'_> {
        View { state: &self.state, blocks: &self.blocks, block }
    }

    pub(crate) fn next_base_fee(&self) -> u64 {
        if let Some(fee) = self.faults.base_fee {
            return fee;
        }
        self.blocks.last().map_or(BASE_FEE_START, |block| {
            calc_next_block_base_fee(
                block.header.gas_used,
                block.header.gas_limit,
                block.base_fee(),
                BaseFeeParams::ethereum(),
            )
        })
    }

    /// A mined transaction no younger than `head`.
    pub(crate) fn mined(&self, hash: B256, head: u64) -> Option<(&Block, usize, &Mined)> {
        let (number, index) = *self.places.get(&hash)?;
        let block = self.blocks.get(number).filter(|_| number <= head)?;
        Some((block, index, block.transactions.get(index)?))
    }

    /// Where messages run that ask about `block`.
    pub(crate) fn surroundings(&self, block: &Block) -> Surroundings {
        Surroundings {
            chain_id: self.chain_id,
            number: block.number(),
            timestamp: block.header.timestamp,
            base_fee: block.base_fee(),
            random: block.header.mix_hash,
        }
    }

    /// Takes a transaction into the pool.
    pub(crate) fn submit(&mut self, transaction: Arc<SignedTransaction>) -> Result<(), SubmitError> {
        let envelope = &transaction.envelope;
        if !matches!(envelope.tx_type(), TxType::Legacy | TxType::Eip2930 | TxType::Eip1559) {
            return Err(SubmitError::Type);
        }
        if let Some(have) = envelope.chain_id().filter(|id| *id != self.chain_id) {
            return Err(SubmitError::ChainId { have, want: self.chain_id });
        }
        if envelope.gas_limit() > BLOCK_GAS {
            return Err(SubmitError::GasLimit);
        }
        if envelope.max_priority_fee_per_gas().is_some_and(|tip| tip > envelope.max_fee_per_gas()) {
            return Err(SubmitError::TipAboveFee);
        }
        let account = self.state.account(transaction.from, self.blocks.head());
        if self.places.contains_key(&transaction.hash) {
            return Err(PoolError::Known.into());
        }
        if envelope.nonce() < account.nonce {
            return Err(SubmitError::NonceTooLow { next: account.nonce, nonce: envelope.nonce() });
        }
        let gas_cost = U256::from(envelope.gas_limit()).saturating_mul(U256::from(envelope.max_fee_per_gas()));
        let cost = gas_cost.saturating_add(envelope.value());
        if cost > account.balance {
            return Err(SubmitError::Funds { balance: account.balance, cost });
        }
        self.check_intrinsic_gas(&transaction)?;
        self.pool.insert(transaction)?;
        Ok(())
    }

    /// Runs the checks that cost no execution, by running with a nonce and fees that fit.
    fn check_intrinsic_gas(&self, transaction: &SignedTransaction) -> Result<(), SubmitError> {
        let Some(head) = self.blocks.last() else { return Ok(()) };
        let mut message = evm::message(&transaction.envelope, transaction.from);
        message.nonce = self.state.account(transaction.from, head.number()).nonce;
        match evm::run(self.view(head.number()), self.surroundings(head), Mode::Question, message) {
            Err(
                InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas: needed, gas_limit: gas }
                | InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor: needed, gas_limit: gas },
            ) => Err(SubmitError::IntrinsicGas { gas, needed }),
            Err(other) => Err(SubmitError::Refused(other)),
            Ok(_) => Ok(()),
        }
    }

    /// Makes the next block out of what waits.
    pub(crate) fn mine(&mut self, now: u64) {
        let base_fee = self.next_base_fee();
        let number = self.blocks.head() + 1;
        let timestamp = self.next_timestamp(now);
        let around = Surroundings { chain_id: self.chain_id, number, timestamp, base_fee, random: self.random(number) };
        let head = self.blocks.head();
        let candidates = if self.faults.stuck {
            Vec::new()
        } else {
            self.pool.executable(base_fee, |from| self.state.account(from, head).nonce)
        };
        let mut mined: Vec<Mined> = Vec::new();
        for transaction in candidates {
            let used = mined.last().map_or(0, |last| last.cumulative_gas_used);
            if used + transaction.envelope.gas_limit() > BLOCK_GAS {
                continue;
            }
            let message = evm::message(&transaction.envelope, transaction.from);
            match evm::run(self.view(number), around, Mode::Transaction, message) {
                Ok(outcome) => {
                    self.state.commit(outcome.state, number);
                    let logs_before = mined.last().map_or(0, |last| last.logs_before + last.logs.len() as u64);
                    mined.push(receipt(transaction, outcome.result, used, base_fee, logs_before));
                }
                // The account spent its coin on an earlier one, or a lower nonce did not fit: it waits on.
                Err(_) => continue,
            }
        }
        for (index, done) in mined.iter().enumerate() {
            self.pool.remove(done.transaction.hash);
            self.places.insert(done.transaction.hash, (number, index));
        }
        let header = self.header(number, timestamp, base_fee, &mined);
        let forgotten = self.blocks.push(Block { hash: header.hash_slow(), header, transactions: mined });
        for done in forgotten.into_iter().flat_map(|block| block.transactions) {
            self.places.remove(&done.transaction.hash);
        }
        let state = &self.state;
        self.pool.drop_used(|from| state.account(from, number).nonce);
    }

    /// Time of a block that is made now.
    pub(crate) fn next_timestamp(&self, now: u64) -> u64 {
        let last = self.blocks.last().map_or(0, |block| block.header.timestamp);
        now.saturating_add(self.ahead).max(last)
    }

    pub(crate) const fn move_time(&mut self, seconds: u64) -> u64 {
        self.ahead = self.ahead.saturating_add(seconds);
        self.ahead
    }

    /// Undoes the newest `depth` blocks and makes one more than that in their place.
    pub(crate) fn reorganise(&mut self, depth: u64, undone: Undone, now: u64) {
        let depth = depth.min(self.blocks.head() - self.blocks.first());
        let waiting = self.undo_to(self.blocks.head() - depth, undone);
        let stuck = std::mem::replace(&mut self.faults.stuck, true);
        self.mine(now);
        self.faults.stuck = stuck;
        for transaction in waiting {
            // Those that came back and are no longer valid are lost, as in every node.
            let _ = self.submit(transaction);
        }
        for _ in 0..depth {
            self.mine(now);
        }
    }

    pub(crate) fn snapshot(&mut self) -> u64 {
        self.snapshots.push(self.blocks.head());
        self.snapshots.len() as u64
    }

    /// Returns to a snapshot; it and all later ones are used up. Waiting transactions are forgotten.
    pub(crate) fn revert(&mut self, id: u64) -> bool {
        let Some(index) = id.checked_sub(1).and_then(|index| usize::try_from(index).ok()) else { return false };
        let Some(head) = self.snapshots.get(index).copied().filter(|head| *head <= self.blocks.head()) else {
            return false;
        };
        self.snapshots.truncate(index);
        self.undo_to(head, Undone::Forgotten);
        self.pool.clear();
        true
    }

    fn undo_to(&mut self, head: u64, undone: Undone) -> Vec<Arc<SignedTransaction>> {
        self.branch += 1;
        let mut back = Vec::new();
        while self.blocks.head() > head {
            let Some(block) = self.blocks.pop() else { break };
            for done in block.transactions.into_iter().rev() {
                self.places.remove(&done.transaction.hash);
                back.push(done.transaction);
            }
        }
        self.state.undo_after(self.blocks.head());
        back.reverse();
        match undone {
            Undone::Wait => back,
            Undone::Forgotten => Vec::new(),
        }
    }

    /// Not random at all, but different for each block.
    fn random(&self, number: u64) -> B256 {
        let mut seed = [0; 24];
        let (a, rest) = seed.split_at_mut(8);
        let (b, c) = rest.split_at_mut(8);
        a.copy_from_slice(&self.chain_id.to_be_bytes());
        b.copy_from_slice(&number.to_be_bytes());
        c.copy_from_slice(&self.branch.to_be_bytes());
        keccak256(seed)
    }

    fn header(&self, number: u64, timestamp: u64, base_fee: u64, mined: &[Mined]) -> Header {
        let parent = self.blocks.last();
        let envelopes: Vec<_> = mined.iter().map(|done| &done.transaction.envelope).collect();
        let receipts: Vec<_> = mined.iter().map(consensus_receipt).collect();
        Header {
            parent_hash: parent.map(|block| block.hash).unwrap_or_default(),
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            beneficiary: Address::ZERO,
            state_root: self.state.digest(number, parent.map(|block| block.header.state_root).unwrap_or_default()),
            transactions_root: calculate_transaction_root(&envelopes),
            receipts_root: calculate_receipt_root(&receipts),
            logs_bloom: mined.iter().fold(Bloom::ZERO, |bloom, done| bloom | done.bloom),
            difficulty: U256::ZERO,
            number,
            gas_limit: BLOCK_GAS,
            gas_used: mined.last().map_or(0, |last| last.cumulative_gas_used),
            timestamp,
            extra_data: Bytes::new(),
            mix_hash: self.random(number),
            base_fee_per_gas: Some(base_fee),
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            ..Header::default()
        }
    }
}

fn receipt(
    transaction: Arc<SignedTransaction>,
    result: ExecutionResult,
    used_before: u64,
    base_fee: u64,
    logs_before: u64,
) -> Mined {
    let gas_used = result.tx_gas_used();
    let succeeded = result.is_success();
    let created = transaction.envelope.is_create().then(|| transaction.from.create(transaction.envelope.nonce()));
    let logs = if succeeded { result.into_logs() } else { Vec::new() };
    Mined {
        succeeded,
        gas_used,
        cumulative_gas_used: used_before + gas_used,
        effective_gas_price: transaction.envelope.effective_gas_price(Some(base_fee)),
        created,
        bloom: logs.iter().collect(),
        logs,
        logs_before,
        transaction,
    }
}

fn consensus_receipt(done: &Mined) -> ReceiptEnvelope {
    let receipt = ReceiptWithBloom {
        receipt: Receipt {
            status: Eip658Value::Eip658(done.succeeded),
            cumulative_gas_used: done.cumulative_gas_used,
            logs: done.logs.clone(),
        },
        logs_bloom: done.bloom,
    };
    match done.transaction.envelope.tx_type() {
        TxType::Eip2930 => ReceiptEnvelope::Eip2930(receipt),
        TxType::Eip1559 => ReceiptEnvelope::Eip1559(receipt),
        _ => ReceiptEnvelope::Legacy(receipt),
    }
}
