//! One transfer: source → digest → progress → destination, with retries (spec 53 §2).

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use golem_bus::Bus;
use golem_model::exe_unit::FileSets;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::archive::{self, Format, Selection};
use crate::digest::{Expected, Hasher};
use crate::{Location, OpenMode, Place, Progress, TransferError, Volumes, gftp, http};

/// Pauses before each further attempt.
const RETRY_AFTER: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(4)];

/// Piece of a local file that is read at once.
const FILE_CHUNK_BYTES: usize = 128 * 1024;

/// An open source. `offset` is where it really begins.
pub(crate) struct Opened {
    pub(crate) offset: u64,
    pub(crate) size: Option<u64>,
    pub(crate) resumable: bool,
    pub(crate) stream: BoxStream<'static, Result<Bytes, TransferError>>,
}

/// Copies between locations on behalf of one activity or program. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Transfers {
    pub volumes: Volumes,
    bus: Option<Bus>,
    http: reqwest::Client,
}

/// Of a transfer command.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub format: Option<String>,
    pub depth: Option<u64>,
    pub fileset: Option<FileSets>,
    pub progress: Progress,
}

impl Transfers {
    /// Without a bus, gftp locations fail. A TLS provider must have been installed ([`install_tls`](Self::install_tls)).
    pub fn new(volumes: Volumes, bus: Option<Bus>) -> Result<Self, TransferError> {
        Ok(Self { volumes, bus, http: http::client()? })
    }

    /// To be called once by a program that makes transfers.
    pub fn install_tls() {
        // Fails only when one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }

    /// Copies `from` to `to`; stops with [`TransferError::Interrupted`] when told.
    pub async fn transfer(
        &self,
        from: &Location,
        to: &Location,
        options: Options,
        stop: &CancellationToken,
    ) -> Result<(), TransferError> {
        let work = self.choose(from, to, options);
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(TransferError::Interrupted),
            done = work => done,
        }
    }

    async fn choose(&self, from: &Location, to: &Location, options: Options) -> Result<(), TransferError> {
        let Some(format) = options.format else {
            let sink = self.sink(&to.place).await?;
            return self.copy(from, sink, &options.progress).await.map(drop);
        };
        let format: Format = format.parse()?;
        let selection = Selection::new(options.fileset.as_ref(), options.depth)?;
        let packed = match &from.place {
            Place::Container(path) if self.volumes.locate(path)?.is_dir() => {
                let folder = self.volumes.locate(path)?;
                let file = tempfile(&self.volumes.work_dir())?;
                blocking(move || archive::pack(&folder, format, &selection, file)).await?
            }
            _ => {
                let file = tempfile(&self.volumes.work_dir())?;
                let sink = Sink::File(file.try_clone()?);
                self.copy(from, sink, &options.progress).await?;
                file
            }
        };
        match &to.place {
            Place::Container(path) => {
                let folder = self.volumes.locate(path)?;
                blocking(move || archive::unpack(packed, format, &folder)).await
            }
            place => {
                let sink = self.sink(place).await?;
                self.write(&FileSource(Arc::new(packed)), sink, None, &options.progress).await.map(drop)
            }
        }
    }

    /// Copies a location into an open file, from its beginning. Returns the number of bytes.
    pub async fn download(&self, from: &Location, file: File, progress: &Progress) -> Result<u64, TransferError> {
        self.copy(from, Sink::File(file), progress).await
    }

    async fn copy(&self, from: &Location, sink: Sink, progress: &Progress) -> Result<u64, TransferError> {
        self.write(&PlaceSource { transfers: self, place: &from.place }, sink, from.digest.as_ref(), progress).await
    }

    async fn write(
        &self,
        source: &impl Source,
        mut sink: Sink,
        expected: Option<&Expected>,
        progress: &Progress,
    ) -> Result<u64, TransferError> {
        let mut expected: Vec<Expected> = expected.cloned().into_iter().collect();
        expected.extend(source.implied_digest().filter(|implied| !expected.contains(implied)));
        let fresh = || Meter { done: 0, hashers: expected.iter().map(Expected::hasher).collect() };
        let meter = Arc::new(Mutex::new(fresh()));
        let mut resumable = false;
        let mut pauses = RETRY_AFTER.iter();
        loop {
            let resume = if resumable && sink.can_resume() { lock(&meter).done } else { 0 };
            let attempt = async {
                let opened = source.open(resume).await?;
                if opened.offset != lock(&meter).done {
                    *lock(&meter) = fresh();
                    if opened.offset != 0 {
                        return Err(TransferError::io("the source begins at another place than asked"));
                    }
                }
                resumable = opened.resumable;
                progress.begin(opened.offset, opened.size);
                let (metered, told) = (Arc::clone(&meter), progress.clone());
                let stream = opened.stream.inspect_ok(move |bytes| {
                    let len = bytes.len();
                    let mut meter = lock(&metered);
                    meter.done += u64::try_from(len).unwrap_or_default();
                    meter.hashers.iter_mut().for_each(|hasher| hasher.update(bytes));
                    drop(meter);
                    told.advance(u64::try_from(len).unwrap_or_default());
                });
                self.consume(&mut sink, opened.offset, stream.boxed()).await
            };
            match attempt.await {
                Ok(()) => break,
                Err(error) if error.is_retriable() => {
                    let Some(pause) = pauses.next() else { return Err(error) };
                    debug!(%error, ?pause, "transfer failed; trying again");
                    progress.message(format!("Retry in {}s because of error: {error}", pause.as_secs()));
                    tokio::time::sleep(*pause).await;
                }
                Err(error) => return Err(error),
            }
        }
        let meter = std::mem::replace(&mut *lock(&meter), Meter { done: 0, hashers: Vec::new() });
        expected.iter().zip(meter.hashers).try_for_each(|(expected, hasher)| expected.check(hasher))?;
        progress.finish();
        Ok(meter.done)
    }

