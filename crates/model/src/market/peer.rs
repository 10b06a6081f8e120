//! Messages between the markets of two nodes, protocol "mk1" (spec 31 §1.1, §4.1, §6.4, §7.3).
//!
//! Keys are camelCase in the messages, but snake_case in [`ProposalContent`] and [`Offer`]. `properties` is always the
//! stored JSON text, never a map, because it is hashed.

use chrono::NaiveDateTime;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::error::{
    AgreementProtocolError, CommitAgreementError, CounterProposalError, DiscoveryRemoteError, ProposeAgreementError,
    RejectProposalError, TerminateAgreementError,
};
use super::{OwnedAgreementId, ProposalId, SubscriptionId};
use crate::NodeId;
use crate::call::calls;
use crate::reason::Reason;

/// Service addresses. Each message type names the ones it is sent to.
pub const DISCOVERY: &str = "/public/market/protocol/mk1/discovery/offers";
pub const PROVIDER_PROPOSAL: &str = "/public/market/protocol/mk1/negotiation/provider/proposal";
pub const PROVIDER_AGREEMENT: &str = "/public/market/protocol/mk1/negotiation/provider/agreement";
pub const REQUESTOR_PROPOSAL: &str = "/public/market/protocol/mk1/negotiation/requestor/proposal";
pub const REQUESTOR_AGREEMENT: &str = "/public/market/protocol/mk1/negotiation/requestor/agreement";

/// Broadcast topics.
pub const OFFERS_TOPIC: &str = "market-protocol-discovery-mk1-offers";
pub const OFFERS_UNSUBSCRIBE_TOPIC: &str = "market-protocol-discovery-mk1-offers-unsubscribe";
pub const NEW_NEIGHBOUR_TOPIC: &str = "new-neighbour";

/// What stands where a signature would: nothing is signed (spec 31 §7.2).
pub const NO_SIGNATURE: &str = "NoSignature";
/// The same in terminations.
pub const NOT_SIGNED: &str = "NotSigned";

/// Body of both offer broadcasts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferIds {
    pub offer_ids: Vec<SubscriptionId>,
}

/// An offer as it travels between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub id: SubscriptionId,
    pub properties: String,
    pub constraints: String,
    pub node_id: NodeId,
    pub creation_ts: NaiveDateTime,
    /// When the sender stored it; without meaning to others.
    #[serde(default)]
    pub insertion_ts: Option<NaiveDateTime>,
    pub expiration_ts: NaiveDateTime,
}

/// `Get` to [`DISCOVERY`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetrieveOffers {
    pub offer_ids: Vec<SubscriptionId>,
}

/// `Query` to [`DISCOVERY`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryOffers {
    #[serde(default)]
    pub node_id: Option<NodeId>,
    #[serde(default)]
    pub constraint_expr: Option<String>,
    /// The one of the last answer.
    #[serde(default)]
    pub iterator: Option<ByteBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryOffersResult {
    pub offers: Vec<SubscriptionId>,
    /// None at the end.
    #[serde(default)]
    pub iterator: Option<ByteBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalContent {
    pub proposal_id: ProposalId,
    pub properties: String,
    pub constraints: String,
    pub creation_ts: NaiveDateTime,
    pub expiration_ts: NaiveDateTime,
}

/// The requestor's first counter, to [`PROVIDER_PROPOSAL`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitialProposalReceived {
    pub proposal: ProposalContent,
    pub offer_id: SubscriptionId,
    pub demand_id: SubscriptionId,
}

/// Later counters, to [`PROVIDER_PROPOSAL`] or [`REQUESTOR_PROPOSAL`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProposalReceived {
    pub prev_proposal_id: ProposalId,
    pub proposal: ProposalContent,
}

/// To [`PROVIDER_PROPOSAL`] or [`REQUESTOR_PROPOSAL`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProposalRejected {
    pub proposal_id: ProposalId,
    /// The proposal has no previous one, so the receiver never saw it.
    pub initial: bool,
    #[serde(default)]
    pub reason: Option<Reason>,
}

/// To [`PROVIDER_AGREEMENT`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgreementReceived {
    /// The provider's proposal that becomes an agreement.
    pub proposal_id: ProposalId,
    pub agreement_id: OwnedAgreementId,
    pub creation_ts: NaiveDateTime,
    pub valid_to: NaiveDateTime,
    pub signature: String,
}

/// To [`REQUESTOR_AGREEMENT`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgreementApproved {
    pub agreement_id: OwnedAgreementId,
    pub signature: String,
    pub approved_ts: NaiveDateTime,
}

/// To [`PROVIDER_AGREEMENT`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgreementCommitted {
    pub agreement_id: OwnedAgreementId,
    pub signature: String,
}

/// To [`REQUESTOR_AGREEMENT`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgreementRejected {
    pub agreement_id: OwnedAgreementId,
    #[serde(default)]
    pub reason: Option<Reason>,
    pub rejection_ts: NaiveDateTime,
}

/// To [`PROVIDER_AGREEMENT`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgreementCancelled {
    pub agreement_id: OwnedAgreementId,
    #[serde(default)]
    pub reason: Option<Reason>,
    pub cancellation_ts: NaiveDateTime,
}

/// To [`PROVIDER_AGREEMENT`] or [`REQUESTOR_AGREEMENT`], with the RECEIVER's owner in the id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgreementTerminated {
    pub agreement_id: OwnedAgreementId,
    #[serde(default)]
    pub reason: Option<Reason>,
    pub signature: String,
    pub termination_ts: NaiveDateTime,
}

calls! {
    RetrieveOffers as "Get" -> Vec<Offer>, DiscoveryRemoteError;
    QueryOffers as "Query" -> QueryOffersResult, DiscoveryRemoteError;
    InitialProposalReceived -> (), CounterProposalError;
    ProposalReceived -> (), CounterProposalError;
    ProposalRejected -> (), RejectProposalError;
    AgreementReceived -> (), ProposeAgreementError;
    AgreementApproved -> (), AgreementProtocolError;
    AgreementCommitted -> (), CommitAgreementError;
    AgreementRejected -> (), AgreementProtocolError;
    AgreementCancelled -> (), AgreementProtocolError;
    AgreementTerminated -> (), TerminateAgreementError;
}
