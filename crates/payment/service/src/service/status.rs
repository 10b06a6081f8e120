//! Figures for people and tools (spec 40 §11).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use golem_bus::CallError;
use golem_model::Amount;
use golem_model::driver::{self, DriverDetails, DriverStatusError};
use golem_model::payment::local::{
    GenericError, GetInvoiceStats, GetRpcEndpoints, GetStatus, InvoiceStats, InvoiceStatusNotes, PaymentDriverStatus,
    PaymentDriverStatusError, RpcEndpoints, StatusNotes, StatusResult,
};
use golem_model::payment::{DocumentStatus, DriverStatusProperty, StatValue};
use golem_payment_core::books::Totals;
use golem_store::StoreError;
use golem_store::rusqlite::Connection;
use tracing::warn;

use super::Service;
use super::registry::is_legacy;
use crate::store::{Side, agreement, allocation, document};

fn add(value: &mut StatValue, amount: Amount) {
    if !amount.is_zero() {
        value.total_amount = value.total_amount.checked_add(amount).unwrap_or(value.total_amount);
        value.agreements_count += 1;
    }
}

fn add_totals(notes: &mut StatusNotes, totals: &Totals) {
    add(&mut notes.requested, totals.due);
    add(&mut notes.accepted, totals.accepted);
    add(&mut notes.confirmed, totals.paid);
}

/// What the books say of an address.
struct Bookkeeping {
    reserved: Amount,
    incoming: StatusNotes,
    outgoing: StatusNotes,
}

fn bookkeeping(
    db: &Connection,
    platform: &str,
    address: &str,
    after: DateTime<Utc>,
) -> Result<Bookkeeping, StoreError> {
    let (mut incoming, mut outgoing) = (StatusNotes::default(), StatusNotes::default());
    for row in agreement::of_address(db, platform, address)? {
        if document::any_since(db, row.owner, &row.id, after)? {
            match row.role {
                Side::Provider => add_totals(&mut incoming, &row.totals),
                Side::Requestor => add_totals(&mut outgoing, &row.totals),
            }
        }
    }
    let live = allocation::of_address(db, platform, address)?;
    let counted = live.iter().filter(|one| !one.released && one.timeout > after).map(|one| one.funds.remaining());
    Ok(Bookkeeping { reserved: Amount::sum(counted).unwrap_or_default(), incoming, outgoing })
}

impl Service {
    pub(crate) async fn status(&self, ask: GetStatus) -> Result<StatusResult, GenericError> {
        let GetStatus { address, driver: name, network, token, after_timestamp } = ask;
        let (platform, network, token) =
            self.registry.choose(&name, network.as_deref(), token.as_deref()).map_err(GenericError::new)?;
        let after = DateTime::from_timestamp(after_timestamp, 0).unwrap_or(DateTime::UNIX_EPOCH);
        let (key, of) = (platform.to_string(), address.clone());
        let books = self.store.read(move |db| bookkeeping(db, &key, &of, after)).await.map_err(GenericError::new)?;
        let balance = driver::GetAccountBalance { address, platform: platform.to_string() };
        let balance = self.driver(&name, balance).await.map_err(|error| match error {
            CallError::Service(error) => error,
            CallError::Bus(error) => GenericError::new(error),
        })?;
        Ok(StatusResult {
            amount: balance.token_balance,
            reserved: books.reserved,
            outgoing: books.outgoing,
            incoming: books.incoming,
            driver: name,
            network,
            token,
            gas: balance.gas_details,
            block_number: balance.block_number,
            block_datetime: balance.block_datetime,
        })
    }

