//! Messages of the identity service (spec 21 §3).

use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::call::calls;

pub const ADDRESS: &str = "/local/identity";

/// What everybody on this node may know of an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityInfo {
    pub alias: Option<String>,
    pub node_id: NodeId,
    pub is_locked: bool,
    pub is_default: bool,
    #[serde(default)]
    pub deleted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[expect(clippy::error_impl_error, reason = "the name on the wire of the theme")]
pub enum Error {
    #[error("{0}")]
    Init(String),
    #[error("given alias or key already exists")]
    AlreadyExists,
    #[error("no identity {0}")]
    NodeNotFound(NodeId),
    #[error("{0}")]
    InternalErr(String),
    #[error("bad keystore format: {0}")]
    BadKeyStoreFormat(String),
    #[error("invalid password")]
    InvalidPassword,
}

impl Error {
    pub fn internal(error: impl std::fmt::Display) -> Self {
        Self::InternalErr(error.to_string())
    }
}

/// Lists all identities, those dropped since the start included.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct List {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Get {
    ByDefault,
    ByAlias(String),
    ByNodeId(NodeId),
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateGenerated {
    pub alias: Option<String>,
    /// Text of a keystore file; without it a new key with an empty password is made.
    pub from_keystore: Option<String>,
}

impl std::fmt::Debug for CreateGenerated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CreateGenerated({:?}, keystore: {})", self.alias, self.from_keystore.is_some())
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    pub node_id: NodeId,
    /// `None` keeps the alias.
    pub alias: Option<String>,
    #[serde(default)]
    pub set_default: bool,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    pub node_id: NodeId,
    pub set_password: Option<String>,
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lock({})", self.node_id)
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unlock {
    pub node_id: NodeId,
    pub password: String,
}

impl std::fmt::Debug for Unlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unlock({})", self.node_id)
    }
}

/// Signs exactly 32 bytes as they are; the answer is `v ‖ r ‖ s`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sign {
    pub node_id: NodeId,
    pub payload: Vec<u8>,
}

/// Asks for the 64 bytes `x ‖ y`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct GetPubKey(pub NodeId);

/// Asks for the text of the keystore file.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct GetKeyFile(pub NodeId);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DropId {
    pub node_id: NodeId,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum DropIdError {
    #[error("no identity {0}")]
    NodeNotFound(NodeId),
    #[error("default identity cannot be dropped")]
    DefaultIdentity,
    #[error("identity is already deleted")]
    AlreadyDeleted,
    #[error("{0}")]
    InternalErr(String),
}

/// The empty answer `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {}

/// Asks to send each [`Event`] to `<endpoint>/Identity__Event`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subscribe {
    pub endpoint: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unsubscribe {
    pub endpoint: String,
}

/// Sent to subscribers when a key becomes usable or unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    AccountLocked { identity: NodeId },
    AccountUnlocked { identity: NodeId },
}

calls! {
    List -> Vec<IdentityInfo>, Error;
    Get -> Option<IdentityInfo>, Error;
    CreateGenerated -> IdentityInfo, Error;
    Update -> IdentityInfo, Error;
    Lock -> IdentityInfo, Error;
    Unlock -> IdentityInfo, Error;
    Sign -> Vec<u8>, Error;
    GetPubKey -> Vec<u8>, Error;
    GetKeyFile -> String, Error;
    DropId -> IdentityInfo, DropIdError;
    Subscribe -> Ack, Error;
    Unsubscribe -> Ack, Error;
    Event as "Identity__Event" -> (), Error;
}