    async fn sink(&self, place: &Place) -> Result<Sink, TransferError> {
        Ok(match place {
            Place::Http(url) => Sink::Http(url.clone()),
            Place::Gftp { node, name } => Sink::Gftp(gftp::Remote::new(self.bus()?, *node, name)),
            Place::Container(path) => {
                let (volumes, path) = (self.volumes.clone(), path.clone());
                Sink::File(blocking(move || volumes.open(&path, OpenMode::Write)).await?)
            }
        })
    }

    async fn consume(
        &self,
        sink: &mut Sink,
        offset: u64,
        mut stream: BoxStream<'static, Result<Bytes, TransferError>>,
    ) -> Result<(), TransferError> {
        match sink {
            Sink::File(file) => {
                let mut file = file.try_clone()?;
                file.set_len(offset)?;
                file.seek(SeekFrom::Start(offset))?;
                let mut file = tokio::fs::File::from_std(file);
                while let Some(bytes) = stream.try_next().await? {
                    file.write_all(&bytes).await?;
                }
                file.flush().await?;
                Ok(())
            }
            Sink::Http(url) => {
                // The client hides why its body failed.
                let cause = Arc::new(Mutex::new(None));
                let kept = Arc::clone(&cause);
                let body = stream.map_err(move |error| {
                    let shown = TransferError::io(error.to_string());
                    *lock(&kept) = Some(error);
                    shown
                });
                let put = http::put(&self.http, url, body).await;
                let cause = lock(&cause).take();
                put.map_err(|error| cause.unwrap_or(error))
            }
            Sink::Gftp(remote) => remote.upload(stream).await,
        }
    }

    fn bus(&self) -> Result<Bus, TransferError> {
        self.bus.clone().ok_or_else(|| TransferError::Scheme("gftp without a service bus".into()))
    }
}

enum Sink {
    File(File),
    Http(reqwest::Url),
    Gftp(gftp::Remote),
}

impl Sink {
    const fn can_resume(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

trait Source: Sync {
    fn open(&self, offset: u64) -> impl Future<Output = Result<Opened, TransferError>> + Send;

    /// What the content must hash to although nobody asked.
    fn implied_digest(&self) -> Option<Expected> {
        None
    }
}

struct PlaceSource<'a> {
    transfers: &'a Transfers,
    place: &'a Place,
}

impl Source for PlaceSource<'_> {
    async fn open(&self, offset: u64) -> Result<Opened, TransferError> {
        match self.place {
            Place::Http(url) => http::open(&self.transfers.http, url, offset).await,
            Place::Gftp { node, name } => gftp::Remote::new(self.transfers.bus()?, *node, name).open(offset).await,
            Place::Container(path) => {
                let (volumes, path) = (self.transfers.volumes.clone(), path.clone());
                let file = blocking(move || volumes.open(&path, OpenMode::Read)).await?;
                FileSource(Arc::new(file)).open(offset).await
            }
        }
    }

    fn implied_digest(&self) -> Option<Expected> {
        match self.place {
            Place::Gftp { name, .. } => Expected::of_file_name(name),
            _ => None,
        }
    }
}

struct FileSource(Arc<File>);

impl Source for FileSource {
    async fn open(&self, offset: u64) -> Result<Opened, TransferError> {
        let mut file = self.0.try_clone()?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(offset))?;
        let reader = ReaderStream::with_capacity(tokio::fs::File::from_std(file), FILE_CHUNK_BYTES);
        let stream = reader.map_err(TransferError::Io).boxed();
        Ok(Opened { offset, size: Some(size), resumable: true, stream })
    }
}

struct Meter {
    done: u64,
    hashers: Vec<Hasher>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file without a name, gone when it is closed.
fn tempfile(dir: &Path) -> Result<File, TransferError> {
    let path = dir.join(format!(".transfer-{}", uuid::Uuid::new_v4()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TransferError> + Send + 'static,
) -> Result<T, TransferError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| TransferError::io(error.to_string()))?
}

/// Cuts a stream into pieces of `size` bytes; the last may be shorter.
pub(crate) fn rechunk(
    stream: BoxStream<'static, Result<Bytes, TransferError>>,
    size: usize,
) -> impl Stream<Item = Result<Vec<u8>, TransferError>> + Send + Unpin {
    futures::stream::try_unfold((stream, Bytes::new()), move |(mut stream, mut rest)| async move {
        let mut piece = Vec::with_capacity(size.min(rest.len().max(4096)));
        loop {
            let take = rest.len().min(size - piece.len());
            piece.extend_from_slice(&rest.split_to(take));
            if piece.len() == size {
                break;
            }
            match stream.try_next().await? {
                Some(more) => rest = more,
                None => break,
            }
        }
        Ok((!piece.is_empty()).then_some((piece, (stream, rest))))
    })
    .boxed()
}
