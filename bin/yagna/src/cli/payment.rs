//! `yagna payment` (spec 41 §6, 22b §8).

mod process;
mod status;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use golem_model::driver::{self, AccountMode};
use golem_model::payment::local::{
    GetAccounts, GetDrivers, GetInvoiceStats, GetRpcEndpoints, PaymentDriverStatus, ReleaseAllocations,
};
use golem_model::payment::{ADDRESS, DriverStatusProperty};
use golem_model::{Amount, NodeId};
use serde_json::{Value, json};

use super::client::{Client, Who};
use crate::output::Output;

/// A faucet may be slow.
const FUND_TIME_MAX: Duration = Duration::from_secs(15 * 60);

const NETWORKS: [&str; 9] =
    ["mainnet", "sepolia", "rinkeby", "goerli", "holesky", "hoodi", "polygon", "mumbai", "amoy"];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List accounts that can pay or be paid
    Accounts,
    /// Make an account ready to pay or be paid
    Init {
        #[command(flatten)]
        account: Account,
        /// It pays
        #[arg(long)]
        sender: bool,
        /// It is paid
        #[arg(long)]
        receiver: bool,
    },
    /// Get coins and tokens of a test network
    Fund {
        #[command(flatten)]
        account: Account,
        /// Only tokens
        #[arg(long)]
        mint_only: bool,
    },
    /// Show balance, reserved, incoming and outgoing amounts
    Status {
        #[command(flatten)]
        account: Account,
        /// Only documents of this last time, as `1day` or `2h`
        #[arg(long, value_parser = humantime::parse_duration)]
        last: Option<Duration>,
        /// All digits
        #[arg(long)]
        precise: bool,
    },
    /// Payment drivers
    #[command(subcommand)]
    Driver(Driver),
    /// Not needed on this network
    Enter {
        #[command(flatten)]
        account: Account,
        #[arg(long)]
        amount: Amount,
    },
    /// Not needed on this network
    Exit {
        #[command(flatten)]
        account: Account,
        #[arg(long)]
        to_address: Option<NodeId>,
        #[arg(long)]
        amount: Option<Amount>,
    },
    /// Send tokens
    Transfer {
        #[command(flatten)]
        account: Account,
        #[arg(long)]
        to_address: NodeId,
        #[arg(long)]
        amount: Amount,
        /// Gwei, or `auto`
        #[arg(long, default_value = "auto", value_parser = auto::<Amount>, conflicts_with = "gasless")]
        gas_price: Auto<Amount>,
        /// Gwei, or `auto`
        #[arg(long, default_value = "auto", value_parser = auto::<Amount>, conflicts_with = "gasless")]
        max_gas_price: Auto<Amount>,
        /// Or `auto`
        #[arg(long, default_value = "auto", value_parser = auto::<u32>, conflicts_with = "gasless")]
        gas_limit: Auto<u32>,
        /// Let a third party pay the gas
        #[arg(long)]
        gasless: bool,
    },
    /// Sums of invoices by state
    #[command(subcommand_precedence_over_arg = true)]
    Invoice {
        #[arg(value_parser = Who::parse)]
        address: Option<Who>,
        #[command(subcommand)]
        command: Invoice,
    },
    /// When payments are made
    #[command(subcommand)]
    Process(process::Command),
    /// Release all allocations
    ReleaseAllocations,
}

