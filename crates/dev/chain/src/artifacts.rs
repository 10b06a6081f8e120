//! The compiled contracts of `contracts/artifacts` and where a fresh chain has them.

use alloy_primitives::{Address, B256, Bytes};
use serde::Deserialize;

/// Contracts in the order in which the first account deploys them, so that their addresses are always the same.
pub(crate) const DEPLOYED: [&str; 5] = [
    include_str!("../../../../contracts/artifacts/TestGlm.json"),
    include_str!("../../../../contracts/artifacts/MultiTransfer.json"),
    include_str!("../../../../contracts/artifacts/Faucet.json"),
    include_str!("../../../../contracts/artifacts/BalanceWrapper.json"),
    include_str!("../../../../contracts/artifacts/LockPayment.json"),
];

/// Addresses of the contracts of a chain (spec 42 §8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contracts {
    pub token: Address,
    pub multi_transfer: Address,
    pub faucet: Address,
    pub wrapper: Address,
    pub lock: Address,
}

impl Contracts {
    /// Where they are when `deployer` makes them with its nonces 0 to 4.
    pub fn of(deployer: Address) -> Self {
        Self {
            token: deployer.create(0),
            multi_transfer: deployer.create(1),
            faucet: deployer.create(2),
            wrapper: deployer.create(3),
            lock: deployer.create(4),
        }
    }
}

#[derive(Deserialize)]
struct Artifact {
    abi: Vec<Item>,
    bytecode: String,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    inputs: Vec<serde_json::Value>,
}

/// Codes that create the contracts, to be sent in this order with the nonces 0 to 4 of `deployer`: for chains of others.
pub fn creation_codes(deployer: Address) -> Vec<Bytes> {
    let token = Contracts::of(deployer).token;
    DEPLOYED.iter().filter_map(|artifact| creation_code(artifact, token)).collect()
}

/// Code that creates a contract. All constructors here take the token or nothing.
pub(crate) fn creation_code(artifact: &str, token: Address) -> Option<Bytes> {
    let artifact: Artifact = serde_json::from_str(artifact).ok()?;
    let mut code = hex::decode(artifact.bytecode.strip_prefix("0x")?).ok()?;
    if artifact.abi.iter().any(|item| item.kind == "constructor" && !item.inputs.is_empty()) {
        code.extend_from_slice(B256::left_padding_from(token.as_slice()).as_slice());
    }
    Some(code.into())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use alloy_primitives::keccak256;
    use serde_json::Value;
    use sha2::{Digest, Sha256};

    use super::*;

    fn folder() -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../contracts")
    }

    #[test]
    fn artifacts_are_made_from_the_sources_beside_them() {
        let sources: BTreeMap<String, String> = std::fs::read_dir(folder().join("src"))
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap()))
            .collect();
        let mut hasher = Sha256::new();
        for (name, text) in &sources {
            hasher.update(format!("{name}\0{text}\0"));
        }
        let hash = hex::encode(hasher.finalize());
        for artifact in DEPLOYED {
            let artifact: Value = serde_json::from_str(artifact).unwrap();
            assert_eq!(artifact["sources_sha256"], hash, "{}: run `cargo xtask contracts`", artifact["contract"]);
        }
    }

    /// `name(type,…)` of everything of a kind in all artifacts.
    fn signatures(kind: &str) -> BTreeSet<String> {
        let artifacts = DEPLOYED.iter().map(|text| serde_json::from_str::<Value>(text).unwrap());
        artifacts
            .flat_map(|artifact| artifact["abi"].as_array().unwrap().clone())
            .filter(|item| item["type"] == kind)
            .map(|item| {
                let types = item["inputs"].as_array().unwrap().iter().map(|input| input["type"].as_str().unwrap());
                format!("{}({})", item["name"].as_str().unwrap(), types.collect::<Vec<_>>().join(","))
            })
            .collect()
    }

    #[test]
    fn contracts_have_the_interface_that_drivers_call() {
        let vectors = folder().join("../tests/vectors/payment/contract-calls.json");
        let vectors: Value = serde_json::from_str(&std::fs::read_to_string(vectors).unwrap()).unwrap();
        let (functions, events) = (signatures("function"), signatures("event"));
        // Owner functions of the official faucet, and contracts that no payment uses (spec 42 §4.6).
        let absent = [
            "isOwner()",
            "owner()",
            "renounceOwnership()",
            "setNGNT(address)",
            "transferOwnership(address)",
            "OwnershipTransferred(address,address)",
        ];
        let mut seen = 0;
        for case in vectors["cases"].as_array().unwrap() {
            let (Some(signature), Some(group)) = (case["signature"].as_str(), case["group"].as_str()) else { continue };
            let hash = keccak256(signature);
            let value = hex::decode(case["value"].as_str().unwrap().trim_start_matches("0x")).unwrap();
            assert!(hash.starts_with(&value), "{signature}");
            if ["distributor", "eip712", "meta_transaction"].contains(&group) || absent.contains(&signature) {
                continue;
            }
            let ours = if case["kind"] == "event_topic" { &events } else { &functions };
            assert!(ours.contains(signature), "{signature}");
            seen += 1;
        }
        assert!(seen >= 45, "{seen}");
    }
}
