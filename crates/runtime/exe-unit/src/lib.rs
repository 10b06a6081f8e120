//! The exe-unit: supervisor of one activity (spec 51).
//!
//! Started by the provider agent, it binds the address of its activity on the bus, runs batches of commands by driving a
//! runtime, moves files, counts usage and reports both to the daemon. It outlives a restart of its daemon.
//!
//! - [`run`]: the whole program
//! - [`Unit`]: the activity: its state pair, its batches, its commands; [`service`] puts it on the bus
//! - [`batch`]: the event log of a batch, from which results and streams are both read
//! - [`runtime`]: the processes of the runtime, in either run style
//! - [`capture`]: what becomes of output; [`usage`]: counters; [`report`]: what the daemon is told
//!
//! Deliberately absent: what a runtime does inside, money, virtual networks, and payload manifests.

mod agreement;
pub mod batch;
pub mod capture;
mod cli;
mod log;
mod process;
pub mod report;
pub mod runtime;
pub mod service;
mod signals;
mod unit;
pub mod usage;

pub use agreement::{Agreement, AgreementError};
pub use cli::run;
pub use unit::{Options, Unit};
