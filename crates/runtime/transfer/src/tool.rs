//! The `gftp` program (spec 53 §4): one-shot commands, and a server of JSON-RPC over its standard streams that SDKs drive.

mod rpc;
mod work;

use std::ffi::OsString;
use std::io::{BufRead, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use golem_bus::BusUrl;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use rpc::{Method, Request, answer, failure};
use work::Worker;

/// First word: clients close what they have published only from 0.7.3 on.
const VERSION: &str = concat!("0.7.3 (golem ", env!("CARGO_PKG_VERSION"), ")");

/// Longest request line; one may name many files.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// Requests that are worked on at the same time.
const REQUESTS_MAX: usize = 64;

/// Transfers files between nodes of the network.
#[derive(Debug, Parser)]
#[command(name = "gftp", version = VERSION)]
struct Cli {
    /// Print whole JSON-RPC messages
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the version
    Version,
    /// Publish files until interrupted
    Publish {
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Download a published file
    Download { url: String, output_file: PathBuf },
    /// Open a slot for an upload, until interrupted
    Receive { output_file: PathBuf },
    /// Upload a file into a slot
    Upload { url: String, file: PathBuf },
    /// Take back published files (only useful in server mode)
    Close {
        #[arg(required = true)]
        urls: Vec<String>,
    },
    /// End a server (only useful in server mode)
    Shutdown,
    /// Answer JSON-RPC requests, one a line
    Server,
}

/// The whole program.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    // Fails only when this process has a log already.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    crate::Transfers::install_tls();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: cannot start\n  cause: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(execute(cli));
    // A thread may still wait for standard input.
    runtime.shutdown_background();
    code
}

async fn execute(cli: Cli) -> ExitCode {
    let url = std::env::var("GSB_URL").ok().filter(|url| !url.is_empty());
    let url = url.map_or_else(|| Ok(BusUrl::default()), |url| url.parse());
    let worker = match url {
        Ok(url) => Arc::new(Worker::new(url)),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: `GSB_URL` is invalid\n  cause: {error}");
            return ExitCode::FAILURE;
        }
    };
    let method = match cli.command {
        Command::Server => {
            serve(&worker).await;
            worker.close().await;
            return ExitCode::SUCCESS;
        }
        Command::Version => Method::Version,
        Command::Publish { files } => Method::Publish { files },
        Command::Download { url, output_file } => Method::Download { url, output_file },
        Command::Receive { output_file } => Method::Receive { output_file },
        Command::Upload { url, file } => Method::Upload { url, file },
        Command::Close { urls } => Method::Close { urls },
        Command::Shutdown => Method::Shutdown,
    };
    let stays = matches!(method, Method::Publish { .. } | Method::Receive { .. });
    let result = worker.perform(method).await;
    let ok = result.is_ok();
    print(&match (cli.verbose, result) {
        (true, result) => {
            result.map_or_else(|error| failure(&Value::Null, &error), |result| answer(&Value::Null, &result))
        }
        (false, Ok(result)) => json!({"result": result}),
        (false, Err(error)) => json!({"error": error}),
    });
    if ok && stays {
        // Without signals there is nothing to wait for.
        let _ = tokio::signal::ctrl_c().await;
    }
    worker.close().await;
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Until `shutdown` or the end of standard input. Requests run side by side; answers are told apart by their ids.
async fn serve(worker: &Arc<Worker>) {
    let (lines, mut requests) = mpsc::channel(REQUESTS_MAX);
    std::thread::spawn(move || read_lines(&lines));
    let (tasks, slots) = (TaskTracker::new(), Arc::new(Semaphore::new(REQUESTS_MAX)));
    while let Some(line) = requests.recv().await {
        let Request { id, method } = match Request::parse(&line) {
            Ok(request) => request,
            Err((id, error)) => {
                print(&failure(&id, &error));
                continue;
            }
        };
        if matches!(method, Method::Shutdown) {
            print(&answer(&id, &json!("ok")));
            debug!("asked to end");
            return;
        }
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let worker = Arc::clone(worker);
        tasks.spawn(async move {
            let result = worker.perform(method).await;
            print(&result.map_or_else(|error| failure(&id, &error), |result| answer(&id, &result)));
            drop(slot);
        });
    }
}

fn read_lines(lines: &mpsc::Sender<Vec<u8>>) {
    let mut stdin = std::io::stdin().lock();
    loop {
        let mut line = Vec::new();
        match (&mut stdin).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                warn!(%error, "cannot read standard input");
                return;
            }
        }
        let blank = line.iter().all(u8::is_ascii_whitespace);
        if !blank && lines.blocking_send(line).is_err() {
            return;
        }
    }
}

/// One line, ended as clients expect it.
fn print(message: &Value) {
    let mut stdout = std::io::stdout().lock();
    let written = write!(stdout, "{message}\r\n").and_then(|()| stdout.flush());
    if let Err(error) = written {
        warn!(%error, "cannot write to standard output");
    }
}
