//! What is established: who is heard, who is silent, and what ends when a session ends.

use std::net::SocketAddr;

use golem_model::NodeId;
use golem_net_relay_wire::SessionId;
use golem_net_relay_wire::message::Packet;

use super::{Effect, Node, SessionInfo, Timer};
use crate::Time;
use crate::session::{Session, SessionKind};

/// Silence after a probe that ends a session.
pub(super) const PING_TIMEOUT: Time = Time::from_secs(2);
/// How long a session that is replaced still takes what is on its way.
const DRAIN: Time = Time::from_secs(2);
/// Two sessions that began within this time come from both sides dialling at once; otherwise the newer one is of a
/// peer that restarted.
const GLARE: Time = Time::from_secs(5);

impl Node {
    /// Notes a packet on a session; false if there is no such session with that address.
    pub(super) fn hear(&mut self, now: Time, id: SessionId, from: SocketAddr) -> bool {
        self.sessions.get_mut(&id).filter(|session| session.address == from).is_some_and(|session| {
            session.heard = now;
            session.probing = false;
            true
        })
    }

    pub(super) fn is_established(&self, id: SessionId, from: SocketAddr) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.address == from)
    }

    /// The session over which packets to this node go directly.
    pub(super) fn usable_session(&self, node: NodeId) -> Option<&Session> {
        let sessions = &self.peers.get(&node)?.sessions;
        sessions.iter().rev().filter_map(|id| self.sessions.get(id)).find(|session| session.is_usable())
    }

    /// A session with a node stands; older ones with it are replaced.
    pub(super) fn add_session(&mut self, now: Time, session: Session, node: NodeId) {
        let id = session.id;
        self.timers.set(now + self.config.keep_alive_after, Timer::KeepAlive(id));
        self.sessions.insert(id, session);
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.sessions.push(id);
            peer.reached = Some(now);
            peer.used = now;
            peer.dial_failures = 0;
        }
    }

    /// A session may carry packets now: chooses one if there are several, and sends what waits.
    pub(super) fn on_usable(&mut self, now: Time, node: NodeId) {
        let Some(peer) = self.peers.get(&node) else { return };
        let mut usable: Vec<&Session> =
            peer.sessions.iter().filter_map(|id| self.sessions.get(id)).filter(|session| session.is_usable()).collect();
        let newest = usable.iter().map(|session| session.since).max().unwrap_or(now);
        let lower_is_ours = self.default_id() < node;
        // Both sides choose alike: the newest, and among those of a glare the one that the lower id dialled.
        usable
            .sort_by_key(|session| (session.since + GLARE >= newest, session.dialled == lower_is_ours, session.since));
        let losers: Vec<SessionId> = usable.iter().rev().skip(1).map(|session| session.id).collect();
        for id in losers {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.draining = true;
                self.timers.set(now + DRAIN, Timer::Drained(id));
            }
        }
        self.flush(now, node);
    }

    pub(super) fn on_pause(&mut self, now: Time, session: Option<SessionId>, resume: bool) {
        let Some(session) = session.and_then(|id| self.sessions.get_mut(&id)) else { return };
        let was = std::mem::replace(&mut session.may_send, resume);
        if let SessionKind::Node(node) = session.kind
            && resume
            && !was
        {
            self.dial_overtaken(node);
            self.on_usable(now, node);
        }
    }

    pub(super) fn forget_session(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.remove(&id)
            && let SessionKind::Node(node) = session.kind
            && let Some(peer) = self.peers.get_mut(&node)
        {
            peer.sessions.retain(|other| *other != id);
        }
    }

    /// The session is over.
    pub(super) fn close_session(&mut self, now: Time, id: SessionId) {
        let Some(kind) = self.sessions.get(&id).map(|session| session.kind) else { return };
        self.forget_session(id);
        match kind {
            SessionKind::Relay if self.relay.session() == Some(id) => self.relay_closed(now),
            SessionKind::Relay => {}
            SessionKind::Node(node) => {
                if let Some(peer) = self.peers.get_mut(&node) {
                    // Whoever comes back may be another process with another key.
                    peer.sealed_seen = false;
                    peer.next_dial = now;
                }
                if !self.stopping && self.usable_session(node).is_none() {
                    self.effects.push_back(Effect::PathChanged { node });
                }
            }
        }
    }

    pub(super) fn keep_alive(&mut self, now: Time, id: SessionId) {
        let after = self.config.keep_alive_after;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let due = session.heard + after;
        if due > now {
            self.timers.set(due, Timer::KeepAlive(id));
        } else {
            session.probing = true;
            self.timers.set(now + after, Timer::KeepAlive(id));
            self.ping(now, id);
        }
    }

    pub(super) fn ping_expired(&mut self, now: Time, id: SessionId) {
        if let Some(session) = self.sessions.get(&id).filter(|session| session.probing) {
            let to = session.address;
            self.send_packet(to, &Packet::disconnected(id));
            self.close_session(now, id);
        }
    }

    pub(super) fn on_pong(&mut self, now: Time, id: SessionId, sent: Time) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.ping = now.saturating_sub(sent);
        }
    }

    /// Measures the round trip of every session.
    pub fn ping_all(&mut self, now: Time) {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.ping(now, id);
        }
    }

    /// Ends the sessions with a node; false if there are none.
    pub fn disconnect(&mut self, now: Time, node: NodeId) -> bool {
        let node = self.default_of(node);
        let ids = self.peers.get(&node).map(|peer| peer.sessions.clone()).unwrap_or_default();
        for id in &ids {
            if let Some(to) = self.sessions.get(id).map(|session| session.address) {
                self.send_packet(to, &Packet::disconnected(*id));
                self.close_session(now, *id);
            }
        }
        !ids.is_empty()
    }

    pub fn sessions(&self, now: Time) -> Vec<SessionInfo> {
        let info = |session: &Session| SessionInfo {
            id: session.id,
            kind: session.kind,
            address: session.address,
            age: now.saturating_sub(session.since),
            silent_for: now.saturating_sub(session.heard),
            ping: session.ping,
            tx_bytes: session.tx_bytes,
            rx_bytes: session.rx_bytes,
        };
        self.sessions.values().filter(|session| !session.draining).map(info).collect()
    }
}
