use std::collections::HashMap;

use chrono::{NaiveDateTime, TimeDelta};
use golem_model::NodeId;

/// Failures in a row after which a neighbour's announcements are ignored for a while. One slow answer is no reason.
const FAILURES_MAX: u32 = 3;

/// Most neighbours that are remembered.
const NEIGHBOURS_MAX: usize = 10_000;

/// How neighbours answered when asked for offers they announced (spec 31 §4.4).
#[derive(Debug)]
pub struct Neighbours {
    failures: HashMap<NodeId, (u32, NaiveDateTime)>,
    ban: TimeDelta,
}

impl Neighbours {
    pub fn new(ban: TimeDelta) -> Self {
        Self { failures: HashMap::new(), ban }
    }

    pub fn is_banned(&mut self, node: NodeId, now: NaiveDateTime) -> bool {
        let Some((failures, last)) = self.failures.get(&node) else { return false };
        if now.signed_duration_since(*last) >= self.ban {
            self.failures.remove(&node);
            return false;
        }
        *failures >= FAILURES_MAX
    }

    pub fn answered(&mut self, node: NodeId) {
        self.failures.remove(&node);
    }

    pub fn failed(&mut self, node: NodeId, now: NaiveDateTime) {
        if self.failures.len() >= NEIGHBOURS_MAX && !self.failures.contains_key(&node) {
            let ban = self.ban;
            self.failures.retain(|_, (_, last)| now.signed_duration_since(*last) < ban);
            if self.failures.len() >= NEIGHBOURS_MAX {
                self.failures.clear();
            }
        }
        let (failures, last) = self.failures.entry(node).or_insert((0, now));
        *failures += 1;
        *last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_repeated_failures_ban_and_only_for_a_while() {
        let (node, now) = (NodeId::from([1; 20]), NaiveDateTime::default());
        let mut neighbours = Neighbours::new(TimeDelta::seconds(300));
        neighbours.failed(node, now);
        neighbours.failed(node, now);
        assert!(!neighbours.is_banned(node, now));
        neighbours.answered(node);
        (0..3).for_each(|_| neighbours.failed(node, now));
        assert!(neighbours.is_banned(node, now + TimeDelta::seconds(299)));
        assert!(!neighbours.is_banned(node, now + TimeDelta::seconds(300)));
        assert!(!neighbours.is_banned(node, now));
    }
}
