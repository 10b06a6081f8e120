//! secp256k1 keys, node ids, signatures and keystore files.
//!
//! A [`SecretKey`] signs 32 bytes as they are and gives a [`Signature`] `v ‖ r ‖ s`; [`recover`] tells which node
//! made one. A [`Keystore`] is a Web3 secret storage file, opened with any parameters of a bounded cost.
//! Deliberately absent: which keys a node has (crate `golem-identity`), and hashing of what is signed.

mod kdf;
mod keystore;
mod public;
mod secret;
mod signature;

pub use kdf::Kdf;
pub use keystore::{Keystore, KeystoreError};
pub use public::PublicKey;
pub use secret::SecretKey;
pub use signature::{Signature, recover, verify};

/// Bytes that are no key or no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a secret key is 64 hex digits without `0x`, a number between 0 and the order of the curve")]
    Secret,
    #[error("a public key is 64 bytes, a point of the curve")]
    Public,
    #[error("a signature is 65 bytes: recovery id 0 or 1, then r and s")]
    Signature,
}
