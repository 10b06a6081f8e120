//! Settings: built-in values, `config-payments.toml` in their place, environment on top (spec 42 §3).

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use golem_model::Amount;
use golem_model::payment::Network;
use serde::Deserialize;

use crate::network;

/// Name of the file in the data directory.
const FILE: &str = "config-payments.toml";

/// Everything the driver is told.
#[derive(Clone, Debug)]
pub struct Settings {
    pub chains: BTreeMap<Network, Chain>,
    pub gather_interval: Duration,
    /// Allocations without a deposit are granted without a look at the account.
    pub skip_allocation_validation: bool,
    /// Maximum fee on polygon follows the base fee, plus so many gwei.
    pub eco_extra_gwei: Option<i64>,
}

/// A network that can be used.
#[derive(Clone, Debug)]
pub struct Chain {
    pub network: Network,
    pub chain_id: u64,
    pub coin_symbol: String,
    pub tip_wei: u128,
    pub max_fee_wei: u128,
    pub transaction_timeout: Duration,
    /// Age at which a transaction is replaced by one that pays more.
    pub replacement_timeout: Duration,
    /// Blocks after that of a transaction that make it final.
    pub confirmations: u64,
    pub token: Address,
    pub multi: Option<Multi>,
    pub mint: Option<Mint>,
    pub lock: Option<Address>,
    pub faucet: Option<FaucetClient>,
    pub sources: Sources,
    pub request_timeout: Duration,
    pub verify_interval: Duration,
    /// Largest age of the newest block; none for chains that make blocks only on demand.
    pub head_behind: Option<Duration>,
    pub errors_max: u32,
    /// Between looks at a transaction on its way; by default fast on this machine, slow elsewhere.
    pub poll_interval: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multi {
    pub address: Address,
    pub receivers_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mint {
    pub address: Address,
    /// Nothing is minted for who has so much.
    pub max_glm: u64,
}

/// Who gives test coin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaucetClient {
    /// Nothing is asked for who has so much.
    pub max_coin_wei: u128,
    pub srv: String,
    pub lookup_domain: String,
    pub host: String,
    pub port: u16,
}

/// Where endpoints come from (spec 42 §2.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    pub fixed: Vec<String>,
    /// Names whose TXT records are URLs.
    pub dns: Vec<String>,
    /// URLs of lists.
    pub json: Vec<String>,
}

impl Settings {
    /// Reads the file and the environment. What is wrong is left out and said in the second value.
    pub fn load(data_dir: &Path, environment: &dyn Fn(&str) -> Option<String>) -> (Self, Vec<String>) {
        let mut warnings = Vec::new();
        let mut settings = match std::fs::read_to_string(data_dir.join(FILE)) {
            Ok(text) => Self::parse(&text, &mut warnings),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                warnings.push(format!("cannot read `{FILE}`: {error}; built-in values are used"));
                None
            }
        }
        .unwrap_or_else(Self::built_in);
        settings.apply_environment(environment, &mut warnings);
        (settings, warnings)
    }

    fn built_in() -> Self {
        let chains = Network::ALL.into_iter().filter_map(|name| Some((name, network::built_in(name)?)));
        Self {
            chains: chains.collect(),
            gather_interval: Duration::from_secs(60),
            skip_allocation_validation: false,
            eco_extra_gwei: None,
        }
    }

    fn parse(text: &str, warnings: &mut Vec<String>) -> Option<Self> {
        let file: File = match toml::from_str(text) {
            Ok(file) => file,
            Err(error) => {
                warnings.push(format!("`{FILE}` is not valid: {error}; built-in values are used"));
                return None;
            }
        };
        let mut chains = BTreeMap::new();
        for (name, chain) in file.chain {
            let Ok(network) = name.parse::<Network>() else {
                warnings.push(format!("`{FILE}`: network `{name}` is not known and left out"));
                continue;
            };
            match chain.into_chain(network) {
                Ok(chain) => drop(chains.insert(network, chain)),
                Err(problem) => warnings.push(format!("`{FILE}`: network `{name}` is left out: {problem}")),
            }
        }
        let gather_interval = Duration::from_secs(file.engine.gather_interval.unwrap_or(60));
        Some(Self { chains, gather_interval, skip_allocation_validation: false, eco_extra_gwei: None })
    }

    fn apply_environment(&mut self, environment: &dyn Fn(&str) -> Option<String>, warnings: &mut Vec<String>) {
        let mut reader = Reader { environment, warnings };
        for chain in self.chains.values_mut() {
            chain.apply_environment(&mut reader);
        }
        if let Some(seconds) = reader.parsed::<u64>("ERC20_SENDOUT_INTERVAL_SECS") {
            self.gather_interval = Duration::from_secs(seconds);
        }
        let skip = environment("YAGNA_DEV_SKIP_ALLOCATION_VALIDATION");
        self.skip_allocation_validation = matches!(skip.as_deref(), Some("1" | "true"));
        if matches!(environment("POLYGON_ECO_MODE").as_deref(), Some("1" | "true")) {
            let extra = reader.parsed::<i64>("POLYGON_ECO_MODE_EXTRA_GAS").unwrap_or_default();
            self.eco_extra_gwei = Some(extra.clamp(-10, 30));
        }
    }
}

