//! A node: its session with the relay, its sessions with other nodes, and the way to each node.
//!
//! `relay` keeps the relay session, `dial` opens sessions with nodes, `answer` is the other side of both,
//! `route` finds the way to a node and moves payloads, `sessions` watches what is established.

mod answer;
mod dial;
mod relay;
mod route;
mod sessions;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use golem_keys::{PublicKey, SecretKey};
use golem_model::NodeId;
use golem_net_relay_wire::message::{ControlKind, DisconnectedBy, Kind, Packet, RequestKind, Response};
use golem_net_relay_wire::{Datagram, Flags, SessionId};
use prost::Message;

use crate::peer::{NodeInfo, Peer};
use crate::proof::{Proof, ProofToken};
use crate::requests::{Due, Requests};
use crate::session::{Session, SessionKind};
use crate::timers::Timers;
use crate::{Random, Time};

use answer::Incoming;
use dial::Dial;
use relay::Relay;

/// Sessions about which we told a stranger lately that we do not know them.
const TOLD_MAX: usize = 256;
/// How often we say so of one session. A restarted peer's old session sends pings for some seconds.
const TELL_AGAIN_AFTER: Time = Time::from_secs(5);
/// Nodes that are remembered. Each costs some hundred bytes; idle ones give way.
const PEERS_MAX: usize = 8192;
const REQUEST_TIMEOUT: Time = Time::from_secs(3);

#[derive(Clone, Debug)]
pub struct NodeConfig {
    pub relay: SocketAddr,
    /// Open and accept sessions with nodes; without, everything goes through the relay.
    pub direct: bool,
    /// Seal payloads to nodes that announce it.
    pub encrypt: bool,
    /// The key of this process, vouched for by its identities.
    pub session_key: SecretKey,
    /// Silence after which a session is probed. Peers use the same value.
    pub keep_alive_after: Time,
    /// Time-out of the first Session request.
    pub session_request_timeout: Time,
}

impl NodeConfig {
    pub fn new(relay: SocketAddr, session_key: SecretKey) -> Self {
        Self {
            relay,
            direct: true,
            encrypt: true,
            session_key,
            keep_alive_after: Time::from_secs(15),
            session_request_timeout: Time::from_secs(3),
        }
    }
}

/// Which question an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueryId(u64);

/// Why nothing reaches a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    #[error("the relay does not know node {0}")]
    Unknown(NodeId),
    #[error("the relay did not answer where node {0} is")]
    NoAnswer(NodeId),
    #[error("there is no session with the relay")]
    NoRelay,
    #[error("the relay answered with code {0}")]
    Refused(i32),
}

/// What is to be done outside.
#[derive(Debug)]
pub enum Effect {
    Send {
        to: SocketAddr,
        data: Bytes,
    },
    /// Solve the challenge, sign the digest of the solution with each identity, and call [`Node::proved`].
    Prove {
        token: ProofToken,
        challenge: Bytes,
        difficulty: u64,
    },
    /// A payload of the node whose default identity is `from`.
    Deliver {
        from: NodeId,
        reliable: bool,
        payload: Bytes,
    },
    /// The answer to [`Node::resolve`]: the default identity of the node that has `id`.
    Resolved {
        id: NodeId,
        node: NodeId,
    },
    Found {
        query: QueryId,
        result: Result<NodeInfo, Unreachable>,
    },
    Neighbours {
        query: QueryId,
        result: Result<Vec<NodeInfo>, Unreachable>,
    },
    /// What was sent to `node` and not delivered is lost.
    Unreachable {
        node: NodeId,
        reason: Unreachable,
    },
    /// What was sent to `node` lately has probably not arrived; it takes another way now.
    PathChanged {
        node: NodeId,
    },
    RelayUp,
    RelayDown,
}

/// An established session, for people.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    pub id: SessionId,
    pub kind: SessionKind,
    pub address: SocketAddr,
    pub age: Time,
    pub silent_for: Time,
    pub ping: Time,
    pub tx_bytes: u64,
    pub rx_bytes: u64,
}

/// What a request is for.
#[derive(Debug)]
enum Purpose {
    RelayHello,
    RelayProof,
    Register,
    Node { id: NodeId, query: Option<QueryId> },
    Slot(u32),
    Neighbours(QueryId),
    Reverse,
    Ping(SessionId),
    DialHello(NodeId),
    DialProof(NodeId),
}

#[derive(Debug)]
enum Timer {
    Request(u64),
    RelayRetry,
    KeepAlive(SessionId),
    Drained(SessionId),
    Incoming(SessionId),
    LookUp(NodeId),
}

