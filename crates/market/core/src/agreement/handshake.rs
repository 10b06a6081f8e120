//! The handshake of an agreement (spec 31 §7.1, §7.4) as one total function.
//!
//! No lock is held while a message is on its way; instead a side is in a [`Step`] that clients do not see, in which it
//! takes whatever the peer sends meanwhile.

use golem_model::market::{AgreementState, Role};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Proposal,
    Pending,
    /// Shown as `Pending`, except in error texts.
    Approving,
    Approved,
    Rejected,
    Cancelled,
    Expired,
    Terminated,
}

impl State {
    pub const ALL: [Self; 8] = [
        Self::Proposal,
        Self::Pending,
        Self::Approving,
        Self::Approved,
        Self::Rejected,
        Self::Cancelled,
        Self::Expired,
        Self::Terminated,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Proposal => "Proposal",
            Self::Pending => "Pending",
            Self::Approving => "Approving",
            Self::Approved => "Approved",
            Self::Rejected => "Rejected",
            Self::Cancelled => "Cancelled",
            Self::Expired => "Expired",
            Self::Terminated => "Terminated",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    pub const fn shown(self) -> AgreementState {
        match self {
            Self::Proposal => AgreementState::Proposal,
            Self::Pending | Self::Approving => AgreementState::Pending,
            Self::Approved => AgreementState::Approved,
            Self::Rejected => AgreementState::Rejected,
            Self::Cancelled => AgreementState::Cancelled,
            Self::Expired => AgreementState::Expired,
            Self::Terminated => AgreementState::Terminated,
        }
    }

    pub const fn is_final(self) -> bool {
        matches!(self, Self::Rejected | Self::Cancelled | Self::Expired | Self::Terminated)
    }
}

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Idle,
    /// R: the proposal is sent, no answer yet. `again`: an earlier attempt ended without an answer.
    Confirming {
        again: bool,
    },
    /// R: an attempt to confirm ended without an answer; the provider may have the agreement.
    Unanswered,
    /// R: the commit is sent. `asked`: the client wants to cancel, the provider's answers decide.
    Committing {
        asked: bool,
    },
    /// R, pending again after commits without an answer: the provider may have approved.
    Doubt,
    /// R in doubt, and the client wants to cancel.
    DoubtAsked,
    /// P: the approval is sent, the commit is awaited.
    Approval {
        attempt: u32,
    },
}

