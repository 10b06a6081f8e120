//! FlexBuffers, the encoding of every typed message (spec 20 §5.3).
//!
//! The writer gives the bytes of the reference writer. The reader is for bytes of strangers: each length is checked
//! against the bytes that are there before anything is allocated, and depth, visited values and copied text have budgets,
//! because a small buffer can point many times at one sub-tree.

mod deserialize;
mod read;
mod serialize;
mod value;
mod write;

use serde::Serialize;
use serde::de::Deserialize;

pub use read::{DEPTH_MAX, ReadError};
pub use value::Value;

/// Why a value has no bytes, or bytes no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::error_impl_error, reason = "flexbuf::Error, as in serde_json::Error")]
pub enum Error {
    /// The bytes are not a well-formed buffer.
    #[error("Flexbuffer Read Error: {0}")]
    Read(#[from] ReadError),
    /// The bytes hold something else than the type asks for.
    #[error("Serde Error: {0}")]
    Serde(String),
    #[error("keys of a map must be strings without NUL")]
    Key,
}

impl serde::ser::Error for Error {
    fn custom<T: std::fmt::Display>(text: T) -> Self {
        Self::Serde(text.to_string())
    }
}

impl serde::de::Error for Error {
    fn custom<T: std::fmt::Display>(text: T) -> Self {
        Self::Serde(text.to_string())
    }
}

/// Writes `value` as a buffer of its own.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut writer = write::Writer::default();
    value.serialize(&mut writer)?;
    Ok(writer.finish())
}

/// Reads one value from `bytes`, which may come from anybody.
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Error> {
    let budget = read::Budget::for_buffer(bytes.len());
    T::deserialize(deserialize::Reader::root(bytes, &budget)?)
}

/// Numbers of the types that stand in packed type bytes.
mod kind {
    pub(super) const NULL: u8 = 0;
    pub(super) const INT: u8 = 1;
    pub(super) const UINT: u8 = 2;
    pub(super) const FLOAT: u8 = 3;
    pub(super) const KEY: u8 = 4;
    pub(super) const STRING: u8 = 5;
    pub(super) const INDIRECT_INT: u8 = 6;
    pub(super) const INDIRECT_UINT: u8 = 7;
    pub(super) const INDIRECT_FLOAT: u8 = 8;
    pub(super) const MAP: u8 = 9;
    pub(super) const VECTOR: u8 = 10;
    pub(super) const VECTOR_INT: u8 = 11;
    pub(super) const VECTOR_UINT: u8 = 12;
    pub(super) const VECTOR_FLOAT: u8 = 13;
    pub(super) const VECTOR_KEY: u8 = 14;
    /// First of the nine vectors of fixed length: 2, 3, 4 elements of Int, UInt, Float each.
    pub(super) const FIXED_FIRST: u8 = 16;
    pub(super) const FIXED_LAST: u8 = 24;
    pub(super) const BLOB: u8 = 25;
    pub(super) const BOOL: u8 = 26;
    pub(super) const VECTOR_BOOL: u8 = 36;
}
