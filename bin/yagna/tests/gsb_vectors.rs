//! Recorded bus traffic of an official daemon, replayed against ours (spec 21 §3, §4, 22 §5; vectors/gsb).
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use golem_bus::wire::{self, Kind};
use golem_bus::{Bus, BusError, RawRequest};
use golem_model::identity::{self, Event};
use golem_model::{Caller, NodeId};
use serde_json::{Value, json};
use yagna::daemon::{Config, Daemon, Stop};

const SECRET: &str = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318";
const TIMEOUT: Duration = Duration::from_secs(10);

/// A request and its recorded reply: its value, or its error text.
struct Exchange {
    address: String,
    request: Bytes,
    reply: Result<Value, String>,
}

fn exchanges(file: &str) -> Vec<Exchange> {
    let path = format!("{}/../../tests/vectors/gsb/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut bytes = BytesMut::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        bytes.extend_from_slice(&hex::decode(line.rsplit(' ').next().unwrap()).unwrap());
    }
    let (mut calls, mut done) = (BTreeMap::new(), Vec::new());
    while let Some(kind) = wire::read_frame(&mut bytes).unwrap() {
        match kind {
            Kind::Call(call) => drop(calls.insert(call.request_id.clone(), call)),
            Kind::Reply(reply) => {
                let call = calls.remove(&reply.request_id).unwrap();
                let reply = if reply.code == 0 {
                    Ok(golem_bus::decode(&reply.data).unwrap())
                } else {
                    Err(String::from_utf8(reply.data.to_vec()).unwrap())
                };
                done.push(Exchange { address: call.address, request: call.data, reply });
            }
            _ => {}
        }
    }
    done
}

async fn daemon() -> (Daemon, Bus, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path().to_owned());
    config.identity.id_secret = Some(SECRET.parse().unwrap());
    config.identity.app_key = Some("autoconf-test-key".to_owned());
    let daemon = Daemon::start(config).await.unwrap();
    let bus = Bus::connect(daemon.gsb_url(), "test").await.unwrap();
    (daemon, bus, dir)
}

/// What differs from run to run becomes one word; lists that come from a map are sorted.
fn masked(value: &mut Value) {
    match value {
        Value::String(text) => {
            let own = "0x2c7536e3605d9c16a7a3d7b1898e529396a65c23";
            let hex = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit());
            if text.parse::<NodeId>().is_ok() && text != own {
                *text = "<id>".to_owned();
            } else if text.len() == 32 && hex(text) {
                *text = "<key>".to_owned();
            } else if text.parse::<chrono::NaiveDateTime>().is_ok() {
                *text = "<time>".to_owned();
            } else if text.starts_with('{') {
                let mut inner: Value = serde_json::from_str(text).unwrap();
                let crypto = &mut inner["crypto"];
                for path in ["ciphertext", "mac"] {
                    crypto[path] = json!("<bytes>");
                }
                crypto["cipherparams"] = json!("<bytes>");
                crypto["kdfparams"]["salt"] = json!("<bytes>");
                inner["id"] = json!("<uuid>");
                *text = serde_json::to_string_pretty(&inner).unwrap();
            } else if text.starts_with('(') || text.starts_with("golem ") {
                *text = "<name>".to_owned();
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(masked);
            items.sort_by_key(|item| if item.is_object() { item.to_string() } else { String::new() });
        }
        Value::Object(map) => {
            map.values_mut().for_each(masked);
            map.sort_keys();
        }
        _ => {}
    }
}

