//! JSON-RPC as Ethereum nodes speak it (spec 42 §5.13), over a [`Ledger`]. No sockets here.

mod call;
mod chain;
mod dev;
mod json;
mod logs;
mod params;
mod send;

use serde_json::{Value, json};

use crate::faults::Faults;
use crate::ledger::Ledger;
use params::Params;

/// Most calls in one batch, as other nodes have it.
const BATCH_MAX: usize = 1000;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RpcError {
    code: i64,
    message: String,
    data: Option<Value>,
}

impl RpcError {
    /// The code that nodes use when a call itself fails.
    fn failed(message: impl Into<String>) -> Self {
        Self { code: -32000, message: message.into(), data: None }
    }

    fn params(message: impl Into<String>) -> Self {
        Self { code: -32602, message: message.into(), data: None }
    }

    fn method(method: &str) -> Self {
        let method: String = method.chars().take(100).collect();
        Self { code: -32601, message: format!("the method {method} does not exist/is not available"), data: None }
    }

    fn request(message: &str) -> Self {
        Self { code: -32600, message: message.to_owned(), data: None }
    }

    fn to_json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (Some(data), Some(object)) = (&self.data, error.as_object_mut()) {
            object.insert("data".to_owned(), data.clone());
        }
        error
    }
}

pub(crate) type Answer = Result<Value, RpcError>;

/// What one call may look at and change.
#[derive(Debug)]
pub(crate) struct Door<'a> {
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) faults: &'a mut Faults,
    /// Whether a transaction gets a block of its own when it arrives.
    pub(crate) mine_at_once: &'a mut bool,
    /// Wall time in seconds.
    pub(crate) now: u64,
}

impl Door<'_> {
    /// Answers the body of a request; nothing when it holds only notifications.
    pub(crate) fn answer(&mut self, body: &[u8]) -> Option<Value> {
        match serde_json::from_slice(body) {
            Ok(Value::Array(calls)) if calls.is_empty() => Some(refusal(&RpcError::request("empty batch"))),
            Ok(Value::Array(calls)) if calls.len() > BATCH_MAX => Some(refusal(&RpcError::request("batch too large"))),
            Ok(Value::Array(calls)) => {
                let answers: Vec<Value> = calls.into_iter().filter_map(|call| self.one(call)).collect();
                (!answers.is_empty()).then_some(Value::Array(answers))
            }
            Ok(call) => self.one(call),
            Err(_) => Some(refusal(&RpcError { code: -32700, message: "parse error".to_owned(), data: None })),
        }
    }

    fn one(&mut self, call: Value) -> Option<Value> {
        let Value::Object(mut call) = call else { return Some(refusal(&RpcError::request("invalid request"))) };
        let id = call.remove("id").filter(|id| id.is_null() || id.is_number() || id.is_string());
        let Some(Value::String(method)) = call.remove("method") else {
            return Some(refusal(&RpcError::request("invalid request")));
        };
        let answer = match call.remove("params").unwrap_or(Value::Null) {
            Value::Array(params) => self.call(&method, &Params::new(params)),
            Value::Null => self.call(&method, &Params::new(Vec::new())),
            _ => Err(RpcError::params("non-array args")),
        };
        let id = id?;
        Some(match answer {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
            Err(error) => json!({ "jsonrpc": "2.0", "id": id, "error": error.to_json() }),
        })
    }

    fn call(&mut self, method: &str, params: &Params) -> Answer {
        if let Some(text) = self.faults.errors.get(method) {
            return Err(RpcError::failed(text.clone()));
        }
        match method {
            "eth_chainId" => Ok(json::number(self.chain_id())),
            "net_version" => Ok(Value::String(self.chain_id().to_string())),
            "net_listening" => Ok(true.into()),
            "web3_clientVersion" => Ok(concat!("golem-dev-chain/", env!("CARGO_PKG_VERSION")).into()),
            "web3_sha3" => Ok(json::data(alloy_primitives::keccak256(params.bytes(0)?))),
            "eth_syncing" | "eth_mining" => Ok(false.into()),
            "eth_accounts" => Ok(Value::Array(Vec::new())),
            "eth_blockNumber" => Ok(json::number(self.head())),
            "eth_getBlockByNumber" => self.block_by_number(params),
            "eth_getBlockByHash" => self.block_by_hash(params),
            "eth_getBlockTransactionCountByNumber" => self.transaction_count_of_block(params),
            "eth_getBlockReceipts" => self.block_receipts(params),
            "eth_getBalance" => self.balance(params),
            "eth_getTransactionCount" => self.transaction_count(params),
            "eth_getCode" => self.code(params),
            "eth_getStorageAt" => self.storage(params),
            "eth_call" => self.eth_call(params),
            "eth_estimateGas" => self.estimate_gas(params),
            "eth_gasPrice" => Ok(self.gas_price()),
            "eth_maxPriorityFeePerGas" => Ok(json::number(chain::TIP)),
            "eth_feeHistory" => self.fee_history(params),
            "eth_sendRawTransaction" => self.send_raw(params),
            "eth_getTransactionByHash" => self.transaction(params),
            "eth_getTransactionByBlockNumberAndIndex" => self.transaction_by_index(params),
            "eth_getTransactionReceipt" => self.receipt(params),
            "eth_getLogs" => self.logs(params),
            _ => self.control(method, params),
        }
    }

    fn chain_id(&self) -> u64 {
        self.faults.chain_id.unwrap_or(self.ledger.chain_id)
    }

    /// The newest block that this endpoint admits.
    fn head(&self) -> u64 {
        self.ledger.blocks.head().saturating_sub(self.faults.head_behind).max(self.ledger.blocks.first())
    }
}

