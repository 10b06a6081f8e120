//! JSON files of the data directory: bounded reading, whole-or-nothing writing.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Settings files are a few kilobytes; something larger is not one.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why a settings file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("`{path}` is longer than {FILE_BYTES_MAX} bytes")]
    TooLong { path: PathBuf },
    #[error("`{path}` is not what it should be")]
    Content { path: PathBuf, source: serde_json::Error },
    #[error("cannot write `{path}`")]
    Write { path: PathBuf, source: io::Error },
}

/// The content of `path`, or none when there is no such file.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    let read = |source| FileError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read(error)),
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(read)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(FileError::TooLong { path: path.to_owned() });
    }
    serde_json::from_slice(&text).map(Some).map_err(|source| FileError::Content { path: path.to_owned(), source })
}

/// Replaces `path` by `value`: a reader sees the old or the new content, never a part (spec 60 §2: `<name>.swp`).
pub(crate) fn save<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), FileError> {
    let text =
        serde_json::to_vec_pretty(value).map_err(|source| FileError::Content { path: path.to_owned(), source })?;
    let mut swap = path.as_os_str().to_owned();
    swap.push(".swp");
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = File::create(&swap)?;
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&swap, path)
    };
    write().map_err(|source| FileError::Write { path: path.to_owned(), source })
}
