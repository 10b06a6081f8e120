//! Control of a development chain: the usual `evm_*` methods, and `dev_*` for faults.

use serde_json::{Value, json};

use super::params::Params;
use super::{Answer, Door, RpcError, json as out};
use crate::faults::Undone;

/// Most blocks made or undone by one call.
const BLOCKS_MAX: u64 = 10_000;

impl Door<'_> {
    pub(crate) fn control(&mut self, method: &str, params: &Params) -> Answer {
        match method {
            "evm_mine" | "anvil_mine" | "hardhat_mine" => {
                let count = match params.get(0) {
                    Some(Value::Object(_)) | None => 1,
                    Some(_) => params.number(0)?.min(BLOCKS_MAX),
                };
                (0..count).for_each(|_| self.ledger.mine(self.now));
                Ok("0x0".into())
            }
            "evm_setAutomine" => {
                *self.mine_at_once = params.flag(0);
                Ok(Value::Null)
            }
            "evm_snapshot" => Ok(out::number(self.ledger.snapshot())),
            "evm_revert" => {
                let id = params.number(0)?;
                Ok(self.ledger.revert(id).into())
            }
            "evm_increaseTime" => {
                let seconds = params.number(0)?;
                Ok(out::number(self.ledger.move_time(seconds)))
            }
            "anvil_setBalance" | "hardhat_setBalance" => {
                let balance = super::params::quantity(params.value(1)?)?;
                let head = self.ledger.blocks.head();
                self.ledger.state.set_balance(params.address(0)?, balance, head);
                Ok(Value::Null)
            }
            "dev_reorganise" => {
                let depth = params.number(0)?.min(BLOCKS_MAX);
                let undone = match params.get(1) {
                    Some(value) => read(value)?,
                    None => Undone::Wait,
                };
                self.ledger.reorganise(depth, undone, self.now);
                Ok(out::number(self.head()))
            }
            "dev_setFaults" => {
                *self.faults = read(params.value(0)?)?;
                Ok(Value::Null)
            }
            "dev_setChainFaults" => {
                self.ledger.faults = read(params.value(0)?)?;
                Ok(Value::Null)
            }
            "dev_faults" => Ok(json!({ "endpoint": &*self.faults, "chain": self.ledger.faults })),
            _ => Err(RpcError::method(method)),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, RpcError> {
    T::deserialize(value).map_err(|error| RpcError::params(error.to_string()))
}
