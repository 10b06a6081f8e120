use bytes::Bytes;
use golem_keys::{PublicKey, Signature};
use golem_net_relay_wire::message::ChallengeResponse;

/// Which challenge an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProofToken(pub(crate) u64);

/// Answer of this node's identities to a challenge.
#[derive(Clone, Debug)]
pub struct Proof {
    pub solution: Bytes,
    /// Over the digest of the solution, one per identity, default first.
    pub signatures: Vec<Signature>,
    /// Over the digest of the session key, one per identity, default first.
    pub session_signatures: Vec<Signature>,
}

impl Proof {
    pub(crate) fn into_response(self, session_key: &PublicKey) -> ChallengeResponse {
        let bytes = |signature: &Signature| Bytes::copy_from_slice(signature.as_bytes());
        ChallengeResponse {
            solution: self.solution,
            signatures: self.signatures.iter().map(bytes).collect(),
            session_sign: self.session_signatures.iter().map(bytes).collect(),
            session_pub_key: Bytes::copy_from_slice(session_key.as_bytes()),
        }
    }
}
