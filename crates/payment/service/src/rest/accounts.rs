//! Accounts, decorations, troubles of drivers.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use golem_api_rest::{ApiError, Identity, Json, Query};
use golem_model::payment::local::{PaymentDriverStatus, PaymentDriverStatusError};
use golem_model::payment::{Account, DriverStatusProperty, MarketDecoration};
use golem_payment_core::verify::same_address;
use serde::Deserialize;

use super::{Answer, Shared};

pub(super) fn routes() -> Router<std::sync::Arc<crate::service::Service>> {
    Router::new()
        .route("/providerAccounts", get(provider_accounts))
        .route("/requestorAccounts", get(requestor_accounts))
        .route("/demandDecorations", get(decorations))
        .route("/payments/status", get(status))
}

async fn provider_accounts(State(service): Shared, _: Identity) -> Json<Vec<Account>> {
    Json(service.registry.accounts().into_iter().filter(|account| account.receive).collect())
}

async fn requestor_accounts(State(service): Shared, identity: Identity) -> Json<Vec<Account>> {
    let own = identity.node_id.to_string();
    let accounts = service.registry.accounts().into_iter();
    Json(accounts.filter(|account| same_address(&account.address, &own)).collect())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Decorated {
    allocation_ids: String,
}

async fn decorations(
    State(service): Shared,
    identity: Identity,
    Query(query): Query<Decorated>,
) -> Answer<Json<MarketDecoration>> {
    Ok(Json(service.decorations(identity.node_id, &query.allocation_ids).await?))
}

#[derive(Debug, Deserialize)]
struct Which {
    network: Option<String>,
    driver: Option<String>,
}

async fn status(
    State(service): Shared,
    _: Identity,
    Query(Which { network, driver }): Query<Which>,
) -> Answer<Json<Vec<DriverStatusProperty>>> {
    match service.driver_status(PaymentDriverStatus { driver, network }).await {
        Ok(troubles) => Ok(Json(troubles)),
        Err(PaymentDriverStatusError::NoNetwork(name)) => {
            Err(ApiError::not_found(format!("Requested network not supported {name}")))
        }
        Err(PaymentDriverStatusError::NoDriver(name)) => {
            Err(ApiError::not_found(format!("Requested driver not registered {name}")))
        }
        Err(error) => Err(ApiError::internal(error.to_string())),
    }
}
