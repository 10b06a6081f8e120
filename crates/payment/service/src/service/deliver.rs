//! Messages to peers: directly, and from the outbox (spec 40 §7.5).

use std::sync::Arc;
use std::time::Duration;

use golem_bus::{BusError, CallError};
use golem_model::address::{Channel, remote_as};
use golem_model::payment::peer::{
    AcceptDebitNote, AcceptInvoice, AcceptRejectError, CancelError, RejectInvoiceV2, SendError, SendPayment,
    SendPaymentWithBytes,
};
use golem_model::payment::{Acceptance, Ack, PUBLIC_ADDRESS, Payment, SignedPayment};
use golem_model::{Call, Caller, NodeId, identity};
use golem_payment_core::signature;
use golem_store::StoreError;
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::{LOCAL_TIME_MAX, PEER_TIME_MAX, Service};
use crate::arrow::arrow;
use crate::error::OpError;
use crate::metrics;
use crate::store::outbox::{self, Notice};
use crate::store::{document, event, payment};

/// How a message to a peer ends other than well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// The peer, or the way to it, is not there now.
    #[error("{0}")]
    Unreachable(BusError),
    /// The peer does not know this message: it is older.
    #[error("{0}")]
    Unsupported(BusError),
    #[error("{0}")]
    BadRequest(String),
    #[error("Service error: {0}")]
    Service(String),
    #[error("Object not found")]
    NotFound,
    #[error("Forbidden")]
    Forbidden,
    #[error("Conflict")]
    Conflict,
    #[error("Payments refused: {0:?}")]
    Sync(golem_model::payment::peer::PaymentSyncError),
    /// This node itself cannot: its store or its keys fail.
    #[error("{0}")]
    Own(String),
}

impl PeerError {
    pub(crate) const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Unsupported(_))
    }

    /// The peer has this already; official daemons answer a repetition so (spec 40 §7.7).
    fn is_repetition(&self) -> bool {
        match self {
            Self::BadRequest(text) | Self::Service(text) => text.contains("UNIQUE constraint failed"),
            _ => false,
        }
    }
}

impl From<BusError> for PeerError {
    fn from(error: BusError) -> Self {
        if error.to_string().contains("endpoint address not found") {
            Self::Unsupported(error)
        } else {
            Self::Unreachable(error)
        }
    }
}

impl From<StoreError> for PeerError {
    fn from(error: StoreError) -> Self {
        Self::Own(error.to_string())
    }
}

impl From<SendError> for PeerError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::BadRequest(text) => Self::BadRequest(text),
            SendError::ServiceError(text) => Self::Service(text),
        }
    }
}

impl From<AcceptRejectError> for PeerError {
    fn from(error: AcceptRejectError) -> Self {
        match error {
            AcceptRejectError::BadRequest(text) => Self::BadRequest(text),
            AcceptRejectError::ServiceError(text) => Self::Service(text),
            AcceptRejectError::ObjectNotFound => Self::NotFound,
            AcceptRejectError::Forbidden => Self::Forbidden,
        }
    }
}

impl From<CancelError> for PeerError {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::ServiceError(text) => Self::Service(text),
            CancelError::ObjectNotFound => Self::NotFound,
            CancelError::Forbidden => Self::Forbidden,
            CancelError::Conflict => Self::Conflict,
        }
    }
}

impl From<golem_model::payment::peer::PaymentSyncError> for PeerError {
    fn from(error: golem_model::payment::peer::PaymentSyncError) -> Self {
        Self::Sync(error)
    }
}

impl From<PeerError> for OpError {
    fn from(error: PeerError) -> Self {
        match error {
            PeerError::BadRequest(text) => Self::BadRequest(text),
            error => Self::Internal(error.to_string()),
        }
    }
}

/// Payments whose transfer is counted when it was this peer's first sight of it.
fn already_delivered(error: &PeerError, was_sent: bool) -> bool {
    match error {
        PeerError::BadRequest(text) if was_sent => text.contains("used for multiple payments"),
        error => error.is_repetition(),
    }
}

