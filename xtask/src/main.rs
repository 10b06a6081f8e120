//! All scripting of the project: `cargo xtask <verb>`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a script talks to the person who runs it")]

mod contracts;
mod demand;
mod layers;
mod steps;

use anyhow::Result;
use clap::Parser;

/// Builds, checks and tests the project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Verb {
    /// Formatting, lints, layer rules and all tests: what continuous integration runs
    Ci,
    /// All tests
    Test,
    /// Which crate may depend on which (docs/ARCHITECTURE.md)
    Layers,
    /// Compile the Solidity sources and write contracts/artifacts
    Contracts,
    /// Build the example programs and write their packages
    Examples,
}

fn main() -> Result<()> {
    match Verb::parse() {
        Verb::Ci => steps::ci(),
        Verb::Test => steps::test(),
        Verb::Layers => layers::check(),
        Verb::Contracts => contracts::build(),
        Verb::Examples => steps::examples(),
    }
}
