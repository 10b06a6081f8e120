//! What happens to a deal and what it wants to be done.

use chrono::{DateTime, Utc};
use golem_model::Amount;
use golem_model::exe_unit::{ActivityState, StatePair};
use golem_model::reason::Reason;
use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// Time has passed.
    Tick,
    Approved,
    ApprovalFailed,
    Create {
        activity: String,
        requestor_pub_key: Option<String>,
    },
    Destroy {
        activity: String,
    },
    /// The exe-unit is gone, for whatever reason.
    Exited {
        activity: String,
        close: CloseState,
    },
    SpawnFailed {
        activity: String,
        error: String,
    },
    /// The daemon knows that the activity is over.
    StateClosed {
        activity: String,
    },
    /// Counters in the order of the agreement; none when nothing was counted yet.
    Usage {
        activity: String,
        usage: Result<Option<Vec<f64>>, Failure>,
    },
    NoteIssued {
        activity: String,
        note: Result<String, Failure>,
    },
    NoteSent {
        activity: String,
        note: String,
        outcome: Result<(), Failure>,
    },
    NoteAccepted {
        note: String,
    },
    NoteSettled {
        note: String,
    },
    NoteRejected {
        note: String,
        message: String,
    },
    NoteCancelled {
        note: String,
    },
    InvoiceIssued {
        outcome: Result<String, Failure>,
    },
    InvoiceSent {
        outcome: Result<(), Failure>,
    },
    InvoiceSettled,
    InvoiceRefused,
    TerminatedByRequestor,
    TerminationDone {
        outcome: Result<(), Failure>,
    },
    Shutdown,
}

/// Why something did not work, by what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Our daemon was not reached.
    Daemon,
    /// The daemon could not do it now; mostly because the requestor was not reached.
    Peer,
    /// It will never work.
    Refused,
}

/// Something to do. Each may be done twice without harm.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    Approve,
    /// The agreement is approved.
    Began,
    Spawn {
        activity: String,
        requestor_pub_key: Option<String>,
    },
    /// Find the exe-unit again that was started before the agent was.
    Attach {
        activity: String,
        stop: bool,
    },
    Stop {
        activity: String,
    },
    /// See to it that the daemon knows the activity's end.
    CloseState(CloseState),
    Count {
        activity: String,
    },
    IssueNote {
        activity: String,
        amount: Amount,
        usage: Vec<f64>,
        due: Option<DateTime<Utc>>,
    },
    SendNote {
        activity: String,
        note: String,
    },
    /// `again`: look first whether an earlier try worked.
    IssueInvoice {
        activities: Vec<String>,
        amount: Amount,
        due: DateTime<Utc>,
        again: bool,
    },
    SendInvoice {
        invoice: String,
    },
    Terminate {
        reason: Reason,
    },
    /// The agreement has ended; its place is free.
    Released,
}

/// The last state of an activity, set unless the exe-unit has reported one (spec 60 §8.2, 51 §2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CloseState {
    pub(crate) activity: String,
    pub(crate) reason: String,
    pub(crate) message: Option<String>,
}

impl CloseState {
    fn new(activity: impl Into<String>, reason: &str, message: Option<String>) -> Self {
        Self { activity: activity.into(), reason: reason.to_owned(), message }
    }

    /// Killed by a signal.
    pub(crate) fn aborted(activity: &str) -> Self {
        Self::new(activity, "execution aborted", Some("exit code None".to_owned()))
    }

    pub(crate) fn exited(activity: &str, code: i32, log: Option<String>) -> Self {
        let tail = log.map_or_else(String::new, |log| format!(": {log}"));
        Self::new(activity, "execution error", Some(format!("exit code {code}{tail}")))
    }

    pub(crate) fn lost(activity: &str) -> Self {
        Self::new(activity, "execution error", Some("the exe-unit is gone".to_owned()))
    }

    pub(crate) fn failed(activity: impl Into<String>, error: &str) -> Self {
        Self::new(activity, "creation failed", Some(error.to_owned()))
    }

    pub(crate) fn second(activity: impl Into<String>) -> Self {
        let message = "Can't create 2 simultaneous Activities.".to_owned();
        Self::new(activity, "Only single Activity allowed", Some(message))
    }

    pub(crate) fn unknown(activity: impl Into<String>) -> Self {
        Self::new(activity, "execution error", Some("no such activity is running".to_owned()))
    }

    pub(crate) fn state(&self) -> ActivityState {
        ActivityState {
            state: StatePair::TERMINATED,
            reason: Some(self.reason.clone()),
            error_message: self.message.clone(),
        }
    }
}
