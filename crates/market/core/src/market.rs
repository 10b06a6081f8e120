//! Subscriptions, negotiations and their event queues together.
//!
//! The rules for countering and rejecting are those of spec 31 §6.3, once for local calls and once for messages of
//! peers; both look at the same table of proposals, in which each side of a negotiation has its own copy.

mod error;
mod local;
mod peer;
mod proposal;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{NaiveDateTime, TimeDelta};
use golem_model::NodeId;
use golem_model::market::{OwnedAgreementId, ProposalId, ProposalState, Role, SubscriptionId};
use golem_model::reason::Reason;

pub use error::{CounterError, CreateAgreementError, ProposeError, RejectError, Rejection};
pub use local::{Message, Outgoing};
pub(crate) use peer::SIGNATURE_CHARS_MAX;
pub use proposal::{Party, Proposal};

use crate::catalogue::{AddError, Catalogue, DemandState, OfferState};
use crate::hash::proposal_hash;
use crate::queue::{Queue, QueuedEvent};
use crate::stamp::Stamp;
use crate::subscription::Subscription;

/// Most proposals that are kept; more would come from a flood.
const PROPOSALS_MAX: usize = 500_000;

/// Everything of a market that is not durable.
#[derive(Debug, Default)]
pub struct Market {
    pub catalogue: Catalogue,
    proposals: HashMap<ProposalId, Proposal>,
    queues: HashMap<SubscriptionId, Queue>,
    stamp: Stamp,
}

impl Market {
    /// A creation time that no other thing of this market has.
    pub fn stamp(&mut self, now: NaiveDateTime) -> NaiveDateTime {
        self.stamp.next(now)
    }

    /// Publishes an offer of this node. Returns it and the demands whose clients have news.
    pub fn subscribe_offer(
        &mut self,
        random: u128,
        owner: NodeId,
        (properties, constraints): (&str, &str),
        ttl: TimeDelta,
        now: NaiveDateTime,
    ) -> Result<(SubscriptionId, Vec<SubscriptionId>), AddError> {
        let created = self.stamp.next(now);
        let offer = Subscription::new(random, owner, properties, constraints, created, ttl);
        let id = offer.id;
        let woken = self.add_offer(offer, true, now)?;
        self.queues.entry(id).or_default();
        Ok((id, woken))
    }

    /// Stores an offer of another node. Returns the demands whose clients have news.
    pub fn learn_offer(&mut self, offer: Subscription, now: NaiveDateTime) -> Result<Vec<SubscriptionId>, AddError> {
        self.add_offer(offer, false, now)
    }

    fn add_offer(
        &mut self,
        offer: Subscription,
        own: bool,
        now: NaiveDateTime,
    ) -> Result<Vec<SubscriptionId>, AddError> {
        let id = offer.id;
        let demands = self.catalogue.add_offer(offer, own, now)?;
        let OfferState::Active(offer) = self.catalogue.offer(&id, now) else { return Ok(Vec::new()) };
        Ok(demands.into_iter().filter(|demand| self.propose(&offer, demand, now)).map(|demand| demand.id).collect())
    }

    /// Publishes a demand of this node. Whether it has events already.
    pub fn subscribe_demand(
        &mut self,
        random: u128,
        owner: NodeId,
        (properties, constraints): (&str, &str),
        ttl: TimeDelta,
        now: NaiveDateTime,
    ) -> (SubscriptionId, usize) {
        let created = self.stamp.next(now);
        let demand = Arc::new(Subscription::new(random, owner, properties, constraints, created, ttl));
        self.queues.entry(demand.id).or_default();
        let offers = self.catalogue.add_demand(Arc::clone(&demand), now);
        let proposed = offers.into_iter().filter(|offer| self.propose(offer, &demand, now)).count();
        (demand.id, proposed)
    }

