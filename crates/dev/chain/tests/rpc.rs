//! The chain through its door, as wallets and drivers use it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::str::FromStr;

use alloy_consensus::TxEip1559;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, Bytes, TxKind, U256};
use alloy_sol_types::{SolCall, sol};
use golem_dev_chain::{Chain, ChainFaults, Config, Faults, Handle, Undone, dev_accounts};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

sol! {
    function transfer(address to, uint256 amount) returns (bool);
    function balanceOf(address account) returns (uint256);
    function approve(address spender, uint256 amount) returns (bool);
    function create();
    function golemTransferDirectPacked(bytes32[] payments);
    function callWithDetails(address target, bytes data);
}

struct Fixture {
    chain: Handle,
    client: reqwest::Client,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Fixture {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let config = Config { block_time: None, mine_at_once: true, ..Config::default() };
        let chain = Chain::start(config, &tasks, stop.clone()).await.unwrap();
        Self { chain, client: reqwest::Client::new(), stop, tasks }
    }

    async fn post(&self, body: String) -> Value {
        let reply = self.client.post(self.chain.url()).body(body).send().await.unwrap();
        serde_json::from_str(&reply.text().await.unwrap()).unwrap()
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        self.post(json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()).await
    }

    async fn ok(&self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    fn raw(&self, account: usize, nonce: u64, gas_limit: u64, max_fee: u128, to: Address, input: Bytes) -> Value {
        let transaction = TxEip1559 {
            chain_id: 560_048,
            nonce,
            gas_limit,
            max_fee_per_gas: max_fee,
            max_priority_fee_per_gas: 1_000_000,
            to: TxKind::Call(to),
            value: U256::ZERO,
            access_list: Default::default(),
            input,
        };
        let signed = dev_accounts()[account].sign(transaction);
        json!([format!("0x{}", hex::encode(signed.encoded_2718()))])
    }

    async fn send(&self, account: usize, nonce: u64, to: Address, input: impl Into<Bytes>) -> Value {
        let raw = self.raw(account, nonce, 300_000, 5_000_000_000, to, input.into());
        self.ok("eth_sendRawTransaction", raw).await
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn glm(amount: u64) -> U256 {
    U256::from(amount) * U256::from(10).pow(U256::from(18))
}

#[tokio::test]
async fn tokens_come_from_the_faucet_and_go_to_many_in_one_transaction() {
    let fixture = Fixture::start().await;
    let contracts = fixture.chain.contracts();
    // The addresses that captures of the official daemon have.
    assert_eq!(contracts.token, Address::from_str("0x5fbdb2315678afecb367f032d93f642f64180aa3").unwrap());
    assert_eq!(contracts.multi_transfer, Address::from_str("0xe7f1725e7734ce288f8367e1bb143e90bb3f0512").unwrap());
    assert_eq!(contracts.wrapper, Address::from_str("0xcf7ed3acca5a467e9e704c703e8d87f634fb0fc9").unwrap());
    let payer = dev_accounts()[1].address;
    fixture.send(1, 0, contracts.faucet, createCall {}.abi_encode()).await;
    assert_eq!(fixture.chain.glm(payer), glm(1000));
    let refused = json!([{ "from": payer.to_string(), "to": contracts.faucet.to_string(), "data": "0xefc81a8c" }]);
    let answer = fixture.ask("eth_estimateGas", refused).await;
    assert_eq!(answer["error"]["message"], "execution reverted: Cannot acquire more funds");
    assert_eq!(answer["error"]["code"], 3);
    assert!(answer["error"]["data"].as_str().unwrap().starts_with("0x08c379a0"));

    let approve = approveCall { spender: contracts.multi_transfer, amount: U256::MAX };
    fixture.send(1, 1, contracts.token, approve.abi_encode()).await;
    let payments = (1..=3u8).map(|to| {
        let mut packed = [0; 32];
        packed[..20].copy_from_slice(Address::repeat_byte(to).as_slice());
        packed[31] = to;
        packed.into()
    });
    let many = golemTransferDirectPackedCall { payments: payments.collect() };
    let hash = fixture.send(1, 2, contracts.multi_transfer, many.abi_encode()).await;
    let receipt = fixture.ok("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!((&receipt["status"], receipt["logs"].as_array().unwrap().len()), (&json!("0x1"), 3));
    assert_eq!(receipt["logs"][2]["logIndex"], "0x2");
    for to in 1..=3u8 {
        assert_eq!(fixture.chain.glm(Address::repeat_byte(to)), U256::from(to));
    }
    let logs = json!([{ "fromBlock": "earliest", "address": contracts.token.to_string(), "topics": [null,
        format!("0x{:0>64}", hex::encode(payer))] }]);
    assert_eq!(fixture.ok("eth_getLogs", logs).await.as_array().unwrap().len(), 4);
    fixture.end().await;
}

#[tokio::test]
async fn objects_have_all_the_fields_that_strict_clients_want() {
    let fixture = Fixture::start().await;
    let token = fixture.chain.contracts().token;
    let hash = fixture.send(1, 0, token, approveCall { spender: token, amount: U256::ONE }.abi_encode()).await;
    let block = fixture.ok("eth_getBlockByNumber", json!(["latest", false])).await;
    for field in [
        "hash",
        "parentHash",
        "sha3Uncles",
        "miner",
        "stateRoot",
        "transactionsRoot",
        "receiptsRoot",
        "number",
        "gasUsed",
        "gasLimit",
        "baseFeePerGas",
        "extraData",
        "logsBloom",
        "timestamp",
        "difficulty",
        "uncles",
    ] {
        assert!(block.get(field).is_some_and(|value| !value.is_null()), "{field}");
    }
    assert_eq!(block["difficulty"], "0x0");
    assert_eq!(block["logsBloom"].as_str().unwrap().len(), 2 + 512);
    assert_eq!(block["transactions"], json!([hash]));
    let full = fixture.ok("eth_getBlockByHash", json!([block["hash"], true])).await;
    let transaction = fixture.ok("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!(full["transactions"], json!([transaction]));
    for field in [
        "hash",
        "nonce",
        "blockHash",
        "blockNumber",
        "transactionIndex",
        "from",
        "to",
        "value",
        "gas",
        "gasPrice",
        "maxFeePerGas",
        "maxPriorityFeePerGas",
        "input",
        "type",
        "v",
        "r",
        "s",
    ] {
        assert!(transaction.get(field).is_some_and(|value| !value.is_null()), "{field}");
    }
    assert_eq!((&transaction["nonce"], &transaction["value"]), (&json!("0x0"), &json!("0x0")));
    let receipt = fixture.ok("eth_getTransactionReceipt", json!([hash])).await;
    for field in [
        "transactionHash",
        "transactionIndex",
        "blockHash",
        "blockNumber",
        "from",
        "to",
        "cumulativeGasUsed",
        "gasUsed",
        "effectiveGasPrice",
        "logs",
        "logsBloom",
        "status",
        "type",
    ] {
        assert!(receipt.get(field).is_some_and(|value| !value.is_null()), "{field}");
    }
    assert!(receipt["contractAddress"].is_null());
    assert_eq!(receipt["logs"][0]["removed"], false);
    let unknown = json!([format!("0x{}", "ab".repeat(32))]);
    assert!(fixture.ok("eth_getTransactionReceipt", unknown.clone()).await.is_null());
    assert!(fixture.ok("eth_getTransactionByHash", unknown).await.is_null());
    fixture.end().await;
}

#[tokio::test]
async fn the_past_is_readable_by_number() {
    let fixture = Fixture::start().await;
    let contracts = fixture.chain.contracts();
    let payer = dev_accounts()[1].address;
    let before = fixture.chain.head();
    fixture.send(1, 0, contracts.faucet, createCall {}.abi_encode()).await;
    (0..300).for_each(|_| fixture.chain.mine());
    let call = json!({ "to": contracts.token.to_string(), "data": format!("0x{}",
        hex::encode(balanceOfCall { account: payer }.abi_encode())) });
    let check = async |block: u64, expected: U256| {
        let answer = fixture.ok("eth_call", json!([call, format!("{block:#x}")])).await;
        assert_eq!(answer, format!("0x{:0>64x}", expected), "block {block}");
    };
    check(before, U256::ZERO).await;
    check(before + 1, glm(1000)).await;
    check(before + 301, glm(1000)).await;
    let coin = json!([payer.to_string(), format!("{before:#x}")]);
    assert_eq!(fixture.ok("eth_getBalance", coin).await, "0x21e19e0c9bab2400000");
    let future = fixture.ask("eth_getBalance", json!([payer.to_string(), "0xffffff"])).await;
    assert_eq!(future["error"]["message"], "header not found");

    let details =
        callWithDetailsCall { target: contracts.token, data: balanceOfCall { account: payer }.abi_encode().into() };
    let wrapper = json!([{ "from": payer.to_string(), "to": contracts.wrapper.to_string(),
        "data": format!("0x{}", hex::encode(details.abi_encode())) }, "latest"]);
    let answer = fixture.ok("eth_call", wrapper).await;
    let words: Vec<&str> =
        answer.as_str().unwrap().as_bytes()[2..].chunks(64).map(|word| str::from_utf8(word).unwrap()).collect();
    // As captured from the official daemon's chain: one tuple behind an offset.
    assert_eq!(words.len(), 8);
    assert_eq!((words[0], words[1]), (format!("{:0>64x}", 0x20).as_str(), format!("{:0>64x}", 560_048).as_str()));
    assert_eq!(words[7], format!("{:0>64x}", glm(1000)));
    fixture.end().await;
}

#[tokio::test]
async fn bad_transactions_are_refused_with_the_texts_of_real_nodes() {
    let fixture = Fixture::start().await;
    let token = fixture.chain.contracts().token;
    let refusal = async |raw: Value| {
        let answer = fixture.ask("eth_sendRawTransaction", raw).await;
        answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    let gwei = 1_000_000_000;
    let plain = |nonce, gas, fee| fixture.raw(1, nonce, gas, fee, token, Bytes::new());
    fixture.ok("eth_sendRawTransaction", plain(0, 50_000, 5 * gwei)).await;
    assert_eq!(refusal(plain(0, 50_000, 5 * gwei)).await, "already known");
    assert!(refusal(plain(0, 60_000, 5 * gwei)).await.starts_with("nonce too low"));
    assert!(refusal(plain(1, 50_000, 1 << 80)).await.starts_with("insufficient funds for gas * price + value"));
    assert!(refusal(plain(1, 20_000, 5 * gwei)).await.starts_with("intrinsic gas too low"));
    assert_eq!(refusal(plain(1, 31_000_000, gwei)).await, "exceeds block gas limit");
    assert!(refusal(json!(["0x02c0"])).await.starts_with("failed to decode"));
    fixture.chain.set_chain_faults(ChainFaults { stuck: true, ..ChainFaults::default() });
    fixture.ok("eth_sendRawTransaction", plain(1, 50_000, 5 * gwei)).await;
    let pending = json!([dev_accounts()[1].address.to_string(), "pending"]);
    assert_eq!(fixture.ok("eth_getTransactionCount", pending).await, "0x2");
    assert_eq!(refusal(plain(1, 51_000, 5 * gwei)).await, "replacement transaction underpriced");
    let poor = json!([{ "from": Address::repeat_byte(9).to_string(), "to": token.to_string(),
        "data": format!("0x{}", hex::encode(transferCall { to: token, amount: U256::ONE }.abi_encode())) }]);
    let answer = fixture.ask("eth_estimateGas", poor).await;
    assert_eq!(answer["error"]["message"], "execution reverted: ERC20: transfer amount exceeds balance");
    fixture.end().await;
}

#[tokio::test]
async fn gas_estimates_are_enough_and_not_much_more() {
    let fixture = Fixture::start().await;
    let contracts = fixture.chain.contracts();
    let payer = dev_accounts()[1].address;
    let call = json!([{ "from": payer.to_string(), "to": contracts.faucet.to_string(), "data": "0xefc81a8c", "type": "0x2", "value": "0x0" }]);
    let estimate = fixture.ok("eth_estimateGas", call).await;
    let estimate = u64::from_str_radix(&estimate.as_str().unwrap()[2..], 16).unwrap();
    let raw = fixture.raw(1, 0, estimate, 5_000_000_000, contracts.faucet, createCall {}.abi_encode().into());
    let hash = fixture.ok("eth_sendRawTransaction", raw).await;
    let receipt = fixture.ok("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x1");
    let used = u64::from_str_radix(&receipt["gasUsed"].as_str().unwrap()[2..], 16).unwrap();
    assert!(estimate >= used && estimate < used + used / 10, "{estimate} {used}");
    fixture.end().await;
}

#[tokio::test]
async fn undone_blocks_take_their_transactions_back() {
    let fixture = Fixture::start().await;
    let contracts = fixture.chain.contracts();
    let payer = dev_accounts()[1].address;
    let snapshot = fixture.ok("evm_snapshot", json!([])).await;
    let hash = fixture.send(1, 0, contracts.faucet, createCall {}.abi_encode()).await;
    let before = fixture.ok("eth_getTransactionReceipt", json!([hash])).await;
    fixture.chain.reorganise(1, Undone::Wait);
    let after = fixture.ok("eth_getTransactionReceipt", json!([hash])).await;
    assert_ne!(before["blockHash"], after["blockHash"]);
    assert_eq!(fixture.chain.glm(payer), glm(1000));
    fixture.chain.reorganise(2, Undone::Forgotten);
    assert!(fixture.ok("eth_getTransactionByHash", json!([hash])).await.is_null());
    assert_eq!(fixture.chain.glm(payer), U256::ZERO);
    assert_eq!(fixture.ok("evm_revert", json!([snapshot])).await, true);
    assert_eq!(fixture.ok("evm_revert", json!([snapshot])).await, false);
    fixture.end().await;
}

#[tokio::test]
async fn faults_belong_to_a_door_and_can_be_taken_back() {
    let fixture = Fixture::start().await;
    let other = fixture.chain.open_door(([127, 0, 0, 1], 0).into()).await.unwrap();
    let head = fixture.chain.head();
    other.set_faults(Faults { head_behind: 2, chain_id: Some(5), ..Faults::default() });
    let body = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber" },
        { "jsonrpc": "2.0", "id": "two", "method": "eth_chainId", "params": [] },
    ]);
    let reply = fixture.client.post(other.url()).body(body.to_string()).send().await.unwrap();
    let answers: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
    assert_eq!(answers[0]["result"], format!("{:#x}", head - 2));
    assert_eq!((&answers[1]["result"], &answers[1]["id"]), (&json!("0x5"), &json!("two")));
    assert_eq!(fixture.ok("eth_blockNumber", json!([])).await, format!("{head:#x}"));
    other.set_faults(Faults { unavailable: true, ..Faults::default() });
    let reply = fixture.client.post(other.url()).body(body.to_string()).send().await.unwrap();
    assert_eq!(reply.status(), 503);
    fixture.ok("dev_setFaults", json!([{ "errors": { "eth_call": "try later" } }])).await;
    let answer = fixture.ask("eth_call", json!([{}, "latest"])).await;
    assert_eq!(answer["error"]["message"], "try later");
    fixture.ok("dev_setFaults", json!([{}])).await;
    assert_eq!(fixture.ask("dev_setFaults", json!([{ "nonsense": 1 }])).await["error"]["code"], -32602);
    fixture.end().await;
}

#[tokio::test]
async fn bad_requests_get_an_error_and_nothing_else_breaks() {
    let fixture = Fixture::start().await;
    let check = async |body: &str, code: i64| {
        let answer = fixture.post(body.to_owned()).await;
        assert_eq!(answer["error"]["code"], code, "{body}: {answer}");
    };
    check("", -32700).await;
    check("{", -32700).await;
    check(&"[".repeat(5000), -32700).await;
    check("[]", -32600).await;
    check("7", -32600).await;
    check(r#"{"id":1}"#, -32600).await;
    check(r#"{"id":1,"method":"eth_nothing"}"#, -32601).await;
    check(r#"{"id":1,"method":"eth_getBalance","params":{}}"#, -32602).await;
    for params in [json!([]), json!(["0x12"]), json!([7]), json!([null]), json!(["0xzz"]), json!([{}])] {
        for method in
            ["eth_getBalance", "eth_getTransactionByHash", "eth_sendRawTransaction", "eth_getStorageAt", "eth_getCode"]
        {
            let answer = fixture.ask(method, params.clone()).await;
            assert!(answer.get("error").is_some(), "{method} {params}: {answer}");
        }
    }
    for call in
        [json!({ "to": "x" }), json!({ "value": "0x" }), json!({ "gas": "-1" }), json!({ "data": "0x1" }), json!([])]
    {
        assert!(fixture.ask("eth_call", json!([call])).await.get("error").is_some(), "{call}");
    }
    assert_eq!(fixture.ok("eth_chainId", json!([])).await, "0x88bb0");
    fixture.end().await;
}

#[tokio::test]
async fn wallets_find_what_they_need_for_fees() {
    let fixture = Fixture::start().await;
    let history = fixture.ok("eth_feeHistory", json!(["0x3", "latest", [25, 75]])).await;
    assert_eq!(history["baseFeePerGas"].as_array().unwrap().len(), 4);
    assert_eq!(history["reward"].as_array().unwrap().len(), 3);
    for method in ["eth_gasPrice", "eth_maxPriorityFeePerGas", "net_version", "web3_clientVersion"] {
        assert!(fixture.ok(method, json!([])).await.is_string(), "{method}");
    }
    fixture.chain.set_chain_faults(ChainFaults { base_fee: Some(77), ..ChainFaults::default() });
    fixture.chain.mine();
    assert_eq!(fixture.ok("eth_getBlockByNumber", json!(["latest", false])).await["baseFeePerGas"], "0x4d");
    fixture.end().await;
}

#[tokio::test]
async fn coin_is_given_to_who_asks() {
    let fixture = Fixture::start().await;
    let address = Address::repeat_byte(0x42);
    let reply = fixture.client.get(format!("{}/donate/{address}", fixture.chain.url())).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(fixture.chain.coin(address), glm(1));
    let reply = fixture.client.get(format!("{}/donate/nobody", fixture.chain.url())).send().await.unwrap();
    assert_eq!(reply.status(), 400);
    fixture.chain.give(address, glm(2), glm(5)).unwrap();
    assert_eq!((fixture.chain.coin(address), fixture.chain.glm(address)), (glm(3), glm(5)));
    fixture.end().await;
}
