//! Reads the parameters of a call; whatever does not fit is an error, never a panic.

use alloy_primitives::{Address, B256, Bytes, U256};
use serde_json::Value;

use super::RpcError;

#[derive(Debug)]
pub(crate) struct Params(Vec<Value>);

/// Which block a call asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockName {
    Latest,
    Pending,
    Earliest,
    Number(u64),
    Hash(B256),
}

impl Params {
    pub(crate) const fn new(values: Vec<Value>) -> Self {
        Self(values)
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Value> {
        self.0.get(index).filter(|value| !value.is_null())
    }

    pub(crate) fn value(&self, index: usize) -> Result<&Value, RpcError> {
        self.get(index).ok_or_else(|| RpcError::params(format!("missing value for required argument {index}")))
    }

    pub(crate) fn flag(&self, index: usize) -> bool {
        self.get(index).and_then(Value::as_bool).unwrap_or_default()
    }

    pub(crate) fn address(&self, index: usize) -> Result<Address, RpcError> {
        address(self.value(index)?)
    }

    pub(crate) fn hash(&self, index: usize) -> Result<B256, RpcError> {
        hash(self.value(index)?)
    }

    pub(crate) fn bytes(&self, index: usize) -> Result<Bytes, RpcError> {
        bytes(self.value(index)?)
    }

    pub(crate) fn number(&self, index: usize) -> Result<u64, RpcError> {
        number(self.value(index)?)
    }

    /// Absent means the newest.
    pub(crate) fn block(&self, index: usize) -> Result<BlockName, RpcError> {
        self.get(index).map_or(Ok(BlockName::Latest), block)
    }
}

fn text(value: &Value) -> Result<&str, RpcError> {
    value.as_str().ok_or_else(|| RpcError::params("invalid argument: expected a hex string"))
}

fn digits(value: &Value) -> Result<&str, RpcError> {
    text(value)?.strip_prefix("0x").ok_or_else(|| RpcError::params("invalid argument: hex string without 0x prefix"))
}

fn fixed<const N: usize>(value: &Value) -> Result<[u8; N], RpcError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(digits(value)?, &mut bytes)
        .map_err(|error| RpcError::params(format!("invalid argument: {N} bytes of hex expected: {error}")))?;
    Ok(bytes)
}

pub(crate) fn address(value: &Value) -> Result<Address, RpcError> {
    fixed(value).map(Address::from)
}

pub(crate) fn hash(value: &Value) -> Result<B256, RpcError> {
    fixed(value).map(B256::from)
}

pub(crate) fn bytes(value: &Value) -> Result<Bytes, RpcError> {
    let bytes = hex::decode(digits(value)?).map_err(|error| RpcError::params(format!("invalid argument: {error}")))?;
    Ok(bytes.into())
}

/// A quantity: `0x` and hex digits; a JSON number is understood too.
pub(crate) fn quantity(value: &Value) -> Result<U256, RpcError> {
    if let Some(number) = value.as_u64() {
        return Ok(U256::from(number));
    }
    let digits = digits(value)?;
    if digits.is_empty() || digits.len() > 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(RpcError::params("invalid argument: not a hex number of at most 256 bits"));
    }
    U256::from_str_radix(digits, 16).map_err(|error| RpcError::params(format!("invalid argument: {error}")))
}

pub(crate) fn number(value: &Value) -> Result<u64, RpcError> {
    u64::try_from(quantity(value)?).map_err(|_| RpcError::params("invalid argument: number larger than 64 bits"))
}

pub(crate) fn block(value: &Value) -> Result<BlockName, RpcError> {
    match value {
        Value::Object(object) => match (object.get("blockHash"), object.get("blockNumber")) {
            (Some(value), _) => hash(value).map(BlockName::Hash),
            (None, Some(value)) => block(value),
            (None, None) => Err(RpcError::params("invalid argument: block object without hash and number")),
        },
        Value::String(text) => match text.as_str() {
            // Nothing here is ever undone but on purpose, so the newest block is also the final one.
            "latest" | "safe" | "finalized" => Ok(BlockName::Latest),
            "pending" => Ok(BlockName::Pending),
            "earliest" => Ok(BlockName::Earliest),
            _ if text.len() == 66 => hash(value).map(BlockName::Hash),
            _ => number(value).map(BlockName::Number),
        },
        _ => number(value).map(BlockName::Number),
    }
}