#[tokio::test]
async fn recorded_requests_get_the_recorded_replies() {
    let (daemon, bus, _dir) = daemon().await;
    let files = [
        "10-err-no-endpoint",
        "11-err-bad-content",
        "20-id-list",
        "21-id-get-default",
        "22-id-get-by-node",
        "23-id-get-by-alias-none",
        "24-id-pubkey",
        "25-id-pubkey-unknown",
        "26-id-sign",
        "27-id-sign-badlen",
        "28-id-sign-compressed",
        "29-id-keyfile",
        "30-id-create",
        "31-id-update",
        "33-id-drop",
        "62-unknown-field",
        "34-id-drop-again",
        "40-appkey-list",
        "41-appkey-create",
        "42-appkey-get-by-name",
        "43-appkey-get",
        "44-appkey-get-unknown",
        "45-appkey-remove",
        "46-appkey-remove-auto",
        "50-version-get",
        "51-version-skip",
        "63-missing-field",
    ];
    for file in files {
        for Exchange { address, mut request, reply } in exchanges(&format!("{file}.hex")) {
            // Requests about the generated identity name the one that was generated in this run.
            if file.starts_with("33") || file.starts_with("34") {
                let get = identity::Get::ByAlias("vec-alias".to_owned());
                let info = bus.call(identity::ADDRESS, Caller::local(), get, TIMEOUT).await.unwrap().unwrap();
                request = golem_bus::flexbuf::to_vec(&json!({ "nodeId": info.node_id })).unwrap().into();
            }
            let raw = RawRequest { caller: Caller::local(), address, data: request.into(), no_reply: false };
            let answer = bus.call_single(raw, TIMEOUT).await;
            match (reply, answer) {
                (Ok(mut expected), Ok(payload)) => {
                    let mut got: Value = payload.take().unwrap();
                    masked(&mut expected);
                    masked(&mut got);
                    assert_eq!(got, expected, "{file}");
                }
                (Err(expected), Err(BusError::BadRequest(text) | BusError::Failure(text))) => {
                    let start = |text: &str| text.split([',', '`']).next().unwrap().to_owned();
                    assert_eq!(start(&text), start(&expected), "{file}");
                }
                (expected, got) => panic!("{file}: {got:?} instead of {expected:?}"),
            }
        }
    }
    daemon.stop(Stop::Now).await;
}

#[tokio::test]
async fn subscribers_are_told_of_locks_and_unlocks() {
    let (daemon, bus, _dir) = daemon().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let (seen, wake) = (Arc::clone(&told), Arc::new(tokio::sync::Notify::new()));
    let notify = Arc::clone(&wake);
    bus.bind("/vector/ev", move |_, event: Event| {
        seen.lock().unwrap().push(event);
        notify.notify_one();
        std::future::ready(Ok(()))
    });
    assert!(bus.bound().await);
    let subscribe = identity::Subscribe { endpoint: "/vector/ev".to_owned() };
    bus.call(identity::ADDRESS, Caller::local(), subscribe, TIMEOUT).await.unwrap();
    let id = daemon.node_id();
    let lock = identity::Lock { node_id: id, set_password: None };
    assert!(bus.call(identity::ADDRESS, Caller::local(), lock, TIMEOUT).await.unwrap().is_locked);
    let heard = async |count: usize| {
        while told.lock().unwrap().len() < count {
            wake.notified().await;
        }
    };
    tokio::time::timeout(TIMEOUT, heard(1)).await.expect("an event in time");
    let sign = identity::Sign { node_id: id, payload: vec![0; 32] };
    assert!(bus.call(identity::ADDRESS, Caller::local(), sign, TIMEOUT).await.is_err());
    let unlock = identity::Unlock { node_id: id, password: String::new() };
    assert!(!bus.call(identity::ADDRESS, Caller::local(), unlock, TIMEOUT).await.unwrap().is_locked);
    tokio::time::timeout(TIMEOUT, heard(2)).await.expect("an event in time");
    let expected = [Event::AccountLocked { identity: id }, Event::AccountUnlocked { identity: id }];
    assert_eq!(*told.lock().unwrap(), expected);
    daemon.stop(Stop::Now).await;
}

#[tokio::test]
async fn the_bus_ends_the_daemon() {
    let (daemon, bus, _dir) = daemon().await;
    let [Exchange { address, request, .. }] = exchanges("99-cli-shutdown.hex").try_into().ok().unwrap();
    let raw = RawRequest { caller: Caller::local(), address, data: request.into(), no_reply: false };
    let answer: Value = bus.call_single(raw, TIMEOUT).await.unwrap().take().unwrap();
    assert_eq!(answer, json!({ "Ok": null }));
    assert_eq!(daemon.asked_to_stop().await, Stop::Graceful);
    daemon.stop(Stop::Now).await;
}
