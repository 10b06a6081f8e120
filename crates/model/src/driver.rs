//! What the payment service asks its drivers, `/local/driver/<name>` (spec 42 §1.2).
//!
//! What drivers tell the payment service stands in [`crate::payment::local`].

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::call::calls;
use crate::payment::local::{GenericError, RpcEndpoints};
use crate::payment::{Ack, Allocation, Deposit, DriverStatusProperty, Payment};
use crate::{Amount, NodeId};

/// Address of the driver `name`.
pub fn address(name: &str) -> String {
    format!("/local/driver/{name}")
}

/// What an account is used for: bit 1 receives, bit 2 sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountMode {
    pub bits: u32,
}

impl AccountMode {
    pub const NONE: Self = Self { bits: 0 };
    pub const RECEIVE: Self = Self { bits: 1 };
    pub const SEND: Self = Self { bits: 2 };
    pub const BOTH: Self = Self { bits: 3 };

    pub const fn sends(self) -> bool {
        self.bits & Self::SEND.bits != 0
    }

    pub const fn receives(self) -> bool {
        self.bits & Self::RECEIVE.bits != 0
    }

    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self { bits: self.bits | other.bits }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkDetails {
    pub default_token: String,
    /// Token in display case → platform.
    pub tokens: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverDetails {
    pub default_network: String,
    pub networks: BTreeMap<String, NetworkDetails>,
    pub recv_init_required: bool,
}

/// Native coin that pays for transactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GasDetails {
    pub currency_long_name: String,
    pub currency_short_name: String,
    pub balance: Amount,
}

/// Bytes that prove a payment to its payee: the transaction's hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentConfirmation {
    #[serde(with = "serde_bytes")]
    pub confirmation: Vec<u8>,
}

calls! {
    Init -> Ack, GenericError;
    Fund -> String, GenericError;
    GetAccountBalance -> AccountBalance, GenericError;
    SchedulePayment -> String, GenericError;
    VerifyPayment -> PaymentDetails, VerifyPaymentError;
    ValidateAllocation -> ValidateAllocationResult, GenericError;
    DriverReleaseDeposit -> Ack, GenericError;
    SignPayment -> Vec<u8>, GenericError;
    SignPaymentCanonicalized -> Vec<u8>, GenericError;
    VerifySignature -> bool, GenericError;
    Transfer -> String, GenericError;
    FlushPayments -> FlushPaymentResult, GenericError;
    DriverStatus -> Vec<DriverStatusProperty>, DriverStatusError;
    GetRpcEndpoints -> RpcEndpoints, GenericError;
    Enter -> String, GenericError;
    Exit -> String, GenericError;
    ShutDown -> Ack, GenericError;
}

/// Makes an account usable; afterwards the driver registers it with the payment service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    pub address: String,
    #[serde(default)]
    pub network: Option<String>,
    #[serde(default)]
    pub token: Option<String>,
    pub mode: AccountMode,
}

/// Gets test coin and tokens; the answer is a text for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fund {
    pub address: String,
    #[serde(default)]
    pub network: Option<String>,
    #[serde(default)]
    pub token: Option<String>,
    #[serde(default)]
    pub mint_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetAccountBalance {
    pub address: String,
    pub platform: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountBalance {
    #[serde(default)]
    pub gas_details: Option<GasDetails>,
    pub token_balance: Amount,
    #[serde(default)]
    pub block_number: u64,
    #[serde(default)]
    pub block_datetime: DateTime<Utc>,
}

/// Orders a transfer. The answer is the payment id under which the driver will report it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulePayment {
    /// Id made by the payment service. A driver that has this id already answers it again and does nothing, so an
    /// order may be repeated after a crash (spec 40 §6.4). Foreign callers leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<String>,
    pub amount: Amount,
    pub sender: String,
    pub recipient: String,
    pub platform: String,
    #[serde(default)]
    pub deposit_id: Option<Deposit>,
    pub due_date: DateTime<Utc>,
}

/// Looks a payment up on the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyPayment {
    pub confirmation: PaymentConfirmation,
    pub platform: String,
    pub details: Payment,
}

