//! What may happen to a debit note or invoice in which status (spec 40 §4.4).

use std::fmt;

use golem_model::Amount;
use golem_model::payment::DocumentStatus as Status;
use golem_model::payment::peer::{AcceptRejectError, CancelError};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    DebitNote,
    Invoice,
}

impl Kind {
    const fn sentence(self) -> &'static str {
        match self {
            Self::DebitNote => "Debit note",
            Self::Invoice => "Invoice",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DebitNote => "debit note",
            Self::Invoice => "invoice",
        })
    }
}

/// A permitted operation either changes the document or finds that it has happened before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Change,
    AlreadyDone,
}

/// Why an operation of a REST client is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The operation makes no sense on a document that was never sent here.
    #[error("Illegal status: {}", .0.as_str().to_lowercase())]
    Illegal(Status),
    #[error("{} {}", .0.sentence(), .1.as_str().to_lowercase())]
    Done(Kind, Status),
    #[error("Invoice already accepted by requestor")]
    AcceptedByRequestor,
}

/// The requestor's client accepts.
pub const fn accept(kind: Kind, status: Status) -> Result<Step, Refusal> {
    match status {
        Status::Issued => Err(Refusal::Illegal(status)),
        Status::Received | Status::Rejected | Status::Failed => Ok(Step::Change),
        Status::Accepted | Status::Settled => Ok(Step::AlreadyDone),
        Status::Cancelled => Err(Refusal::Done(kind, status)),
    }
}

/// The requestor's client rejects an invoice.
pub const fn reject(status: Status) -> Result<Step, Refusal> {
    match status {
        Status::Issued => Err(Refusal::Illegal(status)),
        Status::Received | Status::Failed => Ok(Step::Change),
        Status::Rejected => Ok(Step::AlreadyDone),
        Status::Accepted | Status::Settled | Status::Cancelled => Err(Refusal::Done(Kind::Invoice, status)),
    }
}

/// The provider's client cancels an invoice.
pub const fn cancel(status: Status) -> Result<Step, Refusal> {
    match status {
        Status::Issued | Status::Received | Status::Rejected => Ok(Step::Change),
        Status::Cancelled => Ok(Step::AlreadyDone),
        Status::Accepted | Status::Failed | Status::Settled => Err(Refusal::AcceptedByRequestor),
    }
}

/// The provider hears that its document was accepted.
pub fn accepted_by_peer(kind: Kind, status: Status) -> Result<Step, AcceptRejectError> {
    match status {
        Status::Issued | Status::Received | Status::Rejected | Status::Failed => Ok(Step::Change),
        Status::Accepted | Status::Settled => Ok(Step::AlreadyDone),
        Status::Cancelled => Err(AcceptRejectError::BadRequest(format!("Cannot accept cancelled {kind}"))),
    }
}

/// The provider hears that its document was rejected.
pub fn rejected_by_peer(kind: Kind, status: Status) -> Result<Step, AcceptRejectError> {
    let refuse = |word: &str| Err(AcceptRejectError::BadRequest(format!("Cannot reject {word} {kind}")));
    match status {
        Status::Issued | Status::Received | Status::Failed => Ok(Step::Change),
        Status::Rejected => Ok(Step::AlreadyDone),
        Status::Accepted => refuse("Accepted"),
        Status::Settled => refuse("Settled"),
        Status::Cancelled => refuse("Cancelled"),
    }
}

/// The requestor hears that a document was cancelled by its issuer.
pub const fn cancelled_by_peer(status: Status) -> Result<Step, CancelError> {
    match status {
        Status::Issued | Status::Received | Status::Rejected => Ok(Step::Change),
        Status::Cancelled => Ok(Step::AlreadyDone),
        Status::Accepted | Status::Failed | Status::Settled => Err(CancelError::Conflict),
    }
}

/// Whether a document of `amount` becomes SETTLED once `paid` has been paid for its agreement (invoice) or activity
/// (note).
pub fn settles(status: Status, amount: Amount, paid: Amount) -> bool {
    !matches!(status, Status::Cancelled | Status::Settled) && paid >= amount
}

/// Status after an acceptance: what costs nothing, or is paid already, is settled at once.
pub fn after_accept(amount: Amount, paid: Amount) -> Status {
    if paid >= amount { Status::Settled } else { Status::Accepted }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Status; 7] = [
        Status::Issued,
        Status::Received,
        Status::Accepted,
        Status::Rejected,
        Status::Failed,
        Status::Settled,
        Status::Cancelled,
    ];

    fn check<E: fmt::Display>(operation: &str, outcomes: [Result<Step, E>; 7], expected: [&str; 7]) {
        for ((status, outcome), expected) in COLUMNS.iter().zip(outcomes).zip(expected) {
            let text = match outcome {
                Ok(Step::Change) => "ok".to_owned(),
                Ok(Step::AlreadyDone) => "no-op".to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(text, expected, "{operation} {status}");
        }
    }

    #[test]
    fn the_table_of_operations_and_statuses_is_the_one_of_the_specification() {
        let accept_row = |last| ["Illegal status: issued", "ok", "no-op", "ok", "ok", "no-op", last];
        check("accept", COLUMNS.map(|s| accept(Kind::Invoice, s)), accept_row("Invoice cancelled"));
        check("accept", COLUMNS.map(|s| accept(Kind::DebitNote, s)), accept_row("Debit note cancelled"));
        check(
            "reject",
            COLUMNS.map(reject),
            ["Illegal status: issued", "ok", "Invoice accepted", "no-op", "ok", "Invoice settled", "Invoice cancelled"],
        );
        let taken = "Invoice already accepted by requestor";
        check("cancel", COLUMNS.map(cancel), ["ok", "ok", taken, "ok", taken, taken, "no-op"]);
        check(
            "accepted",
            COLUMNS.map(|s| accepted_by_peer(Kind::Invoice, s)),
            ["ok", "ok", "no-op", "ok", "ok", "no-op", "Bad request: Cannot accept cancelled invoice"],
        );
        check(
            "rejected",
            COLUMNS.map(|s| rejected_by_peer(Kind::Invoice, s)),
            [
                "ok",
                "ok",
                "Bad request: Cannot reject Accepted invoice",
                "no-op",
                "ok",
                "Bad request: Cannot reject Settled invoice",
                "Bad request: Cannot reject Cancelled invoice",
            ],
        );
        check(
            "cancelled",
            COLUMNS.map(cancelled_by_peer),
            ["ok", "ok", "Conflict", "ok", "Conflict", "Conflict", "no-op"],
        );
    }

    #[test]
    fn what_is_paid_is_settled_unless_cancelled() {
        let (one, two) = (Amount::whole(1), Amount::whole(2));
        assert!(settles(Status::Rejected, one, one));
        assert!(!settles(Status::Accepted, two, one));
        assert!(!settles(Status::Cancelled, one, two));
        assert!(!settles(Status::Settled, one, two));
        assert_eq!(after_accept(Amount::ZERO, Amount::ZERO), Status::Settled);
    }
}
