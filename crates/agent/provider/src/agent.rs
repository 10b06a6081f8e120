//! The agent at work: one actor that owns all agreements and offers.
//!
//! Started by [`run`](crate::run) through [`Agent::work`]. Pollers ([`poll`]), exe-unit tasks and REST calls run beside it
//! and send it [`Message`]s; it drives the pure parts ([`crate::negotiation`], [`crate::deal`]), stores what changed, and
//! starts what is to be done. Nothing remote is awaited in its loop. It ends when it is told to stop and all bills
//! are out, or when that takes too long; what is left then is taken up by the next start.

mod effects;
mod market;
mod poll;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use golem_api_client::{Client, ProviderEvent, ProviderEventKind};
use golem_model::market::{
    AgreementEvent, AgreementEventKind, AgreementId, NegotiationEvent, ProposalId, Role, SubscriptionId,
};
use golem_model::payment::{DebitNoteEvent, DebitNoteEventKind, InvoiceEvent, InvoiceEventKind};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::config::descriptor::Descriptor;
use crate::deal::{Deal, Effect, Input, Manners};
use crate::execution::{Executor, ExecutorConfig};
use crate::journal::{Change, Cursors, Journal, JournalError, Saved};
use crate::negotiation::{Bargain, Memory, Policy};
use crate::offer::{Draft, Node};
use market::Subscription;

/// Messages that may wait. Pollers wait outside then; nothing is lost, since their lists keep.
const INBOX_LEN: usize = 1024;
/// Messages that are taken care of before what they changed is stored.
const BATCH_MAX: usize = 64;

/// What an agent needs to work.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) client: Client,
    pub(crate) journal: Journal,
    pub(crate) clock: Clock,
    pub(crate) node: Node,
    pub(crate) policy: Policy,
    pub(crate) manners: Manners,
    pub(crate) timing: Timing,
    pub(crate) descriptors: Vec<Descriptor>,
    pub(crate) executor: ExecutorConfig,
    /// Name of the session of a first start; later starts keep the stored one.
    pub(crate) session: String,
}

/// Durations of the options of `run`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) negotiation_poll: Duration,
    pub(crate) agreement_poll: Duration,
    pub(crate) activity_poll: Duration,
    pub(crate) payment_poll: Duration,
    pub(crate) payment_pause: Duration,
    pub(crate) approve: Duration,
    /// Time for bills to go out after the order to stop.
    pub(crate) farewell: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            negotiation_poll: seconds(20),
            agreement_poll: seconds(20),
            activity_poll: seconds(20),
            payment_poll: seconds(50),
            payment_pause: seconds(5),
            approve: seconds(10),
            farewell: seconds(15),
        }
    }
}

/// How the agent is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Break all agreements, bill them, go.
    Farewell,
    /// Leave everything as it is; the next start goes on.
    Detach,
}

/// One offer to publish.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) preset: String,
    pub(crate) offer: Draft,
}

/// What reaches the actor.
#[derive(Debug)]
pub(crate) enum Message {
    /// The offers that should be on the market from now on.
    Offers(Vec<Wanted>),
    Subscribed {
        wanted: Wanted,
        subscription: SubscriptionId,
        constraints: String,
    },
    SubscriptionGone {
        subscription: SubscriptionId,
    },
    Negotiation {
        subscription: SubscriptionId,
        events: Vec<NegotiationEvent>,
    },
    /// A counter-proposal of ours is known to the market.
    Countered {
        proposal: ProposalId,
        bargain: Bargain,
    },
    Agreements(Vec<AgreementEvent>),
    Activities(Vec<ProviderEvent>),
    Notes(Vec<DebitNoteEvent>),
    Invoices(Vec<InvoiceEvent>),
    /// Activity events may have been missed.
    Recount,
    Deal {
        agreement: AgreementId,
        input: Input,
    },
    End(Ending),
}

/// A way to reach the agent.
#[derive(Clone, Debug)]
pub(crate) struct Handle(mpsc::Sender<Message>);

impl Handle {
    pub(crate) async fn offer(&self, wanted: Vec<Wanted>) {
        let _ = self.0.send(Message::Offers(wanted)).await;
    }

