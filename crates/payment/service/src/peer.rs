//! `/public/payment`: other nodes (spec 40 §7). The caller is proved by the net.

use std::sync::Arc;

use golem_model::payment::peer::{
    AcceptDebitNote, AcceptInvoice, CancelDebitNote, CancelInvoice, PaymentSync, PaymentSyncNeeded,
    PaymentSyncWithBytes, RejectDebitNote, RejectInvoiceV2, SendDebitNote, SendInvoice, SendPayment,
    SendPaymentWithBytes,
};
use golem_model::payment::{Ack, PUBLIC_ADDRESS};

use crate::service::{Service, Signed};

impl From<SendPayment> for Signed {
    fn from(message: SendPayment) -> Self {
        Self { payment: message.payment, signature: message.signature, signed_bytes: None }
    }
}

impl From<SendPaymentWithBytes> for Signed {
    fn from(message: SendPaymentWithBytes) -> Self {
        let SendPaymentWithBytes { payment, signature, signed_bytes } = message;
        Self { payment, signature, signed_bytes: Some(signed_bytes) }
    }
}

pub(crate) fn bind(service: &Arc<Service>) {
    macro_rules! answer {
        ($message:ty, |$service:ident, $caller:ident, $call:ident| $body:expr) => {{
            let shared = Arc::clone(service);
            service.bus.bind::<$message, _, _>(PUBLIC_ADDRESS, move |$caller, $call| {
                let $service = Arc::clone(&shared);
                async move { $body.await.map(|()| Ack {}) }
            });
        }};
    }
    answer!(SendDebitNote, |service, caller, call| service.note_arrives(&caller, call.0));
    answer!(SendInvoice, |service, caller, call| service.invoice_arrives(&caller, call.0));
    answer!(AcceptDebitNote, |service, caller, call| service.note_is_accepted(&caller, call));
    answer!(AcceptInvoice, |service, caller, call| service.invoice_is_accepted(&caller, call));
    answer!(RejectDebitNote, |service, caller, call| {
        service.note_is_rejected(&caller, call.debit_note_id, call.rejection)
    });
    answer!(RejectInvoiceV2, |service, caller, call| service.invoice_is_rejected(&caller, call));
    answer!(CancelDebitNote, |service, caller, call| service.note_is_cancelled(&caller, call.debit_note_id));
    answer!(CancelInvoice, |service, caller, call| service.invoice_is_cancelled(&caller, call));
    answer!(SendPayment, |service, caller, call| service.payment_arrives(&caller, call.into()));
    answer!(SendPaymentWithBytes, |service, caller, call| service.payment_arrives(&caller, call.into()));
    answer!(PaymentSync, |service, caller, call| {
        let PaymentSync { payments, invoice_accepts, invoice_rejects, debit_note_accepts } = call;
        let payments = payments.into_iter().map(Signed::from).collect();
        service.sync_arrives(&caller, payments, (debit_note_accepts, invoice_accepts, invoice_rejects))
    });
    answer!(PaymentSyncWithBytes, |service, caller, call| {
        let PaymentSyncWithBytes { payments, invoice_accepts, invoice_rejects, debit_note_accepts } = call;
        let payments = payments.into_iter().map(Signed::from).collect();
        service.sync_arrives(&caller, payments, (debit_note_accepts, invoice_accepts, invoice_rejects))
    });
    answer!(PaymentSyncNeeded, |service, caller, _call| service.sync_is_needed(&caller));
}
