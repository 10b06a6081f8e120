//! The payment routes (spec 41).

use std::time::Duration;

use chrono::{DateTime, Utc};
use golem_model::payment::{
    Acceptance, Account, Allocation, DebitNote, DebitNoteEvent, Invoice, InvoiceEvent, MarketDecoration, NewAllocation,
    NewDebitNote, NewInvoice, Payment, Rejection, SignedPayment,
};
use serde::de::DeserializeOwned;

use crate::http::{Api, Exchange, segment};
use crate::market::query_time;
use crate::{Client, RestError};

/// Time that the daemon has for an action that its peer must answer (default of spec 41 §1).
const ACTION_TIMEOUT: Duration = Duration::from_secs(15);

/// Which events to wait for.
#[derive(Clone, Copy, Debug)]
pub struct EventQuery<'a> {
    /// Strictly later ones.
    pub after: DateTime<Utc>,
    pub session: Option<&'a str>,
    pub timeout: Duration,
    pub max: Option<u32>,
    /// Value of `X-Requestor-Events`, when not the default.
    pub requestor_events: Option<&'a str>,
}

impl EventQuery<'_> {
    fn apply(&self, exchange: Exchange) -> Exchange {
        let mut exchange = exchange.wait(self.timeout).query(&[("afterTimestamp", query_time(self.after))]);
        if let Some(session) = self.session {
            exchange = exchange.query(&[("appSessionId", session)]);
        }
        if let Some(max) = self.max {
            exchange = exchange.query(&[("maxEvents", max)]);
        }
        if let Some(events) = self.requestor_events {
            exchange = exchange.header("X-Requestor-Events", events);
        }
        exchange
    }
}

impl Client {
    // --- payee ------------------------------------------------------------

    pub async fn issue_debit_note(&self, note: &NewDebitNote) -> Result<DebitNote, RestError> {
        self.post(Api::Payment, "/debitNotes").body(note).json().await
    }

    pub async fn send_debit_note(&self, id: &str) -> Result<(), RestError> {
        self.action(&format!("/debitNotes/{}/send", segment(id))).done().await
    }

    pub async fn issue_invoice(&self, invoice: &NewInvoice) -> Result<Invoice, RestError> {
        self.post(Api::Payment, "/invoices").body(invoice).json().await
    }

    pub async fn send_invoice(&self, id: &str) -> Result<(), RestError> {
        self.action(&format!("/invoices/{}/send", segment(id))).done().await
    }

    // --- payer ------------------------------------------------------------

    pub async fn requestor_accounts(&self) -> Result<Vec<Account>, RestError> {
        self.get(Api::Payment, "/requestorAccounts").json().await
    }

    pub async fn create_allocation(&self, allocation: &NewAllocation) -> Result<Allocation, RestError> {
        self.post(Api::Payment, "/allocations").body(allocation).json().await
    }

    pub async fn allocation(&self, id: &str) -> Result<Allocation, RestError> {
        self.get(Api::Payment, &format!("/allocations/{}", segment(id))).json().await
    }

    pub async fn release_allocation(&self, id: &str) -> Result<(), RestError> {
        self.delete(Api::Payment, &format!("/allocations/{}", segment(id))).done().await
    }

    pub async fn demand_decorations(&self, allocations: &[&str]) -> Result<MarketDecoration, RestError> {
        let ids = allocations.join(",");
        self.get(Api::Payment, "/demandDecorations").query(&[("allocationIds", ids)]).json().await
    }

    pub async fn accept_debit_note(&self, id: &str, acceptance: &Acceptance) -> Result<(), RestError> {
        self.action(&format!("/debitNotes/{}/accept", segment(id))).body(acceptance).done().await
    }

    pub async fn accept_invoice(&self, id: &str, acceptance: &Acceptance) -> Result<(), RestError> {
        self.action(&format!("/invoices/{}/accept", segment(id))).body(acceptance).done().await
    }

    pub async fn reject_invoice(&self, id: &str, rejection: &Rejection) -> Result<(), RestError> {
        self.action(&format!("/invoices/{}/reject", segment(id))).body(rejection).done().await
    }

    // --- both -------------------------------------------------------------

    pub async fn debit_note(&self, id: &str) -> Result<DebitNote, RestError> {
        self.get(Api::Payment, &format!("/debitNotes/{}", segment(id))).json().await
    }

    pub async fn invoice(&self, id: &str) -> Result<Invoice, RestError> {
        self.get(Api::Payment, &format!("/invoices/{}", segment(id))).json().await
    }

    /// Invoices of both roles, those made strictly after a time.
    pub async fn invoices(&self, after: Option<DateTime<Utc>>) -> Result<Vec<Invoice>, RestError> {
        let mut exchange = self.get(Api::Payment, "/invoices");
        if let Some(after) = after {
            exchange = exchange.query(&[("afterTimestamp", query_time(after))]);
        }
        exchange.list().await
    }

    /// Payments that hold a share of the invoice.
    pub async fn invoice_payments(&self, id: &str) -> Result<Vec<Payment>, RestError> {
        let payments: Vec<SignedPayment> =
            self.get(Api::Payment, &format!("/invoices/{}/payments", segment(id))).list().await?;
        Ok(payments.into_iter().map(|signed| signed.payment).collect())
    }

    pub async fn debit_note_events(&self, query: EventQuery<'_>) -> Result<Vec<DebitNoteEvent>, RestError> {
        self.document_events("/debitNoteEvents", query).await
    }

    pub async fn invoice_events(&self, query: EventQuery<'_>) -> Result<Vec<InvoiceEvent>, RestError> {
        self.document_events("/invoiceEvents", query).await
    }

    async fn document_events<T: DeserializeOwned>(
        &self,
        path: &str,
        query: EventQuery<'_>,
    ) -> Result<Vec<T>, RestError> {
        query.apply(self.get(Api::Payment, path)).list().await
    }

    fn action(&self, path: &str) -> Exchange {
        self.post(Api::Payment, path).wait(ACTION_TIMEOUT)
    }
}
