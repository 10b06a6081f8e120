//! Web3 secret storage, version 3 (spec 21 §2).

use std::fmt;

use aes::cipher::{KeyIvInit, StreamCipher};
use alloy_primitives::keccak256;
use golem_model::NodeId;
use rand::RngCore;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::kdf::KdfParams;
use crate::{Kdf, SecretKey};

/// Real files have some 500 bytes.
const FILE_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    #[error("{0}")]
    Format(String),
    #[error("the key derivation would cost too much: {0}")]
    Cost(String),
    #[error("invalid password")]
    Password,
    #[error("the address in the file is {written}, the key inside belongs to {real}")]
    Address { written: NodeId, real: NodeId },
}

/// An encrypted key. Reading one checks its form, opening it checks the password and the address.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keystore {
    id: String,
    version: u64,
    crypto: Crypto,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Crypto {
    cipher: Cipher,
    cipherparams: CipherParams,
    ciphertext: String,
    #[serde(flatten)]
    kdf: KdfParams,
    mac: String,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Cipher {
    #[serde(rename = "aes-128-ctr")]
    Aes128Ctr,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

impl Keystore {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, KeystoreError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(KeystoreError::Format(format!("more than {FILE_BYTES_MAX} bytes")));
        }
        let store: Self = serde_json::from_str(text).map_err(|error| KeystoreError::Format(error.to_string()))?;
        store.iv()?;
        store.ciphertext()?;
        store.mac()?;
        store.address()?;
        Ok(store)
    }

    /// Encrypts `secret` with `password`.
    pub fn seal(secret: &SecretKey, password: &str, kdf: Kdf) -> Result<Self, KeystoreError> {
        let (mut salt, mut iv) = ([0; 32], [0; 16]);
        rand::rng().fill_bytes(&mut salt);
        rand::rng().fill_bytes(&mut iv);
        let kdf = KdfParams::new(kdf, salt);
        let derived = kdf.derive(password)?;
        let mut ciphertext = *secret.expose();
        apply(&derived, &iv, &mut ciphertext);
        Ok(Self {
            id: uuid::Uuid::new_v4().to_string(),
            version: 3,
            crypto: Crypto {
                cipher: Cipher::Aes128Ctr,
                cipherparams: CipherParams { iv: hex::encode(iv) },
                ciphertext: hex::encode(ciphertext),
                kdf,
                mac: hex::encode(mac(&derived, &ciphertext)),
            },
            address: Some(hex::encode(secret.node_id().as_bytes())),
        })
    }

    /// A new key sealed as fits its password: quick without, costly with one.
    pub fn seal_for(secret: &SecretKey, password: &str) -> Result<Self, KeystoreError> {
        Self::seal(secret, password, if password.is_empty() { Kdf::Quick } else { Kdf::Costly })
    }

    /// Decrypts the key. This is slow on purpose: keep it off the async threads.
    pub fn open(&self, password: &str) -> Result<SecretKey, KeystoreError> {
        let (iv, mut text) = (self.iv()?, Zeroizing::new(self.ciphertext()?));
        let derived = self.crypto.kdf.derive(password)?;
        if mac(&derived, &text) != self.mac()? {
            return Err(KeystoreError::Password);
        }
        apply(&derived, &iv, &mut text);
        let secret = SecretKey::from_bytes(&text).map_err(|error| KeystoreError::Format(error.to_string()))?;
        let real = secret.node_id();
        match self.address()? {
            Some(written) if written != real => Err(KeystoreError::Address { written, real }),
            _ => Ok(secret),
        }
    }

    /// The node id that the file claims; proved only by [`Self::open`].
    pub fn address(&self) -> Result<Option<NodeId>, KeystoreError> {
        self.address.as_ref().map(|text| bytes::<20>("address", text).map(NodeId::from)).transpose()
    }

    /// The text in one line, as it is sent.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The text in lines, as it is exported.
    pub fn to_json_pretty(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    fn iv(&self) -> Result<[u8; 16], KeystoreError> {
        bytes("iv", &self.crypto.cipherparams.iv)
    }

    fn ciphertext(&self) -> Result<[u8; 32], KeystoreError> {
        bytes("ciphertext", &self.crypto.ciphertext)
    }

    fn mac(&self) -> Result<[u8; 32], KeystoreError> {
        bytes("mac", &self.crypto.mac)
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keystore(of {})", self.address.as_deref().unwrap_or("unknown"))
    }
}

fn bytes<const N: usize>(field: &str, text: &str) -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| KeystoreError::Format(format!("`{field}` is not {N} bytes of hex without 0x")))?;
    Ok(bytes)
}

fn mac(derived: &[u8; 32], ciphertext: &[u8; 32]) -> [u8; 32] {
    let (_, key) = derived.split_at(16);
    keccak256([key, ciphertext].concat()).0
}

fn apply(derived: &[u8; 32], iv: &[u8; 16], text: &mut [u8; 32]) {
    let mut key = [0; 16];
    for (to, from) in key.iter_mut().zip(derived) {
        *to = *from;
    }
    ctr::Ctr128BE::<aes::Aes128>::new(&key.into(), iv.into()).apply_keystream(text);
}
