//! The task of one account on one network.
//!
//! Started by [`Driver::wake`]; owns the account's nonces; stops with the driver. It tells the herald when transfers are
//! final. One step either follows the open transaction or makes the next one out of the queue; between steps it sleeps:
//! shortly while something is on its way, till something is due, or till its bell rings.
//!
//! The order of a send is: sign, store the signed form together with what it carries, broadcast (spec 42 §5.8). After a
//! crash the stored form is broadcast again, so nothing is lost, and no second one is made, so nothing is paid twice.

mod follow;
mod send;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use golem_store::StoreError;
use tokio::time::Instant;
use tracing::{debug, error, warn};

use follow::Settling;

use crate::driver::{Doorbell, Driver, Net};
use crate::plan::Pace;
use crate::rpc::RpcError;
use crate::store::LaneKey;
use crate::transaction::SignError;
use crate::trouble::Trouble;

/// Between looks at a transaction on its way when all nodes run on this machine.
const POLL_LOCAL: Duration = Duration::from_millis(100);

/// The same for nodes elsewhere. Blocks come every 2 s on the fastest network that is used.
const POLL_REMOTE: Duration = Duration::from_secs(2);

/// First and longest wait after something outside is missing: nodes, coin, tokens, a signature.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(20));

/// What a step leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// Until the bell rings.
    Idle,
    For(Duration),
    /// Something is missing: a wait that grows.
    Retry,
    Now,
}

#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Rpc(#[from] RpcError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub(crate) struct Lane {
    driver: Arc<Driver>,
    net: Arc<Net>,
    key: LaneKey,
    bell: Arc<Doorbell>,
    /// Troubles found in the step that runs.
    troubles: Vec<Trouble>,
    retry: Duration,
    /// Transaction and time of the last broadcast.
    broadcast: Option<(i64, Instant)>,
    /// Transaction whose nonce was used by an unknown one, and since when.
    nonce_used: Option<(i64, Instant)>,
    /// Since when somebody else's transaction of this account waits.
    foreign_since: Option<Instant>,
}

impl Lane {
    pub(crate) const fn new(driver: Arc<Driver>, net: Arc<Net>, key: LaneKey, bell: Arc<Doorbell>) -> Self {
        Self {
            driver,
            net,
            key,
            bell,
            troubles: Vec::new(),
            retry: RETRY.0,
            broadcast: None,
            nonce_used: None,
            foreign_since: None,
        }
    }

    pub(crate) async fn run(mut self) {
        let stop = self.driver.stop.clone();
        loop {
            let pause = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // Dropped halfway, a step leaves what a crash at that point leaves.
                pause = self.one_step() => pause,
            };
            let sleep = async {
                match pause {
                    Pause::Now => {}
                    Pause::Idle => std::future::pending().await,
                    Pause::For(time) => tokio::time::sleep(time).await,
                    Pause::Retry => tokio::time::sleep(self.retry).await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.bell.wake.notified() => {}
                () = sleep => {}
            }
            self.retry = if pause == Pause::Retry { (self.retry * 3 / 2).min(RETRY.1) } else { RETRY.0 };
        }
        debug!("lane stopped");
    }

    async fn one_step(&mut self) -> Pause {
        self.troubles.clear();
        let outcome = self.step().await;
        let pause = match outcome {
            Ok(pause) => pause,
            Err(StepError::Rpc(problem)) => {
                self.troubles.push(Trouble::Rpc);
                debug!(%problem, "no answer of the chain");
                Pause::Retry
            }
            Err(StepError::Sign(problem)) => {
                self.troubles.push(Trouble::CantSign);
                debug!(%problem, "no signature");
                Pause::Retry
            }
            Err(StepError::Store(problem)) => {
                error!(%problem, "the payment driver cannot use its database");
                Pause::Retry
            }
        };
        if self.driver.troubles.replace(self.key, self.troubles.clone()) && !self.troubles.is_empty() {
            warn!(troubles = ?self.troubles, "payments wait");
        }
        self.driver.steps.send_modify(|steps| *steps += 1);
        pause
    }

    async fn step(&mut self) -> Result<Pause, StepError> {
        if let Some(open) = self.driver.books.open_transaction(self.key).await? {
            return self.follow(open).await;
        }
        let look_again = match self.settle().await? {
            Settling::Reopened => return Ok(Pause::Now),
            Settling::In(time) => Some(time),
            Settling::Done => None,
        };
        Ok(match (self.send().await?, look_again) {
            (Pause::Idle, Some(wait)) => Pause::For(wait),
            (Pause::For(time), Some(wait)) => Pause::For(time.min(wait)),
            (pause, _) => pause,
        })
    }

    fn poll(&self) -> Duration {
        let by_place = if self.net.chain.is_local() { POLL_LOCAL } else { POLL_REMOTE };
        self.net.chain.poll_interval.unwrap_or(by_place)
    }

    /// When a refused transfer is tried again: what stands against it may change with the next blocks.
    fn after_refusal(&self) -> DateTime<Utc> {
        let wait = if self.net.chain.is_local() { TimeDelta::seconds(1) } else { TimeDelta::seconds(15) };
        self.driver.now() + wait
    }

    fn pace(&self) -> Pace {
        // Transfers of one cycle are handed over within milliseconds; far from the chain a second costs nothing.
        let quiet = if self.net.chain.is_local() { Duration::from_millis(50) } else { Duration::from_secs(1) };
        Pace { quiet, gather: self.driver.settings.gather_interval }
    }

    fn take_flush(&self) -> bool {
        self.bell.flush.swap(false, Ordering::Relaxed)
    }
}
