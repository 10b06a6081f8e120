//! Files and upload slots that this program offers to other nodes.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use golem_bus::Bus;
use golem_model::gftp::{
    self, CHUNK_BYTES_MAX, Chunk, GetChunk, GetMetadata, GftpError, Metadata, UploadChunk, UploadFinished,
};
use golem_model::{Caller, NodeId, identity};
use rand::Rng;
use sha3::{Digest, Sha3_256};

/// Characters of a slot's name; official programs know a slot by this length.
const SLOT_NAME_LEN: usize = 65;
const HASH_BUFFER_BYTES: usize = 256 * 1024;
/// Time for the daemon to say who we are.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The text, odd dot included, is what programs that drive this one print.
    #[error("Can't open file {path}.: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Identity(String),
}

/// Publishes on the bus, as the default identity of the node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bus: Bus,
    node: NodeId,
    /// How often each name was published: closing one leaves the others.
    names: Mutex<HashMap<String, usize>>,
}

impl Publisher {
    pub async fn new(bus: Bus) -> Result<Self, PublishError> {
        let fail = |error: String| PublishError::Identity(format!("GSB failure: {error}"));
        let asked = bus.call(identity::ADDRESS, Caller::local(), identity::Get::ByDefault, IDENTITY_TIMEOUT).await;
        let info = asked.map_err(|error| fail(error.to_string()))?;
        let node = info.ok_or_else(|| fail("the node has no default identity".into()))?.node_id;
        Ok(Self(Arc::new(Inner { bus, node, names: Mutex::default() })))
    }

    /// Publishes a file; its content must not change afterwards. Returns its URL.
    pub async fn publish(&self, path: &Path) -> Result<String, PublishError> {
        let fail = |source| PublishError::Open { path: path.into(), source };
        let opened = path.to_owned();
        let hashed = tokio::task::spawn_blocking(move || {
            let file = File::open(opened)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("not a regular file"));
            }
            let digest = hash(&file)?;
            Ok((file, digest))
        });
        let (file, digest) = hashed.await.map_err(|error| fail(io::Error::other(error)))?.map_err(fail)?;
        let name = hex::encode(digest);
        let first = self.hold(&name);
        if first {
            let service = gftp::address(&name);
            let file = Arc::new(file);
            let of = Arc::clone(&file);
            self.0.bus.bind(&service, move |_, GetMetadata| {
                let file = Arc::clone(&of);
                async move {
                    let metadata = file.metadata().map_err(|error| GftpError::ReadError(error.to_string()))?;
                    Ok(Metadata { file_size: metadata.len() })
                }
            });
            self.0.bus.bind(&service, move |_, call: GetChunk| {
                blocking(Arc::clone(&file), move |file| read_chunk(file, call))
            });
        }
        // Whoever gets the URL may call at once.
        self.0.bus.bound().await;
        Ok(self.url(&name))
    }

    /// Opens a slot whose uploads are written to `path`, which is emptied. Returns its URL.
    pub async fn receive(&self, path: &Path) -> Result<String, PublishError> {
        let fail = |source| PublishError::Open { path: path.into(), source };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(fail)?;
        }
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path).map_err(fail)?;
        let file = Arc::new(file);
        let name = slot_name();
        self.hold(&name);
        let service = gftp::address(&name);
        let into = Arc::clone(&file);
        self.0.bus.bind(&service, move |_, call: UploadChunk| {
            blocking(Arc::clone(&into), move |file| {
                let write = file.write_all_at(&call.chunk.content, call.chunk.offset);
                write.map_err(|error| GftpError::WriteError(error.to_string()))
            })
        });
        self.0.bus.bind(&service, move |_, call: UploadFinished| {
            blocking(Arc::clone(&file), move |file| {
                let Some(expected) = call.hash else { return Ok(()) };
                let digest = hash(file).map_err(|error| GftpError::ReadError(error.to_string()))?;
                if hex::encode(digest).eq_ignore_ascii_case(&expected) {
                    Ok(())
                } else {
                    Err(GftpError::IntegrityError)
                }
            })
        });
        self.0.bus.bound().await;
        Ok(self.url(&name))
    }

    /// Takes back what `url` names; `false` when it is not ours.
    pub fn close(&self, url: &str) -> bool {
        let prefix = format!("gftp://{}/", self.0.node);
        let Some(name) = url.strip_prefix(&prefix) else { return false };
        let mut names = self.lock();
        let Some(count) = names.get_mut(name) else { return false };
        *count -= 1;
        if *count == 0 {
            names.remove(name);
            self.0.bus.unbind(&gftp::address(name));
        }
        true
    }

    fn url(&self, name: &str) -> String {
        format!("gftp://{}/{name}", self.0.node)
    }

    /// Counts one more user of the name; `true` for the first.
    fn hold(&self, name: &str) -> bool {
        let mut names = self.lock();
        let count = names.entry(name.to_owned()).or_default();
        *count += 1;
        *count == 1
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn blocking<T: Send + 'static>(
    file: Arc<File>,
    work: impl FnOnce(&File) -> Result<T, GftpError> + Send + 'static,
) -> Result<T, GftpError> {
    let done = tokio::task::spawn_blocking(move || work(&file)).await;
    done.map_err(|error| GftpError::InternalError(error.to_string()))?
}

fn slot_name() -> String {
    let mut rng = rand::rng();
    (0..SLOT_NAME_LEN).map(|_| char::from(rng.sample(rand::distr::Alphanumeric))).collect()
}

fn read_chunk(file: &File, GetChunk { offset, size }: GetChunk) -> Result<Chunk, GftpError> {
    let fail = |error: io::Error| GftpError::ReadError(error.to_string());
    let len = file.metadata().map_err(fail)?.len();
    let Some(rest) = len.checked_sub(offset) else {
        return Err(GftpError::ReadError(format!("offset {offset} is behind the end at {len}")));
    };
    let size = size.min(rest).min(CHUNK_BYTES_MAX);
    let mut content = vec![0; usize::try_from(size).unwrap_or_default()];
    file.read_exact_at(&mut content, offset).map_err(fail)?;
    Ok(Chunk { offset, content })
}

fn hash(file: &File) -> io::Result<[u8; 32]> {
    let mut hasher = Sha3_256::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    let mut offset = 0;
    loop {
        let read = file.read_at(&mut buffer, offset)?;
        if read == 0 {
            return Ok(hasher.finalize().into());
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
        offset += u64::try_from(read).unwrap_or_default();
    }
}
