//! The way to a node, and the payloads that take it (spec 10 §10, §11).

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use golem_model::NodeId;
use golem_net_relay_wire::message::{NodeRequest, RequestKind, ResponseKind, SlotRequest, StatusCode, node_id_bytes};
use golem_net_relay_wire::proof::Proved;
use golem_net_relay_wire::{DIRECT_SLOT, FORWARD_HEADER_BYTES, Flags, Forward, SessionId, seal};

use super::{Effect, Node, Purpose, QueryId, REQUEST_TIMEOUT, Timer, Unreachable};
use crate::Time;
use crate::peer::{NodeInfo, Peer};
use crate::session::SessionKind;

/// How long packets wait for a way before their node counts as unreachable.
const WAIT_MAX: Time = Time::from_secs(10);
/// The same for a node that was reached before: it or the relay may be restarting, and finds the relay again within
/// one keep-alive.
const WAIT_KNOWN_MAX: Time = Time::from_secs(25);
/// After this node, or the relay, has started others may still be on their way to the relay.
const SETTLING: Time = Time::from_secs(3);
/// Pause between look-ups of a node that should be there.
const LOOK_UP_AGAIN: Time = Time::from_millis(500);
/// Slots whose nodes are being asked for, and packets that wait for each.
const UNKNOWN_SLOTS_MAX: usize = 256;
const UNKNOWN_SLOT_PACKETS_MAX: usize = 32;
/// Least time between two look-ups of the session key of one node.
const KEY_REFRESH: Time = Time::from_secs(10);

/// One hop towards a node.
struct Way {
    to: SocketAddr,
    session: SessionId,
    slot: u32,
}

impl Node {
    /// Sends a payload to the node that has the identity `to`: directly, through the relay, or when a way is found.
    pub fn send(&mut self, now: Time, to: NodeId, reliable: bool, payload: Bytes) {
        let node = self.default_of(to);
        let flags = if reliable { Flags::RELIABLE } else { Flags::UNRELIABLE };
        self.send_to(now, node, flags, payload);
    }

    fn send_to(&mut self, now: Time, node: NodeId, flags: Flags, payload: Bytes) {
        if self.stopping {
            return;
        }
        if let Some((address, session)) = self.usable_session(node).map(|session| (session.address, session.id)) {
            self.forward(now, node, Way { to: address, session, slot: DIRECT_SLOT }, flags, &payload);
            return;
        }
        let slot = self.peers.get(&node).and_then(|peer| peer.slot);
        if let (Some(slot), Some(session)) = (slot, self.relay.session()) {
            let way = Way { to: self.config.relay, session, slot };
            self.forward(now, node, way, flags, &payload);
            self.dial(now, node);
            return;
        }
        self.limit_peers();
        let peer = self.peers.entry(node).or_default();
        peer.used = now;
        peer.enqueue(now, flags, payload);
        self.look_up(now, node, None);
    }

    fn forward(&mut self, now: Time, node: NodeId, way: Way, flags: Flags, payload: &[u8]) {
        let Way { to, session, slot } = way;
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.used = now;
        let seal = peer.seal.as_ref().filter(|_| self.config.encrypt && peer.encrypts && !flags.has(Flags::KEY_SYNC));
        let flags = if seal.is_some() { flags.with(Flags::ENCRYPTED) } else { flags };
        let mut data = BytesMut::with_capacity(FORWARD_HEADER_BYTES + seal::OVERHEAD_BYTES + payload.len());
        Forward::put_header(&mut data, session, slot, flags);
        match seal {
            Some(seal) => data.extend_from_slice(&seal.seal(self.rng.bytes(), payload)),
            None => data.extend_from_slice(payload),
        }
        if let Some(session) = self.sessions.get_mut(&session) {
            session.tx_bytes += u64::try_from(data.len()).unwrap_or_default();
        }
        self.effects.push_back(Effect::Send { to, data: data.freeze() });
    }

