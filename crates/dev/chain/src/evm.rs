//! Runs one message in the virtual machine.

use alloy_consensus::{Transaction, TxEnvelope};
use alloy_primitives::{Address, B256, Bytes, Selector, TxKind, U256};
use alloy_sol_types::{Panic, Revert, SolError};
use revm::context::result::{EVMError, ExecResultAndState, ExecutionResult, HaltReason, InvalidTransaction};
use revm::context::{BlockEnv, CfgEnv, Context, TxEnv};
use revm::primitives::hardfork::SpecId;
use revm::state::EvmState;
use revm::{ExecuteEvm, MainBuilder, MainContext};

use revm::database_interface::WrapDatabaseRef;

use crate::state::View;

/// Most gas a block may use; what other development nodes take.
pub(crate) const BLOCK_GAS: u64 = 30_000_000;

/// The block in which a message runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    pub(crate) chain_id: u64,
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
    pub(crate) base_fee: u64,
    pub(crate) random: B256,
}

pub(crate) type Outcome = ExecResultAndState<ExecutionResult<HaltReason>, EvmState>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// All rules of a block.
    Transaction,
    /// A question: nobody pays, and a contract may ask.
    Question,
}

pub(crate) fn run(
    view: View<'_>,
    around: Surroundings,
    mode: Mode,
    message: TxEnv,
) -> Result<Outcome, InvalidTransaction> {
    let mut rules = CfgEnv::new_with_spec(SpecId::PRAGUE).with_chain_id(around.chain_id);
    if mode == Mode::Question {
        rules.disable_balance_check = true;
        rules.disable_base_fee = true;
        rules.disable_block_gas_limit = true;
        rules.disable_eip3607 = true;
        rules.disable_nonce_check = true;
        rules.tx_chain_id_check = false;
    }
    let block = BlockEnv {
        number: U256::from(around.number),
        timestamp: U256::from(around.timestamp),
        gas_limit: BLOCK_GAS,
        basefee: around.base_fee,
        prevrandao: Some(around.random),
        ..BlockEnv::default()
    };
    let context = Context::mainnet().with_db(WrapDatabaseRef(view)).with_block(block).with_cfg(rules);
    match context.build_mainnet().transact(message) {
        Ok(outcome) => Ok(outcome),
        Err(EVMError::Transaction(refused)) => Err(refused),
        Err(other) => Err(InvalidTransaction::Str(other.to_string().into())),
    }
}

/// A signed transaction as the machine wants it.
pub(crate) fn message(envelope: &TxEnvelope, from: Address) -> TxEnv {
    TxEnv {
        tx_type: envelope.tx_type().into(),
        caller: from,
        gas_limit: envelope.gas_limit(),
        gas_price: envelope.max_fee_per_gas(),
        gas_priority_fee: envelope.max_priority_fee_per_gas(),
        kind: envelope.kind(),
        value: envelope.value(),
        data: envelope.input().clone(),
        nonce: envelope.nonce(),
        chain_id: envelope.chain_id(),
        access_list: envelope.access_list().cloned().unwrap_or_default(),
        ..empty()
    }
}

/// A message with nothing in it.
pub(crate) fn empty() -> TxEnv {
    TxEnv {
        tx_type: 0,
        caller: Address::ZERO,
        gas_limit: BLOCK_GAS,
        gas_price: 0,
        kind: TxKind::Call(Address::ZERO),
        value: U256::ZERO,
        data: Bytes::new(),
        nonce: 0,
        chain_id: None,
        access_list: Default::default(),
        gas_priority_fee: None,
        blob_hashes: Vec::new(),
        max_fee_per_blob_gas: 0,
        authorization_list: Vec::new(),
    }
}

/// Text of a revert as nodes print it: `execution reverted` and, for the two errors that every compiler knows, why.
pub(crate) fn revert_text(output: &[u8]) -> String {
    let selector = output.get(..4).and_then(|bytes| Selector::try_from(bytes).ok());
    let reason = match selector.map(|selector| selector.0) {
        Some(Revert::SELECTOR) => Revert::abi_decode(output).ok().map(|revert| revert.reason),
        Some(Panic::SELECTOR) => Panic::abi_decode(output).ok().map(|panic| panic_text(panic.code)),
        _ => None,
    };
    match reason {
        Some(reason) => format!("execution reverted: {reason}"),
        None => "execution reverted".to_owned(),
    }
}

fn panic_text(code: U256) -> String {
    let meaning = match u64::try_from(code) {
        Ok(0x01) => "assert(false)",
        Ok(0x11) => "arithmetic underflow or overflow",
        Ok(0x12) => "division or modulo by zero",
        Ok(0x21) => "enum overflow",
        Ok(0x31) => "out-of-bounds array access; popping on an empty array",
        Ok(0x32) => "out-of-bounds access of an array or bytesN",
        Ok(0x41) => "out of memory",
        Ok(0x51) => "uninitialized function",
        _ => return format!("unknown panic code: {code:#x}"),
    };
    meaning.to_owned()
}

/// Text of an abnormal end, as nodes print it.
pub(crate) fn halt_text(reason: &HaltReason) -> String {
    match reason {
        HaltReason::OutOfGas(_) => "out of gas".to_owned(),
        HaltReason::OpcodeNotFound | HaltReason::InvalidFEOpcode => "invalid opcode".to_owned(),
        HaltReason::CallTooDeep => "max call depth exceeded".to_owned(),
        HaltReason::StackUnderflow => "stack underflow".to_owned(),
        HaltReason::StackOverflow => "stack limit reached 1024".to_owned(),
        HaltReason::InvalidJump => "invalid jump destination".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverts_are_told_as_nodes_tell_them() {
        let check = |output: &[u8], text: &str| assert_eq!(revert_text(output), text);
        check(&Revert::from("no").abi_encode(), "execution reverted: no");
        check(&Panic { code: U256::from(0x11) }.abi_encode(), "execution reverted: arithmetic underflow or overflow");
        check(&[], "execution reverted");
        check(&[1, 2, 3, 4, 5], "execution reverted");
        check(&Revert::SELECTOR, "execution reverted");
    }
}
