//! Queries that the other services and the command line put to the market of their node (spec 31 §12).

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Agreement, AgreementId, AgreementState, AgreementSummary, Role};
use crate::call::calls;

/// Service of the programs of this node.
pub const ADDRESS: &str = "/local/market";

/// Service that other nodes reach too; they learn only of agreements they are a party of.
pub const PUBLIC_ADDRESS: &str = "/public/market";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RpcMessageError {
    #[error("Service error: {0}")]
    Service(String),
    #[error("Market API error: {0}")]
    Market(String),
    #[error("Bad request: {0}")]
    BadRequest(String),
    #[error("Not found: {0}")]
    NotFound(String),
    #[error("Forbidden: {0}")]
    Forbidden(String),
    #[error("Timeout")]
    Timeout,
}

/// Sent to [`PUBLIC_ADDRESS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetAgreement {
    pub agreement_id: AgreementId,
    /// Which of the copies, should this node be both sides.
    pub role: Role,
}

/// Sent to [`PUBLIC_ADDRESS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListAgreements {
    #[serde(default)]
    pub state: Option<AgreementState>,
    #[serde(default)]
    pub before_date: Option<DateTime<Utc>>,
    #[serde(default)]
    pub after_date: Option<DateTime<Utc>>,
    #[serde(default)]
    pub app_session_id: Option<String>,
}

/// Sent to [`ADDRESS`]: when was the last broadcast of offers received?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetLastBcastTs;

calls! {
    GetAgreement -> Agreement, RpcMessageError;
    ListAgreements -> Vec<AgreementSummary>, RpcMessageError;
    GetLastBcastTs -> NaiveDateTime, RpcMessageError;
}
