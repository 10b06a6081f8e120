//! Handshakes without state: session id and challenge follow from the address, a secret and the time (spec 10 §6).

use std::net::{IpAddr, SocketAddr};

use alloy_primitives::Keccak256;
use golem_net_relay_wire::message::{ChallengeRequest, ResponseKind, SessionRequest, SessionResponse, StatusCode};
use golem_net_relay_wire::{SessionId, proof};

use super::table::{Added, Member};
use super::{Now, Server};

/// Seconds for which a session id is given out to an address.
const EPOCH_SECS: u64 = 600;
/// Ids of the present and of this many earlier epochs are valid.
const EPOCHS_BEFORE: u64 = 2;
/// Announced encryptions that are kept and passed on.
const ENCRYPTIONS_MAX: usize = 8;

impl Server {
    pub(super) fn on_session_request(
        &mut self,
        now: Now,
        from: SocketAddr,
        session: Option<SessionId>,
        is_first: bool,
        request_id: u64,
        hello: &SessionRequest,
    ) {
        if !self.may_hello(now.time, from) {
            return;
        }
        if is_first {
            self.counters.establish_start += 1;
            let session = self.session_id(from, now.unix / EPOCH_SECS);
            let challenge = ChallengeRequest::new(self.config.difficulty, self.challenge(session));
            let answer = SessionResponse { challenge_req: Some(challenge), ..SessionResponse::default() };
            self.answer(from, Some(session), request_id, StatusCode::Ok, ResponseKind::Session(answer));
            return;
        }
        let (Some(session), Some(response)) = (session, &hello.challenge_resp) else { return };
        let code = match proof::check(&self.challenge(session), self.config.difficulty, response) {
            Err(_) => StatusCode::BadRequest,
            Ok(_) if !self.is_given_to(session, from, now.unix / EPOCH_SECS) => StatusCode::BadRequest,
            Ok(proved) => {
                self.counters.challenge_valid += 1;
                let with_key = proved.session_key.is_some();
                let member = Member {
                    keys: proved.keys,
                    encryptions: hello.supported_encryptions.iter().take(ENCRYPTIONS_MAX).cloned().collect(),
                    session_key: if with_key { response.session_pub_key.clone() } else { Default::default() },
                    session_proofs: if with_key { response.session_sign.clone() } else { Vec::new() },
                };
                match self.table.add(now.time, session, from, member, self.config.sessions_max) {
                    Added::New => {
                        self.counters.sessions_created += 1;
                        StatusCode::Ok
                    }
                    Added::Renewed => StatusCode::Ok,
                    Added::Conflict => StatusCode::Conflict,
                    Added::Full => StatusCode::TooManyRequests,
                }
            }
        };
        if code == StatusCode::Ok {
            self.counters.establish_finished += 1;
        } else {
            self.counters.establish_error += 1;
        }
        self.answer(from, Some(session), request_id, code, ResponseKind::Session(SessionResponse::default()));
    }

    fn is_given_to(&self, session: SessionId, to: SocketAddr, epoch: u64) -> bool {
        (0..=EPOCHS_BEFORE).any(|ago| self.session_id(to, epoch.saturating_sub(ago)) == session)
    }

    fn session_id(&self, to: SocketAddr, epoch: u64) -> SessionId {
        let mut hash = Keccak256::new();
        match to.ip() {
            IpAddr::V4(ip) => hash.update(ip.octets()),
            IpAddr::V6(ip) => hash.update(ip.octets()),
        }
        hash.update(to.port().to_be_bytes());
        hash.update(self.config.salt);
        hash.update(self.config.difficulty.to_be_bytes());
        hash.update(epoch.to_be_bytes());
        SessionId::from(first_half(&hash.finalize().0))
    }

    fn challenge(&self, session: SessionId) -> [u8; 16] {
        let mut hash = Keccak256::new();
        hash.update(session.as_bytes());
        hash.update(self.config.salt);
        first_half(&hash.finalize().0)
    }
}

fn first_half(hash: &[u8; 32]) -> [u8; 16] {
    hash.first_chunk().copied().unwrap_or_default()
}
