//! Documents between two nodes (spec 40 §4, 41 §3.7).

use serde_json::{Value, json};

use crate::rig::World;

#[tokio::test]
async fn notes_and_an_invoice_are_paid_once_and_settled_on_both_sides() {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (agreement, activity) = world.agree(requestor.id, provider.id, "session");
    let allocation = requestor.allocate("2").await;

    let note = provider.bill_note(&activity, "0.125").await;
    requestor.wait_for("debitNote", &note, "DebitNoteReceivedEvent").await;
    let accept = json!({ "totalAmountAccepted": "0.1250", "allocationId": allocation });
    requestor.done(&format!("/debitNotes/{note}/accept"), accept.clone()).await;
    requestor.done(&format!("/debitNotes/{note}/accept"), accept).await;
    provider.wait_for("debitNote", &note, "DebitNoteAcceptedEvent").await;

    let invoice = provider.bill_invoice(&agreement, &activity, "0.5").await;
    let accept = |amount: &str| json!({ "totalAmountAccepted": amount, "allocationId": allocation });
    let path = format!("/invoices/{invoice}/accept");
    assert_eq!(requestor.post(&path, accept("0.4")).await, (400, json!({ "message": "Invalid amount accepted" })));
    requestor.done(&path, accept("0.5")).await;
    let shown = requestor.get(&format!("/allocations/{allocation}")).await;
    assert_eq!((&shown["spentAmount"], &shown["remainingAmount"]), (&json!("0.500"), &json!("1.500")));

    let (status, _) = requestor.post("/batchCycle/erc20-hoodi-tglm/now", Value::Null).await;
    assert_eq!(status, 200);
    provider.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
    provider.wait_for("debitNote", &note, "DebitNoteSettledEvent").await;
    requestor.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;

    let transfers: Vec<_> = requestor.driver.lock().unwrap().scheduled.values().cloned().collect();
    assert_eq!(transfers.len(), 1, "one transfer for note and rest");
    assert_eq!(transfers[0].amount.to_string(), "0.500");
    let (paid, received) = (requestor.get("/payments?timeout=0").await, provider.get("/payments?timeout=5").await);
    assert_eq!(paid[0]["agreementPayments"], json!([{ "agreementId": agreement, "amount": "0.375" }]));
    assert_eq!(paid[0]["activityPayments"], json!([{ "activityId": activity, "amount": "0.125" }]));
    for field in ["paymentId", "signature", "signedBytes", "details", "amount"] {
        assert_eq!(paid[0][field], received[0][field], "{field}");
        assert!(!paid[0][field].is_null(), "{field}");
    }
    let books = requestor.get(&format!("/payAgreements/{agreement}")).await;
    for total in ["totalAmountDue", "totalAmountAccepted", "totalAmountScheduled", "totalAmountPaid"] {
        assert_eq!(books[total].as_str().unwrap().parse::<f64>().unwrap(), 0.5, "{total}");
    }
    let of_invoice = provider.get(&format!("/invoices/{invoice}/payments")).await;
    assert_eq!(of_invoice.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn concurrent_accepts_charge_once() {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (_, activity) = world.agree(requestor.id, provider.id, "session");
    let allocation = requestor.allocate("2").await;
    let note = provider.bill_note(&activity, "0.5").await;
    let path = format!("/debitNotes/{note}/accept");
    let accept = || requestor.done(&path, json!({ "totalAmountAccepted": "0.5", "allocationId": allocation }));
    tokio::join!(accept(), accept(), accept(), accept());
    let shown = requestor.get(&format!("/allocations/{allocation}")).await;
    assert_eq!(shown["spentAmount"], "0.5");
}

#[tokio::test]
async fn an_invoice_may_be_accepted_after_it_was_rejected() {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (agreement, activity) = world.agree(requestor.id, provider.id, "session");
    let allocation = requestor.allocate("2").await;
    let invoice = provider.bill_invoice(&agreement, &activity, "0.5").await;
    let rejection = json!({ "rejectionReason": "INCORRECT_AMOUNT", "totalAmountAccepted": "0", "message": "too much" });
    requestor.done(&format!("/invoices/{invoice}/reject"), rejection.clone()).await;
    requestor.done(&format!("/invoices/{invoice}/reject"), rejection.clone()).await;
    let events = provider.get("/invoiceEvents?timeout=5").await;
    assert_eq!(events[0]["eventType"], "InvoiceRejectedEvent");
    assert_eq!(events[0]["rejection"], rejection);
    let accept = json!({ "totalAmountAccepted": "0.5", "allocationId": allocation });
    requestor.done(&format!("/invoices/{invoice}/accept"), accept).await;
    provider.wait_for("invoice", &invoice, "InvoiceAcceptedEvent").await;
    let refused = requestor.post(&format!("/invoices/{invoice}/reject"), rejection).await;
    assert_eq!(refused, (400, json!({ "message": "Invoice accepted" })));
    let refused = provider.post(&format!("/invoices/{invoice}/cancel"), Value::Null).await;
    assert_eq!(refused, (409, json!({ "message": "Invoice already accepted by requestor" })));
}

#[tokio::test]
async fn a_cancelled_invoice_is_gone_on_both_sides() {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (agreement, activity) = world.agree(requestor.id, provider.id, "session");
    let allocation = requestor.allocate("2").await;
    provider.bill_note(&activity, "0.1").await;
    let invoice = provider.bill_invoice(&agreement, &activity, "0.5").await;
    provider.done(&format!("/invoices/{invoice}/cancel"), Value::Null).await;
    provider.done(&format!("/invoices/{invoice}/cancel"), Value::Null).await;
    requestor.wait_for("invoice", &invoice, "InvoiceCancelledEvent").await;
    let accept = json!({ "totalAmountAccepted": "0.5", "allocationId": allocation });
    let refused = requestor.post(&format!("/invoices/{invoice}/accept"), accept).await;
    assert_eq!(refused, (400, json!({ "message": "Invoice cancelled" })));
    for node in [&requestor, &provider] {
        let books = node.get(&format!("/payAgreements/{agreement}")).await;
        assert_eq!(books["totalAmountDue"], "0.1");
    }
}

#[tokio::test]
async fn a_document_of_nothing_is_settled_when_it_is_accepted() {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (agreement, activity) = world.agree(requestor.id, provider.id, "session");
    let allocation = requestor.allocate("2").await;
    let invoice = provider.bill_invoice(&agreement, &activity, "0").await;
    let accept = json!({ "totalAmountAccepted": "0", "allocationId": allocation });
    requestor.done(&format!("/invoices/{invoice}/accept"), accept).await;
    for node in [&requestor, &provider] {
        node.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
        assert_eq!(node.get(&format!("/invoices/{invoice}")).await["status"], "SETTLED");
    }
}

#[tokio::test]
async fn a_late_note_is_not_paid_beside_its_invoice() {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (agreement, activity) = world.agree(requestor.id, provider.id, "session");
    let allocation = requestor.allocate("2").await;
    let note = provider.bill_note(&activity, "0.25").await;
    let invoice = provider.bill_invoice(&agreement, &activity, "0.5").await;
    let accept = |amount: &str| json!({ "totalAmountAccepted": amount, "allocationId": allocation });
    requestor.done(&format!("/invoices/{invoice}/accept"), accept("0.5")).await;
    requestor.done(&format!("/debitNotes/{note}/accept"), accept("0.25")).await;
    let shown = requestor.get(&format!("/allocations/{allocation}")).await;
    assert_eq!(shown["spentAmount"], "0.5");
}

#[tokio::test]
async fn broken_amounts_stop_at_the_door() {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (agreement, activity) = world.agree(requestor.id, provider.id, "session");
    for amount in ["-1", "1.9e-18", "1e60"] {
        let (status, _) =
            provider.post("/debitNotes", json!({ "activityId": activity, "totalAmountDue": amount })).await;
        assert_eq!(status, 400, "{amount}");
        let new = json!({ "agreementId": agreement, "amount": amount, "paymentDueDate": "2036-01-01T00:00:00Z" });
        assert_eq!(provider.post("/invoices", new).await.0, 400, "{amount}");
        let (status, _) = requestor.post("/allocations", json!({ "totalAmount": amount })).await;
        assert_eq!(status, 400, "{amount}");
    }
    let (status, answer) =
        requestor.post("/debitNotes", json!({ "activityId": activity, "totalAmountDue": "1" })).await;
    assert_eq!((status, answer), (401, json!({ "message": null })), "only the provider issues");
    let long = provider.post("/debitNotes?x", json!({ "activityId": activity, "totalAmountDue": "1e400" })).await;
    assert_eq!(long.0, 400);
}

#[tokio::test]
async fn a_poll_wakes_at_once_and_ends_in_time() {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (_, activity) = world.agree(requestor.id, provider.id, "session");
    let started = tokio::time::Instant::now();
    let (events, note) =
        tokio::join!(requestor.get("/debitNoteEvents?timeout=60"), provider.bill_note(&activity, "0.25"));
    assert_eq!(events[0]["debitNoteId"], note.as_str());
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
    let after = events[0]["eventDate"].as_str().unwrap();
    let none = requestor.get(&format!("/debitNoteEvents?timeout=0.1&afterTimestamp={after}")).await;
    assert_eq!(none, json!([]));
    let other = requestor.get("/debitNoteEvents?timeout=0&appSessionId=other").await;
    assert_eq!(other, json!([]));
    assert_eq!(provider.get("/debitNoteEvents?timeout=0").await, json!([]), "the issuer's own RECEIVED is filtered");
    let (status, _, text) = requestor.ask("GET", "/payment-api/v1/debitNoteEvents?timeout=-1", &Value::Null, "").await;
    assert_eq!(status, 400, "{text}");
}
