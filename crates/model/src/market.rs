//! The market: ids, REST bodies (spec 32 §3), the messages between daemons (spec 31) and the agreement
//! queries that the other services of a node use (spec 31 §12).

pub mod error;
mod ids;
mod objects;
pub mod peer;
mod query;

pub use ids::{AgreementId, OwnedAgreementId, ParseIdError, ProposalId, Role, SubscriptionId};
pub use objects::{
    Agreement, AgreementEvent, AgreementEventKind, AgreementProposal, AgreementState, AgreementSummary, Demand,
    DemandOfferBase, NegotiationEvent, NewScan, Offer, Proposal, ProposalState, ScanType,
};
pub use query::{ADDRESS, GetAgreement, GetLastBcastTs, ListAgreements, PUBLIC_ADDRESS, RpcMessageError};
