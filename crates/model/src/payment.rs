//! Payments: documents and REST bodies (spec 40 §3, 41), messages between daemons (spec 40 §7) and the messages of
//! this node's programs and drivers to the payment service (spec 40 §11).
//!
//! What a driver is asked stands in [`crate::driver`].

mod allocation;
mod document;
mod event;
pub mod local;
pub mod peer;
mod platform;
mod transfer;

use serde::{Deserialize, Serialize};

use crate::Amount;

pub use allocation::{
    Account, Allocation, AllocationExpenditure, AllocationUpdate, Deposit, DepositUpdate, MarketDecoration,
    MarketProperty, NewAllocation, PlatformChoice,
};
pub use document::{
    Acceptance, DebitNote, DocumentStatus, Invoice, NewDebitNote, NewInvoice, Rejection, RejectionReason,
};
pub use event::{DebitNoteEvent, DebitNoteEventKind, DriverStatusProperty, EventType, InvoiceEvent, InvoiceEventKind};
pub use platform::{Network, ParsePlatformError, PaymentPlatform};
pub use transfer::{ActivityPayment, AgreementPayment, Payment, SignedPayment};

/// Service of the programs of this node.
pub const ADDRESS: &str = "/local/payment";

/// Service of other nodes.
pub const PUBLIC_ADDRESS: &str = "/public/payment";

/// Demand property that fixes the platform of an agreement.
pub const CHOSEN_PLATFORM: &str = "golem.com.payment.chosen-platform";

/// Property with the version of the payment protocol a party speaks.
pub const PROTOCOL_VERSION_PROPERTY: &str = "golem.com.payment.protocol.version";

/// 3: multi transfers are understood, and a contract may be the sender of the token (spec 40 §2.1).
pub const PROTOCOL_VERSION: u32 = 3;

/// Property with a party's address on `platform`.
pub fn address_property(platform: &str) -> String {
    format!("golem.com.payment.platform.{platform}.address")
}

/// The empty answer `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {}

/// A sum and the number of agreements behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatValue {
    pub total_amount: Amount,
    pub agreements_count: u64,
}
