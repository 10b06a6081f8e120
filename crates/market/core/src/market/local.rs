//! What clients of this node do.

use std::sync::Arc;

use chrono::NaiveDateTime;
use golem_model::NodeId;
use golem_model::market::error::{MatchValidationError, ProposalValidationError};
use golem_model::market::{ProposalId, ProposalState, Role, SubscriptionId, peer};
use golem_properties::{Artifact, MatchError, Outcome, match_pair};

use super::{CounterError, CreateAgreementError, Market, PROPOSALS_MAX, Party, Proposal, RejectError};
use crate::agreement::Agreement;
use crate::catalogue::{DemandState, OfferState};
use crate::hash::proposal_hash;

/// A counter that is to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub id: ProposalId,
    pub from: NodeId,
    pub to: NodeId,
    pub message: Message,
}

#[derive(Clone, Debug)]
pub enum Message {
    Initial(peer::InitialProposalReceived),
    Next(peer::ProposalReceived),
}

impl Market {
    /// A proposal of a subscription of `client`.
    pub fn proposal_of(&self, client: NodeId, subscription: &SubscriptionId, id: &ProposalId) -> Option<&Proposal> {
        self.proposals
            .get(id)
            .filter(|proposal| proposal.party.subscription() == *subscription && proposal.party.me() == client)
    }

    /// Counters a proposal. The counter is stored; if it cannot be delivered call [`Self::counter_failed`].
    pub fn counter(
        &mut self,
        client: NodeId,
        subscription: SubscriptionId,
        id: ProposalId,
        (properties, constraints): (&str, &str),
        now: NaiveDateTime,
    ) -> Result<Outgoing, CounterError> {
        let previous = self.proposal_of(client, &subscription, &id).ok_or(CounterError::NotFound(id, subscription))?;
        let (party, expires) = (Arc::clone(&previous.party), previous.expires);
        self.check_usable(previous, now).map_err(CounterError::Validation)?;
        let created = self.stamp.next(now);
        let previous = self.proposal_of(client, &subscription, &id).ok_or(CounterError::NotFound(id, subscription))?;
        let new = ProposalId::new(party.role, &proposal_hash(&party.offer, &party.demand, created));
        let compiled = check_match(new, (properties, constraints), previous)?;
        if previous.counter.is_some() {
            return Err(CounterError::AlreadyCountered(id));
        }
        if self.proposals.len() >= PROPOSALS_MAX {
            return Err(CounterError::Full);
        }
        let is_first = previous.previous.is_none();
        let proposal = Proposal {
            id: new,
            previous: Some(id),
            counter: None,
            promoted: false,
            issuer: party.role,
            state: ProposalState::Draft,
            properties: properties.into(),
            constraints: constraints.into(),
            compiled: Some(compiled),
            created,
            expires,
            party: Arc::clone(&party),
        };
        let content = peer::ProposalContent {
            proposal_id: new,
            properties: properties.to_owned(),
            constraints: constraints.to_owned(),
            creation_ts: created,
            expiration_ts: expires,
        };
        let message = if is_first {
            Message::Initial(peer::InitialProposalReceived {
                proposal: content,
                offer_id: party.offer,
                demand_id: party.demand,
            })
        } else {
            Message::Next(peer::ProposalReceived { prev_proposal_id: id, proposal: content })
        };
        if let Some(previous) = self.proposals.get_mut(&id) {
            previous.counter = Some(new);
            previous.revive();
        }
        self.proposals.insert(new, proposal);
        Ok(Outgoing { id: new, from: party.me(), to: party.peer(), message })
    }

    /// Takes back a counter that did not reach the peer, so that the client may try again. `false` when the peer has
    /// reacted to it meanwhile, which proves that it did arrive.
    pub fn counter_failed(&mut self, id: &ProposalId) -> bool {
        let untouched = |p: &Proposal| p.counter.is_none() && p.state == ProposalState::Draft && !p.promoted;
        let Some(proposal) = self.proposals.get(id).filter(|proposal| untouched(proposal)) else { return false };
        let previous = proposal.previous;
        self.proposals.remove(id);
        if let Some(previous) = previous.and_then(|id| self.proposals.get_mut(&id)) {
            previous.counter = None;
        }
        true
    }

    /// Rejects a proposal of the other side. Returns who is to be told, unless the other side never saw it.
    pub fn reject(
        &mut self,
        client: NodeId,
        subscription: SubscriptionId,
        id: ProposalId,
        now: NaiveDateTime,
    ) -> Result<Option<(NodeId, Role)>, RejectError> {
        let proposal = self.proposal_of(client, &subscription, &id).ok_or(RejectError::NotFound(id, subscription))?;
        self.check_usable(proposal, now).map_err(RejectError::Validation)?;
        let Some(proposal) = self.proposals.get_mut(&id) else { return Err(RejectError::NotFound(id, subscription)) };
        if proposal.state != ProposalState::Accepted {
            proposal.state = ProposalState::Rejected;
        }
        let seen = proposal.previous.is_some();
        Ok(seen.then(|| (proposal.party.peer(), proposal.party.role.other())))
    }

