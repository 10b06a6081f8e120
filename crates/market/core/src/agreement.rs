//! Agreements: the record that both sides keep (spec 31 §7.2) around the state machine of its handshake.

mod handshake;
#[cfg(test)]
mod model;

use std::sync::Arc;

use chrono::{NaiveDateTime, TimeDelta};
use golem_model::NodeId;
use golem_model::market::error::{
    AgreementProtocolError, CommitAgreementError, ProposeAgreementError, RemoteAgreementError,
    RemoteCommitAgreementError, RemoteProposeAgreementError, TerminateAgreementError,
};
use golem_model::market::{AgreementEventKind, OwnedAgreementId, ProposalId, Role, SubscriptionId, peer};
use golem_model::reason::Reason;

pub use handshake::{
    ApprovalReply, BadTransition, CancelReply, CommitReply, ConfirmReply, Event, Handshake, Input, Output, Send, State,
};

use crate::market::Proposal;

/// Approvals that leave less than this before the end of validity come too late.
const APPROVAL_MARGIN: TimeDelta = TimeDelta::milliseconds(30);

/// One side's copy of an agreement.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// With this side's role.
    pub id: OwnedAgreementId,
    pub offer_id: SubscriptionId,
    pub demand_id: SubscriptionId,
    pub offer_proposal: ProposalId,
    pub demand_proposal: ProposalId,
    pub provider: NodeId,
    pub requestor: NodeId,
    pub offer_properties: Arc<str>,
    pub offer_constraints: Arc<str>,
    pub demand_properties: Arc<str>,
    pub demand_constraints: Arc<str>,
    /// By the requestor's clock.
    pub created: NaiveDateTime,
    pub valid_to: NaiveDateTime,
    /// By the provider's clock.
    pub approved: Option<NaiveDateTime>,
    /// Of the client on this side.
    pub session: Option<String>,
    pub proposed_signature: Option<String>,
    pub approved_signature: Option<String>,
    pub committed_signature: Option<String>,
    pub handshake: Handshake,
    /// Grows with each change; a store keeps the highest.
    pub version: u64,
    /// What the peer has still to be told.
    pub notice: Option<Notice>,
}

/// The end of an agreement as the peer has to learn it.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    pub reason: Option<Reason>,
    pub at: NaiveDateTime,
}

/// What a change brings about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// To be stored with the record; clients are told.
    pub events: Vec<AgreementEventKind>,
    pub send: Option<Send>,
}

impl Agreement {
    /// A new agreement: on the requestor's side when its client creates it, on the provider's when it is received.
    pub fn propose(
        role: Role,
        offer: &Proposal,
        demand: &Proposal,
        created: NaiveDateTime,
        valid_to: NaiveDateTime,
    ) -> Self {
        let party = &offer.party;
        Self {
            id: OwnedAgreementId::new(role, &crate::hash::proposal_hash(&party.offer, &party.demand, created)),
            offer_id: party.offer,
            demand_id: party.demand,
            offer_proposal: offer.id,
            demand_proposal: demand.id,
            provider: party.provider,
            requestor: party.requestor,
            offer_properties: Arc::clone(&offer.properties),
            offer_constraints: Arc::clone(&offer.constraints),
            demand_properties: Arc::clone(&demand.properties),
            demand_constraints: Arc::clone(&demand.constraints),
            created,
            valid_to,
            approved: None,
            session: None,
            proposed_signature: None,
            approved_signature: None,
            committed_signature: None,
            handshake: Handshake::new(role),
            version: 1,
            notice: None,
        }
    }

    pub const fn role(&self) -> Role {
        self.id.owner()
    }

    pub const fn state(&self) -> State {
        self.handshake.state()
    }

    pub const fn node(&self, role: Role) -> NodeId {
        match role {
            Role::Provider => self.provider,
            Role::Requestor => self.requestor,
        }
    }

    /// The identity on this side.
    pub const fn me(&self) -> NodeId {
        self.node(self.role())
    }

    pub const fn peer(&self) -> NodeId {
        self.node(self.role().other())
    }

    /// Applies an input that carries no reason.
    pub fn apply(&mut self, input: Input) -> Result<Change, BadTransition> {
        self.apply_with(input, None)
    }

    fn apply_with(&mut self, input: Input, reason: Option<&Reason>) -> Result<Change, BadTransition> {
        let (handshake, output) = self.handshake.apply(input)?;
        if handshake != self.handshake {
            self.version += 1;
        }
        self.handshake = handshake;
        if !handshake.owes_notice() {
            self.notice = None;
        }
        let event = |event| match event {
            Event::Approved => AgreementEventKind::Approved,
            Event::Rejected => AgreementEventKind::Rejected { reason: reason.cloned() },
            Event::Cancelled => AgreementEventKind::Cancelled { reason: reason.cloned() },
            Event::Terminated { by } => {
                AgreementEventKind::Terminated { terminator: by, signature: String::new(), reason: reason.cloned() }
            }
        };
        Ok(Change { events: output.events.into_iter().flatten().map(event).collect(), send: output.send })
    }

