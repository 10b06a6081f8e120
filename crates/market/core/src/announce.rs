use std::collections::HashSet;

use golem_model::market::SubscriptionId;

/// Ids per broadcast message.
const IDS_PER_MESSAGE: usize = 8;

/// Most ids that wait; what does not fit is announced by the next cycle.
const PENDING_MAX: usize = 10_000;

/// Ids that wait to be broadcast, each once (spec 31 §4.3).
///
/// The first id after a rest goes out at once; what comes within the collect time after it waits for its end.
#[derive(Debug, Default)]
pub struct Announcements {
    pending: Vec<SubscriptionId>,
    known: HashSet<SubscriptionId>,
    /// Somebody is on the way to take what is pending.
    claimed: bool,
}

impl Announcements {
    /// Adds ids. When it returns `true` the caller must see to it that [`Self::take`] is called.
    pub fn add(&mut self, ids: impl IntoIterator<Item = SubscriptionId>) -> bool {
        for id in ids {
            if self.pending.len() < PENDING_MAX && self.known.insert(id) {
                self.pending.push(id);
            }
        }
        !self.pending.is_empty() && !std::mem::replace(&mut self.claimed, true)
    }

    /// Takes what is pending, cut into messages. Nothing pending ends the claim: the next [`Self::add`] starts anew.
    pub fn take(&mut self) -> Vec<Vec<SubscriptionId>> {
        self.known.clear();
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            self.claimed = false;
        }
        pending.chunks(IDS_PER_MESSAGE).map(<[_]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_out_once_in_chunks_and_one_taker_is_called() {
        let ids: Vec<_> = (0..20).map(|n| SubscriptionId::new(n, &[0; 32])).collect();
        let mut announcements = Announcements::default();
        assert!(!announcements.add([]));
        assert!(announcements.add(ids.clone()));
        assert!(!announcements.add(ids.clone()), "a taker is on its way");
        let messages = announcements.take();
        assert_eq!(messages.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 4]);
        assert_eq!(messages.concat(), ids);
        assert!(!announcements.add([ids[0]]), "the taker comes back");
        assert_eq!(announcements.take(), [[ids[0]]]);
        assert!(announcements.take().is_empty());
        assert!(announcements.add([ids[0]]), "the taker is gone");
    }
}
