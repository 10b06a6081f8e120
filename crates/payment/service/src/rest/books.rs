//! The books behind payments, for tools: agreements, activities, orders, cycles (spec 41 §4).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use chrono::{DateTime, NaiveDateTime, Utc};
use golem_api_rest::{ApiError, Identity, Json};
use golem_model::payment::local::{
    BatchCycle, ProcessBatchCycleError, ProcessBatchCycleInfo, ProcessBatchCycleSet, ProcessPaymentsNow,
    ProcessPaymentsResult,
};
use golem_model::payment::{DebitNote, Invoice};
use golem_model::{Amount, NodeId};
use golem_store::StoreError;
use golem_store::rusqlite::{self, Connection};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Answer, Shared, not_found, of_store};
use crate::service::Service;
use crate::store::agreement::{self, Activity, Agreement};
use crate::store::document;
use crate::store::order::{self, DetailRow, DetailsOf, ItemRow, OrderRow};

pub(super) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/batchCycles", get(cycles))
        .route("/batchCycle", post(set_cycle))
        .route("/batchCycle/{platform}", get(cycle))
        .route("/batchCycle/{platform}/now", post(process_now))
        .route("/batchOrders", get(orders))
        .route("/batchOrders/{id}", get(order))
        .route("/batchOrders/{id}/items", get(items))
        .route("/batchOrders/{id}/items/{payee}/details", get(item_details))
        .route("/payAgreements", get(agreements))
        .route("/payAgreements/{id}", get(agreement))
        .route("/payAgreements/{id}/activities", get(activities_of_agreement))
        .route("/payAgreements/{id}/orders", get(orders_of_agreement))
        .route("/payActivities", get(activities))
        .route("/payActivities/{id}", get(activity))
        .route("/payActivities/{id}/debitNotes", get(notes_of_activity))
        .route("/payActivities/{id}/invoice", get(invoice_of_activity))
        .route("/payActivities/{id}/orders", get(orders_of_activity))
}

/// Times of these rows have no zone letter.
fn zoneless(time: DateTime<Utc>) -> NaiveDateTime {
    time.naive_utc()
}

async fn look<T: Send + 'static>(
    service: &Service,
    look: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Answer<T> {
    service.store.read(move |db| Ok::<_, StoreError>(look(db)?)).await.map_err(|error| of_store(&error))
}

/// Body of a cycle; times in the form `+00:00`.
fn cycle_view(cycle: &BatchCycle) -> Value {
    let time = |time: NaiveDateTime| time.and_utc().to_rfc3339_opts(chrono::SecondsFormat::Micros, false);
    json!({
        "nodeId": cycle.node_id,
        "platform": cycle.platform,
        "intervalSec": cycle.interval.map(|span| span.as_secs()),
        "cron": cycle.cron,
        "extraPayTimeSec": cycle.extra_payment_time.as_secs(),
        "maxIntervalSec": cycle.max_interval.as_secs(),
        "nextProcess": time(cycle.next_process),
        "lastProcess": cycle.last_process.map(time),
    })
}

async fn cycles(State(service): Shared, _: Identity) -> Answer<Json<Vec<Value>>> {
    let cycles = service.cycles().await.map_err(|error| of_store(&error))?;
    Ok(Json(cycles.iter().map(cycle_view).collect()))
}

