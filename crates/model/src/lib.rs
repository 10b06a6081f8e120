//! The words that all crates share: ids, amounts, time stamps, bus messages and REST bodies by theme.
//!
//! No I/O, no clock, no randomness. Wire types stand beside the chapter of the specification they follow;
//! domain state lives in the cores, not here.

pub mod activity;
pub mod address;
mod amount;
pub mod app_key;
pub mod call;
pub mod control;
pub mod driver;
pub mod exe_unit;
pub mod gftp;
pub mod identity;
pub mod market;
pub mod net;
mod node_id;
pub mod payment;
pub mod reason;
pub mod version;

pub use amount::{Amount, AmountError, DECIMALS, ParseAmountError};
pub use call::{Call, Caller, StreamCall};
pub use node_id::{NodeId, ParseNodeIdError};
