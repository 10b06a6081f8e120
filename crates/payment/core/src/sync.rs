//! When a peer that could not be told something is told again (spec 40 §7.6).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Growing delays. Unlike the official daemon's they are capped instead of given up, unless `retries_max` is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    pub initial: Duration,
    pub exponent: f64,
    pub cap: Duration,
    pub retries_max: Option<u32>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(30),
            exponent: 6.0,
            cap: Duration::from_secs(24 * 60 * 60),
            retries_max: None,
        }
    }
}

impl Backoff {
    pub fn delay(&self, retries: u32) -> Duration {
        let factor = self.exponent.max(1.0).powi(i32::try_from(retries.min(64)).unwrap_or(64));
        let seconds = self.initial.as_secs_f64() * factor;
        Duration::try_from_secs_f64(seconds).unwrap_or(self.cap).min(self.cap)
    }

    /// When to try again after `retries` failures, the last at `last`; none when it was tried often enough.
    pub fn due(&self, last: DateTime<Utc>, retries: u32) -> Option<DateTime<Utc>> {
        if self.retries_max.is_some_and(|max| retries >= max) {
            return None;
        }
        last.checked_add_signed(TimeDelta::from_std(self.delay(retries)).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_day_and_stay_there() {
        let backoff = Backoff::default();
        let seconds = |retries| backoff.delay(retries).as_secs();
        assert_eq!([seconds(0), seconds(1), seconds(2), seconds(3)], [30, 180, 1080, 6480]);
        assert_eq!([seconds(6), seconds(u32::MAX)], [86400, 86400]);
        let start = DateTime::UNIX_EPOCH;
        assert_eq!(backoff.due(start, 0), Some(start + TimeDelta::seconds(30)));
        assert_eq!(Backoff { retries_max: Some(7), ..backoff }.due(start, 7), None);
    }
}
