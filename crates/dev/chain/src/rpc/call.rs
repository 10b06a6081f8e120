//! Messages that are run and forgotten: `eth_call` and `eth_estimateGas`.

use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{Address, TxKind, U256};
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, InvalidTransaction};
use serde_json::{Map, Value};

use super::params::{self, Params};
use super::{Answer, Door, RpcError, json as out};
use crate::block::Block;
use crate::evm::{self, BLOCK_GAS, Mode};

impl Door<'_> {
    pub(crate) fn eth_call(&self, params: &Params) -> Answer {
        let block = self.state_of(params, 1)?;
        let message = self.message(params, block)?;
        Ok(out::data(self.ask(block, message)?.into_output().unwrap_or_default()))
    }

    /// The least gas with which the message succeeds.
    pub(crate) fn estimate_gas(&self, params: &Params) -> Answer {
        let block = self.state_of(params, 1)?;
        let mut message = self.message(params, block)?;
        if message.gas_price > 0 {
            let gas_price = U256::from(message.gas_price);
            let coin = self.balance_at(message.caller, block).saturating_sub(message.value);
            let affordable = u64::try_from(coin / gas_price).unwrap_or(u64::MAX);
            message.gas_limit = message.gas_limit.min(affordable);
        }
        let allowance = message.gas_limit;
        let mut enough = match self.run(block, message.clone())? {
            ExecutionResult::Halt { .. } if allowance < BLOCK_GAS => {
                return Err(RpcError::failed(format!("gas required exceeds allowance ({allowance})")));
            }
            result => {
                let used = result.tx_gas_used();
                check(result)?;
                // What was used is often enough; refunds and calls that keep a share back may need more.
                message.gas_limit = used;
                if self.run(block, message.clone()).is_ok_and(|result| result.is_success()) {
                    return Ok(out::number(used));
                }
                allowance
            }
        };
        let mut too_little = message.gas_limit;
        // Within one sixty-fourth, as nodes do it.
        while enough - too_little > enough / 64 {
            message.gas_limit = too_little + (enough - too_little) / 2;
            if self.run(block, message.clone()).is_ok_and(|result| result.is_success()) {
                enough = message.gas_limit;
            } else {
                too_little = message.gas_limit;
            }
        }
        Ok(out::number(enough))
    }

    fn ask(&self, block: &Block, message: TxEnv) -> Result<ExecutionResult, RpcError> {
        check(self.run(block, message)?)
    }

    fn run(&self, block: &Block, message: TxEnv) -> Result<ExecutionResult, RpcError> {
        let view = self.ledger.view(block.number());
        let outcome = evm::run(view, self.ledger.surroundings(block), Mode::Question, message);
        outcome.map(|outcome| outcome.result).map_err(|refused| match refused {
            InvalidTransaction::CallGasCostMoreThanGasLimit { gas_limit, .. }
            | InvalidTransaction::GasFloorMoreThanGasLimit { gas_limit, .. } => {
                RpcError::failed(format!("gas required exceeds allowance ({gas_limit})"))
            }
            other => RpcError::failed(other.to_string()),
        })
    }

    fn balance_at(&self, address: Address, block: &Block) -> U256 {
        self.ledger.state.account(address, block.number()).balance
    }

    fn message(&self, params: &Params, block: &Block) -> Result<TxEnv, RpcError> {
        let Value::Object(object) = params.value(0)? else {
            return Err(RpcError::params("invalid argument 0: expected an object"));
        };
        let given = |key: &str| object.get(key).filter(|value| !value.is_null());
        let mut message = evm::empty();
        if let Some(from) = given("from") {
            message.caller = params::address(from)?;
        }
        message.kind = given("to").map(params::address).transpose()?.map_or(TxKind::Create, TxKind::Call);
        if let Some(value) = given("value") {
            message.value = params::quantity(value)?;
        }
        if let Some(data) = given("input").or_else(|| given("data")) {
            message.data = params::bytes(data)?;
        }
        if let Some(gas) = given("gas") {
            message.gas_limit = params::number(gas)?.min(BLOCK_GAS);
        }
        if let Some(price) = given("maxFeePerGas").or_else(|| given("gasPrice")) {
            message.gas_price = u128::try_from(params::quantity(price)?)
                .map_err(|_| RpcError::params("invalid argument: gas price larger than 128 bits"))?;
        }
        message.access_list = access_list(object)?;
        message.nonce = self.ledger.state.account(message.caller, block.number()).nonce;
        let coin = self.balance_at(message.caller, block);
        if message.value > coin {
            return Err(RpcError::failed(format!(
                "insufficient funds for gas * price + value: address {} have {coin} want {}",
                message.caller, message.value
            )));
        }
        Ok(message)
    }
}

fn access_list(object: &Map<String, Value>) -> Result<AccessList, RpcError> {
    let Some(Value::Array(items)) = object.get("accessList") else { return Ok(AccessList::default()) };
    let items = items.iter().map(|item| {
        let address = params::address(item.get("address").unwrap_or(&Value::Null))?;
        let keys = item.get("storageKeys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Ok(AccessListItem { address, storage_keys: keys.iter().map(params::hash).collect::<Result<_, _>>()? })
    });
    Ok(AccessList(items.collect::<Result<_, RpcError>>()?))
}

/// A revert has code 3 and its bytes beside the text, as other nodes have it.
fn check(result: ExecutionResult) -> Result<ExecutionResult, RpcError> {
    match result {
        ExecutionResult::Success { .. } => Ok(result),
        ExecutionResult::Revert { output, .. } => {
            Err(RpcError { code: 3, message: evm::revert_text(&output), data: Some(out::data(&output)) })
        }
        ExecutionResult::Halt { reason, .. } => Err(RpcError::failed(evm::halt_text(&reason))),
    }
}
