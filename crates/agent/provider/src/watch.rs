//! Changes of the settings files while the agent runs (spec 60 §2).

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Editors and scripts change several files at once; wait until they have done.
const QUIET: Duration = Duration::from_millis(500);

/// Tells when something in a folder was written.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct Watch(tokio::io::unix::AsyncFd<rustix::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Watch {
    #[expect(
        deprecated,
        reason = "an owned descriptor stays open as long as it is registered; the new name is the same call behind `unsafe`"
    )]
    pub(crate) fn on(folder: &Path) -> std::io::Result<Self> {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        add_watch(&watch, folder, WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::DELETE)?;
        Ok(Self(tokio::io::unix::AsyncFd::new(watch)?))
    }

    /// Returns after a change and a quiet while.
    pub(crate) async fn changed(&self) -> std::io::Result<()> {
        self.event().await?;
        while let Ok(more) = tokio::time::timeout(QUIET, self.event()).await {
            more?;
        }
        Ok(())
    }

    async fn event(&self) -> std::io::Result<()> {
        let mut events = [0_u8; 4096];
        let read = |watch: &rustix::fd::OwnedFd| Ok(rustix::io::read(watch, &mut events)?);
        self.0.async_io(tokio::io::Interest::READABLE, read).await.map(drop)
    }
}

#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) struct Watch(PathBuf);

#[cfg(not(target_os = "linux"))]
impl Watch {
    pub(crate) fn on(folder: &Path) -> std::io::Result<Self> {
        Ok(Self(folder.to_owned()))
    }

    pub(crate) async fn changed(&self) -> std::io::Result<()> {
        let before = stamps(&self.0);
        while stamps(&self.0) == before {
            tokio::time::sleep(QUIET * 4).await;
        }
        Ok(())
    }
}

/// Sizes and dates of files, to tell real changes from touched ones.
pub(crate) fn stamps(folder: &Path) -> Vec<(PathBuf, u64, Option<std::time::SystemTime>)> {
    let files = [crate::config::preset::FILE, crate::config::hardware::FILE];
    files
        .into_iter()
        .filter_map(|name| {
            let path = folder.join(name);
            let data = std::fs::metadata(&path).ok()?;
            Some((path, data.len(), data.modified().ok()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_replaced_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let watch = Watch::on(folder.path()).unwrap();
        let before = stamps(folder.path());
        std::fs::write(folder.path().join("presets.json"), "{}").unwrap();
        watch.changed().await.unwrap();
        assert_ne!(stamps(folder.path()), before);
        std::fs::write(folder.path().join("hardware.json"), "{}").unwrap();
        watch.changed().await.unwrap();
    }
}