#[derive(Clone, Copy, Debug)]
enum ProofFor {
    Relay,
    Dial(NodeId),
    Incoming(SessionId),
}

#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    session_public: PublicKey,
    /// Default first.
    identities: Vec<PublicKey>,
    ids: Vec<NodeId>,
    rng: Random,
    relay: Relay,
    public_address: Option<SocketAddr>,
    sessions: HashMap<SessionId, Session>,
    dials: HashMap<NodeId, Dial>,
    incoming: HashMap<SessionId, Incoming>,
    incoming_order: VecDeque<SessionId>,
    proofs: HashMap<ProofToken, ProofFor>,
    next_token: u64,
    requests: Requests<Purpose>,
    peers: HashMap<NodeId, Peer>,
    /// Any identity to the default one of its node.
    aliases: HashMap<NodeId, NodeId>,
    /// Slots at the relay of the present relay session.
    slots: HashMap<u32, NodeId>,
    unknown_slots: HashMap<u32, VecDeque<(Flags, Bytes)>>,
    told: VecDeque<(SessionId, Time)>,
    timers: Timers<Timer>,
    effects: VecDeque<Effect>,
    next_query: u64,
    stopping: bool,
}

impl Node {
    /// A node with these identities, the default one first. It dials the relay at its first [`Self::on_timeout`].
    pub fn new(now: Time, config: NodeConfig, identities: Vec<PublicKey>, mut rng: Random) -> Self {
        let mut timers = Timers::default();
        timers.set(now, Timer::RelayRetry);
        Self {
            session_public: config.session_key.public(),
            config,
            ids: identities.iter().map(PublicKey::node_id).collect(),
            identities,
            requests: Requests::new(rng.number()),
            rng,
            relay: Relay::down(),
            public_address: None,
            sessions: HashMap::new(),
            dials: HashMap::new(),
            incoming: HashMap::new(),
            incoming_order: VecDeque::new(),
            proofs: HashMap::new(),
            next_token: 0,
            peers: HashMap::new(),
            aliases: HashMap::new(),
            slots: HashMap::new(),
            unknown_slots: HashMap::new(),
            told: VecDeque::new(),
            timers,
            effects: VecDeque::new(),
            next_query: 0,
            stopping: false,
        }
    }

    /// The identity under which other nodes know this one.
    pub fn default_id(&self) -> NodeId {
        self.ids.first().copied().unwrap_or_default()
    }

    pub fn is_own(&self, id: NodeId) -> bool {
        self.ids.contains(&id)
    }

    /// Default identity of the node that has `id`, as far as known.
    pub fn default_of(&self, id: NodeId) -> NodeId {
        self.aliases.get(&id).copied().unwrap_or(id)
    }

    /// Identities that the node has proved, or that the relay named for it; the default one first.
    pub fn identities_of(&self, default: NodeId) -> &[NodeId] {
        self.peers.get(&default).map_or(&[], |peer| &peer.ids)
    }

    pub const fn public_address(&self) -> Option<SocketAddr> {
        self.public_address
    }

    pub const fn is_relay_up(&self) -> bool {
        matches!(self.relay, Relay::Up { .. })
    }

    pub fn is_direct(&self, id: NodeId) -> bool {
        self.usable_session(self.default_of(id)).is_some()
    }

    /// Nodes with which there is a direct session.
    pub fn connected(&self) -> impl Iterator<Item = NodeId> {
        self.peers.iter().filter(|(id, _)| self.usable_session(**id).is_some()).map(|(id, _)| *id)
    }

    /// Nodes to which a way is known.
    pub fn reached(&self) -> impl Iterator<Item = NodeId> {
        self.peers.iter().filter(|(_, peer)| peer.slot.is_some() || !peer.sessions.is_empty()).map(|(id, _)| *id)
    }

