//! Reports to the daemon: each change of the state pair in order, usage once a second (spec 51 §3).
//!
//! Two tasks, so that a slow answer to one kind does not hold up the other. Commands do not wait for either. When the daemon
//! is away, the bus connects again by itself; the reports go on, and the present pair is told anew when it is back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use golem_bus::{Bus, CallError};
use golem_model::Caller;
use golem_model::exe_unit::{ActivityState, ActivityUsage, SetActivityState, SetActivityUsage};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, warn};

/// Time for the answer to one report.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a report is sent again that nobody took.
const REPORT_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// The daemon takes the usage reports as the sign of life.
const USAGE_INTERVAL: Duration = Duration::from_secs(1);
/// A daemon that is away for longer will not come back to this activity.
const DAEMON_LOST_AFTER: Duration = Duration::from_secs(90);
/// State reports that wait; the oldest go first, since the newest is what counts.
const QUEUE_LEN: usize = 256;

/// Tells the daemon about one activity. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reporter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Without one, reports go nowhere.
    target: Option<Target>,
    activity_id: String,
    queue: Mutex<Queue>,
    changed: Notify,
    drained: Notify,
    usage_due: Notify,
}

#[derive(Debug)]
struct Target {
    bus: Bus,
    url: String,
}

#[derive(Debug, Default)]
struct Queue {
    states: VecDeque<ActivityState>,
    last: Option<ActivityState>,
    sending: bool,
}

impl Reporter {
    pub fn new(target: Option<(Bus, String)>, activity_id: String) -> Self {
        let target = target.map(|(bus, url)| Target { bus, url });
        Self(Arc::new(Inner {
            target,
            activity_id,
            queue: Mutex::default(),
            changed: Notify::new(),
            drained: Notify::new(),
            usage_due: Notify::new(),
        }))
    }

    /// Puts a state into the queue; never waits.
    pub fn state(&self, state: ActivityState) {
        if self.0.target.is_none() {
            return;
        }
        self.0.with(|queue| {
            queue.last = Some(state.clone());
            queue.states.push_back(state);
            if queue.states.len() > QUEUE_LEN {
                queue.states.pop_front();
            }
        });
        self.0.changed.notify_one();
    }

    /// Asks for a usage report before the next second is over.
    pub fn usage_soon(&self) {
        self.0.usage_due.notify_one();
    }

    /// Sends one usage report now.
    pub async fn usage(&self, usage: ActivityUsage) -> Result<(), CallError<golem_model::exe_unit::ActivityError>> {
        let Some(target) = &self.0.target else { return Ok(()) };
        let report = SetActivityUsage { activity_id: self.0.activity_id.clone(), usage, timeout: None };
        target.bus.call(&target.url, Caller::local(), report, REPORT_TIMEOUT).await
    }

    /// Waits until all states were told, at most `timeout`.
    pub async fn flush(&self, timeout: Duration) {
        let told = async {
            loop {
                let drained = self.0.drained.notified();
                if self.0.with(|queue| queue.states.is_empty() && !queue.sending) {
                    return;
                }
                drained.await;
            }
        };
        if tokio::time::timeout(timeout, told).await.is_err() {
            warn!("the daemon did not take the last state in time");
        }
    }

    /// Sends states as they come. Runs until dropped.
    pub async fn send_states(self) {
        let Some(target) = &self.0.target else { return };
        loop {
            let next = self.0.with(|queue| {
                let next = queue.states.pop_front();
                queue.sending = next.is_some();
                next
            });
            let Some(state) = next else {
                self.0.drained.notify_waiters();
                self.0.changed.notified().await;
                continue;
            };
            let activity_id = self.0.activity_id.clone();
            let report = SetActivityState { activity_id, state: state.clone(), timeout: None, credentials: None };
            match target.bus.call(&target.url, Caller::local(), report, REPORT_TIMEOUT).await {
                Ok(()) => {}
                Err(CallError::Service(error)) => warn!(%error, "the daemon refused a state"),
                Err(CallError::Bus(error)) => {
                    debug!(%error, "nobody took the state; telling it again");
                    // Only the newest matters to a daemon that was away.
                    self.0.with(|queue| {
                        if queue.states.is_empty() {
                            queue.states.push_front(state)
                        }
                    });
                    tokio::time::sleep(REPORT_AGAIN_AFTER).await;
                }
            }
        }
    }

    /// Sends usage each second; `measure` looks at the machine, `check` may end the activity. Returns when the daemon is lost.
    pub async fn send_usage<F>(self, measure: impl Fn() -> F + Send, check: impl Fn() + Send) -> String
    where
        F: Future<Output = ActivityUsage> + Send,
    {
        let start = Instant::now();
        let mut ticks = tokio::time::interval_at(start + USAGE_INTERVAL, USAGE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut away) = (start, false);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.0.usage_due.notified() => {}
            }
            let usage = measure().await;
            check();
            match self.usage(usage).await {
                Ok(()) => {
                    heard = Instant::now();
                    let back = std::mem::take(&mut away);
                    if let Some(state) = self.0.with(|queue| queue.last.clone()).filter(|_| back) {
                        self.state(state);
                    }
                }
                Err(CallError::Service(error)) => warn!(%error, "the daemon refused a usage report"),
                Err(CallError::Bus(error)) => {
                    away = true;
                    debug!(%error, silent_for = ?heard.elapsed(), "nobody took the usage report");
                    if heard.elapsed() >= DAEMON_LOST_AFTER {
                        let url = self.0.target.as_ref().map_or("", |target| &target.url);
                        return format!("Runtime error: Reporting endpoint '{url}' is not available");
                    }
                }
            }
        }
    }
}

impl Inner {
    fn with<T>(&self, look: impl FnOnce(&mut Queue) -> T) -> T {
        look(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
