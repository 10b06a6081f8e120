//! The exe-unit's end of a blocking runtime.
//!
//! The owner of the process runs the reading half as a task ([`Client::start`] gives it out); it ends when the runtime
//! closes its stdout, fails every open request and closes the channels of all processes.
//! Output is given to the command whose `run` answer named the process; what comes earlier waits for that answer.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tracing::{debug, warn};

use crate::frame::{FrameError, Reader, encode};
use crate::proto::{
    Command, CreateNetwork, Empty, Endpoint, ErrorReply, Hello, KillProcess, ProcessStatus, Reply, Request, Response,
    RunProcess, StatusKind,
};

/// Version of the protocol that the supervisor says in its hello.
const PROTOCOL_VERSION: &str = "0.1.0";

/// Status messages that wait for one command; a slow reader holds the runtime back.
const STATUS_QUEUE_LEN: usize = 64;

/// Status messages of unknown processes that wait for the answer to `run`.
const EARLY_STATUS_MAX: usize = 256;

/// Request ids of one supervisor: from 2 up, over restarts of the runtime.
#[derive(Clone, Debug)]
pub struct RequestIds(Arc<AtomicU64>);

impl Default for RequestIds {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(2)))
    }
}

impl RequestIds {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// The runtime answered with an error; its debug form is what requestors are shown.
    #[error("{0:?}")]
    Refused(ErrorReply),
    #[error("the runtime has ended")]
    Ended,
    #[error("the runtime answered {0} with something else")]
    Unexpected(&'static str),
}

/// What a runtime tells without being asked, apart from the output of commands.
#[derive(Clone, Debug, PartialEq)]
pub enum RuntimeEvent {
    /// Output of `start` itself.
    Output {
        stdout: Bytes,
        stderr: Bytes,
    },
    Counter {
        name: String,
        value: f64,
    },
    State {
        name: String,
        value: Bytes,
    },
}

/// A process inside the runtime. Some runtimes send output after the last status (`running` is false), so the channel stays
/// open until it is dropped or the runtime ends.
#[derive(Debug)]
pub struct Process {
    pub pid: u64,
    pub statuses: mpsc::Receiver<ProcessStatus>,
}

#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    writer: AsyncMutex<Box<dyn AsyncWrite + Send + Unpin>>,
    ids: RequestIds,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ended: bool,
    pending: HashMap<u64, Pending>,
    processes: BTreeMap<u64, mpsc::Sender<ProcessStatus>>,
    early: VecDeque<ProcessStatus>,
}

struct Pending {
    answer: oneshot::Sender<(Result<Reply, ErrorReply>, Option<Process>)>,
    is_run: bool,
}

impl Client {
    /// Takes the ends of the runtime's stdin and stdout. The future reads until the runtime closes its stdout.
    pub fn start<R, W>(
        stdout: R,
        stdin: W,
        ids: RequestIds,
        events: mpsc::Sender<RuntimeEvent>,
    ) -> (Self, impl Future<Output = Result<(), FrameError>> + Send + 'static)
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let writer = AsyncMutex::new(Box::new(stdin) as Box<dyn AsyncWrite + Send + Unpin>);
        let client = Self(Arc::new(Inner { writer, ids, state: Mutex::default() }));
        let inner = Arc::clone(&client.0);
        let reading = async move {
            let end = inner.read(Reader::new(stdout), events).await;
            inner.end();
            end
        };
        (client, reading)
    }

    /// Says hello and waits until the runtime is up, however long its boot takes.
    pub async fn hello(&self) -> Result<String, ClientError> {
        match self.0.ask(Command::Hello(Hello { version: PROTOCOL_VERSION.into() })).await? {
            (Reply::Hello(hello), _) => Ok(hello.version),
            _ => Err(ClientError::Unexpected("hello")),
        }
    }

    pub async fn run(&self, run: RunProcess) -> Result<Process, ClientError> {
        match self.0.ask(Command::Run(run)).await? {
            (Reply::Run(_), Some(process)) => Ok(process),
            _ => Err(ClientError::Unexpected("run")),
        }
    }

    pub async fn kill(&self, pid: u64, signal: i32) -> Result<(), ClientError> {
        match self.0.ask(Command::Kill(KillProcess { pid, signal })).await? {
            (Reply::Kill(_), _) => Ok(()),
            _ => Err(ClientError::Unexpected("kill")),
        }
    }

    pub async fn create_network(&self, network: CreateNetwork) -> Result<Option<Endpoint>, ClientError> {
        match self.0.ask(Command::Network(network)).await? {
            (Reply::Network(network), _) => Ok(network.endpoint),
            _ => Err(ClientError::Unexpected("network")),
        }
    }

