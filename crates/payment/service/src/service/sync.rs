//! Peers are told later what they could not be told at once (spec 40 §7.6), and asked for what this node may have
//! missed (§7.7).

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use golem_model::payment::peer::{
    AcceptDebitNote, AcceptInvoice, AcceptRejectError, PaymentSync, PaymentSyncError, PaymentSyncNeeded,
    PaymentSyncWithBytes, RejectInvoiceV2, SendError,
};
use golem_model::{Caller, NodeId};
use golem_store::StoreError;
use golem_store::rusqlite::Connection;
use tracing::{debug, info, warn};

use super::deliver::PeerError;
use super::{Service, Signed, until};
use crate::store::document;
use crate::store::outbox::{self, Notice};

/// Longest sleep, so that a changed wall clock is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(300);
/// Peers that are told at once.
const PEERS_AT_ONCE: i64 = 16;
/// Notices in one message; the rest follows in the next.
const NOTICES_MAX: i64 = 100;
/// Elements of a foreign sync message that are handled.
const FOREIGN_NOTICES_MAX: usize = 10_000;
/// Pause between two peers that are asked, so that a start floods nobody.
const ASK_PAUSE: Duration = Duration::from_millis(200);
/// How often overdue debtors are asked.
const ASK_EVERY: Duration = Duration::from_secs(3600);

