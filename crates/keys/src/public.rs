use std::fmt;

use alloy_primitives::keccak256;
use golem_model::NodeId;

use crate::KeyError;

/// A public key as peers write it: `x ‖ y`, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 64]);

impl PublicKey {
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// The last 20 bytes of the Keccak-256 of the key.
    pub fn node_id(&self) -> NodeId {
        let hash = keccak256(self.0);
        let mut id = [0; 20];
        for (to, from) in id.iter_mut().zip(hash.iter().skip(12)) {
            *to = *from;
        }
        NodeId::from(id)
    }

    pub(crate) fn point(&self) -> Result<secp256k1::PublicKey, KeyError> {
        let mut full = [4; 65];
        for (to, from) in full.iter_mut().skip(1).zip(&self.0) {
            *to = *from;
        }
        secp256k1::PublicKey::from_byte_array_uncompressed(full).map_err(|_| KeyError::Public)
    }
}

impl From<secp256k1::PublicKey> for PublicKey {
    fn from(key: secp256k1::PublicKey) -> Self {
        let mut bytes = [0; 64];
        for (to, from) in bytes.iter_mut().zip(key.serialize_uncompressed().iter().skip(1)) {
            *to = *from;
        }
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for PublicKey {
    type Error = KeyError;

    fn try_from(bytes: &[u8]) -> Result<Self, KeyError> {
        let key = Self(bytes.try_into().map_err(|_| KeyError::Public)?);
        key.point().map(|_| key)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", hex::encode(self.0))
    }
}
