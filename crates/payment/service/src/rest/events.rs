//! Polls for events of documents (spec 41 §3.9). A poll is woken by what it waits for; nothing looks in intervals.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use chrono::{DateTime, Utc};
use golem_api_rest::{ApiError, Identity, Json, Query, checked_timeout};
use golem_model::NodeId;
use golem_model::payment::{DebitNoteEvent, EventType, InvoiceEvent};
use golem_payment_core::document::Kind;
use golem_store::StoreError;
use golem_store::rusqlite::{self, Connection};
use serde::Deserialize;
use tokio::time::Instant;

use super::{Answer, POLL_TIMEOUT, Shared, of_store};
use crate::metrics;
use crate::service::{Service, Topic};
use crate::store::event::{self, Filter};

pub(super) fn routes() -> Router<Arc<Service>> {
    Router::new().route("/debitNoteEvents", get(note_events)).route("/invoiceEvents", get(invoice_events))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Poll {
    timeout: Option<f64>,
    after_timestamp: Option<DateTime<Utc>>,
    max_events: Option<u32>,
    app_session_id: Option<String>,
}

/// Types that pass, as a header names them; unknown names are no types.
fn wanted(headers: &HeaderMap, name: &str, default: &[EventType]) -> Vec<EventType> {
    match headers.get(name).and_then(|value| value.to_str().ok()) {
        None => default.to_vec(),
        Some(list) => list.split(',').filter_map(|name| EventType::named(name.trim())).collect(),
    }
}

fn filter(owner: NodeId, poll: &Poll, headers: &HeaderMap) -> Filter {
    use EventType::{Accepted, Cancelled, Received, Rejected, Settled};
    Filter {
        owner,
        after: poll.after_timestamp,
        max: poll.max_events.map_or(usize::MAX, |max| max as usize),
        session: poll.app_session_id.clone(),
        requestor: wanted(headers, "X-Requestor-Events", &[Received, Cancelled]),
        provider: wanted(headers, "X-Provider-Events", &[Accepted, Rejected, Settled, Cancelled]),
    }
}

/// Looks, and looks again whenever something happened, until there is something or the time is over.
pub(super) async fn poll<T: Send + 'static>(
    service: &Service,
    key: (NodeId, Topic),
    time: Duration,
    look: impl Fn(&Connection) -> rusqlite::Result<Vec<T>> + Clone + Send + 'static,
) -> Answer<Json<Vec<T>>> {
    let until = Instant::now() + time;
    let mut change = service.wakers.wait(key);
    loop {
        let look = look.clone();
        let found = service.store.read(move |db| Ok::<_, StoreError>(look(db)?)).await;
        let found = found.map_err(|error| of_store(&error))?;
        if !found.is_empty() {
            return Ok(Json(found));
        }
        let woken = tokio::select! {
            biased;
            () = service.stop.cancelled() => false,
            woken = change.woken(until.saturating_duration_since(Instant::now())) => woken,
        };
        if !woken {
            return Ok(Json(Vec::new()));
        }
    }
}

async fn note_events(
    State(service): Shared,
    identity: Identity,
    Query(query): Query<Poll>,
    headers: HeaderMap,
) -> Result<Json<Vec<DebitNoteEvent>>, ApiError> {
    metrics::NOTE_EVENTS_QUERY.add_one();
    let time = checked_timeout(query.timeout, POLL_TIMEOUT)?;
    let filter = filter(identity.node_id, &query, &headers);
    let key = (identity.node_id, Topic::Documents(Kind::DebitNote));
    poll(&service, key, time, move |db| event::note_events(db, &filter)).await
}

async fn invoice_events(
    State(service): Shared,
    identity: Identity,
    Query(query): Query<Poll>,
    headers: HeaderMap,
) -> Result<Json<Vec<InvoiceEvent>>, ApiError> {
    metrics::INVOICE_EVENTS_QUERY.add_one();
    let time = checked_timeout(query.timeout, POLL_TIMEOUT)?;
    let filter = filter(identity.node_id, &query, &headers);
    let key = (identity.node_id, Topic::Documents(Kind::Invoice));
    poll(&service, key, time, move |db| event::invoice_events(db, &filter)).await
}
