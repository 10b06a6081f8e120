//! Payments made and received (spec 41 §3.8).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use chrono::{DateTime, Utc};
use golem_api_rest::{ApiError, Identity, Json, Query, checked_timeout};
use golem_model::payment::SignedPayment;
use golem_store::StoreError;
use serde::Deserialize;

use super::events::poll;
use super::{Answer, POLL_TIMEOUT, Shared, limit, not_found, of_store};
use crate::service::{Service, Topic};
use crate::store::payment::{self, Filter};

pub(super) fn routes() -> Router<Arc<Service>> {
    Router::new().route("/payments", get(list)).route("/payments/{id}", get(one))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Which {
    timeout: Option<f64>,
    after_timestamp: Option<DateTime<Utc>>,
    max_events: Option<u32>,
    app_session_id: Option<String>,
    network: Option<String>,
    driver: Option<String>,
}

async fn list(
    State(service): Shared,
    identity: Identity,
    Query(query): Query<Which>,
) -> Answer<Json<Vec<SignedPayment>>> {
    let time = checked_timeout(query.timeout, POLL_TIMEOUT)?;
    let drivers = service.registry.drivers();
    if let Some(name) = query.driver.as_ref().filter(|name| !drivers.contains_key(*name)) {
        return Err(ApiError::not_found(format!("Requested driver not registered {name}")));
    }
    let offered = |name: &String| drivers.values().any(|driver| driver.networks.contains_key(name));
    if let Some(name) = query.network.as_ref().filter(|name| !offered(name)) {
        return Err(ApiError::not_found(format!("Requested network not supported {name}")));
    }
    let filter = Filter {
        owner: identity.node_id,
        after: query.after_timestamp,
        max: limit(query.max_events),
        session: query.app_session_id,
        driver: query.driver,
        network: query.network,
    };
    poll(&service, (identity.node_id, Topic::Payments), time, move |db| payment::list(db, &filter)).await
}

async fn one(State(service): Shared, identity: Identity, Path(id): Path<String>) -> Answer<Json<SignedPayment>> {
    let owner = identity.node_id;
    let found = service.store.read(move |db| Ok::<_, StoreError>(payment::get(db, owner, &id, None)?)).await;
    found.map_err(|error| of_store(&error))?.map(Json).ok_or_else(not_found)
}
