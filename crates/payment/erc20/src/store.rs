//! What the driver must not forget: accounts, transfers, transactions and every signed form of them.
//!
//! A transfer is `queued`, then part of a transaction (`sent`), then `paid`, then its notice is acknowledged (`told`).
//! One that can never be sent is `abandoned` and, when the payment service knows, `buried`. A transaction is `open`
//! until it is final (`done`) or can never be mined (`lost`). A signed form is written in the same commit that binds
//! the transfers to it, and before anybody else sees it (spec 42 §5.8).

mod read;
mod write;

use std::path::Path;

use alloy_primitives::{Address, B256, Bytes, U256};
use chrono::{DateTime, Utc};
use golem_model::payment::Network;
use golem_store::{Durability, OpenError, Store, StoreError};

pub(crate) use write::Signed;

const MIGRATIONS: [&str; 1] = [include_str!("store/schema.sql")];

/// One account on one network: what has its own nonces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneKey {
    pub(crate) network: Network,
    pub(crate) sender: Address,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DepositKey {
    pub(crate) contract: Address,
    pub(crate) id: U256,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Transfer,
    /// Test tokens for the sender itself.
    Mint,
    CloseDeposit,
}

impl Kind {
    const fn text(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Mint => "mint",
            Self::CloseDeposit => "close",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Transfer, Self::Mint, Self::CloseDeposit].into_iter().find(|kind| kind.text() == text)
    }
}

/// A transfer that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Queued {
    pub(crate) payment_id: String,
    pub(crate) kind: Kind,
    pub(crate) recipient: Address,
    pub(crate) amount: U256,
    pub(crate) deposit: Option<DepositKey>,
    pub(crate) due_at: DateTime<Utc>,
    pub(crate) created_at: DateTime<Utc>,
    /// Not to be tried again before.
    pub(crate) not_before: DateTime<Utc>,
    /// How often the chain refused it.
    pub(crate) tries: u32,
}

/// A new transfer.
#[derive(Clone, Debug)]
pub(crate) struct NewTransfer {
    pub(crate) lane: LaneKey,
    pub(crate) payment_id: String,
    pub(crate) kind: Kind,
    pub(crate) recipient: Address,
    pub(crate) amount: U256,
    pub(crate) deposit: Option<DepositKey>,
    pub(crate) due_at: DateTime<Utc>,
    /// Whether the payment service is told of it.
    pub(crate) notify: bool,
    pub(crate) now: DateTime<Utc>,
}

/// A transaction on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenTransaction {
    pub(crate) id: i64,
    pub(crate) nonce: u64,
    pub(crate) target: Address,
    pub(crate) input: Bytes,
    pub(crate) gas_limit: u64,
    /// Oldest first, never empty.
    pub(crate) attempts: Vec<Attempt>,
}

/// A signed form of a transaction; each has other fees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) hash: B256,
    pub(crate) raw: Bytes,
    pub(crate) max_fee: u128,
    pub(crate) tip: u128,
    pub(crate) made_at: DateTime<Utc>,
}

/// A final transaction that is looked at once more when it lies deeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsettled {
    pub(crate) id: i64,
    pub(crate) hash: B256,
    pub(crate) block: u64,
    pub(crate) created_at: DateTime<Utc>,
}

/// Something that the payment service does not know yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Paid { network: Network, payment_id: String, sender: Address, recipient: Address, amount: U256, hash: B256 },
    Abandoned { payment_id: String, reason: String },
}

impl News {
    pub(crate) fn payment_id(&self) -> &str {
        match self {
            Self::Paid { payment_id, .. } | Self::Abandoned { payment_id, .. } => payment_id,
        }
    }
}

/// Where a transfer stands, for those who wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Waiting,
    Paid,
    Abandoned(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Books(Store);

impl Books {
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        Store::open(path, Durability::Power, &MIGRATIONS).map(Self)
    }
}

/// A row that this program cannot have written.
fn damaged(what: &'static str) -> StoreError {
    golem_store::rusqlite::Error::ToSqlConversionFailure(format!("damaged value of `{what}`").into()).into()
}

fn millis(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}