struct Reader<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    warnings: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn parsed<T: FromStr>(&mut self, name: &str) -> Option<T> {
        self.read(name, |text| text.parse().ok())
    }

    fn read<T>(&mut self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = (self.environment)(name)?;
        let value = parse(text.trim());
        if value.is_none() {
            self.warnings.push(format!("value of `{name}` is not valid and skipped"));
        }
        value
    }
}

/// A gwei figure as people write it.
fn gwei(text: &str) -> Option<u128> {
    let amount: Amount = text.parse().ok()?;
    // An amount has 18 places, gwei have 9.
    u128::try_from(amount.wei() / U256::from(1_000_000_000)).ok()
}

impl Chain {
    fn apply_environment(&mut self, reader: &mut Reader<'_>) {
        let prefix = self.network.name().to_ascii_uppercase();
        let name = |suffix: &str| format!("{prefix}_{suffix}");
        if let Some(urls) = reader.read(&name("GETH_ADDR"), |text| Some(list(text))) {
            self.sources = Sources { fixed: urls, ..Sources::default() };
            self.head_behind = Some(Duration::from_secs(120));
        }
        if let Some(fee) = reader.read(&name("PRIORITY_FEE"), gwei) {
            self.tip_wei = fee;
        }
        if let Some(fee) = reader.read(&name("MAX_FEE_PER_GAS"), gwei) {
            self.max_fee_wei = fee;
        }
        let token = format!("{}_CONTRACT_ADDRESS", self.network.token().to_ascii_uppercase());
        if let Some(address) = reader.parsed(&name(&token)) {
            self.token = address;
        }
        if let Some(address) = reader.parsed(&name("MULTI_PAYMENT_CONTRACT_ADDRESS")) {
            self.multi = Some(Multi { address, receivers_max: network::RECEIVERS_MAX });
        }
        if let Some(address) = reader.parsed(&name("LOCK_PAYMENT_CONTRACT_ADDRESS")) {
            self.lock = Some(address);
        }
        if let Some(confirmations) = reader.parsed(&format!("ERC20_{prefix}_REQUIRED_CONFIRMATIONS")) {
            self.confirmations = confirmations;
        }
    }

    /// Whether all its nodes run on this machine.
    pub fn is_local(&self) -> bool {
        let local = |url: &String| {
            let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
            ["127.", "localhost", "[::1]"].iter().any(|start| rest.starts_with(start))
        };
        self.sources.dns.is_empty() && self.sources.json.is_empty() && self.sources.fixed.iter().all(local)
    }
}

/// Items of a comma list.
fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

