//! The paths of the REST server (spec 22 §3): those of the services at their mounts, and the daemon's own.

use axum::routing::get;
use axum::{Json, Router};
use golem_api_rest::{ApiError, Health, Metrics};
use golem_bus::Bus;
use golem_model::Caller;
use golem_model::net::{self, Status};
use golem_model::version::VersionInfo;
use serde_json::{Value, json};

use super::healthcheck;

/// Nothing here waits for other nodes.
const ANSWER_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(5);

pub(crate) fn routes(bus: &Bus, version: &VersionInfo, metrics: &Metrics, health: &Health, services: Router) -> Router {
    let version = serde_json::to_value(version).unwrap_or_default();
    let (for_status, for_health) = (bus.clone(), bus.clone());
    services
        .route("/version/get", get(move || async move { Json(version.clone()) }))
        .route("/net-api/v2/net/status", get(move || async move { net_status(&for_status).await }))
        .route("/healthcheck", get(move || async move { healthcheck::answer(&for_health).await }))
        .nest("/metrics-api/v1", metrics.routes(|| true))
        .nest("/health", health.routes())
        .route("/dashboard", get(|| async { no_dashboard("") }))
        .route(
            "/dashboard/{*path}",
            get(|axum::extract::Path(path): axum::extract::Path<String>| async move { no_dashboard(&path) }),
        )
}

async fn net_status(bus: &Bus) -> Result<Json<Value>, ApiError> {
    let status = bus
        .call(net::ADDRESS, Caller::local(), Status {}, ANSWER_TIME_MAX)
        .await
        .map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(Json(json!({
        "nodeId": status.node_id,
        "listenIp": status.listen_address.map(|address| address.to_string()),
        "publicIp": status.public_address.map(|address| address.to_string()),
        "sessions": status.sessions,
    })))
}

fn no_dashboard(path: &str) -> ApiError {
    let text = if path.is_empty() { "404 Not Found".to_owned() } else { format!("404 Not Found: {path}") };
    ApiError::text(axum::http::StatusCode::NOT_FOUND, text)
}
