//! Times of the form `minute hour day month weekday`, in UTC, with seconds in front if there are six fields
//! (spec 40 §6.1).

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Timelike, Utc};

/// Days that are looked at for the next firing: four years and a bit, so that 29 February is found.
const DAYS_MAX: u64 = 1500;

/// A schedule of firings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: String,
    /// Bit n: the value n is allowed.
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Day and weekday are both limited, so either may match.
    either_day: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCronError {
    #[error("a cron text has 5 or 6 fields; `{0}` has not")]
    Fields(String),
    #[error("`{field}` is not a list of numbers, ranges or steps from {low} to {high}")]
    Field { field: String, low: u32, high: u32 },
    #[error("`{0}` never fires")]
    Never(String),
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

fn parse_field(field: &str, low: u32, high: u32, names: &[&str]) -> Result<u64, ParseCronError> {
    let wrong = || ParseCronError::Field { field: field.chars().take(40).collect(), low, high };
    let number = |text: &str| -> Result<u32, ParseCronError> {
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let value = match named.and_then(|index| u32::try_from(index).ok()) {
            Some(index) => index + low,
            None => text.parse().map_err(|_| wrong())?,
        };
        if (low..=high).contains(&value) { Ok(value) } else { Err(wrong()) }
    };
    let mut set = 0;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0).ok_or_else(wrong)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (low, high),
            Some((from, to)) => (number(from)?, number(to)?),
            None if step > 1 => (number(range)?, high),
            None => (number(range)?, number(range)?),
        };
        if from > to {
            return Err(wrong());
        }
        set |= (from..=to).step_by(usize::try_from(step).unwrap_or(usize::MAX)).fold(0, |set, value| set | 1 << value);
    }
    Ok(set)
}

impl FromStr for Cron {
    type Err = ParseCronError;

    fn from_str(text: &str) -> Result<Self, ParseCronError> {
        let mut fields: Vec<_> = text.split_whitespace().take(8).collect();
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        let [seconds, minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(ParseCronError::Fields(text.chars().take(80).collect()));
        };
        let every = |field: &str| field.starts_with(['*', '?']);
        let either_day = !every(days) && !every(weekdays);
        // Sunday is 0 and 7.
        let sunday = |set: u64| if set & 1 << 7 != 0 { set | 1 } else { set };
        let cron = Self {
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            seconds: parse_field(seconds, 0, 59, &[])?,
            minutes: parse_field(minutes, 0, 59, &[])?,
            hours: parse_field(hours, 0, 23, &[])?,
            days: parse_field(days, 1, 31, &[])?,
            months: parse_field(months, 1, 12, &MONTHS)?,
            weekdays: sunday(parse_field(weekdays, 0, 7, &WEEKDAYS)?),
            either_day,
        };
        match cron.after(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(cron),
            None => Err(ParseCronError::Never(cron.text)),
        }
    }
}

fn has(set: u64, value: u32) -> bool {
    set & 1_u64.checked_shl(value).unwrap_or(0) != 0
}

/// The smallest allowed value from `from` on.
fn next_in(set: u64, from: u32) -> Option<u32> {
    (from..60).find(|value| has(set, *value))
}

impl Cron {
    /// The first firing later than `time`.
    pub fn after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let start = time.checked_add_signed(TimeDelta::seconds(1))?.with_nanosecond(0)?;
        let today = start.date_naive();
        for ahead in 0..DAYS_MAX {
            let day = today.checked_add_days(Days::new(ahead))?;
            if !self.fires_on(day) {
                continue;
            }
            let from = if ahead == 0 { (start.hour(), start.minute(), start.second()) } else { (0, 0, 0) };
            if let Some((hour, minute, second)) = self.time_from(from) {
                return Some(day.and_hms_opt(hour, minute, second)?.and_utc());
            }
        }
        None
    }

    fn fires_on(&self, day: NaiveDate) -> bool {
        let in_month = has(self.days, day.day());
        let in_week = has(self.weekdays, day.weekday().num_days_from_sunday());
        has(self.months, day.month()) && if self.either_day { in_month || in_week } else { in_month && in_week }
    }

    /// The first time of a day from `(hour, minute, second)` on.
    fn time_from(&self, (hour, minute, second): (u32, u32, u32)) -> Option<(u32, u32, u32)> {
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = next_in(self.seconds, second)
            {
                return Some((hour, minute, second));
            }
            if let Some(minute) = next_in(self.minutes, minute + 1) {
                return Some((hour, minute, next_in(self.seconds, 0)?));
            }
        }
        let hour = next_in(self.hours, hour + 1).filter(|hour| *hour < 24)?;
        Some((hour, next_in(self.minutes, 0)?, next_in(self.seconds, 0)?))
    }

    /// The largest gap between the next 100 firings.
    pub fn largest_gap(&self, now: DateTime<Utc>) -> TimeDelta {
        let mut gap = TimeDelta::zero();
        let mut last = now;
        for index in 0..100 {
            let Some(next) = self.after(last) else { break };
            if index > 0 {
                gap = gap.max(next - last);
            }
            last = next;
        }
        gap
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_firing_is_found() {
        let check = |cron: &str, after: &str, expected: &str| {
            let cron: Cron = cron.parse().unwrap();
            let after: DateTime<Utc> = after.parse().unwrap();
            assert_eq!(cron.after(after), Some(expected.parse().unwrap()), "{cron} after {after}");
        };
        check("*/5 * * * *", "2026-11-23T06:13:34.5Z", "2026-11-23T06:15:00Z");
        check("*/5 * * * *", "2026-11-23T06:15:00Z", "2026-11-23T06:20:00Z");
        check("30 0 12 * * *", "2026-11-23T12:00:30Z", "2026-11-24T12:00:30Z");
        check("0 0 1 1 *", "2026-11-23T00:00:00Z", "2027-01-01T00:00:00Z");
        check("0 6 * * mon-fri", "2026-11-27T07:00:00Z", "2026-11-30T06:00:00Z");
        check("0 0 13 * 5", "2026-11-23T00:00:00Z", "2026-11-27T00:00:00Z");
        check("0 0 29 2 *", "2026-11-23T00:00:00Z", "2028-02-29T00:00:00Z");
        check("15,45 8-10/2 * * 7", "2026-11-23T00:00:00Z", "2026-11-29T08:15:00Z");
        check("59 59 23 31 dec *", "2026-12-31T23:59:58Z", "2026-12-31T23:59:59Z");
        let daily: Cron = "0 3 * * *".parse().unwrap();
        assert_eq!(daily.largest_gap(DateTime::UNIX_EPOCH), TimeDelta::hours(24));
    }

    #[test]
    fn broken_texts_are_refused() {
        for text in ["", "* * * *", "60 * * * *", "* * 0 * *", "5-1 * * * *", "*/0 * * * *", "0 0 31 2 *", "a * * * *"]
        {
            assert!(text.parse::<Cron>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,60}") {
            let _ = text.parse::<Cron>();
        }

        #[test]
        fn firings_are_later_and_allowed(text in "[0-9*/,-]{1,8} [0-9*/,]{1,6} [0-9*]{1,2} [*1-9] [*0-7]", now in 0_i64..4_000_000_000) {
            if let (Ok(cron), Some(now)) = (text.parse::<Cron>(), DateTime::from_timestamp(now, 0)) {
                let next = cron.after(now).unwrap();
                prop_assert!(next > now);
                prop_assert!(has(cron.minutes, next.minute()) && has(cron.hours, next.hour()));
            }
        }
    }
}
