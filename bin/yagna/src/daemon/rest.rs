//! The paths of the REST server (spec 22 §3): those of the services at their mounts, and the daemon's own.

use axum::routing::get;
use axum::{Json, Router};
use golem_api_rest::{ApiError, Health, Metrics};
use golem_bus::Bus;
use golem_model::version::VersionInfo;

use super::healthcheck;

pub(crate) fn routes(bus: &Bus, version: &VersionInfo, metrics: &Metrics, health: &Health, services: Router) -> Router {
    let version = serde_json::to_value(version).unwrap_or_default();
    let for_health = bus.clone();
    services
        .route("/version/get", get(move || async move { Json(version.clone()) }))
        .route("/healthcheck", get(move || async move { healthcheck::answer(&for_health).await }))
        .nest("/metrics-api/v1", metrics.routes(|| true))
        .nest("/health", health.routes())
        .route("/dashboard", get(|| async { no_dashboard("") }))
        .route(
            "/dashboard/{*path}",
            get(|axum::extract::Path(path): axum::extract::Path<String>| async move { no_dashboard(&path) }),
        )
}

fn no_dashboard(path: &str) -> ApiError {
    let text = if path.is_empty() { "404 Not Found".to_owned() } else { format!("404 Not Found: {path}") };
    ApiError::text(axum::http::StatusCode::NOT_FOUND, text)
}
