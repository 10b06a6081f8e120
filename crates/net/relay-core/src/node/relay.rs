//! The session with the relay (spec 10 §6) and what is asked over it.

use golem_net_relay_wire::challenge::RELAY_DIFFICULTY_MAX;
use golem_net_relay_wire::message::{
    ControlKind, Empty, Identity, NeighboursRequest, Packet, Register, RequestKind, ResponseKind, SessionRequest, Slot,
    StatusCode,
};
use golem_net_relay_wire::{CLIENT_VERSION, ENCRYPTION, SessionId};

use super::{Effect, Node, ProofFor, Purpose, QueryId, REQUEST_TIMEOUT, Timer, Unreachable};
use crate::Time;
use crate::peer::NodeInfo;
use crate::proof::Proof;
use crate::session::{Session, SessionKind};

/// Time-out of the request that carries the solution; relays of 0.17.6 do not count the solving.
const PROOF_TIMEOUT: Time = Time::from_secs(8);
const RETRY_MIN: Time = Time::from_millis(500);
/// Official clients wait up to 300 s; a relay that comes back should not wait that long for its nodes.
const RETRY_MAX: Time = Time::from_secs(30);

#[derive(Debug)]
pub(super) enum Relay {
    Down { failures: u32 },
    Hello { failures: u32 },
    Proving { session: SessionId, failures: u32 },
    Up { session: SessionId },
}

impl Relay {
    pub(super) const fn down() -> Self {
        Self::Down { failures: 0 }
    }

    /// The established session.
    pub(super) const fn session(&self) -> Option<SessionId> {
        match self {
            Self::Up { session } => Some(*session),
            _ => None,
        }
    }

    const fn failures(&self) -> u32 {
        match self {
            Self::Down { failures } | Self::Hello { failures } | Self::Proving { failures, .. } => *failures,
            Self::Up { .. } => 0,
        }
    }
}

impl Node {
    pub(super) fn dial_relay(&mut self, now: Time) {
        let Relay::Down { failures } = self.relay else { return };
        if self.stopping || self.identities.is_empty() {
            return;
        }
        self.relay = Relay::Hello { failures };
        let hello = SessionRequest {
            identities: self.identities.iter().map(Identity::from).collect(),
            client_version: CLIENT_VERSION.to_owned(),
            ..SessionRequest::default()
        };
        let (to, timeout) = (self.config.relay, self.config.session_request_timeout);
        self.request(now, to, None, RequestKind::Session(hello), timeout, Purpose::RelayHello);
    }

    pub(super) fn on_relay_hello(
        &mut self,
        now: Time,
        session: Option<SessionId>,
        code: i32,
        kind: Option<ResponseKind>,
    ) {
        let Relay::Hello { failures } = self.relay else { return };
        let challenge = match kind {
            Some(ResponseKind::Session(answer)) if code == i32::from(StatusCode::Ok) => answer.challenge_req,
            _ => None,
        };
        match (session, challenge) {
            (Some(session), Some(challenge)) if challenge.difficulty <= RELAY_DIFFICULTY_MAX => {
                self.relay = Relay::Proving { session, failures };
                self.ask_proof(ProofFor::Relay, challenge.challenge, challenge.difficulty);
            }
            _ => self.relay_failed(now),
        }
    }

    pub(super) fn relay_proved(&mut self, now: Time, proof: Option<Proof>) {
        let Relay::Proving { session, .. } = self.relay else { return };
        let Some(proof) = proof else { return self.relay_failed(now) };
        let answer = SessionRequest {
            challenge_resp: Some(proof.into_response(&self.session_public)),
            supported_encryptions: self.encryptions(),
            ..SessionRequest::default()
        };
        let to = self.config.relay;
        self.request(now, to, Some(session), RequestKind::Session(answer), PROOF_TIMEOUT, Purpose::RelayProof);
    }

    /// What we announce.
    pub(super) fn encryptions(&self) -> Vec<String> {
        if self.config.encrypt { vec![ENCRYPTION.to_owned()] } else { Vec::new() }
    }

