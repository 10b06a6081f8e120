//! The driver of GLM payments on Ethereum-like networks (spec 42), `/local/driver/erc20`.
//!
//! [`start`] binds its messages, registers it with the payment service and goes on with what the last run left. Transfers
//! are queued in its own database; a lane (one task for each account and network) turns them into as few transactions as
//! the multi transfer contract allows, follows each until it is final, and the herald tells the payment service.
//!
//! - `plan`: what to send, when and at what price; pure
//! - `store`: transfers, transactions and their signed forms
//! - `rpc`: nodes, with fail-over
//! - `verify`, `account`, `fund`: payments of others, balances and allocations, test money
//!
//! Deliberately absent: keys (the identity service signs hashes), any idea of agreements and documents, and looking at the
//! chain while nothing is on its way.

mod abi;
mod account;
mod arrow;
mod dns;
mod driver;
mod fund;
mod herald;
mod http;
mod lane;
mod local;
mod network;
mod plan;
mod rpc;
pub mod settings;
mod store;
mod transaction;
mod trouble;
mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Address;
use golem_bus::CallError;
use golem_model::driver::{AccountMode, DriverDetails, NetworkDetails};
use golem_model::payment::local::RegisterDriver;
use golem_model::payment::{self, Network};
use golem_model::{Caller, identity};
use golem_service::Context;
use golem_store::{OpenError, StoreError};
use tracing::{Instrument, debug, info_span, warn};

use driver::Driver;
pub use settings::Settings;
use store::Books;

/// Name of the driver, first part of its platforms.
pub const DRIVER: &str = "erc20";

/// Network that the official driver announces as its default.
const ANNOUNCED_NETWORK: Network = Network::Holesky;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot open the database of the payment driver")]
    Open(#[from] OpenError),
    #[error("cannot read the database of the payment driver")]
    Read(#[from] StoreError),
}

/// The running driver. It stops with the token of its context.
#[derive(Clone, Debug)]
pub struct Handle {
    _driver: Arc<Driver>,
}

/// Starts the driver. The payment service need not be there yet.
pub async fn start(ctx: Context, settings: Settings) -> Result<Handle, StartError> {
    arrow::set_up();
    let books = Books::open(&ctx.data_dir.join("erc20.db"))?;
    let driver = Driver::new(&ctx, books, settings);
    local::bind(&driver);
    for lane in driver.books.busy_lanes().await? {
        driver.wake(lane, false);
    }
    ctx.tasks.spawn(herald::run(Arc::clone(&driver)).instrument(info_span!("erc20-herald")));
    ctx.tasks.spawn(introduce(Arc::clone(&driver)).instrument(info_span!("erc20-introduction")));
    Ok(Handle { _driver: driver })
}

/// Reads the settings of a daemon: file in its data directory, then environment.
pub fn load_settings(data_dir: &std::path::Path) -> Settings {
    let (settings, warnings) = Settings::load(data_dir, &|name| std::env::var(name).ok());
    for warning in warnings {
        warn!("payment settings: {warning}");
    }
    settings
}

/// Lower case, as addresses stand in documents.
fn text(address: Address) -> String {
    format!("{address:#x}")
}

fn details() -> DriverDetails {
    let network = |network: Network| {
        let token = network.token().to_owned();
        let tokens = BTreeMap::from([(token.clone(), network.platform().to_string())]);
        (network.name().to_owned(), NetworkDetails { default_token: token, tokens })
    };
    DriverDetails {
        default_network: ANNOUNCED_NETWORK.name().to_owned(),
        networks: Network::ALL.into_iter().map(network).collect(),
        recv_init_required: false,
    }
}

/// Registers the driver and its accounts, and asks for news of keys; each as soon as the service is there.
async fn introduce(driver: Arc<Driver>) {
    let register = RegisterDriver { driver_name: DRIVER.to_owned(), details: details() };
    if !insist(&driver, payment::ADDRESS, register).await {
        return;
    }
    let accounts = driver.books.accounts().await.unwrap_or_else(|problem| {
        warn!(%problem, "accounts of the last run are not known");
        Vec::new()
    });
    for (network, account, bits) in accounts {
        if let Err(problem) = local::register_account(&driver, network, account, AccountMode { bits }).await {
            warn!(%network, %account, %problem, "an account of the last run is not registered");
        }
    }
    let subscribe = identity::Subscribe { endpoint: golem_model::driver::address(DRIVER) };
    insist(&driver, identity::ADDRESS, subscribe).await;
    debug!("driver introduced");
}

/// Calls until the service is there. False when the driver stops before, or the service refuses.
async fn insist<C: golem_model::Call + Clone>(driver: &Driver, service: &str, call: C) -> bool {
    let mut wait = Duration::from_millis(20);
    loop {
        match driver.bus.call(service, Caller::local(), call.clone(), Duration::from_secs(10)).await {
            Ok(_) => return true,
            Err(CallError::Service(problem)) => {
                warn!(service, ?problem, "the service refuses the payment driver");
                return false;
            }
            Err(CallError::Bus(_)) => {}
        }
        tokio::select! {
            () = driver.stop.cancelled() => return false,
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(2)),
        }
    }
}
