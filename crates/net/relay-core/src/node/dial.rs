//! Opening a session with a node: our side of the handshake (spec 10 §7, §11).

use std::collections::VecDeque;
use std::net::SocketAddr;

use golem_model::NodeId;
use golem_net_relay_wire::challenge::{NODE_DIFFICULTY, NODE_DIFFICULTY_MAX};
use golem_net_relay_wire::message::{
    ChallengeRequest, ControlKind, Identity, Packet, RequestKind, ResponseKind, ReverseControl, ReverseRequest,
    SessionRequest, Slot, StatusCode, node_id_bytes,
};
use golem_net_relay_wire::{CLIENT_VERSION, SessionId, proof};

use super::{Node, ProofFor, Purpose, REQUEST_TIMEOUT};
use crate::Time;
use crate::proof::Proof;
use crate::session::{Session, SessionKind};

const PROOF_TIMEOUT: Time = Time::from_secs(8);
/// Pause after a way that failed; doubles each time. Meanwhile packets go through the relay.
const DIAL_AGAIN_MIN: Time = Time::from_secs(20);
const DIAL_AGAIN_MAX: Time = Time::from_secs(600);
/// Handshakes that this node begins at once.
const DIALS_MAX: usize = 512;
/// ResumeForwarding is not acknowledged, and a session without it dies: it is sent more than once (spec 10 §7).
const RESUME_COPIES: usize = 3;

#[derive(Debug)]
pub(super) struct Dial {
    address: SocketAddr,
    more: VecDeque<SocketAddr>,
    challenge: [u8; 16],
    session: Option<SessionId>,
}

impl Node {
    /// Tries to reach a node directly, if there is a way that was not tried lately.
    pub(super) fn dial(&mut self, now: Time, node: NodeId) {
        if !self.config.direct || self.stopping || self.dials.len() >= DIALS_MAX {
            return;
        }
        let own = self.public_address;
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if peer.dialling || peer.next_dial > now || !peer.sessions.is_empty() {
            return;
        }
        let wait = (DIAL_AGAIN_MIN * (1 << peer.dial_failures.min(8))).min(DIAL_AGAIN_MAX);
        peer.next_dial = now + wait;
        peer.dial_failures += 1;
        let endpoints: VecDeque<SocketAddr> =
            peer.endpoints.iter().copied().filter(|endpoint| Some(*endpoint) != own).collect();
        if !endpoints.is_empty() {
            self.dial_endpoints(now, node, endpoints);
        } else if own.is_some()
            && let Some(session) = self.relay.session()
        {
            let kind = RequestKind::ReverseConnection(ReverseRequest { node_id: node_id_bytes(node) });
            let to = self.config.relay;
            self.request(now, to, Some(session), kind, REQUEST_TIMEOUT, Purpose::Reverse);
        }
    }

