//! The router's side of connections: listening, registrations, topics.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use rand::Rng;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::bus::Inner;
use crate::connection::{End, KeepAlive, Role, drive, serve};
use crate::link::Link;
use crate::table::Refused;
use crate::wire::{Hello, Kind, Nothing, Outcome, code};
use crate::{Bus, BusUrl, RawError};

/// Connections at a time; each may hold two buffers of the largest frame.
const CONNECTIONS_MAX: usize = 1024;

/// Length of an id or topic that a connection may name.
const ID_BYTES_MAX: usize = 4096;

/// Why a router does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("another service bus answers on `{0}`; hint: stop it, or set `GSB_URL` to another address")]
    Served(BusUrl),
    #[error("cannot listen on `{url}`")]
    Bind {
        url: BusUrl,
        #[source]
        source: std::io::Error,
    },
}

/// A router that listens. It ends with the stop token it was started with.
#[derive(Debug)]
pub struct Listening {
    url: BusUrl,
}

impl Listening {
    /// Where clients reach it; for `tcp` with the port that port 0 became.
    pub const fn url(&self) -> &BusUrl {
        &self.url
    }
}

/// Connections by the id of the program at their other end.
#[derive(Debug, Default)]
pub(crate) struct Instances(Mutex<HashMap<Bytes, Arc<Link>>>);

impl Instances {
    /// Makes `link` the connection of this instance. Returns the one it had before.
    fn replace(&self, id: Bytes, link: &Arc<Link>) -> Option<Arc<Link>> {
        self.lock().insert(id, Arc::clone(link))
    }

