//! Peers that are away, old, hostile or late (spec 40 §7, §9).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use golem_bus::CallError;
use golem_model::payment::local::ProcessPaymentsNow;
use golem_model::payment::peer::{
    AcceptInvoice, AcceptRejectError, PaymentSyncNeeded, SendDebitNote, SendError, SendInvoice, SendPaymentWithBytes,
};
use golem_model::payment::{Acceptance, DebitNote, Invoice, PUBLIC_ADDRESS, SignedPayment};
use golem_model::{Amount, Call, Caller, NodeId};
use golem_payment_core::sync::Backoff;
use golem_payment_service::{Config, Settle};
use serde_json::{Value, json};

use crate::rig::{Node, PLATFORM, WAIT, World};

/// A requestor that pays at once and repeats quickly.
fn quick() -> Config {
    let sync = Backoff { initial: Duration::from_millis(100), exponent: 2.0, ..Backoff::default() };
    Config { settle: Settle::AtOnce, sync, ..Config::default() }
}

async fn accepted_invoice(requestor: &Node, provider: &Node, world: &World, amount: &str) -> (String, String) {
    let (agreement, activity) = world.agree(requestor.id, provider.id, "session");
    let allocation = requestor.allocate("2").await;
    let invoice = provider.bill_invoice(&agreement, &activity, amount).await;
    (invoice, allocation)
}

async fn accept(requestor: &Node, invoice: &str, allocation: &str, amount: &str) -> u16 {
    let acceptance = json!({ "totalAmountAccepted": amount, "allocationId": allocation });
    requestor.post(&format!("/invoices/{invoice}/accept"), acceptance).await.0
}

async fn call<C: Call>(node: &Node, caller: NodeId, call: C) -> Result<C::Item, CallError<C::Error>> {
    node.bus.call(PUBLIC_ADDRESS, Caller::from(caller), call, WAIT).await
}

#[tokio::test]
async fn a_provider_that_was_away_is_told_when_it_is_back() {
    let world = World::new();
    let (requestor, provider) = (world.requestor_with(quick()).await, world.provider().await);
    let (invoice, allocation) = accepted_invoice(&requestor, &provider, &world, "0.5").await;
    world.away.lock().unwrap().insert(provider.id);
    assert_eq!(accept(&requestor, &invoice, &allocation, "0.5").await, 200);
    requestor.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
    let requestor = requestor.restart().await;
    world.away.lock().unwrap().remove(&provider.id);
    provider.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
    let books = provider.get("/payAgreements").await;
    assert_eq!(books[0]["totalAmountAccepted"], "0.5");
    requestor.stop().await;
}

#[tokio::test]
async fn a_provider_asks_for_what_it_missed() {
    let world = World::new();
    let slow = Config { settle: Settle::AtOnce, ..Config::default() };
    let (requestor, provider) = (world.requestor_with(slow).await, world.provider().await);
    let (invoice, allocation) = accepted_invoice(&requestor, &provider, &world, "0.5").await;
    world.away.lock().unwrap().insert(provider.id);
    assert_eq!(accept(&requestor, &invoice, &allocation, "0.5").await, 200);
    requestor.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
    world.away.lock().unwrap().remove(&provider.id);
    // Its start sends PaymentSyncNeeded; the first repetition of the requestor would be 30 s away.
    let provider = provider.restart().await;
    provider.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
}

#[tokio::test]
async fn an_old_provider_gets_the_old_forms() {
    let world = World::new();
    let names = ["SendPaymentWithBytes", "PaymentSyncWithBytes"];
    world.unknown.lock().unwrap().extend(names.map(str::to_owned));
    let (requestor, provider) = (world.requestor_with(quick()).await, world.provider().await);
    let (invoice, allocation) = accepted_invoice(&requestor, &provider, &world, "0.5").await;
    assert_eq!(accept(&requestor, &invoice, &allocation, "0.5").await, 200);
    provider.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
    let payment = provider.get("/payments?timeout=0").await;
    assert!(payment[0].get("signature").is_none(), "no canonical signature: {payment}");

    let (invoice, allocation) = accepted_invoice(&requestor, &provider, &world, "0.25").await;
    world.away.lock().unwrap().insert(provider.id);
    assert_eq!(accept(&requestor, &invoice, &allocation, "0.25").await, 200);
    requestor.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
    world.away.lock().unwrap().remove(&provider.id);
    provider.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
}