    pub(crate) async fn end(&self, ending: Ending) {
        let _ = self.0.send(Message::End(ending)).await;
    }
}

#[derive(Debug)]
pub(crate) struct Agent {
    client: Client,
    journal: Journal,
    clock: Clock,
    node: Node,
    policy: Policy,
    manners: Manners,
    timing: Timing,
    descriptors: Vec<Descriptor>,
    session: String,
    executor: Executor,
    inbox: mpsc::Sender<Message>,
    messages: mpsc::Receiver<Message>,
    tasks: TaskTracker,
    /// Ends the pollers.
    stop: CancellationToken,
    deals: HashMap<AgreementId, Deal>,
    subscriptions: HashMap<SubscriptionId, Subscription>,
    memory: Memory,
    cursors: Cursors,
    stale_offers: Vec<SubscriptionId>,
    ending: Option<Ending>,
    dirty: BTreeSet<AgreementId>,
    change: Change,
    effects: Vec<(AgreementId, Effect)>,
}

impl Agent {
    /// An agent that has taken up what the journal holds.
    pub(crate) async fn new(setup: Setup) -> Result<Self, JournalError> {
        let Setup { client, journal, clock, node, policy, manners, timing, descriptors, executor, session } = setup;
        let Saved { deals, cursors, session: stored, offers } = journal.load().await?;
        let session = match stored {
            Some(session) => session,
            None => {
                journal.set_session(&session).await?;
                session
            }
        };
        let (inbox, messages) = mpsc::channel(INBOX_LEN);
        let tasks = TaskTracker::new();
        let executor = Executor::new(client.clone(), executor, inbox.clone(), tasks.clone());
        let mut agent = Self {
            cursors: cursors.unwrap_or_else(|| Cursors::at(clock.now())),
            stale_offers: offers,
            client,
            journal,
            clock,
            node,
            policy,
            manners,
            timing,
            descriptors,
            session,
            executor,
            inbox,
            messages,
            tasks,
            stop: CancellationToken::new(),
            deals: deals.into_iter().map(|deal| (deal.terms.agreement, deal)).collect(),
            subscriptions: HashMap::new(),
            memory: Memory::default(),
            ending: None,
            dirty: BTreeSet::new(),
            change: Change::default(),
            effects: Vec::new(),
        };
        agent.change.cursors = Some(agent.cursors);
        agent.resume();
        Ok(agent)
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle(self.inbox.clone())
    }