/// State of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handshake {
    role: Role,
    state: State,
    step: Step,
    attempts: u32,
    /// The peer has to be told of the end.
    notice: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    // Of the requestor's client, and answers to what the requestor sent.
    Confirm,
    ConfirmAnswer(ConfirmReply),
    CommitAnswer(CommitReply),
    Cancel,
    CancelAnswer(CancelReply),
    // Of the provider, to the requestor.
    PeerApproved,
    PeerRejected,
    // Of the provider's client, and answers to what the provider sent.
    Approve,
    ApprovalAnswer {
        attempt: u32,
        reply: ApprovalReply,
    },
    GiveUp {
        attempt: u32,
    },
    Reject,
    // Of the requestor, to the provider.
    PeerCommitted,
    PeerCancelled,
    // Either.
    Terminate,
    PeerTerminated,
    NoticeDelivered,
    Expire,
    /// The process was started anew with the stored state.
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfirmReply {
    Done,
    /// The provider has an agreement of this proposal.
    Exists,
    Refused,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommitReply {
    /// The provider has approved, now or before.
    Done,
    Cancelled,
    Refused,
    /// No answer, and no more attempts.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelReply {
    Done,
    Approved,
    Refused,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApprovalReply {
    Done,
    Cancelled,
    Refused,
    Lost,
}

/// A message to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Send {
    Proposal,
    Approval {
        attempt: u32,
    },
    Commit,
    /// A cancellation whose answer matters.
    Cancel,
    /// The end of the agreement, delivered in the background.
    Notice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    Approved,
    Rejected,
    Cancelled,
    Terminated { by: Role },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Output {
    pub events: [Option<Event>; 2],
    pub send: Option<Send>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Can't update Agreement state from {} to {}.", from.name(), to.name())]
pub struct BadTransition {
    pub from: State,
    pub to: State,
}

const QUIET: Output = Output { events: [None, None], send: None };

const fn told(event: Event) -> Output {
    Output { events: [Some(event), None], send: None }
}

const fn sending(send: Send) -> Output {
    Output { events: [None, None], send: Some(send) }
}

impl Handshake {
    /// The requestor's side before it confirms, the provider's when it has received.
    pub const fn new(role: Role) -> Self {
        let state = match role {
            Role::Requestor => State::Proposal,
            Role::Provider => State::Pending,
        };
        Self { role, state, step: Step::Idle, attempts: 0, notice: false }
    }

    /// As stored; apply [`Input::Restart`] to go on.
    pub const fn stored(role: Role, state: State, notice: bool) -> Self {
        Self { role, state, step: Step::Idle, attempts: 0, notice }
    }

    pub const fn state(self) -> State {
        self.state
    }

    pub const fn owes_notice(self) -> bool {
        self.notice
    }

    /// Whether the process waits for the peer.
    pub const fn is_busy(self) -> bool {
        !matches!(self.step, Step::Idle | Step::Unanswered | Step::Doubt)
    }

    /// R: whether a commit is to be sent.
    pub const fn is_committing(self) -> bool {
        matches!(self.step, Step::Committing { .. })
    }

    /// P: the attempt to approve that is under way.
    pub const fn approving(self) -> Option<u32> {
        match self.step {
            Step::Approval { attempt } => Some(attempt),
            _ => None,
        }
    }

    const fn at(self, state: State, step: Step) -> Self {
        Self { state, step, ..self }
    }

    const fn ended(self, state: State) -> Self {
        Self { state, step: Step::Idle, ..self }
    }

    /// Ended by this side: the peer has to be told.
    const fn ended_here(self, state: State) -> Self {
        Self { state, step: Step::Idle, notice: true, ..self }
    }

    pub fn apply(self, input: Input) -> Result<(Self, Output), BadTransition> {
        use {State as S, Step as T};
        let refused = |to| Err(BadTransition { from: self.state, to });
        let notified = |event| Output { events: [Some(event), None], send: Some(Send::Notice) };
        let terminated = |by| Event::Terminated { by };
        match input {
            Input::Expire => Ok(match (self.state, self.step) {
                (S::Proposal | S::Pending, T::Idle | T::Unanswered | T::Doubt) => (self.ended(S::Expired), QUIET),
                _ => (self, QUIET),
            }),
            Input::NoticeDelivered => Ok((Self { notice: false, ..self }, QUIET)),
            Input::Restart => Ok(match (self.role, self.state) {
                (Role::Requestor, S::Proposal) => (self.at(S::Proposal, T::Unanswered), QUIET),
                (Role::Requestor, S::Approving) => {
                    (self.at(S::Approving, T::Committing { asked: false }), sending(Send::Commit))
                }
                (Role::Provider, S::Approving) => (self.ended(S::Pending), QUIET),
                _ if self.notice => (self, sending(Send::Notice)),
                _ => (self, QUIET),
            }),
            Input::Terminate => match self.state {
                S::Approved => Ok((self.ended_here(S::Terminated), notified(terminated(self.role)))),
                _ => refused(S::Terminated),
            },
            Input::PeerTerminated => match (self.state, self.step) {
                (S::Approved, _) => Ok((self.ended(S::Terminated), told(terminated(self.role.other())))),
                // It proves that the provider got the commit.
                (S::Approving, T::Committing { .. }) | (S::Pending, T::Doubt | T::DoubtAsked) => {
                    let events = [Some(Event::Approved), Some(terminated(self.role.other()))];
                    Ok((self.ended(S::Terminated), Output { events, send: None }))
                }
                (S::Terminated, _) if self.notice => Ok((self, QUIET)),
                _ => refused(S::Terminated),
            },
            _ if self.role == Role::Requestor => self.requestor(input),
            _ => self.provider(input),
        }
    }

    fn requestor(self, input: Input) -> Result<(Self, Output), BadTransition> {
        use {State as S, Step as T};
        let refused = |to| Err(BadTransition { from: self.state, to });
        let notified = |event| Output { events: [Some(event), None], send: Some(Send::Notice) };
        match (input, self.state, self.step) {
            (Input::Confirm, S::Proposal, T::Idle) => {
                Ok((self.at(S::Proposal, T::Confirming { again: false }), sending(Send::Proposal)))
            }
            (Input::Confirm, S::Proposal, T::Unanswered) => {
                Ok((self.at(S::Proposal, T::Confirming { again: true }), sending(Send::Proposal)))
            }
            // A second call beside the first.
            (Input::Confirm, S::Proposal, _) => Err(BadTransition { from: S::Pending, to: S::Pending }),
            (Input::Confirm, ..) => refused(S::Pending),

            (Input::ConfirmAnswer(reply), S::Proposal, T::Confirming { again }) => Ok(match reply {
                ConfirmReply::Done => (self.ended(S::Pending), QUIET),
                ConfirmReply::Exists if again => (self.ended(S::Pending), QUIET),
                ConfirmReply::Exists | ConfirmReply::Refused if !again => (self.at(S::Proposal, T::Idle), QUIET),
                _ => (self.at(S::Proposal, T::Unanswered), QUIET),
            }),
            (Input::ConfirmAnswer(reply), S::Cancelled, T::Confirming { .. }) => Ok(match reply {
                ConfirmReply::Refused => (self.ended(S::Cancelled), QUIET),
                _ => (self.ended_here(S::Cancelled), sending(Send::Notice)),
            }),
            (Input::ConfirmAnswer(_), ..) => Ok((self, QUIET)),

            (Input::PeerApproved, S::Proposal, T::Confirming { .. } | T::Unanswered)
            | (Input::PeerApproved, S::Pending, T::Idle | T::Doubt) => {
                Ok((self.at(S::Approving, T::Committing { asked: false }), sending(Send::Commit)))
            }
            (Input::PeerApproved, S::Pending, _) => Err(BadTransition { from: S::Approving, to: S::Approving }),
            (Input::PeerApproved, ..) => refused(S::Approving),

            (Input::CommitAnswer(reply), S::Approving, T::Committing { asked }) => Ok(match reply {
                CommitReply::Done => (self.ended(S::Approved), told(Event::Approved)),
                CommitReply::Cancelled => (self.ended(S::Cancelled), told(Event::Cancelled)),
                CommitReply::Refused => (self.ended(S::Pending), QUIET),
                CommitReply::Lost => (self.at(S::Pending, if asked { T::DoubtAsked } else { T::Doubt }), QUIET),
            }),
            (Input::CommitAnswer(_), ..) => Ok((self, QUIET)),

            (Input::Cancel, S::Proposal, T::Idle) => Ok((self.ended(S::Cancelled), told(Event::Cancelled))),
            // The notice follows when the answer is there.
            (Input::Cancel, S::Proposal, T::Confirming { .. }) => {
                Ok((self.at(S::Cancelled, self.step), told(Event::Cancelled)))
            }
            (Input::Cancel, S::Proposal, _) | (Input::Cancel, S::Pending, T::Idle) => {
                Ok((self.ended_here(S::Cancelled), notified(Event::Cancelled)))
            }
            (Input::Cancel, S::Pending, T::Doubt) => Ok((self.at(S::Pending, T::DoubtAsked), sending(Send::Cancel))),
            (Input::Cancel, S::Approving, T::Committing { asked: false }) => {
                Ok((self.at(S::Approving, T::Committing { asked: true }), sending(Send::Cancel)))
            }
            (Input::Cancel, ..) => refused(S::Cancelled),

            (Input::CancelAnswer(reply), S::Approving, T::Committing { asked: true }) => Ok(match reply {
                CancelReply::Done => (self.ended(S::Cancelled), told(Event::Cancelled)),
                CancelReply::Approved => (self.ended(S::Approved), told(Event::Approved)),
                CancelReply::Refused | CancelReply::Lost => {
                    (self.at(S::Approving, T::Committing { asked: false }), QUIET)
                }
            }),
            (Input::CancelAnswer(reply), S::Pending, T::DoubtAsked) => Ok(match reply {
                CancelReply::Done | CancelReply::Refused => (self.ended(S::Cancelled), told(Event::Cancelled)),
                CancelReply::Approved => (self.ended(S::Approved), told(Event::Approved)),
                CancelReply::Lost => (self.at(S::Pending, T::Doubt), QUIET),
            }),
            (Input::CancelAnswer(_), ..) => Ok((self, QUIET)),

            (Input::PeerRejected, S::Proposal, T::Confirming { .. } | T::Unanswered)
            | (Input::PeerRejected, S::Pending, _) => Ok((self.ended(S::Rejected), told(Event::Rejected))),
            (Input::PeerRejected, ..) => refused(S::Rejected),

            // Messages for the other side.
            (Input::PeerCommitted | Input::Approve, ..) => refused(S::Approved),
            (Input::PeerCancelled, ..) => refused(S::Cancelled),
            (Input::Reject, ..) => refused(S::Rejected),
            _ => Ok((self, QUIET)),
        }
    }

    fn provider(self, input: Input) -> Result<(Self, Output), BadTransition> {
        use {State as S, Step as T};
        let refused = |to| Err(BadTransition { from: self.state, to });
        match (input, self.state, self.step) {
            (Input::Approve, S::Pending, _) => {
                let attempt = self.attempts.wrapping_add(1);
                let next = Self { attempts: attempt, ..self.at(S::Approving, T::Approval { attempt }) };
                Ok((next, sending(Send::Approval { attempt })))
            }
            (Input::Approve, ..) => refused(S::Approving),

            (Input::ApprovalAnswer { attempt, reply }, S::Approving, T::Approval { attempt: current })
                if attempt == current =>
            {
                Ok(match reply {
                    ApprovalReply::Done => (self, QUIET),
                    ApprovalReply::Cancelled => (self.ended(S::Cancelled), told(Event::Cancelled)),
                    ApprovalReply::Refused | ApprovalReply::Lost => (self.ended(S::Pending), QUIET),
                })
            }
            (Input::GiveUp { attempt }, S::Approving, T::Approval { attempt: current }) if attempt == current => {
                Ok((self.ended(S::Pending), QUIET))
            }
            (Input::ApprovalAnswer { .. } | Input::GiveUp { .. }, ..) => Ok((self, QUIET)),

            (Input::PeerCommitted, S::Approving, _) => Ok((self.ended(S::Approved), told(Event::Approved))),
            // The answer to an earlier one was lost.
            (Input::PeerCommitted, S::Approved, _) => Ok((self, QUIET)),
            (Input::PeerCommitted, ..) => refused(S::Approved),

            (Input::Reject, S::Pending, _) => {
                let output = Output { events: [Some(Event::Rejected), None], send: Some(Send::Notice) };
                Ok((self.ended_here(S::Rejected), output))
            }
            (Input::Reject, ..) => refused(S::Rejected),

            (Input::PeerCancelled, S::Pending | S::Approving, _) => {
                Ok((self.ended(S::Cancelled), told(Event::Cancelled)))
            }
            (Input::PeerCancelled | Input::Cancel, ..) => refused(S::Cancelled),

            (Input::Confirm, ..) => refused(S::Pending),
            (Input::PeerApproved, ..) => refused(S::Approving),
            (Input::PeerRejected, ..) => refused(S::Rejected),
            _ => Ok((self, QUIET)),
        }
    }
}