/// Waits for peers whose time has come.
pub(super) async fn run(service: Arc<Service>) {
    let now = service.now();
    if let Err(error) = service.store.write(move |db| Ok::<_, StoreError>(outbox::wake_all(db, now)?)).await {
        warn!(%error, "cannot look for notices of before the start");
    }
    loop {
        let changed = service.sync_changed.notified();
        let sleep = match service.tell_due_peers().await {
            Ok(next) => until(service.now(), next, SLEEP_MAX),
            Err(error) => {
                warn!(%error, "cannot tell peers what they missed; pausing");
                service.config.sync_error_pause
            }
        };
        tokio::select! {
            biased;
            () = service.stop.cancelled() => return,
            () = changed => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// Asks requestors whose answer or payment may have been lost: all at the start, those overdue later.
pub(super) async fn ask_debtors(service: Arc<Service>) {
    let mut due = None;
    loop {
        let debtors = service.store.read(move |db| Ok::<_, StoreError>(document::debtors(db, due)?)).await;
        for (owner, peer) in debtors.unwrap_or_default() {
            let asking = Arc::clone(&service);
            service.tasks.spawn(async move {
                if let Err(error) = asking.deliver(owner, peer, PaymentSyncNeeded).await {
                    debug!(%peer, %error, "a requestor does not answer");
                }
            });
            tokio::select! {
                biased;
                () = service.stop.cancelled() => return,
                () = tokio::time::sleep(ASK_PAUSE) => {}
            }
        }
        tokio::select! {
            biased;
            () = service.stop.cancelled() => return,
            () = tokio::time::sleep(ASK_EVERY) => {}
        }
        due = Some(service.now());
    }
}

impl Service {
    /// Tells all that are due; answers when the next is.
    async fn tell_due_peers(self: &Arc<Self>) -> Result<Option<DateTime<Utc>>, StoreError> {
        let now = self.now();
        // Whoever is being told is out of the way until the attempt has surely ended.
        let busy = (now + TimeDelta::minutes(10)).trunc_subsecs(6);
        let take = move |db: &Connection| {
            let due = outbox::due(db, now, PEERS_AT_ONCE)?;
            for (owner, peer, retries) in &due {
                outbox::schedule(db, (*owner, *peer), Some(busy), *retries)?;
            }
            Ok::<_, StoreError>((due, outbox::next_due(db)?))
        };
        let (due, next) = self.store.write(move |db| take(db)).await?;
        for (owner, peer, retries) in due {
            let service = Arc::clone(self);
            self.tasks.spawn(async move { service.sync_peer((owner, peer), retries, busy).await });
        }
        Ok(next)
    }

    async fn sync_peer(self: Arc<Self>, parties: (NodeId, NodeId), retries: u32, busy: DateTime<Utc>) {
        let outcome = self.tell_all(parties).await;
        let (next, retries) = match outcome {
            Ok(more) => {
                // More than one message holds, or nothing: then the row is gone.
                (more.then(|| self.now()), 0)
            }
            Err(error) => {
                let delay = self.config.sync.due(self.now(), retries + 1);
                info!(peer = %parties.1, %error, retries, next = ?delay, "a peer does not take what it must know");
                (delay, retries + 1)
            }
        };
        let change = move |db: &Connection| {
            if outbox::of_peer(db, parties, 1)?.is_empty() {
                // Removing any notice removes the row of a peer with none.
                outbox::remove(db, parties, Notice::Payment, "")?;
            } else if outbox::next_of(db, parties)?.is_none_or(|next| next >= busy) {
                // A peer that asked during the attempt is told again at once: its row was woken meanwhile.
                outbox::schedule(db, parties, next, retries)?;
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = self.store.write(move |db| change(db)).await {
            warn!(peer = %parties.1, %error, "cannot keep when a peer is told again");
        }
        self.sync_changed.notify_one();
    }

    /// Tells a peer all it misses in one message, or one by one if it refuses any; `true` when there may be more.
    async fn tell_all(&self, parties: (NodeId, NodeId)) -> Result<bool, PeerError> {
        let look = move |db: &Connection| Ok::<_, StoreError>(outbox::of_peer(db, parties, NOTICES_MAX)?);
        let notices = self.store.read(look).await?;
        if notices.is_empty() {
            return Ok(false);
        }
        match self.tell_together(parties, &notices).await {
            Ok(()) => {
                let removed = notices.clone();
                let remove = move |db: &Connection| {
                    for (notice, object) in &removed {
                        outbox::remove(db, parties, *notice, object)?;
                    }
                    Ok::<_, StoreError>(())
                };
                self.store.write(move |db| remove(db)).await?;
            }
            Err(PeerError::Sync(error)) => {
                info!(peer = %parties.1, %error, "a peer refuses some of what it missed; telling it one by one");
                let mut failed = None;
                for (notice, object) in &notices {
                    if let Err(error) = self.tell(parties, *notice, object).await {
                        failed = Some(error);
                    }
                }
                if let Some(error) = failed {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    async fn tell_together(&self, parties: (NodeId, NodeId), notices: &[(Notice, String)]) -> Result<(), PeerError> {
        let mut all = PaymentSyncWithBytes::default();
        for (notice, object) in notices {
            match notice {
                Notice::AcceptNote => {
                    all.debit_note_accepts.extend(self.acceptance_of_note(parties.0, object).await?);
                }
                Notice::AcceptInvoice => {
                    all.invoice_accepts.extend(self.acceptance_of_invoice(parties.0, object).await?);
                }
                Notice::RejectInvoice => {
                    all.invoice_rejects.extend(self.rejection_of_invoice(parties.0, object).await?);
                }
                Notice::Payment => {
                    all.payments.extend(self.signed_payment(parties, object).await?.map(|(payment, _)| payment));
                }
            }
        }
        match self.deliver(parties.0, parties.1, all.clone()).await {
            Err(PeerError::Unsupported(_)) => {
                let PaymentSyncWithBytes { payments, invoice_accepts, invoice_rejects, debit_note_accepts } = all;
                let mut old = PaymentSync { invoice_accepts, invoice_rejects, debit_note_accepts, payments: vec![] };
                for sent in payments {
                    old.payments.push(self.legacy_payment(parties.0, sent.payment).await?);
                }
                self.deliver(parties.0, parties.1, old).await
            }
            sent => sent,
        }
    }

    /// A provider may have missed something: everything it was not told goes out now.
    pub(crate) async fn sync_is_needed(&self, caller: &Caller) -> Result<(), SendError> {
        let Some(peer) = caller.node_id() else {
            return Err(SendError::BadRequest("Invalid caller".to_owned()));
        };
        let now = self.now();
        let wake = move |db: &Connection| Ok::<_, StoreError>(outbox::wake_peer(db, peer, now)?);
        self.store.write(move |db| wake(db)).await.map_err(|error| SendError::ServiceError(error.to_string()))?;
        self.sync_changed.notify_one();
        Ok(())
    }

    /// Handles each element of a sync like the single message; all errors are told, in order.
    pub(crate) async fn sync_arrives(
        self: &Arc<Self>,
        caller: &Caller,
        payments: Vec<Signed>,
        (notes, invoices, rejections): (Vec<AcceptDebitNote>, Vec<AcceptInvoice>, Vec<RejectInvoiceV2>),
    ) -> Result<(), PaymentSyncError> {
        let mut errors = PaymentSyncError::default();
        if payments.len() + notes.len() + invoices.len() + rejections.len() > FOREIGN_NOTICES_MAX {
            let text = format!("a sync has at most {FOREIGN_NOTICES_MAX} elements");
            errors.payment_send_errors.push(SendError::BadRequest(text));
            return Err(errors);
        }
        // Answers first: a document that is paid before it is accepted would never show its acceptance.
        let mut answers: Vec<Result<(), AcceptRejectError>> = Vec::new();
        for message in invoices {
            answers.push(self.invoice_is_accepted(caller, message).await);
        }
        for message in rejections {
            answers.push(self.invoice_is_rejected(caller, message).await);
        }
        for message in notes {
            answers.push(self.note_is_accepted(caller, message).await);
        }
        // Payments of one message mostly share a transfer that the chain node may lag behind; one wait serves all.
        let arrivals = payments.into_iter().map(|signed| self.payment_arrives(caller, signed));
        let outcomes: Vec<Result<(), SendError>> =
            futures::StreamExt::collect(futures::StreamExt::buffered(futures::stream::iter(arrivals), 8)).await;
        errors.payment_send_errors.extend(outcomes.into_iter().filter_map(Result::err));
        errors.accept_errors.extend(answers.into_iter().filter_map(Result::err));
        if errors == PaymentSyncError::default() { Ok(()) } else { Err(errors) }
    }
}
