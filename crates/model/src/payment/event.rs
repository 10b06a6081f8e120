//! Events of documents and troubles of drivers (spec 40 §3, §10, 41 §3.9).

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};

use super::Rejection;
use crate::Amount;

/// The kinds of events, as they are named in the headers that choose among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    Received,
    Accepted,
    Rejected,
    Cancelled,
    Settled,
    PaymentEvent,
    PaymentOk,
}

impl EventType {
    pub const ALL: [Self; 7] = [
        Self::Received,
        Self::Accepted,
        Self::Rejected,
        Self::Cancelled,
        Self::Settled,
        Self::PaymentEvent,
        Self::PaymentOk,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "RECEIVED",
            Self::Accepted => "ACCEPTED",
            Self::Rejected => "REJECTED",
            Self::Cancelled => "CANCELLED",
            Self::Settled => "SETTLED",
            Self::PaymentEvent => "PAYMENT_EVENT",
            Self::PaymentOk => "PAYMENT_OK",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Trouble of a driver that keeps payments from being made (spec 42 §5.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum DriverStatusProperty {
    #[serde(rename_all = "camelCase")]
    InsufficientGas { driver: String, network: String, address: String, needed_gas_est: String },
    #[serde(rename_all = "camelCase")]
    InsufficientToken { driver: String, network: String, address: String, needed_token_est: String },
    #[serde(rename_all = "camelCase")]
    InvalidChainId { driver: String, chain_id: i64 },
    #[serde(rename_all = "camelCase")]
    CantSign { driver: String, network: String, address: String },
    #[serde(rename_all = "camelCase")]
    TxStuck { driver: String, network: String },
    #[serde(rename_all = "camelCase")]
    RpcError { driver: String, network: String },
}

impl DriverStatusProperty {
    pub fn driver(&self) -> &str {
        match self {
            Self::InsufficientGas { driver, .. }
            | Self::InsufficientToken { driver, .. }
            | Self::InvalidChainId { driver, .. }
            | Self::CantSign { driver, .. }
            | Self::TxStuck { driver, .. }
            | Self::RpcError { driver, .. } => driver,
        }
    }

    pub fn network(&self) -> Option<&str> {
        match self {
            Self::InvalidChainId { .. } => None,
            Self::InsufficientGas { network, .. }
            | Self::InsufficientToken { network, .. }
            | Self::CantSign { network, .. }
            | Self::TxStuck { network, .. }
            | Self::RpcError { network, .. } => Some(network),
        }
    }

    /// What is missing, positive.
    pub fn needed(amount: Amount) -> String {
        amount.trimmed().to_string()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceEvent {
    pub invoice_id: String,
    /// Microseconds; clients use it as the cursor of their next question.
    #[serde(serialize_with = "microseconds")]
    pub event_date: DateTime<Utc>,
    #[serde(flatten)]
    pub kind: InvoiceEventKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "eventType")]
pub enum InvoiceEventKind {
    #[serde(rename = "InvoiceReceivedEvent")]
    Received,
    #[serde(rename = "InvoiceAcceptedEvent")]
    Accepted,
    #[serde(rename = "InvoiceRejectedEvent")]
    Rejected { rejection: Rejection },
    #[serde(rename = "InvoiceCancelledEvent")]
    Cancelled,
    #[serde(rename = "InvoiceSettledEvent")]
    Settled,
    #[serde(rename = "InvoicePaymentStatusEvent")]
    PaymentStatus { property: DriverStatusProperty },
    #[serde(rename = "InvoicePaymentOkEvent")]
    PaymentOk,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DebitNoteEvent {
    pub debit_note_id: String,
    /// Microseconds; clients use it as the cursor of their next question.
    #[serde(serialize_with = "microseconds")]
    pub event_date: DateTime<Utc>,
    #[serde(flatten)]
    pub kind: DebitNoteEventKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "eventType")]
pub enum DebitNoteEventKind {
    #[serde(rename = "DebitNoteReceivedEvent")]
    Received,
    #[serde(rename = "DebitNoteAcceptedEvent")]
    Accepted,
    #[serde(rename = "DebitNoteRejectedEvent")]
    Rejected { rejection: Rejection },
    #[serde(rename = "DebitNoteCancelledEvent")]
    Cancelled,
    #[serde(rename = "DebitNoteSettledEvent")]
    Settled,
    #[serde(rename = "DebitNotePaymentStatusEvent")]
    PaymentStatus { property: DriverStatusProperty },
    #[serde(rename = "DebitNotePaymentOkEvent")]
    PaymentOk,
}

fn microseconds<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
}
