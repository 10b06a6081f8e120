//! Payments of requestors arrive and are believed only after the chain was asked (spec 40 §9).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SubsecRound, Utc};
use golem_bus::CallError;
use golem_model::driver::{PaymentConfirmation, VerifyPayment, VerifyPaymentError};
use golem_model::payment::peer::SendError;
use golem_model::payment::{Payment, SignedPayment};
use golem_model::{Caller, NodeId};
use golem_payment_core::signature;
use golem_payment_core::verify::{self as rules, For, OnChain, Terms};
use golem_store::StoreError;
use golem_store::rusqlite::Connection;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Service;
use super::notify::{pay, settle_documents};
use super::settle::driver_of;
use crate::arrow::arrow;
use crate::error::OpError;
use crate::metrics;
use crate::store::{Side, agreement, payment};

/// The sender waits about half a minute for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);
/// How long the own chain node may lag behind the payer's before a payment is given up until it is sent again.
const VERIFY_FOR: Duration = Duration::from_secs(15 * 60);
/// Pause between two looks at the chain, growing from the first to the second.
const LOOK_PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Payments that are verified after their sender was answered.
const BACKGROUND_MAX: usize = 1000;
/// Shares of one payment.
const SHARES_MAX: usize = 20_000;

/// A payment as it arrives, in the canonical or the old form.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) payment: Payment,
    pub(crate) signature: Vec<u8>,
    /// None in the old form.
    pub(crate) signed_bytes: Option<Vec<u8>>,
}

impl Signed {
    fn is_genuine(&self) -> bool {
        let digest = match &self.signed_bytes {
            Some(bytes) if signature::says_the_same(&self.payment, bytes) => signature::digest(bytes),
            Some(_) => return false,
            None => signature::digest(signature::legacy(&self.payment).as_bytes()),
        };
        golem_keys::verify(&digest, &self.signature, self.payment.payer_id)
    }
}

fn bad(text: impl Into<String>) -> OpError {
    OpError::BadRequest(text.into())
}

impl Service {
    /// Steps 1 to 12 of the specification's table.
    pub(crate) async fn payment_arrives(self: &Arc<Self>, caller: &Caller, signed: Signed) -> Result<(), SendError> {
        Ok(self.take_payment(caller, signed).await?)
    }

    async fn take_payment(self: &Arc<Self>, caller: &Caller, signed: Signed) -> Result<(), OpError> {
        let payment = &signed.payment;
        if caller.node_id() != Some(payment.payer_id) {
            return Err(bad("Invalid payer ID"));
        }
        if payment.agreement_payments.len() + payment.activity_payments.len() > SHARES_MAX {
            return Err(bad(format!("a payment has at most {SHARES_MAX} shares")));
        }
        if self.is_known(payment).await? {
            return Ok(());
        }
        let driver = driver_of(&payment.payment_platform);
        if !self.registry.drivers().contains_key(&driver) {
            return Err(OpError::Internal(format!("No driver for platform {}", payment.payment_platform)));
        }
        if !signed.is_genuine() {
            return Err(OpError::Internal("Invalid payment signature".to_owned()));
        }
        let confirmation = BASE64.decode(&payment.details).map_err(|_| bad("Confirmation is not base64-encoded"))?;
        let ask = VerifyPayment {
            confirmation: PaymentConfirmation { confirmation },
            platform: payment.payment_platform.clone(),
            details: payment.clone(),
        };
        match self.look_for(ANSWER_WITHIN, &driver, &ask).await {
            Ok(on_chain) => self.book_received(signed, on_chain).await,
            Err(VerifyPaymentError::NotYet(text)) => {
                self.verify_in_background(driver, ask, signed);
                Err(OpError::Internal(format!("Error while sending payment: {text}")))
            }
            Err(VerifyPaymentError::Refused(text)) => {
                Err(OpError::Internal(format!("Error while sending payment: {text}")))
            }
        }
    }