    fn remove(&self, link: &Link) {
        self.lock().retain(|_, other| other.number != link.number);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Bytes, Arc<Link>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bus {
    /// Accepts clients on `url` until `stop`.
    pub async fn listen(
        &self,
        url: &BusUrl,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Listening, ListenError> {
        self.listen_with(url, KeepAlive::default(), tasks, stop).await
    }

    pub async fn listen_with(
        &self,
        url: &BusUrl,
        keep_alive: KeepAlive,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Listening, ListenError> {
        let failed = |source| ListenError::Bind { url: url.clone(), source };
        let (listener, url) = match url {
            #[cfg(unix)]
            BusUrl::Unix(path) => {
                match tokio::net::UnixStream::connect(path).await {
                    Ok(_) => return Err(ListenError::Served(url.clone())),
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {}
                    // Somebody may be there, too busy to answer or not for us: the file is not ours to remove.
                    Err(error) => return Err(failed(error)),
                }
                (Listener::Unix(unix::bind(path).map_err(failed)?, path.clone()), url.clone())
            }
            #[cfg(not(unix))]
            BusUrl::Unix(_) => return Err(failed(ErrorKind::Unsupported.into())),
            BusUrl::Tcp { host, port } => {
                let listener = TcpListener::bind((host.trim_matches(['[', ']']), *port)).await.map_err(failed)?;
                let local = listener.local_addr().map_err(failed)?;
                if !local.ip().is_loopback() {
                    warn!(address = %local, "the service bus is open to other machines; whoever reaches it can use every key");
                }
                (Listener::Tcp(listener), BusUrl::Tcp { host: host.clone(), port: local.port() })
            }
        };
        info!(%url, "service bus listens");
        let bus = self.downgrade();
        let connections = tasks.clone();
        tasks.spawn(async move { listener.run(&bus, keep_alive, &connections, stop).await });
        Ok(Listening { url })
    }
}

enum Listener {
    #[cfg(unix)]
    Unix(UnixListener, std::path::PathBuf),
    Tcp(TcpListener),
}

impl Listener {
    /// Accepts until `stop`. Owns the socket file and removes it at its end.
    async fn run(self, bus: &Weak<Inner>, keep_alive: KeepAlive, tasks: &TaskTracker, stop: CancellationToken) {
        let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.accept() => accepted,
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                warn!(CONNECTIONS_MAX, "too many bus connections; one refused");
                continue;
            };
            let (bus, stop) = (bus.clone(), stop.clone());
            match accepted {
                #[cfg(unix)]
                Ok(Accepted::Unix(stream)) => drop(tasks.spawn(async move {
                    attend(stream, &bus, Some(keep_alive), &stop).await;
                    drop(place);
                })),
                Ok(Accepted::Tcp(stream)) => drop(tasks.spawn(async move {
                    // Without it the second small frame in a row waits 40 ms (spec 20 §1); it works without.
                    let _ = stream.set_nodelay(true);
                    attend(stream, &bus, Some(keep_alive), &stop).await;
                    drop(place);
                })),
                Err(error) => {
                    warn!(%error, "accepting a bus connection failed");
                    // Mostly out of file handles: others have to close first.
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
        #[cfg(unix)]
        if let Self::Unix(listener, path) = self {
            drop(listener);
            // Gone already is as good.
            let _ = std::fs::remove_file(path);
        }
    }

    async fn accept(&self) -> std::io::Result<Accepted> {
        match self {
            #[cfg(unix)]
            Self::Unix(listener, _) => Ok(Accepted::Unix(listener.accept().await?.0)),
            Self::Tcp(listener) => Ok(Accepted::Tcp(listener.accept().await?.0)),
        }
    }
}

enum Accepted {
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
    Tcp(tokio::net::TcpStream),
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    use std::path::Path;

    use socket2::{Domain, SockAddr, Socket, Type};
    use tokio::net::UnixListener;

    /// Waiting connections; the programs of one machine.
    const LISTEN_BACKLOG: i32 = 128;

    /// Makes the socket so that nobody but its owner can ever connect.
    pub(super) fn bind(path: &Path) -> std::io::Result<UnixListener> {
        if let Ok(old) = std::fs::symlink_metadata(path) {
            if !old.file_type().is_socket() {
                return Err(std::io::Error::new(
                    std::io::ErrorKind::AlreadyExists,
                    "the path is taken by another file",
                ));
            }
            // Nobody answered on it.
            std::fs::remove_file(path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        socket.listen(LISTEN_BACKLOG)?;
        socket.set_nonblocking(true)?;
        UnixListener::from_std(socket.into())
    }
}

/// Serves one client from its first frame to its last.
pub(crate) async fn attend<S>(stream: S, bus: &Weak<Inner>, keep_alive: Option<KeepAlive>, stop: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let link = Link::new(true);
    let hello = Hello {
        name: "golem-bus".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        instance_id: rand::rng().random::<[u8; 16]>().to_vec().into(),
    };
    // The link is new and open, the frame small.
    let _ = link.send(Kind::Hello(hello));
    let end = drive(stream, &link, bus, Client::default(), keep_alive, stop).await;
    if let Some(bus) = bus.upgrade() {
        bus.table.remove_link(&link);
        bus.topics.remove_link(&link);
        bus.instances.remove(&link);
    }
    match end {
        End::Frame(_) | End::Unexpected(_) => {
            warn!(connection = link.number, cause = %Cause(&end), "bus client dropped")
        }
        _ => debug!(connection = link.number, cause = %Cause(&end), "bus client gone"),
    }
}

struct Cause<'a>(&'a End);

impl std::fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        match std::error::Error::source(self.0) {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

/// What the router knows of one client.
#[derive(Default)]
struct Client {
    greeted: bool,
}

impl Role for Client {
    async fn packet(&mut self, bus: &Inner, link: &Arc<Link>, kind: Kind) -> Result<(), End> {
        let reply = match kind {
            Kind::Call(call) => {
                serve(bus, link, call, |_| RawError::no_endpoint());
                return Ok(());
            }
            Kind::Hello(_) if self.greeted => return Err(End::Unexpected("a second Hello")),
            Kind::Hello(hello) => {
                self.greeted = true;
                if let Some(older) = bus.instances.replace(hello.instance_id, link) {
                    bus.table.remove_link(&older);
                    bus.topics.remove_link(&older);
                    older.kick();
                }
                return Ok(());
            }
            Kind::Register(register) => Kind::RegisterReply(self.register(bus, link, &register.service_id).await),
            Kind::Unregister(register) => {
                let there = bus.table.unregister(&register.service_id, link);
                Kind::UnregisterReply(Outcome::code(if there { code::OK } else { code::NOT_FOUND }))
            }
            Kind::Subscribe(topic) => {
                let taken = topic.topic.len() <= ID_BYTES_MAX && bus.topics.subscribe_link(&topic.topic, link);
                Kind::SubscribeReply(Outcome::code(if taken { code::OK } else { code::BAD_REQUEST }))
            }
            Kind::Unsubscribe(topic) => {
                let there = bus.topics.unsubscribe_link(&topic.topic, link);
                Kind::UnsubscribeReply(Outcome::code(if there { code::OK } else { code::NOT_FOUND }))
            }
            Kind::Broadcast(broadcast) => {
                bus.topics.publish(&broadcast.topic, &broadcast.caller.as_str().into(), &broadcast.data);
                Kind::BroadcastReply(Outcome::code(code::OK))
            }
            Kind::Ping(_) => Kind::Pong(Nothing {}),
            Kind::Pong(_) => return Ok(()),
            Kind::Reply(_)
            | Kind::RegisterReply(_)
            | Kind::UnregisterReply(_)
            | Kind::SubscribeReply(_)
            | Kind::UnsubscribeReply(_)
            | Kind::BroadcastReply(_) => return Err(End::Unexpected("a reply")),
        };
        // A link that has just closed ends in the next round of its driver.
        let _ = link.send(reply);
        Ok(())
    }
}

impl Client {
    async fn register(&self, bus: &Inner, link: &Arc<Link>, id: &str) -> Outcome {
        if id.len() > ID_BYTES_MAX {
            return Outcome { code: code::BAD_REQUEST, message: "the id is too long".into() };
        }
        let mut outcome = bus.table.register(id, link);
        if let Err(Refused::OwnedBy(owner)) = &outcome
            && owner.number != link.number
        {
            // A program that reconnects may be faster than the end of its old connection.
            owner.probe().await;
            if owner.is_closed() {
                outcome = bus.table.register(id, link);
            }
        }
        match outcome {
            Ok(()) => Outcome::code(code::OK),
            Err(Refused::TooMany) => Outcome { code: code::BAD_REQUEST, message: "too many registrations".into() },
            Err(Refused::OwnedBy(_) | Refused::Taken) => Outcome::code(code::CONFLICT),
        }
    }
}
