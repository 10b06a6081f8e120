//! The runtime's end: requests are answered one at a time, in their order; events go out at any time.

use std::fmt;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::Mutex;

use crate::frame::{FrameError, Reader, encode};
use crate::proto::{
    Command, CounterStatus, CreateNetwork, Empty, Endpoint, ErrorCode, ErrorReply, Hello, KillProcess, NetworkReply,
    ProcessStatus, Reply, Request, Response, RunProcess, RunReply, RuntimeStatus, StatusKind,
};

/// A runtime that stays after `start`.
pub trait Service: Send + Sync {
    /// Answers when the runtime is up.
    fn hello(&self, version: String) -> impl Future<Output = Result<String, ErrorReply>> + Send;

    /// Starts a process and names it. Its output must not be sent before this has returned.
    fn run(&self, run: RunProcess) -> impl Future<Output = Result<u64, ErrorReply>> + Send;

    fn kill(&self, kill: KillProcess) -> impl Future<Output = Result<(), ErrorReply>> + Send;

    fn create_network(&self, network: CreateNetwork) -> impl Future<Output = Result<Endpoint, ErrorReply>> + Send;

    fn shutdown(&self) -> impl Future<Output = Result<(), ErrorReply>> + Send;
}

/// Where a runtime tells what happens.
#[derive(Clone)]
pub struct Events(Arc<Mutex<dyn AsyncWrite + Send + Unpin>>);

impl Events {
    pub fn new(stdout: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(Arc::new(Mutex::new(stdout)))
    }

    pub async fn status(&self, status: ProcessStatus) -> std::io::Result<()> {
        self.send(Response { event: true, id: 0, reply: Some(Reply::Status(status)) }).await
    }

    pub async fn counter(&self, name: &str, value: f64) -> std::io::Result<()> {
        let kind = Some(StatusKind::Counter(CounterStatus { name: name.into(), value }));
        self.send(Response { event: true, id: 0, reply: Some(Reply::RuntimeStatus(RuntimeStatus { kind })) }).await
    }

    async fn send(&self, response: Response) -> std::io::Result<()> {
        let frame = encode(&response);
        let mut stdout = self.0.lock().await;
        stdout.write_all(&frame).await?;
        stdout.flush().await
    }
}

/// Serves until `shutdown` was answered or stdin ends.
pub async fn serve(stdin: impl AsyncRead + Unpin, events: &Events, service: &impl Service) -> Result<(), FrameError> {
    let mut reader = Reader::new(stdin);
    while let Some(Request { id, command }) = reader.next::<Request>().await? {
        let stop = matches!(command, Some(Command::Shutdown(_)));
        let reply = match command {
            Some(Command::Hello(hello)) => {
                service.hello(hello.version).await.map(|version| Reply::Hello(Hello { version }))
            }
            Some(Command::Run(run)) => service.run(run).await.map(|pid| Reply::Run(RunReply { pid })),
            Some(Command::Kill(kill)) => service.kill(kill).await.map(|()| Reply::Kill(Empty {})),
            Some(Command::Network(network)) => {
                let endpoint = service.create_network(network).await;
                endpoint.map(|endpoint| Reply::Network(NetworkReply { endpoint: Some(endpoint) }))
            }
            Some(Command::Shutdown(_)) => service.shutdown().await.map(|()| Reply::Shutdown(Empty {})),
            None => Err(ErrorReply::new(ErrorCode::BadRequest, "the request is of an unknown kind")),
        };
        let reply = Some(reply.unwrap_or_else(Reply::Error));
        events.send(Response { event: false, id, reply }).await?;
        if stop {
            break;
        }
    }
    Ok(())
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
