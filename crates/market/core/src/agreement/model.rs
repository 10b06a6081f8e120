//! Both sides of a handshake and a bad network: every interleaving of what clients do, with lost, late and repeated
//! messages, within small budgets.

use std::collections::{HashSet, VecDeque};

use golem_model::market::Role;

use super::handshake::{
    ApprovalReply, CancelReply, CommitReply, ConfirmReply, Event, Handshake, Input, Output, Send, State,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Message {
    Proposal,
    Approval(u32),
    Commit,
    Cancel,
    /// The end, by the state it ended in: 0 rejected, 1 cancelled, 2 terminated; and who sends.
    Notice(u8, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Answer {
    Ok,
    Refused(u8),
}

/// A call under way: not yet processed, or with the answer on its way back.
type Call = (Message, Option<Answer>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    requestor: Handshake,
    /// From AgreementReceived on.
    provider: Option<Handshake>,
    calls: Vec<Call>,
    /// Their callers have given up, but they may still arrive.
    late: Vec<Message>,
    confirms: u8,
    approves: u8,
    cancels: u8,
    rejects: u8,
    terminates: u8,
    losses: u8,
    /// Times each side told its clients: approved, rejected, cancelled, terminated.
    told: [[u8; 4]; 2],
}

impl World {
    fn start() -> Self {
        Self {
            requestor: Handshake::new(Role::Requestor),
            provider: None,
            calls: Vec::new(),
            late: Vec::new(),
            confirms: 2,
            approves: 2,
            cancels: 2,
            rejects: 1,
            terminates: 1,
            losses: 2,
            told: [[0; 4]; 2],
        }
    }

    fn side(&self, requestor: bool) -> Option<Handshake> {
        if requestor { Some(self.requestor) } else { self.provider }
    }

    /// Applies an input; what is to be sent becomes a call. `None` when the input is refused.
    fn input(&self, requestor: bool, input: Input) -> Result<Self, State> {
        let Some(side) = self.side(requestor) else { return Err(State::Proposal) };
        let (next, Output { events, send }) = side.apply(input).map_err(|error| error.from)?;
        let mut world = self.clone();
        if requestor {
            world.requestor = next;
        } else {
            world.provider = Some(next);
        }
        for event in events.into_iter().flatten() {
            let kind = match event {
                Event::Approved => 0,
                Event::Rejected => 1,
                Event::Cancelled => 2,
                Event::Terminated { .. } => 3,
            };
            world.told[usize::from(requestor)][kind] += 1;
        }
        let message = send.map(|send| match send {
            Send::Proposal => Message::Proposal,
            Send::Approval { attempt } => Message::Approval(attempt),
            Send::Commit => Message::Commit,
            Send::Cancel => Message::Cancel,
            Send::Notice => notice(next.state(), requestor),
        });
        world.calls.extend(message.map(|message| (message, None)));
        world.calls.sort_unstable();
        Ok(world)
    }

    /// The receiver processes a message.
    fn deliver(&self, message: Message) -> (Self, Answer) {
        let to_requestor = match message {
            Message::Approval(_) => true,
            Message::Notice(_, from_requestor) => !from_requestor,
            _ => false,
        };
        if message == Message::Proposal {
            let mut world = self.clone();
            return match self.provider {
                // The same agreement of the same requestor, while it is pending.
                Some(provider) if provider.state() == State::Pending => (world, Answer::Ok),
                Some(_) => (world, Answer::Refused(EXISTS)),
                None => {
                    world.provider = Some(Handshake::new(Role::Provider));
                    (world, Answer::Ok)
                }
            };
        }
        let input = match message {
            Message::Approval(_) => Input::PeerApproved,
            Message::Commit => Input::PeerCommitted,
            Message::Cancel | Message::Notice(1, _) => Input::PeerCancelled,
            Message::Notice(0, _) => Input::PeerRejected,
            _ => Input::PeerTerminated,
        };
        match self.input(to_requestor, input) {
            Ok(world) => (world, Answer::Ok),
            Err(state) => (self.clone(), Answer::Refused(state as u8)),
        }
    }

    /// The caller gets an answer, or gives up waiting for one (`None`).
    fn answered(&self, message: Message, answer: Option<Answer>) -> Self {
        let is = |state: State| answer == Some(Answer::Refused(state as u8));
        let (requestor, input) = match message {
            Message::Proposal => {
                let reply = match answer {
                    Some(Answer::Ok) => ConfirmReply::Done,
                    Some(Answer::Refused(EXISTS)) => ConfirmReply::Exists,
                    Some(Answer::Refused(_)) => ConfirmReply::Refused,
                    None => ConfirmReply::Lost,
                };
                (true, Input::ConfirmAnswer(reply))
            }
            Message::Approval(attempt) => {
                let reply = match answer {
                    Some(Answer::Ok) => ApprovalReply::Done,
                    Some(_) if is(State::Cancelled) => ApprovalReply::Cancelled,
                    Some(_) => ApprovalReply::Refused,
                    None => ApprovalReply::Lost,
                };
                (false, Input::ApprovalAnswer { attempt, reply })
            }
            Message::Commit => {
                let reply = match answer {
                    Some(Answer::Ok) => CommitReply::Done,
                    Some(_) if is(State::Approved) || is(State::Terminated) => CommitReply::Done,
                    Some(_) if is(State::Cancelled) => CommitReply::Cancelled,
                    Some(_) => CommitReply::Refused,
                    None => CommitReply::Lost,
                };
                (true, Input::CommitAnswer(reply))
            }
            Message::Cancel => {
                let reply = match answer {
                    Some(Answer::Ok) => CancelReply::Done,
                    Some(_) if is(State::Approved) || is(State::Terminated) => CancelReply::Approved,
                    Some(_) => CancelReply::Refused,
                    None => CancelReply::Lost,
                };
                (true, Input::CancelAnswer(reply))
            }
            Message::Notice(kind, requestor) => {
                let early = kind != 2 && (is(State::Approving) || is(State::Proposal));
                if answer.is_none() || early {
                    let mut world = self.clone();
                    world.calls.push((message, None));
                    world.calls.sort_unstable();
                    return world;
                }
                (requestor, Input::NoticeDelivered)
            }
        };
        self.input(requestor, input).unwrap_or_else(|_| panic!("answers are never refused: {message:?} {self:?}"))
    }

    fn next(&self) -> Vec<Self> {
        let mut worlds = Vec::new();
        let mut client = |budget: u8, requestor, input, spend: fn(&mut Self)| {
            if budget > 0
                && let Ok(mut world) = self.input(requestor, input)
            {
                spend(&mut world);
                worlds.push(world);
            }
        };
        client(self.confirms, true, Input::Confirm, |world| world.confirms -= 1);
        client(self.cancels, true, Input::Cancel, |world| world.cancels -= 1);
        client(self.approves, false, Input::Approve, |world| world.approves -= 1);
        client(self.rejects, false, Input::Reject, |world| world.rejects -= 1);
        client(self.terminates, true, Input::Terminate, |world| world.terminates -= 1);
        client(self.terminates, false, Input::Terminate, |world| world.terminates -= 1);
        if let Some(attempt) = self.provider.and_then(Handshake::approving) {
            client(1, false, Input::GiveUp { attempt }, |_| {});
        }
        for at in 0..self.calls.len() {
            let (message, answer) = self.calls[at];
            let mut rest = self.clone();
            rest.calls.remove(at);
            match answer {
                None => {
                    let (mut processed, answer) = rest.deliver(message);
                    processed.calls.push((message, Some(answer)));
                    processed.calls.sort_unstable();
                    worlds.push(processed);
                }
                Some(answer) => worlds.push(rest.answered(message, Some(answer))),
            }
            if self.losses > 0 {
                rest.losses -= 1;
                worlds.push(rest.answered(message, None));
                if answer.is_none() {
                    rest.late.push(message);
                    rest.late.sort_unstable();
                    worlds.push(rest.answered(message, None));
                }
            }
        }
        for at in 0..self.late.len() {
            let mut rest = self.clone();
            let message = rest.late.remove(at);
            worlds.push(rest.deliver(message).0);
        }
        worlds
    }

    fn check(&self) {
        let (r, p) = (self.requestor.state(), self.provider.map(Handshake::state));
        let holds = |law: bool, what: &str| assert!(law, "{what}: {self:#?}");
        holds(
            r != State::Approved || matches!(p, Some(State::Approved | State::Terminated)),
            "the requestor believes in an approval that the provider does not know",
        );
        holds(
            p != Some(State::Approved) || !matches!(r, State::Rejected | State::Cancelled | State::Proposal),
            "the provider works for nobody",
        );
        holds(
            r != State::Terminated || matches!(p, Some(State::Approved | State::Terminated)),
            "terminated what was not approved",
        );
        holds(self.told.iter().flatten().all(|times| *times <= 1), "clients are told twice");
        for (told, state) in [(self.told[1], Some(r)), (self.told[0], p)] {
            holds(told[0] == u8::from(matches!(state, Some(State::Approved | State::Terminated))), "approval untold");
            holds(told[1] == u8::from(state == Some(State::Rejected)), "rejection untold");
            holds(told[2] == u8::from(state == Some(State::Cancelled)), "cancellation untold");
            holds(told[3] == u8::from(state == Some(State::Terminated)), "termination untold");
        }
    }

    /// When nothing is under way and the network was kind in the end, both sides say the same.
    fn check_rest(&self) {
        let owes = self.requestor.owes_notice() || self.provider.is_some_and(Handshake::owes_notice);
        if !self.calls.is_empty() || !self.late.is_empty() || owes {
            return;
        }
        let (r, Some(p)) = (self.requestor.state(), self.provider.map(Handshake::state)) else { return };
        let agree = match (r, p) {
            (State::Terminated, p) => p == State::Terminated,
            (State::Rejected, p) => p == State::Rejected,
            // Both ended it at once.
            (State::Cancelled, p) => matches!(p, State::Cancelled | State::Rejected),
            (State::Approved, p) => p == State::Approved,
            // The requestor's client confirms again or cancels; the provider's may approve again.
            (State::Proposal | State::Pending, p) => p != State::Terminated && p != State::Rejected,
            (State::Approving | State::Expired, _) => false,
        };
        assert!(agree, "{self:#?}");
    }
}

const EXISTS: u8 = 100;

fn notice(state: State, requestor: bool) -> Message {
    let kind = match state {
        State::Rejected => 0,
        State::Cancelled => 1,
        _ => 2,
    };
    Message::Notice(kind, requestor)
}

#[test]
fn every_interleaving_keeps_both_sides_together() {
    let mut seen = HashSet::from([World::start()]);
    let mut open = VecDeque::from([World::start()]);
    let mut finals = HashSet::new();
    while let Some(world) = open.pop_front() {
        world.check();
        world.check_rest();
        finals.insert((world.requestor.state(), world.provider.map(Handshake::state)));
        for next in world.next() {
            if seen.insert(next.clone()) {
                open.push_back(next);
            }
        }
    }
    assert!(seen.len() > 10_000, "{}", seen.len());
    for both in [State::Approved, State::Rejected, State::Cancelled, State::Terminated] {
        assert!(finals.contains(&(both, Some(both))), "{both:?} was never reached");
    }
}
