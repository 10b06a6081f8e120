//! One connection as the rest of the bus sees it: what is to be written, and the calls that the other end still owes.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::Rng;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::queue::ReplySender;
use crate::wire::{self, CallReply, CallRequest, Kind, code};
use crate::{RawChunk, RawCode, RawError, RawReply, RawRequest};

/// Unwritten bytes from which on a connection takes no more calls; replies wait until it has room again.
const BACKLOG_BYTES_HIGH: usize = 64 << 20;

/// Calls that one other end may owe an answer.
const OPEN_CALLS_MAX: usize = 65_536;

/// A reader that takes nothing for so long, with a full backlog, is cut off.
pub(crate) const STALL: Duration = Duration::from_secs(10);

/// How long whoever registers a taken id waits for news of its owner.
const PROBE: Duration = Duration::from_secs(1);

/// Official request ids are decimal numbers below 2^53.
const ID_LIMIT: u64 = 1 << 53;

pub(crate) struct Link {
    /// Number of the connection in this process.
    pub(crate) number: u64,
    out: Mutex<Outbox>,
    /// Wakes the driver: there is something to write or to probe.
    wake: Notify,
    /// Wakes those who wait for room in the backlog.
    room: Notify,
    open: Mutex<HashMap<u64, Open>>,
    /// Asks the driver to end.
    kick: CancellationToken,
    closed: CancellationToken,
    probes: Mutex<Vec<oneshot::Sender<()>>>,
    /// The router numbers the calls of a connection itself; a client draws ids, because official routers mix up
    /// equal ids of different clients.
    counter: Option<AtomicU64>,
}

#[derive(Default)]
struct Outbox {
    buffer: BytesMut,
    /// Bytes that the driver has taken and not yet written.
    taken: usize,
    closed: bool,
}

