//! Who asks: the table of app keys and the identity it proves (spec 21 §5).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use bytes::Bytes;
use golem_model::NodeId;
use golem_model::app_key::{AppKey, ROLE};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::ApiError;

/// The identity that a request acts as, proved by its app key.
///
/// As an argument of a handler it is 401 for requests without one. Tests of routes may put one in by
/// `router.layer(axum::Extension(Identity::new(node_id, "test")))`.
#[derive(Clone, Debug)]
pub struct Identity {
    pub node_id: NodeId,
    /// Name of the app key.
    pub name: Arc<str>,
    pub role: Arc<str>,
    origins: Arc<[String]>,
    me: Bytes,
}

impl Identity {
    pub fn new(node_id: NodeId, name: &str) -> Self {
        Self::with(node_id, name, ROLE, &[])
    }

    fn with(node_id: NodeId, name: &str, role: &str, origins: &[String]) -> Self {
        let me = json!({ "identity": node_id, "name": name, "role": role }).to_string();
        Self { node_id, name: name.into(), role: role.into(), origins: origins.into(), me: me.into() }
    }

    /// Body of `GET /me`, made once per key.
    pub(crate) fn me(&self) -> Bytes {
        self.me.clone()
    }

    pub(crate) fn allows_origin(&self, origin: &str) -> bool {
        allowed(&self.origins, origin)
    }
}

impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get().cloned().ok_or_else(missing)
    }
}

/// The keys that open the REST door, shared by the service that stores them and the shell that checks them.
///
/// Keys are looked up by their SHA-256, so the time of a look-up tells nothing about how near a guess was.
#[derive(Clone, Default)]
pub struct AppKeys(Arc<RwLock<HashMap<[u8; 32], Identity>>>);

impl std::fmt::Debug for AppKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AppKeys({})", self.len())
    }
}

impl AppKeys {
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on `key` is accepted.
    pub fn insert(&self, key: &AppKey) {
        let identity = Identity::with(key.identity, &key.name, &key.role, &key.allow_origins);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(digest(&key.key), identity);
    }

    /// From now on `key` is refused.
    pub fn remove(&self, key: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&digest(key));
    }

    pub fn get(&self, key: &str) -> Option<Identity> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&digest(key)).cloned()
    }

    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether any key names `origin`.
    pub(crate) fn any_allows_origin(&self, origin: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().any(|identity| identity.allows_origin(origin))
    }

    /// The identity behind a request, or its 401. A wrong Bearer is not rescued by a right `authToken`.
    pub(crate) fn identify(&self, headers: &HeaderMap, uri: &Uri) -> Result<Identity, ApiError> {
        if let Some(key) = bearer(headers) {
            return self.get(key).ok_or_else(invalid);
        }
        let key = auth_token(uri).ok_or_else(missing)?;
        self.get(&key).ok_or_else(invalid)
    }
}

/// Whether `list` names `origin` or allows all.
pub(crate) fn allowed(list: &[String], origin: &str) -> bool {
    list.iter().any(|allowed| allowed == "*" || allowed == origin)
}

/// The token of an `Authorization: Bearer …` header, scheme in any case.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn auth_token(uri: &Uri) -> Option<String> {
    #[derive(Deserialize)]
    struct Token {
        #[serde(rename = "authToken")]
        auth_token: String,
    }
    uri.query()?.contains("authToken=").then_some(())?;
    axum::extract::Query::<Token>::try_from_uri(uri).ok().map(|token| token.0.auth_token)
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn missing() -> ApiError {
    ApiError::text(StatusCode::UNAUTHORIZED, "Missing application key")
}

fn invalid() -> ApiError {
    ApiError::text(StatusCode::UNAUTHORIZED, "Invalid application key")
}
