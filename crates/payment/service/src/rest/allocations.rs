//! Allocations (spec 41 §3.1 to §3.5).

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use golem_api_rest::{ApiError, Identity, Json, Query};
use golem_model::payment::{Allocation, AllocationExpenditure, AllocationUpdate, NewAllocation};
use golem_store::StoreError;
use serde::Serialize;

use super::books::{Detail, details};
use super::{Answer, DONE, Page, Shared, not_found, of_store, problem};
use crate::error::OpError;
use crate::store::allocation::{self, Stored};
use crate::store::order::DetailsOf;

pub(super) fn routes() -> Router<std::sync::Arc<crate::service::Service>> {
    Router::new()
        .route("/allocations", get(list).post(create))
        .route("/allocations/{id}", get(one).put(amend).delete(release))
        .route("/allocations/{id}/expenditures", get(expenditures))
        .route("/allocations/{id}/orders", get(orders))
}

/// Refused allocations repeat the request.
fn refused(error: OpError, request: &impl Serialize) -> ApiError {
    match error {
        OpError::Allocation(refusal) => problem::answer(&refusal, &serde_json::to_value(request).unwrap_or_default()),
        error => error.into(),
    }
}

async fn create(
    State(service): Shared,
    identity: Identity,
    Json(new): Json<NewAllocation>,
) -> Answer<(StatusCode, Json<Allocation>)> {
    let made = service.allocate(identity.node_id, new.clone()).await.map_err(|error| refused(error, &new))?;
    Ok((StatusCode::CREATED, Json(made)))
}

async fn list(State(service): Shared, identity: Identity, Query(page): Query<Page>) -> Answer<Response> {
    let known = service.allocations(identity.node_id).await.map_err(|error| of_store(&error))?;
    if page.after_timestamp.is_none() && page.max_items.is_none() {
        return Ok(([(header::CONTENT_TYPE, "application/json")], known.body.clone()).into_response());
    }
    // The cursor is compared with the timeout; a habit of this interface that clients know.
    let younger = known.list.iter().filter(|one| page.after_timestamp.is_none_or(|after| one.timeout > after));
    let max = page.max_items.map_or(usize::MAX, |max| max as usize);
    let views: Vec<_> = younger.take(max).map(Stored::view).collect();
    Ok(Json(views).into_response())
}

async fn one(State(service): Shared, identity: Identity, Path(id): Path<String>) -> Answer<Json<Allocation>> {
    let known = service.allocations(identity.node_id).await.map_err(|error| of_store(&error))?;
    let found = known.list.iter().find(|one| one.id == id);
    found.map(|one| Json(one.view())).ok_or_else(not_found)
}

async fn amend(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
    Json(update): Json<AllocationUpdate>,
) -> Answer<Json<Allocation>> {
    let amended = service.amend(identity.node_id, &id, update.clone()).await;
    amended.map(Json).map_err(|error| refused(error, &update))
}

async fn release(State(service): Shared, identity: Identity, Path(id): Path<String>) -> Answer<Json<()>> {
    service.release(identity.node_id, &id).await?;
    Ok(DONE)
}

async fn expenditures(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
) -> Answer<Json<Vec<AllocationExpenditure>>> {
    let owner = identity.node_id;
    let look = move |db: &golem_store::rusqlite::Connection| match allocation::get(db, owner, &id)? {
        Some(_) => Ok::<_, StoreError>(allocation::expenditures(db, &id)?),
        None => Ok(Vec::new()),
    };
    Ok(Json(service.store.read(look).await.map_err(|error| of_store(&error))?))
}

async fn orders(State(service): Shared, identity: Identity, Path(id): Path<String>) -> Answer<Json<Vec<Detail>>> {
    details(&service, identity.node_id, move |db, owner| {
        crate::store::order::details(db, owner, DetailsOf::Allocation(&id))
    })
    .await
}
