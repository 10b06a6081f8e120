//! Volumes of a container and the way to files in them that cannot lead out.
//!
//! The kernel resolves each path beneath the open folder of the volume (`openat2`). Where it cannot, no link is followed
//! at all. Only regular files are opened, and fifos do not block us.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use golem_runtime_api::deploy::ContainerVolume;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, mkdirat};

use crate::TransferError;

/// Folders between a volume and a file.
const DEPTH_MAX: usize = 64;

/// The volumes of an activity; each deploy replaces them.
#[derive(Clone, Debug, Default)]
pub struct Volumes(Arc<RwLock<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    work_dir: PathBuf,
    volumes: Vec<ContainerVolume>,
}

/// How a file in a volume is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    Read,
    /// Makes the file and the folders before it; what was in it is gone.
    Write,
}

/// A path that was found to lie in a volume.
#[derive(Debug)]
pub(crate) struct Inside {
    root: OwnedFd,
    parts: Vec<String>,
}

impl Volumes {
    pub fn new(work_dir: impl Into<PathBuf>) -> Self {
        Self(Arc::new(RwLock::new(Inner { work_dir: work_dir.into(), volumes: Vec::new() })))
    }

    pub fn replace(&self, volumes: Vec<ContainerVolume>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).volumes = volumes;
    }

    pub(crate) fn work_dir(&self) -> PathBuf {
        self.0.read().unwrap_or_else(PoisonError::into_inner).work_dir.clone()
    }

    /// Opens the file at `path`, which is absolute inside the container.
    pub fn open(&self, path: &str, mode: OpenMode) -> Result<File, TransferError> {
        self.locate(path)?.open(mode)
    }

    /// Finds the volume: the longest one that holds the path.
    pub(crate) fn locate(&self, path: &str) -> Result<Inside, TransferError> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let rest = |volume: &str| {
            let volume = volume.trim_end_matches('/');
            let rest = path.strip_prefix(volume)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.strip_prefix('/').unwrap_or(rest).to_owned())
        };
        let found = inner.volumes.iter().filter_map(|v| Some((v, rest(&v.path)?))).max_by_key(|(v, _)| v.path.len());
        let Some((volume, rest)) = found else {
            let quoted: String = path.chars().take(200).collect();
            return Err(TransferError::io(format!("path not found in container: [{quoted}]")));
        };
        if rest.starts_with('/') {
            return Err(TransferError::io("invalid path format"));
        }
        // Names come from the runtime, which is not more trusted than its program.
        let name = Path::new(&volume.name);
        let plain = name.components().count() == 1 && name.file_name().is_some();
        if !plain {
            return Err(TransferError::io(format!("volume `{}` is not below the work dir", volume.name)));
        }
        let directory = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let root = nix::fcntl::open(&inner.work_dir.join(name), directory, Mode::empty()).map_err(io::Error::from)?;
        let parts: Vec<String> = rest.split('/').filter(|part| !part.is_empty()).map(Into::into).collect();
        if parts.len() > DEPTH_MAX || parts.iter().any(|part| matches!(part.as_str(), "." | "..")) {
            return Err(TransferError::io("invalid path format"));
        }
        Ok(Inside { root, parts })
    }
}

impl Inside {
    pub(crate) fn is_dir(&self) -> bool {
        self.directory().is_ok()
    }

    /// The same place with more behind it.
    pub(crate) fn join(&self, path: &str) -> Result<Self, TransferError> {
        let mut parts = self.parts.clone();
        parts.extend(path.split('/').filter(|part| !part.is_empty()).map(String::from));
        if parts.len() > DEPTH_MAX
            || parts.iter().any(|part| matches!(part.as_str(), "." | "..") || part.contains('\0'))
        {
            return Err(TransferError::io("invalid path format"));
        }
        Ok(Self { root: self.root.try_clone()?, parts })
    }

