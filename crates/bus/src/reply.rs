//! What comes back from a call: chunks, an error, or both in turn.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use golem_model::Caller;
use tokio_util::task::TaskTracker;

use crate::Payload;
use crate::queue::ReplyQueue;

/// A call as routers and raw services see it.
#[derive(Debug)]
pub struct RawRequest {
    pub caller: Caller,
    /// The whole address, with the message id as last segment.
    pub address: String,
    pub data: Payload,
    /// Nobody waits for the reply.
    pub no_reply: bool,
}

/// Takes every call below the prefix that it is bound to.
pub trait RawService: Send + Sync {
    /// Must return at once; work goes into the reply.
    fn call(&self, request: RawRequest) -> RawReply;
}

impl<F: Fn(RawRequest) -> RawReply + Send + Sync> RawService for F {
    fn call(&self, request: RawRequest) -> RawReply {
        self(request)
    }
}

/// One piece of a reply. `Full` is the last one; with an empty body it says only that the stream has ended.
#[derive(Debug)]
pub enum RawChunk {
    Partial(Payload),
    Full(Payload),
}

impl RawChunk {
    pub fn into_payload(self) -> Payload {
        match self {
            Self::Partial(payload) | Self::Full(payload) => payload,
        }
    }
}

/// The two classes of failure that the wire knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RawCode {
    /// 400
    BadRequest,
    /// 500
    Failure,
}

/// A failed call: its class and a text for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {text}", match code { RawCode::BadRequest => "Bad request", RawCode::Failure => "GSB failure" })]
pub struct RawError {
    pub code: RawCode,
    pub text: String,
}

impl RawError {
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self { code: RawCode::BadRequest, text: text.into() }
    }

    pub fn failure(text: impl Into<String>) -> Self {
        Self { code: RawCode::Failure, text: text.into() }
    }

    pub(crate) fn no_endpoint() -> Self {
        Self::bad_request("endpoint address not found")
    }

    pub(crate) fn lost() -> Self {
        Self::failure("lost connection")
    }

    pub(crate) fn stalled() -> Self {
        Self::failure("stalled connection")
    }
}

pub(crate) const PANICKED: &str = "the handler panicked";

/// The stream of [`RawChunk`]s that answers a call. It ends after a `Full` chunk or an error.
///
/// A handler's future runs inside whoever polls this. When that one gives up, the handler still runs to its end,
/// so handlers need not be safe to cancel; a stream is just dropped.
pub struct RawReply {
    source: Source,
    tasks: Option<TaskTracker>,
}

enum Source {
    Done,
    Ready(Result<RawChunk, RawError>),
    Future(BoxFuture<'static, Result<RawChunk, RawError>>),
    Stream(BoxStream<'static, Result<RawChunk, RawError>>),
    Queue(ReplyQueue),
}

impl RawReply {
    const fn of(source: Source) -> Self {
        Self { source, tasks: None }
    }

    /// The whole answer.
    pub const fn full(payload: Payload) -> Self {
        Self::of(Source::Ready(Ok(RawChunk::Full(payload))))
    }

    pub const fn error(error: RawError) -> Self {
        Self::of(Source::Ready(Err(error)))
    }

    /// For calls with `no_reply`.
    pub const fn none() -> Self {
        Self::of(Source::Done)
    }

    /// One answer, later.
    pub fn future(reply: impl Future<Output = Result<Payload, RawError>> + Send + 'static) -> Self {
        Self::of(Source::Future(Box::pin(reply.map(|payload| payload.map(RawChunk::Full)))))
    }

    /// Chunks as they come. When they end without `Full` or an error, the reader gets an empty `Full`.
    pub fn stream(chunks: impl Stream<Item = Result<RawChunk, RawError>> + Send + 'static) -> Self {
        Self::of(Source::Stream(chunks.boxed()))
    }

    pub(crate) const fn queue(queue: ReplyQueue) -> Self {
        Self::of(Source::Queue(queue))
    }

    /// Where the rest of a single-answer handler runs when the reader gives up.
    pub(crate) fn finishing_on(mut self, tasks: &TaskTracker) -> Self {
        self.tasks = Some(tasks.clone());
        self
    }

    /// The one answer of a call that is no stream.
    pub async fn single(mut self) -> Result<Payload, crate::BusError> {
        use crate::BusError;

        match self.next().await {
            Some(Ok(RawChunk::Full(payload))) if payload.is_empty() => Err(BusError::Empty),
            Some(Ok(RawChunk::Full(payload))) => Ok(payload),
            Some(Ok(RawChunk::Partial(_))) => Err(BusError::Streaming),
            Some(Err(error)) => Err(error.into()),
            None => Err(BusError::Empty),
        }
    }
}

impl Stream for RawReply {
    type Item = Result<RawChunk, RawError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = match &mut self.source {
            Source::Done => return Poll::Ready(None),
            Source::Ready(_) => match std::mem::replace(&mut self.source, Source::Done) {
                Source::Ready(chunk) => chunk,
                _ => return Poll::Ready(None),
            },
            Source::Future(reply) => ready!(guarded(|| reply.poll_unpin(cx))),
            Source::Stream(chunks) => ready!(guarded(|| {
                chunks.poll_next_unpin(cx).map(|chunk| chunk.unwrap_or_else(|| Ok(RawChunk::Full(Payload::empty()))))
            })),
            Source::Queue(queue) => ready!(queue.poll_next(cx)),
        };
        if !matches!(chunk, Ok(RawChunk::Partial(_))) {
            self.source = Source::Done;
        }
        Poll::Ready(Some(chunk))
    }
}

/// A panic of a handler ends its call, not the task that happened to poll it.
fn guarded(poll: impl FnOnce() -> Poll<Result<RawChunk, RawError>>) -> Poll<Result<RawChunk, RawError>> {
    catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|_| {
        tracing::error!("a handler of the service bus panicked");
        Poll::Ready(Err(RawError::failure(PANICKED)))
    })
}

impl Drop for RawReply {
    fn drop(&mut self) {
        let Source::Future(reply) = std::mem::replace(&mut self.source, Source::Done) else { return };
        if let (Some(tasks), Ok(runtime)) = (&self.tasks, tokio::runtime::Handle::try_current()) {
            tasks.spawn_on(AssertUnwindSafe(reply).catch_unwind().map(drop), &runtime);
        }
    }
}

impl fmt::Debug for RawReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.source {
            Source::Done => "RawReply(done)",
            Source::Ready(_) => "RawReply(ready)",
            Source::Future(_) => "RawReply(one answer)",
            Source::Stream(_) => "RawReply(a stream)",
            Source::Queue(_) => "RawReply(from a connection)",
        })
    }
}