    pub async fn shutdown(&self) -> Result<(), ClientError> {
        match self.0.ask(Command::Shutdown(Empty {})).await? {
            (Reply::Shutdown(_), _) => Ok(()),
            _ => Err(ClientError::Unexpected("shutdown")),
        }
    }
}

impl Inner {
    async fn ask(&self, command: Command) -> Result<(Reply, Option<Process>), ClientError> {
        let is_run = matches!(command, Command::Run(_));
        let (answer, answered) = oneshot::channel();
        let id = self.ids.next();
        {
            let mut state = self.lock();
            if state.ended {
                return Err(ClientError::Ended);
            }
            state.pending.insert(id, Pending { answer, is_run });
        }
        let frame = encode(&Request { id, command: Some(command) });
        {
            // Held over the write so that frames do not mix.
            let mut writer = self.writer.lock().await;
            if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
                self.lock().pending.remove(&id);
                return Err(ClientError::Ended);
            }
        }
        let (reply, process) = answered.await.map_err(|_| ClientError::Ended)?;
        Ok((reply.map_err(ClientError::Refused)?, process))
    }

    async fn read<R: AsyncRead + Unpin>(
        &self,
        mut reader: Reader<R>,
        events: mpsc::Sender<RuntimeEvent>,
    ) -> Result<(), FrameError> {
        while let Some(response) = reader.next::<Response>().await? {
            let Response { event, id, reply } = response;
            match reply {
                Some(Reply::Status(status)) => self.status(status, &events).await,
                Some(Reply::RuntimeStatus(status)) => {
                    let told = match status.kind {
                        Some(StatusKind::Counter(counter)) => {
                            RuntimeEvent::Counter { name: counter.name, value: counter.value }
                        }
                        Some(StatusKind::State(state)) => RuntimeEvent::State { name: state.name, value: state.value },
                        None => continue,
                    };
                    // Nobody listens any more when the runtime is being stopped.
                    let _ = events.send(told).await;
                }
                Some(reply) if !event => self.answer(id, reply),
                _ => debug!(id, event, "the runtime sent a message of an unknown kind"),
            }
        }
        Ok(())
    }

    fn answer(&self, id: u64, reply: Reply) {
        let mut state = self.lock();
        let Some(pending) = state.pending.remove(&id) else {
            warn!(id, "the runtime answered a request that is not open");
            return;
        };
        let reply = match reply {
            Reply::Error(error) => Err(error),
            reply => Ok(reply),
        };
        let process = match &reply {
            Ok(Reply::Run(run)) if pending.is_run => Some(state.open(run.pid)),
            _ => None,
        };
        // The one who asked may have given up.
        let _ = pending.answer.send((reply, process));
    }

    async fn status(&self, status: ProcessStatus, events: &mpsc::Sender<RuntimeEvent>) {
        let sender = {
            let mut state = self.lock();
            match state.processes.get(&status.pid).filter(|sender| !sender.is_closed()).cloned() {
                Some(sender) => Some(sender),
                None if status.pid != 0 && state.pending.values().any(|pending| pending.is_run) => {
                    if state.early.len() == EARLY_STATUS_MAX {
                        warn!(pid = status.pid, "too much output before its process was named; the oldest is lost");
                        state.early.pop_front();
                    }
                    state.early.push_back(status);
                    return;
                }
                None => None,
            }
        };
        match sender {
            // The command may have been given up.
            Some(sender) => drop(sender.send(status).await),
            None if status.stdout.is_empty() && status.stderr.is_empty() => {}
            None => drop(events.send(RuntimeEvent::Output { stdout: status.stdout, stderr: status.stderr }).await),
        }
    }

    fn end(&self) {
        let mut state = self.lock();
        *state = State { ended: true, ..State::default() };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Binds a process to its command and hands over what it has said already.
    fn open(&mut self, pid: u64) -> Process {
        let (early, others): (VecDeque<_>, _) = std::mem::take(&mut self.early).into_iter().partition(|s| s.pid == pid);
        self.early = others;
        let (sender, statuses) = mpsc::channel(STATUS_QUEUE_LEN + early.len());
        for status in early {
            // There is room for all of them.
            let _ = sender.try_send(status);
        }
        self.processes.retain(|_, sender| !sender.is_closed());
        self.processes.insert(pid, sender);
        Process { pid, statuses }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("ids", &self.0.ids).finish_non_exhaustive()
    }
}
