use std::collections::HashMap;
use std::net::SocketAddr;

use bytes::Bytes;
use golem_keys::PublicKey;
use golem_model::NodeId;
use golem_net_relay_wire::SessionId;
use golem_net_relay_wire::message::{Endpoint, Identity, NodeResponse};

use crate::Time;

/// Copies of one Register request, and requests of one impatient node, that wait for one check.
const CHECK_REQUESTS_MAX: usize = 8;
/// Nodes in one answer; each needs some 120 bytes.
const NEIGHBOURS_MAX: usize = 50;

/// Whether a node can be reached from outside.
#[derive(Debug, PartialEq, Eq)]
enum Reachable {
    Unknown,
    Pending { requests: Vec<u64>, until: Time, retries: u32 },
    Yes,
    No,
}

/// What a running check does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Check {
    None,
    Again,
    WaitUntil(Time),
    /// It was not reached; these requests wait for that.
    Failed(Vec<u64>),
}

/// What a node proved and announced in its handshake.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) keys: Vec<PublicKey>,
    pub(super) encryptions: Vec<String>,
    pub(super) session_key: Bytes,
    pub(super) session_proofs: Vec<Bytes>,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) address: SocketAddr,
    member: Member,
    ids: Vec<NodeId>,
    registered: bool,
    reachable: Reachable,
    heard: Time,
    /// Bytes that may be forwarded now, and since when.
    budget: (u64, Time),
}

/// One session, for people. Its id is not shown: it is all that a stranger needs to speak for it.
#[derive(Clone, Debug)]
pub struct SessionView {
    pub ids: Vec<NodeId>,
    pub address: SocketAddr,
    pub silent_for: Time,
    pub encryptions: Vec<String>,
    pub is_public: bool,
}

impl Session {
    pub(super) fn default_id(&self) -> NodeId {
        self.ids.first().copied().unwrap_or_default()
    }

    pub(super) fn is_public(&self) -> bool {
        self.reachable == Reachable::Yes
    }

    /// Whether a check is running; the request is answered with it.
    pub(super) fn join_check(&mut self, request_id: u64) -> bool {
        let Reachable::Pending { requests, .. } = &mut self.reachable else { return false };
        if !requests.contains(&request_id) && requests.len() < CHECK_REQUESTS_MAX {
            requests.push(request_id);
        }
        true
    }

    pub(super) fn begin_check(&mut self, request_id: u64, until: Time, retries: u32) {
        self.reachable = Reachable::Pending { requests: vec![request_id], until, retries };
    }

    pub(super) fn next_check(&mut self, now: Time) -> Check {
        let Reachable::Pending { requests, until, retries } = &mut self.reachable else { return Check::None };
        if now >= *until {
            let requests = std::mem::take(requests);
            self.reachable = Reachable::No;
            return Check::Failed(requests);
        }
        if *retries == 0 {
            return Check::WaitUntil(*until);
        }
        *retries -= 1;
        Check::Again
    }

    /// The node answered; these requests wait for that.
    pub(super) fn check_passed(&mut self) -> Vec<u64> {
        match std::mem::replace(&mut self.reachable, Reachable::Yes) {
            Reachable::Pending { requests, .. } => requests,
            other => {
                self.reachable = other;
                Vec::new()
            }
        }
    }

    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        if self.is_public() { vec![Endpoint::from(self.address)] } else { Vec::new() }
    }

    /// Takes `bytes` off the budget of this session; false when there are not enough.
    pub(super) fn may_forward(&mut self, now: Time, bytes: u64, per_second: u64) -> bool {
        if per_second == 0 {
            return true;
        }
        let (left, since) = self.budget;
        let elapsed = now.saturating_sub(since).min(Time::from_secs(1));
        let earned = u128::from(per_second) * elapsed.as_micros() / 1_000_000;
        let left = left.saturating_add(u64::try_from(earned).unwrap_or(u64::MAX)).min(per_second);
        self.budget = (left.saturating_sub(bytes), now);
        left >= bytes
    }

    pub(super) fn describe(&self, now: Time, unix: u64, slot: u32, with_key: bool) -> NodeResponse {
        let mut answer = NodeResponse {
            identities: self.member.keys.iter().map(Identity::from).collect(),
            endpoints: self.endpoints(),
            seen_ts: unix.saturating_sub(now.saturating_sub(self.heard).as_secs()),
            slot,
            supported_encryptions: self.member.encryptions.clone(),
            ..NodeResponse::default()
        };
        if with_key && !self.member.session_key.is_empty() {
            answer.session_pub_key = self.member.session_key.clone();
            answer.session_key_proof = self.member.session_proofs.first().cloned().unwrap_or_default();
            answer.session_key_proofs.clone_from(&self.member.session_proofs);
        }
        answer
    }
}