    /// Whether the payment was booked before; one id with two contents is refused.
    async fn is_known(&self, payment: &Payment) -> Result<bool, OpError> {
        let (owner, payer, id) = (payment.payee_id, payment.payer_id, payment.payment_id.clone());
        let look = move |db: &Connection| Ok::<_, StoreError>(payment::get(db, owner, &id, Some(payer))?);
        match self.store.read(look).await? {
            None => Ok(false),
            Some(known) if same(&known.payment, payment) => Ok(true),
            Some(_) => Err(bad(format!("Payment {} exists with other content", payment.payment_id))),
        }
    }

    /// Asks the driver until it knows or `time` is over.
    async fn look_for(&self, time: Duration, driver: &str, ask: &VerifyPayment) -> Result<OnChain, VerifyPaymentError> {
        let (give_up, mut pause) = (Instant::now() + time, LOOK_PAUSE.0);
        loop {
            let not_yet = match self.driver(driver, ask.clone()).await {
                Ok(found) => {
                    let (recipient, sender, amount) = (found.recipient, found.sender, found.amount);
                    return Ok(OnChain { recipient, sender, amount });
                }
                Err(CallError::Service(VerifyPaymentError::Refused(text))) => {
                    return Err(VerifyPaymentError::Refused(text));
                }
                Err(CallError::Service(VerifyPaymentError::NotYet(text))) => text,
                Err(CallError::Bus(error)) => error.to_string(),
            };
            if Instant::now() + pause > give_up {
                return Err(VerifyPaymentError::NotYet(not_yet));
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(VerifyPaymentError::NotYet(not_yet)),
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LOOK_PAUSE.1);
        }
    }

    /// Goes on looking after the sender was answered; the sender's repetition then finds the payment booked.
    fn verify_in_background(self: &Arc<Self>, driver: String, ask: VerifyPayment, signed: Signed) {
        let key = (signed.payment.payer_id, signed.payment.payment_id.clone());
        {
            let mut verifying = self.verifying.lock().unwrap_or_else(PoisonError::into_inner);
            if verifying.len() >= BACKGROUND_MAX || !verifying.insert(key.clone()) {
                return;
            }
        }
        let service = Arc::clone(self);
        self.tasks.spawn(async move {
            match service.look_for(VERIFY_FOR, &driver, &ask).await {
                Ok(on_chain) => {
                    if let Err(error) = service.book_received(signed, on_chain).await {
                        warn!(payer = %key.0, payment = key.1, %error, "a payment was refused");
                    }
                }
                Err(error) => warn!(payer = %key.0, payment = key.1, %error, "a payment is not on the chain"),
            }
            service.verifying.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        });
    }

    async fn book_received(&self, signed: Signed, on_chain: OnChain) -> Result<(), OpError> {
        let (owner, now) = (signed.payment.payee_id, self.now());
        let (platform, amount) = (signed.payment.payment_platform.clone(), signed.payment.amount);
        let (payer, id) = (signed.payment.payer_id, signed.payment.payment_id.clone());
        let booked = self.store.write(move |db| book(db, signed, &on_chain, now)).await?;
        if booked {
            arrow!("payment-received");
            info!(%owner, %payer, payment = id, %amount, "payment received");
            metrics::amount(metrics::AMOUNT_RECEIVED, &platform, amount);
            self.wake_payment(owner);
        }
        Ok(())
    }
}

/// Whether two payments are for the same; each side keeps its own time.
fn same(known: &Payment, new: &Payment) -> bool {
    let (mut known, mut new) = (known.clone().without_allocations(), new.clone().without_allocations());
    new.timestamp = known.timestamp;
    for payment in [&mut known, &mut new] {
        payment.agreement_payments.sort_by(|a, b| a.agreement_id.cmp(&b.agreement_id));
        payment.activity_payments.sort_by(|a, b| a.activity_id.cmp(&b.activity_id));
    }
    known == new
}