fn refusal(error: &RpcError) -> Value {
    json!({ "jsonrpc": "2.0", "id": null, "error": error.to_json() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const METHODS: [&str; 24] = [
        "eth_chainId",
        "web3_sha3",
        "eth_getBlockByNumber",
        "eth_getBlockByHash",
        "eth_getBlockReceipts",
        "eth_getBalance",
        "eth_getTransactionCount",
        "eth_getCode",
        "eth_getStorageAt",
        "eth_call",
        "eth_estimateGas",
        "eth_feeHistory",
        "eth_sendRawTransaction",
        "eth_getTransactionByHash",
        "eth_getTransactionByBlockNumberAndIndex",
        "eth_getTransactionReceipt",
        "eth_getLogs",
        "evm_revert",
        "evm_increaseTime",
        "anvil_setBalance",
        "dev_reorganise",
        "dev_setFaults",
        "dev_setChainFaults",
        "nothing",
    ];

    fn answer(body: &[u8]) -> Option<Value> {
        let mut ledger = Ledger::new(1, 100, []);
        let (mut faults, mut mine_at_once) = (Faults::default(), false);
        Door { ledger: &mut ledger, faults: &mut faults, mine_at_once: &mut mine_at_once, now: 100 }.answer(body)
    }

    fn param() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["0x[0-9a-f]{0,70}", "latest|pending|earliest|finalized", "\\PC{0,8}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from),
            "0x[0-9a-f]{40}".prop_map(Value::from),
            "0x[0-9a-f]{64}".prop_map(Value::from),
        ];
        let key = prop_oneof![
            Just("from"),
            Just("to"),
            Just("data"),
            Just("value"),
            Just("gas"),
            Just("gasPrice"),
            Just("fromBlock"),
            Just("toBlock"),
            Just("blockHash"),
            Just("blockNumber"),
            Just("address"),
            Just("topics"),
            Just("accessList"),
            Just("storageKeys"),
            Just("headBehind"),
            Just("baseFee"),
        ];
        leaf.prop_recursive(3, 12, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((key.clone(), inner), 0..5)
                    .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_answer(body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = answer(&body);
        }

        #[test]
        fn any_parameters_get_an_answer(
            method in proptest::sample::select(METHODS.as_slice()),
            params in proptest::collection::vec(param(), 0..4),
        ) {
            let answer = answer(json!({ "id": 1, "method": method, "params": params }).to_string().as_bytes()).unwrap();
            prop_assert!(answer.get("result").is_some() != answer.get("error").is_some());
        }
    }
}
