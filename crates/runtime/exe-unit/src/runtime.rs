//! The runtime program in either run style (spec 52 §1): one process for each command, or one that stays.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use golem_runtime_api::argv::Invocation;
use golem_runtime_api::deploy::{DeployResult, StartMode};
use golem_runtime_api::proto::RunProcess;
use golem_runtime_api::{Client, ClientError, RequestIds, RuntimeEvent};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::batch::CommandOutput;
use crate::process::{self, Group};
use crate::usage::Usage;

/// Output of `deploy` that is looked at for its result.
const DEPLOY_OUTPUT_MAX: usize = 1 << 20;

/// Some runtimes send the last output after they have told the end of its process.
const LATE_OUTPUT_GRACE: Duration = Duration::from_millis(20);

/// Messages of a runtime that wait to be looked at.
const EVENTS_LEN: usize = 64;

/// Time for a runtime that stays to answer `shutdown`, and then to end by itself.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a command did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The exit code, or −1 when a signal ended it.
    Exit(i32),
    /// With the class prefix that requestors see.
    Text(String),
}

impl Failure {
    fn io(error: &io::Error) -> Self {
        Self::Text(format!("IO error: {error}"))
    }

    fn runtime(text: impl std::fmt::Display) -> Self {
        Self::Text(format!("Runtime error: {text}"))
    }

    pub(crate) fn interrupted() -> Self {
        Self::Text("IO error: operation interrupted".into())
    }
}

/// Drives the runtime of one activity.
#[derive(Debug)]
pub struct Runtime {
    program: PathBuf,
    invocation: Invocation,
    kill_grace: Duration,
    tasks: TaskTracker,
    ids: RequestIds,
    usage: Arc<Usage>,
    /// Held over awaits: deploys, starts and stops follow one another.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    invocation: Option<Invocation>,
    mode: StartMode,
    running: Option<Running>,
}

/// A runtime that stays.
#[derive(Clone, Debug)]
struct Running {
    client: Client,
    group: Option<Group>,
    /// Its exit code once it has ended; −1 for a signal.
    exit: watch::Receiver<Option<i32>>,
}

impl Runtime {
    pub fn new(
        program: PathBuf,
        invocation: Invocation,
        kill_grace: Duration,
        tasks: TaskTracker,
        usage: Arc<Usage>,
    ) -> Self {
        Self { program, invocation, kill_grace, tasks, ids: RequestIds::default(), usage, state: Mutex::default() }
    }

    fn work_dir(&self) -> &Path {
        &self.invocation.work_dir
    }

    /// Runs one process of the runtime to its end.
    async fn process(
        &self,
        args: &[std::ffi::OsString],
        output: &CommandOutput,
        mut copy: Option<&mut Vec<u8>>,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let command = process::command(&self.program, args, Some(self.work_dir()));
        let stdout = |bytes: &[u8]| {
            if let Some(copy) = &mut copy {
                let room = DEPLOY_OUTPUT_MAX.saturating_sub(copy.len()).min(bytes.len());
                copy.extend_from_slice(bytes.get(..room).unwrap_or_default());
            }
            output.stdout(bytes);
        };
        let ended = process::run(command, stdout, |bytes| output.stderr(bytes), stop, self.kill_grace).await;
        match ended.map_err(|error| Failure::io(&error))?.map(process::code) {
            Some(Some(0)) => Ok(()),
            Some(code) => Err(Failure::Exit(code.unwrap_or(-1))),
            None => Err(Failure::interrupted()),
        }
    }

    /// Deploys the package; what it says about volumes is returned.
    pub async fn deploy(
        &self,
        task_package: Option<PathBuf>,
        volume_override: Option<&str>,
        hostname: Option<&str>,
        output: &CommandOutput,
        stop: &CancellationToken,
    ) -> Result<DeployResult, Failure> {
        let mut state = self.state.lock().await;
        let invocation = Invocation { task_package, ..self.invocation.clone() };
        let mut printed = Vec::new();
        let args = invocation.deploy(volume_override, hostname);
        self.process(&args, output, Some(&mut printed), stop).await?;
        let result = DeployResult::parse(&printed).map_err(Failure::runtime)?;
        if let Err(text) = &result.valid {
            return Err(Failure::Text(format!("ExeScript command error: {text}")));
        }
        *state = State { invocation: Some(invocation), mode: result.start_mode, running: None };
        Ok(result)
    }

    pub async fn start(
        &self,
        args: &[String],
        output: &CommandOutput,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut state = self.state.lock().await;
        let invocation = state.invocation.as_ref().unwrap_or(&self.invocation);
        match state.mode {
            StartMode::Empty => self.process(&invocation.start(args), output, None, stop).await,
            StartMode::Blocking => {
                let args = invocation.start_blocking(None, None, args);
                state.running = Some(self.start_blocking(&args, output, stop).await?);
                Ok(())
            }
        }
    }

    async fn start_blocking(
        &self,
        args: &[std::ffi::OsString],
        output: &CommandOutput,
        stop: &CancellationToken,
    ) -> Result<Running, Failure> {
        let mut command = process::command(&self.program, args, Some(self.work_dir()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| Failure::io(&error))?;
        let group = Group::of(&child);
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::runtime("the runtime has no standard streams"));
        };
        let (told, mut events) = mpsc::channel(EVENTS_LEN);
        let (client, reading) = Client::start(stdout, stdin, self.ids.clone(), told);
        let (exited, mut exit) = watch::channel(None);
        let kill_grace = self.kill_grace;
        self.tasks.spawn(async move {
            let read = reading.await;
            if let Err(error) = read {
                warn!(error = &error as &dyn std::error::Error, "the runtime broke its protocol");
                if let Some(group) = group {
                    group.end(kill_grace).await;
                }
            }
            let status = child.wait().await;
            exited.send_replace(Some(status.ok().and_then(process::code).unwrap_or(-1)));
        });

