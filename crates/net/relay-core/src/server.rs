//! The relay: knows nodes by id and slot, tells where they are, and forwards between them (spec 10 §13).
//!
//! `hello` makes sessions, `asked` answers requests on them, `table` is what the relay knows.

mod asked;
mod hello;
mod table;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use golem_model::NodeId;
use golem_net_relay_wire::message::{
    Control, ControlKind, Disconnected, DisconnectedBy, Kind, Packet, Request, RequestKind, ResponseKind, StatusCode,
};
use golem_net_relay_wire::{Datagram, FORWARD_HEADER_BYTES, Forward, SessionId};
use prost::Message;

use crate::timers::Timers;
use crate::{Random, Time};

pub use table::SessionView;
use table::{Session, Table};

/// Least time between two answers about one unknown session.
const TELL_AGAIN_AFTER: Time = Time::from_secs(5);
const TOLD_MAX: usize = 4096;
/// Sources whose Session requests are counted.
const SOURCES_MAX: usize = 65_536;

/// The two sockets of a relay; the second only checks whether nodes can be reached from a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Main,
    Check,
}

#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Leading zero bits that nodes must find. Official relays ask for 16.
    pub difficulty: u64,
    /// Kept over restarts it keeps running handshakes valid.
    pub salt: [u8; 16],
    pub check_timeout: Time,
    pub check_retries: u32,
    pub check_retry_after: Time,
    /// Silence after which a session is forgotten; nodes send something every 15 s.
    pub session_timeout: Time,
    pub sweep_every: Time,
    /// Session requests per second and source address.
    pub hellos_per_second: u32,
    /// Forwarded bytes per second and session; 0: no limit.
    pub forward_bytes_per_second: u64,
    pub sessions_max: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            difficulty: 16,
            salt: [0; 16],
            check_timeout: Time::from_secs(1),
            check_retries: 3,
            check_retry_after: Time::from_millis(200),
            session_timeout: Time::from_secs(120),
            sweep_every: Time::from_secs(10),
            hellos_per_second: 1000,
            forward_bytes_per_second: 0,
            sessions_max: 1 << 20,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum ServerEffect {
    Send { port: Port, to: SocketAddr, data: Bytes },
}

/// Counted since the start; names follow the metrics of spec 10 §13.4.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerCounters {
    pub sessions_created: u64,
    pub sessions_removed: u64,
    pub sessions_purged: u64,
    pub establish_start: u64,
    pub challenge_valid: u64,
    pub establish_finished: u64,
    pub establish_error: u64,
    pub registered: u64,
    pub slots_created: u64,
    pub node: u64,
    pub node_error: u64,
    pub slot_info: u64,
    pub slot_info_error: u64,
    pub neighbours: u64,
    pub neighbours_error: u64,
    pub reverse: u64,
    pub reverse_error: u64,
    pub forward: u64,
    pub forward_error: u64,
    pub forward_limited: u64,
    pub forward_bytes_in: u64,
    pub forward_bytes_out: u64,
    pub malformed: u64,
}

#[derive(Debug)]
enum Timer {
    Sweep,
    Check(SessionId),
}

/// A relay.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    rng: Random,
    table: Table,
    told: VecDeque<(SessionId, Time)>,
    hellos: HashMap<IpAddr, u32>,
    hellos_since: Time,
    timers: Timers<Timer>,
    effects: VecDeque<ServerEffect>,
    counters: ServerCounters,
}

/// What the wall clock and the monotonic one say now.
#[derive(Clone, Copy, Debug)]
struct Now {
    time: Time,
    unix: u64,
}

impl Server {
    pub fn new(now: Time, config: ServerConfig, rng: Random) -> Self {
        let mut timers = Timers::default();
        timers.set(now + config.sweep_every, Timer::Sweep);
        Self {
            config,
            rng,
            table: Table::default(),
            told: VecDeque::new(),
            hellos: HashMap::new(),
            hellos_since: now,
            timers,
            effects: VecDeque::new(),
            counters: ServerCounters::default(),
        }
    }

    pub fn poll_effect(&mut self) -> Option<ServerEffect> {
        self.effects.pop_front()
    }

