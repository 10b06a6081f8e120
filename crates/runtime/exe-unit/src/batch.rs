//! A batch of commands: its event log, from which streams, long polls and results are read (spec 51 §6, §7).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::Stream;
use golem_model::exe_unit::{
    ActivityError, Command, CommandProgress, CommandResult, Outcome, Output, RunningCommand, RuntimeEvent,
    RuntimeEventKind,
};
use golem_service::Clock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::capture::Capture;

/// Output that a log keeps for those who come late; older output is dropped first, other events never.
const LOG_BYTES_MAX: usize = 16 << 20;
/// Events that a log keeps, for batches with very many small ones.
const LOG_EVENTS_MAX: usize = 100_000;

/// One batch, from its start until the activity ends.
#[derive(Debug)]
pub struct Batch {
    pub id: String,
    pub script: Vec<Command>,
    /// Stops its commands.
    pub stop: CancellationToken,
    clock: Arc<dyn Clock>,
    log: Mutex<Log>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Log {
    events: VecDeque<Arc<RuntimeEvent>>,
    /// Events dropped before the first one that is left.
    dropped: u64,
    bytes: usize,
    results: Vec<CommandResult>,
    running: Option<usize>,
    ended: bool,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub return_code: i32,
    pub message: Option<String>,
}

impl Batch {
    pub fn new(id: String, script: Vec<Command>, stop: CancellationToken, clock: Arc<dyn Clock>) -> Self {
        let (log, changed) = (Mutex::default(), watch::Sender::new(()));
        Self { id, script, stop, clock, log, changed }
    }

    pub(crate) fn begin(&self, index: usize, command: &Command) {
        self.log().running = Some(index);
        self.tell(index, RuntimeEventKind::Started { command: command.clone() });
    }

    /// Ends a command: the last pieces of its output, its end and its result appear at once.
    pub(crate) fn finish(&self, index: usize, output: &CommandOutput, end: End) {
        let (stdout, stderr) = output.finish();
        let now = self.clock.now();
        let result = CommandResult {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            result: if end.return_code == 0 { Outcome::Ok } else { Outcome::Error },
            stdout,
            stderr,
            message: end.message.clone(),
            is_batch_finished: index + 1 >= self.script.len() || end.return_code != 0,
            event_date: now,
        };
        let finished = RuntimeEventKind::Finished { return_code: end.return_code, message: end.message };
        let event = self.event(index, finished);
        {
            let mut log = self.log();
            log.push(event);
            log.results.push(result);
            log.running = None;
        }
        self.changed.send_replace(());
    }

    /// No command will follow.
    pub(crate) fn end(&self) {
        {
            let mut log = self.log();
            (log.ended, log.running) = (true, None);
        }
        self.changed.send_replace(());
    }

    pub(crate) fn progress(&self, index: usize, progress: CommandProgress) {
        self.tell(index, RuntimeEventKind::Progress(progress));
    }

    fn tell(&self, index: usize, kind: RuntimeEventKind) {
        let event = self.event(index, kind);
        self.log().push(event);
        self.changed.send_replace(());
    }

    fn event(&self, index: usize, kind: RuntimeEventKind) -> RuntimeEvent {
        let index = u64::try_from(index).unwrap_or(u64::MAX);
        RuntimeEvent { batch_id: self.id.clone(), index, timestamp: self.clock.now().naive_utc(), kind }
    }

    pub fn is_ended(&self) -> bool {
        self.log().ended
    }

    /// Whether every command ran and succeeded.
    pub fn is_done(&self) -> bool {
        let log = self.log();
        log.results.len() == self.script.len() && log.results.iter().all(|result| result.result == Outcome::Ok)
    }

    /// Whether no command was left out, as after the failure of one before it.
    pub fn ran_to_its_end(&self) -> bool {
        self.finished() == self.script.len()
    }

    /// Commands that have ended.
    pub fn finished(&self) -> usize {
        self.log().results.len()
    }

