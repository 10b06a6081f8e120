//! Answers: handshakes that other nodes begin, and pings.

use std::net::SocketAddr;

use bytes::Bytes;
use golem_model::NodeId;
use golem_net_relay_wire::SessionId;
use golem_net_relay_wire::challenge::{NODE_DIFFICULTY, NODE_DIFFICULTY_MAX};
use golem_net_relay_wire::message::{
    ChallengeRequest, Empty, Packet, ResponseKind, SessionRequest, SessionResponse, StatusCode,
};
use golem_net_relay_wire::proof::{self, Proved};
use prost::Message;

use super::{Effect, Node, ProofFor, Timer};
use crate::Time;
use crate::proof::Proof;
use crate::session::{Session, SessionKind};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Time = Time::from_secs(16);
/// Handshakes of others at once. Anybody can begin one, so the oldest gives way.
const INCOMING_MAX: usize = 1024;

/// A handshake that another node began.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) address: SocketAddr,
    request_id: u64,
    theirs: ChallengeRequest,
    claimed: NodeId,
    challenge: [u8; 16],
    since: Time,
    /// The second request, once its proof was found good.
    proved: Option<(u64, Proved, Vec<String>)>,
}

impl Node {
    pub(super) fn on_session_request(
        &mut self,
        now: Time,
        from: SocketAddr,
        session: Option<SessionId>,
        request_id: u64,
        hello: SessionRequest,
    ) {
        if !self.config.direct || self.stopping {
            return;
        }
        match session {
            None => self.on_hello(now, from, request_id, hello),
            Some(session) => self.on_solution(from, session, request_id, hello),
        }
    }

    fn on_hello(&mut self, now: Time, from: SocketAddr, request_id: u64, hello: SessionRequest) {
        let Some(theirs) = hello.challenge_req.filter(|challenge| challenge.difficulty <= NODE_DIFFICULTY_MAX) else {
            return;
        };
        let claimed = hello.identities.first().and_then(|identity| NodeId::try_from(&*identity.node_id).ok());
        let Some(claimed) = claimed.filter(|id| !self.is_own(*id)) else { return };
        let known = self.incoming.iter().find(|(_, incoming)| {
            incoming.address == from && incoming.request_id == request_id && incoming.theirs == theirs
        });
        let (session, challenge) = match known {
            Some((session, incoming)) => (*session, incoming.challenge),
            None => {
                let (session, challenge) = (self.random_session(), self.rng.bytes());
                while self.incoming.len() >= INCOMING_MAX {
                    let Some(oldest) = self.incoming_order.pop_front() else { break };
                    self.incoming.remove(&oldest);
                }
                let incoming =
                    Incoming { address: from, request_id, theirs, claimed, challenge, since: now, proved: None };
                self.incoming.insert(session, incoming);
                self.incoming_order.push_back(session);
                self.timers.set(now + HANDSHAKE_TIMEOUT, Timer::Incoming(session));
                (session, challenge)
            }
        };
        let answer = SessionResponse {
            challenge_req: Some(ChallengeRequest::new(NODE_DIFFICULTY, challenge)),
            ..SessionResponse::default()
        };
        let kind = ResponseKind::Session(answer);
        self.send_packet(from, &Packet::response(Some(session), request_id, StatusCode::Ok, kind));
    }

    fn on_solution(&mut self, from: SocketAddr, session: SessionId, request_id: u64, hello: SessionRequest) {
        if let Some((id, answer)) = self.sessions.get(&session).and_then(|session| session.handshake_answer.clone()) {
            // A copy of a request that was answered.
            if id == request_id && self.is_established(session, from) {
                self.effects.push_back(Effect::Send { to: from, data: answer });
            }
            return;
        }
        let Some(incoming) = self.incoming.get_mut(&session).filter(|incoming| incoming.address == from) else {
            return;
        };
        let Some(response) = hello.challenge_resp.filter(|_| incoming.proved.is_none()) else { return };
        let proved = proof::check(&incoming.challenge, NODE_DIFFICULTY, &response)
            .ok()
            .filter(|proved| proved.keys.first().is_some_and(|key| key.node_id() == incoming.claimed));
        match proved {
            Some(proved) => {
                let (challenge, difficulty) = (incoming.theirs.challenge.clone(), incoming.theirs.difficulty);
                incoming.proved = Some((request_id, proved, hello.supported_encryptions));
                self.ask_proof(ProofFor::Incoming(session), challenge, difficulty);
            }
            None => self.refuse_incoming(session),
        }
    }

    fn refuse_incoming(&mut self, session: SessionId) {
        if let Some(incoming) = self.incoming.remove(&session) {
            self.send_packet(incoming.address, &Packet::disconnected(session));
        }
    }

    pub(super) fn incoming_proved(&mut self, now: Time, session: SessionId, proof: Option<Proof>) {
        let Some(proof) = proof else { return self.refuse_incoming(session) };
        let Some(incoming) = self.incoming.remove(&session) else { return };
        let Some((request_id, proved, encryptions)) = incoming.proved else { return };
        let answer = SessionResponse {
            challenge_resp: Some(proof.into_response(&self.session_public)),
            supported_encryptions: self.encryptions(),
            ..SessionResponse::default()
        };
        let kind = ResponseKind::Session(answer);
        let packet = Packet::response(Some(session), request_id, StatusCode::Ok, kind);
        let data: Bytes = packet.encode_to_vec().into();
        self.learn_proved(&proved, &encryptions);
        let mut established = Session::new(now, session, incoming.address, SessionKind::Node(incoming.claimed), false);
        established.handshake_answer = Some((request_id, data.clone()));
        self.add_session(now, established, incoming.claimed);
        self.effects.push_back(Effect::Send { to: incoming.address, data });
        self.ping(now, session);
    }

    pub(super) fn expire_incoming(&mut self, now: Time, session: SessionId) {
        if self.incoming.get(&session).is_some_and(|incoming| incoming.since + HANDSHAKE_TIMEOUT <= now) {
            self.refuse_incoming(session);
            self.incoming_order.retain(|id| *id != session);
        }
    }

    /// The relay checks from another port whether we can be reached; a node must name a session that lives.
    pub(super) fn on_ping(&mut self, now: Time, from: SocketAddr, session: Option<SessionId>, request_id: u64) {
        let Some(session) = session else { return };
        let from_relay = Some(session) == self.relay.session() && (self.config.direct || from == self.config.relay);
        if from_relay || self.is_established(session, from) {
            let pong = Packet::response(Some(session), request_id, StatusCode::Ok, ResponseKind::Pong(Empty {}));
            self.send_packet(from, &pong);
        } else if !self.incoming.contains_key(&session) && Some(session) != self.relay.session() {
            self.tell_unknown(now, from, session);
        }
    }
}
