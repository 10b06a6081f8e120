//! The cache of task packages (spec 54 §5): one file for each image, shared by all activities of a provider.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha3::{Digest, Sha3_224};
use tracing::debug;

use crate::{Location, Progress, TransferError, Transfers};

/// Pause between two looks whether another activity has got the same image.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Characters of the remote name that are kept in the name of the file.
const STEM_CHARS_MAX: usize = 100;

/// Returns the path of the image, which is downloaded unless the cache has it. The location must have a digest.
pub async fn fetch(
    transfers: &Transfers,
    cache_dir: &Path,
    image: &Location,
    progress: &Progress,
) -> Result<PathBuf, TransferError> {
    let names = Names::of(image)?;
    let path = cache_dir.join(&names.last);
    let hit = || {
        progress.message("Deployed image from cache");
        Ok(path.clone())
    };
    if path.is_file() {
        return hit();
    }
    let temporary_dir = cache_dir.join("tmp");
    fs::create_dir_all(&temporary_dir)?;
    // One download at a time; the others find its result.
    let _held = lock(&temporary_dir.join(format!("{}.lock", names.temporary))).await?;
    if path.is_file() {
        return hit();
    }
    let temporary = temporary_dir.join(&names.temporary);
    let file = File::options().write(true).create(true).truncate(true).open(&temporary)?;
    let downloaded = transfers.download(image, file, progress).await;
    if let Err(error) = downloaded {
        // It may never have been made.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    fs::rename(&temporary, &path)?;
    debug!(path = %path.display(), "image downloaded");
    Ok(path)
}

/// Held until dropped, also when this process dies.
async fn lock(path: &Path) -> Result<File, TransferError> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => tokio::time::sleep(LOOK_AGAIN_AFTER).await,
            Err(fs::TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Names {
    last: String,
    temporary: String,
}

impl Names {
    fn of(image: &Location) -> Result<Self, TransferError> {
        let digest = image.digest.as_ref().ok_or_else(|| TransferError::Url("Missing hash".into()))?;
        let name: String =
            image.place.file_name().chars().filter(|c| !matches!(c, '/' | '\0')).take(STEM_CHARS_MAX).collect();
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
            _ => (name.as_str(), String::new()),
        };
        let url = match &image.place {
            crate::Place::Http(url) => url.to_string(),
            crate::Place::Gftp { node, name } => format!("gftp://{node}/{name}"),
            crate::Place::Container(_) => return Err(TransferError::Scheme("container".into())),
        };
        let url = hex::encode(Sha3_224::digest(url.as_bytes()));
        let temporary = hex::encode(Sha3_224::new().chain_update(digest.as_bytes()).chain_update(url).finalize());
        Ok(Self { last: format!("{stem}_{digest}{extension}"), temporary })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Plain;

    #[test]
    fn names_are_those_of_official_caches() {
        let vector: serde_json::Value = serde_json::from_str(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../tests/vectors/exe/gvmi.json"
        )))
        .unwrap();
        let location = Location::parse(vector["task_package"].as_str().unwrap(), Plain::File).unwrap();
        let names = Names::of(&location).unwrap();
        assert_eq!(names.last, vector["cache_final_name"].as_str().unwrap());
        assert_eq!(names.temporary, vector["cache_tmp_name"].as_str().unwrap());
    }
}
