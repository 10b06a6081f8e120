//! The words that all crates share: ids, amounts, time stamps, bus messages and REST bodies by theme.
//!
//! No I/O, no clock, no randomness. Wire types stand beside the chapter of the specification they follow;
//! domain state lives in the cores, not here.

pub mod address;
pub mod call;
mod node_id;

pub use call::{Call, Caller, StreamCall};
pub use node_id::{NodeId, ParseNodeIdError};
