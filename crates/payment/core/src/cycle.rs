//! When an identity pays on a platform (spec 40 §6.1).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::cron::{Cron, ParseCronError};

/// Shorter cycles would only burn gas.
const INTERVAL_MIN: TimeDelta = TimeDelta::seconds(5);
/// Longer than any use; keeps sums of times in range.
const INTERVAL_MAX: TimeDelta = TimeDelta::days(10_000);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    Interval(TimeDelta),
    Cron(Cron),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CycleError {
    #[error("Interval must be greater than 5 seconds (at least 5 minutes suggested)")]
    IntervalTooShort,
    #[error("Interval must be shorter than 10000 days")]
    IntervalTooLong,
    #[error("Extra payment time must be greater than 5 seconds (at least 5 minutes suggested)")]
    ExtraTooShort,
    #[error("invalid cron expression")]
    Cron(#[from] ParseCronError),
}

/// Intervals of rows that are made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// In place of the built-in ones of all platforms.
    pub interval: Option<Duration>,
    pub extra: Option<Duration>,
}

impl Defaults {
    /// Interval and extra pay time for `platform`.
    fn of(&self, platform: &str) -> (Duration, Duration) {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let (interval, extra) =
            if platform.contains("-tglm") { (minutes(5), minutes(4)) } else { (minutes(24 * 60), minutes(60)) };
        (self.interval.unwrap_or(interval), self.extra.unwrap_or(extra))
    }
}

/// The settings of one identity on one platform and the times of its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    pub rule: Rule,
    /// How long before a due date a payment is made.
    pub extra: TimeDelta,
    pub max_interval: TimeDelta,
    pub next: DateTime<Utc>,
    pub last: Option<DateTime<Utc>>,
}

fn span(duration: Duration) -> Result<TimeDelta, CycleError> {
    match TimeDelta::from_std(duration) {
        Ok(span) if span < INTERVAL_MIN => Err(CycleError::IntervalTooShort),
        Ok(span) if span <= INTERVAL_MAX => Ok(span),
        _ => Err(CycleError::IntervalTooLong),
    }
}

impl Rule {
    pub fn every(interval: Duration) -> Result<Self, CycleError> {
        span(interval).map(Self::Interval)
    }

    pub fn cron(text: &str) -> Result<Self, CycleError> {
        Ok(Self::Cron(text.parse()?))
    }

    fn after(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Interval(interval) => time + *interval,
            Self::Cron(cron) => cron.after(time).unwrap_or(DateTime::<Utc>::MAX_UTC),
        }
    }

    fn longest(&self, now: DateTime<Utc>) -> TimeDelta {
        match self {
            Self::Interval(interval) => *interval,
            Self::Cron(cron) => cron.largest_gap(now),
        }
    }
}

pub fn extra_time(extra: Duration) -> Result<TimeDelta, CycleError> {
    span(extra).map_err(|error| match error {
        CycleError::IntervalTooShort => CycleError::ExtraTooShort,
        other => other,
    })
}

impl Cycle {
    pub fn new(rule: Rule, extra: TimeDelta, now: DateTime<Utc>) -> Self {
        Self { max_interval: rule.longest(now), next: rule.after(now), rule, extra, last: None }
    }

    /// The row of `platform` as it is first made.
    pub fn default_of(platform: &str, defaults: &Defaults, now: DateTime<Utc>) -> Result<Self, CycleError> {
        let (interval, extra) = defaults.of(platform);
        Ok(Self::new(Rule::every(interval)?, extra_time(extra)?, now))
    }

    /// A run starts.
    pub fn run(&mut self, now: DateTime<Utc>) {
        self.last = Some(now);
        self.next = self.rule.after(now);
    }

    /// Changes the settings; a given `next` may only bring the next run forward.
    pub fn amend(
        &mut self,
        rule: Option<Rule>,
        extra: Option<TimeDelta>,
        next: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) {
        if let Some(rule) = rule {
            self.max_interval = rule.longest(now);
            self.rule = rule;
        }
        if let Some(extra) = extra {
            self.extra = extra;
        }
        let regular = self.rule.after(self.last.unwrap_or(now));
        self.next = next.map_or(regular, |next| next.min(regular));
    }

    /// A document must be paid by `due`: the next run is early enough for it.
    pub fn hurry(&mut self, due: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        let by = due.checked_sub_signed(self.extra).unwrap_or(now).max(now);
        let sooner = by < self.next;
        if sooner {
            self.next = by;
        }
        sooner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn test_tokens_are_paid_more_often() {
        let next = |platform| Cycle::default_of(platform, &Defaults::default(), at(0)).unwrap().next;
        assert_eq!(next("erc20-hoodi-tglm"), at(300));
        assert_eq!(next("erc20-polygon-glm"), at(86_400));
        let defaults = Defaults { interval: Some(Duration::from_secs(20)), extra: Some(Duration::from_secs(1)) };
        assert_eq!(Cycle::default_of("erc20-polygon-glm", &defaults, at(0)), Err(CycleError::ExtraTooShort));
    }

    #[test]
    fn runs_are_brought_forward_by_due_dates_and_by_hand() {
        let mut cycle = Cycle::new(Rule::every(Duration::from_secs(300)).unwrap(), TimeDelta::seconds(60), at(0));
        assert!(!cycle.hurry(at(400), at(0)));
        assert!(cycle.hurry(at(200), at(0)));
        assert_eq!(cycle.next, at(140));
        assert!(cycle.hurry(at(10), at(20)));
        assert_eq!(cycle.next, at(20));
        cycle.run(at(20));
        assert_eq!((cycle.next, cycle.last), (at(320), Some(at(20))));
        cycle.amend(None, None, Some(at(100)), at(30));
        assert_eq!(cycle.next, at(100));
        cycle.amend(Some(Rule::cron("*/10 * * * *").unwrap()), None, Some(at(5000)), at(30));
        assert_eq!((cycle.next, cycle.max_interval), (at(600), TimeDelta::minutes(10)));
        assert_eq!(Rule::every(Duration::from_secs(1)), Err(CycleError::IntervalTooShort));
    }
}