#[tokio::test]
async fn an_answer_that_is_late_is_repeated() {
    let world = World::new();
    let cycle = Config { settle: Settle::Cycle, ..quick() };
    let (requestor, provider) = (world.requestor_with(cycle).await, world.provider().await);
    let (invoice, allocation) = accepted_invoice(&requestor, &provider, &world, "0.5").await;
    world.away.lock().unwrap().insert(provider.id);
    let acceptance = json!({ "totalAmountAccepted": "0.5", "allocationId": allocation });
    let (status, answer) = requestor.post(&format!("/invoices/{invoice}/accept?timeout=0"), acceptance).await;
    assert_eq!(answer, json!({ "message": "Timeout accepting Invoice on remote Node." }));
    assert_eq!(status, 504);
    world.away.lock().unwrap().remove(&provider.id);
    provider.wait_for("invoice", &invoice, "InvoiceAcceptedEvent").await;
}

#[tokio::test]
async fn a_chain_node_that_lags_delays_a_payment_but_does_not_refuse_it() {
    let world = World::new();
    let (requestor, provider) = (world.requestor_with(quick()).await, world.provider().await);
    let (invoice, allocation) = accepted_invoice(&requestor, &provider, &world, "0.5").await;
    world.chain.lock().unwrap().lags = true;
    assert_eq!(accept(&requestor, &invoice, &allocation, "0.5").await, 200);
    requestor.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
    assert_eq!(provider.get("/payments?timeout=0").await, json!([]));
    world.chain.lock().unwrap().lags = false;
    provider.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
}

#[tokio::test]
async fn strangers_change_nothing() {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (agreement, activity) = world.agree(requestor.id, provider.id, "session");
    let stranger = NodeId::from([9; 20]);
    let note = provider.bill_note(&activity, "0.5").await;
    let note: DebitNote = serde_json::from_value(provider.get(&format!("/debitNotes/{note}")).await).unwrap();
    let invoice = provider.bill_invoice(&agreement, &activity, "0.5").await;
    let invoice: Invoice = serde_json::from_value(provider.get(&format!("/invoices/{invoice}")).await).unwrap();

    // The same again is fine, other content under the same id is not.
    call(&requestor, provider.id, SendDebitNote(note.clone())).await.unwrap();
    call(&requestor, provider.id, SendInvoice(invoice.clone())).await.unwrap();
    let other = Invoice { amount: Amount::whole(7), ..invoice.clone() };
    let integrity = "Data integrity error: Invoice with the same id and different content already exists.";
    assert_eq!(
        call(&requestor, provider.id, SendInvoice(other)).await.unwrap_err().service(),
        Some(SendError::ServiceError(integrity.to_owned()))
    );
    let sender = Some(SendError::BadRequest("Invalid sender node ID".to_owned()));
    assert_eq!(call(&requestor, stranger, SendInvoice(invoice.clone())).await.unwrap_err().service(), sender);
    assert_eq!(call(&requestor, stranger, SendDebitNote(note.clone())).await.unwrap_err().service(), sender);

    let (_, foreign) = world.agree(requestor.id, provider.id, "session");
    let crossed = DebitNote { activity_id: foreign.clone(), debit_note_id: "new".to_owned(), ..note };
    let error = call(&requestor, provider.id, SendDebitNote(crossed)).await.unwrap_err().service().unwrap();
    assert!(error.to_string().contains(&format!("Activity {foreign} belongs to agreement")), "{error}");
    let unknown = Invoice { agreement_id: "a".repeat(64), invoice_id: "new".to_owned(), ..invoice.clone() };
    let text = format!("Agreement {} not found", "a".repeat(64));
    assert_eq!(
        call(&requestor, provider.id, SendInvoice(unknown)).await.unwrap_err().service(),
        Some(SendError::BadRequest(text))
    );

    let acceptance = |amount: &str| AcceptInvoice {
        invoice_id: invoice.invoice_id.clone(),
        acceptance: Acceptance { total_amount_accepted: amount.parse().unwrap(), allocation_id: String::new() },
        issuer_id: provider.id,
    };
    let refused = |outcome: Result<_, CallError<AcceptRejectError>>| outcome.unwrap_err().service().unwrap();
    assert_eq!(refused(call(&provider, stranger, acceptance("0.5")).await), AcceptRejectError::Forbidden);
    assert_eq!(
        refused(call(&provider, requestor.id, acceptance("0.4")).await),
        AcceptRejectError::BadRequest("Invalid amount accepted. Expected: 0.5 Actual: 0.4".to_owned())
    );
    let unknown = AcceptInvoice { invoice_id: "unknown".to_owned(), ..acceptance("0.5") };
    assert_eq!(refused(call(&provider, requestor.id, unknown).await), AcceptRejectError::ObjectNotFound);
    call(&provider, requestor.id, acceptance("0.50")).await.unwrap();
    call(&requestor, stranger, PaymentSyncNeeded).await.unwrap();
    assert!(
        requestor.bus.call(PUBLIC_ADDRESS, Caller::local(), PaymentSyncNeeded, WAIT).await.is_err(),
        "a caller that is no node gets an error, not a crash"
    );
}