    /// Makes the initial proposal of a matched pair, on the requestor's side.
    fn propose(&mut self, offer: &Arc<Subscription>, demand: &Arc<Subscription>, now: NaiveDateTime) -> bool {
        if self.proposals.len() >= PROPOSALS_MAX {
            return false;
        }
        let party = Party {
            role: Role::Requestor,
            offer: offer.id,
            demand: demand.id,
            provider: offer.owner,
            requestor: demand.owner,
        };
        let proposal = self.initial(Arc::new(party), offer, offer.expires.min(demand.expires), now);
        let (id, at) = (proposal.id, proposal.created);
        self.proposals.insert(id, proposal);
        self.push(demand.id, QueuedEvent::Proposal { at, id })
    }

    /// An initial proposal: the offer as it stands.
    fn initial(
        &mut self,
        party: Arc<Party>,
        offer: &Subscription,
        expires: NaiveDateTime,
        now: NaiveDateTime,
    ) -> Proposal {
        let created = self.stamp.next(now);
        Proposal {
            id: ProposalId::new(party.role, &proposal_hash(&party.offer, &party.demand, created)),
            previous: None,
            counter: None,
            promoted: false,
            issuer: Role::Provider,
            state: ProposalState::Initial,
            properties: Arc::clone(&offer.properties),
            constraints: Arc::clone(&offer.constraints),
            compiled: self.catalogue.compiled_offer(&offer.id),
            created,
            expires,
            party,
        }
    }

    /// A fresh start for a pair whose agreement was terminated. Whether both are still there.
    pub fn regenerate(&mut self, offer: &SubscriptionId, demand: &SubscriptionId, now: NaiveDateTime) -> bool {
        match (self.catalogue.offer(offer, now), self.catalogue.demand(demand, now)) {
            (OfferState::Active(offer), DemandState::Active(demand)) => self.propose(&offer, &demand, now),
            _ => false,
        }
    }

    fn push(&mut self, subscription: SubscriptionId, event: QueuedEvent) -> bool {
        self.queues.get_mut(&subscription).is_some_and(|queue| queue.push(event))
    }

    /// Puts an agreement before the provider's client.
    pub fn announce_agreement(&mut self, offer: SubscriptionId, id: OwnedAgreementId, at: NaiveDateTime) -> bool {
        self.push(offer, QueuedEvent::Agreement { at, id })
    }

    /// Removes up to `max` events of a subscription.
    pub fn collect(
        &mut self,
        subscription: &SubscriptionId,
        max: usize,
        random: &mut dyn FnMut(usize) -> usize,
    ) -> Vec<QueuedEvent> {
        self.queues.get_mut(subscription).map(|queue| queue.take(max, random)).unwrap_or_default()
    }

    pub fn has_events(&self, subscription: &SubscriptionId) -> bool {
        self.queues.get(subscription).is_some_and(|queue| !queue.is_empty())
    }

    /// Drops the events of a subscription that ends.
    pub fn close_queue(&mut self, subscription: &SubscriptionId) {
        self.queues.remove(subscription);
    }

    pub fn proposal(&self, id: &ProposalId) -> Option<&Proposal> {
        self.proposals.get(id)
    }

    pub fn proposals(&self) -> usize {
        self.proposals.len()
    }

    /// Tells the requestor's client that the provider refused its first counter for good.
    pub fn initial_refused(&mut self, id: &ProposalId, reason: Reason, now: NaiveDateTime) -> Option<SubscriptionId> {
        let proposal = self.proposals.get_mut(id).filter(|proposal| proposal.state == ProposalState::Draft)?;
        proposal.state = ProposalState::Rejected;
        let demand = proposal.party.demand;
        let event = QueuedEvent::Rejected { at: now, id: *id, reason: Some(reason) };
        self.push(demand, event).then_some(demand)
    }

    /// Forgets what expired. Returns the subscriptions that ended.
    pub fn sweep(&mut self, now: NaiveDateTime) -> Vec<SubscriptionId> {
        let swept = self.catalogue.sweep(now).subscriptions;
        for id in &swept {
            self.queues.remove(id);
        }
        // Clients look at expired proposals for as long as their subscription is remembered.
        let kept = TimeDelta::hours(1);
        self.proposals.retain(|_, proposal| now.signed_duration_since(proposal.expires) <= kept);
        swept
    }
}
