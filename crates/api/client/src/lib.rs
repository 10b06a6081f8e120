//! The daemon's REST interface as typed calls, for programs of either role.
//!
//! [`Client`] holds the endpoints and the app key; its methods are the routes of spec 32, 41 and 50, one method each, and
//! return [`RestError`] whose [`RestError::class`] tells what the caller can do. A long poll that found nothing is an
//! empty list, also where the official daemon says 408 (spec 60 §13).
//! Deliberately absent: retries, loops and cursors, which belong to the programs, and any state but the connection pool.

mod activity;
mod http;
mod market;
mod node;
mod payment;

use std::time::Duration;

pub use activity::{BatchResults, Created, EventStream, ProviderEvent, ProviderEventKind};
use http::Api;
pub use market::{AgreementFilter, OfferStream};
pub use node::{Me, NetStatus};
pub use payment::EventQuery;

/// Address of a daemon that was told nothing (spec 60 §1.3).
pub const DEFAULT_API_URL: &str = "http://127.0.0.1:7465";

/// Where the daemon's interfaces are. Those left out lie under the API URL.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    pub api: Option<String>,
    pub market: Option<String>,
    pub activity: Option<String>,
    pub payment: Option<String>,
    pub net: Option<String>,
    pub identity: Option<String>,
}

impl Endpoints {
    pub fn at(api: impl Into<String>) -> Self {
        Self { api: Some(api.into()), ..Self::default() }
    }

    fn base(&self, api: Api) -> String {
        let (own, path) = match api {
            Api::Market => (&self.market, "/market-api/v1"),
            Api::Activity => (&self.activity, "/activity-api/v1"),
            Api::Payment => (&self.payment, "/payment-api/v1"),
            Api::Net => (&self.net, "/net-api/v2"),
            Api::Identity => (&self.identity, ""),
            Api::Version => (&None, "/version"),
        };
        match own {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("{}{path}", self.api.as_deref().unwrap_or(DEFAULT_API_URL).trim_end_matches('/')),
        }
    }
}

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The daemon or its peer was not reached or was busy: the same call may work later.
    Retry,
    /// The thing asked for is not there, or not any more.
    Gone,
    /// The key is not accepted.
    Key,
    /// The call itself is wrong; repeating it is pointless.
    Wrong,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    #[error("cannot reach the daemon at `{url}`")]
    Connect { url: String, source: reqwest::Error },
    #[error("no answer from `{url}` within {timeout:?}")]
    Silent { url: String, timeout: Duration },
    #[error("`{url}` answered {status}: {message}")]
    Refused { url: String, status: u16, message: String },
    #[error("the answer of `{url}` is not what the protocol says")]
    Answer { url: String, source: serde_json::Error },
    #[error("the answer of `{url}` is longer than {max} bytes")]
    TooLong { url: String, max: usize },
    #[error("cannot encode the request to `{url}`")]
    Request { url: String, source: serde_json::Error },
    #[error("cannot set up the HTTP client")]
    Setup(#[source] reqwest::Error),
}

impl RestError {
    /// The HTTP status, when the daemon answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub fn class(&self) -> Class {
        match self {
            Self::Connect { .. } | Self::Silent { .. } => Class::Retry,
            Self::Refused { status: 401 | 403, .. } => Class::Key,
            Self::Refused { status: 404 | 410, .. } => Class::Gone,
            Self::Refused { status: 408 | 429 | 500..=599, .. } => Class::Retry,
            Self::Refused { .. }
            | Self::Answer { .. }
            | Self::TooLong { .. }
            | Self::Request { .. }
            | Self::Setup(_) => Class::Wrong,
        }
    }

    /// The connection could not even be made: nothing was done at the other side.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect { source, .. } if source.is_connect())
    }
}

/// A daemon, seen with one app key. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    endpoints: Endpoints,
    key: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl Client {
    pub fn new(endpoints: Endpoints, app_key: impl Into<String>) -> Result<Self, RestError> {
        // Another part of the process may have installed it; both install the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(10))
            .build()
            .map_err(RestError::Setup)?;
        Ok(Self { http, endpoints, key: app_key.into() })
    }
}
