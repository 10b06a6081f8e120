//! Encryption of Forward payloads between two session keys (spec 10 §15).

use aes_gcm_siv::aead::AeadInOut;
use aes_gcm_siv::{Aes256GcmSiv, KeyInit, Nonce};
use bytes::{Bytes, BytesMut};
use golem_keys::{KeyError, PublicKey, SecretKey};

pub const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// What sealing adds to a payload.
pub const OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// The key that two nodes share while both keep their session keys.
#[derive(Clone)]
pub struct Seal(Aes256GcmSiv);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload was not sealed with the key of this session")]
pub struct NotSealed;

impl Seal {
    pub fn new(own: &SecretKey, peer: &PublicKey) -> Result<Self, KeyError> {
        let shared = own.shared_secret(peer)?;
        Ok(Self(Aes256GcmSiv::new((&*shared).into())))
    }

    /// `nonce ‖ ciphertext ‖ tag`. A nonce that comes twice does no more than show that a payload came twice.
    pub fn seal(&self, nonce: [u8; NONCE_BYTES], payload: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(payload.len() + OVERHEAD_BYTES);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(payload);
        let mut body = out.split_off(NONCE_BYTES);
        // Fails only above 64 GiB; a datagram is at most 64 KiB.
        match self.0.encrypt_inout_detached(&Nonce::from(nonce), b"", (&mut *body).into()) {
            Ok(tag) => {
                out.unsplit(body);
                out.extend_from_slice(&tag);
                out.freeze()
            }
            Err(_) => Bytes::new(),
        }
    }

    pub fn open(&self, sealed: &[u8]) -> Result<Bytes, NotSealed> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(NotSealed)?;
        let (body, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(NotSealed)?;
        let mut body = BytesMut::from(body);
        self.0
            .decrypt_inout_detached(&Nonce::from(*nonce), b"", (&mut *body).into(), &(*tag).into())
            .map_err(|_| NotSealed)?;
        Ok(body.freeze())
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(…)")
    }
}
