//! The log file: rotated by age and size, old ones compressed, the oldest deleted.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use chrono::{DateTime, Local};
use golem_service::{Clock, SystemClock};
use tracing_subscriber::fmt::MakeWriter;

const CURRENT: &str = "yagna_rCURRENT.log";
const PREFIX: &str = "yagna_r";

/// How many old files stay, and when a file is old.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) plain: usize,
    pub(crate) compressed: usize,
    pub(crate) hourly: bool,
    pub(crate) bytes_max: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct LogFile(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    dir: PathBuf,
    kept: Kept,
    file: File,
    opened: DateTime<Local>,
    bytes: u64,
}

impl LogFile {
    pub(crate) fn open(dir: &Path, kept: &Kept) -> Result<Self> {
        let failed = || format!("cannot write logs to `{}`", dir.display());
        std::fs::create_dir_all(dir).with_context(failed)?;
        let current = dir.join(CURRENT);
        if let Ok(meta) = current.metadata() {
            let written = meta.modified().map_or_else(|_| now(), DateTime::from);
            set_aside(dir, written, kept).with_context(failed)?;
        }
        let file = File::create(current).with_context(failed)?;
        let state = State { dir: dir.to_owned(), kept: kept.clone(), file, opened: now(), bytes: 0 };
        Ok(Self(Arc::new(Mutex::new(state))))
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.rotate_if_due()?;
        state.file.write_all(line)?;
        state.bytes += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    fn rotate_if_due(&mut self) -> io::Result<()> {
        let now = now();
        let pattern = if self.kept.hourly { "%Y%m%d%H" } else { "%Y%m%d" };
        let old = now.format(pattern).to_string() != self.opened.format(pattern).to_string();
        let large = self.kept.bytes_max.is_some_and(|most| self.bytes >= most);
        if old || large {
            set_aside(&self.dir, self.opened, &self.kept)?;
            self.file = File::create(self.dir.join(CURRENT))?;
            self.opened = now;
            self.bytes = 0;
        }
        Ok(())
    }
}

/// Gives the current file a name by its time, and tidies old files on a thread of its own.
fn set_aside(dir: &Path, time: DateTime<Local>, kept: &Kept) -> io::Result<()> {
    let stem = format!("{PREFIX}{}", time.format("%Y-%m-%d_%H-%M-%S"));
    let mut name = dir.join(format!("{stem}.log"));
    for copy in 1..1000 {
        if !name.exists() {
            break;
        }
        name = dir.join(format!("{stem}.{copy}.log"));
    }
    std::fs::rename(dir.join(CURRENT), name)?;
    let (dir, kept) = (dir.to_owned(), kept.clone());
    std::thread::Builder::new().name("old-logs".to_owned()).spawn(move || tidy(&dir, &kept)).map(drop)
}

fn tidy(dir: &Path, kept: &Kept) {
    for path in old(dir, ".log").into_iter().skip(kept.plain) {
        // A file that cannot be compressed stays as it is.
        if compress(&path).is_ok() {
            let _ = std::fs::remove_file(path);
        }
    }
    for path in old(dir, ".log.gz").into_iter().skip(kept.compressed) {
        let _ = std::fs::remove_file(path);
    }
}

/// Old files with that end, the newest first.
fn old(dir: &Path, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name != CURRENT && name.starts_with(PREFIX) && name.ends_with(end)
        })
        .collect();
    paths.sort_unstable_by(|a, b| b.cmp(a));
    paths
}

fn compress(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    let mut out = flate2::write::GzEncoder::new(File::create(name)?, flate2::Compression::default());
    io::copy(&mut File::open(path)?, &mut out)?;
    out.finish().map(drop)
}

fn now() -> DateTime<Local> {
    SystemClock.now().with_timezone(&Local)
}
