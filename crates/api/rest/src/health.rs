//! `/health/live` and `/health/ready`: what this node can do now, and why not.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::future::{BoxFuture, join_all};
use serde_json::json;

/// A check that takes longer has failed.
const CHECK_TIME_MAX: Duration = Duration::from_secs(2);

/// Answers whether one part works; the error says why not, in words for the operator.
pub type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The named checks of this node.
#[derive(Clone, Default)]
pub struct Health(Arc<RwLock<Vec<(&'static str, Check)>>>);

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(checks.iter().map(|(name, _)| name)).finish()
    }
}

impl Health {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check; the node is ready when all pass.
    pub fn register<F, Fut>(&self, name: &'static str, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let check: Check = Arc::new(move || Box::pin(check()));
        self.0.write().unwrap_or_else(PoisonError::into_inner).push((name, check));
    }

    /// Runs all checks side by side.
    pub async fn run(&self) -> Vec<(&'static str, Result<(), String>)> {
        let checks = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        join_all(checks.into_iter().map(|(name, check)| async move {
            let result = tokio::time::timeout(CHECK_TIME_MAX, check()).await;
            (name, result.unwrap_or_else(|_| Err(format!("no answer within {} s", CHECK_TIME_MAX.as_secs()))))
        }))
        .await
    }

    /// `/live` and `/ready`, to be mounted at `/health`.
    pub fn routes(&self) -> Router {
        let health = self.clone();
        Router::new()
            .route("/live", get(|| async { Json(json!({ "status": "live" })) }))
            .route("/ready", get(move || async move { health.ready().await }))
    }

    async fn ready(&self) -> Response {
        let results = self.run().await;
        let ready = results.iter().all(|(_, result)| result.is_ok());
        let checks: Vec<_> = results
            .into_iter()
            .map(|(name, result)| match result {
                Ok(()) => json!({ "name": name, "ok": true }),
                Err(reason) => json!({ "name": name, "ok": false, "reason": reason }),
            })
            .collect();
        let (status, word) =
            if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
        (status, Json(json!({ "status": word, "checks": checks }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ready_names_the_part_that_is_not() {
        let health = Health::new();
        health.register("identity", || async { Ok(()) });
        health.register("net", || async { Err("no relay session".to_owned()) });
        health.register("chain", std::future::pending);
        let response = health.routes().oneshot(Request::get("/ready").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 503);
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&body).unwrap(),
            json!({ "status": "not ready", "checks": [
                { "name": "identity", "ok": true },
                { "name": "net", "ok": false, "reason": "no relay session" },
                { "name": "chain", "ok": false, "reason": "no answer within 2 s" },
            ]})
        );
    }
}
