use golem_model::market::error::{MatchValidationError, ProposalValidationError};
use golem_model::market::{ProposalId, SubscriptionId};

/// Why a local counter is refused; the texts are those of the interface (spec 32 §6).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CounterError {
    #[error("Proposal [{0}] not found (subscription [{1}]).")]
    NotFound(ProposalId, SubscriptionId),
    #[error("{0}")]
    Validation(ProposalValidationError),
    #[error("Proposal [{0}] already has counter proposal. Can't counter for the second time.")]
    AlreadyCountered(ProposalId),
    #[error("this node keeps no more proposals")]
    Full,
}

impl From<MatchValidationError> for CounterError {
    fn from(error: MatchValidationError) -> Self {
        Self::Validation(ProposalValidationError::NotMatching(error))
    }
}

/// Why a local rejection is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RejectError {
    #[error("Proposal [{0}] not found (subscription [{1}]).")]
    NotFound(ProposalId, SubscriptionId),
    #[error("{0}")]
    Validation(ProposalValidationError),
}

/// Why no agreement is made of a proposal (spec 32 §7).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateAgreementError {
    #[error("Can't create Agreement for Proposal [{0}]. Proposal [{0}] not found.")]
    NotFound(ProposalId),
    #[error(
        "Can't create Agreement for Proposal [{0}]. No negotiation with Provider took place. (You should counter Proposal at least one time)"
    )]
    NoNegotiations(ProposalId),
    #[error(
        "Can't create Agreement for an own Proposal [{0}]. You can promote only provider's Proposals to Agreement."
    )]
    OwnProposal(ProposalId),
    #[error("Can't create Agreement for rejected Proposal [{0}].")]
    Rejected(ProposalId),
    #[error("Can't create second Agreement for Proposal [{0}].")]
    Second(ProposalId),
    #[error("Can't create Agreement for already countered Proposal [{0}].")]
    Countered(ProposalId),
}

pub use golem_model::market::error::RemoteProposeAgreementError as ProposeError;

/// A rejection that a peer sent and that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The client of this subscription has news.
    Told(SubscriptionId),
    /// Of a proposal that this node never saw, or that was rejected before.
    Nothing,
}