    /// Checks 2 to 4 of spec 31 §6.3 for a proposal that this node wants to answer.
    fn check_usable(&self, proposal: &Proposal, now: NaiveDateTime) -> Result<(), ProposalValidationError> {
        if proposal.issuer == proposal.party.role {
            return Err(ProposalValidationError::OwnProposal(proposal.id));
        }
        self.check_subscriptions(&proposal.party, now)
    }

    pub(super) fn check_subscriptions(&self, party: &Party, now: NaiveDateTime) -> Result<(), ProposalValidationError> {
        match self.catalogue.offer(&party.offer, now) {
            OfferState::Active(_) => {}
            OfferState::Withdrawn => return Err(ProposalValidationError::Unsubscribed(party.offer)),
            OfferState::Expired => return Err(ProposalValidationError::SubscriptionExpired(party.offer)),
            OfferState::Unknown => return Err(ProposalValidationError::NoSubscription(party.offer)),
        }
        if party.role == Role::Provider {
            return Ok(());
        }
        match self.catalogue.demand(&party.demand, now) {
            DemandState::Active(_) => Ok(()),
            DemandState::Expired => Err(ProposalValidationError::SubscriptionExpired(party.demand)),
            DemandState::Unknown => Err(ProposalValidationError::NoSubscription(party.demand)),
        }
    }

    /// Makes an agreement of the provider's last proposal.
    pub fn create_agreement(
        &mut self,
        client: NodeId,
        id: ProposalId,
        valid_to: NaiveDateTime,
        now: NaiveDateTime,
    ) -> Result<Agreement, CreateAgreementError> {
        let ours = |p: &&Proposal| p.party.role == Role::Requestor && p.party.requestor == client;
        let not_found = CreateAgreementError::NotFound(id);
        let proposal = self.proposals.get(&id).filter(ours).ok_or_else(|| not_found.clone())?;
        let Some(demand) = proposal.previous.and_then(|id| self.proposals.get(&id)) else {
            return Err(CreateAgreementError::NoNegotiations(id));
        };
        if proposal.issuer == Role::Requestor {
            return Err(CreateAgreementError::OwnProposal(id));
        }
        if proposal.state == ProposalState::Rejected {
            return Err(CreateAgreementError::Rejected(id));
        }
        if proposal.promoted {
            return Err(CreateAgreementError::Second(id));
        }
        if proposal.counter.is_some() {
            return Err(CreateAgreementError::Countered(id));
        }
        let (offer, demand) = (proposal.clone(), demand.clone());
        let created = self.stamp.next(now);
        self.promote(&id);
        Ok(Agreement::propose(Role::Requestor, &offer, &demand, created, valid_to))
    }

    pub(super) fn promote(&mut self, id: &ProposalId) {
        if let Some(proposal) = self.proposals.get_mut(id) {
            proposal.promoted = true;
            proposal.state = ProposalState::Accepted;
        }
    }

    /// Undoes [`Self::create_agreement`] or [`Self::agreement_received`] when the agreement could not be stored.
    pub fn agreement_not_stored(&mut self, id: &ProposalId) {
        if let Some(proposal) = self.proposals.get_mut(id) {
            proposal.promoted = false;
            proposal.state = ProposalState::Draft;
        }
    }
}

/// Check 6: the new proposal matches the one it answers. The new one plays the demand.
pub(super) fn check_match(
    new: ProposalId,
    (properties, constraints): (&str, &str),
    previous: &Proposal,
) -> Result<Arc<Artifact>, MatchValidationError> {
    let prev = previous.id;
    let failed = |error: MatchError, side: &str| {
        let error = match error {
            MatchError::Constraints(error) => format!("Prepare error: Error parsing {side} constraints: {error}"),
            MatchError::Properties(error) => error.to_string(),
        };
        MatchValidationError::MatchingFailed { new, prev, error }
    };
    let compiled = Artifact::compile(properties, constraints).map_err(|error| failed(error, "Demand"))?;
    let answered = match &previous.compiled {
        Some(compiled) => Arc::clone(compiled),
        None => Artifact::compile(&previous.properties, &previous.constraints)
            .map(Arc::new)
            .map_err(|error| failed(error, "Offer"))?,
    };
    match match_pair(&compiled, &answered) {
        Outcome::Yes => Ok(Arc::new(compiled)),
        Outcome::No(missing) | Outcome::Undefined(missing) => {
            let mismatches =
                format!("Mismatched constraints - Offer: {:?}, Demand: {:?}", missing.offer, missing.demand);
            Err(MatchValidationError::NotMatching { new, prev, mismatches })
        }
    }
}
