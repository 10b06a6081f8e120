//! Questions about the state of the net, asked by the endpoints under `/local/net`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use golem_model::NodeId;
use golem_model::address::Channel;
use golem_model::net::{FindNodeResponse, SessionResponse, SocketResponse, StatusMetrics, StatusResponse};
use golem_net_relay_core::{NodeInfo, QueryId, SessionInfo, SessionKind, Unreachable};
use golem_net_vtcp::{ConnectionId, SocketInfo, State};
use tokio::sync::oneshot;

use super::Engine;

/// A question and where its answer goes. An asker that has gone away gets none.
#[derive(Debug)]
pub(crate) enum Ask {
    Status(oneshot::Sender<StatusResponse>),
    Sessions(oneshot::Sender<Vec<SessionResponse>>),
    Sockets(oneshot::Sender<Vec<SocketResponse>>),
    Find {
        id: NodeId,
        answer: oneshot::Sender<Result<FindNodeResponse, Unreachable>>,
    },
    Neighbours {
        count: u32,
        answer: oneshot::Sender<Result<Vec<NodeId>, Unreachable>>,
    },
    /// Opens a virtual connection; the answer says whether it stands.
    Open {
        node: NodeId,
        channel: Channel,
        answer: oneshot::Sender<bool>,
    },
    Disconnect {
        node: NodeId,
        answer: oneshot::Sender<bool>,
    },
    Subscribe {
        topic: String,
        endpoint: String,
        answer: oneshot::Sender<Option<u64>>,
    },
    /// Default identity of a node, and whether there is a direct session.
    Path {
        node: NodeId,
        answer: oneshot::Sender<(NodeId, bool)>,
    },
    /// Nodes to which a way is known.
    Reached(oneshot::Sender<Vec<NodeId>>),
    RelayUp(oneshot::Sender<bool>),
    /// Measures the round trip of all sessions.
    PingAll,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    found: HashMap<QueryId, oneshot::Sender<Result<FindNodeResponse, Unreachable>>>,
    neighbours: HashMap<QueryId, oneshot::Sender<Result<Vec<NodeId>, Unreachable>>>,
    opening: HashMap<ConnectionId, Vec<oneshot::Sender<bool>>>,
    rates: HashMap<golem_net_relay_wire::SessionId, Rate>,
}

/// What was counted when somebody looked last.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    at: Duration,
    tx: u64,
    rx: u64,
}

impl Engine {
    pub(super) fn on_ask(&mut self, ask: Ask) {
        let now = self.now();
        match ask {
            Ask::Status(answer) => send(answer, self.status(now)),
            Ask::Sessions(answer) => send(answer, self.session_list(now)),
            Ask::Sockets(answer) => {
                send(answer, self.stack.sockets().map(|socket| describe_socket(&socket)).collect());
            }
            Ask::Find { id, answer } => {
                let query = self.node.find(now, id);
                self.waiting.found.insert(query, answer);
            }
            Ask::Neighbours { count, answer } => {
                let query = self.node.neighbours(now, count);
                self.waiting.neighbours.insert(query, answer);
            }
            Ask::Open { node, channel, answer } => match self.stream_to(self.node.default_of(node), channel) {
                Ok(id) if self.stack.is_connected(id) => send(answer, true),
                Ok(id) => self.waiting.opening.entry(id).or_default().push(answer),
                Err(_) => send(answer, false),
            },
            Ask::Disconnect { node, answer } => send(answer, self.node.disconnect(now, node)),
            Ask::Subscribe { topic, endpoint, answer } => send(answer, self.subscribe(topic, endpoint)),
            Ask::Path { node, answer } => {
                send(answer, (self.node.default_of(node), self.node.is_direct(node)));
            }
            Ask::Reached(answer) => send(answer, self.node.reached().collect()),
            Ask::RelayUp(answer) => send(answer, self.node.is_relay_up()),
            Ask::PingAll => self.node.ping_all(now),
        }
    }

    pub(super) fn answer_found(&mut self, query: QueryId, result: Result<NodeInfo, Unreachable>) {
        if let Some(answer) = self.waiting.found.remove(&query) {
            let found = result.map(|info| FindNodeResponse {
                identities: info.ids,
                endpoints: info.endpoints,
                seen: u32::try_from(info.seen).unwrap_or(u32::MAX),
                slot: info.slot,
                encryption: info.encryptions,
            });
            send(answer, found);
        }
    }

