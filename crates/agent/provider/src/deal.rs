//! One agreement from its approval to its settled invoice, as a pure state machine (spec 60 §9, §10).
//!
//! [`Deal::apply`] takes what happened and the time and returns the [`Effect`]s that are to be done; [`Deal::next_wake`]
//! says when to come back without an event. The whole state is stored before its effects are done, and
//! [`Deal::resume`] repeats those that were under way: an effect may happen twice without harm, since amounts are
//! cumulative, sending and terminating twice is harmless, and an invoice is looked for before it is issued.
//! No clock, no sockets, no processes in here.

mod chore;
mod effect;
mod work;

use chrono::{DateTime, TimeDelta, Utc};
use golem_model::Amount;
use golem_model::reason::Reason;
use serde::{Deserialize, Serialize};

use chore::{Chore, Pace};
pub(crate) use effect::{CloseState, Effect, Failure, Input};
use work::{Billing, Process, Work};

use crate::terms::Terms;

/// How the operator wants agreements to be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// An agreement without an activity ends after this long.
    pub(crate) idle: TimeDelta,
    /// First pause after an invoice could not be issued.
    pub(crate) invoice_retry: TimeDelta,
}

impl Default for Manners {
    fn default() -> Self {
        Self { idle: TimeDelta::seconds(90), invoice_retry: TimeDelta::seconds(5) }
    }
}

/// An invoice that nobody settles is not followed for ever.
const SETTLEMENT_FOLLOWED_FOR: TimeDelta = TimeDelta::days(90);
/// When an invoice is due if nothing was agreed (spec 60 §10.3).
const INVOICE_DUE_AFTER: TimeDelta = TimeDelta::days(1);
/// Notes without deadlines that are kept so that their rejection is understood.
const NOTES_MAX: usize = 64;
/// Activities of one agreement. One at a time, so this is a long agreement.
const ACTIVITIES_MAX: usize = 10_000;

const TERMINATE: Pace = Pace { first: TimeDelta::seconds(5), max: TimeDelta::hours(1) };
pub(crate) const SEND: Pace = Pace { first: TimeDelta::seconds(3), max: TimeDelta::hours(5) };

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deal {
    pub(crate) terms: Terms,
    stage: Stage,
    idle_since: Option<DateTime<Utc>>,
    works: Vec<Work>,
    notes: Vec<OpenNote>,
    last_payable: DateTime<Utc>,
    last_through: DateTime<Utc>,
    termination: Option<Termination>,
    invoice: Billed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    Approving,
    Active,
    /// Closed or broken; bills may still be on their way.
    Ended,
}

/// A note that the requestor has to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OpenNote {
    id: String,
    activity: String,
    accept_by: Option<DateTime<Utc>>,
    pay_by: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Termination {
    reason: Reason,
    chore: Chore,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Billed {
    NotYet,
    Issuing {
        amount: Amount,
        due: DateTime<Utc>,
        chore: Chore,
    },
    Sending {
        id: String,
        amount: Amount,
        due: DateTime<Utc>,
        chore: Chore,
    },
    Sent {
        id: String,
        amount: Amount,
        due: DateTime<Utc>,
    },
    /// Settled, or refused by the requestor for good.
    Over,
}

/// Why the provider ends an agreement; the codes of spec 60 §9.3.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Break {
    Expired,
    NoActivity,
    NotesDeadline,
    NoteRejected(String),
    NoteCancelled,
    NoteNotPaid,
    Unreachable,
    Finished,
    Shutdown,
}

impl Deal {
    /// A deal whose approval is the first effect to do.
    pub(crate) fn new(terms: Terms) -> Self {
        let made_at = terms.made_at;
        Self {
            terms,
            stage: Stage::Approving,
            idle_since: None,
            works: Vec::new(),
            notes: Vec::new(),
            last_payable: made_at,
            last_through: made_at,
            termination: None,
            invoice: Billed::NotYet,
        }
    }

    /// Takes a place among the agreements that are served at once.
    pub(crate) fn is_open(&self) -> bool {
        self.stage != Stage::Ended
    }

