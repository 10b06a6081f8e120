//! Recorded exchanges of official daemons, replayed with own ids.

use std::collections::BTreeMap;

use golem_bus::{Payload, flexbuf};
use golem_model::payment::peer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::rig::{Node, World};

fn vectors(name: &str) -> Vec<Value> {
    let path = format!("{}/../../../tests/vectors/payment/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["cases"].as_array().unwrap().clone()
}

/// Ids that the recording and we give to the same things.
#[derive(Debug, Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    fn ours(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
    }
}

const ID_KEYS: [&str; 7] =
    ["allocationId", "debitNoteId", "invoiceId", "paymentId", "orderId", "id", "previousDebitNoteId"];
/// Values that differ from run to run; only that they are there is compared.
const LOOSE_KEYS: [&str; 14] = [
    "timestamp",
    "timeout",
    "createdTs",
    "updatedTs",
    "eventDate",
    "signature",
    "signedBytes",
    "details",
    "nextProcess",
    "lastProcess",
    "availableFunds",
    "reservedFunds",
    "extraPayTimeSec",
    "previousDebitNoteId",
];

/// Compares the shape and the words of two answers; learns new ids on the way.
fn compare(theirs: &Value, ours: &Value, names: &mut Names, at: &str) -> Result<(), String> {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let keys = |map: &serde_json::Map<String, Value>| {
                let mut keys: Vec<_> = map.keys().filter(|key| *key != "previousDebitNoteId").cloned().collect();
                keys.sort();
                keys
            };
            if keys(theirs) != keys(ours) {
                return Err(format!("{at}: keys {:?} instead of {:?}", keys(ours), keys(theirs)));
            }
            for (key, theirs) in theirs {
                let Some(ours) = ours.get(key) else { continue };
                if LOOSE_KEYS.contains(&key.as_str()) {
                    continue;
                }
                if let (true, Some(theirs), Some(ours)) =
                    (ID_KEYS.contains(&key.as_str()), theirs.as_str(), ours.as_str())
                    && !names.0.contains_key(theirs)
                {
                    names.0.insert(theirs.to_owned(), ours.to_owned());
                }
                compare(theirs, ours, names, &format!("{at}.{key}"))?;
            }
            Ok(())
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            if theirs.len() != ours.len() {
                return Err(format!("{at}: {} elements instead of {}", ours.len(), theirs.len()));
            }
            let mut pairs = theirs.iter().zip(ours).enumerate();
            pairs.try_for_each(|(i, (theirs, ours))| compare(theirs, ours, names, &format!("{at}[{i}]")))
        }
        (Value::String(text), Value::String(ours)) => {
            let expected = names.ours(text);
            let same_number = expected.parse::<golem_model::Amount>().ok().zip(ours.parse().ok());
            if expected == *ours || same_number.is_some_and(|(a, b)| a == b) {
                Ok(())
            } else {
                Err(format!("{at}: {ours:?} instead of {expected:?}"))
            }
        }
        _ if theirs == ours => Ok(()),
        _ => Err(format!("{at}: {ours} instead of {theirs}")),
    }
}

struct Replay {
    requestor: Node,
    provider: Node,
    names: Names,
    failures: Vec<String>,
}

impl Replay {
    async fn run(&mut self, case: &Value) {
        let node = if case["as"] == "requestor" { &self.requestor } else { &self.provider };
        let (method, path) = (case["method"].as_str().unwrap(), case["path"].as_str().unwrap());
        let body = match case.get("raw_body") {
            Some(raw) => raw.as_str().unwrap().to_owned(),
            // Columns in error texts count the blanks of the recording's encoder.
            None => case.get("body").map(python_json).unwrap_or_default(),
        };
        let (path, body) = (self.names.ours(path), self.names.ours(&body));
        let (status, kind, text) = node.ask(method, &path, &case["headers"], &body).await;
        let at = format!("{method} {path} ({})", case["note"].as_str().unwrap());
        let mut fail = |what: String| self.failures.push(format!("{at}: {what}\n   body {text}"));
        if json!(status) != case["status"] {
            return fail(format!("status {status} instead of {}", case["status"]));
        }
        if case["content_type"].as_str().is_some_and(|expected| expected != kind) {
            return fail(format!("content type {kind}"));
        }
        let ours = match serde_json::from_str(&text) {
            Ok(value) => value,
            Err(_) => Value::String(text.clone()),
        };
        if let Err(what) = compare(&case["answer"], &ours, &mut self.names, "") {
            fail(what);
        }
    }
}