#[tokio::test]
async fn a_payment_is_believed_only_if_everything_fits() {
    let world = World::new();
    let slow = Config { settle: Settle::Cycle, ..Config::default() };
    let (requestor, provider) = (world.requestor_with(slow).await, world.provider().await);
    let (invoice, allocation) = accepted_invoice(&requestor, &provider, &world, "0.5").await;
    assert_eq!(accept(&requestor, &invoice, &allocation, "0.5").await, 200);
    let now = ProcessPaymentsNow {
        node_id: requestor.id,
        platform: PLATFORM.to_owned(),
        skip_resolve: false,
        skip_send: false,
    };
    requestor.call(now).await;
    provider.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
    let made: Vec<SignedPayment> = serde_json::from_value(requestor.get("/payments?timeout=5").await).unwrap();
    let SignedPayment { payment, signature, signed_bytes } = made[0].clone();
    let good = SendPaymentWithBytes { payment, signature: signature.unwrap(), signed_bytes: signed_bytes.unwrap() };
    let signed_payment = serde_json::from_slice(&good.signed_bytes).unwrap();
    let good = SendPaymentWithBytes { payment: signed_payment, ..good };
    call(&provider, requestor.id, good.clone()).await.expect("the same again is fine");

    let refused = |caller: NodeId, change: fn(&mut SendPaymentWithBytes)| {
        let mut message = good.clone();
        change(&mut message);
        let outcome = call(&provider, caller, message);
        async move { outcome.await.unwrap_err().service().unwrap().to_string() }
    };
    let service = "Service error: Invalid payment signature";
    assert_eq!(refused(NodeId::from([9; 20]), |_| {}).await, "Bad request: Invalid payer ID");
    let payer = requestor.id;
    let text = refused(payer, |message| message.payment.amount = "0.4".parse().unwrap()).await;
    assert!(text.contains("exists with other content"), "{text}");
    assert_eq!(refused(payer, |message| message.payment.payment_id = "new".to_owned()).await, service);
    let resigned = |message: &mut SendPaymentWithBytes| {
        message.payment.payment_id = "new".to_owned();
        message.signed_bytes = serde_json::to_vec(&message.payment).unwrap();
    };
    assert_eq!(refused(payer, resigned).await, service);
    let short = |message: &mut SendPaymentWithBytes| {
        message.payment.payment_id = "new".to_owned();
        message.signature.truncate(64);
    };
    assert_eq!(refused(payer, short).await, service);

    // Signed by the payer itself, a second payment for the same transfer is still refused.
    let mut again = good.payment.clone();
    again.payment_id = "again".to_owned();
    let text = sign_and_send(&requestor, &provider, again.clone()).await.unwrap_err();
    assert_eq!(text, "Bad request: Transaction for 0.5 used for multiple payments amounting to 1.0");
    again.details = "not base64!".to_owned();
    let text = sign_and_send(&requestor, &provider, again.clone()).await.unwrap_err();
    assert_eq!(text, "Bad request: Confirmation is not base64-encoded");
    again.details = BASE64.encode([7; 32]);
    again.payment_platform = "other-net-glm".to_owned();
    let text = sign_and_send(&requestor, &provider, again).await.unwrap_err();
    assert_eq!(text, "Service error: No driver for platform other-net-glm");
    let books = provider.get("/payAgreements").await;
    assert_eq!(books[0]["totalAmountPaid"], "0.5");
}

async fn sign_and_send(payer: &Node, payee: &Node, payment: golem_model::payment::Payment) -> Result<(), String> {
    let signed_bytes = golem_payment_core::signature::canonical(&payment).into_bytes();
    let sign = golem_model::identity::Sign {
        node_id: payer.id,
        payload: golem_payment_core::signature::digest(&signed_bytes).to_vec(),
    };
    let signature = payer.bus.call(golem_model::identity::ADDRESS, Caller::local(), sign, WAIT).await.unwrap();
    let message = SendPaymentWithBytes { payment, signature, signed_bytes };
    match call(payee, payer.id, message).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.service().unwrap().to_string()),
    }
}

#[tokio::test]
async fn unreachable_requestors_fail_a_send_and_leave_the_note_unsent() {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (_, activity) = world.agree(requestor.id, provider.id, "session");
    world.away.lock().unwrap().insert(requestor.id);
    let note = provider.made("/debitNotes", json!({ "activityId": activity, "totalAmountDue": "1" })).await;
    let path = format!("/debitNotes/{}", note["debitNoteId"].as_str().unwrap());
    assert_eq!(provider.post(&format!("{path}/send"), Value::Null).await.0, 500);
    assert_eq!(provider.get(&path).await["status"], "ISSUED");
    world.away.lock().unwrap().remove(&requestor.id);
    provider.done(&format!("{path}/send"), Value::Null).await;
    assert_eq!(provider.get(&path).await["status"], "RECEIVED");
}