    /// Nothing is left to do or to wait for.
    pub(crate) fn is_over(&self, now: DateTime<Utc>) -> bool {
        let settled = match &self.invoice {
            Billed::Over => true,
            Billed::Sent { due, .. } => now > *due + SETTLEMENT_FOLLOWED_FOR,
            _ => false,
        };
        self.stage == Stage::Ended && self.termination.is_none() && settled
    }

    /// All documents have been sent and the end is known: what follows is up to the requestor.
    pub(crate) fn is_billed(&self) -> bool {
        let sent = matches!(self.invoice, Billed::Sent { .. } | Billed::Over);
        self.stage == Stage::Ended && self.termination.is_none() && sent
    }

    pub(crate) fn has_note(&self, id: &str) -> bool {
        self.notes.iter().any(|note| note.id == id)
    }

    pub(crate) fn has_invoice(&self, invoice: &str) -> bool {
        matches!(&self.invoice, Billed::Sending { id, .. } | Billed::Sent { id, .. } if id == invoice)
    }

    pub(crate) fn has_activity(&self, activity: &str) -> bool {
        self.works.iter().any(|work| work.id == activity)
    }

    /// Activities whose exe-unit runs or should run.
    pub(crate) fn live_activities(&self) -> impl Iterator<Item = &str> {
        self.works.iter().filter(|work| work.process != Process::Ended).map(|work| work.id.as_str())
    }

    pub(crate) fn invoice_amount(&self) -> Option<Amount> {
        match &self.invoice {
            Billed::Issuing { amount, .. } | Billed::Sending { amount, .. } | Billed::Sent { amount, .. } => {
                Some(*amount)
            }
            Billed::NotYet | Billed::Over => None,
        }
    }

    /// What is to be done because of `input`.
    pub(crate) fn apply(&mut self, input: Input, now: DateTime<Utc>, manners: &Manners) -> Vec<Effect> {
        let mut out = Vec::new();
        self.take(input, now, manners, &mut out);
        self.advance(now, manners, &mut out);
        out
    }

    /// What is to be done after the agent was away: everything that was under way.
    pub(crate) fn resume(&mut self, now: DateTime<Utc>, manners: &Manners) -> Vec<Effect> {
        let mut out = Vec::new();
        if self.stage == Stage::Approving {
            out.push(Effect::Approve);
        }
        for work in &mut self.works {
            work.resume(now, &mut out);
        }
        if let Some(termination) = &mut self.termination {
            termination.chore.resume(now);
        }
        match &mut self.invoice {
            Billed::Issuing { chore, .. } | Billed::Sending { chore, .. } => chore.resume(now),
            Billed::NotYet | Billed::Sent { .. } | Billed::Over => {}
        }
        self.advance(now, manners, &mut out);
        out
    }

    /// When something is due without an event.
    pub(crate) fn next_wake(&self, manners: &Manners) -> Option<DateTime<Utc>> {
        let active = self.stage == Stage::Active;
        let deadlines = self.notes.iter().flat_map(|note| [note.accept_by, note.pay_by]);
        let timers = [Some(self.terms.expires), self.idle_since.map(|since| since + manners.idle)];
        let of_agreement = timers.into_iter().chain(deadlines).filter(|_| active);
        let of_works = self.works.iter().map(Work::next_wake);
        let termination = self.termination.as_ref().and_then(|termination| termination.chore.next());
        let invoice = match &self.invoice {
            Billed::Issuing { chore, .. } | Billed::Sending { chore, .. } => chore.next(),
            Billed::NotYet | Billed::Sent { .. } | Billed::Over => None,
        };
        of_agreement.chain(of_works).chain([termination, invoice]).flatten().min()
    }

