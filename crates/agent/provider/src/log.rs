//! Log lines: to stderr and to `ya-provider_rCURRENT.log` (spec 60 §1.3).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::MakeWriterExt as _;

const CURRENT: &str = "ya-provider_rCURRENT.log";
/// Size at which the file becomes an archive, unless `LOG_ROTATE_SIZE` says something else.
const ROTATE_BYTES: u64 = 20 * 1024 * 1024;

pub(crate) fn init(folder: &Path, debug: bool) {
    let level = if debug { "debug,hyper=info,reqwest=info,hyper_util=info" } else { "info" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let size = std::env::var("LOG_ROTATE_SIZE").ok().and_then(|size| size.parse().ok()).unwrap_or(ROTATE_BYTES);
    let kept = std::env::var("LOG_FILES_UNCOMPRESSED").ok().and_then(|count| count.parse().ok()).unwrap_or(1);
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_target(false);
    let outcome = match Rotating::open(folder, size, kept) {
        Ok(file) => subscriber.with_writer(io::stderr.and(file)).try_init(),
        Err(_) => subscriber.with_writer(io::stderr).try_init(),
    };
    // Somebody else in this process may have set up logs; theirs is as good.
    drop(outcome);
}

/// A log file that makes room for itself.
#[derive(Clone, Debug)]
struct Rotating(Arc<Mutex<Current>>);

#[derive(Debug)]
struct Current {
    folder: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    kept: u32,
}

impl Rotating {
    fn open(folder: &Path, bytes_max: u64, kept: u32) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let file = OpenOptions::new().create(true).append(true).open(folder.join(CURRENT))?;
        let bytes = file.metadata()?.len();
        Ok(Self(Arc::new(Mutex::new(Current { folder: folder.to_owned(), file, bytes, bytes_max, kept }))))
    }
}

impl Current {
    fn rotate(&mut self) -> io::Result<()> {
        let archive = |number: u32| self.folder.join(format!("ya-provider_r{number:05}.log"));
        for number in (0..self.kept.saturating_sub(1)).rev() {
            let _ = std::fs::rename(archive(number), archive(number + 1));
        }
        let current = self.folder.join(CURRENT);
        if self.kept == 0 {
            std::fs::remove_file(&current)?
        } else {
            std::fs::rename(&current, archive(0))?
        }
        self.file = OpenOptions::new().create(true).append(true).open(&current)?;
        self.bytes = 0;
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Rotating {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.bytes >= current.bytes_max {
            current.rotate()?;
        }
        let written = current.file.write(line)?;
        current.bytes += u64::try_from(written).unwrap_or_default();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_make_room_for_themselves() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Rotating::open(folder.path(), 10, 2).unwrap();
        for line in 0..9 {
            log.write_all(format!("line number {line}\n").as_bytes()).unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["ya-provider_r00000.log", "ya-provider_r00001.log", CURRENT]);
        assert_eq!(std::fs::read_to_string(folder.path().join(CURRENT)).unwrap(), "line number 8\n");
    }
}
