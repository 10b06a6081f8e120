use chrono::{NaiveDateTime, TimeDelta};

/// Creation times that never repeat, because ids are hashes of them (spec 31 §2.3).
#[derive(Debug, Default)]
pub struct Stamp(NaiveDateTime);

impl Stamp {
    pub fn next(&mut self, now: NaiveDateTime) -> NaiveDateTime {
        let earliest = self.0.checked_add_signed(TimeDelta::nanoseconds(1)).unwrap_or(self.0);
        self.0 = now.max(earliest);
        self.0
    }
}
