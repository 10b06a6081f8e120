//! Messages to `/local/payment`: of drivers, the command line and the other services of this node (spec 40 §11).

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Account, Ack, Deposit, DriverStatusProperty, StatValue};
use crate::call::calls;
use crate::driver::{AccountMode, DriverDetails, GasDetails, PaymentConfirmation, ValidateAllocationResult};
use crate::{Amount, NodeId};

/// The error of most local messages: a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{inner}")]
pub struct GenericError {
    pub inner: String,
}

impl GenericError {
    pub fn new(error: impl std::fmt::Display) -> Self {
        Self { inner: error.to_string() }
    }
}

calls! {
    RegisterDriver -> Ack, RegisterDriverError;
    UnregisterDriver -> Ack, GenericError;
    RegisterAccount -> Ack, RegisterAccountError;
    UnregisterAccount -> Ack, GenericError;
    NotifyPayment -> Ack, GenericError;
    PaymentAbandoned -> Ack, GenericError;
    GetStatus -> StatusResult, GenericError;
    GetInvoiceStats -> InvoiceStats, GenericError;
    GetRpcEndpoints -> RpcEndpoints, GenericError;
    GetAccounts -> Vec<Account>, GenericError;
    GetDrivers -> BTreeMap<String, DriverDetails>, GenericError;
    PaymentDriverStatus -> Vec<DriverStatusProperty>, PaymentDriverStatusError;
    PaymentDriverStatusChange -> Ack, GenericError;
    ValidateAllocation -> ValidateAllocationResult, GenericError;
    ReleaseAllocations -> (), GenericError;
    ProcessBatchCycleInfo -> BatchCycle, ProcessBatchCycleError;
    ProcessBatchCycleSet -> BatchCycle, ProcessBatchCycleError;
    ProcessPaymentsNow -> ProcessPaymentsResult, ProcessPaymentsError;
    ShutDown -> Ack, GenericError;
}

