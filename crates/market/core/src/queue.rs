use std::collections::VecDeque;

use chrono::NaiveDateTime;
use golem_model::market::{OwnedAgreementId, ProposalId};
use golem_model::reason::Reason;

/// Most events of one subscription that wait to be collected.
const EVENTS_MAX: usize = 100_000;

/// What a client of a subscription is told (spec 31 §8).
#[derive(Clone, Debug, PartialEq)]
pub enum QueuedEvent {
    Proposal { at: NaiveDateTime, id: ProposalId },
    Rejected { at: NaiveDateTime, id: ProposalId, reason: Option<Reason> },
    Agreement { at: NaiveDateTime, id: OwnedAgreementId },
}

/// Events of one subscription. Reading removes them.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    proposals: Vec<QueuedEvent>,
    others: VecDeque<QueuedEvent>,
}

impl Queue {
    /// Whether there was room.
    pub(crate) fn push(&mut self, event: QueuedEvent) -> bool {
        if self.proposals.len() + self.others.len() >= EVENTS_MAX {
            return false;
        }
        match event {
            QueuedEvent::Proposal { .. } => self.proposals.push(event),
            other => self.others.push_back(other),
        }
        true
    }

    /// Up to `max` events: first what is no proposal, by time, then proposals in random order, which is fair to
    /// providers.
    pub(crate) fn take(&mut self, max: usize, random: &mut dyn FnMut(usize) -> usize) -> Vec<QueuedEvent> {
        let mut taken: Vec<_> = self.others.drain(..max.min(self.others.len())).collect();
        while taken.len() < max && !self.proposals.is_empty() {
            let at = random(self.proposals.len()).min(self.proposals.len() - 1);
            taken.push(self.proposals.swap_remove(at));
        }
        taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.proposals.is_empty() && self.others.is_empty()
    }
}