    pub fn next_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    pub const fn counters(&self) -> &ServerCounters {
        &self.counters
    }

    pub fn session_count(&self) -> usize {
        self.table.len()
    }

    /// Sessions of nodes whose id starts with these hex digits.
    pub fn sessions(&self, now: Time, prefix: &str, limit: usize) -> Vec<SessionView> {
        self.table.views(now, prefix, limit)
    }

    /// Node ids in the order of their slots; slot 0 is nobody's.
    pub fn slots(&self) -> &[NodeId] {
        self.table.slots()
    }

    /// Slots of an earlier run, so that nodes keep theirs.
    pub fn restore_slots(&mut self, slots: impl IntoIterator<Item = NodeId>) {
        self.table.restore_slots(slots);
    }

    pub fn on_timeout(&mut self, now: Time) {
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Sweep => {
                    let purged = self.table.purge(now, self.config.session_timeout);
                    self.counters.sessions_purged += u64::try_from(purged).unwrap_or_default();
                    self.timers.set(now + self.config.sweep_every, Timer::Sweep);
                }
                Timer::Check(session) => self.continue_check(now, session),
            }
        }
    }

    /// Takes a datagram; `unix` is the wall time in seconds.
    pub fn on_datagram(&mut self, now: Time, unix: u64, port: Port, from: SocketAddr, data: Bytes) {
        let now = Now { time: now, unix };
        match (port, Datagram::decode(data)) {
            (Port::Main, Ok(Datagram::Forward(forward))) => self.on_forward(now, from, &forward),
            (Port::Main, Ok(Datagram::Packet(packet))) => self.on_packet(now, from, packet),
            (Port::Check, Ok(Datagram::Packet(packet))) => self.on_check_packet(now, from, &packet),
            (Port::Check, Ok(Datagram::Forward(_))) | (_, Err(_)) => self.counters.malformed += 1,
        }
    }

    fn on_packet(&mut self, now: Now, from: SocketAddr, mut packet: Packet) {
        let session = packet.session();
        match (packet.kind.take(), session) {
            (Some(Kind::Request(Request { request_id, kind: Some(RequestKind::Session(hello)) })), session) => {
                self.on_session_request(now, from, session, packet.session_id.is_empty(), request_id, &hello);
            }
            (Some(Kind::Request(Request { request_id, kind: Some(kind) })), Some(session)) => {
                self.on_request(now, from, session, request_id, kind);
            }
            (Some(Kind::Control(Control { kind: Some(ControlKind::Disconnected(gone)) })), Some(session)) => {
                let named = matches!(gone.by, Some(DisconnectedBy::SessionId(id)) if id[..] == session.as_bytes()[..]);
                if named && self.table.known(session, from).is_some() {
                    self.counters.sessions_removed += 1;
                    self.table.remove(session);
                }
            }
            // A pong of a node to a keep-alive, ResumeForwarding, and what we do not know.
            (_, Some(session)) => {
                self.table.hear(now.time, session, from);
            }
            _ => {}
        }
    }

    fn on_forward(&mut self, now: Now, from: SocketAddr, forward: &Forward) {
        self.counters.forward += 1;
        let bytes = u64::try_from(FORWARD_HEADER_BYTES + forward.payload.len()).unwrap_or_default();
        self.counters.forward_bytes_in += bytes;
        let Some(sender) = self.table.hear(now.time, forward.session, from) else {
            self.counters.forward_error += 1;
            return self.tell_unknown(now.time, from, forward.session);
        };
        if !sender.may_forward(now.time, bytes, self.config.forward_bytes_per_second) {
            self.counters.forward_limited += 1;
            return;
        }
        let sender = sender.default_id();
        // Also when the receiver is unknown: the sender's first Forward gives it a slot (spec 10 §10).
        let slot = self.slot_of(sender);
        let Some((session, to)) = self.table.by_slot(forward.slot).map(|to| (to.id, to.address)) else {
            self.counters.forward_error += 1;
            let gone = Disconnected { by: Some(DisconnectedBy::Slot(forward.slot)) };
            return self.send(from, &Packet::control(forward.session, ControlKind::Disconnected(gone)));
        };
        let mut data = BytesMut::with_capacity(FORWARD_HEADER_BYTES + forward.payload.len());
        Forward::put_header(&mut data, session, slot, forward.flags);
        data.extend_from_slice(&forward.payload);
        self.counters.forward_bytes_out += bytes;
        self.effects.push_back(ServerEffect::Send { port: Port::Main, to, data: data.freeze() });
    }

    fn slot_of(&mut self, id: NodeId) -> u32 {
        let before = self.table.slots().len();
        let slot = self.table.slot_of(id);
        self.counters.slots_created += u64::from(self.table.slots().len() > before);
        slot
    }

    /// Official relays are silent here or leave the id empty, so their nodes notice late (spec 10 §14).
    fn tell_unknown(&mut self, now: Time, to: SocketAddr, session: SessionId) {
        self.told.retain(|(_, at)| *at + TELL_AGAIN_AFTER > now);
        if self.told.iter().any(|(id, _)| *id == session) || self.told.len() >= TOLD_MAX {
            return;
        }
        self.told.push_back((session, now));
        self.send(to, &Packet::disconnected(session));
    }

    /// Counts Session requests of a source; false when there are too many.
    fn may_hello(&mut self, now: Time, from: SocketAddr) -> bool {
        if now >= self.hellos_since + Time::from_secs(1) {
            self.hellos.clear();
            self.hellos_since = now;
        }
        if self.hellos.len() >= SOURCES_MAX && !self.hellos.contains_key(&from.ip()) {
            return false;
        }
        let count = self.hellos.entry(from.ip()).or_default();
        *count += 1;
        *count <= self.config.hellos_per_second
    }

    fn answer(
        &mut self,
        to: SocketAddr,
        session: Option<SessionId>,
        request_id: u64,
        code: StatusCode,
        kind: ResponseKind,
    ) {
        self.send(to, &Packet::response(session, request_id, code, kind));
    }

    fn send(&mut self, to: SocketAddr, packet: &Packet) {
        self.effects.push_back(ServerEffect::Send { port: Port::Main, to, data: packet.encode_to_vec().into() });
    }

    fn random_id(&mut self) -> u64 {
        self.rng.number()
    }

    fn start_check(&mut self, now: Time, session: SessionId, request_id: u64) {
        let (timeout, retries) = (self.config.check_timeout, self.config.check_retries);
        let Some(known) = self.table.get_mut(session) else { return };
        if known.join_check(request_id) {
            return;
        }
        known.begin_check(request_id, now + timeout, retries);
        self.send_check(now, session);
    }

    fn send_check(&mut self, now: Time, session: SessionId) {
        let Some(to) = self.table.get_mut(session).map(|known| known.address) else { return };
        let id = self.random_id();
        let ping = RequestKind::Ping(golem_net_relay_wire::message::Empty {});
        let data = Packet::request(Some(session), id, ping).encode_to_vec().into();
        self.effects.push_back(ServerEffect::Send { port: Port::Check, to, data });
        self.timers.set(now + self.config.check_retry_after, Timer::Check(session));
    }

    fn continue_check(&mut self, now: Time, session: SessionId) {
        match self.table.get_mut(session).map(|known| known.next_check(now)) {
            Some(table::Check::Again) => self.send_check(now, session),
            Some(table::Check::WaitUntil(at)) => self.timers.set(at, Timer::Check(session)),
            Some(table::Check::Failed(requests)) => self.answer_register(session, &requests),
            Some(table::Check::None) | None => {}
        }
    }

    fn on_check_packet(&mut self, now: Now, from: SocketAddr, packet: &Packet) {
        let is_pong = matches!(&packet.kind, Some(Kind::Response(response)) if matches!(response.kind, Some(ResponseKind::Pong(_))));
        let Some(session) = packet.session().filter(|_| is_pong) else { return };
        let requests = self.table.hear(now.time, session, from).map(Session::check_passed).unwrap_or_default();
        self.answer_register(session, &requests);
    }
}
