//! Offers and demands that this node knows (spec 31 §5).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use chrono::{NaiveDateTime, TimeDelta};
use golem_model::NodeId;
use golem_model::market::SubscriptionId;
use golem_properties::{Artifact, Constraints, Index, PropertySet, Truth};

use crate::subscription::Subscription;

/// Most offers kept of one foreign issuer.
const OFFERS_PER_ISSUER_MAX: usize = 2000;

/// Most foreign offers, and most bytes of their texts.
const FOREIGN_OFFERS_MAX: usize = 200_000;
const FOREIGN_BYTES_MAX: usize = 1 << 30;

/// Most markers of withdrawn offers.
const WITHDRAWN_MAX: usize = 400_000;

/// How long an expired subscription is remembered, so that its owner is told that it expired.
const EXPIRED_KEPT: TimeDelta = TimeDelta::hours(4);

/// The same for foreign offers.
const FOREIGN_EXPIRED_KEPT: TimeDelta = TimeDelta::minutes(5);

#[derive(Debug, Default)]
pub struct Catalogue {
    offers: HashMap<SubscriptionId, Offer>,
    /// Insertion order of offers.
    sequence: BTreeMap<u64, SubscriptionId>,
    last: u64,
    foreign_bytes: usize,
    foreign: usize,
    issuers: HashMap<NodeId, usize>,
    /// Must outlive the offer, else it comes back by flooding.
    withdrawn: HashMap<SubscriptionId, Withdrawn>,
    demands: HashMap<SubscriptionId, Arc<Subscription>>,
    offer_index: Index<SubscriptionId>,
    demand_index: Index<SubscriptionId>,
}

#[derive(Debug)]
struct Offer {
    offer: Arc<Subscription>,
    /// None when its texts are broken; such an offer is passed on, but never matches.
    compiled: Option<Arc<Artifact>>,
    own: bool,
    number: u64,
    inserted: NaiveDateTime,
}

#[derive(Clone, Copy, Debug)]
struct Withdrawn {
    own: bool,
    owner: NodeId,
    expires: NaiveDateTime,
}

#[derive(Clone, Debug)]
pub enum OfferState {
    Active(Arc<Subscription>),
    Withdrawn,
    Expired,
    Unknown,
}

#[derive(Clone, Debug)]
pub enum DemandState {
    Active(Arc<Subscription>),
    Expired,
    Unknown,
}

/// Why an offer is not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    #[error("it is known")]
    Known,
    #[error("it was withdrawn")]
    Withdrawn,
    #[error("its issuer has {OFFERS_PER_ISSUER_MAX} offers here")]
    Issuer,
    #[error("this node keeps no more foreign offers")]
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithdrawError {
    NotFound,
    Already,
    Expired,
}

/// What a withdrawal heard from a neighbour is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignWithdrawal {
    /// An offer of ours, which nobody else may withdraw.
    Own,
    /// Heard from the owner itself.
    Proved,
    /// Heard from somebody else; the owner should be asked.
    Doubtful(NodeId),
    /// Unknown, expired or withdrawn before.
    Nothing,
}

/// What a sweep removed.
#[derive(Debug, Default)]
pub struct Swept {
    pub subscriptions: Vec<SubscriptionId>,
}

impl Catalogue {
    /// Adds an offer and returns the demands that it matches.
    pub fn add_offer(
        &mut self,
        offer: Subscription,
        own: bool,
        now: NaiveDateTime,
    ) -> Result<Vec<Arc<Subscription>>, AddError> {
        if self.offers.contains_key(&offer.id) {
            return Err(AddError::Known);
        }
        if self.withdrawn.contains_key(&offer.id) {
            return Err(AddError::Withdrawn);
        }
        if !own {
            let bytes = self.foreign_bytes.saturating_add(offer.bytes());
            if self.foreign >= FOREIGN_OFFERS_MAX || bytes > FOREIGN_BYTES_MAX {
                return Err(AddError::Full);
            }
            let of_issuer = self.issuers.entry(offer.owner).or_default();
            if *of_issuer >= OFFERS_PER_ISSUER_MAX {
                return Err(AddError::Issuer);
            }
            *of_issuer += 1;
            self.foreign += 1;
            self.foreign_bytes = bytes;
        }
        self.last += 1;
        let compiled = Artifact::compile(&offer.properties, &offer.constraints).ok().map(Arc::new);
        let offer = Arc::new(offer);
        let mut matched = Vec::new();
        if let Some(compiled) = &compiled {
            let demands = self.demand_index.matches(compiled).ids.into_iter();
            matched.extend(demands.filter_map(|id| self.demands.get(&id)).filter(|d| pairs(&offer, d, now)).cloned());
            self.offer_index.insert(offer.id, Arc::clone(compiled));
        }
        self.sequence.insert(self.last, offer.id);
        self.offers.insert(offer.id, Offer { offer, compiled, own, number: self.last, inserted: now });
        Ok(matched)
    }

