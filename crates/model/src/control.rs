//! Message that ends the daemon (spec 22 §10).

use serde::{Deserialize, Serialize};

use crate::call::calls;

pub const ADDRESS: &str = "/local/control";

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ShutdownRequest {
    #[serde(default)]
    pub graceful: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
#[expect(clippy::error_impl_error, reason = "the name on the wire of the theme")]
pub struct Error {
    pub message: String,
}

calls! {
    ShutdownRequest -> (), Error;
}
