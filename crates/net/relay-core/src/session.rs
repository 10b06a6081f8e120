use std::net::SocketAddr;

use bytes::Bytes;
use golem_model::NodeId;
use golem_net_relay_wire::SessionId;

use crate::Time;

/// With whom a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    Relay,
    /// Default identity of the peer.
    Node(NodeId),
}

/// An established session of a node.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) address: SocketAddr,
    pub(crate) kind: SessionKind,
    /// Whether this node dialled.
    pub(crate) dialled: bool,
    pub(crate) since: Time,
    /// When the last packet came.
    pub(crate) heard: Time,
    /// A responder must not send Forward packets before the initiator resumes it (spec 10 §7).
    pub(crate) may_send: bool,
    /// Another session with the same node is used; this one only takes what is still on its way.
    pub(crate) draining: bool,
    pub(crate) ping: Time,
    pub(crate) probing: bool,
    /// Answer to the last request of the handshake, for its copies.
    pub(crate) handshake_answer: Option<(u64, Bytes)>,
    pub(crate) tx_bytes: u64,
    pub(crate) rx_bytes: u64,
}

impl Session {
    pub(crate) const fn new(now: Time, id: SessionId, address: SocketAddr, kind: SessionKind, dialled: bool) -> Self {
        Self {
            id,
            address,
            kind,
            dialled,
            since: now,
            heard: now,
            may_send: dialled,
            draining: false,
            ping: Time::ZERO,
            probing: false,
            handshake_answer: None,
            tx_bytes: 0,
            rx_bytes: 0,
        }
    }

    pub(crate) const fn is_usable(&self) -> bool {
        self.may_send && !self.draining
    }
}
