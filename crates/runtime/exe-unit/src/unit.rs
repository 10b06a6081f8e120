//! The activity: its state pair, its batches, its commands (spec 51 §3, §5, §6).
//!
//! Batches run side by side, each as a task; the state pair lets one command at a time through. `terminate` stops the other
//! batches and the runtime and begins anew; [`Unit::shut_down`] does so for good.

mod command;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use golem_model::exe_unit::{ActivityError, ActivityState, ActivityUsage, Command, RunningCommand, State, StatePair};
use golem_runtime_transfer::Transfers;
use golem_service::Clock;
use indexmap::IndexMap;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info, info_span, warn};

use crate::Agreement;
use crate::batch::{Batch, CommandOutput, End};
use crate::report::Reporter;
use crate::runtime::{Failure, Runtime};
use crate::usage::Usage;

/// Batches that are remembered; the oldest that have ended make room.
const BATCHES_MAX: usize = 4096;
/// Batches that run or wait at the same time.
const BATCHES_RUNNING_MAX: usize = 256;
/// Commands of one batch.
const COMMANDS_MAX: usize = 10_000;
/// Time for batches to notice that they are stopped; everything at the end must fit into the five seconds of the agent.
const STOP_TIMEOUT: Duration = Duration::from_millis(1500);
/// Time for the daemon to take the last reports.
const LAST_REPORT_TIMEOUT: Duration = Duration::from_millis(800);

/// What a unit is made with.
#[derive(Debug)]
pub struct Options {
    pub activity_id: String,
    pub agreement: Agreement,
    pub work_dir: PathBuf,
    pub cache_dir: PathBuf,
    /// The runtime brings its image itself.
    pub runtime_managed_image: bool,
    /// Anybody on the bus may give orders; for tests.
    pub any_caller: bool,
}

/// One activity. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Unit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    runtime: Runtime,
    transfers: Transfers,
    usage: Arc<Usage>,
    reports: Reporter,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
    stop: CancellationToken,
    state: Mutex<Activity>,
}

#[derive(Debug)]
struct Activity {
    pair: StatePair,
    reason: Option<String>,
    /// Counts terminations, so that a command of an earlier life does not touch the pair of the next.
    life: u64,
    batches: IndexMap<String, Arc<Batch>>,
}

/// A command that has the floor.
#[derive(Clone, Copy, Debug)]
struct Turn {
    life: u64,
    /// The pair when it worked, and when it did not.
    then: State,
    otherwise: State,
}

impl Unit {
    pub fn new(
        options: Options,
        runtime: Runtime,
        transfers: Transfers,
        usage: Arc<Usage>,
        reports: Reporter,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
    ) -> Self {
        let activity = Activity { pair: State::New.into(), reason: None, life: 0, batches: IndexMap::new() };
        let (stop, state) = (CancellationToken::new(), Mutex::new(activity));
        Self(Arc::new(Inner { options, runtime, transfers, usage, reports, clock, tasks, stop, state }))
    }

    pub fn activity_id(&self) -> &str {
        &self.0.options.activity_id
    }

    pub(crate) fn agreement(&self) -> &Agreement {
        &self.0.options.agreement
    }

    pub(crate) fn any_caller(&self) -> bool {
        self.0.options.any_caller
    }

    /// The activity is ready for its first batch.
    pub fn initialize(&self) {
        let mut activity = self.lock();
        self.change(&mut activity, State::Initialized.into(), None);
    }

    pub fn state(&self) -> ActivityState {
        let activity = self.lock();
        ActivityState { state: activity.pair, reason: activity.reason.clone(), error_message: None }
    }

    /// Measures usage now.
    pub async fn usage(&self) -> ActivityUsage {
        let (usage, now) = (Arc::clone(&self.0.usage), self.0.clock.now().timestamp());
        let measured = tokio::task::spawn_blocking(move || usage.measure(now)).await;
        // Only fails when the measurement panicked, which would be logged.
        measured.unwrap_or(ActivityUsage { current_usage: None, timestamp: now })
    }

    pub(crate) fn usage_exceeded(&self) -> Option<String> {
        self.0.usage.exceeded()
    }

