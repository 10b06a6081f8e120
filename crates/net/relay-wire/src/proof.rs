//! What the two sides of a handshake sign, and who signed it (spec 10 §5, §15).

use golem_keys::{PublicKey, Signature};
use sha2::{Digest, Sha256};

use crate::challenge;
use crate::message::ChallengeResponse;

/// Signatures that are checked in one handshake; real nodes have a few identities.
pub const IDENTITIES_MAX: usize = 64;

/// The 32 bytes that each identity signs, as they are.
pub fn solution_digest(solution: &[u8]) -> [u8; 32] {
    Sha256::digest(solution).into()
}

/// The 32 bytes by which an identity vouches for a session key.
pub fn session_key_digest(session_key: &PublicKey) -> [u8; 32] {
    Sha256::new().chain_update(b"golem session key").chain_update(session_key.as_bytes()).finalize().into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    #[error("the proof of work is wrong")]
    Work,
    #[error("there is no signature")]
    NoSignature,
    #[error("more than {IDENTITIES_MAX} signatures")]
    TooMany,
    #[error("a signature is malformed")]
    Signature,
    #[error("the session key is not signed by the identities")]
    SessionKey,
}

/// Who answered a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// Default identity first.
    pub keys: Vec<PublicKey>,
    pub session_key: Option<PublicKey>,
}

/// Checks the work, recovers the identities, and checks that they vouch for the session key if there is one.
pub fn check(challenge: &[u8], difficulty: u64, answer: &ChallengeResponse) -> Result<Proved, BadProof> {
    if !challenge::is_solved(challenge, difficulty, &answer.solution) {
        return Err(BadProof::Work);
    }
    if answer.signatures.len() > IDENTITIES_MAX {
        return Err(BadProof::TooMany);
    }
    let digest = solution_digest(&answer.solution);
    let keys = answer.signatures.iter().map(|signature| signer(&digest, signature)).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() {
        return Err(BadProof::NoSignature);
    }
    let session_key = if answer.session_pub_key.is_empty() {
        None
    } else {
        let key = PublicKey::try_from(&*answer.session_pub_key).map_err(|_| BadProof::SessionKey)?;
        let proofs: Vec<&[u8]> = answer.session_sign.iter().map(|proof| &**proof).collect();
        if !vouches(&keys, &key, &proofs) {
            return Err(BadProof::SessionKey);
        }
        Some(key)
    };
    Ok(Proved { keys, session_key })
}

/// Whether each of `proofs` is by the identity in the same place; the default identity must be among them.
pub fn vouches(keys: &[PublicKey], session_key: &PublicKey, proofs: &[&[u8]]) -> bool {
    let digest = session_key_digest(session_key);
    !proofs.is_empty()
        && proofs.len() <= keys.len()
        && proofs.iter().zip(keys).all(|(proof, key)| signer(&digest, proof) == Ok(*key))
}

fn signer(digest: &[u8; 32], signature: &[u8]) -> Result<PublicKey, BadProof> {
    Signature::try_from(signature).and_then(|signature| signature.recover(digest)).map_err(|_| BadProof::Signature)
}
