//! Broadcasts to the subscribers of a topic (spec 20 §4.3).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use golem_model::Caller;
use tokio::sync::broadcast;

use crate::link::Link;
use crate::wire::{BroadcastRequest, Kind};

/// Broadcasts that a subscriber of this process may leave unread.
const BACKLOG: usize = 64;

/// Topics in all.
const TOPICS_MAX: usize = 4096;

/// One message to a topic.
#[derive(Clone, Debug)]
pub struct Broadcast {
    pub topic: String,
    pub caller: Caller,
    pub data: Bytes,
}

/// Receives the broadcasts of one topic.
#[derive(Debug)]
pub struct Subscription(Option<broadcast::Receiver<Broadcast>>);

impl Subscription {
    /// The next broadcast; `None` when there will be none.
    pub async fn next(&mut self) -> Option<Broadcast> {
        loop {
            match self.0.as_mut()?.recv().await {
                Ok(broadcast) => return Some(broadcast),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Topics(Mutex<HashMap<String, Topic>>);

#[derive(Debug, Default)]
struct Topic {
    links: Vec<Arc<Link>>,
    process: Option<broadcast::Sender<Broadcast>>,
}

impl Topic {
    fn is_empty(&self) -> bool {
        self.links.is_empty() && self.process.as_ref().is_none_or(|process| process.receiver_count() == 0)
    }
}

impl Topics {
    pub(crate) fn subscribe(&self, topic: &str) -> Subscription {
        let mut topics = self.lock();
        if !room_for(&mut topics, topic) {
            return Subscription(None);
        }
        let process = &mut topics.entry(topic.into()).or_default().process;
        Subscription(Some(process.get_or_insert_with(|| broadcast::channel(BACKLOG).0).subscribe()))
    }

    /// `false` when there are too many topics.
    pub(crate) fn subscribe_link(&self, topic: &str, link: &Arc<Link>) -> bool {
        let mut topics = self.lock();
        if !room_for(&mut topics, topic) {
            return false;
        }
        let links = &mut topics.entry(topic.into()).or_default().links;
        if !links.iter().any(|other| other.number == link.number) {
            links.push(Arc::clone(link));
        }
        true
    }

    pub(crate) fn unsubscribe_link(&self, topic: &str, link: &Link) -> bool {
        let mut topics = self.lock();
        let Some(entry) = topics.get_mut(topic) else { return false };
        let before = entry.links.len();
        entry.links.retain(|other| other.number != link.number);
        let was_there = entry.links.len() < before;
        if entry.is_empty() {
            topics.remove(topic);
        }
        was_there
    }

    pub(crate) fn remove_link(&self, link: &Link) {
        self.lock().retain(|_, topic| {
            topic.links.retain(|other| other.number != link.number);
            !topic.is_empty()
        });
    }

    pub(crate) fn publish(&self, topic: &str, caller: &Caller, data: &Bytes) {
        let topics = self.lock();
        let Some(entry) = topics.get(topic) else { return };
        for link in entry.links.iter().filter(|link| !link.is_full()) {
            let broadcast =
                BroadcastRequest { caller: caller.as_str().into(), data: data.clone(), topic: topic.into() };
            // A subscriber that has just gone needs no broadcast.
            let _ = link.send(Kind::Broadcast(broadcast));
        }
        if let Some(process) = &entry.process {
            // Nobody listening is no error.
            let _ = process.send(Broadcast { topic: topic.into(), caller: caller.clone(), data: data.clone() });
        }
    }

    /// Topics that this process listens to.
    pub(crate) fn of_process(&self) -> Vec<String> {
        self.lock().iter().filter(|(_, topic)| topic.process.is_some()).map(|(name, _)| name.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Topic>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn room_for(topics: &mut HashMap<String, Topic>, topic: &str) -> bool {
    if topics.len() >= TOPICS_MAX {
        topics.retain(|_, topic| !topic.is_empty());
    }
    topics.len() < TOPICS_MAX || topics.contains_key(topic)
}
