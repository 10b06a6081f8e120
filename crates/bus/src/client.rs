//! The client's side: one connection to a router, made again after each loss.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use golem_model::Caller;
use rand::Rng;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::bus::Inner;
use crate::connection::{End, Role, drive, serve};
use crate::link::Link;
use crate::wire::{BroadcastRequest, Hello, Kind, Nothing, Register, Topic, code};
use crate::{Bus, BusError, BusUrl, RawError, RawReply, RawRequest};

/// Official clients give up connecting after so long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Pause before connecting again, as official clients make it.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// Pause before an id is registered again that somebody else still owns: mostly our own lost connection.
const REGISTER_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Why a client is not connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot reach the service bus on `{url}`; hint: is the daemon running, and with this `GSB_URL`?")]
    Connect {
        url: BusUrl,
        #[source]
        source: std::io::Error,
    },
    #[error("Timeout connecting GSB at `{0}`")]
    Timeout(BusUrl),
}

/// The way to the router.
#[derive(Debug)]
pub(crate) struct Uplink {
    url: BusUrl,
    name: String,
    /// The same for all connections, so that a router drops the old one when the new one comes.
    instance_id: Bytes,
    link: watch::Sender<Option<Arc<Link>>>,
    asked: Mutex<Asked>,
    /// Wakes those who wait for registrations.
    settled: Notify,
    stop: CancellationToken,
}

/// Questions of this connection that have no ids, so that their answers are told by their order.
#[derive(Debug, Default)]
struct Asked {
    registers: VecDeque<String>,
    registered: HashSet<String>,
    refused: HashSet<String>,
}

impl Bus {
    /// Connects to the router at `url` as the program `name`. From then on the connection is made again after each
    /// loss, and everything bound is registered again.
    pub async fn connect(url: &BusUrl, name: &str) -> Result<Self, ConnectError> {
        let uplink = Arc::new(Uplink {
            url: url.clone(),
            name: name.into(),
            instance_id: rand::rng().random::<[u8; 16]>().to_vec().into(),
            link: watch::Sender::new(None),
            asked: Mutex::default(),
            settled: Notify::new(),
            stop: CancellationToken::new(),
        });
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, Stream::connect(url))
            .await
            .map_err(|_| ConnectError::Timeout(url.clone()))?
            .map_err(|source| ConnectError::Connect { url: url.clone(), source })?;
        let bus = Self::with_uplink(Some(Arc::clone(&uplink)));
        let link = uplink.up(&bus.0);
        bus.0.tasks.spawn(uplink.run(bus.downgrade(), stream, link));
        Ok(bus)
    }
}

impl Uplink {
    /// Keeps the connection until the bus is closed or dropped.
    async fn run(self: Arc<Self>, bus: Weak<Inner>, mut stream: Stream, mut link: Arc<Link>) {
        loop {
            let role = Router(Arc::clone(&self));
            let end = match stream {
                #[cfg(unix)]
                Stream::Unix(stream) => drive(stream, &link, &bus, role, None, &self.stop).await,
                Stream::Tcp(stream) => drive(stream, &link, &bus, role, None, &self.stop).await,
            };
            self.link.send_replace(None);
            self.settled.notify_waiters();
            if matches!(end, End::Stopped) {
                debug!("disconnected from the service bus");
                return;
            }
            warn!(url = %self.url, cause = %end, "lost the service bus; connecting again");
            let Some(next) = self.reconnect().await else { return };
            stream = next;
            let Some(bus) = bus.upgrade() else { return };
            link = self.up(&bus);
            info!(url = %self.url, "connected to the service bus again");
        }
    }

