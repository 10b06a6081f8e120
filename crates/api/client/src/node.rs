//! Who we are and how the node stands in the network.

use golem_model::NodeId;
use serde::Deserialize;

use crate::http::Api;
use crate::{Client, RestError};

/// Answer of `GET /me`: the identity behind the app key.
#[derive(Clone, Debug, Deserialize)]
pub struct Me {
    pub identity: NodeId,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub role: Option<String>,
}

/// Answer of `GET /net-api/v2/net/status`, as far as anybody reads it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetStatus {
    #[serde(default)]
    pub public_ip: Option<String>,
    #[serde(default)]
    pub sessions: u64,
}

impl Client {
    pub async fn me(&self) -> Result<Me, RestError> {
        self.get(Api::Identity, "/me").json().await
    }

    pub async fn net_status(&self) -> Result<NetStatus, RestError> {
        self.get(Api::Net, "/net/status").json().await
    }

    /// Version text of the daemon; needs no key.
    pub async fn version(&self) -> Result<serde_json::Value, RestError> {
        self.get(Api::Version, "/get").json().await
    }
}
