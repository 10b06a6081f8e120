//! Payments as they are signed and sent (spec 40 §3, §8).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Amount, NodeId};

/// Share of a payment that is for an agreement itself: the rest of its invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgreementPayment {
    pub agreement_id: String,
    pub amount: Amount,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_id: Option<String>,
}

/// Share of a payment that is for the debit notes of an activity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivityPayment {
    pub activity_id: String,
    pub amount: Amount,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_id: Option<String>,
}

/// A transfer on the chain and what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    pub payment_id: String,
    pub payer_id: NodeId,
    pub payee_id: NodeId,
    pub payer_addr: String,
    pub payee_addr: String,
    pub payment_platform: String,
    pub amount: Amount,
    pub timestamp: DateTime<Utc>,
    pub agreement_payments: Vec<AgreementPayment>,
    pub activity_payments: Vec<ActivityPayment>,
    /// The transaction's hash in base64 with padding.
    pub details: String,
}

impl Payment {
    /// The form that is signed and sent: allocations are nobody else's business.
    #[must_use]
    pub fn without_allocations(mut self) -> Self {
        self.agreement_payments.iter_mut().for_each(|share| share.allocation_id = None);
        self.activity_payments.iter_mut().for_each(|share| share.allocation_id = None);
        self
    }

    /// Amounts of all shares.
    pub fn shares(&self) -> impl Iterator<Item = Amount> {
        let agreements = self.agreement_payments.iter().map(|share| share.amount);
        agreements.chain(self.activity_payments.iter().map(|share| share.amount))
    }
}

/// A payment as REST shows it. Both extra fields are there when it was signed in the canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedPayment {
    #[serde(flatten)]
    pub payment: Payment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Vec<u8>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_bytes: Option<Vec<u8>>,
}