/// JSON with a blank behind each comma and colon.
fn python_json(value: &Value) -> String {
    struct Spaced;
    impl serde_json::ser::Formatter for Spaced {
        fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, w: &mut W, first: bool) -> std::io::Result<()> {
            if first { Ok(()) } else { w.write_all(b", ") }
        }
        fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, w: &mut W, first: bool) -> std::io::Result<()> {
            if first { Ok(()) } else { w.write_all(b", ") }
        }
        fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, w: &mut W) -> std::io::Result<()> {
            w.write_all(b": ")
        }
    }
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Spaced)).unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn replay(session: &str, sessions: &[(&str, Option<&str>)]) -> Replay {
    let world = World::new();
    let (requestor, provider) = (world.requestor().await, world.provider().await);
    let mut names = Names::default();
    names.0.insert("0xb22c3b36e9f5dea0dec41152fbe8b4558855ce7e".to_owned(), provider.id.to_string());
    for (agreement, activity) in sessions {
        let (ours, our_activity) = world.agree(requestor.id, provider.id, session);
        names.0.insert((*agreement).to_owned(), ours);
        if let Some(activity) = activity {
            names.0.insert((*activity).to_owned(), our_activity);
        }
    }
    Replay { requestor, provider, names, failures: Vec::new() }
}

#[tokio::test]
async fn the_happy_path_answers_as_recorded() {
    let agreement = "b2ae584e5da60028518fef88ef23b00a27b739c50ed64df2992fb44cbefc5dc3";
    let mut replay = replay("rec-779054689", &[(agreement, Some("ea810bdd15d44347bbb6b47e780ebbe7"))]).await;
    for case in vectors("rest-happy-path.json") {
        if case["note"] == "after settlement" {
            let (status, _) = replay.requestor.post("/batchCycle/erc20-hoodi-tglm/now", Value::Null).await;
            assert_eq!(status, 200);
            let invoice = replay.names.0["0b5ecb99-28c6-44ef-905e-fb83311fca5d"].clone();
            replay.provider.wait_for("invoice", &invoice, "InvoiceSettledEvent").await;
            replay.provider.get("/payments?timeout=5").await;
            // Names of the order are in no answer before they are in a path.
            let orders = replay.requestor.get("/batchOrders").await;
            let id = orders[0]["id"].as_str().unwrap().to_owned();
            replay.names.0.insert("10cde1f1-9f02-4cf2-a256-76e1a1d122b1".to_owned(), id);
        }
        replay.run(&case).await;
    }
    assert!(replay.failures.is_empty(), "{}", replay.failures.join("\n"));
}

/// Answers in which we differ on purpose.
fn differs(case: &Value) -> bool {
    let path = case["path"].as_str().unwrap();
    // Unknown network: 404 with words; a filter that works.
    path.ends_with("/payments?timeout=0&network=foo")
        // Rows of other platforms and identities are of that daemon.
        || path.ends_with("/batchCycles")
        // Interval of the recording daemon's environment.
        || path.ends_with("/batchCycle/erc20-hoodi-tglm")
        || path.ends_with("/providerAccounts")
        || path.ends_with("/nope")
}

#[tokio::test]
async fn refusals_answer_as_recorded() {
    let agreement = "05dea3b2af7e54352bf8b0986f7f6fc767dfd7143d5eb5f3641755a68da8fdbc";
    let mut replay = replay("rec-779054689b", &[(agreement, None)]).await;
    for case in vectors("rest-errors.json").into_iter().filter(|case| !differs(case)) {
        // The recorded timeouts of deposits are over by now.
        let text = case.to_string().replace("\"2026-11-23T06:18", "\"2036-11-23T06:18");
        replay.run(&serde_json::from_str(&text).unwrap()).await;
    }
    assert!(replay.failures.is_empty(), "{}", replay.failures.join("\n"));
}

