use std::fmt;
use std::str::FromStr;

use golem_model::NodeId;
use rand::RngCore;
use secp256k1::{Message, SECP256K1};
use zeroize::Zeroizing;

use crate::{KeyError, PublicKey, Signature};

/// A private key. It is erased when dropped and never printed.
#[derive(Clone)]
pub struct SecretKey(secp256k1::SecretKey);

impl SecretKey {
    /// A new key from the random source of the operating system's choice.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        loop {
            rand::rng().fill_bytes(bytes.as_mut());
            // Refused once in 2^128 times.
            if let Ok(key) = Self::from_bytes(&bytes) {
                return key;
            }
        }
    }

    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        secp256k1::SecretKey::from_byte_array(*bytes).map(Self).map_err(|_| KeyError::Secret)
    }

    /// The number itself: whoever sees it owns the node.
    pub fn expose(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.secret_bytes())
    }

    pub fn public(&self) -> PublicKey {
        PublicKey::from(self.0.public_key(SECP256K1))
    }

    pub fn node_id(&self) -> NodeId {
        self.public().node_id()
    }

    /// Signs `message` as it is, with the nonce of RFC 6979: the same input gives the same signature.
    pub fn sign(&self, message: &[u8; 32]) -> Signature {
        Signature::from(&SECP256K1.sign_ecdsa_recoverable(Message::from_digest(*message), &self.0))
    }

    /// SHA-256 of the compressed point that both sides of an exchange reach (spec 10 §14).
    pub fn shared_secret(&self, peer: &PublicKey) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let shared = secp256k1::ecdh::SharedSecret::new(&peer.point()?, &self.0);
        Ok(Zeroizing::new(shared.secret_bytes()))
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

impl FromStr for SecretKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text, bytes.as_mut()).map_err(|_| KeyError::Secret)?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.node_id())
    }
}
