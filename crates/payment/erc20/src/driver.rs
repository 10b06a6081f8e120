//! What all parts of the driver share, and the lanes.
//!
//! A lane is the task of one account on one network: it alone makes that account's transactions, so nonces have one
//! owner. Lanes are started for accounts with work and then wait for more of it without looking at the chain.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use alloy_primitives::Address;
use chrono::{DateTime, Utc};
use golem_bus::Bus;
use golem_model::payment::Network;
use golem_service::{Clock, Context};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info_span};

use crate::http::Http;
use crate::lane::Lane;
use crate::rpc::Pool;
use crate::settings::{Chain, Settings};
use crate::store::{Books, LaneKey};
use crate::trouble::Troubles;

/// Most accounts that send, on all networks together.
const LANES_MAX: usize = 1000;

/// A network with its nodes.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) chain: Chain,
    pub(crate) pool: Pool,
}

/// How others reach a lane.
#[derive(Debug, Default)]
pub(crate) struct Doorbell {
    pub(crate) wake: Notify,
    /// Send now what is queued.
    pub(crate) flush: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) bus: Bus,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) books: Books,
    pub(crate) nets: BTreeMap<Network, Arc<Net>>,
    pub(crate) settings: Settings,
    pub(crate) troubles: Troubles,
    /// There is news for the payment service.
    pub(crate) news: Notify,
    /// Counts steps of lanes, for those who wait for a transfer.
    pub(crate) steps: watch::Sender<u64>,
    pub(crate) http: Arc<Http>,
    lanes: Mutex<HashMap<LaneKey, Arc<Doorbell>>>,
    tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Driver {
    pub(crate) fn new(ctx: &Context, books: Books, settings: Settings) -> Arc<Self> {
        let http = Arc::<Http>::default();
        let net = |(network, chain): (&Network, &Chain)| {
            let pool = Pool::new(chain, Arc::clone(&http), Arc::clone(&ctx.clock));
            (*network, Arc::new(Net { chain: chain.clone(), pool }))
        };
        Arc::new(Self {
            bus: ctx.bus.clone(),
            clock: Arc::clone(&ctx.clock),
            books,
            nets: settings.chains.iter().map(net).collect(),
            settings,
            troubles: Troubles::default(),
            news: Notify::new(),
            steps: watch::Sender::new(0),
            http,
            lanes: Mutex::default(),
            tasks: ctx.tasks.clone(),
            stop: ctx.stop.clone(),
        })
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Wakes the lane of `key`, and starts it if there is none.
    pub(crate) fn wake(self: &Arc<Self>, key: LaneKey, flush: bool) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lanes.get(&key).cloned();
        let bell = known.unwrap_or_else(|| {
            let bell = Arc::new(Doorbell::default());
            if let Some(net) = self.nets.get(&key.network)
                && lanes.len() < LANES_MAX
            {
                let lane = Lane::new(Arc::clone(self), Arc::clone(net), key, Arc::clone(&bell));
                let span = info_span!("erc20", network = %key.network, account = %key.sender);
                self.tasks.spawn(lane.run().instrument(span));
                lanes.insert(key, Arc::clone(&bell));
            }
            bell
        });
        if flush {
            bell.flush.store(true, Ordering::Relaxed);
        }
        bell.wake.notify_one();
    }

    /// Wakes all lanes of an account, or all there are.
    pub(crate) fn wake_all(&self, sender: Option<Address>, flush: bool) -> bool {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut any = false;
        for (_, bell) in lanes.iter().filter(|(key, _)| sender.is_none_or(|sender| sender == key.sender)) {
            bell.flush.fetch_or(flush, Ordering::Relaxed);
            bell.wake.notify_one();
            any = true;
        }
        any
    }
}