    /// Adds a demand of this node and returns the offers that it matches.
    pub fn add_demand(&mut self, demand: Arc<Subscription>, now: NaiveDateTime) -> Vec<Arc<Subscription>> {
        let mut matched = Vec::new();
        if let Ok(compiled) = Artifact::compile(&demand.properties, &demand.constraints) {
            let offers = self.offer_index.matches(&compiled).ids.into_iter();
            matched.extend(
                offers
                    .filter_map(|id| self.offers.get(&id))
                    .filter(|entry| pairs(&entry.offer, &demand, now))
                    .map(|entry| Arc::clone(&entry.offer)),
            );
            self.demand_index.insert(demand.id, Arc::new(compiled));
        }
        self.demands.insert(demand.id, demand);
        matched
    }

    /// Whether the demand was there and is gone.
    pub fn remove_demand(&mut self, id: &SubscriptionId, owner: NodeId) -> bool {
        if self.demands.get(id).is_none_or(|demand| demand.owner != owner) {
            return false;
        }
        self.demand_index.remove(id);
        self.demands.remove(id).is_some()
    }

    /// Withdraws an offer of one of our identities.
    pub fn withdraw(&mut self, id: &SubscriptionId, owner: NodeId, now: NaiveDateTime) -> Result<(), WithdrawError> {
        if let Some(withdrawn) = self.withdrawn.get(id) {
            let ours = withdrawn.own && withdrawn.owner == owner;
            return Err(if ours { WithdrawError::Already } else { WithdrawError::NotFound });
        }
        match self.offers.get(id) {
            Some(entry) if !entry.own || entry.offer.owner != owner => Err(WithdrawError::NotFound),
            None => Err(WithdrawError::NotFound),
            Some(entry) if entry.offer.expires <= now => Err(WithdrawError::Expired),
            Some(_) => {
                self.drop_offer(id);
                Ok(())
            }
        }
    }

    /// Looks at a withdrawal that `caller` announced.
    pub fn heard_withdrawal(&self, id: &SubscriptionId, caller: NodeId, now: NaiveDateTime) -> ForeignWithdrawal {
        match self.offers.get(id) {
            Some(entry) if entry.own => ForeignWithdrawal::Own,
            Some(entry) if entry.offer.expires <= now => ForeignWithdrawal::Nothing,
            Some(entry) if entry.offer.owner == caller => ForeignWithdrawal::Proved,
            Some(entry) => ForeignWithdrawal::Doubtful(entry.offer.owner),
            None => ForeignWithdrawal::Nothing,
        }
    }

    /// Forgets a foreign offer and remembers that it was withdrawn. Whether it was there.
    pub fn drop_offer(&mut self, id: &SubscriptionId) -> bool {
        let Some(entry) = self.forget_offer(id) else { return false };
        if self.withdrawn.len() < WITHDRAWN_MAX {
            let Offer { offer, own, .. } = entry;
            self.withdrawn.insert(*id, Withdrawn { own, owner: offer.owner, expires: offer.expires });
        }
        true
    }

    fn forget_offer(&mut self, id: &SubscriptionId) -> Option<Offer> {
        let entry = self.offers.remove(id)?;
        self.sequence.remove(&entry.number);
        self.offer_index.remove(id);
        if !entry.own {
            self.foreign -= 1;
            self.foreign_bytes -= entry.offer.bytes();
            if let Some(of_issuer) = self.issuers.get_mut(&entry.offer.owner) {
                *of_issuer -= 1;
                if *of_issuer == 0 {
                    self.issuers.remove(&entry.offer.owner);
                }
            }
        }
        Some(entry)
    }

