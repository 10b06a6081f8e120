//! A published file or an upload slot of another node.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use golem_bus::{Bus, CallError};
use golem_model::address::{Channel, remote};
use golem_model::gftp::{self, Chunk, GetChunk, GetMetadata, GftpError, UploadChunk, UploadFinished};
use golem_model::{Call, Caller, NodeId};
use sha3::{Digest, Sha3_256};
use tokio_util::io::ReaderStream;

use crate::TransferError;
use crate::copy::{Opened, rechunk};

/// Time for one answer, which may have to wait for the pieces before it.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Pieces asked for ahead.
const IN_FLIGHT: usize = 8;
const DOWNLOAD_CHUNK_BYTES: u64 = 128 * 1024;
const UPLOAD_CHUNK_BYTES: usize = 128 * 1024;
/// Slots of the gftp program have names of this length, and take pieces in any order.
const SLOT_NAME_LEN: usize = 65;
/// Some publishers keep the order of arrival, whatever the offsets say: they get one piece at a time, and larger ones.
const ORDERED_CHUNK_BYTES: usize = 512 * 1024;

#[derive(Clone, Debug)]
pub struct Remote {
    bus: Bus,
    service: String,
    ordered: bool,
}

impl Remote {
    pub fn new(bus: Bus, node: NodeId, name: &str) -> Self {
        let service = remote(Channel::Transfer, node, &gftp::address(name));
        Self { bus, service, ordered: name.len() != SLOT_NAME_LEN }
    }

    async fn call<C: Call<Error = GftpError>>(&self, call: C) -> Result<C::Item, CallError<GftpError>> {
        self.bus.call(&self.service, Caller::local(), call, CALL_TIMEOUT).await
    }

    pub(crate) async fn open(&self, offset: u64) -> Result<Opened, TransferError> {
        let size = self.call(GetMetadata).await?.file_size;
        let source = self.clone();
        let starts = stream::iter((offset..size).step_by(DOWNLOAD_CHUNK_BYTES.try_into().unwrap_or(usize::MAX)));
        let chunks = starts.map(move |offset| {
            let source = source.clone();
            async move {
                let wanted = DOWNLOAD_CHUNK_BYTES.min(size - offset);
                let chunk = source.call(GetChunk { offset, size: wanted }).await?;
                if chunk.offset != offset || u64::try_from(chunk.content.len()) != Ok(wanted) {
                    return Err(TransferError::Gftp(GftpError::ReadError(format!(
                        "no chunk of {wanted} bytes at {offset}"
                    ))));
                }
                Ok(Bytes::from(chunk.content))
            }
        });
        Ok(Opened { offset, size: Some(size), resumable: true, stream: chunks.buffered(IN_FLIGHT).boxed() })
    }

    /// Uploads a local file.
    pub async fn upload_file(&self, file: tokio::fs::File) -> Result<(), TransferError> {
        self.upload(ReaderStream::with_capacity(file, UPLOAD_CHUNK_BYTES).map_err(TransferError::Io).boxed()).await
    }

    pub(crate) async fn upload(
        &self,
        stream: BoxStream<'static, Result<Bytes, TransferError>>,
    ) -> Result<(), TransferError> {
        let (size, in_flight) = if self.ordered { (ORDERED_CHUNK_BYTES, 1) } else { (UPLOAD_CHUNK_BYTES, IN_FLIGHT) };
        let mut hasher = Sha3_256::new();
        let mut offset = 0u64;
        let sends = rechunk(stream, size).map_ok(|content| {
            hasher.update(&content);
            let chunk = Chunk { offset, content };
            offset += u64::try_from(chunk.content.len()).unwrap_or_default();
            let sink = self.clone();
            async move { Ok(sink.call(UploadChunk { chunk }).await?) }
        });
        sends.try_buffer_unordered(in_flight).try_for_each(|()| async { Ok(()) }).await?;
        let hash = Some(hex::encode(hasher.finalize()));
        Ok(self.call(UploadFinished { hash }).await?)
    }
}
