//! The same work on an independent implementation of a node. Skipped with a printed reason where it is not installed.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use alloy_consensus::TxEip1559;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, TxKind, U256};
use golem_dev_chain::{Contracts, creation_codes, dev_accounts, payments_config};
use golem_model::driver::{Fund, GetAccountBalance, VerifyPaymentError};
use golem_payment_erc20::Settings;
use serde_json::{Value, json};

use crate::fixture::{Node, PLATFORM, payer, text, verification};

const CHAIN_ID: u64 = 560_048;

struct Anvil {
    child: Child,
    url: String,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `GOLEM_ANVIL`, or `anvil` on the path (npm package `@foundry-rs/anvil`).
fn program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("GOLEM_ANVIL") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("anvil")).find(|file| file.is_file())
}

fn start() -> Option<Anvil> {
    let Some(program) = program() else {
        eprintln!("skipped: no `anvil`; install it with `npm install @foundry-rs/anvil` and name it by GOLEM_ANVIL");
        return None;
    };
    let mut command = Command::new(program);
    command.args(["--port", "0", "--chain-id", &CHAIN_ID.to_string()]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned)).unwrap();
    // The pipe is read to its end so that the program never blocks on it.
    std::thread::spawn(move || lines.for_each(drop));
    Some(Anvil { child, url: format!("http://{address}") })
}

impl Anvil {
    async fn ask(&self, method: &str, params: Value) -> Value {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let request = reqwest::Client::new().post(&self.url).header("content-type", "application/json").body(body);
        let reply: Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
        assert!(reply.get("error").is_none(), "{method}: {reply}");
        reply["result"].clone()
    }

    async fn deploy(&self) -> Contracts {
        let owner = &dev_accounts()[0];
        for (nonce, input) in (0..).zip(creation_codes(owner.address)) {
            let transaction = TxEip1559 {
                chain_id: CHAIN_ID,
                nonce,
                gas_limit: 5_000_000,
                max_fee_per_gas: 10_000_000_000,
                max_priority_fee_per_gas: 1,
                to: TxKind::Create,
                value: U256::ZERO,
                access_list: Default::default(),
                input,
            };
            let raw = hex::encode(owner.sign(transaction).encoded_2718());
            self.ask("eth_sendRawTransaction", json!([format!("0x{raw}")])).await;
        }
        Contracts::of(owner.address)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_independent_node_serves_the_driver_as_well() {
    let Some(anvil) = start() else { return };
    let contracts = anvil.deploy().await;
    let folder = tempfile::tempdir().unwrap();
    let file = payments_config("hoodi", CHAIN_ID, &anvil.url, &contracts, ("127.0.0.1", 1));
    std::fs::write(folder.path().join("config-payments.toml"), file).unwrap();
    let (settings, warnings) = Settings::load(folder.path(), &|_| None);
    assert_eq!(warnings, Vec::<String>::new());
    let node = Node::with_settings(folder.path(), settings).await;
    let fund = Fund { address: text(payer()), network: None, token: None, mint_only: true };
    node.call(fund).await.unwrap();
    for (id, to, amount) in [("a", 1, "1"), ("b", 2, "2"), ("c", 1, "0.5")] {
        node.schedule(id, Address::repeat_byte(to), amount).await;
    }
    for id in ["a", "b", "c"] {
        let notice = node.notice(id).await;
        node.call(verification(&notice)).await.unwrap();
    }
    node.schedule("d", Address::repeat_byte(3), "4").await;
    let notice = node.notice("d").await;
    let mut more = verification(&notice);
    more.details.amount = "4.1".parse().unwrap();
    let refused = VerifyPaymentError::Refused("Transaction found but amount insufficient".into());
    assert_eq!(node.call(more).await.unwrap_err(), refused);
    let balance = node.call(GetAccountBalance { address: text(payer()), platform: PLATFORM.into() }).await.unwrap();
    assert_eq!(balance.token_balance.to_string(), "992.5");
    // Mint, approve, the batch, the single one.
    assert_eq!(anvil.ask("eth_getTransactionCount", json!([text(payer()), "latest"])).await, "0x4");
    node.stop().await;
}
