//! Digests of `hash:` locations (spec 53 §1.1): SHA3, its width told by the number of hex digits.

use std::fmt;

use sha3::{Digest, Sha3_224, Sha3_256, Sha3_384, Sha3_512};

use crate::TransferError;

/// What a content must hash to.
#[derive(Clone, PartialEq, Eq)]
pub struct Expected(Vec<u8>);

impl Expected {
    pub fn parse(algorithm: &str, digits: &str) -> Result<Self, TransferError> {
        if algorithm != "sha3" {
            return Err(TransferError::Digest(algorithm.chars().take(32).collect()));
        }
        if !matches!(digits.len(), 56 | 64 | 96 | 128) {
            return Err(TransferError::Digest(format!("sha3 of length {}", digits.len())));
        }
        Ok(Self(hex::decode(digits)?))
    }

    /// The digest that is the name of a published file, if it is one.
    pub fn of_file_name(name: &str) -> Option<Self> {
        (name.len() == 64).then(|| hex::decode(name).ok()).flatten().map(Self)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn hasher(&self) -> Hasher {
        match self.0.len() {
            28 => Hasher::Sha3_224(Sha3_224::new()),
            32 => Hasher::Sha3_256(Sha3_256::new()),
            48 => Hasher::Sha3_384(Sha3_384::new()),
            _ => Hasher::Sha3_512(Sha3_512::new()),
        }
    }

    pub fn check(&self, hasher: Hasher) -> Result<(), TransferError> {
        let calculated = hasher.finish();
        if calculated == self.0 {
            return Ok(());
        }
        Err(TransferError::Mismatch { calculated: hex::encode(calculated), expected: self.to_string() })
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expected({self})")
    }
}

/// A digest in the making.
#[derive(Clone)]
pub enum Hasher {
    Sha3_224(Sha3_224),
    Sha3_256(Sha3_256),
    Sha3_384(Sha3_384),
    Sha3_512(Sha3_512),
}

impl Hasher {
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha3_224(hasher) => hasher.update(bytes),
            Self::Sha3_256(hasher) => hasher.update(bytes),
            Self::Sha3_384(hasher) => hasher.update(bytes),
            Self::Sha3_512(hasher) => hasher.update(bytes),
        }
    }

    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha3_224(hasher) => hasher.finalize().to_vec(),
            Self::Sha3_256(hasher) => hasher.finalize().to_vec(),
            Self::Sha3_384(hasher) => hasher.finalize().to_vec(),
            Self::Sha3_512(hasher) => hasher.finalize().to_vec(),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}
