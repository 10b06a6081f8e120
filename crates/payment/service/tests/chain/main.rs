//! The whole money path: two payment services, two erc20 drivers, one development chain.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "test code")]

#[path = "../payment/rig.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod rig;

use std::sync::Arc;

use golem_dev_chain::Chain;
use golem_model::driver::Fund;
use golem_model::payment::local::GetStatus;
use golem_model::{Amount, Caller};
use golem_payment_erc20::Settings;
use golem_payment_service::{Config, Settle};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use rig::{Node, PLATFORM, WAIT, World};

fn status(node: &Node) -> GetStatus {
    GetStatus {
        address: node.id.to_string(),
        driver: "erc20".to_owned(),
        network: Some("hoodi".to_owned()),
        token: None,
        after_timestamp: 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_invoice_arrives_as_tokens_and_is_believed_by_its_payee() {
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let chain = golem_dev_chain::Config { block_time: None, mine_at_once: true, ..golem_dev_chain::Config::default() };
    let chain = Chain::start(chain, &tasks, stop.clone()).await.unwrap();
    let file = chain.payments_config("hoodi");
    let mut world = World::new();
    world.erc20 = Some(Arc::new(move |folder| {
        std::fs::write(folder.join("config-payments.toml"), &file).unwrap();
        Settings::load(folder, &|_| None).0
    }));
    let config = Config { settle: Settle::AtOnce, ..Config::default() };
    let (requestor, provider) = (world.requestor_with(config).await, world.provider().await);
    let fund =
        Fund { address: requestor.id.to_string(), network: Some("hoodi".to_owned()), token: None, mint_only: true };
    requestor.bus.call("/local/driver/erc20", Caller::local(), fund, WAIT).await.unwrap();

    let new = json!({ "totalAmount": "1001", "paymentPlatform": PLATFORM });
    let (code, refused) = requestor.post("/allocations", new).await;
    assert_eq!((code, &refused["availableFunds"]), (400, &json!("1000")), "{refused}");
    let allocation = requestor.allocate("10").await;
    let (agreement, activity) = world.agree(requestor.id, provider.id, "session");
    let accept = |amount: &str| json!({ "totalAmountAccepted": amount, "allocationId": allocation });
    let note = provider.bill_note(&activity, "0.125").await;
    requestor.done(&format!("/debitNotes/{note}/accept"), accept("0.125")).await;
    let invoice = provider.bill_invoice(&agreement, &activity, "0.500000000000000001").await;
    requestor.done(&format!("/invoices/{invoice}/accept"), accept("0.500000000000000001")).await;

    provider.wait_for("debitNote", &note, "DebitNoteSettledEvent").await;
    provider.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
    requestor.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
    let received: Amount = "0.500000000000000001".parse().unwrap();
    assert_eq!(provider.call(status(&provider)).await.amount, received);
    let out = requestor.call(status(&requestor)).await;
    assert_eq!(out.amount, Amount::whole(1000).checked_sub(received).unwrap());
    assert_eq!(out.outgoing.confirmed.total_amount, received);
    let accounts = requestor.get("/requestorAccounts").await;
    assert_eq!(accounts[0]["token"], "tGLM", "{accounts}");
    assert_eq!(requestor.get("/payments/status").await, Value::Array(vec![]));
    requestor.stop().await;
    provider.stop().await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
