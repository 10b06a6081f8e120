//! Messages of the version service (spec 22 §5).

use chrono::NaiveDateTime;
use serde::{Deserialize, Serialize};

use crate::call::calls;

pub const ADDRESS: &str = "/local/version";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    pub version: String,
    pub name: String,
    pub seen: bool,
    pub release_ts: NaiveDateTime,
    pub insertion_ts: Option<NaiveDateTime>,
    pub update_ts: Option<NaiveDateTime>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    pub current: Release,
    /// The newest release above `current`.
    pub pending: Option<Release>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
#[expect(clippy::error_impl_error, reason = "the name on the wire of the theme")]
pub struct Error {
    pub message: String,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Check {
    /// Ask the release server first.
    pub check: bool,
}

/// Marks the pending release as seen. On the wire the empty sequence.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Skip();

calls! {
    Check as "check" -> VersionInfo, Error;
    Skip as "skip" -> Option<Release>, Error;
}
