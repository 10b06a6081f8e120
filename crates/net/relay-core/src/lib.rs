//! Sessions of the relay protocol as pure state machines, for both ends (spec 10).
//!
//! [`Node`] keeps a session with one relay and sessions with other nodes, and finds the way to a node;
//! [`Server`] is the relay. Datagrams, the time and random numbers come in as arguments, [`Effect`]s and
//! [`ServerEffect`]s are polled out. A [`Time`] counts from any fixed moment that the caller chose.
//! Deliberately absent: sockets, private keys of identities (an effect asks for signatures), and what is in a payload.

mod node;
mod peer;
mod proof;
mod random;
mod requests;
mod server;
mod session;
mod timers;

pub use node::{Effect, Node, NodeConfig, QueryId, SessionInfo, Unreachable};
pub use peer::NodeInfo;
pub use proof::{Proof, ProofToken};
pub use random::Random;
pub use server::{Port, Server, ServerConfig, ServerCounters, ServerEffect, SessionView};
pub use session::SessionKind;

/// Monotonic time since a moment that the caller chose.
pub type Time = std::time::Duration;
