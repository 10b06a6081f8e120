//! Debit notes and invoices (spec 41 §3.7).

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use golem_api_rest::{ApiError, Identity, Json, Query};
use golem_model::payment::{Acceptance, DebitNote, Invoice, NewDebitNote, NewInvoice, Rejection, SignedPayment};
use golem_store::StoreError;

use super::{Answer, DONE, Page, Shared, Timeout, limit, not_found, of_store};
use crate::store::{document, payment};

pub(super) fn routes() -> Router<std::sync::Arc<crate::service::Service>> {
    Router::new()
        .route("/debitNotes", get(notes).post(issue_note))
        .route("/debitNotes/{id}", get(note))
        .route("/debitNotes/{id}/payments", get(not_offered))
        .route("/debitNotes/{id}/send", post(send_note))
        .route("/debitNotes/{id}/cancel", post(not_offered))
        .route("/debitNotes/{id}/accept", post(accept_note))
        .route("/debitNotes/{id}/reject", post(reject_note))
        .route("/invoices", get(invoices).post(issue_invoice))
        .route("/invoices/{id}", get(invoice))
        .route("/invoices/{id}/payments", get(invoice_payments))
        .route("/invoices/{id}/send", post(send_invoice))
        .route("/invoices/{id}/cancel", post(cancel_invoice))
        .route("/invoices/{id}/accept", post(accept_invoice))
        .route("/invoices/{id}/reject", post(reject_invoice))
}

async fn not_offered(_: Identity) -> ApiError {
    ApiError::null(StatusCode::NOT_IMPLEMENTED)
}

/// Daemons never reject notes: the requestor leaves them unanswered. The body is parsed all the same.
async fn reject_note(_: Identity, _: Query<Timeout>, _: Json<Rejection>) -> ApiError {
    ApiError::null(StatusCode::NOT_IMPLEMENTED)
}

async fn issue_note(
    State(service): Shared,
    identity: Identity,
    Json(new): Json<NewDebitNote>,
) -> Answer<(StatusCode, Json<DebitNote>)> {
    Ok((StatusCode::CREATED, Json(service.issue_note(identity.node_id, new).await?)))
}

async fn issue_invoice(
    State(service): Shared,
    identity: Identity,
    Json(new): Json<NewInvoice>,
) -> Answer<(StatusCode, Json<Invoice>)> {
    Ok((StatusCode::CREATED, Json(service.issue_invoice(identity.node_id, new).await?)))
}

async fn notes(
    State(service): Shared,
    identity: Identity,
    Query(Page { after_timestamp, max_items }): Query<Page>,
) -> Answer<Json<Vec<DebitNote>>> {
    let (owner, max) = (identity.node_id, limit(max_items));
    let found = service.store.read(move |db| Ok::<_, StoreError>(document::notes(db, owner, after_timestamp, max)?));
    Ok(Json(found.await.map_err(|error| of_store(&error))?))
}

async fn invoices(
    State(service): Shared,
    identity: Identity,
    Query(Page { after_timestamp, max_items }): Query<Page>,
) -> Answer<Json<Vec<Invoice>>> {
    let (owner, max) = (identity.node_id, limit(max_items));
    let found = service.store.read(move |db| Ok::<_, StoreError>(document::invoices(db, owner, after_timestamp, max)?));
    Ok(Json(found.await.map_err(|error| of_store(&error))?))
}

async fn note(State(service): Shared, identity: Identity, Path(id): Path<String>) -> Answer<Json<DebitNote>> {
    let owner = identity.node_id;
    let found = service.store.read(move |db| Ok::<_, StoreError>(document::note(db, owner, &id)?)).await;
    found.map_err(|error| of_store(&error))?.map(|found| Json(found.document)).ok_or_else(not_found)
}

async fn invoice(State(service): Shared, identity: Identity, Path(id): Path<String>) -> Answer<Json<Invoice>> {
    let owner = identity.node_id;
    let found = service.store.read(move |db| Ok::<_, StoreError>(document::invoice(db, owner, &id)?)).await;
    found.map_err(|error| of_store(&error))?.map(|found| Json(found.document)).ok_or_else(not_found)
}

async fn invoice_payments(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
) -> Answer<Json<Vec<SignedPayment>>> {
    let owner = identity.node_id;
    let look = move |db: &golem_store::rusqlite::Connection| {
        let Some(invoice) = document::invoice(db, owner, &id)? else { return Ok::<_, StoreError>(None) };
        Ok(Some(payment::of_agreement(db, owner, &invoice.document.agreement_id)?))
    };
    service.store.read(look).await.map_err(|error| of_store(&error))?.map(Json).ok_or_else(not_found)
}

async fn send_note(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
    Query(timeout): Query<Timeout>,
) -> Answer<Json<()>> {
    service.send_note(identity.node_id, &id, timeout.of_action()?).await?;
    Ok(DONE)
}

async fn send_invoice(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
    Query(timeout): Query<Timeout>,
) -> Answer<Json<()>> {
    service.send_invoice(identity.node_id, &id, timeout.of_action()?).await?;
    Ok(DONE)
}

async fn cancel_invoice(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
    Query(timeout): Query<Timeout>,
) -> Answer<Json<()>> {
    service.cancel_invoice(identity.node_id, &id, timeout.of_action()?).await?;
    Ok(DONE)
}

async fn accept_note(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
    Query(timeout): Query<Timeout>,
    Json(acceptance): Json<Acceptance>,
) -> Answer<Json<()>> {
    service.accept_note(identity.node_id, &id, acceptance, timeout.of_action()?).await?;
    Ok(DONE)
}

async fn accept_invoice(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
    Query(timeout): Query<Timeout>,
    Json(acceptance): Json<Acceptance>,
) -> Answer<Json<()>> {
    service.accept_invoice(identity.node_id, &id, acceptance, timeout.of_action()?).await?;
    Ok(DONE)
}

async fn reject_invoice(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
    Query(timeout): Query<Timeout>,
    Json(rejection): Json<Rejection>,
) -> Answer<Json<()>> {
    service.reject_invoice(identity.node_id, &id, rejection, timeout.of_action()?).await?;
    Ok(DONE)
}
