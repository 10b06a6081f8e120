use std::collections::HashMap;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::Time;

/// Requests that may wait for an answer at once; more means that something runs away.
const REQUESTS_MAX: usize = 4096;
/// Copies of a request that are sent before it times out (spec 10 §12).
const COPIES: u32 = 4;

/// Requests that wait for their answers. The purpose `P` tells what to do with them.
#[derive(Debug)]
pub(crate) struct Requests<P> {
    waiting: HashMap<u64, Request<P>>,
    next_id: u64,
}

#[derive(Debug)]
pub(crate) struct Request<P> {
    pub(crate) to: SocketAddr,
    pub(crate) purpose: P,
    pub(crate) sent: Time,
    data: Bytes,
    every: Time,
    expires: Time,
}

pub(crate) enum Due<P> {
    /// Send this again, and look at it again at that time.
    Repeat {
        to: SocketAddr,
        data: Bytes,
        again: Time,
    },
    Expired(Request<P>),
}

impl<P> Requests<P> {
    /// Peers keep a filter of recent ids that does not look at the sender, so ours start anywhere (spec 10 §12).
    pub(crate) fn new(first_id: u64) -> Self {
        Self { waiting: HashMap::new(), next_id: first_id >> 2 }
    }

    pub(crate) const fn next_id(&mut self) -> u64 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    /// Remembers a request; tells when to look at it again.
    pub(crate) fn insert(
        &mut self,
        now: Time,
        id: u64,
        to: SocketAddr,
        data: Bytes,
        timeout: Time,
        purpose: P,
    ) -> Time {
        let every = timeout / COPIES;
        if self.waiting.len() < REQUESTS_MAX {
            self.waiting.insert(id, Request { to, purpose, sent: now, data, every, expires: now + timeout });
        }
        now + every
    }

    /// The request that an answer from `from` belongs to.
    pub(crate) fn take(&mut self, id: u64, from: SocketAddr) -> Option<Request<P>> {
        self.waiting.get(&id).filter(|request| request.to == from)?;
        self.waiting.remove(&id)
    }

    pub(crate) fn due(&mut self, now: Time, id: u64) -> Option<Due<P>> {
        let request = self.waiting.get(&id)?;
        if now >= request.expires {
            return self.waiting.remove(&id).map(Due::Expired);
        }
        let again = (now + request.every).min(request.expires);
        Some(Due::Repeat { to: request.to, data: request.data.clone(), again })
    }

    pub(crate) fn cancel(&mut self, mut which: impl FnMut(&P) -> bool) -> Vec<P> {
        self.waiting.extract_if(|_, request| which(&request.purpose)).map(|(_, request)| request.purpose).collect()
    }
}
