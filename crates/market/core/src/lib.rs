//! The market as pure state: who offers what, who asks for what, what was proposed and what was agreed.
//!
//! [`Market`] holds subscriptions, matches them, and keeps negotiations and their event queues. [`Agreement`] is a record
//! with the state machine of its handshake ([`agreement`]). [`Announcements`] and [`Neighbours`] decide what is broadcast
//! and whom to ask. Nothing here does I/O, reads a clock or rolls dice: time and random numbers come in as arguments,
//! what is to be sent comes out as values. The service drives it; tests drive it faster.
//!
//! A node serves both roles at once: a role belongs to a proposal or an agreement, never to the node.

pub mod agreement;
mod announce;
mod catalogue;
mod hash;
mod market;
mod neighbours;
mod queue;
mod stamp;
mod subscription;

pub use agreement::Agreement;
pub use announce::Announcements;
pub use catalogue::{AddError, Catalogue, DemandState, ForeignWithdrawal, OfferState, Swept, WithdrawError};
pub use hash::{proposal_hash, subscription_hash};
pub use market::{
    CounterError, CreateAgreementError, Market, Message, Outgoing, Party, Proposal, ProposeError, RejectError,
    Rejection,
};
pub use neighbours::Neighbours;
pub use queue::QueuedEvent;
pub use stamp::Stamp;
pub use subscription::{BadOffer, Subscription, TEXT_BYTES_MAX};