/// A driver offers its networks; it may do so again after a restart of the payment service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterDriver {
    pub driver_name: String,
    pub details: DriverDetails,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RegisterDriverError {
    /// Token and network.
    #[error("Invalid default token specified: {0} for network: {1}")]
    InvalidDefaultToken(String, String),
    #[error("Invalid default network specified")]
    InvalidDefaultNetwork,
    #[error("Internal timeout")]
    InternalTimeout,
    #[error("{0}")]
    Other(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnregisterDriver(pub String);

/// A driver is ready to send from, or receive at, an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterAccount {
    pub address: String,
    pub driver: String,
    pub network: String,
    pub token: String,
    pub mode: AccountMode,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RegisterAccountError {
    /// Address and platform.
    #[error("Account already registered: address={0}, driver={1}")]
    AlreadyRegistered(String, String),
    #[error("Driver not registered: {0}")]
    DriverNotRegistered(String),
    #[error("Network not supported by driver: network={0}, driver={1}")]
    UnsupportedNetwork(String, String),
    #[error("Token not supported by driver: token={0}, network={1}, driver={2}")]
    UnsupportedToken(String, String, String),
    #[error("{0}")]
    Other(String),
    #[error("Internal timeout")]
    InternalTimeout,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnregisterAccount {
    pub platform: String,
    pub address: String,
}

/// A transfer is confirmed on the chain. Repeated by the driver until it is acknowledged (spec 40 §6.5, 42 §5.8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyPayment {
    pub driver: String,
    pub platform: String,
    /// All that was transferred under this payment id.
    pub amount: Amount,
    pub sender: String,
    pub recipient: String,
    pub payment_id: String,
    pub confirmation: PaymentConfirmation,
}

/// A transfer will never be sent. What it was for is accepted and open again, and goes into a later order under a new
/// payment id (spec 42 §5.12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentAbandoned {
    pub payment_id: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetStatus {
    pub address: String,
    pub driver: String,
    #[serde(default)]
    pub network: Option<String>,
    #[serde(default)]
    pub token: Option<String>,
    /// Unix seconds.
    pub after_timestamp: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusResult {
    pub amount: Amount,
    pub reserved: Amount,
    pub outgoing: StatusNotes,
    pub incoming: StatusNotes,
    pub driver: String,
    pub network: String,
    pub token: String,
    #[serde(default)]
    pub gas: Option<GasDetails>,
    #[serde(default)]
    pub block_number: u64,
    #[serde(default)]
    pub block_datetime: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusNotes {
    pub requested: StatValue,
    pub accepted: StatValue,
    pub confirmed: StatValue,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetInvoiceStats {
    pub node_id: NodeId,
    pub requestor: bool,
    pub provider: bool,
    pub since: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceStats {
    pub requestor: InvoiceStatusNotes,
    pub provider: InvoiceStatusNotes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceStatusNotes {
    pub issued: StatValue,
    pub received: StatValue,
    pub accepted: StatValue,
    pub rejected: StatValue,
    pub failed: StatValue,
    pub settled: StatValue,
    pub cancelled: StatValue,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetRpcEndpoints {
    pub address: String,
    pub driver: String,
    #[serde(default)]
    pub network: Option<String>,
    pub verify: bool,
    pub resolve: bool,
    pub no_wait: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RpcEndpoints {
    pub endpoints: Value,
    pub sources: Value,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetAccounts {}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetDrivers {
    #[serde(default)]
    pub ignore_legacy_networks: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentDriverStatus {
    #[serde(default)]
    pub driver: Option<String>,
    #[serde(default)]
    pub network: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum PaymentDriverStatusError {
    #[error("No driver with name '{0}'")]
    NoDriver(String),
    #[error("No network with name '{0}'")]
    NoNetwork(String),
    #[error("Internal error: {0}")]
    Internal(String),
}

/// A driver's troubles as they are now; replaces what it said before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentDriverStatusChange {
    pub properties: Vec<DriverStatusProperty>,
}

/// Would an allocation of `amount` be granted?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidateAllocation {
    pub platform: String,
    pub address: String,
    pub amount: Amount,
    #[serde(default)]
    pub timeout: Option<DateTime<Utc>>,
    #[serde(default)]
    pub deposit: Option<Deposit>,
    #[serde(default)]
    pub new_allocation: bool,
}

/// Releases all allocations of all identities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseAllocations {}

/// Asks when payments of `node_id` on `platform` are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessBatchCycleInfo {
    pub node_id: NodeId,
    pub platform: String,
}

/// Changes when payments are made. `interval` wins over `cron`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessBatchCycleSet {
    pub node_id: NodeId,
    pub platform: String,
    #[serde(default)]
    pub interval: Option<Duration>,
    #[serde(default)]
    pub cron: Option<String>,
    #[serde(default)]
    pub next_update: Option<DateTime<Utc>>,
    #[serde(default)]
    pub safe_payout: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchCycle {
    pub node_id: NodeId,
    pub platform: String,
    pub interval: Option<Duration>,
    pub cron: Option<String>,
    pub max_interval: Duration,
    pub extra_payment_time: Duration,
    /// UTC.
    pub next_process: NaiveDateTime,
    pub last_process: Option<NaiveDateTime>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ProcessBatchCycleError {
    #[error("Process batch cycle error: {0}")]
    ProcessBatchCycleError(String),
}

/// Makes all payments that are due, without waiting for the cycle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessPaymentsNow {
    pub node_id: NodeId,
    pub platform: String,
    pub skip_resolve: bool,
    pub skip_send: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessPaymentsResult {
    pub resolve_time_ms: f64,
    pub send_time_ms: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ProcessPaymentsError {
    #[error("Process payments error: {0}")]
    ProcessPaymentsError(String),
}

/// Stops making payments; drivers finish or keep what is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutDown {
    pub timeout: Duration,
}
