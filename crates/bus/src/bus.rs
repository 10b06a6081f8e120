//! The handle that everybody holds.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use futures::{FutureExt, Stream};
use golem_model::{Call, Caller, StreamCall};
use tokio_util::task::TaskTracker;

use crate::client::Uplink;
use crate::handler::{Single, Streaming};
use crate::reply::PANICKED;
use crate::router::Instances;
use crate::table::{Table, Target};
use crate::topic::{Subscription, Topics};
use crate::{BusError, CallError, Payload, RawChunk, RawError, RawReply, RawRequest, RawService};

/// Handle to the service bus of this process: a router ([`Bus::new`]) or a client of one ([`Bus::connect`]).
///
/// Both bind handlers and call services in the same way; calls that find a handler in this process pass their values
/// without encoding.
#[derive(Clone)]
pub struct Bus(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) table: Table,
    pub(crate) topics: Topics,
    pub(crate) instances: Instances,
    /// The way to the router, when this is a client.
    pub(crate) uplink: Option<Arc<Uplink>>,
    /// Handlers that outlive their callers, and the connection of a client.
    pub(crate) tasks: TaskTracker,
}

impl Bus {
    /// The router of this process. It reaches other processes once it [listens](Self::listen).
    pub fn new() -> Self {
        Self::with_uplink(None)
    }

    pub(crate) fn with_uplink(uplink: Option<Arc<Uplink>>) -> Self {
        Self(Arc::new(Inner {
            table: Table::default(),
            topics: Topics::default(),
            instances: Instances::default(),
            uplink,
            tasks: TaskTracker::new(),
        }))
    }

