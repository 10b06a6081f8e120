use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use golem_keys::{PublicKey, SecretKey};
use golem_model::NodeId;
use golem_net_relay_wire::message::NodeResponse;
use golem_net_relay_wire::seal::Seal;
use golem_net_relay_wire::{ENCRYPTION, Flags, SessionId, proof};

use crate::Time;

/// Packets that wait for a way to their node; the same as the outgoing queue of official nodes.
const QUEUE_PACKETS_MAX: usize = 100;
/// Identities and endpoints of one node that are looked at.
const LIST_MAX: usize = 64;

/// What the relay, or the node itself, told about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Default first.
    pub identities: Vec<PublicKey>,
    pub ids: Vec<NodeId>,
    pub endpoints: Vec<SocketAddr>,
    /// Unix seconds.
    pub seen: u64,
    pub slot: u32,
    pub encryptions: Vec<String>,
    /// Only if the identities vouch for it.
    pub session_key: Option<PublicKey>,
}

impl NodeInfo {
    pub fn default_id(&self) -> Option<NodeId> {
        self.ids.first().copied()
    }

    /// Reads an answer; nothing unless every identity has the key of its id (spec 10 §8.3).
    pub(crate) fn read(answer: &NodeResponse) -> Option<Self> {
        if answer.identities.is_empty() || answer.identities.len() > LIST_MAX {
            return None;
        }
        let identities: Vec<PublicKey> = answer.identities.iter().map(|id| id.key()).collect::<Option<_>>()?;
        let proofs: Vec<&[u8]> = if answer.session_key_proofs.is_empty() {
            vec![&answer.session_key_proof]
        } else {
            answer.session_key_proofs.iter().map(|proof| &**proof).collect()
        };
        let session_key =
            PublicKey::try_from(&*answer.session_pub_key).ok().filter(|key| proof::vouches(&identities, key, &proofs));
        Some(Self {
            ids: identities.iter().map(PublicKey::node_id).collect(),
            identities,
            endpoints: answer.endpoints.iter().take(LIST_MAX).filter_map(|endpoint| endpoint.socket_addr()).collect(),
            seen: answer.seen_ts,
            slot: answer.slot,
            encryptions: answer.supported_encryptions.iter().take(LIST_MAX).cloned().collect(),
            session_key,
        })
    }
}

/// A node that we talk to, or want to.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// Default first; empty while nothing is known.
    pub(crate) ids: Vec<NodeId>,
    pub(crate) endpoints: Vec<SocketAddr>,
    /// Slot at the relay of the present relay session.
    pub(crate) slot: Option<u32>,
    /// Direct sessions.
    pub(crate) sessions: Vec<SessionId>,
    pub(crate) encrypts: bool,
    pub(crate) session_key: Option<PublicKey>,
    pub(crate) seal: Option<Seal>,
    /// A packet of this node was opened with `seal`, so a plain one is not from it.
    pub(crate) sealed_seen: bool,
    pub(crate) key_refreshed: Option<Time>,
    pub(crate) looking_up: bool,
    /// Somebody waits to hear which node this is.
    pub(crate) wanted: bool,
    pub(crate) queue: VecDeque<(Flags, Bytes)>,
    pub(crate) queue_since: Option<Time>,
    pub(crate) dialling: bool,
    pub(crate) dial_failures: u32,
    pub(crate) next_dial: Time,
    /// When there was a way to this node last.
    pub(crate) reached: Option<Time>,
    pub(crate) used: Time,
}

impl Peer {
    /// The oldest packet gives way: virtual TCP repeats what it still needs.
    pub(crate) fn enqueue(&mut self, now: Time, flags: Flags, payload: Bytes) {
        if self.queue.len() >= QUEUE_PACKETS_MAX {
            self.queue.pop_front();
        }
        self.queue_since.get_or_insert(now);
        self.queue.push_back((flags, payload));
    }

    pub(crate) fn set_key(&mut self, own: &SecretKey, key: Option<PublicKey>, encryptions: &[String]) {
        self.encrypts = encryptions.iter().any(|name| name == ENCRYPTION);
        if key != self.session_key {
            self.session_key = key;
            self.seal = key.and_then(|key| Seal::new(own, &key).ok());
            self.sealed_seen = false;
        }
    }

    /// Whether something depends on a look-up.
    pub(crate) fn is_awaited(&self) -> bool {
        self.wanted || !self.queue.is_empty()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.sessions.is_empty() && !self.is_awaited() && !self.looking_up && !self.dialling
    }
}
