//! Cross-origin rules (spec 21 §5.2).

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse;

use crate::auth::allowed;
use crate::{ApiError, AppKeys, Identity};

const METHODS: HeaderValue = HeaderValue::from_static("CONNECT, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, TRACE");
const VARY: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");

/// Origins that every key accepts, and how long a browser may remember a preflight.
#[derive(Clone, Debug)]
pub struct Cors {
    pub origins: Vec<String>,
    pub max_age_secs: u64,
}

impl Default for Cors {
    fn default() -> Self {
        Self { origins: Vec::new(), max_age_secs: 3600 }
    }
}

impl Cors {
    /// The answer to a preflight request; `None` for all other requests.
    pub(crate) fn preflight(&self, method: &Method, headers: &HeaderMap, keys: &AppKeys) -> Option<Response<Body>> {
        if method != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let origin = headers.get(header::ORIGIN)?;
        let known =
            origin.to_str().is_ok_and(|origin| allowed(&self.origins, origin) || keys.any_allows_origin(origin));
        if !known {
            let refusal = ApiError::text(StatusCode::BAD_REQUEST, "Origin is not allowed to make this request");
            return Some(refusal.into_response());
        }
        let mut response = StatusCode::OK.into_response();
        let out = response.headers_mut();
        out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        out.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        out.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age_secs));
        if let Some(wanted) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        out.insert(header::VARY, VARY);
        Some(response)
    }

    /// Whether a request that acts as `key` may be read from `origin`. Only the key of a Bearer header counts.
    pub(crate) fn allows(&self, origin: &HeaderValue, key: Option<&Identity>) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        allowed(&self.origins, origin) || key.is_some_and(|key| key.allows_origin(origin))
    }

    /// Whether answers that tell nothing of an identity (401 and open paths) may be read from `origin`: a page then
    /// sees the refusal instead of a network error.
    pub(crate) fn allows_open(&self, origin: &HeaderValue, keys: &AppKeys) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        allowed(&self.origins, origin) || keys.any_allows_origin(origin)
    }

    pub(crate) fn decorate(headers: &mut HeaderMap, allow: Option<HeaderValue>) {
        headers.insert(header::VARY, VARY);
        if let Some(origin) = allow {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
    }
}