#[derive(Debug, Subcommand)]
pub(super) enum Driver {
    /// List drivers, networks and tokens
    List,
    /// Troubles of the driver
    Status {
        #[command(flatten)]
        account: Account,
    },
    /// RPC endpoints and how well they are
    Rpc {
        #[command(flatten)]
        account: Account,
        /// Of all networks
        #[arg(long)]
        all: bool,
        /// Check them now
        #[arg(long)]
        verify: bool,
        /// Look their names up now
        #[arg(long)]
        resolve: bool,
        /// Do not wait for the checks
        #[arg(long)]
        no_wait: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Invoice {
    /// Show sums
    Status {
        /// Only invoices of this last time
        #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
        last: Duration,
    },
}

/// Which account on which network.
#[derive(Clone, Debug, Args)]
pub(super) struct Account {
    /// Address; without it the default identity
    #[arg(long, env = crate::env::ACCOUNT.name)]
    account: Option<NodeId>,
    #[arg(long, default_value = "erc20", value_parser = ["erc20"])]
    driver: String,
    #[arg(long, default_value = "hoodi", value_parser = NETWORKS)]
    network: String,
}

impl Account {
    async fn address(&self, client: &Client) -> Result<NodeId> {
        client.node_id(self.account.map(Who::Id).as_ref()).await
    }

    fn driver_at(&self) -> String {
        driver::address(&self.driver)
    }

    fn network(&self) -> Option<String> {
        Some(self.network.clone())
    }

    /// The token that the driver uses on this network by default, and its platform.
    async fn platform(&self, client: &Client) -> Result<String> {
        let drivers = client.call(ADDRESS, GetDrivers { ignore_legacy_networks: false }).await?;
        let network = drivers.get(&self.driver).and_then(|details| details.networks.get(&self.network));
        let platform = network.and_then(|network| network.tokens.get(&network.default_token));
        platform.cloned().ok_or_else(|| {
            anyhow::anyhow!(
                "driver `{}` knows no network `{}`; hint: `yagna payment driver list`",
                self.driver,
                self.network
            )
        })
    }
}

/// A value, or `auto`.
type Auto<T> = Option<T>;

fn auto<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<Option<T>, String> {
    if text == "auto" { Ok(None) } else { text.parse().map(Some).map_err(|error: T::Err| error.to_string()) }
}

pub(super) async fn run(command: Command, client: &Client) -> Result<Output> {
    match command {
        Command::Accounts => accounts(client).await,
        Command::Init { account, sender, receiver } => {
            let mut mode = AccountMode::NONE;
            if sender {
                mode = mode.union(AccountMode::SEND);
            }
            if receiver {
                mode = mode.union(AccountMode::RECEIVE);
            }
            init(&account, mode, client).await?;
            Ok(Output::Nothing)
        }
        Command::Fund { account, mint_only } => fund(&account, mint_only, client).await,
        Command::Status { account, last, precise } => status::status(&account, last, precise, client).await,
        Command::Driver(Driver::List) => drivers(client).await,
        Command::Driver(Driver::Status { account }) => driver_status(&account, client).await,
        Command::Driver(Driver::Rpc { account, all, verify, resolve, no_wait }) => {
            let request = GetRpcEndpoints {
                address: account.address(client).await?.to_string(),
                driver: account.driver.clone(),
                network: if all { None } else { account.network() },
                verify,
                resolve,
                no_wait,
            };
            Output::value(client.call(ADDRESS, request).await?)
        }
        Command::Enter { account, amount } => {
            let address = account.address(client).await?.to_string();
            let enter = driver::Enter { amount, address, network: account.network(), token: None };
            Output::value(client.call(&account.driver_at(), enter).await?)
        }
        Command::Exit { account, to_address, amount } => {
            let exit = driver::Exit {
                sender: account.address(client).await?.to_string(),
                to: to_address.map(|to| to.to_string()),
                amount,
                network: account.network(),
                token: None,
            };
            Output::value(client.call(&account.driver_at(), exit).await?)
        }
        Command::Transfer { account, to_address, amount, gas_price, max_gas_price, gas_limit, gasless } => {
            let transfer = driver::Transfer {
                sender: account.address(client).await?.to_string(),
                to: to_address.to_string(),
                amount,
                network: account.network(),
                token: None,
                gas_price,
                max_gas_price,
                gas_limit,
                gasless,
            };
            Output::value(client.call(&account.driver_at(), transfer).await?)
        }
        Command::Invoice { address, command: Invoice::Status { last } } => {
            let node_id = client.node_id(address.as_ref()).await?;
            let since = client.now() - last;
            let request = GetInvoiceStats { node_id, requestor: true, provider: true, since };
            Output::value(client.call(ADDRESS, request).await?)
        }
        Command::Process(command) => process::run(command, client).await,
        Command::ReleaseAllocations => {
            client.call(ADDRESS, ReleaseAllocations {}).await?;
            Ok(Output::Nothing)
        }
    }
}

async fn init(account: &Account, mode: AccountMode, client: &Client) -> Result<NodeId> {
    let address = account.address(client).await?;
    let init = driver::Init { address: address.to_string(), network: account.network(), token: None, mode };
    client.call(&account.driver_at(), init).await?;
    Ok(address)
}

async fn accounts(client: &Client) -> Result<Output> {
    let accounts = client.call(ADDRESS, GetAccounts {}).await?;
    let json = serde_json::to_value(&accounts)?;
    let rows = accounts.into_iter().map(|account| {
        [
            json!(account.address),
            json!(account.driver),
            json!(account.network),
            json!(account.token),
            json!(account.send),
            json!(account.receive),
        ]
    });
    Ok(Output::table(["address", "driver", "network", "token", "send", "recv"], rows.collect()).with_json(json))
}

async fn fund(account: &Account, mint_only: bool, client: &Client) -> Result<Output> {
    let address = account.address(client).await?;
    if ["mainnet", "polygon"].contains(&account.network.as_str()) {
        note(&format!(
            "real tokens are bought at https://glm.golem.network/#/onboarding/budget?yagnaAddress={address}&network={}",
            account.network
        ));
        return Ok(Output::Nothing);
    }
    init(account, AccountMode::SEND, client).await?;
    let fund = driver::Fund { address: address.to_string(), network: account.network(), token: None, mint_only };
    match client.call_within(FUND_TIME_MAX, &account.driver_at(), fund).await {
        Ok(text) => Output::value(text),
        Err(error) if error.to_string().contains("not supported") => {
            note(&error.to_string());
            Ok(Output::Nothing)
        }
        Err(error) => Err(error),
    }
}

/// A line beside the result.
fn note(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}

async fn drivers(client: &Client) -> Result<Output> {
    let drivers = client.call(ADDRESS, GetDrivers { ignore_legacy_networks: false }).await?;
    let json = serde_json::to_value(&drivers)?;
    let mut rows = Vec::new();
    for (driver, details) in &drivers {
        for (network, networks) in &details.networks {
            for (token, platform) in &networks.tokens {
                let default = *network == details.default_network && *token == networks.default_token;
                let mark = if default { "X" } else { "" };
                rows.push([json!(driver), json!(network), json!(mark), json!(token), json!(platform)]);
            }
        }
    }
    Ok(Output::table(["driver", "network", "default?", "token", "platform"], rows).with_json(json))
}

async fn troubles(account: &Account, client: &Client) -> Result<Vec<DriverStatusProperty>> {
    let request = PaymentDriverStatus { driver: Some(account.driver.clone()), network: account.network() };
    client.call(ADDRESS, request).await
}

async fn driver_status(account: &Account, client: &Client) -> Result<Output> {
    let troubles = troubles(account, client).await?;
    let json = serde_json::to_value(&troubles)?;
    let word = if troubles.is_empty() { "Ok" } else { "Bad" };
    let rows = troubles.iter().map(|trouble| [Value::from(words(trouble))]).collect();
    let title = format!("Status of the {} payment driver\nDriver Status: {word}", account.driver);
    Ok(Output::table(["issues"], rows).titled(title).with_json(json))
}

/// A trouble in words for the operator.
fn words(trouble: &DriverStatusProperty) -> String {
    use DriverStatusProperty as P;
    match trouble {
        P::InsufficientGas { address, needed_gas_est, .. } => {
            format!("{address} lacks gas, about {needed_gas_est}")
        }
        P::InsufficientToken { address, needed_token_est, .. } => {
            format!("{address} lacks tokens, about {needed_token_est}")
        }
        P::InvalidChainId { chain_id, .. } => format!("chain {chain_id} is not configured"),
        P::CantSign { address, .. } => format!("the key of {address} is locked or not here"),
        P::TxStuck { .. } => "a transaction is stuck".to_owned(),
        P::RpcError { .. } => "no RPC endpoint answers as it should".to_owned(),
    }
}