    pub(crate) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.0)
    }

    /// Calls `service` and waits for its answer. A message that was sent is not taken back by the timeout.
    pub async fn call<C: Call>(
        &self,
        service: &str,
        caller: Caller,
        call: C,
        timeout: Duration,
    ) -> Result<C::Item, CallError<C::Error>> {
        let address = address(service, C::ID);
        let request = RawRequest { caller, address, data: Payload::value(call), no_reply: false };
        let reply: Result<C::Item, C::Error> = self.call_typed(request, timeout).await?;
        reply.map_err(CallError::Service)
    }

    async fn call_typed<T: serde::de::DeserializeOwned + 'static>(
        &self,
        request: RawRequest,
        timeout: Duration,
    ) -> Result<T, BusError> {
        let payload = self.call_single(request, timeout).await?;
        Ok(payload.take()?)
    }

    /// The one answer to a raw call.
    pub async fn call_single(&self, request: RawRequest, timeout: Duration) -> Result<Payload, BusError> {
        let address = request.address.clone();
        let answer = async {
            self.reachable(&request.address, timeout).await?;
            self.call_raw(request).single().await
        };
        match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(BusError::Timeout { address, after: timeout }),
        }
    }

    /// Calls a service that answers with a stream. The stream ends after its first [`CallError::Bus`].
    pub fn call_stream<C: StreamCall>(
        &self,
        service: &str,
        caller: Caller,
        call: C,
    ) -> impl Stream<Item = Result<C::Item, CallError<C::Error>>> + Send + Unpin + use<C> {
        let address = address(service, C::ID);
        let reply = self.call_raw(RawRequest { caller, address, data: Payload::value(call), no_reply: false });
        stream::unfold(Some(reply), |reply| async {
            let mut reply = reply?;
            let (payload, rest) = match reply.next().await? {
                Ok(RawChunk::Partial(payload)) => (payload, Some(reply)),
                Ok(RawChunk::Full(payload)) if payload.is_empty() => return None,
                Ok(RawChunk::Full(payload)) => (payload, None),
                Err(error) => return Some((Err(CallError::Bus(error.into())), None)),
            };
            match payload.take::<Result<C::Item, C::Error>>() {
                Ok(item) => Some((item.map_err(CallError::Service), rest)),
                Err(error) => Some((Err(CallError::Bus(error.into())), None)),
            }
        })
        .boxed()
    }

    /// Sends a message that nobody answers. Must be called inside a tokio runtime.
    pub fn push<C: Call>(&self, service: &str, caller: Caller, call: C) {
        let request =
            RawRequest { caller, address: address(service, C::ID), data: Payload::value(call), no_reply: true };
        self.run_to_end(self.call_raw(request));
    }

    /// Answers `C` at `service`. A second handler for the same message replaces the first.
    pub fn bind<C, F, Fut>(&self, service: &str, handler: F)
    where
        C: Call,
        F: Fn(Caller, C) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C::Item, C::Error>> + Send + 'static,
    {
        let address = address(service, C::ID);
        let single = Single { address: address.clone(), handler: Arc::new(handler), call: PhantomData };
        self.bind_raw(&address, Arc::new(single));
    }

    /// Answers `C` at `service` with a stream.
    pub fn bind_stream<C, F, S>(&self, service: &str, handler: F)
    where
        C: StreamCall,
        F: Fn(Caller, C) -> S + Send + Sync + 'static,
        S: Stream<Item = Result<C::Item, C::Error>> + Send + 'static,
    {
        let address = address(service, C::ID);
        let streaming = Streaming { address: address.clone(), handler: Arc::new(handler), call: PhantomData };
        self.bind_raw(&address, Arc::new(streaming));
    }

    /// Gives every call below `prefix` to `service`, unless a longer prefix is bound.
    pub fn bind_raw(&self, prefix: &str, service: Arc<dyn RawService>) {
        self.0.table.bind(prefix, service);
        if let Some(uplink) = &self.0.uplink {
            uplink.register(prefix);
        }
    }

    /// Removes what this process bound to `prefix` and everything below.
    pub fn unbind(&self, prefix: &str) {
        let ids = self.0.table.unbind(prefix);
        if let Some(uplink) = &self.0.uplink {
            uplink.unregister(&ids);
        }
    }

    /// Whether exactly `prefix` is bound, by anybody.
    pub fn is_bound(&self, prefix: &str) -> bool {
        self.0.table.contains(prefix)
    }

    /// Calls without looking into the body. The reply of a `no_reply` call still has to be polled to its end when its
    /// handler is in this process; [`Self::push_raw`] does so.
    pub fn call_raw(&self, request: RawRequest) -> RawReply {
        match self.0.table.find(&request.address) {
            Some(Target::Process(service)) => self.0.dispatch(&*service, request),
            Some(Target::Link(link)) => link.request(request),
            None => match &self.0.uplink {
                Some(uplink) => uplink.request(request),
                None => RawReply::error(RawError::no_endpoint()),
            },
        }
    }

    /// Sends a raw message that nobody answers.
    pub fn push_raw(&self, request: RawRequest) {
        self.run_to_end(self.call_raw(RawRequest { no_reply: true, ..request }));
    }

    fn run_to_end(&self, mut reply: RawReply) {
        // Mostly the handler is done, or the frame queued, at once.
        if !matches!(reply.next().now_or_never(), Some(None | Some(Ok(RawChunk::Full(_)) | Err(_)))) {
            self.0.tasks.spawn(async move { while reply.next().await.is_some() {} });
        }
    }

    /// Sends `data` to all subscribers of `topic`, this process included.
    pub fn broadcast(&self, topic: &str, caller: &Caller, data: Bytes) {
        match &self.0.uplink {
            Some(uplink) => uplink.broadcast(topic, caller, data),
            None => self.0.topics.publish(topic, caller, &data),
        }
    }

    /// Receives what is broadcast to `topic` from now on. A slow subscriber loses the oldest.
    pub fn subscribe(&self, topic: &str) -> Subscription {
        let subscription = self.0.topics.subscribe(topic);
        if let Some(uplink) = &self.0.uplink {
            uplink.subscribe(topic);
        }
        subscription
    }

    /// Waits, for a client, until its router has taken all that is bound so far; `false` when it refused some of it.
    pub async fn bound(&self) -> bool {
        match &self.0.uplink {
            Some(uplink) => uplink.bound().await,
            None => true,
        }
    }

    /// Ends the connection of a client, after what was sent so far, and lets running handlers finish.
    pub async fn close(&self, deadline: Duration) {
        if let Some(uplink) = &self.0.uplink {
            uplink.stop();
        }
        self.0.tasks.close();
        // A handler that takes longer is left alone.
        let _ = tokio::time::timeout(deadline, self.0.tasks.wait()).await;
    }

    /// A client waits a little for a router that restarts.
    async fn reachable(&self, address: &str, timeout: Duration) -> Result<(), BusError> {
        match &self.0.uplink {
            Some(uplink) if self.0.table.find(address).is_none() => uplink.connected(timeout).await,
            _ => Ok(()),
        }
    }
}

impl Inner {
    /// Runs a service of this process up to its reply.
    pub(crate) fn dispatch(&self, service: &dyn RawService, request: RawRequest) -> RawReply {
        catch_unwind(AssertUnwindSafe(|| service.call(request)))
            .unwrap_or_else(|_| RawReply::error(RawError::failure(PANICKED)))
            .finishing_on(&self.tasks)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(uplink) = &self.uplink {
            uplink.stop();
        }
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.uplink.is_some() { "Bus(client)" } else { "Bus(router)" })
    }
}

fn address(service: &str, id: &str) -> String {
    [service, "/", id].concat()
}
