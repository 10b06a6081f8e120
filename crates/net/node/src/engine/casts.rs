//! Broadcasts: one datagram each to some nodes, and those of others to the local subscribers (spec 11 §7).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use golem_bus::wire::BroadcastRequest;
use golem_bus::{Payload, RawRequest};
use golem_model::net::NEW_NEIGHBOUR;
use golem_model::{Caller, NodeId};
use golem_net_relay_core::{NodeInfo, QueryId, Unreachable};
use rand::seq::SliceRandom;
use tokio::sync::Semaphore;
use tokio_stream::StreamExt;
use tracing::debug;

use super::{Engine, UNRELIABLE_BYTES_MAX, unreliable_frame};
use crate::shared::Counters;

/// How long the list of neighbours is used.
const NEIGHBOURS_FRESH: Duration = Duration::from_secs(300);
/// Least time between two questions for neighbours that brought too few.
const NEIGHBOURS_AGAIN: Duration = Duration::from_secs(5);
/// Broadcasts that wait for the relay or for neighbours.
const WAITING_MAX: usize = 64;
/// Broadcasts of others that local subscribers work on.
const DELIVERIES_MAX: usize = 256;
/// Subscribers of all topics.
const SUBSCRIBERS_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct Casts {
    neighbours: Vec<NodeId>,
    asked: Option<Duration>,
    query: Option<QueryId>,
    waiting: VecDeque<Bytes>,
    subscribers: HashMap<String, Vec<String>>,
    subscriber_count: u64,
    deliveries: Arc<Semaphore>,
}

impl Default for Casts {
    fn default() -> Self {
        Self {
            neighbours: Vec::new(),
            asked: None,
            query: None,
            waiting: VecDeque::new(),
            subscribers: HashMap::new(),
            subscriber_count: 0,
            deliveries: Arc::new(Semaphore::new(DELIVERIES_MAX)),
        }
    }
}

impl Engine {
    fn fan_out(&self) -> usize {
        let is_public = self.node.public_address().is_some();
        if is_public { self.config.public_broadcast_size } else { self.config.broadcast_size }
    }

    pub(super) fn subscribe(&mut self, topic: String, endpoint: String) -> Option<u64> {
        let casts = &mut self.casts;
        if casts.subscribers.values().map(Vec::len).sum::<usize>() >= SUBSCRIBERS_MAX {
            return None;
        }
        let endpoints = casts.subscribers.entry(topic).or_default();
        if !endpoints.contains(&endpoint) {
            endpoints.push(endpoint);
        }
        casts.subscriber_count += 1;
        Some(casts.subscriber_count)
    }

    pub(super) fn broadcast(&mut self, topic: &str, frame: Bytes) {
        if frame.len() > UNRELIABLE_BYTES_MAX {
            debug!(topic, bytes = frame.len(), "a broadcast does not fit into a datagram");
            return Counters::count(&self.shared.counters.broadcasts_dropped);
        }
        let now = self.now();
        let fan_out = self.fan_out();
        let is_stale = self.casts.asked.is_none_or(|asked| asked + NEIGHBOURS_FRESH <= now);
        let is_short = self.casts.neighbours.len() < fan_out
            && self.casts.asked.is_none_or(|asked| asked + NEIGHBOURS_AGAIN <= now);
        let enough = self.node.connected().count() >= fan_out;
        if !self.node.is_relay_up() || (!enough && (is_stale || is_short || self.casts.query.is_some())) {
            if self.casts.waiting.len() >= WAITING_MAX {
                self.casts.waiting.pop_front();
                Counters::count(&self.shared.counters.broadcasts_dropped);
            }
            self.casts.waiting.push_back(frame);
            self.ask_neighbours();
        } else {
            self.cast(&frame);
        }
    }

    fn ask_neighbours(&mut self) {
        if self.node.is_relay_up() && self.casts.query.is_none() {
            let (now, fan_out) = (self.now(), self.fan_out());
            self.casts.asked = Some(now);
            self.casts.query = Some(self.node.neighbours(now, u32::try_from(fan_out).unwrap_or(u32::MAX)));
        }
    }

    /// The relay is up: what waited for it goes out.
    pub(super) fn send_waiting_casts(&mut self) {
        self.casts.query = None;
        if !self.casts.waiting.is_empty() {
            self.ask_neighbours();
        }
    }

    pub(super) fn on_neighbours(&mut self, query: QueryId, result: Result<Vec<NodeInfo>, Unreachable>) {
        if self.casts.query != Some(query) {
            return self.answer_neighbours(query, result);
        }
        self.casts.query = None;
        match result {
            Ok(nodes) => self.casts.neighbours = nodes.iter().filter_map(NodeInfo::default_id).collect(),
            Err(error) => debug!(%error, "no neighbours"),
        }
        for frame in std::mem::take(&mut self.casts.waiting) {
            self.cast(&frame);
        }
    }

    /// To random nodes with which there is a session, then to neighbours.
    fn cast(&mut self, frame: &Bytes) {
        let fan_out = self.fan_out();
        let mut targets: Vec<NodeId> = self.node.connected().collect();
        targets.shuffle(&mut self.rng);
        for neighbour in &self.casts.neighbours {
            if !targets.contains(neighbour) {
                targets.push(*neighbour);
            }
        }
        let (now, datagram) = (self.now(), unreliable_frame(frame));
        for target in targets.into_iter().take(fan_out) {
            self.node.send(now, target, false, datagram.clone());
        }
    }

    /// A broadcast must come in the name of the session's own default identity.
    pub(super) fn on_broadcast(&mut self, from: NodeId, broadcast: BroadcastRequest) {
        if broadcast.caller.parse() != Ok(from) {
            return Counters::count(&self.shared.counters.foreign_callers);
        }
        if broadcast.topic == NEW_NEIGHBOUR {
            self.casts.asked = None;
        }
        let Some(endpoints) = self.casts.subscribers.get(&broadcast.topic) else { return };
        for endpoint in endpoints {
            let Ok(permit) = Arc::clone(&self.casts.deliveries).try_acquire_owned() else {
                return Counters::count(&self.shared.counters.broadcasts_dropped);
            };
            let request = RawRequest {
                caller: Caller::from(from),
                address: format!("{endpoint}/SendBroadcastMessage"),
                data: Payload::from(broadcast.data.clone()),
                no_reply: false,
            };
            let mut reply = self.bus.call_raw(request);
            self.tasks.spawn(async move {
                // Subscribers keep their errors to themselves.
                while reply.next().await.is_some() {}
                drop(permit);
            });
        }
    }
}
