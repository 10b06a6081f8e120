//! Protocol between an exe-unit and a runtime, both ends (spec 52 §1 to §3).
//!
//! - [`argv`]: the command line that a runtime is given, in the order that all supervisors use
//! - [`deploy`]: what `deploy` prints, and the offer template
//! - [`proto`]: messages of the blocking protocol, [`frame`]: how they are cut
//! - [`Client`]: the exe-unit's end of a blocking runtime; output is told apart by the process id of the `run` answer
//! - [`serve`] and [`Service`]: the runtime's end
//!
//! Deliberately absent: starting and killing processes, and what a runtime does.

pub mod argv;
mod client;
pub mod deploy;
pub mod frame;
pub mod proto;
mod server;

pub use client::{Client, ClientError, Process, RequestIds, RuntimeEvent};
pub use server::{Events, Service, serve};
