//! Chunks on their way from a connection to a reader in this process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use crate::link::Link;
use crate::{RawChunk, RawError};

/// Chunks that a slow reader may leave waiting. The connection cannot wait for one reader, so the call fails above it.
const CHUNKS_MAX: usize = 4096;
/// The same for the bytes of the chunks: two frames of the largest size.
const BYTES_MAX: usize = 128 << 20;

#[derive(Default)]
struct State {
    /// Each with its size.
    chunks: VecDeque<(Result<RawChunk, RawError>, usize)>,
    bytes: usize,
    ended: bool,
    reader_gone: bool,
    waker: Option<Waker>,
}

#[derive(Clone, Default)]
pub(crate) struct ReplySender(Arc<Mutex<State>>);

/// The reader's end. Dropping it tells the connection to forget the call.
pub(crate) struct ReplyQueue {
    state: Arc<Mutex<State>>,
    link: Weak<Link>,
    id: u64,
}

impl ReplySender {
    pub(crate) fn reader(&self, link: &Arc<Link>, id: u64) -> ReplyQueue {
        ReplyQueue { state: Arc::clone(&self.0), link: Arc::downgrade(link), id }
    }

    pub(crate) fn send(&self, chunk: Result<RawChunk, RawError>, bytes: usize) {
        let mut state = lock(&self.0);
        if state.ended || state.reader_gone {
            return;
        }
        state.ended = !matches!(chunk, Ok(RawChunk::Partial(_)));
        if state.chunks.len() >= CHUNKS_MAX || state.bytes.saturating_add(bytes) > BYTES_MAX {
            state.ended = true;
            state.chunks.push_back((Err(RawError::stalled()), 0));
        } else {
            state.bytes += bytes;
            state.chunks.push_back((chunk, bytes));
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        lock(&self.0).reader_gone
    }
}

impl ReplyQueue {
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<RawChunk, RawError>> {
        let mut state = lock(&self.state);
        match state.chunks.pop_front() {
            Some((chunk, bytes)) => {
                state.bytes = state.bytes.saturating_sub(bytes);
                Poll::Ready(chunk)
            }
            None if state.ended => Poll::Ready(Err(RawError::lost())),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for ReplyQueue {
    fn drop(&mut self) {
        let ended = {
            let mut state = lock(&self.state);
            state.reader_gone = true;
            state.ended
        };
        if let (false, Some(link)) = (ended, self.link.upgrade()) {
            link.forget(self.id);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
