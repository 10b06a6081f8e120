//! Blocks, transactions and receipts in the exact JSON of Ethereum nodes (spec 42 §5.13).

use alloy_consensus::{Transaction, TxEnvelope, Typed2718};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Log, U256};
use alloy_rlp::Encodable;
use serde_json::{Map, Value, json};

use crate::block::{Block, Mined, SignedTransaction};

/// A quantity: no leading zeros, `0x0` for nothing.
pub(crate) fn number(value: impl TryInto<U256>) -> Value {
    Value::String(format!("{:#x}", value.try_into().unwrap_or_default()))
}

/// Bytes, an even number of digits.
pub(crate) fn data(bytes: impl AsRef<[u8]>) -> Value {
    Value::String(format!("0x{}", hex::encode(bytes)))
}

pub(crate) fn block(block: &Block, full: bool) -> Value {
    let header = &block.header;
    let transactions = block.transactions.iter().enumerate();
    let size = header.length()
        + block.transactions.iter().map(|mined| mined.transaction.envelope.encode_2718_len()).sum::<usize>();
    json!({
        "hash": data(block.hash),
        "parentHash": data(header.parent_hash),
        "sha3Uncles": data(header.ommers_hash),
        "miner": data(header.beneficiary),
        "stateRoot": data(header.state_root),
        "transactionsRoot": data(header.transactions_root),
        "receiptsRoot": data(header.receipts_root),
        "logsBloom": data(header.logs_bloom),
        "difficulty": number(header.difficulty),
        "totalDifficulty": "0x0",
        "number": number(header.number),
        "gasLimit": number(header.gas_limit),
        "gasUsed": number(header.gas_used),
        "timestamp": number(header.timestamp),
        "extraData": data(&header.extra_data),
        "mixHash": data(header.mix_hash),
        "nonce": data(header.nonce),
        "baseFeePerGas": number(block.base_fee()),
        "withdrawalsRoot": header.withdrawals_root.map(data),
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": header.parent_beacon_block_root.map(data),
        "size": number(size),
        "uncles": [],
        "withdrawals": [],
        "transactions": transactions
            .map(|(index, mined)| if full { self::mined(block, index, mined) } else { data(mined.transaction.hash) })
            .collect::<Vec<_>>(),
    })
}

/// A transaction in a block.
pub(crate) fn mined(block: &Block, index: usize, mined: &Mined) -> Value {
    let mut object = fields(&mined.transaction);
    object.insert("blockHash".to_owned(), data(block.hash));
    object.insert("blockNumber".to_owned(), number(block.number()));
    object.insert("transactionIndex".to_owned(), number(index));
    object.insert("gasPrice".to_owned(), number(mined.effective_gas_price));
    Value::Object(object)
}

/// A transaction that waits.
pub(crate) fn waiting(transaction: &SignedTransaction) -> Value {
    let mut object = fields(transaction);
    for absent in ["blockHash", "blockNumber", "transactionIndex"] {
        object.insert(absent.to_owned(), Value::Null);
    }
    object.insert("gasPrice".to_owned(), number(transaction.envelope.max_fee_per_gas()));
    Value::Object(object)
}

fn fields(transaction: &SignedTransaction) -> Map<String, Value> {
    let envelope = &transaction.envelope;
    let signature = envelope.signature();
    let parity = u64::from(signature.v());
    let v = match envelope {
        TxEnvelope::Legacy(_) => envelope.chain_id().map_or(27, |id| 35 + id * 2) + parity,
        _ => parity,
    };
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("hash", data(transaction.hash));
    put("type", number(envelope.ty()));
    put("nonce", number(envelope.nonce()));
    put("from", data(transaction.from));
    put("to", envelope.to().map_or(Value::Null, data));
    put("value", number(envelope.value()));
    put("gas", number(envelope.gas_limit()));
    put("input", data(envelope.input()));
    put("v", number(v));
    put("r", number(signature.r()));
    put("s", number(signature.s()));
    if let Some(id) = envelope.chain_id() {
        put("chainId", number(id));
    }
    if let Some(list) = envelope.access_list() {
        let items = list.iter().map(|item| {
            json!({ "address": data(item.address), "storageKeys": item.storage_keys.iter().map(data).collect::<Vec<_>>() })
        });
        put("accessList", items.collect());
        put("yParity", number(parity));
    }
    if let Some(tip) = envelope.max_priority_fee_per_gas() {
        put("maxFeePerGas", number(envelope.max_fee_per_gas()));
        put("maxPriorityFeePerGas", number(tip));
    }
    object
}

pub(crate) fn receipt(block: &Block, index: usize, mined: &Mined) -> Value {
    let transaction = &mined.transaction;
    json!({
        "transactionHash": data(transaction.hash),
        "transactionIndex": number(index),
        "blockHash": data(block.hash),
        "blockNumber": number(block.number()),
        "from": data(transaction.from),
        "to": transaction.envelope.to().map(data),
        "cumulativeGasUsed": number(mined.cumulative_gas_used),
        "gasUsed": number(mined.gas_used),
        "effectiveGasPrice": number(mined.effective_gas_price),
        "contractAddress": mined.created.map(data),
        "logs": logs(block, index, mined).collect::<Vec<_>>(),
        "logsBloom": data(mined.bloom),
        "status": number(u64::from(mined.succeeded)),
        "type": number(transaction.envelope.ty()),
    })
}

pub(crate) fn logs<'a>(block: &'a Block, index: usize, mined: &'a Mined) -> impl Iterator<Item = Value> + 'a {
    let numbered = mined.logs.iter().zip(mined.logs_before..);
    numbered.map(move |(log, log_index)| self::log(block, index, mined, log, log_index))
}

pub(crate) fn log(block: &Block, index: usize, mined: &Mined, log: &Log, log_index: u64) -> Value {
    json!({
        "address": data(log.address),
        "topics": log.topics().iter().map(data).collect::<Vec<_>>(),
        "data": data(&log.data.data),
        "blockHash": data(block.hash),
        "blockNumber": number(block.number()),
        "blockTimestamp": number(block.header.timestamp),
        "transactionHash": data(mined.transaction.hash),
        "transactionIndex": number(index),
        "logIndex": number(log_index),
        "removed": false,
    })
}
