//! The daemon: all services of a node in one process.
//!
//! [`run`] is the program: logs, lock of the data directory, signals. [`Daemon::start`] builds the services in the order
//! of spec 22 §1 and wires them by the bus and the REST server; tests and the development network start as many as they
//! want in one process. Each service's own task ends with the stop token; [`Daemon::stop`] waits for all.

mod config;
mod control;
mod extensions;
mod healthcheck;
mod lock;
mod logs;
mod notify;
mod process_metrics;
mod rest;
mod services;
mod version;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use golem_api_rest::{AppKeys, Health, Limits, Metrics, Shell};
use golem_bus::{Bus, BusUrl, KeepAlive};
use golem_model::NodeId;
use golem_service::{Context, SystemClock};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

pub use config::{Config, rest_address};
pub use control::Stop;

/// What one program run needs beside the daemon itself.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) config: Config,
    pub(crate) log_dir: Option<std::path::PathBuf>,
    pub(crate) debug: bool,
}

/// How long services may take to end; after it they are left alone. What they must not lose is stored at any moment.
const STOP_TIME: Duration = Duration::from_millis(200);

/// The same for a graceful stop; starters kill after 15 s.
const STOP_TIME_GRACEFUL: Duration = Duration::from_secs(10);

/// Blocking work waits in a queue; few threads keep the process small.
const BLOCKING_THREADS_MAX: usize = 8;

/// Runs the daemon until a signal or a command ends it.
pub(crate) fn run(program: Program) -> Result<()> {
    let Program { config, log_dir, debug } = program;
    config::create_data_dir(&config.data_dir)?;
    let _lock = lock::DataDirLock::take(&config.data_dir)?;
    logs::init(log_dir.as_deref(), debug)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.workers)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(Duration::from_secs(2))
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        let mut signals = control::Signals::new()?;
        let stop = CancellationToken::new();
        let daemon = tokio::select! {
            daemon = Box::pin(Daemon::start_until(config, stop.clone())) => daemon?,
            _ = signals.next() => {
                stop.cancel();
                bail!("Default account is locked");
            }
        };
        notify::ready();
        let how = tokio::select! {
            how = signals.next() => how,
            how = daemon.asked_to_stop() => how,
        };
        info!(?how, "stopping");
        tokio::select! {
            () = daemon.stop(how) => {}
            _ = signals.next() => warn!("stopped without waiting"),
        }
        Ok(())
    });
    runtime.shutdown_timeout(Duration::from_millis(20));
    done
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    node_id: NodeId,
    rest: SocketAddr,
    gsb: BusUrl,
    bus: Bus,
    health: Health,
    tasks: TaskTracker,
    stop: CancellationToken,
    control: control::Control,
    net_address: Option<SocketAddr>,
}

impl Daemon {
    pub async fn start(config: Config) -> Result<Self> {
        Box::pin(Self::start_until(config, CancellationToken::new())).await
    }

    async fn start_until(config: Config, stop: CancellationToken) -> Result<Self> {
        let (bus, tasks) = (Bus::new(), TaskTracker::new());
        let metrics = Metrics::install(process_metrics::now);
        let started = Self::build(config, bus, tasks.clone(), stop.clone(), metrics).await;
        if started.is_err() {
            stop.cancel();
            tasks.close();
            let _ = tokio::time::timeout(STOP_TIME, tasks.wait()).await;
        }
        started
    }

    async fn build(
        config: Config,
        bus: Bus,
        tasks: TaskTracker,
        stop: CancellationToken,
        metrics: Metrics,
    ) -> Result<Self> {
        config::create_data_dir(&config.data_dir)?;
        let keep_alive = config.gsb_ping.map(KeepAlive::from_timeout).unwrap_or_default();
        let listening = bus
            .listen_with(&config.gsb_url, keep_alive, &tasks, stop.clone())
            .await
            .context("binding service bus router")?;
        let ctx = Context {
            bus: bus.clone(),
            data_dir: config.data_dir.clone(),
            clock: Arc::new(SystemClock),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let (keys, health) = (AppKeys::new(), Health::new());
        let identity = golem_identity::start(ctx.clone(), config.identity.clone(), keys.clone()).await?;
        identity.unlocked().await;
        identity.bind_app_keys();
        let node_id = identity.default_id();
        let version = version::start(&ctx);
        let services = Box::pin(services::start(&ctx, &config, &identity, &health)).await?;
        let net_address = services.net_address;

        let listener = TcpListener::bind((config.rest.0.as_str(), config.rest.1))
            .await
            .with_context(|| format!("Failed to bind http server on \"{}:{}\"", config.rest.0, config.rest.1))?;
        let rest = listener.local_addr()?;
        let routes = rest::routes(&bus, &version, &metrics, &health, services.routes);
        let limits = Limits { keep_alive: config.keep_alive, ..Limits::default() };
        golem_api_rest::serve(listener, Shell::new(keys, config.cors.clone(), routes), limits, &tasks, stop.clone());
        process_metrics::start(&ctx, metrics);
        let control = control::Control::bind(&bus);
        let gsb = listening.url().clone();
        services::greet(&ctx, &identity);
        extensions::start(&ctx, &config, &identity, rest, &gsb);
        info!(node = %node_id, %rest, bus = %gsb, "yagna is ready");
        Ok(Self { node_id, rest, gsb, bus, health, tasks, stop, control, net_address })
    }

    /// The default identity.
    pub const fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// Where the REST server listens.
    pub const fn rest_address(&self) -> SocketAddr {
        self.rest
    }

    /// Where programs reach the bus.
    pub const fn gsb_url(&self) -> &BusUrl {
        &self.gsb
    }

    /// Where the network service listens for datagrams.
    pub const fn net_address(&self) -> Option<SocketAddr> {
        self.net_address
    }

    pub const fn bus(&self) -> &Bus {
        &self.bus
    }

    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Returns when somebody sent `ShutdownRequest`.
    pub async fn asked_to_stop(&self) -> Stop {
        self.control.asked().await
    }

    /// Ends all services.
    pub async fn stop(self, how: Stop) {
        self.stop.cancel();
        self.tasks.close();
        let deadline = match how {
            Stop::Graceful => STOP_TIME_GRACEFUL,
            Stop::Now => STOP_TIME,
        };
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_err() {
            warn!(left = self.tasks.len(), "some tasks did not end in time");
        }
        self.bus.close(Duration::from_millis(20)).await;
    }
}
