//! The WASM runtime: runs programs of WASI preview 1 from packages in the official format (spec 52 §6).
//!
//! A program of its own for each command: `deploy` checks the package, makes its volumes and compiles its modules into a
//! cache; `start` checks that all of them load; `run` maps the compiled module and calls it.
//!
//! - [`run`]: the whole program
//! - [`package`]: what a package may hold, [`deployment`]: what `deploy` leaves for the other commands
//! - [`cache`]: compiled modules on disk, [`guest`]: the sandbox of one run
//!
//! Deliberately absent: images and downloads (the supervisor brings the package), limits of time (the supervisor kills),
//! networks and environment variables inside the sandbox.

pub mod cache;
mod cli;
pub mod deployment;
pub mod guest;
pub mod package;

pub use cli::run;
