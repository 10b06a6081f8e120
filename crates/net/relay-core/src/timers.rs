use std::collections::BTreeMap;

use crate::Time;

/// Things that are due at a time. Entries are not cancelled: who is woken looks whether there is still something to do.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    due: BTreeMap<(Time, u64), T>,
    count: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { due: BTreeMap::new(), count: 0 }
    }
}

impl<T> Timers<T> {
    pub(crate) fn set(&mut self, at: Time, what: T) {
        self.count += 1;
        self.due.insert((at, self.count), what);
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    pub(crate) fn pop(&mut self, now: Time) -> Option<T> {
        self.due.first_entry().filter(|entry| entry.key().0 <= now).map(|entry| entry.remove())
    }
}
