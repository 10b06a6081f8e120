//! All states of the chain, one per block, kept as the history of each value.
//!
//! A read names a block and gets the last value written at or before it. Undoing blocks cuts the histories, so a
//! reorganisation and a read in the past both cost as much as what changed.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

use alloy_primitives::{Address, B256, Keccak256, U256};
use revm::DatabaseRef;
use revm::bytecode::Bytecode;
use revm::state::{AccountInfo, EvmState};

use crate::block::Blocks;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) balance: U256,
    pub(crate) nonce: u64,
    pub(crate) code_hash: B256,
}

/// Values with the block that wrote them, in order of blocks.
type History<T> = Vec<(u64, T)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Account(Address),
    Slot(Address, U256),
}

#[derive(Debug, Default)]
pub(crate) struct State {
    accounts: HashMap<Address, History<Account>>,
    slots: HashMap<(Address, U256), History<U256>>,
    code: HashMap<B256, Bytecode>,
    written: BTreeMap<u64, Vec<Key>>,
}

fn at<T: Copy>(history: Option<&History<T>>, block: u64) -> Option<T> {
    let history = history?;
    let after = history.partition_point(|(written, _)| *written <= block);
    history.get(after.checked_sub(1)?).map(|(_, value)| *value)
}

fn put<T>(history: &mut History<T>, block: u64, value: T) {
    match history.last_mut() {
        Some((written, last)) if *written == block => *last = value,
        _ => history.push((block, value)),
    }
}

impl State {
    pub(crate) fn account(&self, address: Address, block: u64) -> Account {
        at(self.accounts.get(&address), block).unwrap_or_default()
    }

    pub(crate) fn slot(&self, address: Address, slot: U256, block: u64) -> U256 {
        at(self.slots.get(&(address, slot)), block).unwrap_or_default()
    }

    pub(crate) fn code(&self, address: Address, block: u64) -> Option<&Bytecode> {
        self.code.get(&self.account(address, block).code_hash)
    }

    pub(crate) fn set_balance(&mut self, address: Address, balance: U256, block: u64) {
        let account = self.account(address, block);
        self.set_account(address, Account { balance, ..account }, block);
    }

    fn set_account(&mut self, address: Address, account: Account, block: u64) {
        put(self.accounts.entry(address).or_default(), block, account);
        self.written.entry(block).or_default().push(Key::Account(address));
    }

    /// Writes what a transaction changed into `block`.
    pub(crate) fn commit(&mut self, changes: EvmState, block: u64) {
        for (address, account) in changes {
            if !account.is_touched() {
                continue;
            }
            if account.is_selfdestructed() {
                // Only contracts made in the same transaction can go, so none of their storage was ever written.
                self.set_account(address, Account::default(), block);
                continue;
            }
            if let Some(code) = &account.info.code
                && !code.is_empty()
            {
                self.code.entry(account.info.code_hash).or_insert_with(|| code.clone());
            }
            let AccountInfo { balance, nonce, code_hash, .. } = account.info;
            self.set_account(address, Account { balance, nonce, code_hash }, block);
            for (slot, value) in account.changed_storage_slots() {
                put(self.slots.entry((address, *slot)).or_default(), block, value.present_value);
                self.written.entry(block).or_default().push(Key::Slot(address, *slot));
            }
        }
    }

    /// Forgets everything written after `block`.
    pub(crate) fn undo_after(&mut self, block: u64) {
        let undone = self.written.split_off(&block.saturating_add(1));
        for key in undone.into_values().flatten() {
            match key {
                Key::Account(address) => cut(self.accounts.get_mut(&address), block),
                Key::Slot(address, slot) => cut(self.slots.get_mut(&(address, slot)), block),
            }
        }
    }

    /// A digest of what `block` changed, chained to `parent`. It stands where other chains have the root of a trie:
    /// equal for equal histories, but nothing can be proved from it.
    pub(crate) fn digest(&self, block: u64, parent: B256) -> B256 {
        let Some(keys) = self.written.get(&block) else { return parent };
        let mut keys = keys.clone();
        keys.sort_unstable();
        keys.dedup();
        let mut hasher = Keccak256::new();
        hasher.update(parent);
        for key in keys {
            match key {
                Key::Account(address) => {
                    let account = self.account(address, block);
                    hasher.update(address);
                    hasher.update(account.balance.to_be_bytes::<32>());
                    hasher.update(account.nonce.to_be_bytes());
                    hasher.update(account.code_hash);
                }
                Key::Slot(address, slot) => {
                    hasher.update(address);
                    hasher.update(slot.to_be_bytes::<32>());
                    hasher.update(self.slot(address, slot, block).to_be_bytes::<32>());
                }
            }
        }
        hasher.finalize()
    }
}

fn cut<T>(history: Option<&mut History<T>>, block: u64) {
    if let Some(history) = history {
        let keep = history.partition_point(|(written, _)| *written <= block);
        history.truncate(keep);
    }
}

/// The state at a block, as the virtual machine reads it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) state: &'a State,
    pub(crate) blocks: &'a Blocks,
    pub(crate) block: u64,
}

impl DatabaseRef for View<'_> {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        let Account { balance, nonce, code_hash } = self.state.account(address, self.block);
        let code = self.state.code.get(&code_hash).cloned();
        Ok(Some(match code {
            Some(code) => AccountInfo::default().with_code_and_hash(code, code_hash),
            None => AccountInfo::default(),
        })
        .map(|info| AccountInfo { balance, nonce, ..info }))
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, Infallible> {
        Ok(self.state.code.get(&code_hash).cloned().unwrap_or_default())
    }

    fn storage_ref(&self, address: Address, index: U256) -> Result<U256, Infallible> {
        Ok(self.state.slot(address, index, self.block))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        Ok(self.blocks.get(number).map(|block| block.hash).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_stays_readable_and_can_be_restored() {
        let mut state = State::default();
        let who = Address::repeat_byte(7);
        for block in [1, 4, 6] {
            state.set_balance(who, U256::from(block * 10), block);
        }
        let check = |state: &State, block, expected: u64| {
            assert_eq!(state.account(who, block).balance, U256::from(expected), "block {block}");
        };
        for (block, expected) in [(0, 0), (1, 10), (3, 10), (4, 40), (5, 40), (6, 60), (900, 60)] {
            check(&state, block, expected);
        }
        let digest = state.digest(6, B256::ZERO);
        state.undo_after(4);
        check(&state, 900, 40);
        assert_eq!(state.digest(6, B256::ZERO), B256::ZERO);
        state.set_balance(who, U256::from(60), 6);
        assert_eq!(state.digest(6, B256::ZERO), digest);
    }
}