    pub(crate) fn open(&self, mode: OpenMode) -> Result<File, TransferError> {
        let flags = match mode {
            OpenMode::Read => OFlag::O_RDONLY,
            OpenMode::Write => {
                self.make_folders(self.parts.len().saturating_sub(1))?;
                OFlag::O_WRONLY | OFlag::O_CREAT
            }
        };
        // Not O_TRUNC: only when it is known to be a regular file.
        let file = File::from(beneath(&self.root, &self.path(self.parts.len()), flags | OFlag::O_NONBLOCK)?);
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            return Err(io::Error::from(Errno::EISDIR).into());
        }
        if !kind.is_file() {
            return Err(TransferError::io("not a regular file"));
        }
        if mode == OpenMode::Write {
            file.set_len(0)?;
        }
        Ok(file)
    }

    /// The folder itself, for walks.
    pub(crate) fn directory(&self) -> Result<OwnedFd, TransferError> {
        Ok(beneath(&self.root, &self.path(self.parts.len()), OFlag::O_RDONLY | OFlag::O_DIRECTORY)?)
    }

    pub(crate) fn make_dir(&self) -> Result<(), TransferError> {
        self.make_folders(self.parts.len())
    }

    fn make_folders(&self, count: usize) -> Result<(), TransferError> {
        for end in 1..=count {
            match beneath(&self.root, &self.path(end), OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let parent = beneath(&self.root, &self.path(end - 1), OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
                    let name = self.parts.get(end - 1).map_or(".", String::as_str);
                    match mkdirat(&parent, name, Mode::from_bits_truncate(0o755)) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(error) => return Err(io::Error::from(error).into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn path(&self, count: usize) -> String {
        match self.parts.get(..count) {
            Some([]) | None => ".".into(),
            Some(parts) => parts.join("/"),
        }
    }
}

fn beneath(root: &OwnedFd, path: &str, flags: OFlag) -> io::Result<OwnedFd> {
    let flags = flags | OFlag::O_CLOEXEC;
    let creating = flags.contains(OFlag::O_CREAT);
    let mode = if creating { Mode::from_bits_truncate(0o644) } else { Mode::empty() };
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    match openat2(root.as_fd(), path, OpenHow::new().flags(flags).mode(mode).resolve(resolve)) {
        Err(Errno::ENOSYS | Errno::EPERM) => stepwise(root, path, flags, mode),
        opened => Ok(opened?),
    }
}

/// For kernels without `openat2`: one component after the other, links refused.
fn stepwise(root: &OwnedFd, path: &str, flags: OFlag, mode: Mode) -> io::Result<OwnedFd> {
    let mut folder = root.try_clone()?;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let step = if last { flags } else { OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC };
        folder = openat(&folder, part, step | OFlag::O_NOFOLLOW, mode)?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::symlink;

    use super::*;

    fn volumes() -> (tempfile::TempDir, Volumes) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("vol-1/sub")).unwrap();
        std::fs::create_dir_all(dir.path().join("vol-2")).unwrap();
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        let volumes = Volumes::new(dir.path());
        let volume = |name: &str, path: &str| ContainerVolume { name: name.into(), path: path.into() };
        volumes.replace(vec![volume("vol-1", "/in"), volume("vol-2", "/in/deep"), volume("../x", "/evil")]);
        (dir, volumes)
    }

    #[test]
    fn files_are_written_and_read_in_their_volume() {
        let (dir, volumes) = volumes();
        volumes.open("/in/a/b/c", OpenMode::Write).unwrap().write_all(b"hello").unwrap();
        assert_eq!(std::fs::read(dir.path().join("vol-1/a/b/c")).unwrap(), b"hello");
        volumes.open("/in/a/b/c", OpenMode::Write).unwrap().write_all(b"hi").unwrap();
        let mut text = String::new();
        volumes.open("/in/a/b/c", OpenMode::Read).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hi");
        volumes.open("/in/deep/f", OpenMode::Write).unwrap();
        assert!(dir.path().join("vol-2/f").exists(), "the longest volume wins");
    }

    #[test]
    fn nothing_leads_out_of_a_volume() {
        let (dir, volumes) = volumes();
        let volume = dir.path().join("vol-1");
        symlink("/etc/passwd", volume.join("absolute")).unwrap();
        symlink("../secret", volume.join("relative")).unwrap();
        symlink("/etc", volume.join("folder")).unwrap();
        symlink("..", volume.join("up")).unwrap();
        nix::unistd::mkfifo(&volume.join("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
        for path in [
            "/in/absolute",
            "/in/relative",
            "/in/folder/passwd",
            "/in/up/secret",
            "/in/fifo",
            "/in/../secret",
            "/in//etc/passwd",
            "/other",
            "/inside",
            "/in",
            "/in/sub",
            "/evil/secret",
            "/in/new/../../x",
        ] {
            for mode in [OpenMode::Read, OpenMode::Write] {
                let opened = volumes.open(path, mode);
                assert!(opened.is_err(), "{path} {mode:?}");
            }
        }
        assert_eq!(std::fs::read(dir.path().join("secret")).unwrap(), b"secret");
        assert_eq!(
            volumes.open("/in/sub", OpenMode::Read).unwrap_err().to_string(),
            "IO error: Is a directory (os error 21)"
        );
    }
}
