//! `yagna net` (spec 11 §10).

use anyhow::{Result, anyhow};
use chrono::DateTime;
use clap::Subcommand;
use golem_model::NodeId;
use golem_model::net::{
    ADDRESS, Connect, Disconnect, FindNode, FindNodeResponse, GsbPing, GsbPingResponse, ListNeighbours,
    SessionResponse, Sessions, SocketResponse, Sockets, Status, StatusResponse,
};
use serde_json::{Value, json};

use super::client::Client;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Addresses, sessions and traffic of this node
    Status,
    /// Sessions with other nodes
    Sessions,
    /// Virtual sockets to other nodes
    Sockets,
    /// Ask the relay for a node
    Find { node_id: String },
    /// Measure the way to a node, or to all connected ones
    Ping {
        #[arg(value_parser = node_id)]
        node_id: Option<NodeId>,
    },
    /// Open a session with a node
    Connect {
        #[arg(value_parser = node_id)]
        node_id: NodeId,
        /// Keep it when it is idle
        #[arg(long)]
        keep_alive: bool,
    },
    /// Close the session with a node
    Disconnect {
        #[arg(value_parser = node_id)]
        node_id: NodeId,
    },
    /// Nodes near to this one
    ListNeighbors { size: u32 },
}

fn node_id(text: &str) -> Result<NodeId, String> {
    text.parse().map_err(|_| {
        if text.chars().count() == 42 {
            format!("NodeId `{text}` parsing error: it must be `0x` and 40 hex digits")
        } else {
            format!("NodeId `{text}` parsing error: expected length is 42 chars")
        }
    })
}

pub(super) async fn run(command: Command, client: &Client) -> Result<Output> {
    match command {
        Command::Status => Ok(status(&client.call(ADDRESS, Status {}).await?, client.json)),
        Command::Sessions => Ok(sessions(client.call(ADDRESS, Sessions {}).await?, client.json)),
        Command::Sockets => Ok(sockets(client.call(ADDRESS, Sockets {}).await?, client.json)),
        Command::Find { node_id } => {
            self::node_id(&node_id).map_err(|text| anyhow!(text))?;
            Ok(found(&client.call(ADDRESS, FindNode { node_id }).await?))
        }
        Command::Ping { node_id } => {
            let nodes = node_id.into_iter().collect();
            Ok(ping(client.call(ADDRESS, GsbPing { nodes }).await?, client.json))
        }
        Command::Connect { node_id, keep_alive } => {
            let connect = Connect { node: node_id, keep: keep_alive, reliable_channel: true, transfer_channel: false };
            Ok(found(&client.call(ADDRESS, connect).await?))
        }
        Command::Disconnect { node_id } => {
            client.call(ADDRESS, Disconnect { node: node_id }).await?;
            Ok(Output::Nothing)
        }
        Command::ListNeighbors { size } => Output::value(client.call(ADDRESS, ListNeighbours { size }).await?),
    }
}

/// A number in JSON, two digits after the point for people.
fn number(value: f64, json: bool) -> Value {
    if json { json!(value) } else { json!(format!("{value:.2}")) }
}

fn kib(rate: f32, json: bool) -> Value {
    number(f64::from(rate) / 1024.0, json)
}

#[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
fn mib(bytes: u64, json: bool) -> Value {
    number(bytes as f64 / (1024.0 * 1024.0), json)
}

fn status(status: &StatusResponse, json: bool) -> Output {
    let m = &status.metrics;
    Output::Value(json!({
        "nodeId": status.node_id,
        "listenAddress": status.listen_address.map(|address| address.to_string()),
        "publicAddress": status.public_address.map(|address| address.to_string()),
        "sessions": status.sessions,
        "bandwidth": {
            "outKiBps": kib(m.tx_current, json), "outAvgKiBps": kib(m.tx_avg, json), "outMib": mib(m.tx_total, json),
            "inKiBps": kib(m.rx_current, json), "inAvgKiBps": kib(m.rx_avg, json), "inMib": mib(m.rx_total, json),
        },
    }))
}

fn sessions(mut sessions: Vec<SessionResponse>, json: bool) -> Output {
    sessions.sort_by_key(|session| session.node_id);
    let seconds = |time: std::time::Duration| json!(duration(std::time::Duration::from_secs(time.as_secs())));
    let rows = sessions.into_iter().map(|session| {
        let ping = std::time::Duration::from_millis(u64::try_from(session.ping.as_millis()).unwrap_or(u64::MAX));
        [
            json!(session.node_id.unwrap_or_default()),
            json!(session.remote_address.to_string()),
            json!(session.session_type),
            seconds(session.seen),
            seconds(session.duration),
            json!(duration(ping)),
            mib(session.metrics.rx_total, json),
            mib(session.metrics.tx_total, json),
        ]
    });
    Output::table(["nodeId", "address", "type", "seen", "time", "ping", "in [MiB]", "out [MiB]"], rows.collect())
}

fn duration(time: std::time::Duration) -> String {
    humantime::format_duration(time).to_string()
}

fn sockets(mut sockets: Vec<SocketResponse>, json: bool) -> Output {
    sockets.sort_by(|a, b| (&a.remote_addr, &a.remote_port).cmp(&(&b.remote_addr, &b.remote_port)));
    let rows = sockets.into_iter().map(|socket| {
        [
            json!(socket.protocol),
            json!(socket.local_port),
            json!(socket.remote_addr),
            json!(socket.remote_port),
            json!(socket.state),
            kib(socket.metrics.tx_current, json),
            kib(socket.metrics.rx_current, json),
        ]
    });
    Output::table(["type", "port", "to addr", "to port", "state", "out [KiB/s]", "in [KiB/s]"], rows.collect())
}

fn found(node: &FindNodeResponse) -> Output {
    let seen = DateTime::from_timestamp(i64::from(node.seen), 0).unwrap_or_default();
    Output::Value(json!({
        "identities": node.identities,
        "endpoints": node.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "seen": seen.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        "slot": node.slot,
        "encryption": node.encryption,
    }))
}

fn ping(pings: Vec<GsbPingResponse>, json: bool) -> Output {
    let time = |time: Option<std::time::Duration>| match (time, json) {
        (Some(time), true) => json!(format!("{:.3}", time.as_secs_f64() * 1000.0)),
        (None, true) => Value::Null,
        (Some(time), false) => json!(format!("{:.1}ms", time.as_secs_f64() * 1000.0)),
        (None, false) => json!("N/A"),
    };
    let rows = pings.into_iter().map(|ping| {
        [
            json!(ping.node_id),
            json!(ping.node_alias.unwrap_or(ping.node_id)),
            json!(ping.is_p2p),
            time(ping.tcp_ping),
            time(ping.udp_ping),
        ]
    });
    Output::table(["nodeId", "alias", "p2p", "ping (tcp)", "ping (udp)"], rows.collect())
}
