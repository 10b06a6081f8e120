//! What peers tell this node. The caller is proved; whether it is a party is checked here.

use std::sync::Arc;

use chrono::NaiveDateTime;
use golem_model::NodeId;
use golem_model::market::error::{GetProposalError, ProposalValidationError, RejectProposalError, RemoteProposalError};
use golem_model::market::{OwnedAgreementId, ProposalId, ProposalState, Role, SubscriptionId, peer};

use super::local::check_match;
use super::{Market, PROPOSALS_MAX, Party, Proposal, ProposeError, Rejection};
use crate::agreement::Agreement;
use crate::catalogue::OfferState;
use crate::hash::proposal_hash;
use crate::queue::QueuedEvent;
use crate::subscription::TEXT_BYTES_MAX;

impl Market {
    /// The requestor's first counter. Returns the offer whose client has news; none if the message was known.
    pub fn initial_received(
        &mut self,
        caller: NodeId,
        message: peer::InitialProposalReceived,
        now: NaiveDateTime,
    ) -> Result<Option<SubscriptionId>, RemoteProposalError> {
        let peer::InitialProposalReceived { proposal, offer_id, demand_id } = message;
        let id = proposal.proposal_id.owned_by(Role::Provider);
        let invalid = RemoteProposalError::Validation;
        if self
            .proposals
            .get(&id)
            .is_some_and(|known| known.party.requestor == caller && known.issuer == Role::Requestor)
        {
            return Ok(None);
        }
        let offer = match self.catalogue.offer(&offer_id, now) {
            OfferState::Active(offer) if self.catalogue.is_own_offer(&offer_id) => offer,
            OfferState::Active(_) | OfferState::Unknown => {
                return Err(invalid(ProposalValidationError::NoSubscription(offer_id)));
            }
            OfferState::Withdrawn => return Err(invalid(ProposalValidationError::Unsubscribed(offer_id))),
            OfferState::Expired => return Err(invalid(ProposalValidationError::SubscriptionExpired(offer_id))),
        };
        if offer.owner == caller {
            return Err(invalid(ProposalValidationError::OwnProposal(id)));
        }
        let party = Party {
            role: Role::Provider,
            offer: offer_id,
            demand: demand_id,
            provider: offer.owner,
            requestor: caller,
        };
        check_id(&party, &proposal)?;
        check_size(&proposal)?;
        let initial = self.initial(Arc::new(party), &offer, offer.expires.min(proposal.expiration_ts), now);
        let initial_id = initial.id;
        self.make_room()?;
        self.proposals.insert(initial_id, initial);
        let received = self.take_counter(initial_id, proposal, now);
        if received.is_err() {
            self.proposals.remove(&initial_id);
        }
        received
    }

    /// A later counter, for the side `role` of this node.
    pub fn counter_received(
        &mut self,
        role: Role,
        caller: NodeId,
        message: peer::ProposalReceived,
        now: NaiveDateTime,
    ) -> Result<Option<SubscriptionId>, RemoteProposalError> {
        let id = message.prev_proposal_id.owned_by(role);
        let previous = self.proposals.get(&id).ok_or(RemoteProposalError::NotFound(id))?;
        check_id(&previous.party, &message.proposal)?;
        check_party(previous, caller)?;
        check_size(&message.proposal)?;
        if previous.counter == Some(message.proposal.proposal_id.owned_by(role)) && previous.issuer == role {
            return Ok(None);
        }
        if previous.issuer != role {
            return Err(RemoteProposalError::Validation(ProposalValidationError::OwnProposal(id)));
        }
        self.check_subscriptions(&previous.party, now).map_err(RemoteProposalError::Validation)?;
        self.make_room()?;
        self.take_counter(id, message.proposal, now)
    }

    /// Checks 6 and 7, then stores the counter and queues its event.
    fn take_counter(
        &mut self,
        previous_id: ProposalId,
        content: peer::ProposalContent,
        now: NaiveDateTime,
    ) -> Result<Option<SubscriptionId>, RemoteProposalError> {
        let not_found = RemoteProposalError::NotFound(previous_id);
        let previous = self.proposals.get_mut(&previous_id).ok_or(not_found)?;
        let id = content.proposal_id.owned_by(previous.party.role);
        let compiled = check_match(id, (&content.properties, &content.constraints), previous)
            .map_err(|error| RemoteProposalError::Validation(ProposalValidationError::NotMatching(error)))?;
        if previous.counter.is_some() {
            return Err(RemoteProposalError::AlreadyCountered(previous_id));
        }
        previous.counter = Some(id);
        previous.revive();
        let party = Arc::clone(&previous.party);
        let expires = content.expiration_ts.min(previous.expires);
        let subscription = party.subscription();
        let proposal = Proposal {
            id,
            previous: Some(previous_id),
            counter: None,
            promoted: false,
            issuer: party.role.other(),
            state: ProposalState::Draft,
            properties: content.properties.into(),
            constraints: content.constraints.into(),
            compiled: Some(compiled),
            created: content.creation_ts,
            expires,
            party,
        };
        self.proposals.insert(id, proposal);
        self.push(subscription, QueuedEvent::Proposal { at: now, id });
        Ok(Some(subscription))
    }

