//! The state that all operations share, and the operations by theme.
//!
//! Nothing here is an actor: rows of the store are the state, its one writer the order of changes. In memory are only
//! the registered drivers and accounts, and allocations ready to be shown.

pub(crate) mod accept;
pub(crate) mod allocate;
pub(crate) mod answer;
mod deliver;
pub(crate) mod issue;
mod live;
mod locks;
mod notify;
mod parties;
pub(crate) mod receive;
mod registry;
pub(crate) mod settle;
pub(crate) mod status;
mod sync;
mod verify;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use golem_bus::Bus;
use golem_model::{NodeId, driver};
use golem_payment_core::document::Kind;
use golem_service::{Clock, Context, Wakers};
use golem_store::Store;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Config;
use live::Live;
use locks::Runs;
pub(crate) use registry::Registry;
pub(crate) use verify::Signed;

/// How long a service of this node may take to answer.
const LOCAL_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a driver may take; balances are read from a chain.
const DRIVER_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a direct message to a peer may take before the sync job takes over.
const PEER_TIME_MAX: Duration = Duration::from_secs(60);

/// What long polls wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    Documents(Kind),
    Payments,
}

/// The shared state of the payment service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) config: Config,
    pub(crate) wakers: Wakers<(NodeId, Topic)>,
    pub(crate) registry: Registry,
    pub(crate) live: Live,
    pub(crate) stop: CancellationToken,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
    runs: Runs,
    cycles_changed: Notify,
    sync_changed: Notify,
    timeouts_changed: Notify,
    /// Payments whose verification goes on although their sender was answered.
    verifying: Mutex<HashSet<(NodeId, String)>>,
}

impl Service {
    pub(crate) fn new(ctx: &Context, store: Store, config: Config) -> Self {
        Self {
            bus: ctx.bus.clone(),
            store,
            config,
            wakers: Wakers::new(),
            registry: Registry::default(),
            live: Live::default(),
            stop: ctx.stop.clone(),
            clock: Arc::clone(&ctx.clock),
            tasks: ctx.tasks.clone(),
            runs: Runs::default(),
            cycles_changed: Notify::new(),
            sync_changed: Notify::new(),
            timeouts_changed: Notify::new(),
            verifying: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Time stamps of documents have milliseconds.
    fn document_time(&self) -> DateTime<Utc> {
        self.now().trunc_subsecs(3)
    }

    /// Wakes those who poll for events of `kind` of an identity.
    fn wake(&self, owner: NodeId, kind: Kind) {
        self.wakers.wake(&(owner, Topic::Documents(kind)));
    }

    fn wake_payment(&self, owner: NodeId) {
        self.wakers.wake(&(owner, Topic::Payments));
        self.wake(owner, Kind::Invoice);
        self.wake(owner, Kind::DebitNote);
    }

    /// Calls a driver of this node.
    async fn driver<C: golem_model::Call>(
        &self,
        name: &str,
        call: C,
    ) -> Result<C::Item, golem_bus::CallError<C::Error>> {
        self.bus.call(&driver::address(name), golem_model::Caller::local(), call, DRIVER_TIME_MAX).await
    }
}

/// Starts the tasks that the map in `lib.rs` lists.
pub(crate) fn spawn_tasks(service: &Arc<Service>) {
    service.tasks.spawn(settle::run_cycles(Arc::clone(service)));
    service.tasks.spawn(sync::run(Arc::clone(service)));
    service.tasks.spawn(sync::ask_debtors(Arc::clone(service)));
    service.tasks.spawn(allocate::run_timeouts(Arc::clone(service)));
}

/// Sleeps until `next`, at most `longest`, by the clock of the service.
fn until(now: DateTime<Utc>, next: Option<DateTime<Utc>>, longest: Duration) -> Duration {
    let wait = next.map_or(longest, |next| (next - now).to_std().unwrap_or(Duration::ZERO));
    wait.min(longest)
}
