//! Datagrams and messages of the relay protocol, byte for byte (spec 10 §2 to §5, §15).
//!
//! [`Datagram`] is what one UDP payload holds: a [`Forward`] or a [`message::Packet`]. [`challenge`] solves and
//! checks proofs of work, [`proof`] what is signed over them, [`seal`] encrypts payloads between two session keys.
//! Deliberately absent: sessions, timers and retries (crate `golem-net-relay-core`), and any I/O.

pub mod challenge;
mod datagram;
pub mod message;
pub mod proof;
pub mod seal;
mod session_id;

pub use datagram::{BadDatagram, Datagram, FORWARD_HEADER_BYTES, Flags, Forward};
pub use session_id::SessionId;

/// Slot of a Forward packet on a direct session.
pub const DIRECT_SLOT: u32 = 0;
/// Port on which a relay listens by default.
pub const RELAY_PORT: u16 = 7477;
/// The encryption that clients of the successor protocol announce (spec 10 §15).
pub const ENCRYPTION: &str = "Aes256GcmSiv";
/// Version that our node names in its first Session request; the newest relays refuse lower ones (spec 10 §15).
pub const CLIENT_VERSION: &str = "0.7.0";
