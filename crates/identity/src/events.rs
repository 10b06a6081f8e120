//! Those who asked to be told of changes; each change is one call, made beside the work that caused it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use golem_bus::Bus;
use golem_model::{Call, Caller};
use golem_service::Context;
use tokio_util::task::TaskTracker;
use tracing::debug;

/// Subscriptions in all; the oldest goes when there is one more.
const SUBSCRIBERS_MAX: usize = 256;

/// A subscriber that has not answered by then is not waited for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(crate) struct Subscribers {
    endpoints: Arc<Mutex<Vec<(Kind, String)>>>,
    bus: Bus,
    tasks: TaskTracker,
}

/// Which events an endpoint wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Identity,
    AppKey,
}

impl Subscribers {
    pub(crate) fn new(ctx: &Context) -> Self {
        Self { endpoints: Arc::default(), bus: ctx.bus.clone(), tasks: ctx.tasks.clone() }
    }

    /// Answers the number of subscriptions of that kind.
    pub(crate) fn add(&self, kind: Kind, endpoint: String) -> u64 {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        if endpoints.len() >= SUBSCRIBERS_MAX {
            endpoints.remove(0);
        }
        endpoints.push((kind, endpoint));
        endpoints.iter().filter(|(other, _)| *other == kind).count() as u64
    }

    pub(crate) fn remove(&self, kind: Kind, endpoint: &str) {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.retain(|(other, name)| *other != kind || name != endpoint);
    }

    pub(crate) fn tell<E: Tellable>(&self, event: E) {
        let endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (_, endpoint) in endpoints.into_iter().filter(|(kind, _)| *kind == E::KIND) {
            let (bus, event) = (self.bus.clone(), event.clone());
            self.tasks.spawn(async move {
                if let Err(error) = bus.call(&endpoint, Caller::local(), event, ANSWER_TIME_MAX).await {
                    debug!(endpoint, %error, "an event was not taken");
                }
            });
        }
    }
}

pub(crate) trait Tellable: Call<Error: std::fmt::Display> + Clone {
    const KIND: Kind;
}

impl Tellable for golem_model::identity::Event {
    const KIND: Kind = Kind::Identity;
}

impl Tellable for golem_model::app_key::Event {
    const KIND: Kind = Kind::AppKey;
}
