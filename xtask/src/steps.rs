//! The steps of each verb, in the order in which a failure is cheapest to see.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::{demand, layers};

/// The root of the work tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// Runs a command in the root, prints it first, and fails when it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", shown(command));
    if command.get_current_dir().is_none() {
        command.current_dir(root());
    }
    let status = command.status().with_context(|| format!("cannot start `{}`", shown(command)))?;
    ensure!(status.success(), "`{}` ended with {status}", shown(command));
    Ok(())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(args);
    command
}

pub(crate) fn ci() -> Result<()> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    layers::check()?;
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"]))?;
    test()
}

pub(crate) fn test() -> Result<()> {
    if let Err(error) = demand::wasm_target() {
        ensure!(!demand::is_ci(), "{error:#}");
        eprintln!("skipping the rebuild of the examples: {error:#}");
    }
    suite(&["--workspace"], &demand::environment()?)
}

/// Compiles the example programs and writes their packages; the test that compares them does it when asked to.
pub(crate) fn examples() -> Result<()> {
    demand::wasm_target()?;
    let test = ["test", "--quiet", "--package", "golem-runtime-wasi", "--test", "examples"];
    run(cargo(&test).env("GOLEM_UPDATE_EXAMPLES", "1"))
}

/// Runs tests by nextest where it is installed, else by the test runner of cargo.
fn suite(packages: &[&str], environment: &[(&str, PathBuf)]) -> Result<()> {
    let nextest = Command::new("cargo").args(["nextest", "--version"]).output().is_ok_and(|o| o.status.success());
    let runner: &[&str] = if nextest { &["nextest", "run", "--no-tests=pass"] } else { &["test", "--quiet"] };
    let mut command = cargo(runner);
    command.args(packages).envs(environment.iter().map(|(name, value)| (name, value)));
    let started = stopwatch();
    run(&mut command)?;
    eprintln!("done in {} s", started().as_secs());
    Ok(())
}

/// Time since the call; `Instant` is banned for code that tests should be able to pause, which this is not.
#[expect(clippy::disallowed_types, reason = "a script's own duration for its reader")]
fn stopwatch() -> impl Fn() -> Duration {
    let start = std::time::Instant::now();
    move || start.elapsed()
}
