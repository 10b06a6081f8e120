//! What keeps payments from being made, as it is now (spec 42 §5.6).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use alloy_primitives::U256;
use golem_model::Amount;
use golem_model::payment::{DriverStatusProperty, Network};

use crate::DRIVER;
use crate::store::LaneKey;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    CantSign,
    /// Wei that are missing.
    NoCoin(U256),
    NoTokens(U256),
    Stuck,
    Rpc,
}

/// Troubles of each lane; a lane replaces its own with each step, so what is over is gone.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<BTreeMap<LaneKey, Vec<Trouble>>>);

impl Troubles {
    /// Whether anything changed.
    pub(crate) fn replace(&self, lane: LaneKey, troubles: Vec<Trouble>) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if troubles.is_empty() { all.remove(&lane) } else { all.insert(lane, troubles.clone()) };
        before.unwrap_or_default() != troubles
    }

    pub(crate) fn of(&self, network: Option<Network>) -> Vec<DriverStatusProperty> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = all.iter().filter(|(lane, _)| network.is_none_or(|network| network == lane.network));
        let mut properties: Vec<DriverStatusProperty> = Vec::new();
        for property in wanted.flat_map(|(lane, troubles)| troubles.iter().map(|trouble| trouble.property(*lane))) {
            // Two accounts of a network may tell the same of it.
            if !properties.contains(&property) {
                properties.push(property);
            }
        }
        properties
    }
}

impl Trouble {
    fn property(&self, lane: LaneKey) -> DriverStatusProperty {
        let (driver, network) = (DRIVER.to_owned(), lane.network.name().to_owned());
        let address = crate::text(lane.sender);
        let needed = |wei: &U256| DriverStatusProperty::needed(Amount::from_wei(*wei));
        match self {
            Self::CantSign => DriverStatusProperty::CantSign { driver, network, address },
            Self::NoCoin(wei) => {
                DriverStatusProperty::InsufficientGas { driver, network, address, needed_gas_est: needed(wei) }
            }
            Self::NoTokens(wei) => {
                DriverStatusProperty::InsufficientToken { driver, network, address, needed_token_est: needed(wei) }
            }
            Self::Stuck => DriverStatusProperty::TxStuck { driver, network },
            Self::Rpc => DriverStatusProperty::RpcError { driver, network },
        }
    }
}