async fn cycle(State(service): Shared, identity: Identity, Path(platform): Path<String>) -> Answer<Json<Value>> {
    if service.registry.platform(&platform).is_none() {
        return Err(not_found());
    }
    let info = service.cycle_info(ProcessBatchCycleInfo { node_id: identity.node_id, platform }).await;
    let info = info.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(Json(cycle_view(&info)))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CycleSettings {
    platform: String,
    interval_sec: Option<u64>,
    cron: Option<String>,
    extra_pay_time_sec: Option<u64>,
    next_update: Option<DateTime<Utc>>,
}

async fn set_cycle(
    State(service): Shared,
    identity: Identity,
    Json(settings): Json<CycleSettings>,
) -> Json<Result<BatchCycle, ProcessBatchCycleError>> {
    let CycleSettings { platform, interval_sec, cron, extra_pay_time_sec, next_update } = settings;
    let ask = ProcessBatchCycleSet {
        node_id: identity.node_id,
        platform,
        interval: interval_sec.map(Duration::from_secs),
        cron,
        next_update,
        safe_payout: extra_pay_time_sec.map(Duration::from_secs),
    };
    Json(service.set_cycle(ask).await)
}

async fn process_now(
    State(service): Shared,
    identity: Identity,
    Path(platform): Path<String>,
) -> Answer<Json<ProcessPaymentsResult>> {
    let ask = ProcessPaymentsNow { node_id: identity.node_id, platform, skip_resolve: false, skip_send: false };
    service.process_now(ask).await.map(Json).map_err(|error| ApiError::internal(error.to_string()))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    id: String,
    created_ts: NaiveDateTime,
    updated_ts: NaiveDateTime,
    owner_id: NodeId,
    payer_addr: String,
    platform: String,
    total_amount: Amount,
    paid_amount: Amount,
}

impl From<OrderRow> for Order {
    fn from(row: OrderRow) -> Self {
        let OrderRow { id, owner, payer_addr, platform, total, paid, created, updated } = row;
        let (created_ts, updated_ts) = (zoneless(created), zoneless(updated));
        Self {
            id,
            created_ts,
            updated_ts,
            owner_id: owner,
            payer_addr,
            platform,
            total_amount: total,
            paid_amount: paid,
        }
    }
}

async fn orders(State(service): Shared, identity: Identity) -> Answer<Json<Vec<Order>>> {
    let owner = identity.node_id;
    let rows = look(&service, move |db| order::list(db, owner, None)).await?;
    Ok(Json(rows.into_iter().map(Order::from).collect()))
}

async fn order(State(service): Shared, identity: Identity, Path(id): Path<String>) -> Answer<Json<Option<Order>>> {
    let owner = identity.node_id;
    let rows = look(&service, move |db| order::list(db, owner, Some(&id))).await?;
    Ok(Json(rows.into_iter().next().map(Order::from)))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    order_id: String,
    owner_id: NodeId,
    payee_addr: String,
    allocation_id: String,
    amount: Amount,
    payment_id: String,
    paid: bool,
}

async fn items(State(service): Shared, identity: Identity, Path(id): Path<String>) -> Answer<Json<Vec<Item>>> {
    let owner = identity.node_id;
    let rows = look(&service, move |db| order::items(db, owner, &id)).await?;
    let view = |row: ItemRow| Item {
        order_id: row.order,
        owner_id: owner,
        payee_addr: row.payee_addr,
        allocation_id: row.allocation,
        amount: row.amount,
        payment_id: row.payment,
        paid: row.state == "paid",
    };
    Ok(Json(rows.into_iter().map(view).collect()))
}

/// A document's part of an order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail {
    created_ts: NaiveDateTime,
    updated_ts: NaiveDateTime,
    order_id: String,
    owner_id: NodeId,
    payee_addr: String,
    allocation_id: String,
    amount: Amount,
    agreement_id: String,
    invoice_id: Option<String>,
    activity_id: Option<String>,
    debit_note_id: Option<String>,
}

impl From<DetailRow> for Detail {
    fn from(row: DetailRow) -> Self {
        let (invoice_id, debit_note_id) =
            if row.activity.is_some() { (None, row.document) } else { (row.document, None) };
        Self {
            created_ts: zoneless(row.created),
            updated_ts: zoneless(row.updated),
            order_id: row.order,
            owner_id: row.owner,
            payee_addr: row.payee_addr,
            allocation_id: row.allocation,
            amount: row.amount,
            agreement_id: row.agreement,
            invoice_id,
            activity_id: row.activity,
            debit_note_id,
        }
    }
}

pub(super) async fn details(
    service: &Service,
    owner: NodeId,
    of: impl FnOnce(&Connection, NodeId) -> rusqlite::Result<Vec<DetailRow>> + Send + 'static,
) -> Answer<Json<Vec<Detail>>> {
    let rows = look(service, move |db| of(db, owner)).await?;
    Ok(Json(rows.into_iter().map(Detail::from).collect()))
}

async fn item_details(
    State(service): Shared,
    identity: Identity,
    Path((order, payee)): Path<(String, String)>,
) -> Answer<Json<Vec<Detail>>> {
    let of = move |db: &Connection, owner| order::details(db, owner, DetailsOf::Item { order: &order, payee: &payee });
    details(&service, identity.node_id, of).await
}

async fn orders_of_agreement(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
) -> Answer<Json<Vec<Detail>>> {
    let of = move |db: &Connection, owner| order::details(db, owner, DetailsOf::Agreement(&id));
    details(&service, identity.node_id, of).await
}

