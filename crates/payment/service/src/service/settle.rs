//! Settlement of the requestor: cycles, batch orders, orders to the driver (spec 40 §6).
//!
//! What is open becomes an order with its payment ids in one write; then the driver is told. The driver knows the ids,
//! so after a kill anywhere the next run says the same again and nothing is transferred twice.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use golem_model::payment::PaymentPlatform;
use golem_model::payment::local::{
    BatchCycle, ProcessBatchCycleError, ProcessBatchCycleInfo, ProcessBatchCycleSet, ProcessPaymentsError,
    ProcessPaymentsNow, ProcessPaymentsResult,
};
use golem_model::{NodeId, driver};
use golem_payment_core::books::Totals;
use golem_payment_core::clearing::{self, Order};
use golem_payment_core::cycle::{Cycle, Rule, extra_time};
use golem_store::StoreError;
use golem_store::rusqlite::Connection;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Service, until};
use crate::arrow::arrow;
use crate::error::OpError;
use crate::store::{agreement, allocation, cycle, order};

/// Longest sleep, so that a changed wall clock is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(300);
/// When a driver that did not take an order is asked again.
const RETRY_AFTER: TimeDelta = TimeDelta::seconds(30);

/// Waits for due runs and starts them.
pub(super) async fn run_cycles(service: Arc<Service>) {
    service.resume().await;
    loop {
        let changed = service.cycles_changed.notified();
        let next = match service.start_due_runs().await {
            Ok(next) => next,
            Err(error) => {
                error!(%error, "cannot read the payment cycles; trying again");
                Some(service.now() + TimeDelta::seconds(5))
            }
        };
        let sleep = until(service.now(), next, SLEEP_MAX);
        tokio::select! {
            biased;
            () = service.stop.cancelled() => return,
            () = changed => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

impl Service {
    /// After a start: what was ordered but maybe not told to the driver is told now.
    async fn resume(self: &Arc<Self>) {
        let unfinished = self.store.read(|db| Ok::<_, StoreError>(order::unfinished(db)?)).await;
        match unfinished {
            Ok(keys) => {
                for (owner, platform) in keys {
                    let at_once = self.config.settle == crate::Settle::AtOnce;
                    self.run_soon((owner, platform), at_once);
                }
            }
            Err(error) => error!(%error, "cannot look for unfinished orders"),
        }
    }

    /// Starts what is due; answers when the next run is.
    async fn start_due_runs(self: &Arc<Self>) -> Result<Option<DateTime<Utc>>, StoreError> {
        let now = self.now();
        let take_due = move |db: &Connection| {
            let mut due = Vec::new();
            for (owner, platform, mut row) in cycle::list(db)? {
                if row.next <= now {
                    row.run(now);
                    cycle::save(db, owner, &platform, &row)?;
                    due.push((owner, platform));
                }
            }
            Ok::<_, StoreError>((due, cycle::next_due(db)?))
        };
        let (due, next) = self.store.write(move |db| take_due(db)).await?;
        for key in due {
            self.run_soon(key, true);
        }
        Ok(next)
    }

    /// Pays what was accepted without waiting for the cycle.
    pub(super) fn settle_soon(self: &Arc<Self>, owner: NodeId, platform: String) {
        self.run_soon((owner, platform), true);
    }

    fn run_soon(self: &Arc<Self>, key: (NodeId, String), resolve: bool) {
        // A run that only sends must not swallow the announcement of one that also resolves.
        if resolve && !self.runs.announce(&key) {
            return;
        }
        let service = Arc::clone(self);
        self.tasks.spawn(async move {
            let (owner, platform) = (key.0, key.1.clone());
            if let Err(error) = service.settle(key, resolve, true).await {
                warn!(%owner, platform, %error, "settlement is not complete; trying again");
                if let Err(error) = service.run_again(owner, platform).await {
                    error!(%owner, %error, "cannot schedule the next settlement");
                }
            }
        });
    }

    /// Brings the next run forward after a failure.
    async fn run_again(&self, owner: NodeId, platform: String) -> Result<(), OpError> {
        let (now, defaults) = (self.now(), self.config.cycle);
        let change = move |db: &Connection| {
            let mut row = match cycle::get(db, owner, &platform)? {
                Some(row) => row,
                None => Cycle::default_of(&platform, &defaults, now)?,
            };
            row.next = row.next.min(now + RETRY_AFTER);
            cycle::save(db, owner, &platform, &row)?;
            Ok::<_, OpError>(())
        };
        self.store.write(move |db| change(db)).await?;
        self.cycles_changed.notify_one();
        Ok(())
    }

    /// One run: orders for what is open, then everything the driver may not know. Answers how long each took.
    async fn settle(&self, key: (NodeId, String), resolve: bool, send: bool) -> Result<(Duration, Duration), OpError> {
        let _run = self.runs.begin(&key).await;
        let (owner, platform) = key;
        let started = Instant::now();
        if resolve {
            self.resolve(owner, platform.clone()).await?;
            arrow!("order-stored");
        }
        let resolved = Instant::now();
        if send {
            let sent = self.send_orders(owner, &platform).await;
            self.close_deposits(owner, &platform).await?;
            sent?;
        }
        Ok((resolved - started, resolved.elapsed()))
    }

    /// Makes orders of all that is accepted and open, in one write.
    async fn resolve(&self, owner: NodeId, platform: String) -> Result<(), OpError> {
        let (now, smallest) = (self.now(), self.config.smallest_payment);
        let change = move |db: &Connection| {
            let open = order::open(db, owner, &platform)?;
            let new_id = || uuid::Uuid::new_v4().simple().to_string();
            let orders = clearing::orders(open, smallest, new_id)
                .ok_or_else(|| OpError::Internal("the sum of open amounts overflows".to_owned()))?;
            for new in &orders {
                schedule(db, owner, new, now)?;
                let id = uuid::Uuid::new_v4().to_string();
                order::insert(db, &id, owner, &platform, new, now)?;
                info!(%owner, platform, order = id, total = %new.total, items = new.items.len(), "payments ordered");
            }
            Ok(())
        };
        self.store.write(move |db| change(db)).await
    }

    /// Hands the driver what it may not know.
    async fn send_orders(&self, owner: NodeId, platform: &str) -> Result<(), OpError> {
        let key = platform.to_owned();
        let unsent = self.store.read(move |db| Ok::<_, StoreError>(order::unsent(db, owner, &key)?)).await?;
        let driver_name = driver_of(platform);
        let mut failed = None;
        for transfer in unsent {
            let id = transfer.payment_id.clone();
            let call = driver::SchedulePayment {
                payment_id: Some(id.clone()),
                amount: transfer.amount,
                sender: transfer.payer_addr,
                recipient: transfer.payee_addr,
                platform: platform.to_owned(),
                deposit_id: transfer.deposit,
                due_date: self.now(),
            };
            match self.driver(&driver_name, call).await {
                Ok(known_as) => {
                    arrow!("transfer-scheduled");
                    let mark = move |db: &Connection| Ok::<_, StoreError>(order::mark_sent(db, &id, &known_as)?);
                    self.store.write(move |db| mark(db)).await?;
                    arrow!("transfer-marked");
                }
                Err(error) => {
                    warn!(payment = id, driver = driver_name, %error, "the driver does not take a transfer");
                    failed = Some(OpError::Internal(error.to_string()));
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Released deposits are closed on the chain, after the transfers that were ordered from them.
    async fn close_deposits(&self, owner: NodeId, platform: &str) -> Result<(), OpError> {
        let key = platform.to_owned();
        let look = move |db: &Connection| Ok::<_, StoreError>(allocation::deposits_to_close(db, owner, &key)?);
        for released in self.store.read(look).await? {
            let Some(deposit) = released.deposit else { continue };
            let call = driver::DriverReleaseDeposit {
                platform: platform.to_owned(),
                from: owner.to_string(),
                deposit_contract: deposit.contract,
                deposit_id: deposit.id,
            };
            match self.driver(&driver_of(platform), call).await {
                Ok(_) => {
                    let id = released.id;
                    let mark = move |db: &Connection| Ok::<_, StoreError>(allocation::deposit_closing(db, &id)?);
                    self.store.write(move |db| mark(db)).await?;
                }
                Err(error) => {
                    warn!(allocation = released.id, %error, "the driver does not close a deposit; tried again");
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn process_now(
        self: &Arc<Self>,
        ask: ProcessPaymentsNow,
    ) -> Result<ProcessPaymentsResult, ProcessPaymentsError> {
        let ProcessPaymentsNow { node_id, platform, skip_resolve, skip_send } = ask;
        let failed = |error: String| ProcessPaymentsError::ProcessPaymentsError(error);
        if self.registry.platform(&platform).is_none() {
            return Err(failed(format!("no driver offers the platform {platform}")));
        }
        let run = self.settle((node_id, platform), !skip_resolve, !skip_send).await;
        let (resolve, send) = run.map_err(|error| failed(error.to_string()))?;
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        Ok(ProcessPaymentsResult { resolve_time_ms: ms(resolve), send_time_ms: ms(send) })
    }

    pub(crate) async fn cycle_info(&self, ask: ProcessBatchCycleInfo) -> Result<BatchCycle, ProcessBatchCycleError> {
        let ProcessBatchCycleInfo { node_id, platform } = ask;
        self.with_cycle(node_id, platform, |_, _| Ok(())).await
    }

    pub(crate) async fn set_cycle(&self, ask: ProcessBatchCycleSet) -> Result<BatchCycle, ProcessBatchCycleError> {
        let ProcessBatchCycleSet { node_id, platform, interval, cron, next_update, safe_payout } = ask;
        let refuse = |kind: &str, error: &dyn std::fmt::Display| {
            let text =
                format!("create or update error: Query error: Error creating batch cycle based on {kind} {error}");
            ProcessBatchCycleError::ProcessBatchCycleError(text)
        };
        let rule = match (interval, cron) {
            (Some(interval), _) => Some(Rule::every(interval).map_err(|error| refuse("interval", &error))?),
            (None, Some(cron)) => Some(Rule::cron(&cron).map_err(|error| refuse("cron", &error))?),
            (None, None) => None,
        };
        let extra = safe_payout.map(extra_time).transpose().map_err(|error| refuse("interval", &error))?;
        let amend = move |cycle: &mut Cycle, now| {
            cycle.amend(rule, extra, next_update, now);
            Ok(())
        };
        let changed = self.with_cycle(node_id, platform, amend).await?;
        self.cycles_changed.notify_one();
        Ok(changed)
    }

    /// Reads a cycle, made now if it is not there, and lets `change` change it.
    async fn with_cycle(
        &self,
        owner: NodeId,
        platform: String,
        change: impl FnOnce(&mut Cycle, DateTime<Utc>) -> Result<(), OpError> + Send + 'static,
    ) -> Result<BatchCycle, ProcessBatchCycleError> {
        let failed = |error: String| ProcessBatchCycleError::ProcessBatchCycleError(error);
        if self.registry.platform(&platform).is_none() {
            return Err(failed(format!("no driver offers the platform {platform}")));
        }
        let (now, defaults) = (self.now(), self.config.cycle);
        let work = move |db: &Connection| {
            let mut row = match cycle::get(db, owner, &platform)? {
                Some(row) => row,
                None => Cycle::default_of(&platform, &defaults, now)?,
            };
            change(&mut row, now)?;
            cycle::save(db, owner, &platform, &row)?;
            Ok::<_, OpError>(view(owner, platform.clone(), &row))
        };
        self.store.write(move |db| work(db)).await.map_err(|error| failed(error.to_string()))
    }

    pub(crate) async fn cycles(&self) -> Result<Vec<BatchCycle>, StoreError> {
        let rows = self.store.read(|db| Ok::<_, StoreError>(cycle::list(db)?)).await?;
        Ok(rows.into_iter().map(|(owner, platform, row)| view(owner, platform, &row)).collect())
    }
}

/// Name of the driver that serves a platform.
pub(super) fn driver_of(platform: &str) -> String {
    platform.parse::<PaymentPlatform>().map(|platform| platform.driver().to_owned()).unwrap_or_default()
}

/// Raises what is scheduled, in all rows that an order touches.
fn schedule(db: &Connection, owner: NodeId, order: &Order, now: DateTime<Utc>) -> Result<(), OpError> {
    for part in order.items.iter().flat_map(|item| &item.documents) {
        let activity = part.activity_id.as_deref();
        change_totals(db, owner, &part.agreement_id, activity, now, |totals| Ok(totals.schedule(part.amount)?))?;
        let mut row = allocation::expenditure(db, &part.allocation_id, &part.agreement_id, activity)?;
        row.scheduled = row.accepted;
        allocation::save_expenditure(db, &part.allocation_id, &part.agreement_id, activity, &row)?;
    }
    Ok(())
}

/// Changes the totals of an agreement and, if one is named, of its activity in the same way.
pub(super) fn change_totals(
    db: &Connection,
    owner: NodeId,
    agreement_id: &str,
    activity_id: Option<&str>,
    now: DateTime<Utc>,
    change: impl Fn(&mut Totals) -> Result<(), OpError>,
) -> Result<(), OpError> {
    let missing = || OpError::Internal(format!("agreement {agreement_id} is in an order but not in the books"));
    let mut row = agreement::get(db, owner, agreement_id)?.ok_or_else(missing)?;
    change(&mut row.totals)?;
    agreement::save(db, owner, agreement_id, &row.totals, now)?;
    if let Some(activity_id) = activity_id {
        let mut activity = agreement::activity(db, owner, activity_id)?.ok_or_else(missing)?;
        change(&mut activity.totals)?;
        agreement::save_activity(db, owner, activity_id, &activity.totals, now)?;
    }
    Ok(())
}

fn view(owner: NodeId, platform: String, cycle: &Cycle) -> BatchCycle {
    let span = |span: TimeDelta| span.to_std().unwrap_or_default();
    let (interval, cron) = match &cycle.rule {
        Rule::Interval(interval) => (Some(span(*interval)), None),
        Rule::Cron(cron) => (None, Some(cron.to_string())),
    };
    BatchCycle {
        node_id: owner,
        platform,
        interval,
        cron,
        max_interval: span(cycle.max_interval),
        extra_payment_time: span(cycle.extra),
        next_process: cycle.next.naive_utc(),
        last_process: cycle.last.map(|last: DateTime<Utc>| -> NaiveDateTime { last.naive_utc() }),
    }
}
