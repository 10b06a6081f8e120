//! Messages of the network service and of broadcasts (spec 11 §7, §9).

use std::net::SocketAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::call::calls;
use crate::{Call, NodeId};

pub const ADDRESS: &str = "/local/net";

/// Where every node answers [`GsbRemotePing`] of other nodes.
pub const DIAGNOSTIC: &str = "/public/diagnostic/net";

/// Endpoint of the network service for identity events. Typed, although it stands below the raw prefix `/net`.
pub const IDENTITY_EVENTS: &str = "/net/id";

/// Topic that every daemon sends once, when its REST server is up; its body is null.
pub const NEW_NEIGHBOUR: &str = "new-neighbour";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[expect(clippy::error_impl_error, reason = "the name on the wire of the theme")]
pub enum Error {
    #[error("{0}")]
    RuntimeException(String),
}

impl Error {
    pub fn new(error: impl std::fmt::Display) -> Self {
        Self::RuntimeException(error.to_string())
    }
}

/// Error of [`Subscribe`]; unlike [`Error`] its variant starts with a lower-case letter on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SubscribeError {
    #[error("{0}")]
    RuntimeException(String),
}

/// Bytes sent and received; rates are bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusMetrics {
    pub tx_total: u64,
    pub tx_current: f32,
    pub tx_avg: f32,
    pub rx_total: u64,
    pub rx_current: f32,
    pub rx_avg: f32,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Status {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusResponse {
    pub node_id: NodeId,
    pub listen_address: Option<SocketAddr>,
    pub public_address: Option<SocketAddr>,
    /// The session with the relay is counted too.
    pub sessions: usize,
    pub metrics: StatusMetrics,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Sessions {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionResponse {
    /// All zeros for the relay.
    pub node_id: Option<NodeId>,
    /// 32 hex digits.
    pub id: String,
    /// `p2p`, `relay` or `server`.
    pub session_type: String,
    pub remote_address: SocketAddr,
    pub seen: Duration,
    pub duration: Duration,
    pub ping: Duration,
    pub metrics: StatusMetrics,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Sockets {}

/// One virtual TCP socket; ports and address are text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketResponse {
    pub protocol: String,
    pub state: String,
    pub local_port: String,
    pub remote_addr: String,
    pub remote_port: String,
    pub metrics: StatusMetrics,
}

/// Asks the relay what it knows of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FindNode {
    pub node_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FindNodeResponse {
    /// The default identity comes first.
    pub identities: Vec<NodeId>,
    pub endpoints: Vec<SocketAddr>,
    /// Unix seconds.
    pub seen: u32,
    pub slot: u32,
    pub encryption: Vec<String>,
}

/// Measures the round trip of bus calls to `nodes`, or to all connected nodes if there are none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GsbPing {
    pub nodes: Vec<NodeId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GsbPingResponse {
    pub node_id: NodeId,
    pub node_alias: Option<NodeId>,
    pub tcp_ping: Option<Duration>,
    pub udp_ping: Option<Duration>,
    pub is_p2p: bool,
}

/// Opens the channels that are asked for, or only a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connect {
    pub node: NodeId,
    #[serde(default)]
    pub keep: bool,
    #[serde(default)]
    pub reliable_channel: bool,
    #[serde(default)]
    pub transfer_channel: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Disconnect {
    pub node: NodeId,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListNeighbours {
    pub size: u32,
}

/// Asks to send each broadcast of `topic` to `<endpoint>/SendBroadcastMessage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    pub topic: String,
    pub endpoint: String,
}

impl Call for Subscribe {
    const ID: &'static str = "Subscribe";
    /// A running number.
    type Item = u64;
    type Error = SubscribeError;
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Shutdown;

/// A broadcast: sent to [`ADDRESS`] by a local service, and to each subscriber of the topic by the receiving node.
///
/// The caller must be the default identity of the sending node, or receivers drop it (spec 11 §7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendBroadcastMessage<M> {
    pub id: Option<String>,
    pub topic: String,
    pub body: M,
}

impl<M> SendBroadcastMessage<M> {
    pub fn new(topic: impl Into<String>, body: M) -> Self {
        Self { id: None, topic: topic.into(), body }
    }
}

impl<M: Serialize + DeserializeOwned + Send + Sync + 'static> Call for SendBroadcastMessage<M> {
    const ID: &'static str = "SendBroadcastMessage";
    type Item = ();
    type Error = ();
}

/// Answered by every node on [`DIAGNOSTIC`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GsbRemotePing {}

calls! {
    Status -> StatusResponse, Error;
    Sessions -> Vec<SessionResponse>, Error;
    Sockets -> Vec<SocketResponse>, Error;
    FindNode -> FindNodeResponse, Error;
    GsbPing -> Vec<GsbPingResponse>, Error;
    Connect -> FindNodeResponse, String;
    Disconnect -> (), String;
    ListNeighbours -> Vec<NodeId>, Error;
    Shutdown -> (), String;
    GsbRemotePing -> GsbRemotePing, Error;
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn a_broadcast_is_written_as_peers_write_it() {
        let message = SendBroadcastMessage::new(NEW_NEIGHBOUR, ());
        assert_eq!(to_value(&message).unwrap(), json!({"id": null, "topic": "new-neighbour", "body": null}));
    }

    #[test]
    fn names_are_camel_case_on_the_bus() {
        let ping = GsbPingResponse {
            node_id: NodeId::default(),
            node_alias: None,
            tcp_ping: Some(Duration::from_millis(1)),
            udp_ping: None,
            is_p2p: true,
        };
        assert_eq!(
            to_value(&ping).unwrap(),
            json!({"nodeId": NodeId::default(), "nodeAlias": null, "tcpPing": {"secs": 0, "nanos": 1_000_000},
                   "udpPing": null, "isP2p": true})
        );
        let error = SubscribeError::RuntimeException("x".into());
        assert_eq!(to_value(&error).unwrap(), json!({"runtimeException": "x"}));
        assert_eq!(to_value(Error::new("x")).unwrap(), json!({"RuntimeException": "x"}));
        assert_eq!(to_value(Shutdown).unwrap(), json!(null));
    }
}
