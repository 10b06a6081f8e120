//! One HTTP door of a chain: `POST /` takes JSON-RPC, `GET /donate/<address>` gives coin (spec 42 §7).

use std::sync::Arc;

use alloy_primitives::Address;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::shared::Endpoint;

/// Room for a batch of large transactions.
const BODY_BYTES_MAX: usize = 5 * 1024 * 1024;

pub(crate) async fn serve(listener: TcpListener, endpoint: Arc<Endpoint>, stop: CancellationToken) {
    let routes = Router::new()
        .route("/", post(rpc).options(preflight))
        .route("/donate/{address}", get(donate))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(endpoint);
    let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the chain's HTTP server ended");
    }
}

async fn rpc(State(endpoint): State<Arc<Endpoint>>, body: Bytes) -> Response {
    let reply = match endpoint.answer(&body) {
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(None) => StatusCode::OK.into_response(),
        Some(Some(answer)) => axum::Json(answer).into_response(),
    };
    allow_pages(reply)
}

async fn preflight() -> Response {
    let mut reply = allow_pages(StatusCode::NO_CONTENT.into_response());
    reply.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    reply
}

/// Wallets in a browser may use the chain: nothing on it is worth anything.
fn allow_pages(mut reply: Response) -> Response {
    reply.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    reply
}

async fn donate(State(endpoint): State<Arc<Endpoint>>, Path(address): Path<String>) -> (StatusCode, String) {
    let Ok(address) = address.parse::<Address>() else {
        return (StatusCode::BAD_REQUEST, "not an address".to_owned());
    };
    match endpoint.chain.donate(address) {
        Ok(hash) => (StatusCode::OK, hash.to_string()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}