    fn dial_endpoints(&mut self, now: Time, node: NodeId, mut endpoints: VecDeque<SocketAddr>) {
        let Some(address) = endpoints.pop_front() else { return };
        let challenge = self.rng.bytes();
        self.dials.insert(node, Dial { address, more: endpoints, challenge, session: None });
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.dialling = true;
        }
        let hello = SessionRequest {
            challenge_req: Some(ChallengeRequest::new(NODE_DIFFICULTY, challenge)),
            identities: self.identities.iter().map(Identity::from).collect(),
            client_version: CLIENT_VERSION.to_owned(),
            ..SessionRequest::default()
        };
        let timeout = self.config.session_request_timeout;
        self.request(now, address, None, RequestKind::Session(hello), timeout, Purpose::DialHello(node));
    }

    pub(super) fn on_dial_hello(
        &mut self,
        now: Time,
        node: NodeId,
        from: SocketAddr,
        session: Option<SessionId>,
        code: i32,
        kind: Option<ResponseKind>,
    ) {
        let Some(dial) = self.dials.get_mut(&node).filter(|dial| dial.address == from) else { return };
        let challenge = match kind {
            Some(ResponseKind::Session(answer)) if code == i32::from(StatusCode::Ok) => answer.challenge_req,
            _ => None,
        };
        match (session, challenge) {
            (Some(session), Some(challenge)) if challenge.difficulty <= NODE_DIFFICULTY_MAX => {
                dial.session = Some(session);
                self.ask_proof(ProofFor::Dial(node), challenge.challenge, challenge.difficulty);
            }
            _ => self.dial_failed(now, node),
        }
    }

    pub(super) fn dial_proved(&mut self, now: Time, node: NodeId, proof: Option<Proof>) {
        let Some(dial) = self.dials.get(&node) else { return };
        let (address, session) = (dial.address, dial.session);
        let Some(proof) = proof else { return self.dial_failed(now, node) };
        let answer = SessionRequest {
            challenge_resp: Some(proof.into_response(&self.session_public)),
            supported_encryptions: self.encryptions(),
            ..SessionRequest::default()
        };
        self.request(now, address, session, RequestKind::Session(answer), PROOF_TIMEOUT, Purpose::DialProof(node));
    }

    pub(super) fn on_dial_proof(
        &mut self,
        now: Time,
        node: NodeId,
        from: SocketAddr,
        session: Option<SessionId>,
        code: i32,
        kind: Option<ResponseKind>,
    ) {
        let Some(dial) = self.dials.get(&node).filter(|dial| dial.address == from) else { return };
        let expected = dial.session;
        let proved = match kind {
            Some(ResponseKind::Session(answer)) if code == i32::from(StatusCode::Ok) && session == expected => answer
                .challenge_resp
                .and_then(|response| proof::check(&dial.challenge, NODE_DIFFICULTY, &response).ok())
                .map(|proved| (proved, answer.supported_encryptions)),
            _ => None,
        };
        let right = proved.filter(|(proved, _)| proved.keys.first().is_some_and(|key| key.node_id() == node));
        let (Some(session), Some((proved, encryptions))) = (session, right) else {
            if let Some(session) = expected {
                self.send_packet(from, &Packet::disconnected(session));
            }
            return self.dial_failed(now, node);
        };
        self.end_dial(node);
        self.learn_proved(&proved, &encryptions);
        self.add_session(now, Session::new(now, session, from, SessionKind::Node(node), true), node);
        for _ in 0..RESUME_COPIES {
            self.send_packet(from, &Packet::control(session, ControlKind::ResumeForwarding(Slot { slot: 0 })));
        }
        self.ping(now, session);
        self.on_usable(now, node);
    }

    pub(super) fn dial_failed(&mut self, now: Time, node: NodeId) {
        let Some(dial) = self.dials.remove(&node) else { return };
        if dial.more.is_empty() {
            self.end_dial(node);
        } else {
            self.dial_endpoints(now, node, dial.more);
        }
    }

    fn end_dial(&mut self, node: NodeId) {
        self.dials.remove(&node);
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.dialling = false;
        }
    }

    pub(super) fn abort_dial_to(&mut self, now: Time, address: SocketAddr) {
        let node = self.dials.iter().find(|(_, dial)| dial.address == address).map(|(node, _)| *node);
        if let Some(node) = node {
            self.dial_failed(now, node);
        } else if address == self.config.relay {
            self.relay_failed(now);
        }
    }

    /// The node's own handshake with us has ended first. An official node has dropped ours meanwhile (spec 10 §11).
    pub(super) fn dial_overtaken(&mut self, node: NodeId) {
        if self.dials.get(&node).is_some_and(|dial| dial.session.is_none()) {
            self.end_dial(node);
            self.requests.cancel(|purpose| matches!(purpose, Purpose::DialHello(id) if *id == node));
        }
    }

    /// A node that cannot be reached from outside is asked to come to one that can.
    pub(super) fn on_reverse(&mut self, now: Time, reverse: &ReverseControl) {
        let Ok(node) = NodeId::try_from(&*reverse.node_id) else { return };
        if !self.config.direct || self.stopping || self.is_own(node) || self.dials.len() >= DIALS_MAX {
            return;
        }
        let own = self.public_address;
        let endpoints: VecDeque<SocketAddr> = reverse
            .endpoints
            .iter()
            .take(4)
            .filter_map(|endpoint| endpoint.socket_addr())
            .filter(|endpoint| Some(*endpoint) != own && *endpoint != self.config.relay)
            .collect();
        if self.usable_session(node).is_none() && !self.dials.contains_key(&node) && !endpoints.is_empty() {
            self.limit_peers();
            self.peers.entry(node).or_default();
            self.dial_endpoints(now, node, endpoints);
        }
    }
}
