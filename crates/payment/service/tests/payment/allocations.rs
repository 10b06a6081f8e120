//! Allocations (spec 40 §5, 41 §3.1 to §3.6).

use golem_model::Amount;
use golem_model::payment::local::ReleaseAllocations;
use serde_json::{Value, json};

use crate::rig::{PLATFORM, WAIT, World};

#[tokio::test]
async fn an_account_is_never_promised_twice() {
    let world = World::new();
    world.chain.lock().unwrap().balance = Amount::whole(10);
    let requestor = world.requestor().await;
    let new = json!({ "totalAmount": "3", "paymentPlatform": PLATFORM });
    let wishes = (0..8).map(|_| requestor.post("/allocations", new.clone()));
    let outcomes: Vec<_> = futures::future::join_all(wishes).await;
    let made = outcomes.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(made, 3, "{outcomes:?}");
    let (_, refused) = outcomes.iter().find(|(status, _)| *status == 400).unwrap();
    assert_eq!(refused["instance"], "/payment-api/v1/allocations/validation-error/insufficient-account-funds");
}

#[tokio::test]
async fn accepted_money_stays_promised_after_the_release() {
    let world = World::new();
    world.chain.lock().unwrap().balance = Amount::whole(10);
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (_, activity) = world.agree(requestor.id, provider.id, "session");
    let allocation = requestor.allocate("8").await;
    let note = provider.bill_note(&activity, "7").await;
    let accept = json!({ "totalAmountAccepted": "7", "allocationId": allocation });
    requestor.done(&format!("/debitNotes/{note}/accept"), accept).await;
    assert_eq!(requestor.other("DELETE", &format!("/allocations/{allocation}"), Value::Null).await.0, 200);
    let (status, refused) =
        requestor.post("/allocations", json!({ "totalAmount": "4", "paymentPlatform": PLATFORM })).await;
    assert_eq!((status, &refused["availableFunds"]), (400, &json!("3")), "{refused}");
    requestor.allocate("3").await;
}

#[tokio::test]
async fn amending_follows_what_is_spent_and_what_there_is() {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let (_, activity) = world.agree(requestor.id, provider.id, "session");
    let id = requestor.allocate("2").await;
    let note = provider.bill_note(&activity, "1.5").await;
    let accept = json!({ "totalAmountAccepted": "1.5", "allocationId": id });
    requestor.done(&format!("/debitNotes/{note}/accept"), accept).await;
    let path = format!("/allocations/{id}");
    let (status, answer) = requestor.other("PUT", &path, json!({ "totalAmount": "1" })).await;
    assert_eq!(status, 400);
    assert_eq!(answer["message"], "New allocation would be smaller than the already spent amount");
    let (status, answer) = requestor.other("PUT", &path, json!({ "totalAmount": "5" })).await;
    assert_eq!((status, &answer["remainingAmount"]), (200, &json!("3.5")));
    assert_eq!(requestor.other("PUT", &path, json!({})).await.0, 200);
    assert_eq!(requestor.other("PUT", &path, json!({ "totalAmount": "5000" })).await.0, 400);
    let far = json!({ "timeout": "2040-01-01T00:00:00Z" });
    assert_eq!(requestor.other("PUT", &path, far).await.1["timeout"], "2040-01-01T00:00:00Z");
}

#[tokio::test]
async fn lists_follow_every_change_and_an_allocation_ends_with_its_time() {
    let world = World::new();
    let requestor = world.requestor().await;
    let first = requestor.allocate("2").await;
    let second = requestor.allocate("3").await;
    let ids = |list: Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["allocationId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(requestor.get("/allocations").await), [first.clone(), second.clone()]);
    assert_eq!(ids(requestor.get("/allocations?maxItems=1").await).join(","), first);
    assert_eq!(ids(requestor.get("/allocations?afterTimestamp=2050-01-01T00:00:00Z").await), [""; 0]);
    requestor.other("DELETE", &format!("/allocations/{first}"), Value::Null).await;
    assert_eq!(ids(requestor.get("/allocations").await).join(","), second);

    let soon = golem_service::Clock::now(&golem_service::SystemClock) + chrono::TimeDelta::milliseconds(300);
    let new = json!({ "totalAmount": "1", "paymentPlatform": PLATFORM, "timeout": soon });
    let short = requestor.made("/allocations", new).await;
    let path = format!("/allocations/{}", short["allocationId"].as_str().unwrap());
    let until = tokio::time::Instant::now() + WAIT;
    while requestor.other("GET", &path, Value::Null).await.0 == 200 {
        assert!(tokio::time::Instant::now() < until, "never released");
        tokio::task::yield_now().await;
    }
    requestor.call(ReleaseAllocations {}).await;
    assert_eq!(requestor.get("/allocations").await, json!([]));
}
