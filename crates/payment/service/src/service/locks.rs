//! One run of settlement at a time for an identity and platform.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use golem_model::NodeId;

pub(super) type Key = (NodeId, String);

#[derive(Debug, Default)]
struct Run {
    /// Held across calls of the driver: a second run would hand it the same transfers.
    lock: Arc<tokio::sync::Mutex<()>>,
    /// A run waits for the lock; another one would find nothing more.
    waiting: bool,
}

/// The runs of all keys. One small entry for each identity and platform that ever paid.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<HashMap<Key, Run>>);

impl Runs {
    fn with<T>(&self, key: &Key, change: impl FnOnce(&mut Run) -> T) -> T {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(runs.entry(key.clone()).or_default())
    }

    /// Whether a run has to be started; `false` when one is about to begin anyway.
    pub(super) fn announce(&self, key: &Key) -> bool {
        self.with(key, |run| !std::mem::replace(&mut run.waiting, true))
    }

    /// Waits for the run before.
    pub(super) async fn begin(&self, key: &Key) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = self.with(key, |run| Arc::clone(&run.lock));
        let guard = lock.lock_owned().await;
        self.with(key, |run| run.waiting = false);
        guard
    }
}
