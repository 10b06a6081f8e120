//! Messages between the payment services of two nodes, `/public/payment` (spec 40 §7).
//!
//! The payment part of a message is camelCase, what stands beside it snake_case.

use serde::{Deserialize, Serialize};

use super::{Acceptance, Ack, DebitNote, Invoice, Payment, Rejection};
use crate::NodeId;
use crate::call::calls;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum SendError {
    #[error("Service error: {0}")]
    ServiceError(String),
    #[error("Bad request: {0}")]
    BadRequest(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum AcceptRejectError {
    #[error("Service error: {0}")]
    ServiceError(String),
    #[error("Bad request: {0}")]
    BadRequest(String),
    #[error("Object not found")]
    ObjectNotFound,
    #[error("Forbidden")]
    Forbidden,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum CancelError {
    #[error("Service error: {0}")]
    ServiceError(String),
    #[error("Object not found")]
    ObjectNotFound,
    #[error("Forbidden")]
    Forbidden,
    #[error("Conflict")]
    Conflict,
}

/// Everything of a sync that was refused, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("payments refused: {payment_send_errors:?}, answers refused: {accept_errors:?}")]
pub struct PaymentSyncError {
    pub payment_send_errors: Vec<SendError>,
    pub accept_errors: Vec<AcceptRejectError>,
}

/// From the provider; the note itself is the body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SendDebitNote(pub DebitNote);

/// From the provider; the invoice itself is the body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SendInvoice(pub Invoice);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcceptDebitNote {
    pub debit_note_id: String,
    pub acceptance: Acceptance,
    /// Which identity of the receiver issued it.
    pub issuer_id: NodeId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectDebitNote {
    pub debit_note_id: String,
    pub rejection: Rejection,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CancelDebitNote {
    pub debit_note_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcceptInvoice {
    pub invoice_id: String,
    pub acceptance: Acceptance,
    pub issuer_id: NodeId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectInvoiceV2 {
    pub invoice_id: String,
    pub rejection: Rejection,
    pub issuer_id: NodeId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CancelInvoice {
    pub invoice_id: String,
    pub recipient_id: NodeId,
}

/// The old form, for peers that do not know [`SendPaymentWithBytes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendPayment {
    #[serde(flatten)]
    pub payment: Payment,
    pub signature: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendPaymentWithBytes {
    #[serde(flatten)]
    pub payment: Payment,
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub signed_bytes: Vec<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentSync {
    pub payments: Vec<SendPayment>,
    pub invoice_accepts: Vec<AcceptInvoice>,
    pub invoice_rejects: Vec<RejectInvoiceV2>,
    pub debit_note_accepts: Vec<AcceptDebitNote>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentSyncWithBytes {
    pub payments: Vec<SendPaymentWithBytes>,
    pub invoice_accepts: Vec<AcceptInvoice>,
    pub invoice_rejects: Vec<RejectInvoiceV2>,
    pub debit_note_accepts: Vec<AcceptDebitNote>,
}

/// From the provider: tell me what I may have missed. The body is null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentSyncNeeded;

calls! {
    SendDebitNote -> Ack, SendError;
    AcceptDebitNote -> Ack, AcceptRejectError;
    RejectDebitNote -> Ack, AcceptRejectError;
    CancelDebitNote -> Ack, CancelError;
    SendInvoice -> Ack, SendError;
    AcceptInvoice -> Ack, AcceptRejectError;
    RejectInvoiceV2 -> Ack, AcceptRejectError;
    CancelInvoice -> Ack, CancelError;
    SendPayment -> Ack, SendError;
    SendPaymentWithBytes -> Ack, SendError;
    PaymentSync -> Ack, PaymentSyncError;
    PaymentSyncWithBytes -> Ack, PaymentSyncError;
    PaymentSyncNeeded -> Ack, SendError;
}
