//! Compiles the Solidity sources with `solc` from npm and writes `contracts/artifacts`.
//!
//! Only this verb needs Node; everything else uses the committed artifacts.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Contracts that become artifacts, each in the source file of its name.
const CONTRACTS: [&str; 5] = ["TestGlm", "Faucet", "MultiTransfer", "BalanceWrapper", "LockPayment"];

pub(crate) fn build() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts");
    let sources = sources(&root)?;
    install(&root)?;
    let compiled = compile(&root, &sources)?;
    let output = compiled.get("output").context("no output")?;
    for message in output.get("errors").and_then(Value::as_array).into_iter().flatten() {
        let text = message.get("formattedMessage").and_then(Value::as_str).unwrap_or_default();
        ensure!(message.get("severity").and_then(Value::as_str) != Some("error"), "{text}");
        eprintln!("{text}");
    }
    let hash = hash(&sources);
    for name in CONTRACTS {
        let contract = output.pointer(&format!("/contracts/{name}.sol/{name}")).context(name)?;
        let bytecode = contract.pointer("/evm/bytecode/object").and_then(Value::as_str).context(name)?;
        let artifact = json!({
            "contract": name,
            "compiler": compiled.get("version"),
            "sources_sha256": hash,
            "abi": contract.get("abi"),
            "bytecode": format!("0x{bytecode}"),
        });
        let path = root.join("artifacts").join(format!("{name}.json"));
        fs::write(&path, serde_json::to_string_pretty(&artifact)? + "\n")
            .with_context(|| path.display().to_string())?;
        println!("{}", path.display());
    }
    Ok(())
}

/// All `.sol` files by name.
fn sources(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root.join("src"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "sol") {
            let name = path.file_name().and_then(|name| name.to_str()).context("source name")?;
            found.insert(name.to_owned(), fs::read_to_string(&path)?);
        }
    }
    Ok(found)
}

/// SHA-256 over name, NUL, text, NUL of each source in order of names; `golem-dev-chain` checks it the same way.
fn hash(sources: &BTreeMap<String, String>) -> String {
    let mut hasher = Sha256::new();
    for (name, text) in sources {
        for part in [name, text] {
            hasher.update(part.as_bytes());
            hasher.update([0]);
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn install(root: &Path) -> Result<()> {
    if root.join("node_modules/solc").exists() {
        return Ok(());
    }
    let status = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--no-package-lock"])
        .current_dir(root)
        .status()
        .context("cannot start npm, which fetches the Solidity compiler")?;
    ensure!(status.success(), "npm install failed in {}", root.display());
    Ok(())
}

fn compile(root: &Path, sources: &BTreeMap<String, String>) -> Result<Value> {
    let input = json!({
        "language": "Solidity",
        "sources": sources.iter().map(|(name, text)| (name.clone(), json!({ "content": text }))).collect::<serde_json::Map<_, _>>(),
        "settings": {
            "optimizer": { "enabled": true, "runs": 1000 },
            "evmVersion": "paris",
            "metadata": { "bytecodeHash": "none", "appendCBOR": false },
            "outputSelection": { "*": { "*": ["abi", "evm.bytecode.object"] } },
        },
    });
    let mut child = Command::new("node")
        .arg("compile.cjs")
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start node, which runs the Solidity compiler")?;
    child.stdin.take().context("stdin")?.write_all(input.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("the Solidity compiler failed");
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