impl Service {
    /// Calls a peer's payment service as `owner`.
    pub(super) async fn deliver<C>(&self, owner: NodeId, peer: NodeId, message: C) -> Result<(), PeerError>
    where
        C: Call<Item = Ack>,
        C::Error: Into<PeerError>,
    {
        let address = remote_as(Channel::Reliable, owner, peer, PUBLIC_ADDRESS);
        match self.bus.call(&address, Caller::from(owner), message, PEER_TIME_MAX).await {
            Ok(Ack {}) => Ok(()),
            Err(CallError::Bus(error)) => Err(error.into()),
            Err(CallError::Service(error)) => {
                let error = error.into();
                if error.is_repetition() { Ok(()) } else { Err(error) }
            }
        }
    }

    /// Runs `work` to its end in the background, but waits for it no longer than `time`.
    pub(super) async fn within(
        &self,
        time: Duration,
        late: &'static str,
        work: impl Future<Output = Result<(), OpError>> + Send + 'static,
    ) -> Result<(), OpError> {
        let (done, answer) = oneshot::channel();
        self.tasks.spawn(async move {
            let outcome = work.await;
            if let Err(Err(error)) = done.send(outcome) {
                debug!(%error, "a message failed after its client had gone");
            }
        });
        match tokio::time::timeout(time, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(OpError::Internal("the daemon is stopping".to_owned())),
            Err(_) => Err(OpError::Timeout(late)),
        }
    }

    /// Tells a peer one thing of the outbox and takes it out when the peer knows.
    pub(super) async fn tell(&self, parties: (NodeId, NodeId), notice: Notice, object: &str) -> Result<(), PeerError> {
        match notice {
            Notice::Payment => self.tell_payment(parties, object).await?,
            Notice::AcceptNote => {
                if let Some(message) = self.acceptance_of_note(parties.0, object).await? {
                    self.deliver(parties.0, parties.1, message).await?;
                }
            }
            Notice::AcceptInvoice => {
                if let Some(message) = self.acceptance_of_invoice(parties.0, object).await? {
                    self.deliver(parties.0, parties.1, message).await?;
                }
            }
            Notice::RejectInvoice => {
                if let Some(message) = self.rejection_of_invoice(parties.0, object).await? {
                    self.deliver(parties.0, parties.1, message).await?;
                }
            }
        }
        let object = object.to_owned();
        self.store.write(move |db| Ok::<_, StoreError>(outbox::remove(db, parties, notice, &object)?)).await?;
        Ok(())
    }

