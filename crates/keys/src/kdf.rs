//! Derivation of the keys of a keystore file from its password, at a bounded cost.

use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::KeystoreError;

/// Some tens of seconds of work; common files use 10 240 to 1 000 000.
const PBKDF2_ROUNDS_MAX: u32 = 20_000_000;

/// Memory of one scrypt run; the wallets' usual parameters take 256 MiB.
const SCRYPT_BYTES_MAX: u64 = 1 << 30;

/// `n · r · p`; the wallets' usual parameters give 2^21.
const SCRYPT_WORK_MAX: u64 = 1 << 25;

/// Only the first 32 bytes are used.
const DERIVED_BYTES_MAX: usize = 256;

/// How a new keystore derives its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kdf {
    /// What every official key uses; right for keys without a password, where cost protects nothing.
    Quick,
    /// scrypt with 64 MiB, for keys with a password.
    Costly,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
pub(crate) enum KdfParams {
    Pbkdf2 { c: u32, dklen: usize, prf: Prf, salt: String },
    Scrypt { dklen: usize, n: u64, p: u32, r: u32, salt: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Prf {
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
}

impl KdfParams {
    pub(crate) fn new(kdf: Kdf, salt: [u8; 32]) -> Self {
        let salt = hex::encode(salt);
        match kdf {
            Kdf::Quick => Self::Pbkdf2 { c: 10_240, dklen: 32, prf: Prf::HmacSha256, salt },
            Kdf::Costly => Self::Scrypt { dklen: 32, n: 1 << 16, p: 1, r: 8, salt },
        }
    }

    /// The two halves: cipher key and authentication key.
    pub(crate) fn derive(&self, password: &str) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let (Self::Pbkdf2 { salt, dklen, .. } | Self::Scrypt { salt, dklen, .. }) = self;
        let salt = hex::decode(salt).map_err(|_| KeystoreError::Format("salt is not hex".to_owned()))?;
        if !(32..=DERIVED_BYTES_MAX).contains(dklen) {
            return Err(KeystoreError::Format(format!("dklen {dklen} is not in 32..={DERIVED_BYTES_MAX}")));
        }
        let mut long = Zeroizing::new(vec![0; *dklen]);
        match self {
            Self::Pbkdf2 { c, .. } => {
                if !(1..=PBKDF2_ROUNDS_MAX).contains(c) {
                    return Err(KeystoreError::Cost(format!("c {c} is not in 1..={PBKDF2_ROUNDS_MAX}")));
                }
                pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, *c, &mut long);
            }
            Self::Scrypt { n, p, r, .. } => {
                let params = scrypt_params(*n, *r, *p)?;
                scrypt::scrypt(password.as_bytes(), &salt, &params, &mut long)
                    .map_err(|_| KeystoreError::Format(format!("dklen {dklen} is refused by scrypt")))?;
            }
        }
        let mut short = Zeroizing::new([0; 32]);
        for (to, from) in short.iter_mut().zip(long.iter()) {
            *to = *from;
        }
        Ok(short)
    }
}

fn scrypt_params(n: u64, r: u32, p: u32) -> Result<scrypt::Params, KeystoreError> {
    let block = u64::from(r) * 128;
    let memory = n.saturating_mul(block).saturating_add(u64::from(p).saturating_mul(block));
    let work = n.saturating_mul(u64::from(r)).saturating_mul(u64::from(p));
    if memory > SCRYPT_BYTES_MAX || work > SCRYPT_WORK_MAX {
        return Err(KeystoreError::Cost(format!("scrypt n {n}, r {r}, p {p}")));
    }
    let refused = || KeystoreError::Format(format!("scrypt refuses n {n}, r {r}, p {p}"));
    if !n.is_power_of_two() {
        return Err(refused());
    }
    let log_n = u8::try_from(n.trailing_zeros()).map_err(|_| refused())?;
    scrypt::Params::new(log_n, r, p).map_err(|_| refused())
}
