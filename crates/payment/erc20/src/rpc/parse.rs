//! Reads what nodes answer. What does not fit is `None`, never a panic.

use alloy_primitives::{Address, B256, Bytes, U256};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
    pub(crate) base_fee: u128,
    /// Only of a block that was asked for with its transactions.
    pub(crate) transactions: Vec<Transaction>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) hash: B256,
    pub(crate) from: Address,
    pub(crate) nonce: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) block: u64,
    pub(crate) from: Address,
    pub(crate) succeeded: bool,
    pub(crate) gas_used: u64,
    pub(crate) logs: Vec<Log>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) address: Address,
    pub(crate) topics: Vec<B256>,
    pub(crate) data: Bytes,
}

pub(super) fn quantity(value: &Value) -> Option<U256> {
    let digits = value.as_str()?.strip_prefix("0x")?;
    if digits.is_empty() || digits.len() > 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    U256::from_str_radix(digits, 16).ok()
}

pub(super) fn number(value: &Value) -> Option<u64> {
    quantity(value)?.try_into().ok()
}

pub(super) fn bytes(value: &Value) -> Option<Bytes> {
    hex::decode(value.as_str()?.strip_prefix("0x")?).ok().map(Bytes::from)
}

pub(super) fn word(value: &Value) -> Option<U256> {
    let bytes = bytes(value)?;
    (bytes.len() == 32).then(|| U256::from_be_slice(&bytes))
}

fn fixed<const N: usize>(value: &Value) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(value.as_str()?.strip_prefix("0x")?, &mut bytes).ok()?;
    Some(bytes)
}

fn address(value: &Value) -> Option<Address> {
    fixed(value).map(Address::from)
}

fn hash(value: &Value) -> Option<B256> {
    fixed(value).map(B256::from)
}

impl Block {
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        let transactions = value.get("transactions")?.as_array()?;
        Some(Self {
            number: number(value.get("number")?)?,
            timestamp: number(value.get("timestamp")?)?,
            base_fee: value.get("baseFeePerGas").and_then(quantity).unwrap_or_default().try_into().ok()?,
            transactions: transactions.iter().filter_map(Transaction::parse).collect(),
        })
    }
}

impl Transaction {
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        Some(Self {
            hash: hash(value.get("hash")?)?,
            from: address(value.get("from")?)?,
            nonce: number(value.get("nonce")?)?,
        })
    }
}

impl Receipt {
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        let logs = value.get("logs")?.as_array()?;
        Some(Self {
            block: number(value.get("blockNumber")?)?,
            from: address(value.get("from")?)?,
            succeeded: number(value.get("status")?)? == 1,
            gas_used: number(value.get("gasUsed")?)?,
            logs: logs.iter().map(Log::parse).collect::<Option<_>>()?,
        })
    }
}

impl Log {
    fn parse(value: &Value) -> Option<Self> {
        let topics = value.get("topics")?.as_array()?;
        Some(Self {
            address: address(value.get("address")?)?,
            topics: topics.iter().map(hash).collect::<Option<_>>()?,
            data: bytes(value.get("data")?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_of_the_official_capture_are_read() {
        let capture =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/e2e/paid-wasi-task.jsonl"));
        let (mut receipts, mut blocks) = (0, 0);
        for line in capture.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let result = &line["body"]["result"];
            match line["what"].as_str() {
                Some("result eth_getTransactionReceipt") => {
                    let receipt = Receipt::parse(result).unwrap();
                    assert!(receipt.succeeded && receipt.logs.len() == 1, "{receipt:?}");
                    receipts += 1;
                }
                Some("result eth_getBlockByNumber") => {
                    assert!(Block::parse(result).unwrap().base_fee > 0);
                    blocks += 1;
                }
                _ => {}
            }
        }
        assert!(receipts == 3 && blocks == 5, "{receipts} {blocks}");
    }

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "(0x)?[0-9a-fA-F]{0,80}".prop_map(Value::from),
            "\\PC{0,10}".prop_map(Value::from),
            Just(json!([])),
        ]
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(a in values(), b in values(), c in values()) {
            let object = json!({ "number": a, "timestamp": b, "transactions": [c, { "hash": a, "from": b, "nonce": c }],
                "blockNumber": a, "from": b, "status": c, "gasUsed": b, "logs": [{ "address": a, "topics": [b], "data": c }] });
            for value in [&a, &object] {
                let _ = (Block::parse(value), Receipt::parse(value), Transaction::parse(value));
                let _ = (quantity(value), word(value), bytes(value));
            }
        }
    }
}
