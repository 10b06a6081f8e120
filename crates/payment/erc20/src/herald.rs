//! Tells the payment service what became of its transfers, until it has acknowledged it (spec 42 §5.8).
//!
//! Started with the driver; owns nothing but its place in the queue of news, which is in the books; stops with the driver.

use std::sync::Arc;
use std::time::Duration;

use golem_bus::CallError;
use golem_model::driver::PaymentConfirmation;
use golem_model::payment::local::{NotifyPayment, PaymentAbandoned};
use golem_model::{Amount, Call, Caller, payment};
use golem_store::StoreError;
use tracing::{debug, error, warn};

use crate::DRIVER;
use crate::arrow::arrow;
use crate::driver::Driver;
use crate::store::News;

/// Time for an acknowledgement. The payment service signs and stores before it answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// First and longest wait before what was not acknowledged is said again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

pub(crate) async fn run(driver: Arc<Driver>) {
    let mut wait = AGAIN.0;
    loop {
        let all_known = tokio::select! {
            biased;
            () = driver.stop.cancelled() => break,
            all_known = tell_all(&driver) => all_known,
        };
        let sleep = async {
            match all_known {
                Ok(true) => std::future::pending().await,
                Ok(false) => tokio::time::sleep(wait).await,
                Err(problem) => {
                    error!(%problem, "the payment driver cannot read its news");
                    tokio::time::sleep(wait).await;
                }
            }
        };
        tokio::select! {
            biased;
            () = driver.stop.cancelled() => break,
            () = driver.news.notified() => wait = AGAIN.0,
            () = sleep => wait = (wait * 2).min(AGAIN.1),
        }
    }
    debug!("herald stopped");
}

/// Whether nothing is left to say.
async fn tell_all(driver: &Driver) -> Result<bool, StoreError> {
    let mut all_known = true;
    let mut news = driver.books.news().await?;
    while !news.is_empty() {
        let mut any = false;
        for one in news {
            let known = tell(driver, &one).await;
            arrow!("erc20-notified");
            if known {
                driver.books.acknowledged(one.payment_id()).await?;
                any = true;
            } else {
                all_known = false;
            }
        }
        if !any {
            break;
        }
        news = driver.books.news().await?;
    }
    Ok(all_known || driver.books.news().await?.is_empty())
}

async fn tell(driver: &Driver, news: &News) -> bool {
    match news.clone() {
        News::Paid { network, payment_id, sender, recipient, amount, hash } => {
            let notice = NotifyPayment {
                driver: DRIVER.to_owned(),
                platform: network.platform().to_string(),
                amount: Amount::from_wei(amount).trimmed(),
                sender: crate::text(sender),
                recipient: crate::text(recipient),
                payment_id,
                confirmation: PaymentConfirmation { confirmation: hash.to_vec() },
            };
            call(driver, news, notice).await
        }
        News::Abandoned { payment_id, reason } => call(driver, news, PaymentAbandoned { payment_id, reason }).await,
    }
}

async fn call<C: Call>(driver: &Driver, news: &News, message: C) -> bool {
    match driver.bus.call(payment::ADDRESS, Caller::local(), message, ANSWER_WITHIN).await {
        Ok(_) => true,
        Err(CallError::Service(problem)) => {
            warn!(payment_id = news.payment_id(), ?problem, "the payment service does not acknowledge a payment");
            false
        }
        Err(CallError::Bus(problem)) => {
            debug!(payment_id = news.payment_id(), %problem, "the payment service is not there");
            false
        }
    }
}