    pub fn running(&self) -> Option<RunningCommand> {
        let index = self.log().running?;
        let command = self.script.get(index)?;
        let params = match command {
            Command::Run(run) => Some([std::slice::from_ref(&run.entry_point), &run.args].concat()),
            Command::Start(start) => Some(start.args.clone()),
            Command::Transfer(transfer) => Some(vec![transfer.from.clone(), transfer.to.clone()]),
            _ => None,
        };
        Some(RunningCommand { command: command.name().into(), progress: None, params })
    }

    /// Waits for the command at `index`, or the last one, and returns the results up to it. A batch that has ended early
    /// is answered at once with what there is.
    pub async fn results(&self, index: Option<u64>, timeout: Duration) -> Result<Vec<CommandResult>, ActivityError> {
        let wanted = index.map(|index| usize::try_from(index).unwrap_or(usize::MAX));
        let last = wanted.unwrap_or_else(|| self.script.len().saturating_sub(1));
        let ready = |log: &Log| log.ended || self.script.is_empty() || log.results.len() > last;
        let mut changed = self.changed.subscribe();
        let waiting = async {
            // The sender lives in this batch, so it cannot be gone.
            while !ready(&self.log()) && changed.changed().await.is_ok() {}
        };
        let in_time = tokio::time::timeout(timeout, waiting).await.is_ok();
        if !in_time && wanted.is_some() {
            return Err(ActivityError::Timeout);
        }
        let log = self.log();
        let Some(wanted) = wanted else { return Ok(log.results.clone()) };
        let mut results: Vec<CommandResult> = log.results.iter().take(wanted.saturating_add(1)).cloned().collect();
        if let Some((asked, earlier)) = results.split_last_mut() {
            asked.is_batch_finished = true;
            for result in earlier {
                (result.stdout, result.stderr) = (None, None);
            }
        }
        Ok(results)
    }

    /// All events from the first on, until the batch has ended.
    pub fn events(self: &Arc<Self>) -> impl Stream<Item = RuntimeEvent> + Send + use<> {
        let start = (Arc::clone(self), self.changed.subscribe(), 0u64);
        futures::stream::unfold(start, |(batch, mut changed, mut next)| async move {
            loop {
                {
                    let log = batch.log();
                    next = next.max(log.dropped);
                    let at = usize::try_from(next - log.dropped).unwrap_or(usize::MAX);
                    if let Some(event) = log.events.get(at).map(|event| RuntimeEvent::clone(event)) {
                        drop(log);
                        return Some((event, (batch, changed, next + 1)));
                    }
                    if log.ended {
                        return None;
                    }
                }
                if changed.changed().await.is_err() {
                    return None;
                }
            }
        })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn push(&mut self, event: RuntimeEvent) {
        self.bytes += size(&event);
        self.events.push_back(Arc::new(event));
        while self.bytes > LOG_BYTES_MAX || self.events.len() > LOG_EVENTS_MAX {
            // Only from the front, so that positions stay simple.
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= size(&oldest);
            self.dropped += 1;
        }
    }
}

fn size(event: &RuntimeEvent) -> usize {
    match &event.kind {
        RuntimeEventKind::Stdout(output) | RuntimeEventKind::Stderr(output) => output.as_bytes().len(),
        _ => 0,
    }
}

/// Where the output of one running command goes.
#[derive(Debug)]
pub struct CommandOutput {
    batch: Arc<Batch>,
    index: usize,
    streams: Mutex<(Capture, Capture)>,
}

impl CommandOutput {
    pub(crate) fn new(batch: &Arc<Batch>, index: usize, command: &Command) -> Self {
        let capture = command.capture();
        let streams = Mutex::new((Capture::new(capture.stdout), Capture::new(capture.stderr)));
        Self { batch: Arc::clone(batch), index, streams }
    }

    pub fn stdout(&self, bytes: &[u8]) {
        let event = self.lock().0.push(bytes);
        self.tell(event.map(RuntimeEventKind::Stdout));
    }

    pub fn stderr(&self, bytes: &[u8]) {
        let event = self.lock().1.push(bytes);
        self.tell(event.map(RuntimeEventKind::Stderr));
    }

    fn finish(&self) -> (Option<Output>, Option<Output>) {
        let ((last_out, stdout), (last_err, stderr)) = {
            let mut streams = self.lock();
            (streams.0.finish(), streams.1.finish())
        };
        self.tell(last_out.map(RuntimeEventKind::Stdout));
        self.tell(last_err.map(RuntimeEventKind::Stderr));
        (stdout, stderr)
    }

