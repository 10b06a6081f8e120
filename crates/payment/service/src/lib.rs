//! The payment service of a daemon: documents, allocations, settlement and what two nodes tell each other of them.
//!
//! [`start`] opens `payment.db`, binds `/local/payment` (programs and drivers of this node) and `/public/payment`
//! (other nodes) and starts the tasks below; [`routes`] is the REST face, to be mounted at `/payment-api/v1`.
//! The rules are in `golem-payment-core`; every operation is one write of the store, and what must be told or done
//! afterwards is a row of that write, so a kill at any point loses nothing and pays nothing twice.
//!
//! | task | wakes | does |
//! |---|---|---|
//! | cycles (`service/settle.rs`) | next due run, a changed cycle, an acceptance | orders what is open, hands it to the driver |
//! | sync (`service/sync.rs`) | next due peer, a new notice | tells peers what they missed |
//! | debtors (`service/sync.rs`) | start, hourly | asks requestors for what may have been missed |
//! | timeouts (`service/allocate.rs`) | next timeout of an allocation | releases it |
//!
//! Deliberately absent: chains and keys. Drivers move tokens (`golem_model::driver`), the identity service signs.

mod arrow;
mod config;
mod error;
mod local;
mod metrics;
mod peer;
mod rest;
mod service;
mod store;

use std::sync::Arc;

use golem_service::Context;
use golem_store::OpenError;

pub use config::{Config, ConfigError, Settle};
pub use rest::routes;

/// A running payment service.
#[derive(Clone, Debug)]
pub struct Handle(Arc<service::Service>);

/// Why the payment service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot open the payment database")]
    Open(#[from] OpenError),
}

/// Starts the payment service. Its tasks run on the tracker of `ctx` until its stop token is cancelled.
#[expect(clippy::unused_async, reason = "all services start alike")]
pub async fn start(ctx: Context, config: Config) -> Result<Handle, StartError> {
    arrow::set_up();
    let store = store::open(&ctx.data_dir)?;
    metrics::describe();
    let service = Arc::new(service::Service::new(&ctx, store, config));
    local::bind(&service);
    peer::bind(&service);
    service::spawn_tasks(&service);
    Ok(Handle(service))
}
