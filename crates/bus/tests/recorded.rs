//! Replays recorded sessions of official clients: our router sends what the official one sent (spec 20 §9).
#![cfg(test)]
#![cfg(unix)]

#[path = "support/client.rs"]
#[expect(dead_code, reason = "shared with the router's tests")]
mod client;
#[path = "support/vectors.rs"]
#[expect(dead_code, reason = "shared with the codec's tests")]
mod vectors;

use std::collections::HashMap;

use bytes::BytesMut;
use client::{Raw, Router};
use golem_bus::wire::{self, Kind, Nothing};
use tokio::net::UnixStream;
use vectors::Frame;

/// What may differ from the recording.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Exact,
    /// A broadcast and its reply come in no fixed order.
    Any,
}

async fn replay(names: &[&str], order: Order) {
    let router = Router::start().await;
    let mut connections: HashMap<String, Raw> = HashMap::new();
    // Ids under which the recorded router and ours gave a call to its callee.
    let mut ids: HashMap<String, String> = HashMap::new();
    let frames: Vec<Frame> = names.iter().flat_map(|name| vectors::frames(name)).collect();
    for run in frames.chunk_by(|a, b| a.to_router == b.to_router) {
        for frame in run.iter().filter(|frame| frame.to_router) {
            if !connections.contains_key(&frame.connection) {
                let raw = Raw::new(UnixStream::connect(&router.path).await.unwrap());
                connections.insert(frame.connection.clone(), raw);
            }
            let raw = connections.get_mut(&frame.connection).unwrap();
            match &frame.kind {
                Kind::Reply(reply) => {
                    let mut reply = reply.clone();
                    reply.request_id.clone_from(&ids[&reply.request_id]);
                    raw.send(Kind::Reply(reply)).await;
                }
                _ => raw.send_bytes(&frame.bytes).await,
            }
        }
        let mut got: Vec<Kind> = Vec::new();
        for frame in run.iter().filter(|frame| !frame.to_router) {
            let raw = connections.get_mut(&frame.connection).unwrap();
            let mut kind = raw.next().await.expect("the router stays");
            match (&mut kind, &frame.kind) {
                // Each router has its own name, and may answer a client's ping with either.
                (Kind::Hello(_), Kind::Hello(_)) | (Kind::Pong(_), Kind::Ping(_)) => kind = frame.kind.clone(),
                (Kind::Call(call), Kind::Call(recorded)) => {
                    ids.insert(recorded.request_id.clone(), std::mem::take(&mut call.request_id));
                    call.request_id.clone_from(&recorded.request_id);
                }
                _ => {}
            }
            got.push(kind);
        }
        let mut expected: Vec<Kind> =
            run.iter().filter(|frame| !frame.to_router).map(|frame| frame.kind.clone()).collect();
        if order == Order::Any {
            got.sort_by_key(|kind| format!("{kind:?}"));
            expected.sort_by_key(|kind| format!("{kind:?}"));
        }
        assert_eq!(got, expected, "{names:?}");
    }
    for raw in connections.values_mut() {
        raw.is_quiet().await;
    }
}

#[tokio::test]
async fn hello() {
    replay(&["01-hello"], Order::Exact).await;
}

#[tokio::test]
async fn register() {
    replay(&["02-register"], Order::Exact).await;
}

#[tokio::test]
async fn ping() {
    replay(&["03-ping"], Order::Exact).await;
}

#[tokio::test]
async fn broadcast() {
    replay(&["04-broadcast"], Order::Any).await;
}

#[tokio::test]
async fn calls_between_clients() {
    // The later ones go on with the connections of the first.
    replay(&["05-call-between-clients", "06-streaming", "07-callee-error", "08-push"], Order::Exact).await;
}

#[tokio::test]
async fn unknown_address() {
    replay(&["01-hello", "10-err-no-endpoint"], Order::Exact).await;
}

#[test]
fn every_recorded_frame_is_written_again_byte_for_byte() {
    for name in vectors::names() {
        for frame in vectors::frames(&name) {
            let mut bytes = BytesMut::new();
            assert!(wire::write_frame(frame.kind.clone(), &mut bytes));
            assert_eq!(bytes, frame.bytes, "{name} {:?}", frame.kind);
        }
    }
    let mut ping = BytesMut::new();
    assert!(wire::write_frame(Kind::Ping(Nothing {}), &mut ping));
    assert_eq!(&ping[..], [0, 0, 0, 2, 0x72, 0]);
}
