//! Orders, transfers, notices, and what a restart does to them (spec 40 §6).

use std::time::Duration;

use golem_model::payment::local::{
    GetInvoiceStats, GetStatus, PaymentAbandoned, ProcessBatchCycleInfo, ProcessBatchCycleSet, ProcessPaymentsNow,
};
use golem_payment_core::cycle::Defaults;
use golem_payment_service::{Config, Settle};
use serde_json::{Value, json};

use crate::rig::{Node, PLATFORM, WAIT, World};

fn at_once() -> Config {
    Config { settle: Settle::AtOnce, ..Config::default() }
}

async fn accept(requestor: &Node, allocation: &str, invoice: &str, amount: &str) {
    let acceptance = json!({ "totalAmountAccepted": amount, "allocationId": allocation });
    requestor.done(&format!("/invoices/{invoice}/accept"), acceptance).await;
}

/// Waits until `met` of the requestor's driver.
async fn until_driver(node: &Node, met: impl Fn(&crate::rig::Driver) -> bool) {
    let until = tokio::time::Instant::now() + WAIT;
    while !met(&node.driver.lock().unwrap()) {
        assert!(tokio::time::Instant::now() < until, "{:?}", node.driver.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn process_now(node: &Node) {
    let ask =
        ProcessPaymentsNow { node_id: node.id, platform: PLATFORM.to_owned(), skip_resolve: false, skip_send: false };
    node.call(ask).await;
}

#[tokio::test]
async fn at_once_pays_without_a_cycle() {
    let world = World::new();
    let (requestor, provider) = (world.requestor_with(at_once()).await, world.provider().await);
    let (agreement, activity) = world.agree(requestor.id, provider.id, "session");
    let allocation = requestor.allocate("2").await;
    let invoice = provider.bill_invoice(&agreement, &activity, "0.5").await;
    accept(&requestor, &allocation, &invoice, "0.5").await;
    provider.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
    requestor.stop().await;
}

#[tokio::test]
async fn a_cycle_pays_all_that_came_together() {
    let world = World::new();
    let cycle = Defaults { interval: Some(Duration::from_secs(5)), extra: Some(Duration::from_secs(5)) };
    let requestor = world.requestor_with(Config { cycle, ..Config::default() }).await;
    let provider = world.provider().await;
    let allocation = requestor.allocate("20").await;
    let mut invoices = Vec::new();
    for _ in 0..3 {
        let (agreement, activity) = world.agree(requestor.id, provider.id, "session");
        let invoice = provider.bill_invoice(&agreement, &activity, "0.5").await;
        accept(&requestor, &allocation, &invoice, "0.5").await;
        invoices.push(invoice);
    }
    for invoice in &invoices {
        provider.wait_for("invoice", invoice, "InvoiceSettledEvent").await;
    }
    let driver = requestor.driver.lock().unwrap();
    assert_eq!(driver.scheduled.len(), 1);
    assert_eq!(driver.scheduled.values().next().unwrap().amount.to_string(), "1.5");
}

#[tokio::test]
async fn a_driver_that_fails_gets_the_same_transfer_again() {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (agreement, activity) = world.agree(requestor.id, provider.id, "session");
    let allocation = requestor.allocate("2").await;
    let invoice = provider.bill_invoice(&agreement, &activity, "0.5").await;
    accept(&requestor, &allocation, &invoice, "0.5").await;
    requestor.driver.lock().unwrap().broken = true;
    let (status, _) = requestor.post("/batchCycle/erc20-hoodi-tglm/now", Value::Null).await;
    assert_eq!(status, 500);
    let orders = requestor.get("/batchOrders").await;
    assert_eq!(orders.as_array().unwrap().len(), 1);
    requestor.driver.lock().unwrap().broken = false;
    // After a start it is said again, without a cycle and without a second order.
    let requestor = requestor.restart().await;
    until_driver(&requestor, |driver| !driver.scheduled.is_empty()).await;
    provider.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
    assert_eq!(requestor.get("/batchOrders").await.as_array().unwrap().len(), 1);
    assert_eq!(requestor.driver.lock().unwrap().scheduled.len(), 1);
}

#[tokio::test]
async fn a_repeated_notice_books_once() {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (agreement, activity) = world.agree(requestor.id, provider.id, "session");
    let allocation = requestor.allocate("2").await;
    let invoice = provider.bill_invoice(&agreement, &activity, "0.5").await;
    accept(&requestor, &allocation, &invoice, "0.5").await;
    requestor.driver.lock().unwrap().manual = true;
    process_now(&requestor).await;
    tokio::join!(requestor.confirm(), requestor.confirm());
    requestor.confirm().await;
    let requestor = requestor.restart().await;
    requestor.confirm().await;
    provider.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
    for node in [&requestor, &provider] {
        let books = node.get(&format!("/payAgreements/{agreement}")).await;
        assert_eq!(books["totalAmountPaid"], "0.5");
        assert_eq!(node.get("/payments?timeout=0").await.as_array().unwrap().len(), 1);
    }
    let mut unknown = requestor.driver.lock().unwrap().scheduled.values().next().unwrap().clone();
    unknown.payment_id = Some("unknown".to_owned());
    assert!(requestor.notify(&unknown).await.is_err());
}

#[tokio::test]
async fn a_transfer_that_was_given_up_is_ordered_again() {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (agreement, activity) = world.agree(requestor.id, provider.id, "session");
    let allocation = requestor.allocate("2").await;
    let invoice = provider.bill_invoice(&agreement, &activity, "0.5").await;
    accept(&requestor, &allocation, &invoice, "0.5").await;
    requestor.driver.lock().unwrap().manual = true;
    process_now(&requestor).await;
    let first = requestor.driver.lock().unwrap().scheduled.pop_first().unwrap().0;
    let abandoned = PaymentAbandoned { payment_id: first.clone(), reason: "execution reverted".to_owned() };
    requestor.call(abandoned.clone()).await;
    requestor.call(abandoned).await;
    let spent = requestor.get(&format!("/allocations/{allocation}/expenditures")).await;
    assert_eq!(spent[0]["scheduledAmount"], "0.0");
    process_now(&requestor).await;
    let second = requestor.driver.lock().unwrap().scheduled.keys().next().unwrap().clone();
    assert_ne!(first, second);
    requestor.confirm().await;
    provider.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
}

#[tokio::test]
async fn the_sums_for_people_add_up() {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (agreement, activity) = world.agree(requestor.id, provider.id, "session");
    let allocation = requestor.allocate("2").await;
    let invoice = provider.bill_invoice(&agreement, &activity, "0.5").await;
    accept(&requestor, &allocation, &invoice, "0.5").await;
    let status = |node: &Node| GetStatus {
        address: node.id.to_string(),
        driver: "erc20".to_owned(),
        network: Some("hoodi".to_owned()),
        token: None,
        after_timestamp: 0,
    };
    let out = requestor.call(status(&requestor)).await;
    assert_eq!((out.token.as_str(), out.reserved.to_string().as_str()), ("tGLM", "1.5"));
    assert_eq!((out.outgoing.accepted.agreements_count, out.incoming.requested.agreements_count), (1, 0));
    let incoming = provider.call(status(&provider)).await.incoming;
    assert_eq!(incoming.accepted.total_amount.to_string(), "0.5");
    let stats =
        GetInvoiceStats { node_id: requestor.id, requestor: true, provider: true, since: chrono::DateTime::UNIX_EPOCH };
    assert_eq!(requestor.call(stats).await.requestor.accepted.agreements_count, 1);
}

#[tokio::test]
async fn cycles_are_read_and_changed() {
    let world = World::new();
    let requestor = world.requestor().await;
    let info = ProcessBatchCycleInfo { node_id: requestor.id, platform: PLATFORM.to_owned() };
    assert_eq!(requestor.call(info).await.interval, Some(Duration::from_secs(300)));
    let set = ProcessBatchCycleSet {
        node_id: requestor.id,
        platform: PLATFORM.to_owned(),
        interval: None,
        cron: Some("0 3 * * *".to_owned()),
        next_update: None,
        safe_payout: None,
    };
    let cycle = requestor.call(set).await;
    assert_eq!((cycle.cron.as_deref(), cycle.max_interval), (Some("0 3 * * *"), Duration::from_secs(86400)));
    let (status, _) = requestor.other("GET", "/batchCycle/whatever", Value::Null).await;
    assert_eq!(status, 404);
}
