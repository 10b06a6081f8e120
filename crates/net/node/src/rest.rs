//! `GET /net-api/v2/net/status` (spec 11 §11).

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use golem_api_rest::{ApiError, Identity};
use serde::Serialize;

use crate::Handle;
use crate::engine::shown;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NetStatus {
    node_id: golem_model::NodeId,
    listen_ip: Option<String>,
    public_ip: Option<String>,
    sessions: usize,
}

/// Routes below `/net-api/v2/net`.
pub fn routes(handle: Handle) -> Router {
    Router::new().route("/status", get(status)).with_state(handle)
}

async fn status(State(handle): State<Handle>, _who: Identity) -> Result<Json<NetStatus>, ApiError> {
    let status =
        handle.status().await.map_err(|error| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(Json(NetStatus {
        node_id: status.node_id,
        listen_ip: shown(status.listen_address),
        public_ip: shown(status.public_address),
        sessions: status.sessions,
    }))
}