async fn orders_of_activity(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
) -> Answer<Json<Vec<Detail>>> {
    let of = move |db: &Connection, owner| order::details(db, owner, DetailsOf::Activity(&id));
    details(&service, identity.node_id, of).await
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PayAgreement {
    id: String,
    owner_id: NodeId,
    role: &'static str,
    peer_id: NodeId,
    payee_addr: String,
    payer_addr: String,
    payment_platform: String,
    total_amount_due: Amount,
    total_amount_accepted: Amount,
    total_amount_scheduled: Amount,
    total_amount_paid: Amount,
    app_session_id: Option<String>,
    created_ts: NaiveDateTime,
    updated_ts: NaiveDateTime,
}

impl From<Agreement> for PayAgreement {
    fn from(row: Agreement) -> Self {
        Self {
            id: row.id,
            owner_id: row.owner,
            role: row.role.letter(),
            peer_id: row.peer,
            payee_addr: row.payee_addr,
            payer_addr: row.payer_addr,
            payment_platform: row.platform,
            total_amount_due: row.totals.due,
            total_amount_accepted: row.totals.accepted,
            total_amount_scheduled: row.totals.scheduled,
            total_amount_paid: row.totals.paid,
            app_session_id: row.session,
            created_ts: zoneless(row.created),
            updated_ts: zoneless(row.updated),
        }
    }
}

async fn agreements(State(service): Shared, identity: Identity) -> Answer<Json<Vec<PayAgreement>>> {
    let owner = identity.node_id;
    let rows = look(&service, move |db| agreement::list(db, owner)).await?;
    Ok(Json(rows.into_iter().map(PayAgreement::from).collect()))
}

async fn agreement(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
) -> Answer<Json<Option<PayAgreement>>> {
    let owner = identity.node_id;
    let row = look(&service, move |db| agreement::get(db, owner, &id)).await?;
    Ok(Json(row.map(PayAgreement::from)))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PayActivity {
    id: String,
    owner_id: NodeId,
    role: &'static str,
    agreement_id: String,
    total_amount_due: Amount,
    total_amount_accepted: Amount,
    total_amount_scheduled: Amount,
    total_amount_paid: Amount,
    created_ts: NaiveDateTime,
    updated_ts: NaiveDateTime,
    peer_id: NodeId,
    payee_addr: String,
    payer_addr: String,
}

fn activity_view(row: Activity, of: &Agreement) -> PayActivity {
    PayActivity {
        id: row.id,
        owner_id: of.owner,
        role: of.role.letter(),
        agreement_id: row.agreement,
        total_amount_due: row.totals.due,
        total_amount_accepted: row.totals.accepted,
        total_amount_scheduled: row.totals.scheduled,
        total_amount_paid: row.totals.paid,
        created_ts: zoneless(row.created),
        updated_ts: zoneless(row.updated),
        peer_id: of.peer,
        payee_addr: of.payee_addr.clone(),
        payer_addr: of.payer_addr.clone(),
    }
}

fn view_all(db: &Connection, owner: NodeId, rows: Vec<Activity>) -> rusqlite::Result<Vec<PayActivity>> {
    let mut views = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some(of) = agreement::get(db, owner, &row.agreement)? {
            views.push(activity_view(row, &of));
        }
    }
    Ok(views)
}

async fn activities(State(service): Shared, identity: Identity) -> Answer<Json<Vec<PayActivity>>> {
    let owner = identity.node_id;
    let rows = look(&service, move |db| view_all(db, owner, agreement::activities(db, owner, None)?)).await?;
    Ok(Json(rows))
}

async fn activities_of_agreement(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
) -> Answer<Json<Vec<PayActivity>>> {
    let owner = identity.node_id;
    let rows = look(&service, move |db| view_all(db, owner, agreement::activities(db, owner, Some(&id))?)).await?;
    Ok(Json(rows))
}

async fn activity(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
) -> Answer<Json<Option<PayActivity>>> {
    let owner = identity.node_id;
    let rows = look(&service, move |db| {
        let row = agreement::activity(db, owner, &id)?;
        view_all(db, owner, row.into_iter().collect())
    });
    Ok(Json(rows.await?.into_iter().next()))
}

fn no_activity() -> ApiError {
    ApiError::internal("Activity not found")
}

async fn notes_of_activity(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
) -> Answer<Json<Vec<DebitNote>>> {
    let owner = identity.node_id;
    let found = look(&service, move |db| {
        let Some(row) = agreement::activity(db, owner, &id)? else { return Ok(None) };
        Ok(Some(document::notes_of_activity(db, owner, &row.id)?))
    });
    found.await?.map(Json).ok_or_else(no_activity)
}

async fn invoice_of_activity(
    State(service): Shared,
    identity: Identity,
    Path(id): Path<String>,
) -> Answer<Json<Option<Invoice>>> {
    let owner = identity.node_id;
    let found = look(&service, move |db| {
        let Some(row) = agreement::activity(db, owner, &id)? else { return Ok(None) };
        let invoices = document::invoices_of_agreement(db, owner, &row.agreement)?;
        Ok(Some(invoices.into_iter().next_back().map(|invoice| invoice.document)))
    });
    found.await?.map(Json).ok_or_else(no_activity)
}
