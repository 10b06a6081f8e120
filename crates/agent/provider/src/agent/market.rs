//! Offers on the market and what requestors say to them.

use golem_model::market::{Agreement, DemandOfferBase, NegotiationEvent, Proposal, SubscriptionId};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::poll::chain;
use super::{Agent, Message, Wanted, shown};
use crate::deal::{Deal, Effect};
use crate::execution::write_agreement;
use crate::negotiation::{self, Bargain, Facts, Rejected, Rejection};
use crate::properties::{Properties, flatten};
use crate::terms::Terms;

/// An offer on the market.
#[derive(Debug)]
pub(super) struct Subscription {
    wanted: Wanted,
    /// As published; every counter-proposal repeats it.
    constraints: String,
    /// Ends its poller.
    stop: CancellationToken,
}

impl Agent {
    /// Publishes what is new or changed, withdraws what is gone or changed, leaves the rest.
    pub(super) fn want_offers(&mut self, wanted: Vec<Wanted>) {
        if self.ending.is_some() {
            return;
        }
        // Those of an earlier run that was not ended in order.
        for subscription in std::mem::take(&mut self.stale_offers) {
            self.withdraw(subscription);
        }
        let gone: Vec<SubscriptionId> = self
            .subscriptions
            .iter()
            .filter(|(_, subscription)| !wanted.contains(&subscription.wanted))
            .map(|(id, _)| *id)
            .collect();
        for subscription in gone {
            self.subscriptions.remove(&subscription).into_iter().for_each(|gone| gone.stop.cancel());
            self.memory.forget_subscription(subscription);
            self.withdraw(subscription);
        }
        for wanted in wanted {
            if !self.subscriptions.values().any(|subscription| subscription.wanted == wanted) {
                self.publish(wanted);
            }
        }
    }

    pub(super) fn withdraw_all(&mut self) {
        for (id, subscription) in std::mem::take(&mut self.subscriptions) {
            subscription.stop.cancel();
            self.withdraw(id);
        }
    }

    fn publish(&self, wanted: Wanted) {
        let (client, inbox, clock) = (self.client.clone(), self.inbox.clone(), self.clock);
        self.tasks.spawn(async move {
            let mut pause = std::time::Duration::from_millis(250);
            while !inbox.is_closed() {
                let offer = DemandOfferBase {
                    properties: Value::Object(wanted.offer.properties.clone()),
                    constraints: wanted.offer.constraints_at(clock.now()),
                };
                match client.subscribe_offer(&offer).await {
                    Ok(subscription) => {
                        let constraints = offer.constraints;
                        let _ = inbox.send(Message::Subscribed { wanted, subscription, constraints }).await;
                        return;
                    }
                    Err(error) => {
                        warn!(preset = %wanted.preset, error = %chain(&error), "cannot publish the offer");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(std::time::Duration::from_secs(20));
                    }
                }
            }
        });
    }

    fn withdraw(&mut self, subscription: SubscriptionId) {
        self.change.offers_gone.push(subscription);
        let client = self.client.clone();
        self.tasks.spawn(async move {
            match client.unsubscribe_offer(subscription).await {
                Ok(()) => info!(%subscription, "offer withdrawn"),
                Err(error) => debug!(%subscription, error = %chain(&error), "offer was not withdrawn"),
            }
        });
    }

    pub(super) fn subscribed(&mut self, wanted: Wanted, subscription: SubscriptionId, constraints: String) {
        if self.ending.is_some() {
            return self.withdraw(subscription);
        }
        info!(preset = %wanted.preset, %subscription, "offer published");
        self.change.offers_added.push(subscription);
        let stop = self.stop.child_token();
        self.poll_offer(subscription, stop.clone());
        self.subscriptions.insert(subscription, Subscription { wanted, constraints, stop });
    }

    /// The market does not hold the offer any more, mostly because it expired: publish it again.
    pub(super) fn subscription_gone(&mut self, subscription: SubscriptionId) {
        let Some(Subscription { wanted, .. }) = self.subscriptions.remove(&subscription) else { return };
        self.change.offers_gone.push(subscription);
        self.memory.forget_subscription(subscription);
        if self.ending.is_none() {
            info!(preset = %wanted.preset, %subscription, "offer is gone, publishing it again");
            self.publish(wanted);
        }
    }

    pub(super) fn negotiation(&mut self, subscription: SubscriptionId, events: Vec<NegotiationEvent>) {
        for event in events {
            match event {
                NegotiationEvent::Proposal { proposal, .. } => self.proposal(subscription, *proposal),
                NegotiationEvent::ProposalRejected { proposal_id, reason, .. } => {
                    let reason = reason.map(|reason| shown(&reason.message)).unwrap_or_default();
                    debug!(proposal = %proposal_id, reason, "our proposal was rejected");
                }
                NegotiationEvent::Agreement { agreement, .. } => self.agreement(*agreement),
            }
        }
    }

