//! Counters and nodes over HTTP (spec 10 §13.4).

use std::fmt::Write;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use golem_model::NodeId;
use serde_json::{Map, Value, json};

use crate::{Handle, Report};

/// Nodes in one answer.
const NODES_MAX: usize = 50;

/// Answers over HTTP about `relay`; for people of its machine, so not to be served to others.
pub fn routes(relay: Handle) -> Router {
    Router::new()
        .route("/", get(metrics))
        .route("/metrics", get(metrics))
        .route("/sessions", get(sessions))
        .route("/nodes/{prefix}", get(nodes))
        .with_state(relay)
}

async fn metrics(State(relay): State<Handle>) -> Response {
    relay.report().await.map_or_else(stopped, |report| prometheus(&report).into_response())
}

async fn sessions(State(relay): State<Handle>) -> Response {
    relay.report().await.map_or_else(stopped, |report| format!("sessions: {}", report.sessions).into_response())
}

async fn nodes(State(relay): State<Handle>, Path(prefix): Path<String>) -> Response {
    let prefix = prefix.trim_start_matches("0x").to_lowercase();
    let prefix = if prefix == "all" { String::new() } else { prefix };
    let Some(views) = relay.nodes(&prefix, NODES_MAX).await else { return stopped() };
    let mut map = Map::new();
    for view in views {
        // No session ids: whoever knows one can speak for its node.
        let entry = json!({
            "peer": view.address.to_string(),
            "seen": format!("{} ago", humantime::format_duration(std::time::Duration::from_secs(view.silent_for.as_secs()))),
            "supportedEncryptions": view.encryptions,
            "addrStatus": if view.is_public { "Valid" } else { "Invalid" },
        });
        // A session may have ids that were not asked for.
        let asked = |id: &NodeId| id.to_string().trim_start_matches("0x").starts_with(&prefix);
        for id in view.ids.iter().filter(|id| asked(id)) {
            if map.len() >= NODES_MAX && !map.contains_key(&id.to_string()) {
                continue;
            }
            if let Value::Array(list) = map.entry(id.to_string()).or_insert_with(|| json!([])) {
                list.push(entry.clone());
            }
        }
    }
    Json(Value::Object(map)).into_response()
}

fn stopped() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the relay is stopping").into_response()
}

fn prometheus(report: &Report) -> String {
    let c = &report.counters;
    let gauges = [("ya_relay_session", report.sessions), ("ya_relay_slots", report.slots)];
    let counters = [
        ("ya_relay_session_created", c.sessions_created),
        ("ya_relay_session_removed", c.sessions_removed),
        ("ya_relay_session_purged", c.sessions_purged),
        ("ya_relay_session_establish_start", c.establish_start),
        ("ya_relay_session_establish_challenge_sent", c.establish_start),
        ("ya_relay_session_establish_challenge_valid", c.challenge_valid),
        ("ya_relay_session_establish_register", c.registered),
        ("ya_relay_session_establish_finished", c.establish_finished),
        ("ya_relay_session_establish_error", c.establish_error),
        ("ya_relay_slot_created", c.slots_created),
        ("ya_relay_packet_node", c.node),
        ("ya_relay_packet_node_done", c.node - c.node_error),
        ("ya_relay_packet_node_error", c.node_error),
        ("ya_relay_packet_slot_info", c.slot_info),
        ("ya_relay_packet_slot_info_done", c.slot_info - c.slot_info_error),
        ("ya_relay_packet_slot_info_error", c.slot_info_error),
        ("ya_relay_packet_neighborhood", c.neighbours),
        ("ya_relay_packet_neighborhood_done", c.neighbours - c.neighbours_error),
        ("ya_relay_packet_neighborhood_error", c.neighbours_error),
        ("ya_relay_packet_reverse_connection", c.reverse),
        ("ya_relay_packet_reverse_connection_done", c.reverse - c.reverse_error),
        ("ya_relay_packet_reverse_connection_error", c.reverse_error),
        ("ya_relay_packet_forward", c.forward),
        ("ya_relay_packet_forward_done", c.forward - c.forward_error - c.forward_limited),
        ("ya_relay_packet_forward_error", c.forward_error),
        ("ya_relay_packet_forward_limited", c.forward_limited),
        ("ya_relay_packet_forward_incoming_size", c.forward_bytes_in),
        ("ya_relay_packet_forward_outgoing_size", c.forward_bytes_out),
        ("ya_relay_packet_malformed", c.malformed),
        ("ya_relay_packet_dropped", report.dropped),
    ];
    let mut out = String::new();
    for (name, value) in gauges {
        let _ = writeln!(out, "# TYPE {name} gauge\n{name} {value}");
    }
    for (name, value) in counters {
        let _ = writeln!(out, "# TYPE {name} counter\n{name} {value}");
    }
    out
}