    /// Starts a batch; it runs on its own.
    pub fn exec(&self, batch_id: &str, script: Vec<Command>) -> Result<String, ActivityError> {
        if script.len() > COMMANDS_MAX {
            return Err(ActivityError::BadRequest(format!("a batch has at most {COMMANDS_MAX} commands")));
        }
        let batch = {
            let mut activity = self.lock();
            if self.0.stop.is_cancelled() {
                return Err(ActivityError::Service("the activity has ended".into()));
            }
            if activity.batches.contains_key(batch_id) {
                return Err(ActivityError::BadRequest(format!("Batch {batch_id} already exists")));
            }
            if activity.batches.values().filter(|batch| !batch.is_ended()).count() >= BATCHES_RUNNING_MAX {
                return Err(ActivityError::BadRequest(format!("{BATCHES_RUNNING_MAX} batches are running already")));
            }
            if activity.batches.len() >= BATCHES_MAX {
                let oldest = activity.batches.iter().position(|(_, batch)| batch.is_ended());
                oldest.map(|index| activity.batches.shift_remove_index(index));
            }
            let (stop, clock) = (self.0.stop.child_token(), Arc::clone(&self.0.clock));
            let batch = Arc::new(Batch::new(batch_id.into(), script, stop, clock));
            activity.batches.insert(batch_id.into(), Arc::clone(&batch));
            batch
        };
        let span = info_span!("batch", id = batch_id);
        self.0.tasks.spawn(self.clone().run_batch(batch).instrument(span));
        Ok(batch_id.into())
    }

    async fn run_batch(self, batch: Arc<Batch>) {
        for (index, command) in batch.script.iter().enumerate() {
            if batch.stop.is_cancelled() {
                break;
            }
            let output = Arc::new(CommandOutput::new(&batch, index, command));
            batch.begin(index, command);
            let done = self.execute(&batch, index, command, &output).await;
            let end = match done {
                Ok(()) => End { return_code: 0, message: None },
                Err(Failure::Exit(code)) => {
                    End { return_code: code, message: Some(format!("ExeScript command exited with code {code}")) }
                }
                Err(Failure::Text(text)) => End { return_code: -1, message: Some(text) },
            };
            info!(command = command.name(), return_code = end.return_code, message = end.message, "command ended");
            let failed = end.return_code != 0;
            batch.finish(index, &output, end);
            if failed {
                break;
            }
        }
        batch.end();
        self.0.reports.usage_soon();
    }

    pub fn batch(&self, id: &str) -> Option<Arc<Batch>> {
        self.lock().batches.get(id).cloned()
    }

    pub fn running(&self) -> Vec<RunningCommand> {
        let batches: Vec<_> = self.lock().batches.values().cloned().collect();
        batches.iter().filter_map(|batch| batch.running()).collect()
    }

    /// Stops all batches but `except`, and the runtime.
    async fn stop_work(&self, except: Option<&str>) {
        let others: Vec<_> =
            self.lock().batches.values().filter(|b| Some(b.id.as_str()) != except && !b.is_ended()).cloned().collect();
        others.iter().for_each(|batch| batch.stop.cancel());
        let idle = async {
            for batch in &others {
                // Ends when the batch does.
                let _ = batch.results(None, STOP_TIMEOUT).await;
            }
        };
        tokio::join!(self.0.runtime.stop(), idle);
    }

    /// Ends the activity; the daemon is told `reason` with a count of what was done.
    pub async fn shut_down(&self, reason: &str) {
        info!(reason, "shutting down");
        let last_usage = self.usage().await;
        {
            let mut activity = self.lock();
            activity.life += 1;
            let pair = StatePair(activity.pair.0, Some(State::Terminated));
            self.change(&mut activity, pair, None);
        }
        self.0.stop.cancel();
        let reported = async {
            if let Err(error) = self.0.reports.usage(last_usage).await {
                warn!(%error, "the last usage report was not taken");
            }
        };
        tokio::join!(self.stop_work(None), tokio::time::timeout(LAST_REPORT_TIMEOUT, reported)).0;
        {
            let mut activity = self.lock();
            let all = || activity.batches.values();
            let (done, cmds): (usize, usize) =
                (all().filter(|b| b.ran_to_its_end()).count(), all().map(|b| b.script.len()).sum());
            let finished: usize = all().map(|batch| batch.finished()).sum();
            let count = json!({
                "batches_done": done,
                "batches_pending": activity.batches.len() - done,
                "cmds_done": finished,
                "cmds_pending": cmds - finished,
            });
            self.change(&mut activity, StatePair::TERMINATED, Some(format!("{reason}: {count}")));
        }
        self.0.reports.flush(LAST_REPORT_TIMEOUT).await;
    }

    fn change(&self, activity: &mut Activity, pair: StatePair, reason: Option<String>) {
        (activity.pair, activity.reason) = (pair, reason);
        let report = ActivityState { state: pair, reason: activity.reason.clone(), error_message: None };
        // Under the lock, so that reports go out in the order of the changes.
        self.0.reports.state(report);
    }

    fn lock(&self) -> MutexGuard<'_, Activity> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