    pub fn offer(&self, id: &SubscriptionId, now: NaiveDateTime) -> OfferState {
        if self.withdrawn.contains_key(id) {
            return OfferState::Withdrawn;
        }
        match self.offers.get(id) {
            Some(entry) if entry.offer.expires <= now => OfferState::Expired,
            Some(entry) => OfferState::Active(Arc::clone(&entry.offer)),
            None => OfferState::Unknown,
        }
    }

    /// An offer of one of our own identities.
    pub fn is_own_offer(&self, id: &SubscriptionId) -> bool {
        self.offers.get(id).is_some_and(|entry| entry.own)
    }

    /// Owner of an offer of ours that is here or was withdrawn and not yet forgotten.
    pub fn own_offer_owner(&self, id: &SubscriptionId) -> Option<NodeId> {
        let withdrawn = || self.withdrawn.get(id).filter(|withdrawn| withdrawn.own).map(|withdrawn| withdrawn.owner);
        self.offers.get(id).filter(|entry| entry.own).map(|entry| entry.offer.owner).or_else(withdrawn)
    }

    pub fn demand(&self, id: &SubscriptionId, now: NaiveDateTime) -> DemandState {
        match self.demands.get(id) {
            Some(demand) if demand.expires <= now => DemandState::Expired,
            Some(demand) => DemandState::Active(Arc::clone(demand)),
            None => DemandState::Unknown,
        }
    }

    pub fn demand_owner(&self, id: &SubscriptionId) -> Option<NodeId> {
        self.demands.get(id).map(|demand| demand.owner)
    }

    /// Active demands of an identity, by creation.
    pub fn demands_of(&self, owner: NodeId, now: NaiveDateTime) -> Vec<Arc<Subscription>> {
        sorted(self.demands.values().filter(|demand| demand.owner == owner && demand.expires > now))
    }

    /// Active own offers of an identity, by creation.
    pub fn offers_of(&self, owner: NodeId, now: NaiveDateTime) -> Vec<Arc<Subscription>> {
        let own = self.offers.values().filter(|entry| entry.own && entry.offer.owner == owner);
        sorted(own.map(|entry| &entry.offer).filter(|offer| offer.expires > now))
    }

    /// Those of `ids` that this node knows neither as offer nor as withdrawn, each once, in order.
    pub fn unknown(&self, ids: &[SubscriptionId]) -> Vec<SubscriptionId> {
        let mut seen = HashSet::new();
        let known = |id: &SubscriptionId| self.offers.contains_key(id) || self.withdrawn.contains_key(id);
        ids.iter().filter(|id| !known(id) && seen.insert(**id)).copied().collect()
    }

    /// Active offers among `ids` by creation, with the time of their insertion.
    pub fn bodies(&self, ids: &[SubscriptionId], now: NaiveDateTime) -> Vec<(Arc<Subscription>, NaiveDateTime)> {
        let mut seen = HashSet::new();
        let wanted = ids.iter().filter(|id| seen.insert(**id)).filter_map(|id| self.offers.get(id));
        let active = wanted.filter(|entry| entry.offer.expires > now);
        let mut bodies: Vec<_> = active.map(|entry| (Arc::clone(&entry.offer), entry.inserted)).collect();
        bodies.sort_by_key(|(offer, _)| offer.created);
        bodies
    }

    /// Active offers inserted after number `after`, of one node if given, by insertion; with the number of the last.
    pub fn page(
        &self,
        after: u64,
        node: Option<NodeId>,
        max: usize,
        now: NaiveDateTime,
    ) -> (Vec<Arc<Subscription>>, u64) {
        self.select(after, max, now, |entry| node.is_none_or(|node| entry.offer.owner == node))
    }

    /// The same for offers whose properties satisfy `filter`.
    pub fn scan(
        &self,
        after: u64,
        filter: Option<&Constraints>,
        max: usize,
        now: NaiveDateTime,
    ) -> (Vec<Arc<Subscription>>, u64) {
        self.select(after, max, now, |entry| {
            filter.is_none_or(|filter| match &entry.compiled {
                Some(compiled) => filter.evaluate(&compiled.properties) == Truth::True,
                None => satisfies(filter, &entry.offer.properties),
            })
        })
    }

