//! What the negotiator remembers between events: its own proposals, and demands that had no place.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use golem_model::market::{ProposalId, SubscriptionId};

use super::Bargain;
use crate::properties::Properties;

/// Own proposals whose terms are remembered. A requestor answers within seconds or never.
const BARGAINS_MAX: usize = 10_000;
/// Demands that wait for a free place.
const REJECTED_MAX: usize = 200;

/// A demand that was refused for now.
#[derive(Clone, Debug)]
pub(crate) struct Rejected {
    pub(crate) subscription: SubscriptionId,
    pub(crate) proposal: ProposalId,
    pub(crate) previous: Option<ProposalId>,
    pub(crate) demand: Properties,
    /// When it is pointless to look again.
    pub(crate) expires: DateTime<Utc>,
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    bargains: HashMap<ProposalId, Bargain>,
    order: VecDeque<ProposalId>,
    rejected: VecDeque<Rejected>,
}

impl Memory {
    /// Remembers the terms of a proposal that we made.
    pub(crate) fn made(&mut self, proposal: ProposalId, bargain: Bargain) {
        if self.bargains.insert(proposal, bargain).is_none() {
            self.order.push_back(proposal);
        }
        while self.order.len() > BARGAINS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.bargains.remove(&oldest);
            }
        }
    }

    /// The terms of our proposal that a demand answers; none means the offer itself, whose generated
    /// first proposal has an id that we were never told.
    pub(crate) fn terms(&self, proposal: ProposalId) -> Option<&Bargain> {
        self.bargains.get(&proposal)
    }

    /// Keeps a demand for later; the oldest makes room.
    pub(crate) fn put_off(&mut self, rejected: Rejected) {
        self.rejected.retain(|known| known.proposal != rejected.proposal);
        self.rejected.push_back(rejected);
        while self.rejected.len() > REJECTED_MAX {
            self.rejected.pop_front();
        }
    }

    /// The demands that were put off and are still alive, oldest first.
    pub(crate) fn take_put_off(&mut self, now: DateTime<Utc>) -> Vec<Rejected> {
        self.rejected.drain(..).filter(|rejected| rejected.expires > now).collect()
    }

    pub(crate) fn forget_subscription(&mut self, subscription: SubscriptionId) {
        self.rejected.retain(|rejected| rejected.subscription != subscription);
    }
}

#[cfg(test)]
mod tests {
    use golem_model::market::Role;

    use super::*;

    fn proposal(number: usize) -> ProposalId {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        ProposalId::new(Role::Provider, &hash)
    }

    #[test]
    fn memory_is_bounded() {
        let mut memory = Memory::default();
        for number in 0..BARGAINS_MAX + 5 {
            memory.made(proposal(number), Bargain::default());
        }
        assert_eq!(memory.bargains.len(), BARGAINS_MAX);
        assert!(memory.terms(proposal(4)).is_none());
        assert!(memory.terms(proposal(5)).is_some());
    }

    #[test]
    fn expired_demands_are_not_looked_at_again() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let mut memory = Memory::default();
        for number in 0..REJECTED_MAX + 1 {
            memory.put_off(Rejected {
                subscription: SubscriptionId::new(1, &[0; 32]),
                proposal: proposal(number),
                previous: None,
                demand: Properties::new(),
                expires: at(if number % 2 == 0 { 10 } else { 1000 }),
            });
        }
        let alive = memory.take_put_off(at(100));
        assert_eq!(alive.len(), REJECTED_MAX / 2);
        assert!(memory.take_put_off(at(100)).is_empty());
    }
}