    fn tell(&self, kind: Option<RuntimeEventKind>) {
        if let Some(kind) = kind {
            self.batch.tell(self.index, kind);
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Capture, Capture)> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use golem_model::exe_unit::{Nothing, Run};
    use golem_service::SystemClock;

    use super::*;

    fn batch(commands: usize) -> Arc<Batch> {
        let script = (0..commands).map(|_| Command::Run(Run { entry_point: "x".into(), ..Run::default() })).collect();
        Arc::new(Batch::new("b".into(), script, CancellationToken::new(), Arc::new(SystemClock)))
    }

    fn run(batch: &Arc<Batch>, index: usize, return_code: i32) {
        let terminate = Command::Terminate(Nothing {}); // its output is captured
        let output = CommandOutput::new(batch, index, &terminate);
        batch.begin(index, &terminate);
        output.stdout(b"out");
        batch.finish(index, &output, End { return_code, message: None });
    }

    async fn ask(batch: &Batch, index: Option<u64>) -> Result<Vec<(u32, bool, bool)>, ActivityError> {
        let results = batch.results(index, Duration::from_secs(1)).await?;
        Ok(results.iter().map(|r| (r.index, r.stdout.is_some(), r.is_batch_finished)).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn results_come_as_the_protocol_says() {
        let batch = batch(3);
        assert_eq!(ask(&batch, Some(0)).await, Err(ActivityError::Timeout));
        assert_eq!(ask(&batch, None).await, Ok(vec![]));
        run(&batch, 0, 0);
        run(&batch, 1, 0);
        assert_eq!(ask(&batch, Some(0)).await, Ok(vec![(0, true, true)]));
        assert_eq!(ask(&batch, Some(1)).await, Ok(vec![(0, false, false), (1, true, true)]));
        assert_eq!(ask(&batch, None).await, Ok(vec![(0, true, false), (1, true, false)]));
        run(&batch, 2, 7);
        batch.end();
        let all = vec![(0, true, false), (1, true, false), (2, true, true)];
        assert_eq!(ask(&batch, None).await, Ok(all));
        assert!(!batch.is_done() && batch.ran_to_its_end());
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_failed_early_is_answered_at_once() {
        let batch = batch(3);
        run(&batch, 0, 7);
        batch.end();
        let before = tokio::time::Instant::now();
        for index in [None, Some(2), Some(99)] {
            assert_eq!(ask(&batch, index).await, Ok(vec![(0, true, true)]));
        }
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert!(!batch.ran_to_its_end());
    }

    #[tokio::test]
    async fn whoever_comes_late_gets_all_events_and_then_the_end() {
        let batch = batch(1);
        let early = batch.events();
        let reader = Arc::clone(&batch);
        let (first, ()) = tokio::join!(early.collect::<Vec<_>>(), async {
            run(&reader, 0, 0);
            reader.end();
        });
        let late: Vec<_> = batch.events().collect().await;
        assert_eq!(first, late);
        assert!(matches!(
            late.iter().map(|event| &event.kind).collect::<Vec<_>>().as_slice(),
            [
                RuntimeEventKind::Started { .. },
                RuntimeEventKind::Stdout(_),
                RuntimeEventKind::Finished { return_code: 0, .. }
            ]
        ));
        assert!(batch.is_done());
    }

    #[tokio::test]
    async fn a_log_forgets_its_oldest_events_at_its_limit() {
        let batch = batch(1);
        let output = CommandOutput::new(&batch, 0, &Command::Terminate(Nothing {}));
        let megabyte = vec![b'x'; 1 << 20];
        (0..40).for_each(|_| batch.tell(0, RuntimeEventKind::Stdout(Output::Bytes(megabyte.clone()))));
        batch.finish(0, &output, End { return_code: 0, message: None });
        batch.end();
        let left: Vec<_> = batch.events().collect().await;
        assert_eq!(left.len(), 17);
        assert!(matches!(left[16].kind, RuntimeEventKind::Finished { .. }));
    }
}