    fn select(
        &self,
        after: u64,
        max: usize,
        now: NaiveDateTime,
        wanted: impl Fn(&Offer) -> bool,
    ) -> (Vec<Arc<Subscription>>, u64) {
        let (mut found, mut last) = (Vec::new(), after);
        for (number, id) in self.sequence.range((Bound::Excluded(after), Bound::Unbounded)) {
            if found.len() >= max {
                return (found, last);
            }
            last = *number;
            if let Some(entry) = self.offers.get(id).filter(|entry| entry.offer.expires > now && wanted(entry)) {
                found.push(Arc::clone(&entry.offer));
            }
        }
        (found, last)
    }

    /// Ids to announce in a cycle: all own active offers, filled up with random others; at most `max`.
    pub fn to_announce(
        &self,
        max: usize,
        now: NaiveDateTime,
        random: &mut dyn FnMut(usize) -> usize,
    ) -> Vec<SubscriptionId> {
        let active = |own: bool| {
            self.offers.values().filter(move |entry| entry.own == own && entry.offer.expires > now).map(|e| e.offer.id)
        };
        fill(active(true).collect(), active(false).collect(), max, random)
    }

    /// Ids of withdrawals to announce in a cycle, chosen alike.
    pub fn to_announce_withdrawn(
        &self,
        max: usize,
        now: NaiveDateTime,
        random: &mut dyn FnMut(usize) -> usize,
    ) -> Vec<SubscriptionId> {
        let active =
            |own: bool| self.withdrawn.iter().filter(move |(_, w)| w.own == own && w.expires > now).map(|(id, _)| *id);
        fill(active(true).collect(), active(false).collect(), max, random)
    }

    /// Forgets what expired long enough ago.
    pub fn sweep(&mut self, now: NaiveDateTime) -> Swept {
        let kept = |own| if own { EXPIRED_KEPT } else { FOREIGN_EXPIRED_KEPT };
        let over = |expires: NaiveDateTime, kept: TimeDelta| now.signed_duration_since(expires) > kept;
        let offers: Vec<_> = self
            .offers
            .values()
            .filter(|entry| over(entry.offer.expires, kept(entry.own)))
            .map(|e| e.offer.id)
            .collect();
        for id in &offers {
            self.forget_offer(id);
        }
        self.withdrawn.retain(|_, withdrawn| !over(withdrawn.expires, kept(withdrawn.own)));
        let demands: Vec<_> =
            self.demands.values().filter(|demand| over(demand.expires, EXPIRED_KEPT)).map(|demand| demand.id).collect();
        for id in &demands {
            self.demands.remove(id);
            self.demand_index.remove(id);
        }
        Swept { subscriptions: [offers, demands].concat() }
    }

    pub fn offers(&self) -> usize {
        self.offers.len()
    }

    pub fn own_offers(&self) -> usize {
        self.offers.len() - self.foreign
    }

    pub fn demands(&self) -> usize {
        self.demands.len()
    }

    /// Number of the last inserted offer.
    pub const fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn compiled_offer(&self, id: &SubscriptionId) -> Option<Arc<Artifact>> {
        self.offer_index.get(id).cloned()
    }
}

/// A pair that may negotiate; agreements within one identity are impossible.
fn pairs(offer: &Subscription, demand: &Subscription, now: NaiveDateTime) -> bool {
    offer.owner != demand.owner && offer.expires > now && demand.expires > now
}

/// For offers whose own constraints are broken.
fn satisfies(filter: &Constraints, properties: &str) -> bool {
    PropertySet::from_json_text(properties).is_ok_and(|set| filter.evaluate(&set) == Truth::True)
}

fn sorted<'s>(found: impl Iterator<Item = &'s Arc<Subscription>>) -> Vec<Arc<Subscription>> {
    let mut found: Vec<_> = found.cloned().collect();
    found.sort_by_key(|subscription| subscription.created);
    found
}

fn fill(
    mut own: Vec<SubscriptionId>,
    mut others: Vec<SubscriptionId>,
    max: usize,
    random: &mut dyn FnMut(usize) -> usize,
) -> Vec<SubscriptionId> {
    let mut take = |from: &mut Vec<SubscriptionId>, n: usize| {
        let mut taken = Vec::new();
        while taken.len() < n && !from.is_empty() {
            taken.push(from.swap_remove(random(from.len()).min(from.len() - 1)));
        }
        taken
    };
    if own.len() > max {
        own = take(&mut own, max);
    }
    let free = max - own.len();
    own.extend(take(&mut others, free));
    own
}
