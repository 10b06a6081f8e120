//! One agent per data directory (spec 60 §1.4): an advisory lock that dies with the process.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error(
        "ya-provider is already running\nhint: process {pid} works on this data directory; `--data-dir` names another one"
    )]
    Running { pid: String },
    #[error("cannot lock `{path}`")]
    File { path: PathBuf, source: std::io::Error },
}

/// Held while the agent runs.
#[derive(Debug)]
pub(crate) struct Lock {
    _lock: File,
    pid_path: PathBuf,
}

impl Lock {
    pub(crate) fn take(data_dir: &Path) -> Result<Self, LockError> {
        let path = data_dir.join("ya-provider.lock");
        let pid_path = data_dir.join("ya-provider.pid");
        let file = |source| LockError::File { path: path.clone(), source };
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(file)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| LockError::Running {
            pid: std::fs::read_to_string(&pid_path).map_or_else(|_| "unknown".to_owned(), |pid| pid.trim().to_owned()),
        })?;
        std::fs::write(&pid_path, std::process::id().to_string()).map_err(file)?;
        Ok(Self { _lock: lock, pid_path })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.pid_path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_agent() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path()).unwrap();
        let second = Lock::take(folder.path()).unwrap_err();
        assert!(second.to_string().starts_with("ya-provider is already running"));
        drop(first);
        Lock::take(folder.path()).unwrap();
    }
}