    fn proposal(&mut self, subscription: SubscriptionId, proposal: Proposal) {
        info!(proposal = %proposal.proposal_id, requestor = %proposal.issuer_id, "demand received");
        metrics::counter!("provider.proposal.received").increment(1);
        let demand = flatten(&proposal.properties);
        let expires = negotiation::expiration_of(&demand).unwrap_or_else(|_| self.now());
        self.answer(Rejected {
            subscription,
            proposal: proposal.proposal_id,
            previous: proposal.prev_proposal_id,
            demand,
            expires,
        });
    }

    /// Demands that had no place are looked at again, now that there is one.
    pub(super) fn look_again(&mut self) {
        for rejected in self.memory.take_put_off(self.now()) {
            debug!(proposal = %rejected.proposal, "looking again at a demand that had no place");
            self.answer(rejected);
        }
    }

    fn answer(&mut self, asked: Rejected) {
        let Some(own) = self.subscriptions.get(&asked.subscription) else { return };
        let known = asked.previous.and_then(|previous| self.memory.terms(previous)).cloned();
        let verdict = known.map_or_else(|| Bargain::read(&own.wanted.offer.properties), Ok).and_then(|mut bargain| {
            negotiation::negotiate(&self.policy, self.facts(), &asked.demand, &mut bargain).map(|_| bargain)
        });
        match verdict {
            Ok(bargain) => self.counter(&asked, own, bargain),
            Err(rejection) => self.reject(asked, rejection),
        }
    }

    fn facts(&self) -> Facts<'_> {
        let agreements_open = self.deals.values().filter(|deal| deal.is_open()).count();
        Facts { now: self.now(), agreements_open, platforms: &self.node.platforms }
    }

    /// Our answer to a demand that suits us, also when nothing changes: the requestor signs on it (spec 60 §7.1).
    fn counter(&self, asked: &Rejected, own: &Subscription, bargain: Bargain) {
        let (client, inbox) = (self.client.clone(), self.inbox.clone());
        let (subscription, asked_id) = (asked.subscription, asked.proposal);
        let constraints = own.constraints.clone();
        let properties = Value::Object(bargain.write(&own.wanted.offer.properties));
        self.tasks.spawn(async move {
            let counter = DemandOfferBase { properties, constraints };
            match client.counter_demand(subscription, asked_id, &counter).await {
                Ok(proposal) => {
                    debug!(%proposal, "countered");
                    let _ = inbox.send(Message::Countered { proposal, bargain }).await;
                }
                Err(error) => warn!(proposal = %asked_id, error = %chain(&error), "cannot counter the proposal"),
            }
        });
    }

    fn reject(&mut self, asked: Rejected, rejection: Rejection) {
        info!(proposal = %asked.proposal, reason = %rejection.message, is_final = rejection.is_final, "demand rejected");
        metrics::counter!("provider.proposal.rejected").increment(1);
        let (client, subscription, proposal) = (self.client.clone(), asked.subscription, asked.proposal);
        if !rejection.is_final {
            self.memory.put_off(asked);
        }
        self.tasks.spawn(async move {
            if let Err(error) = client.reject_demand(subscription, proposal, &rejection.reason()).await {
                warn!(%proposal, error = %chain(&error), "cannot reject the proposal");
            }
        });
    }

    fn agreement(&mut self, agreement: Agreement) {
        let id = agreement.agreement_id;
        if self.deals.contains_key(&id) {
            return;
        }
        match self.examine(&agreement) {
            Ok(terms) => {
                info!(agreement = %id, requestor = %terms.requestor, "agreement suits us, approving it");
                self.deals.insert(id, Deal::new(terms));
                // Exe-units read the file; it is there before the first one can be wanted.
                if let Err(error) = write_agreement(&self.executor.config().folders, &agreement) {
                    warn!(agreement = %id, error = format!("{error:#}"), "cannot write the agreement's file");
                }
                self.note_effects(id, vec![Effect::Approve]);
            }
            Err(rejection) => {
                info!(agreement = %id, reason = %rejection.message, "agreement rejected");
                let client = self.client.clone();
                self.tasks.spawn(async move {
                    if let Err(error) = client.reject_agreement(id, &rejection.reason()).await {
                        warn!(agreement = %id, error = %chain(&error), "cannot reject the agreement");
                    }
                });
            }
        }
    }

    fn examine(&self, agreement: &Agreement) -> Result<Terms, Rejection> {
        let [demand, offer]: [Properties; 2] = [&agreement.demand.properties, &agreement.offer.properties].map(flatten);
        if self.ending.is_some() {
            return Err(Rejection { message: "Shutting down Provider".to_owned(), is_final: false });
        }
        negotiation::examine(&self.policy, self.facts(), &demand, &offer)?;
        Terms::read(agreement, self.policy.debit_note_interval.own)
    }
}