    fn take(&mut self, input: Input, now: DateTime<Utc>, manners: &Manners, out: &mut Vec<Effect>) {
        match input {
            Input::Tick => {}
            Input::Approved => self.approved(now, out),
            Input::ApprovalFailed => {
                if self.stage == Stage::Approving {
                    self.stage = Stage::Ended;
                    self.invoice = Billed::Over;
                    out.push(Effect::Released);
                }
            }
            Input::Create { activity, requestor_pub_key } => self.create(activity, requestor_pub_key, now, out),
            Input::Destroy { activity } => match self.works.iter_mut().find(|work| work.id == activity) {
                Some(work) => work.stop(out),
                None => out.push(Effect::CloseState(CloseState::unknown(activity))),
            },
            Input::Exited { activity, close } => self.exited(&activity, close, now, out),
            Input::SpawnFailed { activity, error } => self.spawn_failed(&activity, &error, now, out),
            Input::StateClosed { activity } => self.with_work(&activity, |work| work.close = None),
            Input::Usage { activity, usage } => {
                let Self { terms, works, last_payable, .. } = self;
                if let Some(work) = works.iter_mut().find(|work| work.id == activity) {
                    work.counted(usage, terms, last_payable, now);
                }
            }
            Input::NoteIssued { activity, note } => self.note_issued(&activity, note, now),
            Input::NoteSent { activity, note, outcome } => self.note_sent(&activity, &note, outcome, now, out),
            Input::NoteAccepted { note } => self.note_answered(&note, false),
            Input::NoteSettled { note } => self.note_answered(&note, true),
            Input::NoteRejected { note, message } => {
                if self.has_note(&note) {
                    self.end(Some(Break::NoteRejected(message)), now, manners, out);
                }
            }
            Input::NoteCancelled { note } => {
                if self.has_note(&note) {
                    self.end(Some(Break::NoteCancelled), now, manners, out);
                }
            }
            Input::InvoiceIssued { outcome } => self.invoice_issued(outcome, now, manners),
            Input::InvoiceSent { outcome } => self.invoice_sent(outcome, now),
            Input::InvoiceSettled | Input::InvoiceRefused => {
                if matches!(self.invoice, Billed::Sending { .. } | Billed::Sent { .. }) {
                    self.invoice = Billed::Over;
                }
            }
            Input::TerminatedByRequestor => self.end(None, now, manners, out),
            Input::TerminationDone { outcome } => match (outcome, &mut self.termination) {
                (Err(Failure::Daemon | Failure::Peer), Some(termination)) => termination.chore.failed(now, TERMINATE),
                _ => self.termination = None,
            },
            Input::Shutdown => self.end(Some(Break::Shutdown), now, manners, out),
        }
    }

    fn approved(&mut self, now: DateTime<Utc>, out: &mut Vec<Effect>) {
        if self.stage == Stage::Approving {
            self.stage = Stage::Active;
            self.idle_since = Some(now);
            out.push(Effect::Began);
        }
    }

    fn create(&mut self, activity: String, key: Option<String>, now: DateTime<Utc>, out: &mut Vec<Effect>) {
        if self.has_activity(&activity) {
            return;
        }
        // The requestor may act on its approval before we hear that it went through.
        self.approved(now, out);
        let busy = self.works.iter().any(|work| work.process != Process::Ended);
        if self.stage != Stage::Active || self.works.len() >= ACTIVITIES_MAX {
            out.push(Effect::CloseState(CloseState::failed(activity, "the agreement is over")));
        } else if busy {
            out.push(Effect::CloseState(CloseState::second(activity)));
        } else {
            self.idle_since = None;
            self.works.push(Work::new(activity.clone(), self.terms.next_note(now)));
            out.push(Effect::Spawn { activity, requestor_pub_key: key });
        }
    }

    fn exited(&mut self, activity: &str, close: CloseState, now: DateTime<Utc>, out: &mut Vec<Effect>) {
        let Some(work) = self.works.iter_mut().find(|work| work.id == activity) else { return };
        if work.process == Process::Ended {
            return;
        }
        work.process = Process::Ended;
        work.close = Some(close.clone());
        out.push(Effect::CloseState(close));
        if self.stage == Stage::Active {
            self.idle_since = Some(now);
        }
    }

    fn spawn_failed(&mut self, activity: &str, error: &str, now: DateTime<Utc>, out: &mut Vec<Effect>) {
        let close = CloseState::failed(activity.to_owned(), error);
        // What never ran is not on the bill, not even with its start price.
        self.with_work(activity, |work| work.billing = Billing::Closed { total: None });
        self.exited(activity, close, now, out);
    }

