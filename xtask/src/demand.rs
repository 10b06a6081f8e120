//! What tests need beyond Rust and a C compiler, installed on demand below `target/interop`.
//!
//! In continuous integration (`CI=true`) a missing piece fails; elsewhere its tests are skipped with the reason.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::steps::{root, run};

/// Official Python packages and what the tests of the REST description need.
const PYTHON: &[&str] = &["golem-node==0.17.6", "yapapi==0.13.1", "golem-core==0.7.8"];
/// Official JS packages and the independent development chain.
const NODE: &[&str] = &["@golem-sdk/golem-js@3.6.0", "@golem-sdk/task-executor@2.0.1", "@foundry-rs/anvil@1.7.1"];

/// Environment for the interop tests: where the peers are.
pub(crate) fn interop_environment() -> Result<Vec<(&'static str, PathBuf)>> {
    let folder = root().join("target/interop");
    std::fs::create_dir_all(&folder).context("cannot create `target/interop`")?;
    let mut environment = Vec::new();
    offer(&mut environment, "GOLEM_INTEROP_VENV", "official Python peers", python(&folder))?;
    offer(&mut environment, "GOLEM_INTEROP_NODE", "official JS peers", node(&folder))?;
    Ok(environment)
}

fn offer(
    environment: &mut Vec<(&'static str, PathBuf)>,
    name: &'static str,
    what: &str,
    place: Result<PathBuf>,
) -> Result<()> {
    match place {
        Ok(place) => environment.push((name, place)),
        Err(error) if is_ci() => return Err(error.context(format!("{what} are required here"))),
        Err(error) => eprintln!("skipping tests with {what}: {error:#}"),
    }
    Ok(())
}

pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

fn python(folder: &Path) -> Result<PathBuf> {
    let venv = folder.join("venv");
    installed(&venv, PYTHON, || {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check"]).args(PYTHON))
    })?;
    Ok(venv)
}

fn node(folder: &Path) -> Result<PathBuf> {
    let modules = folder.join("node");
    installed(&modules, NODE, || {
        std::fs::create_dir_all(&modules)?;
        std::fs::write(modules.join("package.json"), "{\"private\": true, \"type\": \"module\"}\n")?;
        let quiet = ["install", "--silent", "--no-audit", "--no-fund"];
        run(Command::new("npm").args(quiet).args(NODE).current_dir(&modules))
    })?;
    Ok(modules)
}

/// Runs `install` unless the folder's stamp says that exactly these packages are there.
fn installed(folder: &Path, packages: &[&str], install: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = folder.join("installed.txt");
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    install()?;
    std::fs::write(&stamp, wanted).context("cannot write the stamp")
}

/// The compiler target of the example programs.
pub(crate) fn wasm_target() -> Result<()> {
    const TARGET: &str = "wasm32-wasip1";
    let output = Command::new("rustup").args(["target", "list", "--installed"]).output();
    let output = output.context("`rustup` is needed to add the WASM target")?;
    if String::from_utf8_lossy(&output.stdout).lines().any(|line| line.trim() == TARGET) {
        return Ok(());
    }
    if run(Command::new("rustup").args(["target", "add", TARGET])).is_err() {
        bail!("cannot add the target `{TARGET}`; hint: `rustup target add {TARGET}`");
    }
    Ok(())
}
