//! One daemon per data directory: `yagna.lock` and `yagna.pid` (spec 22 §2).

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Held by the daemon; both files go when it is dropped.
#[derive(Debug)]
pub(crate) struct DataDirLock {
    lock: Option<Flock<File>>,
    lock_path: PathBuf,
    pid_path: PathBuf,
}

impl DataDirLock {
    pub(crate) fn take(data_dir: &Path) -> Result<Self> {
        let lock_path = data_dir.join("yagna.lock");
        let pid_path = data_dir.join("yagna.pid");
        let failed = || format!("cannot create `{}`", lock_path.display());
        let file = File::options().write(true).create(true).truncate(false).open(&lock_path).with_context(failed)?;
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => bail!("yagna is already running"),
            Err((_, error)) => return Err(error).with_context(|| format!("cannot lock `{}`", lock_path.display())),
        };
        std::fs::write(&pid_path, std::process::id().to_string())
            .with_context(|| format!("cannot write `{}`", pid_path.display()))?;
        Ok(Self { lock: Some(lock), lock_path, pid_path })
    }
}

impl Drop for DataDirLock {
    fn drop(&mut self) {
        // The files go first: who finds them without the lock would take them for those of a crashed daemon.
        let _ = std::fs::remove_file(&self.pid_path);
        let _ = std::fs::remove_file(&self.lock_path);
        drop(self.lock.take());
    }
}