/// What the chain says of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentDetails {
    pub recipient: String,
    pub sender: String,
    pub amount: Amount,
    #[serde(default)]
    pub date: Option<DateTime<Utc>>,
}

/// Why a payment is not verified. `NotYet` is worth asking again: the own chain node may lag behind the payer's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum VerifyPaymentError {
    #[error("{0}")]
    NotYet(String),
    #[error("{0}")]
    Refused(String),
}

/// Is there enough behind an allocation?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidateAllocation {
    pub address: String,
    pub platform: String,
    pub amount: Amount,
    #[serde(default)]
    pub timeout: Option<DateTime<Utc>>,
    #[serde(default)]
    pub deposit: Option<Deposit>,
    /// Released ones, of the same address and platform.
    pub past_allocations: Vec<Allocation>,
    pub active_allocations: Vec<Allocation>,
    pub new_allocation: bool,
    /// Accepted but not yet paid amounts of this address and platform that `active_allocations` do not show
    /// (spec 40 §5.6); to be left out of what is free.
    #[serde(default)]
    pub unpaid: Amount,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValidateAllocationResult {
    Valid,
    InsufficientAccountFunds {
        requested_funds: Amount,
        available_funds: Amount,
        reserved_funds: Amount,
    },
    InsufficientDepositFunds {
        requested_funds: Amount,
        available_funds: Amount,
    },
    TimeoutExceedsDeposit {
        requested_timeout: Option<DateTime<Utc>>,
        deposit_timeout: DateTime<Utc>,
    },
    TimeoutPassed {
        requested_timeout: DateTime<Utc>,
    },
    MalformedDepositContract,
    MalformedDepositId,
    /// In decimal digits.
    NoDeposit {
        deposit_id: String,
    },
    DepositReused {
        allocation_id: String,
    },
    DepositSpenderMismatch {
        deposit_spender: String,
    },
    DepositValidationError(String),
}

/// Closes a deposit on the chain, after the transfers that are queued for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverReleaseDeposit {
    pub platform: String,
    pub from: String,
    pub deposit_contract: String,
    pub deposit_id: String,
}

/// Signs in the old form (spec 40 §8.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignPayment(pub Payment);

/// Signs in the canonical form (spec 40 §8.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignPaymentCanonicalized(pub Payment);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifySignature {
    pub payment: Payment,
    pub signature: Vec<u8>,
    #[serde(default)]
    pub canonical: Option<Vec<u8>>,
}

/// A transfer that belongs to no document; the payment service is not told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    pub sender: String,
    pub to: String,
    pub amount: Amount,
    #[serde(default)]
    pub network: Option<String>,
    #[serde(default)]
    pub token: Option<String>,
    #[serde(default)]
    pub gas_price: Option<Amount>,
    #[serde(default)]
    pub max_gas_price: Option<Amount>,
    #[serde(default)]
    pub gas_limit: Option<u32>,
    #[serde(default)]
    pub gasless: bool,
}

/// Sends now what is queued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushPayments {
    #[serde(default)]
    pub node_id: Option<NodeId>,
    pub flush_date: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlushPaymentResult {
    FlushScheduled,
    FlushNotNeeded,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverStatus {
    #[serde(default)]
    pub network: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum DriverStatusError {
    #[error("No network with name '{0}'")]
    NetworkNotFound(String),
    #[error("{0}")]
    Other(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetRpcEndpoints {
    #[serde(default)]
    pub network: Option<String>,
    pub verify: bool,
    pub resolve: bool,
    pub no_wait: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enter {
    pub amount: Amount,
    pub address: String,
    #[serde(default)]
    pub network: Option<String>,
    #[serde(default)]
    pub token: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub sender: String,
    #[serde(default)]
    pub to: Option<String>,
    #[serde(default)]
    pub amount: Option<Amount>,
    #[serde(default)]
    pub network: Option<String>,
    #[serde(default)]
    pub token: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutDown {
    pub timeout: Duration,
}
