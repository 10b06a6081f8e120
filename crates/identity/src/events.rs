//! Those who asked to be told of changes. [`Subscribers::add`] starts a task for each, which makes the calls beside the
//! work that caused them, in the order of the changes; it ends when the endpoint is removed or the daemon stops.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use golem_bus::{Bus, CallError};
use golem_model::{Call, Caller, app_key, identity};
use golem_service::Context;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

/// Subscriptions in all; the oldest goes when there is one more.
const SUBSCRIBERS_MAX: usize = 256;

/// A subscriber that has not answered by then is not waited for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Events that wait for a slow subscriber; further ones are lost to it.
const WAITING_MAX: usize = 256;

#[derive(Clone, Debug)]
pub(crate) struct Subscribers {
    all: Arc<Mutex<Vec<Subscriber>>>,
    bus: Bus,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Subscriber {
    kind: Kind,
    endpoint: String,
    queue: mpsc::Sender<Event>,
}

/// Which events an endpoint wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Identity,
    AppKey,
}

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Identity(identity::Event),
    AppKey(app_key::Event),
}

impl Subscribers {
    pub(crate) fn new(ctx: &Context) -> Self {
        Self { all: Arc::default(), bus: ctx.bus.clone(), tasks: ctx.tasks.clone(), stop: ctx.stop.clone() }
    }

    /// Answers the number of subscriptions of that kind.
    pub(crate) fn add(&self, kind: Kind, endpoint: String) -> u64 {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let (bus, at, stop) = (self.bus.clone(), endpoint.clone(), self.stop.clone());
        self.tasks.spawn(async move { stop.run_until_cancelled(deliver(bus, at, waiting)).await });
        let mut all = self.lock();
        if all.len() >= SUBSCRIBERS_MAX {
            all.remove(0);
        }
        all.push(Subscriber { kind, endpoint, queue });
        all.iter().filter(|other| other.kind == kind).count() as u64
    }

    pub(crate) fn remove(&self, kind: Kind, endpoint: &str) {
        self.lock().retain(|other| other.kind != kind || other.endpoint != endpoint);
    }

    pub(crate) fn tell(&self, event: &Event) {
        for subscriber in self.lock().iter().filter(|subscriber| subscriber.kind == event.kind()) {
            if let Err(error) = subscriber.queue.try_send(event.clone()) {
                debug!(endpoint = subscriber.endpoint, %error, "an event is lost");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Subscriber>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn deliver(bus: Bus, endpoint: String, mut waiting: mpsc::Receiver<Event>) {
    while let Some(event) = waiting.recv().await {
        match event {
            Event::Identity(event) => call(&bus, &endpoint, event).await,
            Event::AppKey(event) => call(&bus, &endpoint, event).await,
        }
    }
}

async fn call<C: Call<Error: std::fmt::Debug>>(bus: &Bus, endpoint: &str, event: C) {
    let answer: Result<_, CallError<C::Error>> = bus.call(endpoint, Caller::local(), event, ANSWER_TIME_MAX).await;
    if let Err(error) = answer {
        debug!(endpoint, ?error, "an event was not taken");
    }
}

impl Event {
    const fn kind(&self) -> Kind {
        match self {
            Self::Identity(_) => Kind::Identity,
            Self::AppKey(_) => Kind::AppKey,
        }
    }
}

impl From<identity::Event> for Event {
    fn from(event: identity::Event) -> Self {
        Self::Identity(event)
    }
}

impl From<app_key::Event> for Event {
    fn from(event: app_key::Event) -> Self {
        Self::AppKey(event)
    }
}
