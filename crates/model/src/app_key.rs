//! Messages of the app key service (spec 21 §4).

use chrono::NaiveDateTime;
use serde::{Deserialize, Serialize};

use crate::call::calls;
use crate::{Call, NodeId};

pub const ADDRESS: &str = "/local/appkey";

/// The only role there is.
pub const ROLE: &str = "manager";

/// An access key for REST; whoever shows it acts as `identity`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppKey {
    pub name: String,
    pub key: String,
    pub role: String,
    pub identity: NodeId,
    pub created_date: NaiveDateTime,
    #[serde(default)]
    pub allow_origins: Vec<String>,
}

impl std::fmt::Debug for AppKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AppKey({} of {})", self.name, self.identity)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("appkey error [{code}]: {message}")]
#[expect(clippy::error_impl_error, reason = "the name on the wire of the theme")]
pub struct Error {
    pub code: u32,
    pub message: String,
}

impl Error {
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub fn not_found() -> Self {
        Self::new(500, "DAO error: NotFound")
    }
}

/// Makes a key, or answers the one that this name and identity have already.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Create {
    pub name: String,
    pub role: String,
    pub identity: NodeId,
    #[serde(default)]
    pub allow_origins: Vec<String>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Get {
    pub key: String,
}

impl std::fmt::Debug for Get {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Get(…)")
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GetByName {
    pub name: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct List {
    pub identity: Option<String>,
    /// From 1.
    pub page: u32,
    pub per_page: u32,
}

impl Call for List {
    const ID: &'static str = "List";
    /// The keys of the page and the number of pages.
    type Item = (Vec<AppKey>, u32);
    type Error = Error;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Remove {
    pub name: String,
    pub identity: Option<String>,
}

/// Asks to send each [`Event`] to `<endpoint>/AppKey__Event`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subscribe {
    pub endpoint: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    NewKey(AppKey),
    DroppedKey(AppKey),
}

calls! {
    Create -> String, Error;
    Get -> AppKey, Error;
    GetByName -> AppKey, Error;
    Remove -> (), Error;
    Subscribe -> u64, Error;
    Event as "AppKey__Event" -> (), Error;
}