/// What a second handshake under one session id means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    New,
    Renewed,
    /// Another node has this session.
    Conflict,
    Full,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    sessions: HashMap<SessionId, Session>,
    /// Sessions of an id, the one that registered last at the end.
    by_node: HashMap<NodeId, Vec<SessionId>>,
    slots: Vec<NodeId>,
    slot_of: HashMap<NodeId, u32>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    /// The session, if it is that of this address.
    pub(super) fn known(&self, id: SessionId, from: SocketAddr) -> Option<&Session> {
        self.sessions.get(&id).filter(|session| session.address == from)
    }

    /// The same, noting that it lives.
    pub(super) fn hear(&mut self, now: Time, id: SessionId, from: SocketAddr) -> Option<&mut Session> {
        let session = self.sessions.get_mut(&id).filter(|session| session.address == from)?;
        session.heard = now;
        Some(session)
    }

    pub(super) fn add(&mut self, now: Time, id: SessionId, address: SocketAddr, member: Member, max: usize) -> Added {
        let ids: Vec<NodeId> = member.keys.iter().map(PublicKey::node_id).collect();
        if let Some(known) = self.sessions.get_mut(&id) {
            if known.ids.first() != ids.first() {
                return Added::Conflict;
            }
            known.heard = now;
            known.member = member;
            let was_registered = known.registered;
            let before = std::mem::replace(&mut known.ids, ids);
            self.unlink(id, &before);
            if was_registered {
                self.link(id);
            }
            return Added::Renewed;
        }
        if self.sessions.len() >= max {
            return Added::Full;
        }
        let reachable = Reachable::Unknown;
        let session =
            Session { id, address, member, ids, registered: false, reachable, heard: now, budget: (0, Time::ZERO) };
        self.sessions.insert(id, session);
        Added::New
    }

    /// From now on the node is found under all its ids. An older session from its address is over.
    pub(super) fn register(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.registered = true;
        let (address, default) = (session.address, session.default_id());
        let stale: Vec<SessionId> = self
            .by_node
            .get(&default)
            .into_iter()
            .flatten()
            .copied()
            .filter(|other| *other != id && self.sessions.get(other).is_some_and(|other| other.address == address))
            .collect();
        for other in stale {
            self.remove(other);
        }
        let ids = self.sessions.get(&id).map(|session| session.ids.clone()).unwrap_or_default();
        self.unlink(id, &ids);
        self.link(id);
    }

    fn link(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        for node in &session.ids {
            self.by_node.entry(*node).or_default().push(id);
        }
    }

    fn unlink(&mut self, id: SessionId, nodes: &[NodeId]) {
        for node in nodes {
            if let Some(sessions) = self.by_node.get_mut(node) {
                sessions.retain(|other| *other != id);
                if sessions.is_empty() {
                    self.by_node.remove(node);
                }
            }
        }
    }

    pub(super) fn remove(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.remove(&id) {
            self.unlink(id, &session.ids);
        }
    }

    /// Forgets silent sessions; tells how many.
    pub(super) fn purge(&mut self, now: Time, after: Time) -> usize {
        let silent: Vec<SessionId> =
            self.sessions.values().filter(|session| session.heard + after <= now).map(|session| session.id).collect();
        for id in &silent {
            self.remove(*id);
        }
        silent.len()
    }

    pub(super) fn by_id(&self, node: NodeId) -> Option<&Session> {
        let id = self.by_node.get(&node)?.last()?;
        self.sessions.get(id)
    }

    pub(super) fn by_slot(&self, slot: u32) -> Option<&Session> {
        let node = self.slots.get(usize::try_from(slot).ok()?).filter(|_| slot != 0)?;
        self.by_id(*node)
    }

    pub(super) fn slots(&self) -> &[NodeId] {
        &self.slots
    }

    /// Slots are given out in order when an id is first named, and stay (spec 10 §10).
    pub(super) fn slot_of(&mut self, node: NodeId) -> u32 {
        if self.slots.is_empty() {
            self.slots.push(NodeId::default());
        }
        *self.slot_of.entry(node).or_insert_with(|| {
            self.slots.push(node);
            u32::try_from(self.slots.len() - 1).unwrap_or_default()
        })
    }

    pub(super) fn restore_slots(&mut self, slots: impl IntoIterator<Item = NodeId>) {
        for node in slots.into_iter().skip(1) {
            self.slot_of(node);
        }
    }

    /// Registered nodes nearest to `node` by the number of differing bits, without itself; ties: higher id first.
    pub(super) fn nearest(&self, node: NodeId, own: SessionId, count: usize) -> Vec<NodeId> {
        let mut found: Vec<(u32, std::cmp::Reverse<NodeId>)> = self
            .sessions
            .values()
            .filter(|session| session.registered && session.id != own)
            .map(Session::default_id)
            .filter(|id| *id != node)
            .map(|id| (distance(node, id), std::cmp::Reverse(id)))
            .collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().take(count.min(NEIGHBOURS_MAX)).map(|(_, id)| id.0).collect()
    }

    pub(super) fn views(&self, now: Time, prefix: &str, limit: usize) -> Vec<SessionView> {
        let matches = |id: &NodeId| {
            let text = id.to_string();
            text.strip_prefix("0x").is_some_and(|digits| digits.starts_with(prefix))
        };
        self.sessions
            .values()
            .filter(|session| session.registered && session.ids.iter().any(matches))
            .take(limit)
            .map(|session| SessionView {
                ids: session.ids.clone(),
                address: session.address,
                silent_for: now.saturating_sub(session.heard),
                encryptions: session.member.encryptions.clone(),
                is_public: session.is_public(),
            })
            .collect()
    }
}

fn distance(a: NodeId, b: NodeId) -> u32 {
    a.as_bytes().iter().zip(b.as_bytes()).map(|(a, b)| (a ^ b).count_ones()).sum()
}
