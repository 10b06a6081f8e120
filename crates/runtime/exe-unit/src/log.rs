//! Logs: what a person reads on stderr, and a file beside the work dir (spec 51 §1).

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Mutex;

use golem_service::{Clock, SystemClock};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

const FILE_LEVEL_DEFAULT: &str = "debug,tokio_util=off,h2=info";

/// `dir` is where the file goes. Without it only stderr is written to.
pub(crate) fn start(dir: Option<&Path>, stderr_level: Option<&str>, file_level: Option<&str>) {
    let filter = |text: &str, default: &str| EnvFilter::try_new(text).unwrap_or_else(|_| EnvFilter::new(default));
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_filter(filter(stderr_level.unwrap_or("info"), "info"));
    let file = dir.and_then(|dir| open(dir).ok()).map(|file| {
        let level = filter(file_level.unwrap_or(FILE_LEVEL_DEFAULT), FILE_LEVEL_DEFAULT);
        tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Mutex::new(file)).with_filter(level)
    });
    // Fails only when this process has a log already.
    let _ = tracing_subscriber::registry().with(stderr).with(file).try_init();
}

fn open(dir: &Path) -> io::Result<File> {
    fs::create_dir_all(dir)?;
    let name = SystemClock.now().format("exe-unit_%Y-%m-%dT%H-%M-%S.log").to_string();
    File::options().append(true).create(true).open(dir.join(name))
}