    pub(crate) async fn invoice_stats(&self, ask: GetInvoiceStats) -> Result<InvoiceStats, GenericError> {
        let GetInvoiceStats { node_id, requestor, provider, since } = ask;
        let look = move |db: &Connection| Ok::<_, StoreError>(document::invoices_since(db, node_id, since)?);
        let invoices = self.store.read(look).await.map_err(GenericError::new)?;
        let mut stats = InvoiceStats::default();
        for invoice in invoices {
            let (wanted, notes) = match invoice.role {
                Side::Requestor => (requestor, &mut stats.requestor),
                Side::Provider => (provider, &mut stats.provider),
            };
            if wanted {
                let value = of_status(notes, invoice.document.status);
                let amount = invoice.document.amount;
                value.total_amount = value.total_amount.checked_add(amount).unwrap_or(value.total_amount);
                value.agreements_count += 1;
            }
        }
        Ok(stats)
    }

    pub(crate) fn drivers(&self, ignore_legacy: bool) -> BTreeMap<String, DriverDetails> {
        let mut drivers = self.registry.drivers();
        if ignore_legacy {
            for details in drivers.values_mut() {
                details.networks.retain(|network, _| !is_legacy(network));
            }
        }
        drivers
    }

    /// Troubles of drivers; a driver that does not answer is none of a payment's business.
    pub(crate) async fn driver_status(
        &self,
        ask: PaymentDriverStatus,
    ) -> Result<Vec<DriverStatusProperty>, PaymentDriverStatusError> {
        let PaymentDriverStatus { driver, network } = ask;
        let drivers = self.registry.drivers();
        if let Some(name) = &driver
            && !drivers.contains_key(name)
        {
            return Err(PaymentDriverStatusError::NoDriver(name.clone()));
        }
        let asked = drivers.iter().filter(|(name, _)| driver.as_ref().is_none_or(|wanted| wanted == *name));
        let asked: Vec<_> = asked.collect();
        if let Some(network) = &network
            && !asked.iter().any(|(_, details)| details.networks.contains_key(network))
        {
            return Err(PaymentDriverStatusError::NoNetwork(network.clone()));
        }
        let mut troubles = Vec::new();
        for (name, details) in asked {
            if network.as_ref().is_some_and(|network| !details.networks.contains_key(network)) {
                continue;
            }
            match self.driver(name, driver::DriverStatus { network: network.clone() }).await {
                Ok(found) => troubles.extend(found),
                Err(CallError::Service(DriverStatusError::NetworkNotFound(network))) => {
                    return Err(PaymentDriverStatusError::NoNetwork(network));
                }
                Err(error) => return Err(PaymentDriverStatusError::Internal(error.to_string())),
            }
        }
        Ok(troubles)
    }

    pub(crate) async fn rpc_endpoints(&self, ask: GetRpcEndpoints) -> Result<RpcEndpoints, GenericError> {
        let GetRpcEndpoints { driver: name, network, verify, resolve, no_wait, .. } = ask;
        let call = driver::GetRpcEndpoints { network, verify, resolve, no_wait };
        self.driver(&name, call).await.map_err(|error| match error {
            CallError::Service(error) => error,
            CallError::Bus(error) => GenericError::new(error),
        })
    }

    /// Drivers finish or keep what is in flight.
    pub(crate) async fn shut_down(&self, timeout: std::time::Duration) {
        let names: Vec<_> = self.registry.drivers().into_keys().collect();
        let stops = names.iter().map(|name| self.driver(name, driver::ShutDown { timeout }));
        for (name, outcome) in names.iter().zip(futures::future::join_all(stops).await) {
            if let Err(error) = outcome {
                warn!(driver = name, %error, "a driver does not stop in order");
            }
        }
    }
}

fn of_status(notes: &mut InvoiceStatusNotes, status: DocumentStatus) -> &mut StatValue {
    match status {
        DocumentStatus::Issued => &mut notes.issued,
        DocumentStatus::Received => &mut notes.received,
        DocumentStatus::Accepted => &mut notes.accepted,
        DocumentStatus::Rejected => &mut notes.rejected,
        DocumentStatus::Failed => &mut notes.failed,
        DocumentStatus::Settled => &mut notes.settled,
        DocumentStatus::Cancelled => &mut notes.cancelled,
    }
}