    fn make_room(&self) -> Result<(), RemoteProposalError> {
        if self.proposals.len() < PROPOSALS_MAX {
            return Ok(());
        }
        let text = "this node keeps no more proposals".to_owned();
        Err(RemoteProposalError::Validation(ProposalValidationError::Internal(text)))
    }

    /// The peer rejects a proposal that this node made.
    pub fn rejection_received(
        &mut self,
        role: Role,
        caller: NodeId,
        message: peer::ProposalRejected,
        now: NaiveDateTime,
    ) -> Result<Rejection, RejectProposalError> {
        if message.initial {
            return Ok(Rejection::Nothing);
        }
        let id = message.proposal_id.owned_by(role);
        let not_found = RejectProposalError::Get(GetProposalError::NotFound(id, None));
        let proposal = self.proposals.get(&id).ok_or_else(|| not_found.clone())?;
        check_party(proposal, caller)
            .map_err(|_| RejectProposalError::Validation(ProposalValidationError::Unauthorized(id, caller)))?;
        if proposal.issuer != role {
            return Err(RejectProposalError::Validation(ProposalValidationError::OwnProposal(id)));
        }
        self.check_subscriptions(&proposal.party, now).map_err(RejectProposalError::Validation)?;
        let proposal = self.proposals.get_mut(&id).ok_or(not_found)?;
        if proposal.state == ProposalState::Rejected {
            return Ok(Rejection::Nothing);
        }
        proposal.state = ProposalState::Rejected;
        let subscription = proposal.party.subscription();
        self.push(subscription, QueuedEvent::Rejected { at: now, id, reason: message.reason });
        Ok(Rejection::Told(subscription))
    }

    /// The requestor asks to make an agreement of the provider's last proposal. The agreement is to be stored; if that
    /// fails call [`Self::agreement_not_stored`].
    pub fn agreement_received(
        &mut self,
        caller: NodeId,
        message: &peer::AgreementReceived,
        now: NaiveDateTime,
    ) -> Result<Agreement, ProposeError> {
        let id = message.proposal_id.owned_by(Role::Provider);
        let of_caller = |p: &&Proposal| p.party.requestor == caller;
        let offer = self.proposals.get(&id).filter(of_caller).ok_or(ProposeError::NotFound(id))?;
        if offer.issuer == Role::Requestor {
            return Err(ProposeError::RequestorOwn(id));
        }
        let previous = offer.previous.ok_or(ProposeError::NoNegotiations(id))?;
        let demand = self.proposals.get(&previous).ok_or(ProposeError::NotFound(previous))?;
        let hash = proposal_hash(&offer.party.offer, &offer.party.demand, message.creation_ts);
        let computed = OwnedAgreementId::new(Role::Provider, &hash);
        if message.agreement_id.owned_by(Role::Provider) != computed {
            return Err(ProposeError::InvalidId(computed));
        }
        if offer.counter.is_some() {
            return Err(ProposeError::AlreadyCountered(id));
        }
        if offer.promoted || message.valid_to <= now {
            return Err(not_saved());
        }
        let mut agreement = Agreement::propose(Role::Provider, offer, demand, message.creation_ts, message.valid_to);
        agreement.proposed_signature = Some(message.signature.chars().take(SIGNATURE_CHARS_MAX).collect());
        self.promote(&id);
        Ok(agreement)
    }
}

/// Longest text kept of what stands where a signature would.
pub(crate) const SIGNATURE_CHARS_MAX: usize = 1000;

/// The answer when an agreement exists already or could not be stored.
fn not_saved() -> ProposeError {
    ProposeError::Unexpected { public_msg: "Failed to save Agreement.".to_owned(), original_msg: String::new() }
}

fn check_id(party: &Party, proposal: &peer::ProposalContent) -> Result<(), RemoteProposalError> {
    let computed = ProposalId::new(party.role, &proposal_hash(&party.offer, &party.demand, proposal.creation_ts));
    let id = proposal.proposal_id.owned_by(party.role);
    if id == computed {
        return Ok(());
    }
    Err(RemoteProposalError::InvalidId(id, format!("it should be [{computed}]")))
}

fn check_party(proposal: &Proposal, caller: NodeId) -> Result<(), RemoteProposalError> {
    if proposal.party.peer() == caller {
        return Ok(());
    }
    Err(RemoteProposalError::Validation(ProposalValidationError::Unauthorized(proposal.id, caller)))
}

fn check_size(proposal: &peer::ProposalContent) -> Result<(), RemoteProposalError> {
    if proposal.properties.len().saturating_add(proposal.constraints.len()) <= TEXT_BYTES_MAX {
        return Ok(());
    }
    let text = format!("properties and constraints have more than {TEXT_BYTES_MAX} bytes");
    Err(RemoteProposalError::Validation(ProposalValidationError::Internal(text)))
}
