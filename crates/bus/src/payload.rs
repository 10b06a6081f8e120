//! The body of a call or reply: bytes, or a value of this process that is encoded only when it has to leave it.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::io::Read;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::flexbuf;

/// Most that a compressed body may grow to; the same as the largest frame, so that compression cannot carry more.
pub const INFLATED_BYTES_MAX: usize = 64 << 20;

/// Body of a call or of a reply.
pub struct Payload(Inner);

enum Inner {
    Bytes(Bytes),
    Value(Box<dyn Encode>),
}

trait Encode: Send + Sync {
    fn encode(&self) -> Result<Vec<u8>, flexbuf::Error>;
    fn as_any(&self) -> &dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Serialize + Send + Sync + 'static> Encode for T {
    fn encode(&self) -> Result<Vec<u8>, flexbuf::Error> {
        flexbuf::to_vec(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// Why a body is not the value that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    #[error("Bad content: {0}")]
    Content(#[from] flexbuf::Error),
    #[error("Bad content: inflates to more than {INFLATED_BYTES_MAX} bytes")]
    TooLarge,
}

impl Payload {
    /// A value that stays as it is as long as it stays in this process.
    pub fn value<T: Serialize + Send + Sync + 'static>(value: T) -> Self {
        Self(Inner::Value(Box::new(value)))
    }

    pub const fn empty() -> Self {
        Self(Inner::Bytes(Bytes::new()))
    }

    /// Whether these are zero bytes; a value never is.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Inner::Bytes(bytes) if bytes.is_empty())
    }

    /// Whether this process would do the encoding. Only what a node encodes itself may it compress (spec 20 §5.2).
    pub const fn is_value(&self) -> bool {
        matches!(self.0, Inner::Value(_))
    }

    /// The bytes for the wire, uncompressed when this process encodes them.
    pub fn into_bytes(self) -> Result<Bytes, flexbuf::Error> {
        match self.0 {
            Inner::Bytes(bytes) => Ok(bytes),
            Inner::Value(value) => value.encode().map(Bytes::from),
        }
    }

    /// The value itself, or what its bytes say.
    pub fn take<T: DeserializeOwned + 'static>(self) -> Result<T, PayloadError> {
        match self.0 {
            Inner::Value(value) if value.as_any().is::<T>() => match value.into_any().downcast() {
                Ok(value) => Ok(*value),
                Err(_) => Err(flexbuf::Error::Serde("a value of another type".into()).into()),
            },
            Inner::Value(value) => decode(&value.encode()?),
            Inner::Bytes(bytes) => decode(&bytes),
        }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self(Inner::Bytes(bytes))
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Inner::Bytes(bytes.into()))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Bytes(bytes) => write!(f, "Payload({} bytes)", bytes.len()),
            Inner::Value(_) => f.write_str("Payload(a value)"),
        }
    }
}

/// Reads a typed body, compressed or not.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PayloadError> {
    Ok(flexbuf::from_slice(&inflate(bytes)?)?)
}

/// What a zlib stream holds, or the bytes themselves when they are none.
pub fn inflate(bytes: &[u8]) -> Result<Cow<'_, [u8]>, PayloadError> {
    let [cmf, flags, ..] = bytes else { return Ok(Cow::Borrowed(bytes)) };
    if cmf & 0x0f != 8 || u16::from_be_bytes([*cmf, *flags]) % 31 != 0 {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut inflated = Vec::new();
    let limit = u64::try_from(INFLATED_BYTES_MAX).unwrap_or(u64::MAX);
    match flate2::read::ZlibDecoder::new(bytes).take(limit + 1).read_to_end(&mut inflated) {
        Ok(len) if len > INFLATED_BYTES_MAX => Err(PayloadError::TooLarge),
        Ok(_) => Ok(Cow::Owned(inflated)),
        // Bytes that only look like the start of a zlib stream.
        Err(_) => Ok(Cow::Borrowed(bytes)),
    }
}

/// The zlib form that official nodes send each other (RFC 1950, level 6).
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::new();
    let mut reader = flate2::read::ZlibEncoder::new(bytes, flate2::Compression::new(6));
    match reader.read_to_end(&mut deflated) {
        Ok(_) => deflated,
        Err(_) => bytes.to_vec(),
    }
}