/// Books a verified payment with all that follows; `false` when it was booked meanwhile.
fn book(db: &Connection, signed: Signed, on_chain: &OnChain, now: DateTime<Utc>) -> Result<bool, OpError> {
    let Signed { payment: mut received, signature, signed_bytes } = signed;
    let (owner, payer) = (received.payee_id, received.payer_id);
    if payment::get(db, owner, &received.payment_id, Some(payer))?.is_some() {
        return Ok(false);
    }
    let mut agreements: HashMap<String, Terms> = HashMap::new();
    let mut activities: HashMap<String, (Terms, String)> = HashMap::new();
    for share in &received.agreement_payments {
        if let Some(terms) = terms(db, owner, payer, &share.agreement_id)? {
            agreements.insert(share.agreement_id.clone(), terms);
        }
    }
    for share in &received.activity_payments {
        if let Some(activity) = agreement::activity(db, owner, &share.activity_id)?
            && let Some(terms) = terms(db, owner, payer, &activity.agreement)?
        {
            activities.insert(share.activity_id.clone(), (terms, activity.agreement));
        }
    }
    let refuse = |refusal: rules::Refusal| bad(refusal.to_string());
    rules::check(&received, on_chain, |object| match object {
        For::Agreement(id) => agreements.get(id).cloned(),
        For::Activity(id) => activities.get(id).map(|(terms, _)| terms.clone()),
    })
    .map_err(refuse)?;
    let before = payment::received_under(db, owner, &received.payment_platform, &received.details)?;
    rules::check_not_reused(received.amount, &before, on_chain.amount).map_err(refuse)?;

    let mut touched: BTreeSet<(String, Option<String>)> = BTreeSet::new();
    for share in &received.agreement_payments {
        warn_of_overpayment(db, owner, &share.agreement_id)?;
        pay(db, owner, &share.agreement_id, None, share.amount.money()?, now)?;
        touched.insert((share.agreement_id.clone(), None));
    }
    for share in &received.activity_payments {
        let Some((_, of)) = activities.get(&share.activity_id) else { continue };
        pay(db, owner, of, Some(&share.activity_id), share.amount.money()?, now)?;
        touched.insert((of.clone(), Some(share.activity_id.clone())));
    }
    for (agreement_id, activity_id) in &touched {
        settle_documents(db, owner, agreement_id, activity_id.as_deref(), now)?;
    }
    // Each side shows when it stored the payment; the signed bytes keep the payer's time.
    received.timestamp = now.trunc_subsecs(3);
    let (signature, signed_bytes) = match signed_bytes {
        Some(bytes) => (Some(signature), Some(bytes)),
        None => (None, None),
    };
    let stored = SignedPayment { payment: received, signature, signed_bytes };
    let of: BTreeSet<_> = touched.iter().map(|(agreement, _)| agreement.as_str()).collect();
    payment::insert(db, owner, Side::Provider, &stored, of)?;
    Ok(true)
}

/// Terms of an agreement that `owner` provides to `payer`.
fn terms(db: &Connection, owner: NodeId, payer: NodeId, id: &str) -> Result<Option<Terms>, OpError> {
    let row = agreement::get(db, owner, id)?.filter(|row| row.role == Side::Provider && row.peer == payer);
    Ok(row.map(|row| Terms { payer_addr: row.payer_addr, payee_addr: row.payee_addr, platform: row.platform }))
}

/// More than was asked is taken, but somebody should know.
fn warn_of_overpayment(db: &Connection, owner: NodeId, id: &str) -> Result<(), OpError> {
    if let Some(row) = agreement::get(db, owner, id)?
        && row.totals.paid >= row.totals.due
    {
        warn!(agreement = id, due = %row.totals.due, paid = %row.totals.paid, "payment for what is paid already");
        metrics::PAYMENT_OVERPAID.add_one();
    }
    Ok(())
}