    /// Sends what waits for a way to this node.
    pub(super) fn flush(&mut self, now: Time, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.queue_since = None;
        for (flags, payload) in std::mem::take(&mut peer.queue) {
            self.send_to(now, node, flags, payload);
        }
    }

    /// Asks the relay what it knows of a node.
    pub fn find(&mut self, now: Time, id: NodeId) -> QueryId {
        let query = self.next_query();
        if self.is_relay_up() {
            self.look_up(now, id, Some(query));
        } else {
            self.effects.push_back(Effect::Found { query, result: Err(Unreachable::NoRelay) });
        }
        query
    }

    /// Asks which node has the identity `id`, as patiently as for packets: [`Effect::Resolved`] or
    /// [`Effect::Unreachable`] answers.
    pub fn resolve(&mut self, now: Time, id: NodeId) {
        let node = self.default_of(id);
        if self.peers.get(&node).is_some_and(|peer| !peer.ids.is_empty()) {
            self.effects.push_back(Effect::Resolved { id, node });
            return;
        }
        self.limit_peers();
        let peer = self.peers.entry(node).or_default();
        peer.used = now;
        peer.wanted = true;
        peer.queue_since.get_or_insert(now);
        self.look_up(now, node, None);
    }

    fn look_up(&mut self, now: Time, id: NodeId, query: Option<QueryId>) {
        if query.is_none() {
            let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.looking_up) else { return };
            peer.looking_up = true;
        }
        match self.relay.session() {
            Some(session) => {
                let kind = RequestKind::Node(NodeRequest { node_id: node_id_bytes(id), public_key: true });
                let purpose = Purpose::Node { id, query };
                self.request(now, self.config.relay, Some(session), kind, REQUEST_TIMEOUT, purpose);
            }
            // Again when the relay is up, or when the packets have waited long enough.
            None => self.timers.set(now + WAIT_MAX, Timer::LookUp(id)),
        }
    }

    /// The relay is up: asks for the nodes that packets wait for.
    pub(super) fn look_up_waiting(&mut self, now: Time) {
        let waiting: Vec<NodeId> = self.peers.iter().filter(|(_, peer)| peer.is_awaited()).map(|(id, _)| *id).collect();
        for id in waiting {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.looking_up = false;
            }
            self.look_up(now, id, None);
        }
        // Relayed traffic that was on its way when the relay went away.
        let relayed: Vec<NodeId> = self
            .peers
            .iter()
            .filter(|(_, p)| p.reached.is_some() && p.sessions.is_empty())
            .map(|(id, _)| *id)
            .collect();
        self.effects.extend(relayed.into_iter().map(|node| Effect::PathChanged { node }));
    }

    pub(super) fn look_up_again(&mut self, now: Time, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !peer.is_awaited() {
            peer.looking_up = false;
            return;
        }
        peer.looking_up = false;
        let limit = if peer.reached.is_some() { WAIT_KNOWN_MAX } else { WAIT_MAX };
        if peer.queue_since.is_some_and(|since| since + limit <= now) {
            let reason = if self.is_relay_up() { Unreachable::Unknown(id) } else { Unreachable::NoRelay };
            self.give_up(id, reason);
        } else {
            self.look_up(now, id, None);
        }
    }

    pub(super) fn not_found(&mut self, now: Time, id: NodeId, query: Option<QueryId>, reason: Unreachable) {
        if let Some(query) = query {
            self.effects.push_back(Effect::Found { query, result: Err(reason) });
            return;
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let relay = self.relay.session().and_then(|session| self.sessions.get(&session)).map(|relay| relay.since);
        // A relay that was there all the time knows best; one that is new may not have heard of the node yet.
        let is_early = relay.is_none_or(|since| {
            let limit = if peer.reached.is_some_and(|at| at < since) { WAIT_KNOWN_MAX } else { SETTLING };
            since + limit > now
        });
        let patient = is_early || !matches!(reason, Unreachable::Unknown(_));
        if patient {
            self.timers.set(now + LOOK_UP_AGAIN, Timer::LookUp(id));
        } else {
            peer.looking_up = false;
            self.give_up(id, reason);
        }
    }

    fn give_up(&mut self, id: NodeId, reason: Unreachable) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.queue.clear();
            peer.wanted = false;
            peer.queue_since = None;
            peer.reached = None;
            if peer.is_idle() {
                self.peers.remove(&id);
            }
        }
        self.effects.push_back(Effect::Unreachable { node: id, reason });
    }

    pub(super) fn on_node(
        &mut self,
        now: Time,
        id: NodeId,
        query: Option<QueryId>,
        code: i32,
        kind: Option<ResponseKind>,
    ) {
        let info = match kind {
            Some(ResponseKind::Node(answer)) if code == i32::from(StatusCode::Ok) => NodeInfo::read(&answer),
            _ => None,
        };
        let info = info.filter(|info| info.ids.contains(&id));
        let Some(info) = info else {
            let not_found = code == i32::from(StatusCode::NotFound) || code == i32::from(StatusCode::Ok);
            let reason = if not_found { Unreachable::Unknown(id) } else { Unreachable::Refused(code) };
            return self.not_found(now, id, query, reason);
        };
        self.learn(now, &info);
        if let Some(query) = query {
            self.effects.push_back(Effect::Found { query, result: Ok(info.clone()) });
        }
        let Some(default) = info.default_id() else { return };
        if default != id
            && let Some(waiting) = self.peers.remove(&id)
        {
            // Packets for an alias go to its node.
            let peer = self.peers.entry(default).or_default();
            peer.queue.extend(waiting.queue);
            peer.wanted |= waiting.wanted;
        }
        if let Some(peer) = self.peers.get_mut(&default) {
            peer.looking_up = false;
            if std::mem::take(&mut peer.wanted) {
                self.effects.push_back(Effect::Resolved { id, node: default });
            }
        }
        self.flush(now, default);
        if query.is_none() {
            self.dial(now, default);
        }
    }

    /// Takes what the relay says about a node.
    pub(super) fn learn(&mut self, now: Time, info: &NodeInfo) {
        let Some(default) = info.default_id().filter(|id| !self.is_own(*id)) else { return };
        self.limit_peers();
        let peer = self.peers.entry(default).or_default();
        if peer.ids.first() == Some(&default) && !peer.sessions.is_empty() {
            // Proved ones stay; an identity may have been added since.
            for id in &info.ids {
                if !peer.ids.contains(id) {
                    peer.ids.push(*id);
                }
            }
        } else {
            peer.ids.clone_from(&info.ids);
        }
        peer.endpoints.clone_from(&info.endpoints);
        if info.slot != DIRECT_SLOT && self.relay.session().is_some() {
            peer.slot = Some(info.slot);
            peer.reached = Some(now);
            self.slots.insert(info.slot, default);
        }
        if info.session_key.is_some() || peer.sessions.is_empty() {
            peer.set_key(&self.config.session_key, info.session_key, &info.encryptions);
        }
        for id in &info.ids {
            self.aliases.insert(*id, default);
        }
    }

    /// Takes what a node has proved in a handshake.
    pub(super) fn learn_proved(&mut self, proved: &Proved, encryptions: &[String]) {
        let ids: Vec<NodeId> = proved.keys.iter().map(golem_keys::PublicKey::node_id).collect();
        let Some(default) = ids.first().copied() else { return };
        self.limit_peers();
        for id in &ids {
            self.aliases.insert(*id, default);
        }
        let peer = self.peers.entry(default).or_default();
        peer.ids = ids;
        peer.set_key(&self.config.session_key, proved.session_key, encryptions);
    }

    /// The relay says that it does not reach a node.
    pub(super) fn lost_at_relay(&mut self, now: Time, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if let Some(slot) = peer.slot.take() {
            self.slots.remove(&slot);
        }
        if self.usable_session(node).is_none() {
            self.effects.push_back(Effect::PathChanged { node });
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.used = now;
            }
        }
    }

    pub(super) fn on_forward(&mut self, now: Time, from: SocketAddr, forward: Forward) {
        if !self.hear(now, forward.session, from) {
            let is_new = self.incoming.contains_key(&forward.session);
            if !is_new && !self.stopping {
                self.tell_unknown(now, from, forward.session);
            }
            return;
        }
        let Some(session) = self.sessions.get_mut(&forward.session) else { return };
        session.rx_bytes += u64::try_from(forward.payload.len() + FORWARD_HEADER_BYTES).unwrap_or_default();
        match session.kind {
            SessionKind::Node(node) if forward.is_direct() => self.deliver(now, node, forward.flags, forward.payload),
            SessionKind::Node(_) => {}
            SessionKind::Relay => match self.slots.get(&forward.slot).copied() {
                Some(node) => self.deliver(now, node, forward.flags, forward.payload),
                None => self.ask_slot(now, forward.session, forward.slot, forward.flags, forward.payload),
            },
        }
    }

    fn ask_slot(&mut self, now: Time, session: SessionId, slot: u32, flags: Flags, payload: Bytes) {
        if slot == DIRECT_SLOT {
            return;
        }
        if let Some(waiting) = self.unknown_slots.get_mut(&slot) {
            if waiting.len() < UNKNOWN_SLOT_PACKETS_MAX {
                waiting.push_back((flags, payload));
            }
        } else if self.unknown_slots.len() < UNKNOWN_SLOTS_MAX {
            self.unknown_slots.insert(slot, VecDeque::from([(flags, payload)]));
            let kind = RequestKind::Slot(SlotRequest { slot, public_key: true });
            self.request(now, self.config.relay, Some(session), kind, REQUEST_TIMEOUT, Purpose::Slot(slot));
        }
    }

    pub(super) fn on_slot(&mut self, now: Time, slot: u32, kind: Option<ResponseKind>) {
        let waiting = self.unknown_slots.remove(&slot).unwrap_or_default();
        let Some(ResponseKind::Node(answer)) = kind else { return };
        let Some(info) = NodeInfo::read(&answer) else { return };
        let Some(default) = info.default_id().filter(|id| !self.is_own(*id)) else { return };
        self.learn(now, &info);
        self.slots.insert(slot, default);
        for (flags, payload) in waiting {
            self.deliver(now, default, flags, payload);
        }
    }

    fn deliver(&mut self, now: Time, from: NodeId, flags: Flags, payload: Bytes) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if flags.has(Flags::KEY_SYNC) && !flags.has(Flags::ENCRYPTED) {
            self.refresh_key(now, from);
            return;
        }
        let payload = if flags.has(Flags::ENCRYPTED) && peer.seal.is_some() {
            match peer.seal.as_ref().map(|seal| seal.open(&payload)) {
                Some(Ok(payload)) => {
                    peer.sealed_seen = true;
                    payload
                }
                _ => {
                    self.refresh_key(now, from);
                    self.ask_key_sync(now, from);
                    return;
                }
            }
        } else if flags.has(Flags::ENCRYPTED) {
            self.refresh_key(now, from);
            return;
        } else if Self::must_be_sealed(peer) {
            return;
        } else {
            payload
        };
        let reliable = !flags.has(Flags::UNRELIABLE);
        self.effects.push_back(Effect::Deliver { from, reliable, payload });
    }

    /// A node that seals its packets sends no plain ones; those come from somebody on the way.
    const fn must_be_sealed(peer: &Peer) -> bool {
        peer.sealed_seen && peer.encrypts
    }

    fn refresh_key(&mut self, now: Time, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if peer.key_refreshed.is_none_or(|at| at + KEY_REFRESH <= now) {
            peer.key_refreshed = Some(now);
            self.look_up(now, node, None);
        }
    }

    /// Asks a node to learn our key again (spec 10 §15).
    fn ask_key_sync(&mut self, now: Time, node: NodeId) {
        let asked = self.peers.get(&node).and_then(|peer| peer.key_refreshed) == Some(now);
        if asked {
            self.send_to(now, node, Flags::KEY_SYNC, Bytes::new());
        }
    }
}
