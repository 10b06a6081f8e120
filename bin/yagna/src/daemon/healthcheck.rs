//! `GET /healthcheck`: payment driver, relay, market, in this order (spec 22 §7).

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use golem_api_rest::ApiError;
use golem_bus::{Bus, BusError, CallError};
use golem_model::market::{self, GetLastBcastTs};
use golem_model::net::{self, ListNeighbours};
use golem_model::payment::local::PaymentDriverStatus;
use golem_model::payment::{self, DriverStatusProperty};
use golem_model::{Call, Caller};
use golem_service::{Clock, SystemClock};
use serde_json::{Value, json};

/// One step.
const STEP_TIME_MAX: Duration = Duration::from_secs(5);

/// A market that heard nothing for longer is cut off.
const BROADCAST_AGE_MAX_SECS: i64 = 120;

pub(crate) async fn answer(bus: &Bus) -> Result<Json<Value>, ApiError> {
    payments(bus).await?;
    let size = 8;
    ask(bus, net::ADDRESS, ListNeighbours { size }, "relay-check", "net-service-error").await?;
    broadcasts(bus).await?;
    Ok(Json(json!({ "status": "ok" })))
}

async fn payments(bus: &Bus) -> Result<(), ApiError> {
    let step = "payments-check";
    let troubles = ask(bus, payment::ADDRESS, PaymentDriverStatus::default(), step, "payments-service-error").await?;
    if troubles.is_empty() {
        return Ok(());
    }
    let problems: BTreeSet<&str> = troubles
        .iter()
        .map(|trouble| match trouble {
            DriverStatusProperty::CantSign { .. } => "Can't sign transaction",
            DriverStatusProperty::InsufficientGas { .. } => "Insufficient gas",
            DriverStatusProperty::InsufficientToken { .. } => "Insufficient token",
            DriverStatusProperty::InvalidChainId { .. } => "Misconfigured chain",
            DriverStatusProperty::RpcError { .. } => "Persistent RPC issues",
            DriverStatusProperty::TxStuck { .. } => "Stuck transaction",
        })
        .collect();
    let kind = "/healthcheck/payment-driver-errors";
    let detail = "The payment driver reports problems; `yagna payment driver status` shows them per network";
    Err(problem(json!({ "type": kind, "instance": kind, "detail": detail, "step": step, "problems": problems })))
}

async fn broadcasts(bus: &Bus) -> Result<(), ApiError> {
    let step = "market-check";
    let last = ask(bus, market::ADDRESS, GetLastBcastTs {}, step, "market-service-error").await?;
    let age = (SystemClock.now().naive_utc() - last).num_seconds();
    if age <= BROADCAST_AGE_MAX_SECS {
        return Ok(());
    }
    let kind = "/healthcheck/market-bcast-timeout";
    let detail = format!("The last broadcast of offers was received {age} s ago");
    Err(problem(json!({ "type": kind, "instance": kind, "detail": detail, "step": step, "lastBcastAgeSecs": age })))
}

async fn ask<C: Call>(bus: &Bus, service: &str, call: C, step: &str, failed: &str) -> Result<C::Item, ApiError> {
    let what = match bus.call(service, Caller::local(), call, STEP_TIME_MAX).await {
        Ok(item) => return Ok(item),
        Err(CallError::Service(_)) => failed,
        Err(CallError::Bus(BusError::Timeout { .. })) => "internal-timeout",
        Err(CallError::Bus(_)) => "gsb-error",
    };
    let kind = "/healthcheck/internal-error";
    Err(problem(json!({ "type": kind, "instance": format!("{kind}/{what}"), "step": step })))
}

const fn problem(body: Value) -> ApiError {
    ApiError::problem(StatusCode::INTERNAL_SERVER_ERROR, body)
}
