//! Allocations, accounts and demand decorations (spec 40 §3, 41 §3).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::Amount;

/// A lock contract's deposit that pays instead of the requestor (spec 42 §6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// Hex digits, with or without `0x`.
    pub id: String,
    pub contract: String,
    /// Arguments for the contract's own check. Printed as `null` when absent.
    #[serde(default)]
    pub validate: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositUpdate {
    #[serde(default)]
    pub validate: Option<BTreeMap<String, String>>,
}

/// An amount set aside for accepting documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    pub allocation_id: String,
    pub address: String,
    pub payment_platform: String,
    pub total_amount: Amount,
    pub spent_amount: Amount,
    pub remaining_amount: Amount,
    pub timestamp: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deposit: Option<Deposit>,
    pub created_ts: DateTime<Utc>,
    pub updated_ts: DateTime<Utc>,
    /// Always false.
    #[serde(default)]
    pub make_deposit: bool,
}

/// Which platform a client wants: its name or any of its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PlatformChoice {
    Name(String),
    Parts {
        #[serde(default)]
        driver: Option<String>,
        #[serde(default)]
        network: Option<String>,
        #[serde(default)]
        token: Option<String>,
    },
}

/// Printed with all fields, absent ones as `null`: problem answers repeat it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewAllocation {
    #[serde(default)]
    pub address: Option<String>,
    #[serde(default)]
    pub payment_platform: Option<PlatformChoice>,
    pub total_amount: Amount,
    #[serde(default)]
    pub timeout: Option<DateTime<Utc>>,
    #[serde(default)]
    pub deposit: Option<Deposit>,
    #[serde(default)]
    pub make_deposit: bool,
    /// Seconds.
    #[serde(default)]
    pub extend_timeout: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocationUpdate {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_amount: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deposit: Option<DepositUpdate>,
}

/// What an allocation has paid for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocationExpenditure {
    pub allocation_id: String,
    pub agreement_id: String,
    /// None for the rest of an invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity_id: Option<String>,
    pub accepted_amount: Amount,
    pub scheduled_amount: Amount,
}

/// An address that may send or receive on a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub platform: String,
    pub address: String,
    pub driver: String,
    pub network: String,
    /// In display case: `GLM`, `tGLM`.
    pub token: String,
    pub send: bool,
    pub receive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketProperty {
    pub key: String,
    pub value: String,
}

/// What a demand says of its payment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketDecoration {
    pub properties: Vec<MarketProperty>,
    pub constraints: Vec<String>,
}