        let running = Running { client, group, exit: exit.clone() };
        let greeting = running.client.clone();
        let hello = greeting.hello();
        tokio::pin!(hello);
        let outcome = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break Err(Failure::interrupted()),
                Some(event) = events.recv() => self.event(event, Some(output)),
                version = &mut hello => match version {
                    Ok(version) => {
                        debug!(version, "the runtime is up");
                        break Ok(());
                    }
                    Err(ClientError::Ended) => break Err(Failure::Exit(exit_code(&mut exit).await)),
                    Err(error) => break Err(Failure::runtime(error)),
                },
            }
        };
        if let Err(failure) = outcome {
            self.end(&running).await;
            return Err(failure);
        }
        // What `start` itself printed comes right behind its answer.
        while let Ok(Some(event)) = tokio::time::timeout(LATE_OUTPUT_GRACE, events.recv()).await {
            self.event(event, Some(output));
        }
        let usage = Arc::clone(&self.usage);
        self.tasks.spawn(async move {
            while let Some(event) = events.recv().await {
                note(&usage, event, None);
            }
        });
        Ok(running)
    }

    fn event(&self, event: RuntimeEvent, output: Option<&CommandOutput>) {
        note(&self.usage, event, output);
    }

    pub async fn run(
        &self,
        entry_point: &str,
        args: &[String],
        output: &CommandOutput,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let name = Path::new(entry_point).file_name().and_then(|name| name.to_str());
        let (invocation, mode, running) = {
            let state = self.state.lock().await;
            (state.invocation.clone().unwrap_or_else(|| self.invocation.clone()), state.mode, state.running.clone())
        };
        if mode == StartMode::Empty {
            return self.process(&invocation.run(entry_point, args), output, None, stop).await;
        }
        let name = name.ok_or_else(|| Failure::Text("ExeScript command error: Invalid binary name".into()))?;
        let mut running =
            running.ok_or_else(|| Failure::Text("ExeScript command error: START command not run".into()))?;
        let args = std::iter::once(name.to_owned()).chain(args.iter().cloned()).collect();
        let request = RunProcess { bin: entry_point.into(), args, ..RunProcess::default() };
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Failure::interrupted()),
            ended = follow(&mut running, request, output) => ended,
        }
    }

    /// Ends the runtime, if it runs. The next `deploy` begins anew.
    pub async fn stop(&self) {
        let state = std::mem::take(&mut *self.state.lock().await);
        if let Some(running) = state.running {
            self.end(&running).await;
        }
    }

    async fn end(&self, running: &Running) {
        let mut exit = running.exit.clone();
        let orderly = async {
            if running.client.shutdown().await.is_ok() {
                exit_code(&mut exit).await;
            }
        };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, orderly).await.is_err() {
            debug!("the runtime did not end when asked");
        }
        if let Some(group) = running.group {
            group.end(self.kill_grace).await;
        }
    }
}

/// Output and end of one process inside a runtime that stays.
async fn follow(running: &mut Running, request: RunProcess, output: &CommandOutput) -> Result<(), Failure> {
    let mut process = match running.client.run(request).await {
        Ok(process) => process,
        Err(ClientError::Ended) => return Err(Failure::Exit(exit_code(&mut running.exit).await)),
        Err(error) => return Err(Failure::runtime(error)),
    };
    let mut code = None;
    loop {
        let status = match code {
            None => process.statuses.recv().await,
            Some(_) => tokio::time::timeout(LATE_OUTPUT_GRACE, process.statuses.recv()).await.unwrap_or(None),
        };
        let Some(status) = status else { break };
        output.stdout(&status.stdout);
        output.stderr(&status.stderr);
        if !status.running {
            code = Some(status.return_code);
        }
    }
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(Failure::Exit(code)),
        None => Err(Failure::Exit(exit_code(&mut running.exit).await)),
    }
}

fn note(usage: &Usage, event: RuntimeEvent, output: Option<&CommandOutput>) {
    match event {
        RuntimeEvent::Output { stdout, stderr } => {
            if let Some(output) = output {
                output.stdout(&stdout);
                output.stderr(&stderr);
            }
        }
        RuntimeEvent::Counter { name, value } => usage.set(&name, value),
        RuntimeEvent::State { name, .. } => debug!(name, "the runtime tells a state"),
    }
}

/// Waits for the end of a runtime.
async fn exit_code(exit: &mut watch::Receiver<Option<i32>>) -> i32 {
    exit.wait_for(Option::is_some).await.ok().and_then(|code| *code).unwrap_or(-1)
}

/// Runs `offer-template` or `test` of a runtime; returns its exit code and output.
pub(crate) async fn ask(
    program: &Path,
    args: Vec<std::ffi::OsString>,
    timeout: Duration,
) -> io::Result<(Option<i32>, Vec<u8>, Vec<u8>)> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let stop = CancellationToken::new();
    let command = process::command(program, &args, None);
    let status = {
        let (stdout, stderr) =
            (|bytes: &[u8]| out.extend_from_slice(bytes), |bytes: &[u8]| err.extend_from_slice(bytes));
        let mut running = std::pin::pin!(process::run(command, stdout, stderr, &stop, SHUTDOWN_TIMEOUT));
        match tokio::time::timeout(timeout, &mut running).await {
            Ok(status) => status?,
            Err(_) => {
                stop.cancel();
                running.await?
            }
        }
    };
    let code = status.and_then(process::code);
    Ok((code, out, err))
}