    pub(super) fn answer_neighbours(&mut self, query: QueryId, result: Result<Vec<NodeInfo>, Unreachable>) {
        if let Some(answer) = self.waiting.neighbours.remove(&query) {
            send(answer, result.map(|nodes| nodes.iter().filter_map(NodeInfo::default_id).collect()));
        }
    }

    pub(super) fn on_stream_connected(&mut self, id: ConnectionId) {
        for answer in self.waiting.opening.remove(&id).unwrap_or_default() {
            send(answer, true);
        }
    }

    pub(super) fn on_stream_failed(&mut self, id: ConnectionId) {
        for answer in self.waiting.opening.remove(&id).unwrap_or_default() {
            send(answer, false);
        }
    }

    fn status(&mut self, now: Duration) -> StatusResponse {
        let sessions = self.session_list(now);
        let mut metrics = StatusMetrics::default();
        for session in &sessions {
            metrics.tx_total += session.metrics.tx_total;
            metrics.rx_total += session.metrics.rx_total;
            metrics.tx_current += session.metrics.tx_current;
            metrics.rx_current += session.metrics.rx_current;
            metrics.tx_avg += session.metrics.tx_avg;
            metrics.rx_avg += session.metrics.rx_avg;
        }
        StatusResponse {
            node_id: self.shared.default_id(),
            listen_address: Some(self.udp.local_addr()),
            public_address: self.node.public_address(),
            sessions: sessions.len(),
            metrics,
        }
    }

    fn session_list(&mut self, now: Duration) -> Vec<SessionResponse> {
        let sessions = self.node.sessions(now);
        let rates = &mut self.waiting.rates;
        rates.retain(|id, _| sessions.iter().any(|session| session.id == *id));
        sessions
            .into_iter()
            .map(|session| {
                let last = rates.insert(session.id, Rate { at: now, tx: session.tx_bytes, rx: session.rx_bytes });
                describe_session(now, &session, last)
            })
            .collect()
    }
}

fn describe_session(now: Duration, session: &SessionInfo, last: Option<Rate>) -> SessionResponse {
    let (node_id, kind) = match session.kind {
        SessionKind::Relay => (NodeId::default(), "relay"),
        SessionKind::Node(node) => (node, "p2p"),
    };
    let last = last.unwrap_or_else(|| Rate { at: now.saturating_sub(session.age), tx: 0, rx: 0 });
    let since = now.saturating_sub(last.at);
    SessionResponse {
        node_id: Some(node_id),
        id: session.id.to_string(),
        session_type: kind.to_owned(),
        remote_address: session.address,
        seen: session.silent_for,
        duration: session.age,
        ping: session.ping,
        metrics: StatusMetrics {
            tx_total: session.tx_bytes,
            tx_current: rate(session.tx_bytes.saturating_sub(last.tx), since),
            tx_avg: rate(session.tx_bytes, session.age),
            rx_total: session.rx_bytes,
            rx_current: rate(session.rx_bytes.saturating_sub(last.rx), since),
            rx_avg: rate(session.rx_bytes, session.age),
        },
    }
}

/// Bytes per second, for people.
#[expect(clippy::cast_possible_truncation, reason = "the wire has 32-bit floats here")]
fn rate(bytes: u64, time: Duration) -> f32 {
    let seconds = time.as_secs_f64();
    if seconds < 0.001 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let bytes = bytes as f64;
    (bytes / seconds) as f32
}

fn describe_socket(socket: &SocketInfo) -> SocketResponse {
    let state = match socket.state {
        State::SynSent => "SynSent",
        State::SynReceived => "SynReceived",
        State::Established => "Established",
        State::FinWait => "FinWait1",
        State::CloseWait => "CloseWait",
        State::Closed => "Closed",
    };
    SocketResponse {
        protocol: "tcp".to_owned(),
        state: state.to_owned(),
        local_port: socket.local_port.to_string(),
        remote_addr: socket.peer.to_string(),
        remote_port: socket.peer_port.to_string(),
        metrics: StatusMetrics { tx_total: socket.tx_bytes, rx_total: socket.rx_bytes, ..StatusMetrics::default() },
    }
}

/// An asker that has gone away needs no answer.
fn send<T>(answer: oneshot::Sender<T>, value: T) {
    let _ = answer.send(value);
}

/// `ip:port` for people.
pub(crate) fn shown(address: Option<SocketAddr>) -> Option<String> {
    address.map(|address| address.to_string())
}
