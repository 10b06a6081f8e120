//! The process is killed at each arrow of settlement and started again: nothing is lost, nothing is paid twice.
//!
//! A child process runs requestor and provider and aborts at one arrow; a second child continues with the same data.
//! The fake driver keeps its transfers in a file, and reports all of them again at its start, as drivers do.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "test code")]

#[path = "../payment/rig.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod rig;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use golem_model::Amount;
use golem_model::driver::SchedulePayment;
use golem_payment_core::sync::Backoff;
use golem_payment_service::{Config, Settle};
use serde_json::{Value, json};

use rig::{Node, PROVIDER_KEY, REQUESTOR_KEY, WAIT, World};

const DIR: &str = "GOLEM_PAYMENT_CRASH_DIR";
const ARROWS: [&str; 9] = [
    "accept-stored",
    "accept-told",
    "order-stored",
    "transfer-scheduled",
    "transfer-marked",
    "notice-stored",
    "payment-signed",
    "payment-told",
    "payment-received",
];

fn run_child(dir: &Path, kill_at: Option<&str>) -> ExitStatus {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "the_story", "--nocapture"]).env(DIR, dir);
    if let Some(arrow) = kill_at {
        child.env("GOLEM_PAYMENT_KILL_AT", arrow);
    }
    child.status().unwrap()
}

#[test]
fn a_kill_at_any_arrow_loses_nothing_and_pays_nothing_twice() {
    for arrow in ARROWS {
        let dir = tempfile::tempdir().unwrap();
        assert!(!run_child(dir.path(), Some(arrow)).success(), "{arrow} was not passed");
        assert!(run_child(dir.path(), None).success(), "after a kill at {arrow}");
        assert!(run_child(dir.path(), None).success(), "one start more after a kill at {arrow}");
    }
}

/// Nothing without the environment of [`run_child`].
#[test]
fn the_story() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(tell(&dir));
}

/// Goes on from wherever the process died: what was asked for and not answered is asked for again, as clients do.
async fn tell(dir: &Path) {
    let journal = dir.join("transfers");
    let mut world = World::new();
    world.journal = Some(journal.clone());
    let sync = Backoff { initial: Duration::from_millis(100), exponent: 1.5, ..Backoff::default() };
    let config = Config { settle: Settle::AtOnce, sync, ..Config::default() };
    for name in ["requestor", "provider"] {
        std::fs::create_dir_all(dir.join(name)).unwrap();
    }
    let provider = Node::start(&world, PROVIDER_KEY, config.clone(), dir.join("provider")).await;
    let requestor_id = REQUESTOR_KEY.parse::<golem_keys::SecretKey>().unwrap().node_id();
    let terms = ("ab".repeat(32), "cd".repeat(16));
    let (agreement, activity) = world.agree_on(requestor_id, provider.id, "session", terms);
    let requestor = Node::start(&world, REQUESTOR_KEY, config, dir.join("requestor")).await;
    requestor.confirm().await;

    let allocation = match requestor.get("/allocations").await[0]["allocationId"].as_str() {
        Some(id) => id.to_owned(),
        None => requestor.allocate("2").await,
    };
    if provider.get("/debitNotes").await == json!([]) {
        provider.made("/debitNotes", json!({ "activityId": activity, "totalAmountDue": "0.125" })).await;
    }
    send_all(&provider, "debitNote").await;
    accept_all(&requestor, "debitNote", "totalAmountDue", &allocation).await;
    if provider.get("/invoices").await == json!([]) {
        let invoice = json!({ "agreementId": agreement, "activityIds": [activity], "amount": "0.5",
            "paymentDueDate": "2036-01-01T00:00:00Z" });
        provider.made("/invoices", invoice).await;
    }
    send_all(&provider, "invoice").await;
    accept_all(&requestor, "invoice", "amount", &allocation).await;

    for (node, kind) in [(&provider, "invoice"), (&provider, "debitNote"), (&requestor, "invoice")] {
        until_settled(node, kind).await;
    }
    for node in [&requestor, &provider] {
        let books = node.get(&format!("/payAgreements/{agreement}")).await;
        assert_eq!(books["totalAmountPaid"].as_str().unwrap().parse::<Amount>(), "0.5".parse(), "{books}");
    }
    let transfers = read(&journal);
    let sum = Amount::sum(transfers.iter().map(|transfer| transfer.amount)).unwrap();
    assert_eq!(sum, "0.5".parse().unwrap(), "{transfers:?}");
    assert_eq!(requestor.get(&format!("/allocations/{allocation}")).await["spentAmount"], "0.500");
    requestor.stop().await;
    provider.stop().await;
}

fn read(journal: &Path) -> Vec<SchedulePayment> {
    let text = std::fs::read_to_string(journal).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn send_all(provider: &Node, kind: &str) {
    for document in provider.get(&format!("/{kind}s")).await.as_array().unwrap() {
        let id = document[format!("{kind}Id")].as_str().unwrap();
        provider.done(&format!("/{kind}s/{id}/send"), Value::Null).await;
    }
}

async fn accept_all(requestor: &Node, kind: &str, amount: &str, allocation: &str) {
    for document in requestor.get(&format!("/{kind}s")).await.as_array().unwrap() {
        let id = document[format!("{kind}Id")].as_str().unwrap();
        let acceptance = json!({ "totalAmountAccepted": document[amount], "allocationId": allocation });
        requestor.done(&format!("/{kind}s/{id}/accept"), acceptance).await;
    }
}

async fn until_settled(node: &Node, kind: &str) {
    let until = tokio::time::Instant::now() + WAIT;
    loop {
        let documents = node.get(&format!("/{kind}s")).await;
        if documents.as_array().unwrap().iter().all(|document| document["status"] == "SETTLED") {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "{documents}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