    fn note_issued(&mut self, activity: &str, outcome: Result<String, Failure>, now: DateTime<Utc>) {
        let (deadline, active) = (self.terms.accept_timeout, self.stage == Stage::Active);
        let Some(work) = self.works.iter_mut().find(|work| work.id == activity) else { return };
        let Some(due) = work.issued(outcome, now) else { return };
        let Some(id) = work.note_on_its_way() else { return };
        // Deadlines start just before the note is sent: an answer may come before the call returns (spec 60 §10.2).
        if active {
            self.notes.push(OpenNote {
                id: id.to_owned(),
                activity: activity.to_owned(),
                accept_by: deadline.map(|deadline| now + deadline.delta()),
                pay_by: due,
            });
        }
        while self.notes.len() > NOTES_MAX {
            let spare = self.notes.iter().position(|note| note.accept_by.is_none() && note.pay_by.is_none());
            self.notes.remove(spare.unwrap_or(0));
        }
    }

    fn note_sent(
        &mut self,
        activity: &str,
        note: &str,
        outcome: Result<(), Failure>,
        now: DateTime<Utc>,
        out: &mut Vec<Effect>,
    ) {
        let failure = outcome.err();
        if failure.is_none() {
            self.last_through = now;
        } else {
            self.notes.retain(|open| open.id != note);
        }
        self.with_work(activity, |work| work.sent(note, failure, now));
        let patience = self.terms.accept_timeout.map(|timeout| self.last_through + timeout.delta());
        if failure == Some(Failure::Peer) && patience.is_some_and(|until| now > until) {
            self.end(Some(Break::Unreachable), now, &Manners::default(), out);
        }
    }

    /// Amounts are cumulative: an answer to a note is one to all earlier notes of its activity.
    fn note_answered(&mut self, note: &str, settled: bool) {
        let Some(at) = self.notes.iter().position(|open| open.id == note) else { return };
        let activity = self.notes.get(at).map(|open| open.activity.clone());
        for open in self.notes.iter_mut().take(at + 1).filter(|open| Some(&open.activity) == activity.as_ref()) {
            open.accept_by = None;
            if settled {
                open.pay_by = None;
            }
        }
        let answered = |index: usize, open: &OpenNote| {
            index <= at
                && Some(&open.activity) == activity.as_ref()
                && open.accept_by.is_none()
                && open.pay_by.is_none()
        };
        let mut index = 0;
        self.notes.retain(|open| {
            let keep = !answered(index, open);
            index += 1;
            keep
        });
    }

    fn invoice_issued(&mut self, outcome: Result<String, Failure>, now: DateTime<Utc>, manners: &Manners) {
        let Billed::Issuing { amount, due, chore } = &mut self.invoice else { return };
        match outcome {
            Ok(id) => {
                self.invoice = Billed::Sending { id, amount: *amount, due: *due, chore: Chore::due(now) };
            }
            Err(_) => chore.failed(now, Pace { first: manners.invoice_retry, ..SEND }),
        }
    }

    fn invoice_sent(&mut self, outcome: Result<(), Failure>, now: DateTime<Utc>) {
        let Billed::Sending { id, amount, due, chore } = &mut self.invoice else { return };
        match outcome {
            Ok(()) => self.invoice = Billed::Sent { id: std::mem::take(id), amount: *amount, due: *due },
            Err(_) => chore.failed(now, SEND),
        }
    }

    /// Ends the agreement: by the requestor when `by_us` is none.
    fn end(&mut self, by_us: Option<Break>, now: DateTime<Utc>, manners: &Manners, out: &mut Vec<Effect>) {
        if self.stage == Stage::Ended {
            return;
        }
        if let Some(why) = by_us {
            let reason = why.reason(&self.terms, manners);
            self.termination = Some(Termination { reason, chore: Chore::due(now) });
        }
        self.stage = Stage::Ended;
        self.idle_since = None;
        self.notes.clear();
        for work in &mut self.works {
            work.stop(out);
        }
        out.push(Effect::Released);
    }

    /// Everything that time or the state of things makes due.
    fn advance(&mut self, now: DateTime<Utc>, manners: &Manners, out: &mut Vec<Effect>) {
        if let Some(why) = self.overdue(now, manners) {
            self.end(Some(why), now, manners, out);
        }
        for work in &mut self.works {
            work.advance(now, &self.terms, out);
        }
        if let Some(termination) = &mut self.termination
            && termination.chore.begin(now)
        {
            out.push(Effect::Terminate { reason: termination.reason.clone() });
        }
        self.bill(now, out);
    }

