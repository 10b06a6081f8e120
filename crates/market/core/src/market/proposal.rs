use std::sync::Arc;

use chrono::NaiveDateTime;
use golem_model::NodeId;
use golem_model::market::{ProposalId, ProposalState, Role, SubscriptionId};
use golem_properties::Artifact;

/// Who negotiates about what, and on which side this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    pub role: Role,
    pub offer: SubscriptionId,
    pub demand: SubscriptionId,
    pub provider: NodeId,
    pub requestor: NodeId,
}

impl Party {
    /// The subscription of this node.
    pub const fn subscription(&self) -> SubscriptionId {
        match self.role {
            Role::Provider => self.offer,
            Role::Requestor => self.demand,
        }
    }

    pub const fn node(&self, role: Role) -> NodeId {
        match role {
            Role::Provider => self.provider,
            Role::Requestor => self.requestor,
        }
    }

    /// The identity that negotiates here.
    pub const fn me(&self) -> NodeId {
        self.node(self.role)
    }

    /// The one on the other side.
    pub const fn peer(&self) -> NodeId {
        self.node(self.role.other())
    }
}

/// This node's copy of a proposal.
#[derive(Clone, Debug)]
pub struct Proposal {
    pub id: ProposalId,
    pub party: Arc<Party>,
    pub previous: Option<ProposalId>,
    pub counter: Option<ProposalId>,
    /// An agreement was made of it, once and for all.
    pub promoted: bool,
    pub issuer: Role,
    pub state: ProposalState,
    pub properties: Arc<str>,
    pub constraints: Arc<str>,
    pub(crate) compiled: Option<Arc<Artifact>>,
    pub created: NaiveDateTime,
    pub expires: NaiveDateTime,
}

impl Proposal {
    pub fn issuer_id(&self) -> NodeId {
        self.party.node(self.issuer)
    }

    /// State as clients see it.
    pub fn state_at(&self, now: NaiveDateTime) -> ProposalState {
        match self.state {
            ProposalState::Initial | ProposalState::Draft if self.expires <= now => ProposalState::Expired,
            state => state,
        }
    }

    /// The state of a proposal that is countered although it was rejected.
    pub(crate) const fn revive(&mut self) {
        if matches!(self.state, ProposalState::Rejected) {
            self.state = if self.previous.is_none() { ProposalState::Initial } else { ProposalState::Draft };
        }
    }
}