// ---- the file -------------------------------------------------------------

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    engine: FileEngine,
    #[serde(default)]
    chain: BTreeMap<String, FileChain>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FileEngine {
    gather_interval: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FileChain {
    chain_id: u64,
    currency_symbol: String,
    priority_fee: f64,
    max_fee_per_gas: f64,
    transaction_timeout: u64,
    replacement_timeout: Option<f64>,
    confirmation_blocks: u64,
    token: FileContract,
    multi_contract: Option<FileContract>,
    lock_contract: Option<FileContract>,
    mint_contract: Option<FileContract>,
    faucet_client: Option<FileFaucet>,
    #[serde(default)]
    rpc_endpoints: Vec<FileEndpoints>,
    poll_interval_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FileContract {
    address: String,
    max_at_once: Option<usize>,
    max_glm_allowed: Option<f64>,
}

impl FileContract {
    fn parse(&self) -> Result<Address, String> {
        self.address.parse().map_err(|_| format!("`{}` is not an address", self.address))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FileFaucet {
    max_eth_allowed: f64,
    faucet_srv: String,
    faucet_host: String,
    faucet_lookup_domain: String,
    faucet_srv_port: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FileEndpoints {
    endpoints: Option<String>,
    dns_source: Option<String>,
    json_source: Option<String>,
    max_timeout_ms: Option<u64>,
    verify_interval_secs: Option<u64>,
    allowed_head_behind_secs: Option<i64>,
    max_consecutive_errors: Option<u32>,
}

impl FileChain {
    fn into_chain(self, network: Network) -> Result<Chain, String> {
        let fee = |value: f64| gwei(&value.to_string()).ok_or_else(|| format!("`{value}` is not a fee in gwei"));
        let optional = |contract: &Option<FileContract>| contract.as_ref().map(FileContract::parse).transpose();
        let mut sources = Sources::default();
        for group in &self.rpc_endpoints {
            sources.fixed.extend(group.endpoints.iter().flat_map(|text| list(text)));
            sources.dns.extend(group.dns_source.clone());
            sources.json.extend(group.json_source.clone());
        }
        let first = self.rpc_endpoints.first();
        let multi = optional(&self.multi_contract)?.map(|address| Multi {
            address,
            receivers_max: self
                .multi_contract
                .as_ref()
                .and_then(|contract| contract.max_at_once)
                .unwrap_or(network::RECEIVERS_MAX)
                .clamp(1, 100),
        });
        let mint = optional(&self.mint_contract)?.map(|address| Mint {
            address,
            max_glm: self.mint_contract.as_ref().and_then(|contract| contract.max_glm_allowed).map_or(400, whole),
        });
        let replacement = self.replacement_timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(Chain {
            network,
            chain_id: self.chain_id,
            coin_symbol: self.currency_symbol,
            tip_wei: fee(self.priority_fee)?,
            max_fee_wei: fee(self.max_fee_per_gas)?,
            transaction_timeout: Duration::from_secs(self.transaction_timeout),
            replacement_timeout: replacement.unwrap_or(Duration::from_secs(60)),
            confirmations: self.confirmation_blocks,
            token: self.token.parse()?,
            multi,
            mint,
            lock: optional(&self.lock_contract)?,
            faucet: self.faucet_client.map(FileFaucet::into_client).transpose()?,
            sources,
            request_timeout: Duration::from_millis(first.and_then(|group| group.max_timeout_ms).unwrap_or(10_000)),
            verify_interval: Duration::from_secs(first.and_then(|group| group.verify_interval_secs).unwrap_or(120)),
            head_behind: u64::try_from(first.and_then(|group| group.allowed_head_behind_secs).unwrap_or(120))
                .ok()
                .map(Duration::from_secs),
            errors_max: first.and_then(|group| group.max_consecutive_errors).unwrap_or(5).max(1),
            poll_interval: self.poll_interval_ms.map(|ms| Duration::from_millis(ms.max(10))),
        })
    }
}

impl FileFaucet {
    fn into_client(self) -> Result<FaucetClient, String> {
        let coin: Amount =
            self.max_eth_allowed.to_string().parse().map_err(|_| "`max-eth-allowed` is not a number".to_owned())?;
        Ok(FaucetClient {
            max_coin_wei: u128::try_from(coin.wei()).unwrap_or(u128::MAX),
            srv: self.faucet_srv,
            lookup_domain: self.faucet_lookup_domain,
            host: self.faucet_host,
            port: self.faucet_srv_port,
        })
    }
}

/// Whole part of a figure that people write with or without a point.
fn whole(value: f64) -> u64 {
    value.to_string().split('.').next().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: Option<&str>, environment: &[(&str, &str)]) -> (Settings, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = file {
            std::fs::write(folder.path().join(FILE), text).unwrap();
        }
        let environment: BTreeMap<_, _> = environment.iter().copied().collect();
        Settings::load(folder.path(), &|name| environment.get(name).map(|&value| value.to_owned()))
    }

    const HOODI: &str = r#"
        [engine]
        gather-interval = 5
        something-new = true
        [chain.hoodi]
        chain-name = "Hoodi"
        chain-id = 560048
        currency-symbol = "tETH"
        priority-fee = 0.5
        max-fee-per-gas = 20.0
        transaction-timeout = 20
        token = { address = "0x5FbDB2315678afecb367f032d93F642f64180aa3", symbol = "tGLM" }
        multi-contract = { address = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512", max-at-once = 7 }
        mint-contract = { address = "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0", max-glm-allowed = 400.0 }
        confirmation-blocks = 2
        [[chain.hoodi.rpc-endpoints]]
        names = """a,
            b"""
        endpoints = """ http://127.0.0.1:8545 ,
            http://localhost:8546"""
        allowed-head-behind-secs = -1
    "#;

    #[test]
    fn a_file_takes_the_place_of_all_built_in_values() {
        let (settings, warnings) = load(Some(HOODI), &[]);
        assert_eq!((settings.chains.len(), warnings), (1, vec![]));
        let hoodi = &settings.chains[&Network::Hoodi];
        assert_eq!((hoodi.tip_wei, hoodi.max_fee_wei), (500_000_000, 20_000_000_000));
        assert_eq!(hoodi.sources.fixed, ["http://127.0.0.1:8545", "http://localhost:8546"]);
        assert!(hoodi.is_local());
        assert_eq!((hoodi.head_behind, hoodi.confirmations), (None, 2));
        assert_eq!(hoodi.multi.unwrap().receivers_max, 7);
        assert_eq!(hoodi.mint.unwrap().max_glm, 400);
        assert_eq!(settings.gather_interval, Duration::from_secs(5));
    }

    #[test]
    fn the_environment_wins_and_wrong_values_are_said() {
        let token = "0x1111111111111111111111111111111111111111";
        let (settings, warnings) = load(
            Some(HOODI),
            &[
                ("HOODI_GETH_ADDR", "http://10.0.0.1:1,http://10.0.0.2:1"),
                ("HOODI_TGLM_CONTRACT_ADDRESS", token),
                ("HOODI_PRIORITY_FEE", "0.000001"),
                ("HOODI_MAX_FEE_PER_GAS", "much"),
                ("ERC20_HOODI_REQUIRED_CONFIRMATIONS", "3"),
                ("ERC20_SENDOUT_INTERVAL_SECS", "2"),
                ("YAGNA_DEV_SKIP_ALLOCATION_VALIDATION", "TRUE"),
            ],
        );
        let hoodi = &settings.chains[&Network::Hoodi];
        assert_eq!(hoodi.sources.fixed.len(), 2);
        assert!(!hoodi.is_local());
        assert_eq!(hoodi.head_behind, Some(Duration::from_secs(120)));
        assert_eq!(hoodi.token, token.parse::<Address>().unwrap());
        assert_eq!((hoodi.tip_wei, hoodi.max_fee_wei, hoodi.confirmations), (1000, 20_000_000_000, 3));
        assert_eq!(settings.gather_interval, Duration::from_secs(2));
        assert!(!settings.skip_allocation_validation);
        assert_eq!(warnings, ["value of `HOODI_MAX_FEE_PER_GAS` is not valid and skipped"]);
    }

    #[test]
    fn a_broken_file_is_said_and_built_in_values_stand() {
        for broken in ["chain = 7", "[chain.hoodi]\nchain-id = 1", "\u{0}"] {
            let (settings, warnings) = load(Some(broken), &[]);
            assert_eq!((settings.chains.len(), warnings.len()), (8, 1), "{broken}");
        }
        let (settings, warnings) = load(Some(&HOODI.replace("0x5FbDB", "0xZZZ")), &[]);
        assert_eq!((settings.chains.len(), warnings.len()), (0, 1));
        let (settings, warnings) = load(None, &[]);
        assert_eq!((settings.chains.len(), warnings.len()), (8, 0));
        assert_eq!(settings.chains[&Network::Polygon].tip_wei, 25_011_000_000);
    }
}
