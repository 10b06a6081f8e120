//! Debit notes and invoices (spec 40 §3).

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Amount, NodeId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DocumentStatus {
    Issued,
    Received,
    Accepted,
    Rejected,
    Failed,
    Settled,
    Cancelled,
}

impl DocumentStatus {
    pub const ALL: [Self; 7] =
        [Self::Issued, Self::Received, Self::Accepted, Self::Rejected, Self::Failed, Self::Settled, Self::Cancelled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "ISSUED",
            Self::Received => "RECEIVED",
            Self::Accepted => "ACCEPTED",
            Self::Rejected => "REJECTED",
            Self::Failed => "FAILED",
            Self::Settled => "SETTLED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl fmt::Display for DocumentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is none of the seven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the status of a document")]
pub struct ParseStatusError;

impl FromStr for DocumentStatus {
    type Err = ParseStatusError;

    fn from_str(text: &str) -> Result<Self, ParseStatusError> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(ParseStatusError)
    }
}

/// An intermediate claim: what an activity has cost so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DebitNote {
    pub debit_note_id: String,
    pub issuer_id: NodeId,
    pub recipient_id: NodeId,
    pub payee_addr: String,
    pub payer_addr: String,
    pub payment_platform: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_debit_note_id: Option<String>,
    pub timestamp: DateTime<Utc>,
    pub agreement_id: String,
    pub activity_id: String,
    pub total_amount_due: Amount,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_counter_vector: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_due_date: Option<DateTime<Utc>>,
    pub status: DocumentStatus,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewDebitNote {
    pub activity_id: String,
    pub total_amount_due: Amount,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_counter_vector: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_due_date: Option<DateTime<Utc>>,
}

/// The final claim of an agreement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invoice {
    pub invoice_id: String,
    pub issuer_id: NodeId,
    pub recipient_id: NodeId,
    pub payee_addr: String,
    pub payer_addr: String,
    pub payment_platform: String,
    pub timestamp: DateTime<Utc>,
    pub agreement_id: String,
    pub activity_ids: Vec<String>,
    pub amount: Amount,
    pub payment_due_date: DateTime<Utc>,
    pub status: DocumentStatus,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewInvoice {
    pub agreement_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity_ids: Option<Vec<String>>,
    pub amount: Amount,
    pub payment_due_date: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acceptance {
    pub total_amount_accepted: Amount,
    pub allocation_id: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RejectionReason {
    #[default]
    UnsolicitedService,
    BadService,
    IncorrectAmount,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    pub rejection_reason: RejectionReason,
    pub total_amount_accepted: Amount,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
