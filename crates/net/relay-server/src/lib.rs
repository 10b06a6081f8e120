//! The relay as library and program (spec 10 §13).
//!
//! [`start`] runs a relay on a socket until it is told to stop; [`run`] is the program around it with flags,
//! metrics over HTTP and a folder for the slots. What a relay does is in `golem-net-relay-core`.
//! Deliberately absent: IPv6, and the stream transport that no node uses.

mod actor;
mod cli;
mod http;
mod state;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use golem_net_relay_core::ServerConfig;
use golem_net_udp::Udp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use actor::Report;
pub use cli::run;
pub use http::routes;

/// Questions to the relay that wait at once.
const INBOX_LEN: usize = 64;

#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub core: ServerConfig,
    /// Where slots are kept over restarts.
    pub state_dir: Option<PathBuf>,
}

impl Config {
    /// A relay on this address with a fresh secret.
    pub fn new(listen: SocketAddr) -> Self {
        let core = ServerConfig { salt: rand::random(), ..ServerConfig::default() };
        Self { listen, core, state_dir: None }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot bind the relay to udp `{address}`")]
    Bind {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// A running relay.
#[derive(Clone, Debug)]
pub struct Handle {
    addr: SocketAddr,
    inbox: mpsc::Sender<actor::Question>,
}

impl Handle {
    /// Where nodes reach it.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Runs a relay until `stop`. Must be called inside a tokio runtime.
pub fn start(config: Config, tasks: &TaskTracker, stop: CancellationToken) -> Result<Handle, StartError> {
    let bind = |address: SocketAddr| Udp::bind(address).map_err(|source| StartError::Bind { address, source });
    let main = bind(config.listen)?;
    let check = bind(SocketAddr::new(config.listen.ip(), 0))?;
    let addr = main.local_addr();
    let (inbox, questions) = mpsc::channel(INBOX_LEN);
    actor::spawn(config, main, check, questions, tasks, stop);
    Ok(Handle { addr, inbox })
}