    /// Ends validity if its time has come. Whether it did.
    pub fn expire(&mut self, now: NaiveDateTime) -> bool {
        let before = self.state();
        self.valid_to < now && self.apply(Input::Expire).is_ok() && before != self.state()
    }

    /// The requestor's client confirms.
    pub fn confirm(&mut self, session: Option<String>) -> Result<peer::AgreementReceived, BadTransition> {
        self.apply(Input::Confirm)?;
        self.session = session;
        self.proposed_signature = Some(peer::NO_SIGNATURE.to_owned());
        Ok(peer::AgreementReceived {
            proposal_id: self.offer_proposal,
            agreement_id: self.id,
            creation_ts: self.created,
            valid_to: self.valid_to,
            signature: peer::NO_SIGNATURE.to_owned(),
        })
    }

    /// The provider's client approves.
    pub fn approve(
        &mut self,
        session: Option<String>,
        now: NaiveDateTime,
    ) -> Result<(u32, peer::AgreementApproved), BadTransition> {
        self.expire(now);
        let change = self.apply(Input::Approve)?;
        self.session = session;
        self.approved = Some(now);
        self.approved_signature = Some(peer::NO_SIGNATURE.to_owned());
        let attempt = match change.send {
            Some(Send::Approval { attempt }) => attempt,
            _ => 0,
        };
        let message = peer::AgreementApproved {
            agreement_id: self.id,
            signature: peer::NO_SIGNATURE.to_owned(),
            approved_ts: now,
        };
        Ok((attempt, message))
    }

    /// The provider has approved. The commit is to be sent when the change is stored.
    pub fn approval_received(
        &mut self,
        message: &peer::AgreementApproved,
        now: NaiveDateTime,
    ) -> Result<Change, RemoteAgreementError> {
        self.expire(now);
        if self.valid_to.signed_duration_since(now) < APPROVAL_MARGIN && self.state() == State::Pending {
            return Err(RemoteAgreementError::Expired(self.id));
        }
        let change = self.apply(Input::PeerApproved).map_err(|error| self.invalid_state(error))?;
        self.approved = Some(message.approved_ts);
        self.approved_signature = Some(short(&message.signature));
        Ok(change)
    }

    pub fn commit(&self) -> peer::AgreementCommitted {
        peer::AgreementCommitted { agreement_id: self.id, signature: peer::NO_SIGNATURE.to_owned() }
    }

    pub fn commit_answered(&mut self, reply: CommitReply) -> Change {
        let change = self.apply(Input::CommitAnswer(reply)).unwrap_or_default();
        match self.state() {
            State::Approved => self.committed_signature = Some(peer::NO_SIGNATURE.to_owned()),
            State::Pending => self.forget_approval(),
            _ => {}
        }
        change
    }

    /// The requestor has committed: the provider's side is approved.
    pub fn commit_received(
        &mut self,
        message: &peer::AgreementCommitted,
    ) -> Result<Change, RemoteCommitAgreementError> {
        let change = self.apply(Input::PeerCommitted).map_err(|error| match error.from {
            State::Cancelled => RemoteCommitAgreementError::Cancelled,
            state => RemoteCommitAgreementError::InvalidState(state.name().to_owned()),
        })?;
        self.committed_signature.get_or_insert_with(|| short(&message.signature));
        Ok(change)
    }

    /// An attempt to approve has failed, or its time is over.
    pub fn approval_ended(&mut self, input: Input) -> Change {
        let change = self.apply(input).unwrap_or_default();
        if self.state() == State::Pending {
            self.forget_approval();
        }
        change
    }

    fn forget_approval(&mut self) {
        self.approved = None;
        self.approved_signature = None;
    }

    /// The provider's client rejects.
    pub fn reject(&mut self, reason: Option<Reason>, now: NaiveDateTime) -> Result<Change, BadTransition> {
        self.expire(now);
        self.end(Input::Reject, reason, now)
    }

    /// The requestor's client cancels. The change may be a question to the provider.
    pub fn cancel(&mut self, reason: Option<Reason>, now: NaiveDateTime) -> Result<Change, BadTransition> {
        self.expire(now);
        self.end(Input::Cancel, reason, now)
    }

    pub fn cancel_answered(&mut self, reply: CancelReply, reason: Option<&Reason>) -> Change {
        let change = self.apply_with(Input::CancelAnswer(reply), reason).unwrap_or_default();
        if self.state() == State::Approved {
            self.committed_signature.get_or_insert_with(|| peer::NO_SIGNATURE.to_owned());
        }
        change
    }

