//! The REST face, spec 41. Paths are relative to `/payment-api/v1`.

mod accounts;
mod allocations;
mod books;
mod documents;
mod events;
mod payments;
mod problem;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use golem_api_rest::{ApiError, Json, checked_timeout};
use golem_store::StoreError;
use serde::Deserialize;
use tracing::error;

use crate::Handle;
use crate::error::OpError;
use crate::service::Service;

/// How long an action waits for the peer.
const ACTION_TIMEOUT: Duration = Duration::from_secs(15);
const POLL_TIMEOUT: Duration = Duration::from_secs(5);

/// What the handlers share.
type Shared = axum::extract::State<Arc<Service>>;
type Answer<T> = Result<T, ApiError>;

/// All routes of the payment interface, to be mounted at `/payment-api/v1`.
pub fn routes(handle: Handle) -> Router {
    Router::new()
        .merge(accounts::routes())
        .merge(allocations::routes())
        .merge(documents::routes())
        .merge(events::routes())
        .merge(payments::routes())
        .merge(books::routes())
        .with_state(handle.0)
}

/// The body of an action that went well.
const DONE: Json<()> = Json(());

#[derive(Debug, Deserialize)]
struct Timeout {
    timeout: Option<f64>,
}

impl Timeout {
    fn of_action(&self) -> Answer<Duration> {
        checked_timeout(self.timeout, ACTION_TIMEOUT)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    after_timestamp: Option<DateTime<Utc>>,
    max_items: Option<u32>,
}

/// A number of rows as SQL wants it.
fn limit(max: Option<u32>) -> i64 {
    max.map_or(i64::MAX, i64::from)
}

impl From<OpError> for ApiError {
    fn from(error: OpError) -> Self {
        match error {
            OpError::NotFound => Self::null(StatusCode::NOT_FOUND),
            OpError::Gone(text) => Self::new(StatusCode::GONE, text),
            OpError::WrongSide => Self::null(StatusCode::UNAUTHORIZED),
            OpError::Forbidden => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Forbidden"),
            OpError::BadRequest(text) => Self::bad_request(text),
            OpError::Conflict(text) => Self::new(StatusCode::CONFLICT, text),
            OpError::Internal(text) => Self::internal(text),
            OpError::Timeout(text) => Self::new(StatusCode::GATEWAY_TIMEOUT, text),
            OpError::Allocation(problem) => problem::answer(&problem, &serde_json::Value::Null),
            OpError::Store(error) => of_store(&error),
        }
    }
}

fn of_store(error: &StoreError) -> ApiError {
    error!(%error, "the payment database fails");
    ApiError::internal(format!("Database error: {error}"))
}

fn not_found() -> ApiError {
    ApiError::null(StatusCode::NOT_FOUND)
}
