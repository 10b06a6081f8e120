//! Progress of one command (spec 51 §9).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use golem_model::exe_unit::{CommandProgress, ProgressArgs};
use tokio::time::Instant;

/// Pause between two events when the command names none.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// Shortest pause; what is asked for below it would only make load.
const INTERVAL_MIN: Duration = Duration::from_millis(20);

type Sink = dyn Fn(CommandProgress) + Send + Sync;

/// Counts bytes and tells of them at the wished pace; or does nothing at all.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Inner>>);

struct Inner {
    interval: Duration,
    step: Option<u64>,
    state: Mutex<State>,
    sink: Box<Sink>,
}

struct State {
    done: u64,
    total: Option<u64>,
    told_at: Instant,
    told: u64,
}

impl Progress {
    /// For commands that did not ask for progress.
    pub const fn silent() -> Self {
        Self(None)
    }

    pub fn new(args: &ProgressArgs, sink: impl Fn(CommandProgress) + Send + Sync + 'static) -> Self {
        let state = State { done: 0, total: None, told_at: Instant::now(), told: 0 };
        Self(Some(Arc::new(Inner {
            interval: args.update_interval.unwrap_or(INTERVAL_DEFAULT).max(INTERVAL_MIN),
            step: args.update_step.map(|size| size.0).filter(|step| *step > 0),
            state: Mutex::new(state),
            sink: Box::new(sink),
        })))
    }

    pub(crate) fn begin(&self, done: u64, total: Option<u64>) {
        self.update(|state| {
            (state.done, state.total, state.told) = (done, total, done);
            None
        });
    }

    pub(crate) fn advance(&self, bytes: u64) {
        let Some(inner) = &self.0 else { return };
        self.update(|state| {
            state.done += bytes;
            let now = Instant::now();
            let far = inner.step.is_some_and(|step| state.done - state.told >= step);
            // With a step alone the clock does not matter; with neither, the default pause does.
            let due = now.duration_since(state.told_at) >= inner.interval;
            (far || due).then(|| {
                (state.told_at, state.told) = (now, state.done);
                state.event(0, None)
            })
        });
    }

    /// The last event; told even if nothing else was.
    pub(crate) fn finish(&self) {
        self.update(|state| {
            state.total = Some(state.done);
            Some(state.event(1, None))
        });
    }

    pub(crate) fn message(&self, text: impl Into<String>) {
        let text = text.into();
        self.update(|state| Some(state.event(0, Some(text))));
    }

    fn update(&self, change: impl FnOnce(&mut State) -> Option<CommandProgress>) {
        let Some(inner) = &self.0 else { return };
        let event = change(&mut inner.state.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(event) = event {
            (inner.sink)(event);
        }
    }
}

impl State {
    fn event(&self, steps: u64, message: Option<String>) -> CommandProgress {
        let progress = (self.done, self.total);
        CommandProgress { step: (steps, 1), message, progress, unit: Some("Bytes".into()) }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Progress({})", self.0.is_some())
    }
}
