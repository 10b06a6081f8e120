use std::fmt;

use golem_model::NodeId;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, SECP256K1};

use crate::{KeyError, PublicKey};

/// A recoverable signature `v ‖ r ‖ s`, v = 0 or 1 in front (spec 21 §1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; 65]);

impl Signature {
    pub const fn as_bytes(&self) -> &[u8; 65] {
        &self.0
    }

    /// The key that signed `message`.
    pub fn recover(&self, message: &[u8; 32]) -> Result<PublicKey, KeyError> {
        let [v, rest @ ..] = &self.0;
        let id = RecoveryId::try_from(i32::from(*v)).map_err(|_| KeyError::Signature)?;
        let signature = RecoverableSignature::from_compact(rest, id).map_err(|_| KeyError::Signature)?;
        SECP256K1
            .recover_ecdsa(Message::from_digest(*message), &signature)
            .map(PublicKey::from)
            .map_err(|_| KeyError::Signature)
    }
}

impl From<&RecoverableSignature> for Signature {
    fn from(signature: &RecoverableSignature) -> Self {
        let (id, compact) = signature.serialize_compact();
        let mut bytes = [0; 65];
        let [v, rest @ ..] = &mut bytes;
        *v = u8::try_from(i32::from(id)).unwrap_or_default();
        *rest = compact;
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = KeyError;

    fn try_from(bytes: &[u8]) -> Result<Self, KeyError> {
        match <[u8; 65]>::try_from(bytes) {
            Ok(bytes @ [0..=3, ..]) => Ok(Self(bytes)),
            _ => Err(KeyError::Signature),
        }
    }
}

impl AsRef<[u8]> for Signature {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", hex::encode(self.0))
    }
}

/// The node that signed `message`.
pub fn recover(message: &[u8; 32], signature: &[u8]) -> Result<NodeId, KeyError> {
    Ok(Signature::try_from(signature)?.recover(message)?.node_id())
}

/// Whether `signer` signed `message`.
pub fn verify(message: &[u8; 32], signature: &[u8], signer: NodeId) -> bool {
    recover(message, signature) == Ok(signer)
}
