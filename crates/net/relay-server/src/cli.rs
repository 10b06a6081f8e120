//! The program `ya-relay-server` (spec 10 §13.3).

use std::ffi::OsString;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use golem_net_relay_core::ServerConfig;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::{Config, http, start};

/// The relay of a Golem network: nodes find each other through it, and reach each other where there is no direct way.
#[derive(Debug, Parser)]
#[command(name = "ya-relay-server", version)]
#[command(after_help = "Example: ya-relay-server --listen-on 127.0.0.1:7477 --difficulty 8")]
struct Args {
    /// UDP address (IPv4).
    #[arg(short = 'a', long, env = "RELAY_LISTEN_ON", default_value = "0.0.0.0:7477")]
    listen_on: SocketAddrV4,
    /// Worker threads. Accepted for compatibility: one task serves the socket.
    #[arg(long, env = "RELAY_WORKERS", hide = true)]
    workers: Option<usize>,
    /// Accepted for compatibility.
    #[arg(long, env = "RELAY_TASKS_PER_WORKER", hide = true)]
    tasks_per_worker: Option<usize>,
    /// TCP address of the metrics; `none` for none.
    #[arg(long, env = "METRICS_SCRAPE_ADDR", default_value = "127.0.0.1:9000")]
    metrics_scrape_addr: String,
    /// Folder that keeps the slots of nodes over restarts.
    #[arg(long, env = "STATE_DIRECTORY")]
    state_dir: Option<PathBuf>,
    #[arg(long, env = "SESSION_CLEANER_INTERVAL", default_value = "10s", value_parser = humantime::parse_duration)]
    session_cleaner_interval: Duration,
    /// Silence after which a session is forgotten.
    #[arg(long, env = "SESSION_PURGE_TIMEOUT", default_value = "10min", value_parser = humantime::parse_duration)]
    session_purge_timeout: Duration,
    /// Leading zero bits of the proof of work that nodes must find.
    #[arg(long, env = "DIFFICULTY", default_value_t = 16, value_parser = clap::value_parser!(u64).range(..=28))]
    difficulty: u64,
    /// 32 hex digits; kept over restarts it keeps running handshakes valid. Default: random.
    #[arg(long, env = "SALT", value_parser = parse_salt, hide_env_values = true)]
    salt: Option<[u8; 16]>,
    /// How long a node has to answer the check whether it can be reached.
    #[arg(long, env = "IP_CHECK_TIMEOUT", default_value = "1s", value_parser = humantime::parse_duration)]
    ip_check_timeout: Duration,
    #[arg(long, env = "IP_CHECK_RETRY_CNT", default_value_t = 3)]
    ip_check_retry_cnt: u32,
    #[arg(long, env = "IP_CHECK_RETRY", default_value = "200ms", value_parser = humantime::parse_duration)]
    ip_check_retry: Duration,
    /// Bytes per second that one node may have forwarded; 0: no limit.
    #[arg(long, env = "FORWARD_BYTES_PER_SECOND", default_value_t = 0)]
    forward_bytes_per_second: u64,
}

fn parse_salt(text: &str) -> Result<[u8; 16], String> {
    let mut salt = [0; 16];
    hex::decode_to_slice(text, &mut salt).map(|()| salt).map_err(|_| "a salt is 32 hex digits".to_owned())
}

impl Args {
    fn config(&self) -> Config {
        let core = ServerConfig {
            difficulty: self.difficulty,
            salt: self.salt.unwrap_or_else(rand::random),
            check_timeout: self.ip_check_timeout,
            check_retries: self.ip_check_retry_cnt,
            check_retry_after: self.ip_check_retry.max(Duration::from_millis(1)),
            session_timeout: self.session_purge_timeout,
            sweep_every: self.session_cleaner_interval.max(Duration::from_millis(100)),
            forward_bytes_per_second: self.forward_bytes_per_second,
            ..ServerConfig::default()
        };
        Config { listen: SocketAddr::V4(self.listen_on), core, state_dir: self.state_dir.clone() }
    }
}

/// Runs the program.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(serve(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a program to the person who started it")]
fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  cause: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}

async fn serve(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let mut terminated = signal(SignalKind::terminate())?;
    let relay = start(args.config(), &tasks, stop.clone())?;
    if args.metrics_scrape_addr != "none" {
        match TcpListener::bind(&args.metrics_scrape_addr).await {
            Ok(listener) => {
                info!(address = %listener.local_addr()?, "metrics over http");
                let server =
                    axum::serve(listener, http::routes(relay)).with_graceful_shutdown(stop.clone().cancelled_owned());
                tasks.spawn(server.into_future());
            }
            // The relay is useful without; a second one on a machine must not fail for it.
            Err(error) => warn!(address = %args.metrics_scrape_addr, %error, "no metrics over http"),
        }
    }
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
    stop.cancel();
    tasks.close();
    let _ = tokio::time::timeout(Duration::from_secs(5), tasks.wait()).await;
    Ok(())
}
