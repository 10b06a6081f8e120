//! Framing: unsigned LEB128 length, then the message (spec 52 §3.1).

use std::io;

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest message that is read. Official runtimes send output in pieces of at most some 64 KiB.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// Bytes of the longest length that can be legal.
const LENGTH_BYTES_MAX: usize = 5;

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("cannot read a message of the runtime protocol")]
    Io(#[from] io::Error),
    #[error("a message of {0} bytes is longer than the limit of {FRAME_BYTES_MAX}")]
    TooLong(u64),
    #[error(
        "the length of a message has more than {LENGTH_BYTES_MAX} bytes; hint: a runtime must print nothing but messages on its stdout"
    )]
    Length,
    #[error("not a message of the runtime protocol; hint: a runtime must print nothing but messages on its stdout")]
    Decode(#[from] prost::DecodeError),
}

/// A message with its length in front.
pub fn encode(message: &impl Message) -> Vec<u8> {
    message.encode_length_delimited_to_vec()
}

/// Reads messages from a stream, buffered.
#[derive(Debug)]
pub struct Reader<R>(tokio::io::BufReader<R>);

impl<R: AsyncRead + Unpin> Reader<R> {
    pub fn new(stream: R) -> Self {
        Self(tokio::io::BufReader::new(stream))
    }

    /// The next message; `None` at a clean end. Not cancel-safe: a dropped call may lose part of a message.
    pub async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, FrameError> {
        let mut length = 0u64;
        for index in 0..LENGTH_BYTES_MAX {
            let byte = match self.0.read_u8().await {
                Ok(byte) => byte,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && index == 0 => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            length |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return self.body(length).await.map(Some);
            }
        }
        Err(FrameError::Length)
    }

    async fn body<M: Message + Default>(&mut self, length: u64) -> Result<M, FrameError> {
        let fits = usize::try_from(length).ok().filter(|length| *length <= FRAME_BYTES_MAX);
        fits.ok_or(FrameError::TooLong(length))?;
        // Grows with what arrives, not with what is announced.
        let mut body = Vec::new();
        let read = (&mut self.0).take(length).read_to_end(&mut body).await?;
        if u64::try_from(read).ok() != Some(length) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(M::decode(body.as_slice())?)
    }
}
