//! Messages of file transfer between nodes (spec 53 §3).

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::call::calls;

/// Address prefix of published files and upload slots on their node.
pub const ADDRESS_PREFIX: &str = "/public/gftp";

/// Address of the published file or upload slot `name`.
pub fn address(name: &str) -> String {
    format!("{ADDRESS_PREFIX}/{name}")
}

/// Content that one chunk may carry.
pub const CHUNK_BYTES_MAX: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum GftpError {
    #[error("read error: {0}")]
    ReadError(String),
    #[error("write error: {0}")]
    WriteError(String),
    #[error("integrity error")]
    IntegrityError,
    #[error("internal error: {0}")]
    InternalError(String),
}

/// Asks for the size of a published file. Null on the bus; an empty map is understood as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct GetMetadata;

impl Serialize for GetMetadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for GetMetadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Empty;
        impl<'de> Visitor<'de> for Empty {
            type Value = GetMetadata;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("null or an empty map")
            }
            fn visit_unit<E>(self) -> Result<GetMetadata, E> {
                Ok(GetMetadata)
            }
            fn visit_none<E>(self) -> Result<GetMetadata, E> {
                Ok(GetMetadata)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GetMetadata, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(GetMetadata)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<GetMetadata, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(GetMetadata)
            }
        }
        deserializer.deserialize_any(Empty)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub file_size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetChunk {
    pub offset: u64,
    pub size: u64,
}

/// A piece of a file; shorter than asked for at its end.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    pub offset: u64,
    #[serde(with = "serde_bytes")]
    pub content: Vec<u8>,
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} B at {})", self.content.len(), self.offset)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadChunk {
    pub chunk: Chunk,
}

/// Ends an upload; `hash` is the SHA3-256 of the whole content in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadFinished {
    #[serde(default)]
    pub hash: Option<String>,
}

calls! {
    GetMetadata -> Metadata, GftpError;
    GetChunk -> Chunk, GftpError;
    UploadChunk -> (), GftpError;
    UploadFinished -> (), GftpError;
}
