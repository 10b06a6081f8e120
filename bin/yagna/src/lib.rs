//! The daemon of a Golem node and the command line that talks to it (spec 22).
//!
//! [`run`] is the whole program. `yagna service run` builds the services and wires them ([`daemon`]); every other
//! command is a client of a running daemon over its bus socket. Here is no logic of the network itself.

mod cli;
mod consent;
pub mod daemon;
mod dotenv;
pub mod env;
mod extension;
mod output;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program with its arguments, the name of the program first.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    if let Err(error) = dotenv::apply() {
        return cli::failed(&error);
    }
    cli::run(args)
}
