//! What tests need beyond Rust and a C compiler, installed on demand below `target/interop`.
//!
//! In continuous integration (`CI=true`) a missing piece fails; elsewhere its tests are skipped with the reason.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::steps::{root, run};

/// The independent development chain, which the driver is tested against beside our own.
const NODE: &[&str] = &["@foundry-rs/anvil@1.7.1"];

/// Environment for the tests: where the independent peers are.
pub(crate) fn environment() -> Result<Vec<(&'static str, PathBuf)>> {
    match node() {
        Ok(anvil) => Ok(vec![("GOLEM_ANVIL", anvil)]),
        Err(error) if is_ci() => Err(error.context("the independent development chain is required here")),
        Err(error) => {
            eprintln!("skipping tests with the independent development chain: {error:#}");
            Ok(Vec::new())
        }
    }
}

pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// Installs [`NODE`] and answers the chain's program.
fn node() -> Result<PathBuf> {
    let folder = root().join("target/interop/node");
    installed(&folder, NODE, || {
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("package.json"), "{\"private\": true, \"type\": \"module\"}\n")?;
        let quiet = ["install", "--silent", "--no-audit", "--no-fund"];
        run(Command::new("npm").args(quiet).args(NODE).current_dir(&folder))
    })?;
    Ok(folder.join("node_modules/.bin/anvil"))
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
