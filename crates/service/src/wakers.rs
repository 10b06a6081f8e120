use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

type Table<K> = Mutex<HashMap<K, Arc<Notify>>>;

/// Keyed notification: a change of `key` wakes those who wait for it and nobody else.
///
/// To miss nothing: make the [`Wait`] first, look at the state, and only then await it.
pub struct Wakers<K>(Arc<Table<K>>);

impl<K: Eq + Hash + Clone> Wakers<K> {
    pub fn new() -> Self {
        Self::default()
    }

    /// Announces that what `key` names has changed.
    pub fn wake(&self, key: &K) {
        if let Some(notify) = lock(&self.0).get(key) {
            notify.notify_waiters();
        }
    }

    /// Wakes everybody, for changes that concern all keys and for shutdown.
    pub fn wake_all(&self) {
        lock(&self.0).values().for_each(|notify| notify.notify_waiters());
    }

    /// Starts to listen for `key`. The table keeps an entry only while somebody listens.
    pub fn wait(&self, key: K) -> Wait<K> {
        let notify = Arc::clone(lock(&self.0).entry(key.clone()).or_default());
        let mut future = Box::pin(notify.clone().notified_owned());
        future.as_mut().enable();
        Wait { table: Arc::clone(&self.0), key, notify, future }
    }

    /// Number of keys somebody waits for.
    pub fn keys(&self) -> usize {
        lock(&self.0).len()
    }
}

/// A place in the queue for one key; see [`Wakers::wait`].
pub struct Wait<K: Eq + Hash> {
    table: Arc<Table<K>>,
    key: K,
    notify: Arc<Notify>,
    future: std::pin::Pin<Box<tokio::sync::futures::OwnedNotified>>,
}

impl<K: Eq + Hash> Wait<K> {
    /// Returns `true` when the key was woken since the wait began (or was last returned), `false` after `timeout`.
    pub async fn woken(&mut self, timeout: Duration) -> bool {
        let woken = tokio::time::timeout(timeout, self.future.as_mut()).await.is_ok();
        if woken {
            self.future.set(Arc::clone(&self.notify).notified_owned());
            self.future.as_mut().enable();
        }
        woken
    }
}

impl<K: Eq + Hash> Drop for Wait<K> {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        // Ours in `notify`, one inside `future`, one in the table: nobody else listens.
        if Arc::strong_count(&self.notify) <= 3 {
            table.remove(&self.key);
        }
    }
}

fn lock<K>(table: &Table<K>) -> MutexGuard<'_, HashMap<K, Arc<Notify>>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K> Clone for Wakers<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Wakers<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K> fmt::Debug for Wakers<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wakers")
    }
}

impl<K: Eq + Hash + fmt::Debug> fmt::Debug for Wait<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wait({:?})", self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_between_look_and_wait_is_not_missed() {
        let wakers = Wakers::new();
        let mut wait = wakers.wait("a");
        wakers.wake(&"a");
        assert!(wait.woken(Duration::from_secs(1)).await);
        assert!(!wait.woken(Duration::from_secs(1)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn other_keys_do_not_wake_and_leave_no_entry() {
        let wakers = Wakers::new();
        let (mut a, b) = (wakers.wait("a"), wakers.wait("b"));
        wakers.wake(&"b");
        assert!(!a.woken(Duration::from_secs(1)).await);
        drop((a, b));
        assert_eq!(wakers.keys(), 0);
    }
}
