//! Long polls, one task each: events reach the actor as soon as the daemon has them.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use golem_api_client::{Class, EventQuery, RestError};
use golem_model::market::SubscriptionId;
use tracing::{Instrument as _, debug, info_span, warn};

use super::{Agent, Message};

/// Pauses after errors double from the first to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_LAST: Duration = Duration::from_secs(20);
/// The daemon is a program on this machine: when it restarts, we want to be there.
const PAUSE_UNREACHABLE_LAST: Duration = Duration::from_secs(1);
/// Events of an offer that are taken at once.
const NEGOTIATION_EVENTS_MAX: u32 = 100;
const AGREEMENT_EVENTS_MAX: u32 = 100;

/// Growing pauses while something fails.
#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
}

impl Trouble {
    /// The pause after one more failure.
    fn failed(&mut self, error: &RestError, first: Duration) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let last = if error.is_unreachable() { PAUSE_UNREACHABLE_LAST } else { PAUSE_LAST };
        if self.failures == 1 {
            warn!(error = %chain(error), "long poll failed, will be repeated");
        } else {
            debug!(error = %chain(error), failures = self.failures, "long poll failed again");
        }
        first.saturating_mul(1 << self.failures.min(10).saturating_sub(1)).min(last)
    }

    /// True when something had failed before.
    fn worked(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl Agent {
    pub(super) fn start_pollers(&self) {
        let timing = self.timing;
        let (client, session) = (self.client.clone(), self.session.clone());
        self.poll("agreements", self.cursors.agreements, PAUSE_FIRST, false, Message::Agreements, |e| e.event_date, {
            move |after| {
                let (client, session) = (client.clone(), session.clone());
                async move {
                    client.agreement_events(after, Some(&session), timing.agreement_poll, AGREEMENT_EVENTS_MAX).await
                }
            }
        });
        let (client, session) = (self.client.clone(), self.session.clone());
        self.poll("activities", self.cursors.activities, PAUSE_FIRST, true, Message::Activities, |e| e.event_date, {
            move |after| {
                let (client, session) = (client.clone(), session.clone());
                async move { client.activity_events(after, Some(&session), timing.activity_poll).await }
            }
        });
        let (client, session) = (self.client.clone(), self.session.clone());
        self.poll("debit notes", self.cursors.notes, timing.payment_pause, false, Message::Notes, |e| e.event_date, {
            move |after| {
                let (client, session) = (client.clone(), session.clone());
                async move { client.debit_note_events(payments(after, &session, timing.payment_poll)).await }
            }
        });
        let (client, session) = (self.client.clone(), self.session.clone());
        self.poll(
            "invoices",
            self.cursors.invoices,
            timing.payment_pause,
            false,
            Message::Invoices,
            |e| e.event_date,
            {
                move |after| {
                    let (client, session) = (client.clone(), session.clone());
                    async move { client.invoice_events(payments(after, &session, timing.payment_poll)).await }
                }
            },
        );
    }

    #[expect(clippy::too_many_arguments, reason = "the four lists differ in exactly these")]
    fn poll<E, F, Fut>(
        &self,
        name: &'static str,
        mut after: DateTime<Utc>,
        first_pause: Duration,
        recount: bool,
        message: fn(Vec<E>) -> Message,
        date: fn(&E) -> DateTime<Utc>,
        mut fetch: F,
    ) where
        E: Send + 'static,
        F: FnMut(DateTime<Utc>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Vec<E>, RestError>> + Send,
    {
        let (inbox, stop) = (self.inbox.clone(), self.stop.clone());
        let work = async move {
            let mut trouble = Trouble::default();
            loop {
                match fetch(after).await {
                    Ok(events) => {
                        if trouble.worked() && recount {
                            let _ = inbox.send(Message::Recount).await;
                        }
                        if events.is_empty() {
                            continue;
                        }
                        after = events.iter().map(date).max().map_or(after, |last| last.max(after));
                        if inbox.send(message(events)).await.is_err() {
                            break;
                        }
                    }
                    Err(error) => tokio::time::sleep(trouble.failed(&error, first_pause)).await,
                }
            }
        };
        let until_stopped = async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = work => {}
            }
        };
        self.tasks.spawn(until_stopped.instrument(info_span!("poll", list = name)));
    }

    /// Follows one offer until it is withdrawn or gone.
    pub(super) fn poll_offer(&self, subscription: SubscriptionId, stop: tokio_util::sync::CancellationToken) {
        let (client, inbox, timeout) = (self.client.clone(), self.inbox.clone(), self.timing.negotiation_poll);
        let work = async move {
            let mut trouble = Trouble::default();
            loop {
                match client.offer_events(subscription, timeout, NEGOTIATION_EVENTS_MAX).await {
                    Ok(events) => {
                        trouble.worked();
                        if !events.is_empty()
                            && inbox.send(Message::Negotiation { subscription, events }).await.is_err()
                        {
                            break;
                        }
                    }
                    Err(error) if error.class() == Class::Gone => {
                        let _ = inbox.send(Message::SubscriptionGone { subscription }).await;
                        break;
                    }
                    Err(error) => tokio::time::sleep(trouble.failed(&error, PAUSE_FIRST)).await,
                }
            }
        };
        let until_stopped = async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = work => {}
            }
        };
        self.tasks.spawn(until_stopped.instrument(info_span!("poll", list = "offer", %subscription)));
    }
}

fn payments(after: DateTime<Utc>, session: &str, timeout: Duration) -> EventQuery<'_> {
    EventQuery { after, session: Some(session), timeout, max: None, requestor_events: None }
}
