//! Bodies of the market's REST interface (spec 32 §3).

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::{AgreementId, ProposalId, Role, SubscriptionId};
use crate::NodeId;
use crate::reason::Reason;

/// What a client posts to publish or to counter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DemandOfferBase {
    /// Flat, nested or mixed (spec 30 §2).
    pub properties: Value,
    pub constraints: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// The flat object.
    pub properties: Value,
    pub constraints: String,
    pub offer_id: SubscriptionId,
    pub provider_id: NodeId,
    pub timestamp: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Demand {
    /// The flat object.
    pub properties: Value,
    pub constraints: String,
    pub demand_id: SubscriptionId,
    pub requestor_id: NodeId,
    pub timestamp: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProposalState {
    Initial,
    Draft,
    Rejected,
    Accepted,
    Expired,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    pub properties: Value,
    pub constraints: String,
    pub proposal_id: ProposalId,
    pub issuer_id: NodeId,
    pub state: ProposalState,
    pub timestamp: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_proposal_id: Option<ProposalId>,
}

/// State as clients see it; the internal `Approving` shows as `Pending`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AgreementState {
    Proposal,
    Pending,
    Cancelled,
    Rejected,
    Approved,
    Expired,
    Terminated,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agreement {
    pub agreement_id: AgreementId,
    pub demand: Demand,
    pub offer: Offer,
    pub valid_to: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_date: Option<DateTime<Utc>>,
    pub state: AgreementState,
    pub timestamp: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_session_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed_signature: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_signature: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_signature: Option<String>,
}

impl Agreement {
    pub const fn requestor_id(&self) -> NodeId {
        self.demand.requestor_id
    }

    pub const fn provider_id(&self) -> NodeId {
        self.offer.provider_id
    }

    /// On which side of the agreement `node` stands.
    pub fn role_of(&self, node: NodeId) -> Option<Role> {
        if node == self.provider_id() {
            Some(Role::Provider)
        } else if node == self.requestor_id() {
            Some(Role::Requestor)
        } else {
            None
        }
    }
}

/// Asks to make an agreement of a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgreementProposal {
    /// Parsed by the receiver, whose answer to a malformed id differs from that to a malformed body.
    pub proposal_id: String,
    pub valid_to: DateTime<Utc>,
}

/// Entry of a list of agreements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgreementSummary {
    pub id: AgreementId,
    pub timestamp: DateTime<Utc>,
    /// `null` when there is none.
    pub approved_date: Option<DateTime<Utc>>,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScanType {
    Offer,
    Demand,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewScan {
    #[serde(rename = "type")]
    pub kind: ScanType,
    /// Seconds of idleness after which the scan ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraints: Option<String>,
}

/// What `/demands/{id}/events` and `/offers/{id}/events` deliver (spec 32 §3.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "eventType")]
pub enum NegotiationEvent {
    #[serde(rename = "ProposalEvent", rename_all = "camelCase")]
    Proposal {
        #[serde(serialize_with = "milliseconds")]
        event_date: DateTime<Utc>,
        proposal: Box<Proposal>,
    },
    #[serde(rename = "ProposalRejectedEvent", rename_all = "camelCase")]
    ProposalRejected {
        #[serde(serialize_with = "milliseconds")]
        event_date: DateTime<Utc>,
        proposal_id: ProposalId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
    },
    #[serde(rename = "AgreementEvent", rename_all = "camelCase")]
    Agreement {
        #[serde(serialize_with = "milliseconds")]
        event_date: DateTime<Utc>,
        agreement: Box<Agreement>,
    },
}

/// Entry of `/agreementEvents`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgreementEvent {
    /// Microseconds; clients use it as the cursor of their next question.
    #[serde(serialize_with = "microseconds")]
    pub event_date: DateTime<Utc>,
    pub agreement_id: AgreementId,
    #[serde(flatten)]
    pub kind: AgreementEventKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "eventType")]
pub enum AgreementEventKind {
    #[serde(rename = "AgreementApprovedEvent")]
    Approved,
    #[serde(rename = "AgreementRejectedEvent")]
    Rejected {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
    },
    #[serde(rename = "AgreementCancelledEvent")]
    Cancelled {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
    },
    #[serde(rename = "AgreementTerminatedEvent")]
    Terminated {
        terminator: Role,
        /// Always empty: nothing is signed.
        #[serde(default)]
        signature: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
    },
}

fn milliseconds<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    time.trunc_subsecs(3).serialize(serializer)
}

fn microseconds<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    time.trunc_subsecs(6).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole recorded bodies survive decoding and encoding; that pins names, order-free shape and precision.
    #[test]
    fn recorded_bodies_survive() {
        fn check<T: Serialize + serde::de::DeserializeOwned>(label: &str, body: &Value) {
            let parsed: T = serde_json::from_value(body.clone()).unwrap_or_else(|e| panic!("{label}: {e}"));
            assert_eq!(&serde_json::to_value(&parsed).unwrap(), body, "{label}");
        }
        let texts = [
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/market/rest-happy-path.json")),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/market/rest-two-nodes.json")),
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../tests/vectors/market/rest-rejections-and-errors.json"
            )),
        ];
        let mut seen = 0;
        for text in texts {
            let vectors: Value = serde_json::from_str(text).unwrap();
            for case in vectors["cases"].as_array().unwrap().iter().filter(|case| case["status"] == 200) {
                let (label, path, body) =
                    (case["label"].as_str().unwrap(), case["path"].as_str().unwrap(), &case["body"]);
                if !body.is_object() && !body.is_array() {
                    continue;
                }
                seen += 1;
                if path.contains("/agreementEvents") {
                    check::<Vec<AgreementEvent>>(label, body);
                } else if path.contains("/terminate/reason") {
                    check::<AgreementEvent>(label, body);
                } else if path.contains("/events") && !path.contains("/scan") {
                    check::<Vec<NegotiationEvent>>(label, body);
                } else if path.contains("/proposals/") {
                    check::<Proposal>(label, body);
                } else if path.contains("/scan") {
                    check::<Vec<Offer>>(label, body);
                } else if path.contains("/agreements/") {
                    check::<Agreement>(label, body);
                } else if path.contains("/agreements") {
                    check::<Vec<AgreementSummary>>(label, body);
                } else {
                    seen -= 1;
                }
            }
        }
        assert!(seen > 30, "{seen}");
    }
}