/// Who waits for the reply to a call.
enum Open {
    /// Another connection of this router, under the id that it gave.
    Forward {
        caller: Arc<Link>,
        request_id: String,
    },
    Process(ReplySender),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendError {
    Closed,
    TooLarge,
}

impl Link {
    pub(crate) fn new(of_router: bool) -> Arc<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            out: Mutex::default(),
            wake: Notify::new(),
            room: Notify::new(),
            open: Mutex::default(),
            kick: CancellationToken::new(),
            closed: CancellationToken::new(),
            probes: Mutex::default(),
            counter: of_router.then(|| AtomicU64::new(1)),
        })
    }

    /// Queues one frame. Never waits; whoever produces much looks at [`Self::is_full`] before.
    pub(crate) fn send(&self, kind: Kind) -> Result<(), SendError> {
        let mut out = lock(&self.out);
        if out.closed {
            return Err(SendError::Closed);
        }
        let idle = out.buffer.is_empty();
        if !wire::write_frame(kind, &mut out.buffer) {
            return Err(SendError::TooLarge);
        }
        drop(out);
        if idle {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Sends what a handler or another connection answered to `request_id`.
    pub(crate) fn send_reply(&self, request_id: &str, chunk: Result<RawChunk, RawError>) {
        let reply = match chunk.and_then(|chunk| Ok((matches!(chunk, RawChunk::Partial(_)), encoded(chunk)?))) {
            Ok((partial, data)) => {
                let reply_type = if partial { wire::PARTIAL } else { wire::FULL };
                CallReply { request_id: request_id.into(), code: code::OK, reply_type, data }
            }
            Err(error) => error_reply(request_id, error),
        };
        if self.send(Kind::Reply(reply)) == Err(SendError::TooLarge) {
            let error = RawError::failure(format!("the reply is above {} bytes", wire::FRAME_BYTES_MAX));
            // A short text always fits; a closed connection needs no reply.
            let _ = self.send(Kind::Reply(error_reply(request_id, error)));
        }
    }

    /// Calls the other end on behalf of this process.
    pub(crate) fn request(self: &Arc<Self>, request: RawRequest) -> RawReply {
        let data = match request.data.into_bytes() {
            Ok(data) => data,
            Err(error) => return RawReply::error(RawError::failure(format!("Encoding problem: {error}"))),
        };
        let no_reply = request.no_reply;
        let call = CallRequest {
            caller: request.caller.as_str().into(),
            address: request.address,
            request_id: String::new(),
            data,
            no_reply,
        };
        let replies = ReplySender::default();
        match self.open_call(call, (!no_reply).then(|| Open::Process(replies.clone()))) {
            Ok(_) if no_reply => RawReply::none(),
            Ok(id) => RawReply::queue(replies.reader(self, id)),
            Err(error) => RawReply::error(error),
        }
    }

    /// Calls the other end on behalf of another connection.
    pub(crate) fn forward(&self, caller: &Arc<Self>, call: CallRequest) {
        let request_id = call.request_id.clone();
        let open =
            (!call.no_reply).then(|| Open::Forward { caller: Arc::clone(caller), request_id: request_id.clone() });
        let answered = open.is_some();
        if let (Err(error), true) = (self.open_call(call, open), answered) {
            caller.send_reply(&request_id, Err(error));
        }
    }

    fn open_call(&self, mut call: CallRequest, open: Option<Open>) -> Result<u64, RawError> {
        if self.is_full() {
            return Err(RawError::stalled());
        }
        let mut id = self.next_id();
        if let Some(open) = open {
            let mut calls = lock(&self.open);
            if calls.len() >= OPEN_CALLS_MAX {
                calls.retain(|_, open| !open.is_abandoned());
                if calls.len() >= OPEN_CALLS_MAX {
                    return Err(RawError::stalled());
                }
            }
            while calls.contains_key(&id) {
                id = self.next_id();
            }
            calls.insert(id, open);
        }
        call.request_id = id.to_string();
        self.send(Kind::Call(call)).map_err(|error| {
            lock(&self.open).remove(&id);
            match error {
                SendError::Closed => RawError::lost(),
                SendError::TooLarge => {
                    RawError::bad_request(format!("the call is above {} bytes", wire::FRAME_BYTES_MAX))
                }
            }
        })?;
        Ok(id)
    }

    /// Passes a reply of the other end on to its caller. Waits while that one has a full backlog.
    pub(crate) async fn on_reply(&self, reply: CallReply) {
        let Ok(id) = reply.request_id.parse::<u64>() else { return };
        let reply = normal(reply);
        let last = reply.reply_type == wire::FULL;
        let open = {
            let mut calls = lock(&self.open);
            if last { calls.remove(&id) } else { calls.get(&id).map(Open::another) }
        };
        match open {
            None => {}
            Some(Open::Process(replies)) => {
                let bytes = reply.data.len();
                replies.send(chunk_of(reply), bytes);
            }
            Some(Open::Forward { caller, request_id }) => {
                // Waiting for oneself would never end.
                let has_room = caller.number == self.number || caller.has_room().await;
                if has_room {
                    // A caller that has just closed needs no reply.
                    let _ = caller.send(Kind::Reply(CallReply { request_id, ..reply }));
                }
            }
        }
    }

    /// The reader of a call has gone.
    pub(crate) fn forget(&self, id: u64) {
        lock(&self.open).remove(&id);
    }

    pub(crate) fn is_full(&self) -> bool {
        let out = lock(&self.out);
        out.buffer.len() + out.taken >= BACKLOG_BYTES_HIGH
    }

    /// Waits until the backlog has room. An other end that does not read for [`STALL`] is cut off: `false`.
    pub(crate) async fn has_room(&self) -> bool {
        while self.is_full() && !self.closed.is_cancelled() {
            let room = self.room.notified();
            if !self.is_full() {
                break;
            }
            if tokio::time::timeout(STALL, room).await.is_err() {
                tracing::warn!(connection = self.number, "a bus connection does not read; closed");
                self.kick();
            }
        }
        !self.closed.is_cancelled() && !self.kick.is_cancelled()
    }

    /// Ends the connection.
    pub(crate) fn kick(&self) {
        self.kick.cancel();
    }

    pub(crate) async fn kicked(&self) {
        self.kick.cancelled().await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Returns when the driver has looked whether the other end is still there, and has closed this if not.
    /// An other end that never stops sending is there.
    pub(crate) async fn probe(&self) {
        let (done, wait) = oneshot::channel();
        lock(&self.probes).push(done);
        self.wake.notify_one();
        tokio::select! {
            biased;
            () = self.closed() => {}
            _ = wait => {}
            () = tokio::time::sleep(PROBE) => {}
        }
    }

    // For the driver of the connection.

    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn take_probes(&self) -> Vec<oneshot::Sender<()>> {
        std::mem::take(&mut *lock(&self.probes))
    }

    /// Everything that waits to be written, in one piece.
    pub(crate) fn take_output(&self) -> BytesMut {
        let mut out = lock(&self.out);
        let output = std::mem::take(&mut out.buffer);
        out.taken += output.len();
        output
    }

    pub(crate) fn written(&self, bytes: usize) {
        let mut out = lock(&self.out);
        let was_full = out.buffer.len() + out.taken >= BACKLOG_BYTES_HIGH;
        out.taken = out.taken.saturating_sub(bytes);
        let is_full = out.buffer.len() + out.taken >= BACKLOG_BYTES_HIGH;
        drop(out);
        if was_full && !is_full {
            self.room.notify_waiters();
        }
    }

    /// The connection has ended: nothing is queued any more, and whoever waits for an answer hears of it now.
    pub(crate) fn close(&self) {
        {
            let mut out = lock(&self.out);
            out.closed = true;
            // Callees may hold this for as long as they owe an answer.
            out.buffer = BytesMut::new();
        }
        self.closed.cancel();
        self.room.notify_waiters();
        for open in std::mem::take(&mut *lock(&self.open)).into_values() {
            match open {
                Open::Forward { caller, request_id } => caller.send_reply(&request_id, Err(RawError::lost())),
                Open::Process(replies) => replies.send(Err(RawError::lost()), 0),
            }
        }
    }

    fn next_id(&self) -> u64 {
        match &self.counter {
            Some(counter) => counter.fetch_add(1, Ordering::Relaxed),
            None => rand::rng().random_range(0..ID_LIMIT),
        }
    }
}

impl Open {
    fn another(&self) -> Self {
        match self {
            Self::Forward { caller, request_id } => {
                Self::Forward { caller: Arc::clone(caller), request_id: request_id.clone() }
            }
            Self::Process(replies) => Self::Process(replies.clone()),
        }
    }

    fn is_abandoned(&self) -> bool {
        match self {
            Self::Forward { caller, .. } => caller.is_closed(),
            Self::Process(replies) => replies.is_abandoned(),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.number)
    }
}

/// Keeps codes and texts within what official clients survive (spec 20 §2.2).
fn normal(reply: CallReply) -> CallReply {
    let code = match reply.code {
        code::OK | code::BAD_REQUEST => reply.code,
        _ => code::FAILURE,
    };
    let reply_type = if code == code::OK && reply.reply_type == wire::PARTIAL { wire::PARTIAL } else { wire::FULL };
    let data = match str::from_utf8(&reply.data) {
        Err(_) if code != code::OK => Bytes::from(String::from_utf8_lossy(&reply.data).into_owned()),
        _ => reply.data,
    };
    CallReply { code, reply_type, data, request_id: reply.request_id }
}

/// What a reply of the wire says.
pub(crate) fn chunk_of(reply: CallReply) -> Result<RawChunk, RawError> {
    let text = || String::from_utf8_lossy(&reply.data).into_owned();
    match reply.code {
        code::OK if reply.reply_type == wire::PARTIAL => Ok(RawChunk::Partial(reply.data.into())),
        code::OK => Ok(RawChunk::Full(reply.data.into())),
        code::BAD_REQUEST => Err(RawError::bad_request(text())),
        _ => Err(RawError::failure(text())),
    }
}

fn error_reply(request_id: &str, error: RawError) -> CallReply {
    let code = match error.code {
        RawCode::BadRequest => code::BAD_REQUEST,
        RawCode::Failure => code::FAILURE,
    };
    CallReply { request_id: request_id.into(), code, reply_type: wire::FULL, data: error.text.into() }
}

fn encoded(chunk: RawChunk) -> Result<Bytes, RawError> {
    chunk.into_payload().into_bytes().map_err(|error| RawError::failure(format!("Encoding problem: {error}")))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
