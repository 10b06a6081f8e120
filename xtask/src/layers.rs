//! The layer rules of docs/ARCHITECTURE.md, checked against what `cargo metadata` says.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::steps::root;

/// Lower layers first. A crate depends on crates of lower layers only, or on those of its own that are listed in
/// [`BESIDE`].
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &["golem-model"]),
    ("vocabulary", &["golem-keys", "golem-properties"]),
    (
        "pure cores",
        &["golem-net-relay-wire", "golem-net-relay-core", "golem-net-vtcp", "golem-market-core", "golem-payment-core"],
    ),
    ("ground", &["golem-bus", "golem-store", "golem-service", "golem-runtime-api", "golem-net-udp"]),
    ("shell", &["golem-api-rest", "golem-api-client", "golem-runtime-image"]),
    (
        "services",
        &[
            "golem-identity",
            "golem-payment-service",
            "golem-payment-erc20",
            "golem-net-node",
            "golem-net-relay-server",
            "golem-runtime-transfer",
            "golem-runtime-wasi",
            "golem-runtime-exe-unit",
            "golem-agent-provider",
            "golem-dev-chain",
        ],
    ),
    ("daemon", &["yagna"]),
    ("programs", &["exe-unit", "gftp", "golem", "ya-provider", "ya-relay-server", "ya-runtime-wasi"]),
    ("outside", &["xtask"]),
];

/// Arrows inside one layer.
const BESIDE: &[(&str, &str)] = &[
    ("golem-keys", "golem-properties"),
    ("golem-net-relay-core", "golem-net-relay-wire"),
    ("golem-net-vtcp", "golem-net-relay-wire"),
    ("golem-service", "golem-bus"),
    ("golem-runtime-exe-unit", "golem-runtime-transfer"),
];

/// Foreign crates that pure crates must not have: they bring I/O, a clock or randomness (invariant I1).
const IMPURE: &[&str] = &["tokio", "rusqlite", "reqwest", "rand", "axum", "hyper", "nix", "socket2"];
const PURE: &[&str] = &[
    "golem-model",
    "golem-properties",
    "golem-net-relay-wire",
    "golem-net-relay-core",
    "golem-net-vtcp",
    "golem-market-core",
    "golem-payment-core",
];

/// Heavy closures stay where they belong (docs/ARCHITECTURE.md): (foreign crate, who may name it).
const HEAVY: &[(&str, &[&str])] = &[("wasmtime", &["golem-runtime-wasi"]), ("revm", &["golem-dev-chain"])];

/// What a program must reach only as a foreign one would (invariant I4).
const FORBIDDEN: &[(&str, &str)] = &[
    ("golem-agent-provider", "golem-bus"),
    ("golem-requestor-sdk", "golem-bus"),
    ("golem-runtime-exe-unit", "golem-runtime-wasi"),
    ("yagna", "golem-dev-chain"),
];

pub(crate) fn check() -> Result<()> {
    let broken = violations(&direct_dependencies()?);
    ensure!(broken.is_empty(), "layer rules are broken:\n{}", broken.join("\n"));
    println!("layers: {} crates, every arrow points down", LAYERS.iter().map(|(_, c)| c.len()).sum::<usize>());
    Ok(())
}

/// Crate name → names of its normal dependencies (tests may name anything).
type Arrows = BTreeMap<String, Vec<String>>;

fn direct_dependencies() -> Result<Arrows> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .context("cannot run `cargo metadata`")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("no packages in `cargo metadata`")?;
    Ok(packages.iter().map(|package| (text(&package["name"]), dependencies(package))).collect())
}

fn dependencies(package: &Value) -> Vec<String> {
    let all = package.get("dependencies").and_then(Value::as_array).into_iter().flatten();
    all.filter(|dependency| dependency["kind"].is_null()).map(|dependency| text(&dependency["name"])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn violations(arrows: &Arrows) -> Vec<String> {
    let layer = |name: &str| LAYERS.iter().position(|(_, crates)| crates.contains(&name));
    let mut broken = Vec::new();
    for (from, targets) in arrows {
        let Some(high) = layer(from) else {
            broken.push(format!("  `{from}` stands in no layer; hint: add it to LAYERS in xtask/src/layers.rs"));
            continue;
        };
        for to in targets {
            let downwards = layer(to).is_none_or(|low| low < high);
            if !downwards && !BESIDE.contains(&(from.as_str(), to.as_str())) && !is_outside(from) {
                broken.push(format!("  `{from}` must not depend on `{to}`, which is not below it"));
            }
            if PURE.contains(&from.as_str()) && IMPURE.contains(&to.as_str()) {
                broken.push(format!("  `{from}` is pure and must not depend on `{to}` (I1)"));
            }
            if FORBIDDEN.contains(&(from.as_str(), to.as_str())) {
                broken.push(format!("  `{from}` must not depend on `{to}` (I4)"));
            }
            if HEAVY.iter().any(|(heavy, owners)| to == heavy && !owners.contains(&from.as_str())) {
                broken.push(format!("  `{from}` must not depend on `{to}`, which is heavy"));
            }
        }
    }
    broken
}

fn is_outside(name: &str) -> bool {
    LAYERS.last().is_some_and(|(_, crates)| crates.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrows(pairs: &[(&str, &[&str])]) -> Arrows {
        pairs.iter().map(|(from, to)| ((*from).to_owned(), to.iter().map(|t| (*t).to_owned()).collect())).collect()
    }

    #[test]
    fn every_arrow_of_the_workspace_points_down() {
        assert_eq!(violations(&direct_dependencies().unwrap()), Vec::<String>::new());
    }

    #[test]
    fn wrong_arrows_are_found() {
        let check = |from: &str, to: &str| violations(&arrows(&[(from, &[to])])).len();
        assert_eq!(check("golem-identity", "golem-payment-service"), 1);
        assert_eq!(check("golem-model", "golem-bus"), 1);
        assert_eq!(check("golem-market-core", "tokio"), 1);
        assert_eq!(check("yagna", "revm"), 1);
        assert_eq!(check("golem-agent-provider", "golem-bus"), 1);
        assert_eq!(check("golem-unheard-of", "serde"), 1);
        assert_eq!(check("golem-payment-service", "golem-payment-core"), 0);
    }
}
