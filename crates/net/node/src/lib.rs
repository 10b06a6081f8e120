//! The net: carries the service bus to other nodes (spec 11).
//!
//! [`start`] binds `/net`, `/udp/net`, `/transfer/net`, `/from` and their siblings on the bus: what is called there is
//! called on `/public/…` of another node, with a caller that the other node has proved. It also carries broadcasts and
//! answers `/local/net`. One task ([`engine`](self)) owns the socket and all state; sessions, virtual TCP and packets
//! are the pure machines of `golem-net-relay-core`, `golem-net-vtcp` and `golem-net-relay-wire`.
//! Deliberately absent: keys (the identity service signs), what is in a message, and the central net.

mod address;
mod config;
mod engine;
mod identity;
mod local;
mod metrics;
mod raw;
mod rest;
mod shared;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use golem_keys::{PublicKey, SecretKey};
use golem_model::net::StatusResponse;
use golem_model::{Caller, NodeId};
use golem_net_relay_core::{Node, NodeConfig, Random};
use golem_net_udp::Udp;
use golem_net_vtcp::{Address, Stack};
use golem_service::Context;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{Instrument, info_span, warn};

pub use config::{BadSetting, Config};
pub use identity::IdentityError;
pub use local::Stopped;
pub use rest::routes;

use engine::{Ask, Engine, INBOX_LEN, Parts};
use identity::{Prover, Refresh};
use local::{Asker, Local};
use raw::NetService;
use shared::Shared;

pub(crate) use engine::CHUNKS_MAX;

/// How long the identity service may take to note that we want its events.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("no relay is configured\n  hint: set YA_NET_RELAY_HOST to `<host>:<port>` of a relay")]
    NoRelay,
    #[error("the relay `{relay}` is not found")]
    Resolve {
        relay: String,
        #[source]
        source: io::Error,
    },
    #[error("the relay `{relay}` has no IPv4 address")]
    NoAddress { relay: String },
    #[error("cannot bind udp `{address}`\n  hint: another node may run here; set YA_NET_BIND_URL to another port")]
    Bind {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("the identities of this node are not known")]
    Identity(#[from] IdentityError),
}

/// The running net.
#[derive(Clone)]
pub struct Handle {
    asker: Asker,
    node_id: NodeId,
    listen: SocketAddr,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({} at {})", self.node_id, self.listen)
    }
}

impl Handle {
    /// The default identity, under which other nodes know this one as long as the process lives.
    pub const fn node_id(&self) -> NodeId {
        self.node_id
    }

    pub const fn listen_addr(&self) -> SocketAddr {
        self.listen
    }

    pub async fn status(&self) -> Result<StatusResponse, Stopped> {
        self.asker.ask(Ask::Status).await
    }

    /// Whether there is a session with the relay.
    pub async fn is_relay_up(&self) -> Result<bool, Stopped> {
        self.asker.ask(Ask::RelayUp).await
    }
}

/// Starts the net; the identity service must be on the bus already. It stops with the token of the context.
pub async fn start(ctx: Context, config: Config) -> Result<Handle, StartError> {
    let relay = resolve(config.relay.as_deref().ok_or(StartError::NoRelay)?).await?;
    let identities = identity::list(&ctx.bus, None).await?;
    if identities.keys.is_empty() {
        warn!(identity = %identities.default, "the default identity is locked: no network until it is unlocked");
    }
    let udp = Udp::bind(config.bind).map_err(|source| StartError::Bind { address: config.bind, source })?;
    let listen = udp.local_addr();
    let (commands, inbox) = mpsc::channel(INBOX_LEN);
    let shared = Arc::new(Shared::default());
    shared.set_own(identities.default, identities.all);

    let session_key = SecretKey::generate();
    let prover = Prover::new(ctx.bus.clone(), ctx.tasks.clone(), commands.clone(), session_key.public());
    prover.set_ids(identities.keys.iter().map(PublicKey::node_id).collect());
    let mut node_config = NodeConfig::new(relay, session_key);
    node_config.direct = config.direct;
    node_config.encrypt = config.encrypt;
    node_config.keep_alive_after = config.session_expiration;
    node_config.session_request_timeout = config.session_request_timeout;
    let node = Node::new(Duration::ZERO, node_config, identities.keys, Random::new(StdRng::from_os_rng()));
    let stack = Stack::new(Address::of_node(identities.default.as_bytes()), config.tcp);
    let engine = Engine::new(Parts {
        config,
        bus: ctx.bus.clone(),
        shared: Arc::clone(&shared),
        tasks: ctx.tasks.clone(),
        commands: commands.clone(),
        prover,
        started: Instant::now(),
        udp,
        node,
        stack,
        rng: StdRng::from_os_rng(),
    });

    let asker = Asker { commands: commands.clone() };
    let refresh = Refresh { bus: ctx.bus.clone(), shared: Arc::clone(&shared), commands: commands.clone() };
    let net =
        Arc::new(NetService { bus: ctx.bus.clone(), shared: Arc::clone(&shared), commands, refresh: refresh.clone() });
    for prefix in address::PREFIXES {
        ctx.bus.bind_raw(prefix, net.clone());
    }
    let stop = ctx.stop.child_token();
    let local = Local { bus: ctx.bus.clone(), asker: asker.clone(), shared, refresh, stop: stop.clone() };
    local.bind();
    let subscribe = golem_model::identity::Subscribe { endpoint: golem_model::net::IDENTITY_EVENTS.to_owned() };
    let identity_service = golem_model::identity::ADDRESS;
    if let Err(error) = ctx.bus.call(identity_service, Caller::local(), subscribe, SUBSCRIBE_TIMEOUT).await {
        warn!(%error, "changes of identities will not be noticed");
    }
    ctx.tasks.spawn(engine.run(inbox, stop).instrument(info_span!("net")));
    Ok(Handle { asker, node_id: identities.default, listen })
}

async fn resolve(relay: &str) -> Result<SocketAddr, StartError> {
    let found = tokio::net::lookup_host(relay)
        .await
        .map_err(|source| StartError::Resolve { relay: relay.to_owned(), source })?;
    // Relays and nodes of the network speak IPv4 only.
    found.into_iter().find(SocketAddr::is_ipv4).ok_or_else(|| StartError::NoAddress { relay: relay.to_owned() })
}
