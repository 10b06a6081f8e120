//! Errors between the markets of two nodes (spec 31 §9).
//!
//! A peer decodes exactly these variants, so no other is ever sent.

use serde::{Deserialize, Serialize};

use super::{OwnedAgreementId, ProposalId, SubscriptionId};
use crate::NodeId;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum DiscoveryRemoteError {
    #[error("Internal error: {0}")]
    InternalError(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum CounterProposalError {
    #[error("{0} (proposal [{1}])")]
    Gsb(String, ProposalId),
    #[error("Countering proposal [{0}] without previous proposal.")]
    NoPrevious(ProposalId),
    #[error("{0}")]
    Remote(RemoteProposalError, ProposalId),
    #[error("{0}")]
    RemoteInternal(RemoteProposalError),
    #[error("Can't parse caller [{caller}]: {e}")]
    CallerParse { caller: String, e: String },
    #[error("Timeout while sending counter Proposal")]
    Timeout,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RemoteProposalError {
    #[error("{0}")]
    Validation(ProposalValidationError),
    #[error("Proposal [{0}] not found.")]
    NotFound(ProposalId),
    #[error("Proposal [{0}] already has counter proposal. Can't counter for the second time.")]
    AlreadyCountered(ProposalId),
    #[error("Proposal id [{0}] is not the hash of its proposal: {1}")]
    InvalidId(ProposalId, String),
    #[error("Can't parse caller [{caller}]: {e}")]
    CallerParse { caller: String, e: String },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ProposalValidationError {
    #[error("Subscription [{0}] wasn't found.")]
    NoSubscription(SubscriptionId),
    #[error("Subscription [{0}] was already unsubscribed.")]
    Unsubscribed(SubscriptionId),
    #[error("Subscription [{0}] expired.")]
    SubscriptionExpired(SubscriptionId),
    #[error("{0}")]
    NotMatching(MatchValidationError),
    #[error("Can't react to own Proposal [{0}].")]
    OwnProposal(ProposalId),
    #[error("Node [{1}] is no party of the negotiation of Proposal [{0}].")]
    Unauthorized(ProposalId, NodeId),
    #[error("Internal error: {0}")]
    Internal(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum MatchValidationError {
    #[error("Proposal properties [{new}] doesn't match previous Proposal [{prev}]. {mismatches}")]
    NotMatching { new: ProposalId, prev: ProposalId, mismatches: String },
    #[error("Can't match Proposal [{new}] with previous Proposal [{prev}]. Error: {error}")]
    MatchingFailed { new: ProposalId, prev: ProposalId, error: String },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RejectProposalError {
    #[error("{0} (proposal [{1}])")]
    Gsb(String, ProposalId),
    #[error("{0}")]
    Get(GetProposalError),
    #[error("{0}")]
    ChangeState(ChangeProposalStateError),
    #[error("{0}")]
    Validation(ProposalValidationError),
    #[error("Can't parse caller [{caller}]: {e}")]
    CallerParse { caller: String, e: String },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum GetProposalError {
    #[error("Proposal [{0}] not found.")]
    NotFound(ProposalId, Option<SubscriptionId>),
    #[error("Can't read Proposal [{0}]: {2}")]
    Internal(ProposalId, Option<SubscriptionId>, String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ChangeProposalStateError {
    #[error("Can't change Proposal [{0}] to {1}: {2}")]
    Db(ProposalId, String, String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ProposeAgreementError {
    #[error("{0} (agreement [{1}])")]
    Gsb(String, OwnedAgreementId),
    #[error("Remote failed to propose. Error: {0}")]
    Remote(RemoteProposeAgreementError, OwnedAgreementId),
    #[error("Agreement [{0}] is not signed.")]
    NotSigned(OwnedAgreementId),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RemoteProposeAgreementError {
    #[error("Proposal [{0}] not found.")]
    NotFound(ProposalId),
    #[error("Proposal [{0}] is the Requestor's own.")]
    RequestorOwn(ProposalId),
    #[error("No negotiation took place for Proposal [{0}].")]
    NoNegotiations(ProposalId),
    #[error("Proposal [{0}] is already countered.")]
    AlreadyCountered(ProposalId),
    #[error("Agreement id is invalid, it should be [{0}].")]
    InvalidId(OwnedAgreementId),
    #[error("{public_msg}")]
    Unexpected { public_msg: String, original_msg: String },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum AgreementProtocolError {
    #[error("{0} (agreement [{1}])")]
    Gsb(String, OwnedAgreementId),
    #[error("Remote failed to approve. Error: {0}")]
    Remote(RemoteAgreementError),
    #[error("Can't parse caller [{caller}]: {e}")]
    CallerParse { caller: String, e: String },
    #[error("Timeout while sending approval of Agreement [{0}]")]
    Timeout(OwnedAgreementId),
    #[error("No approval time of Agreement [{0}]")]
    NoApprovalTimestamp(OwnedAgreementId),
    #[error("Agreement [{0}] is not signed.")]
    NotSigned(OwnedAgreementId),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum TerminateAgreementError {
    #[error("{0} (agreement [{1}])")]
    Gsb(String, OwnedAgreementId),
    #[error("Remote failed to terminate. Error: {0}")]
    Remote(RemoteAgreementError),
    #[error("Can't parse caller [{caller}]: {e}")]
    CallerParse { caller: String, e: String },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RemoteAgreementError {
    #[error("Agreement [{0}] not found.")]
    NotFound(OwnedAgreementId),
    #[error("Agreement [{0}] expired.")]
    Expired(OwnedAgreementId),
    /// With the internal name of the state.
    #[error("Agreement [{0}] in state {1}, can't be changed.")]
    InvalidState(OwnedAgreementId, String),
    #[error("Internal error at Agreement [{0}].")]
    InternalError(OwnedAgreementId),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum CommitAgreementError {
    #[error("{0} (agreement [{1}])")]
    Gsb(String, OwnedAgreementId),
    #[error("Remote failed to commit Agreement [{1}]. Error: {0}")]
    Remote(RemoteCommitAgreementError, OwnedAgreementId),
    #[error("Can't parse caller [{caller}]: {e}")]
    CallerParse { caller: String, e: String },
    #[error("Agreement [{0}] is not signed.")]
    NotSigned(OwnedAgreementId),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RemoteCommitAgreementError {
    #[error("expired")]
    Expired,
    #[error("cancelled")]
    Cancelled,
    #[error("not found")]
    NotFound,
    #[error("invalid state {0}")]
    InvalidState(String),
    #[error("{public_msg}")]
    Unexpected { public_msg: String, original_msg: String },
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check<E: Serialize + serde::de::DeserializeOwned>(case: &Value) {
        let error = &case["reply"]["Err"];
        let decoded: E = serde_json::from_value(error.clone()).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(&serde_json::to_value(&decoded).unwrap(), error);
    }

    #[test]
    fn observed_errors_survive() {
        let vectors = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/market/wire-errors.json"));
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for case in vectors["cases"].as_array().unwrap().iter().filter(|case| case["reply"]["Err"] != Value::Null) {
            match case["to"].as_str().unwrap() {
                "AgreementTerminated" => check::<TerminateAgreementError>(case),
                "AgreementCancelled" => check::<AgreementProtocolError>(case),
                "AgreementCommitted" => check::<CommitAgreementError>(case),
                "AgreementReceived" => check::<ProposeAgreementError>(case),
                "ProposalReceived" | "InitialProposalReceived" => check::<CounterProposalError>(case),
                "ProposalRejected" => check::<RejectProposalError>(case),
                other => panic!("unknown message {other}"),
            }
        }
    }

    #[test]
    fn unit_variants_are_strings() {
        assert_eq!(serde_json::to_value(CounterProposalError::Timeout).unwrap(), json!("Timeout"));
    }
}