    /// Direct sending has failed: the sync job tries after its first delay.
    pub(super) async fn sync_takes_over(&self, parties: (NodeId, NodeId)) {
        let next = self.config.sync.due(self.now(), 0);
        let change = move |db: &golem_store::rusqlite::Connection| {
            if let Some(next) = next {
                outbox::take_over(db, parties, next)?;
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = self.store.write(move |db| change(db)).await {
            warn!(peer = %parties.1, %error, "cannot schedule a repetition");
        }
        self.sync_changed.notify_one();
    }

    /// The allocation behind an acceptance is nobody else's business (spec 40 §4.5 defect 4).
    pub(super) async fn acceptance_of_note(
        &self,
        owner: NodeId,
        id: &str,
    ) -> Result<Option<AcceptDebitNote>, StoreError> {
        let key = id.to_owned();
        let note = self.store.read(move |db| Ok::<_, StoreError>(document::note(db, owner, &key)?)).await?;
        Ok(note.map(|note| AcceptDebitNote {
            debit_note_id: note.document.debit_note_id,
            acceptance: Acceptance {
                total_amount_accepted: note.document.total_amount_due,
                allocation_id: String::new(),
            },
            issuer_id: note.document.issuer_id,
        }))
    }

    pub(super) async fn acceptance_of_invoice(
        &self,
        owner: NodeId,
        id: &str,
    ) -> Result<Option<AcceptInvoice>, StoreError> {
        let key = id.to_owned();
        let invoice = self.store.read(move |db| Ok::<_, StoreError>(document::invoice(db, owner, &key)?)).await?;
        Ok(invoice.map(|invoice| AcceptInvoice {
            invoice_id: invoice.document.invoice_id,
            acceptance: Acceptance { total_amount_accepted: invoice.document.amount, allocation_id: String::new() },
            issuer_id: invoice.document.issuer_id,
        }))
    }

    pub(super) async fn rejection_of_invoice(
        &self,
        owner: NodeId,
        id: &str,
    ) -> Result<Option<RejectInvoiceV2>, StoreError> {
        let key = id.to_owned();
        let look = move |db: &golem_store::rusqlite::Connection| {
            let (invoice, rejection) = (document::invoice(db, owner, &key)?, event::rejection(db, owner, &key)?);
            Ok::<_, StoreError>(invoice.zip(rejection))
        };
        let found = self.store.read(look).await?;
        Ok(found.map(|(invoice, rejection)| RejectInvoiceV2 {
            invoice_id: invoice.document.invoice_id,
            rejection,
            issuer_id: invoice.document.issuer_id,
        }))
    }

    async fn tell_payment(&self, parties: (NodeId, NodeId), id: &str) -> Result<(), PeerError> {
        let Some((message, was_signed)) = self.signed_payment(parties, id).await? else { return Ok(()) };
        arrow!("payment-signed");
        let SendPaymentWithBytes { payment, .. } = &message;
        let (payment, (owner, peer)) = (payment.clone(), parties);
        let sent = match self.deliver(owner, peer, message).await {
            Err(PeerError::Unsupported(_)) => {
                let message = self.legacy_payment(owner, payment.clone()).await?;
                self.deliver(owner, peer, message).await
            }
            sent => sent,
        };
        arrow!("payment-told");
        match sent {
            Err(error) if !already_delivered(&error, was_signed) => Err(error),
            _ => {
                metrics::amount(metrics::AMOUNT_SENT, &payment.payment_platform, payment.amount);
                Ok(())
            }
        }
    }

    /// A payment with its canonical signature, made once and kept; `true` when it was signed, and so maybe sent, before.
    pub(super) async fn signed_payment(
        &self,
        parties: (NodeId, NodeId),
        id: &str,
    ) -> Result<Option<(SendPaymentWithBytes, bool)>, PeerError> {
        let ((owner, peer), key) = (parties, id.to_owned());
        let look = move |db: &golem_store::rusqlite::Connection| {
            Ok::<_, StoreError>(payment::get(db, owner, &key, Some(peer))?)
        };
        let Some(SignedPayment { payment, signature, signed_bytes }) = self.store.read(look).await? else {
            return Ok(None);
        };
        let payment = payment.without_allocations();
        if let (Some(signature), Some(signed_bytes)) = (signature, signed_bytes) {
            return Ok(Some((SendPaymentWithBytes { payment, signature, signed_bytes }, true)));
        }
        let signed_bytes = signature::canonical(&payment).into_bytes();
        let signature = self.sign(owner, &signed_bytes).await?;
        let (id, signature_kept, bytes_kept) = (payment.payment_id.clone(), signature.clone(), signed_bytes.clone());
        let keep = move |db: &golem_store::rusqlite::Connection| {
            payment::set_signature(db, owner, &id, peer, &signature_kept, &bytes_kept)?;
            Ok::<_, StoreError>(())
        };
        self.store.write(move |db| keep(db)).await?;
        Ok(Some((SendPaymentWithBytes { payment, signature, signed_bytes }, false)))
    }

    pub(super) async fn legacy_payment(&self, owner: NodeId, payment: Payment) -> Result<SendPayment, PeerError> {
        let signature = self.sign(owner, signature::legacy(&payment).as_bytes()).await?;
        Ok(SendPayment { payment, signature })
    }

    async fn sign(&self, node_id: NodeId, text: &[u8]) -> Result<Vec<u8>, PeerError> {
        let call = identity::Sign { node_id, payload: signature::digest(text).to_vec() };
        let signed = self.bus.call(identity::ADDRESS, Caller::local(), call, LOCAL_TIME_MAX).await;
        signed.map_err(|error| PeerError::Own(format!("cannot sign as {node_id}: {error}")))
    }

    /// Tells a peer of a new payment in the background.
    pub(super) fn tell_payment_soon(self: &Arc<Self>, parties: (NodeId, NodeId), id: String) {
        let service = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Err(error) = service.tell(parties, Notice::Payment, &id).await {
                warn!(peer = %parties.1, payment = %id, %error, "payment is made but its payee does not know; told again later");
                service.sync_takes_over(parties).await;
            }
        });
    }
}