    pub fn next_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub fn on_timeout(&mut self, now: Time) {
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Request(id) => match self.requests.due(now, id) {
                    Some(Due::Repeat { to, data, again }) => {
                        self.effects.push_back(Effect::Send { to, data });
                        self.timers.set(again, Timer::Request(id));
                    }
                    Some(Due::Expired(request)) => self.on_expired(now, request.purpose),
                    None => {}
                },
                Timer::RelayRetry => self.dial_relay(now),
                Timer::KeepAlive(session) => self.keep_alive(now, session),
                Timer::Drained(session) => self.forget_session(session),
                Timer::Incoming(session) => self.expire_incoming(now, session),
                Timer::LookUp(id) => self.look_up_again(now, id),
            }
        }
    }

    fn on_expired(&mut self, now: Time, purpose: Purpose) {
        match purpose {
            Purpose::RelayHello | Purpose::RelayProof => self.relay_failed(now),
            // Not registered is not findable.
            Purpose::Register => self.register(now),
            Purpose::Reverse => {}
            Purpose::Node { id, query } => {
                let reason = if self.is_relay_up() { Unreachable::NoAnswer(id) } else { Unreachable::NoRelay };
                self.not_found(now, id, query, reason);
            }
            Purpose::Slot(slot) => {
                self.unknown_slots.remove(&slot);
            }
            Purpose::Neighbours(query) => {
                self.effects.push_back(Effect::Neighbours { query, result: Err(Unreachable::NoRelay) });
            }
            Purpose::Ping(session) => self.ping_expired(now, session),
            Purpose::DialHello(node) | Purpose::DialProof(node) => self.dial_failed(now, node),
        }
    }

    /// The answer to [`Effect::Prove`]; `None` when it cannot be given.
    pub fn proved(&mut self, now: Time, token: ProofToken, proof: Option<Proof>) {
        let Some(purpose) = self.proofs.remove(&token) else { return };
        match purpose {
            ProofFor::Relay => self.relay_proved(now, proof),
            ProofFor::Dial(node) => self.dial_proved(now, node, proof),
            ProofFor::Incoming(session) => self.incoming_proved(now, session, proof),
        }
    }

    fn ask_proof(&mut self, purpose: ProofFor, challenge: Bytes, difficulty: u64) {
        let token = ProofToken(self.next_token);
        self.next_token += 1;
        self.proofs.insert(token, purpose);
        self.effects.push_back(Effect::Prove { token, challenge, difficulty });
    }

    pub fn on_datagram(&mut self, now: Time, from: SocketAddr, data: Bytes) {
        match Datagram::decode(data) {
            Ok(Datagram::Forward(forward)) => self.on_forward(now, from, forward),
            Ok(Datagram::Packet(packet)) => self.on_packet(now, from, packet),
            Err(_) => {}
        }
    }

    fn on_packet(&mut self, now: Time, from: SocketAddr, mut packet: Packet) {
        let session = packet.session();
        let Some(kind) = packet.kind.take() else { return };
        let established = session.filter(|id| self.hear(now, *id, from));
        match kind {
            Kind::Response(response) => self.on_response(now, from, session, response),
            Kind::Request(request) => match request.kind {
                Some(RequestKind::Session(hello)) => {
                    self.on_session_request(now, from, session, request.request_id, hello)
                }
                Some(RequestKind::Ping(_)) => self.on_ping(now, from, session, request.request_id),
                _ => {}
            },
            Kind::Control(control) => match control.kind {
                Some(ControlKind::Disconnected(gone)) => self.on_disconnected(now, from, session, gone.by),
                Some(ControlKind::ResumeForwarding(_)) => self.on_pause(now, established, true),
                Some(ControlKind::PauseForwarding(_)) => self.on_pause(now, established, false),
                Some(ControlKind::ReverseConnection(reverse)) if established == self.relay.session() => {
                    self.on_reverse(now, &reverse);
                }
                _ => {}
            },
        }
    }

    fn on_response(&mut self, now: Time, from: SocketAddr, session: Option<SessionId>, response: Response) {
        let Some(request) = self.requests.take(response.request_id, from) else { return };
        let code = response.code;
        // A relay that does not know the session any more; everything else of it would go the same way.
        let is_refused = code == i32::from(golem_net_relay_wire::message::StatusCode::Unauthorized);
        match request.purpose {
            Purpose::RelayHello => self.on_relay_hello(now, session, code, response.kind),
            Purpose::RelayProof => self.on_relay_proof(now, session, code),
            Purpose::DialHello(node) => self.on_dial_hello(now, node, from, session, code, response.kind),
            Purpose::DialProof(node) => self.on_dial_proof(now, node, from, session, code, response.kind),
            Purpose::Ping(session) => self.on_pong(now, session, request.sent),
            purpose if is_refused => {
                self.relay_lost(now);
                self.on_expired(now, purpose);
            }
            Purpose::Register => self.on_registered(response.kind),
            Purpose::Node { id, query } => self.on_node(now, id, query, code, response.kind),
            Purpose::Slot(slot) => self.on_slot(now, slot, response.kind),
            Purpose::Neighbours(query) => self.on_neighbours(now, query, code, response.kind),
            Purpose::Reverse => {}
        }
    }

    fn on_disconnected(&mut self, now: Time, from: SocketAddr, session: Option<SessionId>, by: Option<DisconnectedBy>) {
        match by {
            Some(DisconnectedBy::SessionId(id)) => {
                let named = SessionId::try_from(&*id).ok();
                match named.filter(|id| session == Some(*id)) {
                    Some(id) if self.is_established(id, from) => {
                        self.send_packet(from, &Packet::disconnected(id));
                        self.close_session(now, id);
                    }
                    Some(id) if self.incoming.get(&id).is_some_and(|incoming| incoming.address == from) => {
                        self.incoming.remove(&id);
                    }
                    // A responder that gives up may name a session that nobody knows (spec 10 §7).
                    _ => self.abort_dial_to(now, from),
                }
            }
            Some(DisconnectedBy::Slot(slot)) if self.is_from_relay(session, from) => {
                if let Some(node) = self.slots.remove(&slot) {
                    self.lost_at_relay(now, node);
                }
            }
            Some(DisconnectedBy::NodeId(id)) if self.is_from_relay(session, from) => {
                if let Ok(id) = NodeId::try_from(&*id) {
                    self.lost_at_relay(now, self.default_of(id));
                }
            }
            _ => {}
        }
    }

    fn is_from_relay(&self, session: Option<SessionId>, from: SocketAddr) -> bool {
        from == self.config.relay && session.is_some() && session == self.relay.session()
    }

    /// Sends a request and its copies until it is answered or timed out.
    fn request(
        &mut self,
        now: Time,
        to: SocketAddr,
        session: Option<SessionId>,
        kind: RequestKind,
        timeout: Time,
        purpose: Purpose,
    ) {
        let id = self.requests.next_id();
        let data: Bytes = Packet::request(session, id, kind).encode_to_vec().into();
        let again = self.requests.insert(now, id, to, data.clone(), timeout, purpose);
        self.timers.set(again, Timer::Request(id));
        self.effects.push_back(Effect::Send { to, data });
    }

    fn send_packet(&mut self, to: SocketAddr, packet: &Packet) {
        self.effects.push_back(Effect::Send { to, data: packet.encode_to_vec().into() });
    }

    /// Tells the sender of a packet that its session does not exist here; so a restart is noticed at once (spec 10 §8.1).
    fn tell_unknown(&mut self, now: Time, to: SocketAddr, session: SessionId) {
        self.told.retain(|(_, at)| *at + TELL_AGAIN_AFTER > now);
        if self.told.iter().any(|(id, _)| *id == session) {
            return;
        }
        if self.told.len() >= TOLD_MAX {
            self.told.pop_front();
        }
        self.told.push_back((session, now));
        self.send_packet(to, &Packet::disconnected(session));
    }

    fn random_session(&mut self) -> SessionId {
        self.rng.bytes::<16>().into()
    }

    const fn next_query(&mut self) -> QueryId {
        self.next_query += 1;
        QueryId(self.next_query)
    }

    /// Other identities from now on; the relay learns them in a new session (spec 11 §8).
    pub fn set_identities(&mut self, now: Time, identities: Vec<PublicKey>) {
        if identities == self.identities || identities.is_empty() {
            return;
        }
        self.ids = identities.iter().map(PublicKey::node_id).collect();
        self.identities = identities;
        if matches!(self.relay, Relay::Down { .. }) {
            self.timers.set(now, Timer::RelayRetry);
        }
        if let Some(session) = self.relay.session() {
            self.send_packet(self.config.relay, &Packet::disconnected(session));
            self.close_session(now, session);
        }
    }

    /// Says good-bye on every session; nothing is dialled any more.
    pub fn stop(&mut self) {
        self.stopping = true;
        let goodbyes: Vec<_> = self.sessions.values().map(|session| (session.address, session.id)).collect();
        for (to, session) in goodbyes {
            self.send_packet(to, &Packet::disconnected(session));
        }
        self.sessions.clear();
    }

    /// Makes room for another node, if there is none.
    fn limit_peers(&mut self) {
        if self.peers.len() < PEERS_MAX {
            return;
        }
        let mut idle: Vec<(Time, NodeId)> =
            self.peers.iter().filter(|(_, peer)| peer.is_idle()).map(|(id, peer)| (peer.used, *id)).collect();
        idle.sort_unstable();
        for (_, id) in idle.into_iter().take(PEERS_MAX / 8) {
            self.peers.remove(&id);
            self.slots.retain(|_, node| *node != id);
        }
        self.aliases.retain(|_, default| self.peers.contains_key(default));
    }
}