    async fn reconnect(&self) -> Option<Stream> {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep(RECONNECT_AFTER) => {}
            }
            match tokio::time::timeout(CONNECT_TIMEOUT, Stream::connect(&self.url)).await {
                Ok(Ok(stream)) => return Some(stream),
                Ok(Err(error)) => debug!(%error, "the service bus is still away"),
                Err(_) => debug!("the service bus does not answer"),
            }
        }
    }

    /// A new connection: says who we are, and all that is bound and subscribed.
    fn up(&self, bus: &Inner) -> Arc<Link> {
        let link = Link::new(false);
        let mut asked = self.lock();
        *asked = Asked::default();
        // The link is new and open, the frames small.
        let _ = link.send(Kind::Hello(Hello {
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            instance_id: self.instance_id.clone(),
        }));
        for id in bus.table.ids() {
            asked.register(id, &link);
        }
        for topic in bus.topics.of_process() {
            let _ = link.send(Kind::Subscribe(Topic { topic }));
        }
        // Under the lock, so that a binding of this moment is registered exactly once.
        self.link.send_replace(Some(Arc::clone(&link)));
        link
    }

    pub(crate) fn register(&self, id: &str) {
        let mut asked = self.lock();
        if let Some(link) = self.current() {
            asked.register(id.into(), &link);
        }
    }

    pub(crate) fn unregister(&self, ids: &[String]) {
        let mut asked = self.lock();
        for id in ids {
            asked.refused.remove(id);
            if asked.registered.remove(id)
                && let Some(link) = self.current()
            {
                // When the connection ends, so does the registration.
                let _ = link.send(Kind::Unregister(Register { service_id: id.clone() }));
            }
        }
    }

    pub(crate) fn request(&self, request: RawRequest) -> RawReply {
        match self.current() {
            Some(link) => link.request(request),
            None => RawReply::error(RawError::lost()),
        }
    }

    pub(crate) fn broadcast(&self, topic: &str, caller: &Caller, data: Bytes) {
        if let Some(link) = self.current() {
            // Broadcasts may be lost.
            let _ = link.send(Kind::Broadcast(BroadcastRequest {
                caller: caller.as_str().into(),
                data,
                topic: topic.into(),
            }));
        }
    }

    pub(crate) fn subscribe(&self, topic: &str) {
        if let Some(link) = self.current() {
            // The next connection subscribes again.
            let _ = link.send(Kind::Subscribe(Topic { topic: topic.into() }));
        }
    }

    /// Waits for a connection, not longer than official clients do.
    pub(crate) async fn connected(&self, timeout: Duration) -> Result<(), BusError> {
        let mut link = self.link.subscribe();
        let up = tokio::time::timeout(timeout.min(CONNECT_TIMEOUT), link.wait_for(Option::is_some)).await;
        match up {
            Ok(Ok(_)) => Ok(()),
            _ => Err(BusError::Disconnected),
        }
    }

    pub(crate) async fn bound(&self) -> bool {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            {
                let asked = self.lock();
                if self.current().is_none() {
                    return false;
                }
                if asked.registers.is_empty() {
                    return asked.refused.is_empty();
                }
            }
            settled.await;
        }
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// The answer to the oldest open registration.
    fn on_registered(self: &Arc<Self>, bus: &Inner, code: i32) -> Result<(), End> {
        let mut asked = self.lock();
        let id = asked.registers.pop_front().ok_or(End::Unexpected("an answer to no registration"))?;
        if code == code::OK {
            asked.refused.remove(&id);
        } else {
            let bound = bus.table.contains(&id);
            // What is not bound any more is nobody's loss.
            if bound && asked.refused.insert(id.clone()) {
                warn!(%id, code, "the service bus did not register this address; trying again");
            }
            asked.registered.remove(&id);
            let uplink = Arc::downgrade(self);
            let stop = self.stop.clone();
            if bound {
                bus.tasks.spawn(async move {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(REGISTER_AGAIN_AFTER) => {}
                    }
                    if let Some(uplink) = uplink.upgrade()
                        && uplink.lock().refused.contains(&id)
                    {
                        uplink.register(&id);
                    }
                });
            }
        }
        if asked.registers.is_empty() {
            self.settled.notify_waiters();
        }
        Ok(())
    }

    fn current(&self) -> Option<Arc<Link>> {
        self.link.borrow().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    fn register(&mut self, id: String, link: &Link) {
        if self.registered.insert(id.clone()) && link.send(Kind::Register(Register { service_id: id.clone() })).is_ok()
        {
            self.registers.push_back(id);
        }
    }
}

enum Stream {
    #[cfg(unix)]
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    async fn connect(url: &BusUrl) -> std::io::Result<Self> {
        match url {
            #[cfg(unix)]
            BusUrl::Unix(path) => Ok(Self::Unix(UnixStream::connect(path).await?)),
            #[cfg(not(unix))]
            BusUrl::Unix(_) => Err(std::io::ErrorKind::Unsupported.into()),
            BusUrl::Tcp { host, port } => {
                let stream = TcpStream::connect((host.trim_matches(['[', ']']), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
        }
    }
}

/// What a client does with packets of its router.
struct Router(Arc<Uplink>);

impl Role for Router {
    async fn packet(&mut self, bus: &Inner, link: &Arc<Link>, kind: Kind) -> Result<(), End> {
        match kind {
            Kind::Call(call) => {
                serve(bus, link, call, |address| RawError::failure(format!("No such endpoint `{address}`")));
            }
            Kind::Ping(_) => {
                // A link that has just closed ends in the next round of its driver.
                let _ = link.send(Kind::Pong(Nothing {}));
            }
            Kind::RegisterReply(outcome) => self.0.on_registered(bus, outcome.code)?,
            Kind::Broadcast(broadcast) => {
                bus.topics.publish(&broadcast.topic, &broadcast.caller.as_str().into(), &broadcast.data);
            }
            Kind::Hello(_)
            | Kind::Pong(_)
            | Kind::UnregisterReply(_)
            | Kind::SubscribeReply(_)
            | Kind::UnsubscribeReply(_)
            | Kind::BroadcastReply(_) => {}
            Kind::Reply(_) | Kind::Register(_) | Kind::Unregister(_) | Kind::Subscribe(_) | Kind::Unsubscribe(_) => {
                return Err(End::Unexpected("a request of a client"));
            }
        }
        Ok(())
    }
}
