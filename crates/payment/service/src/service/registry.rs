//! Drivers and accounts, as drivers announce them after each start.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use golem_model::driver::DriverDetails;
use golem_model::payment::local::{RegisterAccount, RegisterAccountError, RegisterDriver, RegisterDriverError};
use golem_model::payment::{Account, Network, PaymentPlatform};

/// Accounts that are kept. A daemon has one for each identity and platform.
const ACCOUNTS_MAX: usize = 10_000;

#[derive(Debug, Default)]
struct Tables {
    drivers: BTreeMap<String, DriverDetails>,
    /// By platform and lower-case address.
    accounts: BTreeMap<(String, String), Account>,
}

#[derive(Debug, Default)]
pub(crate) struct Registry(RwLock<Tables>);

impl Registry {
    fn read<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn register_driver(&self, driver: RegisterDriver) -> Result<(), RegisterDriverError> {
        let RegisterDriver { driver_name, details } = driver;
        if !details.networks.contains_key(&details.default_network) {
            return Err(RegisterDriverError::InvalidDefaultNetwork);
        }
        let wrong = details.networks.iter().find(|(_, network)| !network.tokens.contains_key(&network.default_token));
        if let Some((name, network)) = wrong {
            return Err(RegisterDriverError::InvalidDefaultToken(network.default_token.clone(), name.clone()));
        }
        self.write(|tables| tables.drivers.insert(driver_name, details));
        Ok(())
    }

    pub(crate) fn unregister_driver(&self, name: &str) {
        self.write(|tables| {
            tables.drivers.remove(name);
            tables.accounts.retain(|_, account| account.driver != name);
        });
    }

    /// Adds an account, or uses to one that is there.
    pub(crate) fn register_account(&self, new: &RegisterAccount) -> Result<(), RegisterAccountError> {
        let RegisterAccount { address, driver, network, token, mode } = new;
        self.write(|tables| {
            let details =
                tables.drivers.get(driver).ok_or_else(|| RegisterAccountError::DriverNotRegistered(driver.clone()))?;
            let tokens = details
                .networks
                .get(network)
                .ok_or_else(|| RegisterAccountError::UnsupportedNetwork(network.clone(), driver.clone()))?;
            let platform = tokens.tokens.get(token).ok_or_else(|| {
                RegisterAccountError::UnsupportedToken(token.clone(), network.clone(), driver.clone())
            })?;
            let key = (platform.clone(), address.to_ascii_lowercase());
            if tables.accounts.len() >= ACCOUNTS_MAX && !tables.accounts.contains_key(&key) {
                return Err(RegisterAccountError::Other(format!("there are {ACCOUNTS_MAX} accounts already")));
            }
            let account = tables.accounts.entry(key).or_insert_with(|| Account {
                platform: platform.clone(),
                address: address.to_ascii_lowercase(),
                driver: driver.clone(),
                network: network.clone(),
                token: token.clone(),
                send: false,
                receive: false,
            });
            account.send |= mode.sends();
            account.receive |= mode.receives();
            Ok(())
        })
    }

    pub(crate) fn unregister_account(&self, platform: &str, address: &str) {
        let key = (platform.to_owned(), address.to_ascii_lowercase());
        self.write(|tables| tables.accounts.remove(&key));
    }

    pub(crate) fn accounts(&self) -> Vec<Account> {
        self.read(|tables| tables.accounts.values().cloned().collect())
    }

    pub(crate) fn account(&self, platform: &str, address: &str) -> Option<Account> {
        let key = (platform.to_owned(), address.to_ascii_lowercase());
        self.read(|tables| tables.accounts.get(&key).cloned())
    }

    pub(crate) fn drivers(&self) -> BTreeMap<String, DriverDetails> {
        self.read(|tables| tables.drivers.clone())
    }

    /// Names of drivers other than erc20.
    pub(crate) fn other_drivers(&self) -> Vec<String> {
        self.read(|tables| tables.drivers.keys().filter(|name| *name != "erc20").cloned().collect())
    }

    /// The driver, network and token (in display case) behind a platform that a driver offers.
    pub(crate) fn platform(&self, platform: &str) -> Option<(String, String, String)> {
        self.read(|tables| {
            tables.drivers.iter().find_map(|(driver, details)| {
                details.networks.iter().find_map(|(network, of)| {
                    let token = of.tokens.iter().find(|(_, offered)| *offered == platform)?.0;
                    Some((driver.clone(), network.clone(), token.clone()))
                })
            })
        })
    }

    /// The platform of a driver's network and token, with the driver's defaults for what is not named.
    pub(crate) fn choose(
        &self,
        driver: &str,
        network: Option<&str>,
        token: Option<&str>,
    ) -> Result<(PaymentPlatform, String, String), String> {
        self.read(|tables| {
            let details = tables.drivers.get(driver).ok_or_else(|| format!("Driver not registered: {driver}"))?;
            let network = network.unwrap_or(&details.default_network);
            let of = details
                .networks
                .get(network)
                .ok_or_else(|| format!("Network not supported by driver: network={network}, driver={driver}"))?;
            let token = token.unwrap_or(&of.default_token);
            let platform = of.tokens.get(token).ok_or_else(|| {
                format!("Token not supported by driver: token={token}, network={network}, driver={driver}")
            })?;
            let parsed = platform.parse().map_err(|error| format!("{error}"))?;
            Ok((parsed, network.to_owned(), token.to_owned()))
        })
    }
}

/// Networks that nobody can pay on any more; lists may leave them out.
pub(crate) fn is_legacy(network: &str) -> bool {
    matches!(network.parse(), Ok(Network::Rinkeby | Network::Goerli | Network::Mumbai))
}