    fn overdue(&self, now: DateTime<Utc>, manners: &Manners) -> Option<Break> {
        if self.stage != Stage::Active {
            return None;
        }
        let passed = |deadline: Option<DateTime<Utc>>| deadline.is_some_and(|deadline| now >= deadline);
        let single_done = !self.terms.multi_activity
            && self.works.iter().any(|work| work.process == Process::Ended && work.was_started());
        if single_done {
            Some(Break::Finished)
        } else if now >= self.terms.expires {
            Some(Break::Expired)
        } else if passed(self.idle_since.map(|since| since + manners.idle)) {
            Some(Break::NoActivity)
        } else if self.notes.iter().any(|note| passed(note.accept_by)) {
            Some(Break::NotesDeadline)
        } else if self.notes.iter().any(|note| passed(note.pay_by)) {
            Some(Break::NoteNotPaid)
        } else {
            None
        }
    }

    fn bill(&mut self, now: DateTime<Utc>, out: &mut Vec<Effect>) {
        if self.stage == Stage::Ended
            && self.invoice == Billed::NotYet
            && let Some(totals) = self.works.iter().map(Work::closed_total).collect::<Option<Vec<_>>>()
        {
            // Each total is below the limit of the books, and the sum of ten thousand such fits an amount.
            let amount = Amount::sum(totals.into_iter().flatten()).unwrap_or_default();
            let due = now + self.terms.payment_timeout.map_or(INVOICE_DUE_AFTER, |timeout| timeout.delta());
            self.invoice = Billed::Issuing { amount, due, chore: Chore::due(now) };
        }
        match &mut self.invoice {
            Billed::Issuing { amount, due, chore } => {
                if chore.begin(now) {
                    let billed = self.works.iter().filter(|work| work.was_started()).map(|work| work.id.clone());
                    out.push(Effect::IssueInvoice {
                        activities: billed.collect(),
                        amount: *amount,
                        due: *due,
                        again: chore.is_again(),
                    });
                }
            }
            Billed::Sending { id, chore, .. } => {
                if chore.begin(now) {
                    out.push(Effect::SendInvoice { invoice: id.clone() });
                }
            }
            Billed::NotYet | Billed::Sent { .. } | Billed::Over => {}
        }
    }

    fn with_work(&mut self, activity: &str, change: impl FnOnce(&mut Work)) {
        if let Some(work) = self.works.iter_mut().find(|work| work.id == activity) {
            change(work);
        }
    }
}

impl Break {
    /// Code and text, which clients print (spec 60 §9.4).
    fn reason(&self, terms: &Terms, manners: &Manners) -> Reason {
        let timeout = |timeout: Option<crate::terms::TimeDeltaSeconds>| {
            timeout.map_or_else(String::new, |timeout| timeout.to_string())
        };
        let (code, message) = match self {
            Self::Expired => ("Expired", format!("Agreement expired @ {}", terms.expires)),
            Self::NoActivity => ("NoActivity", format!("No activity created within {}s", manners.idle.num_seconds())),
            Self::NotesDeadline => (
                "DebitNotesDeadline",
                format!("Requestor isn't accepting DebitNotes in time ({})", timeout(terms.accept_timeout)),
            ),
            Self::NoteRejected(why) => ("DebitNoteRejected", format!("Requestor rejected the debit note: {why}")),
            Self::NoteCancelled => ("DebitNoteCancelled", "Provider cancelled the debit note".to_owned()),
            Self::NoteNotPaid => (
                "DebitNoteNotPaid",
                format!("Requestor didn't pay for DebitNote in time ({})", timeout(terms.payment_timeout)),
            ),
            Self::Unreachable => (
                "RequestorUnreachable",
                format!("Requestor is unreachable more than {}", timeout(terms.accept_timeout)),
            ),
            Self::Finished => ("Success", "Finished with success.".to_owned()),
            Self::Shutdown => ("Shutdown", "Shutting down Provider".to_owned()),
        };
        Reason::new(message).with(Reason::PROVIDER_CODE, code)
    }
}
