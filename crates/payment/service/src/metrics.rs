//! Counters of the payment service, under the names that dashboards of the network read (spec 40 §13).

use golem_model::Amount;
use golem_model::payment::Network;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

pub(crate) const AMOUNT_SENT: &str = "payment.amount.sent";
pub(crate) const AMOUNT_RECEIVED: &str = "payment.amount.received";

/// One event of one kind, counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(&'static str, &'static str);

macro_rules! counts {
    ($($constant:ident = $name:literal, $help:literal;)*) => {
        $(pub(crate) const $constant: Count = Count($name, $help);)*
        const ALL: &[Count] = &[$($constant),*];
    };
}

counts! {
    INVOICE_ISSUED = "payment.invoices.provider.issued", "invoices issued";
    INVOICE_SENT = "payment.invoices.provider.sent", "invoices delivered to their requestor";
    INVOICE_SENT_CALL = "payment.invoices.provider.sent.call", "attempts to deliver an invoice";
    INVOICE_CANCELLED = "payment.invoices.provider.cancelled", "invoices cancelled";
    INVOICE_CANCELLED_CALL = "payment.invoices.provider.cancelled.call", "attempts to cancel an invoice";
    INVOICE_ACCEPTED_BY_PEER = "payment.invoices.provider.accepted", "own invoices accepted by requestors";
    INVOICE_ACCEPTED_BY_PEER_CALL = "payment.invoices.provider.accepted.call", "acceptances of invoices that arrived";
    INVOICE_REJECTED_BY_PEER = "payment.invoices.provider.rejected", "own invoices rejected by requestors";
    INVOICE_REJECTED_BY_PEER_CALL = "payment.invoices.provider.rejected.call", "rejections of invoices that arrived";
    INVOICE_PAID_TO_ME = "payment.invoices.provider.paid", "own invoices settled";
    INVOICE_RECEIVED = "payment.invoices.requestor.received", "invoices received";
    INVOICE_RECEIVED_CALL = "payment.invoices.requestor.received.call", "invoices that arrived, repeated ones included";
    INVOICE_ACCEPTED = "payment.invoices.requestor.accepted", "invoices accepted";
    INVOICE_ACCEPTED_CALL = "payment.invoices.requestor.accepted.call", "attempts to accept an invoice";
    INVOICE_REJECTED = "payment.invoices.requestor.rejected", "invoices rejected";
    INVOICE_REJECTED_CALL = "payment.invoices.requestor.rejected.call", "attempts to reject an invoice";
    INVOICE_CANCELLED_BY_PEER = "payment.invoices.requestor.cancelled", "invoices cancelled by their provider";
    INVOICE_CANCELLED_BY_PEER_CALL = "payment.invoices.requestor.cancelled.call", "cancellations that arrived";
    INVOICE_PAID = "payment.invoices.requestor.paid", "invoices paid";
    NOT_ENOUGH_FUNDS = "payment.invoices.requestor.not-enough-funds", "invoices not accepted for lack of funds";
    NOTE_ISSUED = "payment.debit_notes.provider.issued", "debit notes issued";
    NOTE_SENT = "payment.debit_notes.provider.sent", "debit notes delivered to their requestor";
    NOTE_SENT_CALL = "payment.debit_notes.provider.sent.call", "attempts to deliver a debit note";
    NOTE_ACCEPTED_BY_PEER = "payment.debit_notes.provider.accepted", "own debit notes accepted by requestors";
    NOTE_ACCEPTED_BY_PEER_CALL = "payment.debit_notes.provider.accepted.call", "acceptances of notes that arrived";
    NOTE_RECEIVED = "payment.debit_notes.requestor.received", "debit notes received";
    NOTE_RECEIVED_CALL = "payment.debit_notes.requestor.received.call", "debit notes that arrived, repeated included";
    NOTE_ACCEPTED = "payment.debit_notes.requestor.accepted", "debit notes accepted";
    NOTE_ACCEPTED_CALL = "payment.debit_notes.requestor.accepted.call", "attempts to accept a debit note";
    INVOICE_EVENTS_QUERY = "payment.invoices.events.query", "polls for events of invoices";
    NOTE_EVENTS_QUERY = "payment.debit_notes.events.query", "polls for events of debit notes";
    PAYMENT_OVERPAID = "payment.received.overpaid", "payments received for agreements that were paid in full before";
    PAYMENT_DROPPED = "payment.orders.dropped", "transfers given up by a driver and opened again";
}

impl Count {
    pub(crate) fn add_one(self) {
        counter!(self.0).increment(1);
    }
}

/// Tells the recorder all names and starts them at zero.
pub(crate) fn describe() {
    for Count(name, help) in ALL {
        describe_counter!(*name, Unit::Count, *help);
        counter!(*name).absolute(0);
    }
    for network in [Network::Holesky, Network::Hoodi, Network::Mainnet, Network::Polygon] {
        gauge!(AMOUNT_SENT, "platform" => network.platform().to_string()).set(0.0);
        gauge!(AMOUNT_RECEIVED, "platform" => network.platform().to_string()).set(0.0);
    }
    describe_gauge!(AMOUNT_SENT, "GLM paid, by platform");
    describe_gauge!(AMOUNT_RECEIVED, "GLM received, by platform");
}

/// An amount that left for, or came from, peers. A gauge that only grows, because counters are whole numbers.
pub(crate) fn amount(name: &'static str, platform: &str, amount: Amount) {
    if let Ok(glm) = amount.to_string().parse::<f64>() {
        gauge!(name, "platform" => platform.to_owned()).increment(glm);
    }
}