    pub fn terminate(&mut self, reason: Option<Reason>, now: NaiveDateTime) -> Result<Change, BadTransition> {
        self.expire(now);
        self.end(Input::Terminate, reason, now)
    }

    fn end(&mut self, input: Input, reason: Option<Reason>, now: NaiveDateTime) -> Result<Change, BadTransition> {
        let change = self.apply_with(input, reason.as_ref())?;
        if self.handshake.owes_notice() {
            self.notice = Some(Notice { reason, at: now });
        }
        Ok(change)
    }

    pub fn rejection_received(
        &mut self,
        reason: Option<&Reason>,
        now: NaiveDateTime,
    ) -> Result<Change, RemoteAgreementError> {
        self.expire(now);
        self.apply_with(Input::PeerRejected, reason).map_err(|error| self.invalid_state(error))
    }

    pub fn cancellation_received(
        &mut self,
        reason: Option<&Reason>,
        now: NaiveDateTime,
    ) -> Result<Change, RemoteAgreementError> {
        self.expire(now);
        self.apply_with(Input::PeerCancelled, reason).map_err(|error| self.invalid_state(error))
    }

    pub fn termination_received(&mut self, reason: Option<&Reason>) -> Result<Change, RemoteAgreementError> {
        let change = self.apply_with(Input::PeerTerminated, reason);
        let change = change.map_err(|_| RemoteAgreementError::InternalError(self.id))?;
        self.committed_signature.get_or_insert_with(|| peer::NO_SIGNATURE.to_owned());
        Ok(change)
    }

    fn invalid_state(&self, error: BadTransition) -> RemoteAgreementError {
        RemoteAgreementError::InvalidState(self.id, error.from.name().to_owned())
    }

    /// Messages that tell the peer of the end, by the state it ended in.
    pub fn rejected_message(&self, notice: &Notice) -> peer::AgreementRejected {
        peer::AgreementRejected { agreement_id: self.id, reason: notice.reason.clone(), rejection_ts: notice.at }
    }

    pub fn cancelled_message(&self, notice: &Notice) -> peer::AgreementCancelled {
        peer::AgreementCancelled { agreement_id: self.id, reason: notice.reason.clone(), cancellation_ts: notice.at }
    }

    pub fn terminated_message(&self, notice: &Notice) -> peer::AgreementTerminated {
        peer::AgreementTerminated {
            // This message alone names the receiver's copy.
            agreement_id: self.id.owned_by(self.role().other()),
            reason: notice.reason.clone(),
            signature: peer::NOT_SIGNED.to_owned(),
            termination_ts: notice.at,
        }
    }
}

fn short(signature: &str) -> String {
    signature.chars().take(crate::market::SIGNATURE_CHARS_MAX).collect()
}

/// How the answers of a peer read. `lost` stands for: it may have got the message, or not.
impl ConfirmReply {
    pub const fn of(error: &ProposeAgreementError) -> Self {
        match error {
            ProposeAgreementError::Remote(RemoteProposeAgreementError::Unexpected { .. }, _) => Self::Exists,
            _ => Self::Refused,
        }
    }
}

impl CommitReply {
    pub fn of(error: &CommitAgreementError) -> Self {
        match error {
            CommitAgreementError::Remote(RemoteCommitAgreementError::Cancelled, _) => Self::Cancelled,
            CommitAgreementError::Remote(RemoteCommitAgreementError::InvalidState(state), _)
                if state == State::Approved.name() || state == State::Terminated.name() =>
            {
                Self::Done
            }
            _ => Self::Refused,
        }
    }
}

impl CancelReply {
    pub fn of(error: &AgreementProtocolError) -> Self {
        match error {
            AgreementProtocolError::Remote(RemoteAgreementError::InvalidState(_, state))
                if state == State::Approved.name() || state == State::Terminated.name() =>
            {
                Self::Approved
            }
            _ => Self::Refused,
        }
    }
}

impl ApprovalReply {
    pub fn of(error: &AgreementProtocolError) -> Self {
        match error {
            AgreementProtocolError::Remote(RemoteAgreementError::InvalidState(_, state))
                if state == State::Cancelled.name() =>
            {
                Self::Cancelled
            }
            _ => Self::Refused,
        }
    }
}

/// Whether a peer that refused the notice of an end may take it later: it is in the middle of a handshake.
pub fn notice_is_early(error: &AgreementProtocolError) -> bool {
    matches!(
        error,
        AgreementProtocolError::Remote(RemoteAgreementError::InvalidState(_, state))
            if state == State::Approving.name() || state == State::Proposal.name()
    )
}

/// Terminations are never early: the peer has approved, or the agreement is over there too.
pub const fn termination_is_early(_: &TerminateAgreementError) -> bool {
    false
}
