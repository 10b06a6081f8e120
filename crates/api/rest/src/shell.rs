//! What happens to a request around its route: preflight, authorization, `/me`, routing, CORS.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::auth::bearer;
use crate::{AppKeys, Cors};

/// Paths that need no key: plain prefixes, as in the official daemon, and our own.
const OPEN: [&str; 6] = ["/metrics-api", "/version/get", "/dashboard", "/health/", "/openapi.json", "/docs"];

/// All routes of a node behind one door. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shell(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    keys: AppKeys,
    cors: Cors,
    routes: Router,
}

impl Shell {
    /// `routes` are mounted at their full paths; `/me` is the shell's own.
    pub fn new(keys: AppKeys, cors: Cors, routes: Router) -> Self {
        Self(Arc::new(Inner { keys, cors, routes }))
    }

    /// Serves one request.
    pub async fn handle(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        self.answer(request.map(|body| Body::new(body.map_err(axum::Error::new)))).await
    }

    /// The same for a request that did not come over a socket.
    pub async fn answer(&self, mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let Inner { keys, cors, routes } = &*self.0;
        if let Some(response) = cors.preflight(request.method(), request.headers(), keys) {
            return Ok(response);
        }
        let origin = request.headers().get(header::ORIGIN).cloned();
        let open =
            request.uri().path_and_query().is_some_and(|path| OPEN.iter().any(|open| path.as_str().starts_with(open)));
        let identity = if open { None } else { Some(keys.identify(request.headers(), request.uri())) };
        let identity = match identity.transpose() {
            Ok(identity) => identity,
            Err(refusal) => {
                let mut response = refusal.into_response();
                Cors::decorate(response.headers_mut(), origin.filter(|origin| cors.allows_open(origin, keys)));
                return Ok(response);
            }
        };
        let allow = origin.filter(|origin| match &identity {
            Some(identity) => cors.allows(origin, bearer(request.headers()).map(|_| identity)),
            None => cors.allows_open(origin, keys),
        });
        let mut response = match identity {
            Some(identity) if request.uri().path() == "/me" && request.method() == Method::GET => me(identity.me()),
            identity => {
                if let Some(identity) = identity {
                    request.extensions_mut().insert(identity);
                }
                routes.clone().oneshot(request).await?
            }
        };
        if response.status() == StatusCode::METHOD_NOT_ALLOWED && response.headers().contains_key(header::ALLOW) {
            // Clients know a wrong method as an unknown path.
            response = StatusCode::NOT_FOUND.into_response();
        }
        Cors::decorate(response.headers_mut(), allow);
        Ok(response)
    }
}

fn me(body: bytes::Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
