//! One activity of a deal: its process and its debit notes.

use chrono::{DateTime, Utc};
use golem_model::Amount;
use serde::{Deserialize, Serialize};

use super::SEND;
use super::chore::Chore;
use super::effect::{CloseState, Effect, Failure};
use crate::billing::cost;
use crate::terms::Terms;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Process {
    Running,
    Stopping,
    Ended,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) id: String,
    pub(crate) process: Process,
    pub(crate) billing: Billing,
    /// The activity's end that the daemon may not know yet.
    pub(crate) close: Option<CloseState>,
    next_note: DateTime<Utc>,
    /// Counters as last seen.
    usage: Option<Vec<f64>>,
}

/// Where the activity stands with its debit notes. `last`: none follows after this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Billing {
    Waiting,
    Counting {
        last: bool,
        chore: Chore,
    },
    Issuing {
        last: bool,
        bill: Bill,
        chore: Chore,
    },
    Sending {
        last: bool,
        bill: Bill,
        note: String,
        chore: Chore,
    },
    /// The last note is through; none when there is nothing to pay for.
    Closed {
        total: Option<Amount>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bill {
    amount: Amount,
    usage: Vec<f64>,
    due: Option<DateTime<Utc>>,
}

impl Work {
    pub(crate) const fn new(id: String, next_note: DateTime<Utc>) -> Self {
        Self { id, process: Process::Running, billing: Billing::Waiting, close: None, next_note, usage: None }
    }

    pub(crate) fn was_started(&self) -> bool {
        self.billing != Billing::Closed { total: None }
    }

    /// None while bills are on their way.
    pub(crate) const fn closed_total(&self) -> Option<Option<Amount>> {
        match &self.billing {
            Billing::Closed { total } => Some(*total),
            _ => None,
        }
    }

    pub(crate) fn stop(&mut self, out: &mut Vec<Effect>) {
        if self.process == Process::Running {
            self.process = Process::Stopping;
            out.push(Effect::Stop { activity: self.id.clone() });
        }
    }

    pub(crate) fn resume(&mut self, now: DateTime<Utc>, out: &mut Vec<Effect>) {
        if self.process != Process::Ended {
            out.push(Effect::Attach { activity: self.id.clone(), stop: self.process == Process::Stopping });
        }
        if let Some(close) = &self.close {
            out.push(Effect::CloseState(close.clone()));
        }
        match &mut self.billing {
            Billing::Counting { chore, .. } | Billing::Issuing { chore, .. } | Billing::Sending { chore, .. } => {
                chore.resume(now);
            }
            Billing::Waiting | Billing::Closed { .. } => {}
        }
    }

    pub(crate) fn next_wake(&self) -> Option<DateTime<Utc>> {
        match &self.billing {
            Billing::Waiting if self.process == Process::Running => Some(self.next_note),
            Billing::Counting { chore, .. } | Billing::Issuing { chore, .. } | Billing::Sending { chore, .. } => {
                chore.next()
            }
            Billing::Waiting | Billing::Closed { .. } => None,
        }
    }

    pub(crate) fn advance(&mut self, now: DateTime<Utc>, terms: &Terms, out: &mut Vec<Effect>) {
        if self.billing == Billing::Waiting {
            if self.process == Process::Ended {
                self.billing = Billing::Counting { last: true, chore: Chore::due(now) };
            } else if self.process == Process::Running && now >= self.next_note {
                self.next_note = terms.next_note(now);
                self.billing = Billing::Counting { last: false, chore: Chore::due(now) };
            }
        }
        let activity = || self.id.clone();
        match &mut self.billing {
            Billing::Counting { chore, .. } => {
                if chore.begin(now) {
                    out.push(Effect::Count { activity: activity() });
                }
            }
            Billing::Issuing { bill, chore, .. } => {
                if chore.begin(now) {
                    let Bill { amount, usage, due } = bill.clone();
                    out.push(Effect::IssueNote { activity: activity(), amount, usage, due });
                }
            }
            Billing::Sending { note, chore, .. } => {
                if chore.begin(now) {
                    out.push(Effect::SendNote { activity: activity(), note: note.clone() });
                }
            }
            Billing::Waiting | Billing::Closed { .. } => {}
        }
    }

    /// Usage is known: it becomes a bill.
    pub(crate) fn counted(
        &mut self,
        outcome: Result<Option<Vec<f64>>, Failure>,
        terms: &Terms,
        last_payable: &mut DateTime<Utc>,
        now: DateTime<Utc>,
    ) {
        let Billing::Counting { last, chore } = &mut self.billing else { return };
        let last = *last;
        match outcome {
            Ok(usage) => self.usage = usage.or_else(|| self.usage.take()),
            Err(Failure::Daemon) if last => return chore.failed(now, SEND),
            // The daemon has no usage of an activity that never reported: the last one known counts.
            Err(_) if last => {}
            Err(_) => return self.billing = Billing::Waiting,
        }
        let zeros = || vec![0.0; terms.coeffs.len().saturating_sub(1)];
        let usage = self.usage.clone().unwrap_or_else(zeros);
        let amount = match cost(&terms.coeffs, &usage) {
            Ok(amount) => amount,
            Err(error) => {
                tracing::error!(activity = %self.id, %error, "usage cannot be billed");
                self.billing = if last { Billing::Closed { total: None } } else { Billing::Waiting };
                return;
            }
        };
        let due = terms.payment_timeout.map(|timeout| timeout.delta());
        let payable = due.filter(|timeout| last || *last_payable + *timeout <= now);
        if payable.is_some() {
            *last_payable = now;
        }
        let bill = Bill { amount, usage, due: payable.map(|timeout| now + timeout) };
        self.billing = Billing::Issuing { last, bill, chore: Chore::due(now) };
    }

    /// The daemon has made the note. Returns its due date when it is going to be sent.
    pub(crate) fn issued(
        &mut self,
        outcome: Result<String, Failure>,
        now: DateTime<Utc>,
    ) -> Option<Option<DateTime<Utc>>> {
        let Billing::Issuing { last, bill, chore } = &mut self.billing else { return None };
        match outcome {
            Ok(note) => {
                let due = bill.due;
                self.billing = Billing::Sending { last: *last, bill: bill.clone(), note, chore: Chore::due(now) };
                return Some(due);
            }
            Err(Failure::Daemon | Failure::Peer) if *last => chore.failed(now, SEND),
            // The invoice asks for it all the same.
            Err(_) if *last => self.billing = Billing::Closed { total: Some(bill.amount) },
            Err(_) => self.billing = Billing::Waiting,
        }
        None
    }

    pub(crate) fn note_on_its_way(&self) -> Option<&str> {
        match &self.billing {
            Billing::Sending { note, .. } => Some(note),
            _ => None,
        }
    }

    pub(crate) fn sent(&mut self, id: &str, failure: Option<Failure>, now: DateTime<Utc>) {
        let Billing::Sending { last, bill, note, chore } = &mut self.billing else { return };
        if note != id {
            return;
        }
        match (*last, failure) {
            (false, _) => self.billing = Billing::Waiting,
            (true, Some(Failure::Daemon | Failure::Peer)) => chore.failed(now, SEND),
            (true, None | Some(Failure::Refused)) => self.billing = Billing::Closed { total: Some(bill.amount) },
        }
    }
}