    /// Works until it is told to end.
    pub(crate) async fn work(mut self) -> Result<(), JournalError> {
        self.start_pollers();
        let mut deadline = None;
        loop {
            self.flush().await?;
            if self.is_done(deadline) {
                break;
            }
            let wake = self.next_wake().into_iter().chain(deadline).min();
            let first = match self.until(wake) {
                None => self.messages.recv().await,
                Some(pause) => tokio::time::timeout(pause, self.messages.recv()).await.unwrap_or(None),
            };
            let mut next = first;
            for _ in 0..BATCH_MAX {
                let Some(message) = next else { break };
                if let Message::End(ending) = message {
                    deadline = Some(self.begin_end(ending, deadline));
                } else {
                    self.handle_message(message);
                }
                next = self.messages.try_recv().ok();
            }
            self.tick();
        }
        self.stop.cancel();
        info!("stopped");
        Ok(())
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn until(&self, wake: Option<DateTime<Utc>>) -> Option<Duration> {
        // A little late rather than a little early: an early tick would find nothing due.
        wake.map(|wake| (wake - self.now()).to_std().unwrap_or_default() + Duration::from_millis(1))
    }

    fn next_wake(&self) -> Option<DateTime<Utc>> {
        self.deals.values().filter_map(|deal| deal.next_wake(&self.manners)).min()
    }

    fn resume(&mut self) {
        let now = self.now();
        let agreements: Vec<AgreementId> = self.deals.keys().copied().collect();
        for agreement in agreements {
            if let Some(deal) = self.deals.get_mut(&agreement) {
                info!(%agreement, requestor = %deal.terms.requestor, "taking up the agreement again");
                let effects = deal.resume(now, &self.manners);
                self.note_effects(agreement, effects);
            }
        }
    }

    /// Starts to end; returns the time by which it will be over. Told a second time, it ends at once.
    fn begin_end(&mut self, ending: Ending, before: Option<DateTime<Utc>>) -> DateTime<Utc> {
        let now = self.now();
        if before.is_some() {
            return now;
        }
        self.ending = Some(ending);
        self.withdraw_all();
        if ending == Ending::Detach {
            return now;
        }
        let open: Vec<AgreementId> =
            self.deals.iter().filter(|(_, deal)| deal.is_open()).map(|(agreement, _)| *agreement).collect();
        for agreement in open {
            self.apply(agreement, Input::Shutdown);
        }
        now + TimeDelta::from_std(self.timing.farewell).unwrap_or_default()
    }

    fn is_done(&self, deadline: Option<DateTime<Utc>>) -> bool {
        let Some(deadline) = deadline else { return false };
        let billed = self.deals.values().all(Deal::is_billed) && self.subscriptions.is_empty();
        if self.now() >= deadline {
            if !billed && self.ending == Some(Ending::Farewell) {
                warn!("bills are still on their way; the next start goes on with them");
            }
            return true;
        }
        billed
    }

    fn handle_message(&mut self, message: Message) {
        match message {
            Message::Offers(wanted) => self.want_offers(wanted),
            Message::Subscribed { wanted, subscription, constraints } => {
                self.subscribed(wanted, subscription, constraints)
            }
            Message::SubscriptionGone { subscription } => self.subscription_gone(subscription),
            Message::Negotiation { subscription, events } => self.negotiation(subscription, events),
            Message::Countered { proposal, bargain } => self.memory.made(proposal, bargain),
            Message::Agreements(events) => events.into_iter().for_each(|event| self.agreement_event(event)),
            Message::Activities(events) => events.into_iter().for_each(|event| self.activity_event(event)),
            Message::Notes(events) => events.into_iter().for_each(|event| self.note_event(event)),
            Message::Invoices(events) => events.into_iter().for_each(|event| self.invoice_event(event)),
            Message::Recount => self.recount(),
            Message::Deal { agreement, input } => {
                if let Input::Exited { activity, .. } | Input::SpawnFailed { activity, .. } = &input {
                    self.executor.forget(activity);
                }
                self.apply(agreement, input);
            }
            // Taken care of by the loop.
            Message::End(_) => {}
        }
    }

    /// Feeds a deal. False when there is none.
    fn apply(&mut self, agreement: AgreementId, input: Input) -> bool {
        let now = self.now();
        let Some(deal) = self.deals.get_mut(&agreement) else { return false };
        let effects = deal.apply(input, now, &self.manners);
        self.note_effects(agreement, effects);
        true
    }

    fn note_effects(&mut self, agreement: AgreementId, effects: Vec<Effect>) {
        self.dirty.insert(agreement);
        self.effects.extend(effects.into_iter().map(|effect| (agreement, effect)));
    }

    fn tick(&mut self) {
        let now = self.now();
        let due = |deal: &Deal| deal.next_wake(&self.manners).is_some_and(|wake| wake <= now);
        let due: Vec<AgreementId> =
            self.deals.iter().filter(|(_, deal)| due(deal)).map(|(agreement, _)| *agreement).collect();
        for agreement in due {
            self.apply(agreement, Input::Tick);
        }
    }

    /// Stores what changed, then starts what is to be done (invariant I8).
    async fn flush(&mut self) -> Result<(), JournalError> {
        let now = self.now();
        let mut change = std::mem::take(&mut self.change);
        for agreement in std::mem::take(&mut self.dirty) {
            match self.deals.get(&agreement) {
                Some(deal) if deal.is_over(now) => {
                    self.deals.remove(&agreement);
                    self.executor.clean_up(agreement);
                    change.over.push(agreement);
                }
                Some(deal) => change.deals.push(deal.clone()),
                None => {}
            }
        }
        if !change.is_empty() {
            self.journal.save(change).await.inspect_err(|error| error!(%error, "the journal cannot be written"))?;
        }
        let mut released = false;
        for (agreement, effect) in std::mem::take(&mut self.effects) {
            released |= effect == Effect::Released;
            self.perform(agreement, effect);
        }
        if released && self.ending.is_none() {
            self.look_again();
        }
        Ok(())
    }

    fn agreement_event(&mut self, event: AgreementEvent) {
        self.cursors.agreements = self.cursors.agreements.max(event.event_date);
        self.change.cursors = Some(self.cursors);
        let agreement = event.agreement_id;
        match event.kind {
            AgreementEventKind::Terminated { terminator: Role::Requestor, reason, .. } => {
                let reason = reason.map(|reason| reason.message).unwrap_or_default();
                if self.apply(agreement, Input::TerminatedByRequestor) {
                    info!(%agreement, reason = shown(&reason), "terminated by the requestor");
                }
            }
            AgreementEventKind::Approved => drop(self.apply(agreement, Input::Approved)),
            AgreementEventKind::Rejected { .. } | AgreementEventKind::Cancelled { .. } => {
                self.apply(agreement, Input::ApprovalFailed);
            }
            AgreementEventKind::Terminated { .. } => {}
        }
    }

    fn activity_event(&mut self, event: ProviderEvent) {
        self.cursors.activities = self.cursors.activities.max(event.event_date);
        self.change.cursors = Some(self.cursors);
        let ProviderEvent { activity_id: activity, agreement_id: agreement, event_type, .. } = event;
        let input = match event_type {
            ProviderEventKind::CreateActivity { requestor_pub_key } => {
                info!(%agreement, %activity, "activity wanted");
                Input::Create { activity: activity.clone(), requestor_pub_key }
            }
            ProviderEventKind::DestroyActivity {} => {
                info!(%agreement, %activity, "activity to be destroyed");
                Input::Destroy { activity: activity.clone() }
            }
        };
        if !self.apply(agreement, input) {
            warn!(%agreement, %activity, "activity of an agreement that we do not hold");
            self.executor
                .close_state(agreement, crate::deal::CloseState::failed(activity, "the agreement is not known"));
        }
    }

    fn note_event(&mut self, event: DebitNoteEvent) {
        self.cursors.notes = self.cursors.notes.max(event.event_date);
        self.change.cursors = Some(self.cursors);
        let note = event.debit_note_id;
        let Some(agreement) = self.deals.values().find(|deal| deal.has_note(&note)).map(|deal| deal.terms.agreement)
        else {
            return;
        };
        let input = match event.kind {
            DebitNoteEventKind::Accepted => Input::NoteAccepted { note },
            DebitNoteEventKind::Settled => Input::NoteSettled { note },
            DebitNoteEventKind::Rejected { rejection } => {
                Input::NoteRejected { note, message: shown(&rejection.message.unwrap_or_default()) }
            }
            DebitNoteEventKind::Cancelled => Input::NoteCancelled { note },
            DebitNoteEventKind::Received | DebitNoteEventKind::PaymentStatus { .. } | DebitNoteEventKind::PaymentOk => {
                return;
            }
        };
        self.apply(agreement, input);
    }

    fn invoice_event(&mut self, event: InvoiceEvent) {
        self.cursors.invoices = self.cursors.invoices.max(event.event_date);
        self.change.cursors = Some(self.cursors);
        let invoice = event.invoice_id;
        let Some(deal) = self.deals.values().find(|deal| deal.has_invoice(&invoice)) else { return };
        let (agreement, amount) = (deal.terms.agreement, deal.invoice_amount().unwrap_or_default());
        match event.kind {
            InvoiceEventKind::Accepted => info!(%agreement, %invoice, %amount, "invoice accepted"),
            InvoiceEventKind::Settled => {
                info!(%agreement, %invoice, %amount, "invoice was paid");
                metrics::counter!("provider.invoice.paid").increment(1);
                self.apply(agreement, Input::InvoiceSettled);
            }
            InvoiceEventKind::Rejected { rejection } => {
                let reason = shown(&rejection.message.unwrap_or_default());
                warn!(%agreement, %invoice, %amount, reason, "invoice rejected by the requestor");
            }
            InvoiceEventKind::Cancelled => drop(self.apply(agreement, Input::InvoiceRefused)),
            InvoiceEventKind::Received | InvoiceEventKind::PaymentStatus { .. } | InvoiceEventKind::PaymentOk => {}
        }
    }
}

/// Foreign text in a log or message: short and without control characters.
fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 300;
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(SHOWN_MAX).collect()
}