    pub(super) fn on_relay_proof(&mut self, now: Time, session: Option<SessionId>, code: i32) {
        let Relay::Proving { session: expected, .. } = self.relay else { return };
        if session != Some(expected) || code != i32::from(StatusCode::Ok) {
            self.send_packet(self.config.relay, &Packet::disconnected(expected));
            return self.relay_failed(now);
        }
        let to = self.config.relay;
        self.relay = Relay::Up { session: expected };
        self.sessions.insert(expected, Session::new(now, expected, to, SessionKind::Relay, true));
        self.timers.set(now + self.config.keep_alive_after, Timer::KeepAlive(expected));
        self.send_packet(to, &Packet::control(expected, ControlKind::ResumeForwarding(Slot { slot: 0 })));
        self.register(now);
        self.ping(now, expected);
        self.effects.push_back(Effect::RelayUp);
        self.look_up_waiting(now);
    }

    pub(super) fn register(&mut self, now: Time) {
        let Some(session) = self.relay.session() else { return };
        let kind = RequestKind::Register(Register::default());
        self.request(now, self.config.relay, Some(session), kind, REQUEST_TIMEOUT, Purpose::Register);
    }

    pub(super) fn on_registered(&mut self, kind: Option<ResponseKind>) {
        if let Some(ResponseKind::Register(register)) = kind {
            self.public_address = register.endpoints.iter().find_map(|endpoint| endpoint.socket_addr());
        }
    }

    /// The handshake failed: again, later each time.
    pub(super) fn relay_failed(&mut self, now: Time) {
        if matches!(self.relay, Relay::Up { .. } | Relay::Down { .. }) {
            return;
        }
        let failures = self.relay.failures();
        let wait = (RETRY_MIN * (1 << failures.min(10))).min(RETRY_MAX);
        let wait = wait.mul_f64(self.rng.jitter());
        self.relay = Relay::Down { failures: failures + 1 };
        self.timers.set(now + wait, Timer::RelayRetry);
    }

    /// The relay does not know us any more, or is silent: everything learnt from it may be wrong (spec 10 §14).
    pub(super) fn relay_lost(&mut self, now: Time) {
        if let Some(session) = self.relay.session() {
            self.close_session(now, session);
        }
    }

    pub(super) fn relay_closed(&mut self, now: Time) {
        self.relay = Relay::down();
        self.public_address = None;
        self.slots.clear();
        self.unknown_slots.clear();
        for peer in self.peers.values_mut() {
            peer.slot = None;
        }
        self.effects.push_back(Effect::RelayDown);
        self.timers.set(now, Timer::RelayRetry);
    }

    /// Asks the relay for nodes whose ids are near to ours.
    pub fn neighbours(&mut self, now: Time, count: u32) -> QueryId {
        let query = self.next_query();
        match self.relay.session() {
            Some(session) => {
                let kind = RequestKind::Neighbours(NeighboursRequest { count, public_key: true });
                self.request(now, self.config.relay, Some(session), kind, REQUEST_TIMEOUT, Purpose::Neighbours(query));
            }
            None => self.effects.push_back(Effect::Neighbours { query, result: Err(Unreachable::NoRelay) }),
        }
        query
    }

    pub(super) fn on_neighbours(&mut self, now: Time, query: QueryId, code: i32, kind: Option<ResponseKind>) {
        let result = match kind {
            Some(ResponseKind::Neighbours(answer)) if code == i32::from(StatusCode::Ok) => {
                let mut nodes: Vec<NodeInfo> = Vec::new();
                for info in answer.nodes.iter().filter_map(NodeInfo::read) {
                    // Official relays name a node once per identity, and us through our own aliases.
                    let is_new = nodes.iter().all(|known| known.default_id() != info.default_id());
                    if is_new && info.ids.iter().all(|id| !self.is_own(*id)) {
                        nodes.push(info);
                    }
                }
                Ok(nodes)
            }
            _ => Err(Unreachable::Refused(code)),
        };
        if let Ok(nodes) = &result {
            for info in nodes {
                self.learn(now, info);
            }
        }
        self.effects.push_back(Effect::Neighbours { query, result });
    }

    pub(super) fn ping(&mut self, now: Time, session: SessionId) {
        let Some(to) = self.sessions.get(&session).map(|session| session.address) else { return };
        let timeout = super::sessions::PING_TIMEOUT;
        self.request(now, to, Some(session), RequestKind::Ping(Empty {}), timeout, Purpose::Ping(session));
    }
}