fn all_messages() -> Vec<Vec<u8>> {
    let cases = vectors("wire-messages.json");
    let hex = cases.iter().map(|case| case["payload_flexbuffers_hex"].as_str().unwrap());
    hex.map(|hex| (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect())
        .collect()
}

/// Decodes as every message there is.
fn decode_as_all(bytes: &[u8]) {
    let _ = golem_bus::decode::<peer::SendDebitNote>(bytes);
    let _ = golem_bus::decode::<peer::SendInvoice>(bytes);
    let _ = golem_bus::decode::<peer::AcceptDebitNote>(bytes);
    let _ = golem_bus::decode::<peer::AcceptInvoice>(bytes);
    let _ = golem_bus::decode::<peer::RejectInvoiceV2>(bytes);
    let _ = golem_bus::decode::<peer::CancelInvoice>(bytes);
    let _ = golem_bus::decode::<peer::SendPayment>(bytes);
    let _ = golem_bus::decode::<peer::SendPaymentWithBytes>(bytes);
    let _ = golem_bus::decode::<peer::PaymentSync>(bytes);
    let _ = golem_bus::decode::<peer::PaymentSyncWithBytes>(bytes);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(300))]

    #[test]
    fn damaged_messages_are_refused(which: usize, changes in proptest::collection::vec((0..2000_usize, 0..=255_u8), 1..4)) {
        let messages = all_messages();
        let mut bytes = messages[which % messages.len()].clone();
        let len = bytes.len();
        for (at, byte) in changes {
            bytes[at % len] = byte;
        }
        decode_as_all(&bytes);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>) {
        decode_as_all(&bytes);
    }
}

/// A blob stands as `{"$blob": hex}` in the vectors, as a list of numbers in our JSON.
fn without_blobs(value: &Value) -> Value {
    match value {
        Value::Object(map) => match map.get("$blob").and_then(Value::as_str) {
            Some(hex) => {
                let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
                json!((0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>())
            }
            None => map.iter().map(|(key, value)| (key.clone(), without_blobs(value))).collect(),
        },
        Value::Array(items) => items.iter().map(without_blobs).collect(),
        other => other.clone(),
    }
}

fn check_wire<T: Serialize + DeserializeOwned + 'static>(bytes: &[u8], payload: &Value) {
    let decoded: T = golem_bus::decode(bytes).unwrap();
    assert_eq!(&serde_json::to_value(&decoded).unwrap(), payload);
    let again: T = golem_bus::decode(&flexbuf::to_vec(&decoded).unwrap()).unwrap();
    assert_eq!(&serde_json::to_value(&again).unwrap(), payload);
}

#[test]
fn messages_have_the_bytes_of_official_daemons() {
    for case in vectors("wire-messages.json") {
        let hex = case["payload_flexbuffers_hex"].as_str().unwrap();
        let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let payload = without_blobs(&case["payload"]);
        let name = case["address"].as_str().map(|address| address.rsplit('/').next().unwrap());
        type Reply<E> = Result<golem_model::payment::Ack, E>;
        match name.or_else(|| case["type"].as_str()).unwrap() {
            "SendDebitNote" => check_wire::<peer::SendDebitNote>(&bytes, &payload),
            "AcceptDebitNote" => check_wire::<peer::AcceptDebitNote>(&bytes, &payload),
            "RejectDebitNote" => check_wire::<peer::RejectDebitNote>(&bytes, &payload),
            "CancelDebitNote" => check_wire::<peer::CancelDebitNote>(&bytes, &payload),
            "SendInvoice" => check_wire::<peer::SendInvoice>(&bytes, &payload),
            "AcceptInvoice" => check_wire::<peer::AcceptInvoice>(&bytes, &payload),
            "RejectInvoiceV2" => check_wire::<peer::RejectInvoiceV2>(&bytes, &payload),
            "CancelInvoice" => check_wire::<peer::CancelInvoice>(&bytes, &payload),
            "SendPayment" => check_wire::<peer::SendPayment>(&bytes, &payload),
            "SendPaymentWithBytes" => check_wire::<peer::SendPaymentWithBytes>(&bytes, &payload),
            "PaymentSync" => check_wire::<peer::PaymentSync>(&bytes, &payload),
            "PaymentSyncWithBytes" => check_wire::<peer::PaymentSyncWithBytes>(&bytes, &payload),
            "PaymentSyncNeeded" => check_wire::<peer::PaymentSyncNeeded>(&bytes, &payload),
            "Ack reply" | "SendError" => check_wire::<Reply<peer::SendError>>(&bytes, &payload),
            "AcceptRejectError" => check_wire::<Reply<peer::AcceptRejectError>>(&bytes, &payload),
            "CancelError" => check_wire::<Reply<peer::CancelError>>(&bytes, &payload),
            "PaymentSyncError" => check_wire::<Reply<peer::PaymentSyncError>>(&bytes, &payload),
            other => panic!("unknown message {other}"),
        }
        // Passed on by a router, a body is not touched.
        assert_eq!(Payload::from(bytes.clone()).into_bytes().unwrap(), bytes);
    }
}
