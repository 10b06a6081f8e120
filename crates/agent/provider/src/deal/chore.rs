//! Something that is tried until it works, with growing pauses.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Pauses between tries: `first`, each half as long again as the one before, at most `max`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) first: TimeDelta,
    pub(crate) max: TimeDelta,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chore {
    tries: u32,
    /// When to try next; none while a try is under way.
    next: Option<DateTime<Utc>>,
}

impl Chore {
    pub(crate) const fn due(at: DateTime<Utc>) -> Self {
        Self { tries: 0, next: Some(at) }
    }

    pub(crate) const fn next(&self) -> Option<DateTime<Utc>> {
        self.next
    }

    /// Starts a try if one is due.
    pub(crate) fn begin(&mut self, now: DateTime<Utc>) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.next = None;
            self.tries = self.tries.saturating_add(1);
        }
        due
    }

    /// An earlier try may have worked without our hearing of it.
    pub(crate) const fn is_again(&self) -> bool {
        self.tries > 1
    }

    pub(crate) fn failed(&mut self, now: DateTime<Utc>, pace: Pace) {
        let growth = (1..self.tries.min(64)).try_fold(pace.first, |pause, _| {
            let longer = pause + pause / 2;
            if longer < pace.max { Some(longer) } else { None }
        });
        self.next = Some(now + growth.unwrap_or(pace.max));
    }

    /// After a restart nobody knows of a try that was under way.
    pub(crate) fn resume(&mut self, now: DateTime<Utc>) {
        if self.next.is_none() {
            self.next = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit() {
        let pace = Pace { first: TimeDelta::seconds(4), max: TimeDelta::seconds(10) };
        let mut now = DateTime::UNIX_EPOCH;
        let mut chore = Chore::due(now);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            assert!(chore.begin(now));
            assert!(!chore.begin(now));
            chore.failed(now, pace);
            pauses.push((chore.next().unwrap() - now).num_seconds());
            now = chore.next().unwrap();
        }
        assert_eq!(pauses, [4, 6, 9, 10, 10]);
    }
}
