//! Calls of this node that wait for replies.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use golem_bus::wire::{self, CallReply, code};
use golem_bus::{Payload, RawChunk, RawError};
use golem_model::NodeId;
use golem_model::address::Channel;
use tokio::sync::mpsc;

use super::{Engine, Outgoing};
use crate::shared::Counters;

/// Chunks of one call that its caller may leave unread.
pub(crate) const CHUNKS_MAX: usize = 4096;
/// Calls that wait at once.
const CALLS_MAX: usize = 65_536;
/// Silence after which a call is forgotten; callers have their own, shorter limits.
const CALL_SILENCE_MAX: Duration = Duration::from_secs(3600);

pub(crate) type ReplySender = mpsc::Sender<Result<RawChunk, RawError>>;

#[derive(Debug)]
struct Waiting {
    to: NodeId,
    channel: Channel,
    replies: ReplySender,
    heard: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Calls(HashMap<Arc<str>, Waiting>);

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Engine {
    /// Remembers a call; gives its request back to be sent.
    pub(super) fn register_call(
        &mut self,
        request_id: Arc<str>,
        message: Outgoing,
        replies: ReplySender,
    ) -> Option<Outgoing> {
        if self.calls.0.len() >= CALLS_MAX {
            let _ = replies.try_send(Err(RawError::failure("too many calls wait for other nodes")));
            return None;
        }
        let (to, channel, heard) = (message.to, message.channel, self.now());
        self.calls.0.insert(request_id, Waiting { to, channel, replies, heard });
        Some(message)
    }

    /// A reply of node `from`; only the node that was called may send it (spec 11 §6).
    pub(super) fn on_reply(&mut self, from: NodeId, reply: CallReply) {
        let now = self.now();
        let Some(call) = self.calls.0.get_mut(&*reply.request_id) else { return };
        if self.node.default_of(call.to) != from {
            Counters::count(&self.shared.counters.foreign_repliers);
            return;
        }
        call.heard = now;
        let is_last = reply.reply_type != wire::PARTIAL || reply.code != code::OK;
        let chunk = match reply.code {
            code::OK if is_last => Ok(RawChunk::Full(Payload::from(reply.data))),
            code::OK => Ok(RawChunk::Partial(Payload::from(reply.data))),
            other => Err(error_of(other, &reply.data)),
        };
        // Where the reader has gone there is nobody to tell; where it is too slow it must not hold up the others.
        let is_over = match call.replies.try_send(chunk) {
            Ok(()) => is_last,
            Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                Counters::count(&self.shared.counters.overload);
                true
            }
        };
        if is_over {
            self.calls.0.remove(&*reply.request_id);
        }
    }

    pub(super) fn end_call(&mut self, request_id: &str, error: RawError) {
        if let Some(call) = self.calls.0.remove(request_id) {
            let _ = call.replies.try_send(Err(error));
        }
    }

    /// Ends all calls to a node.
    pub(super) fn fail_calls_to(&mut self, node: NodeId, text: &str) {
        let node = self.node.default_of(node);
        let ended = self.calls.0.extract_if(|_, call| self.node.default_of(call.to) == node);
        for (_, call) in ended {
            let _ = call.replies.try_send(Err(RawError::failure(text)));
        }
    }

    /// Ends the calls on a channel whose connection broke, but for those whose requests are sent again.
    pub(super) fn fail_calls_but(&mut self, node: NodeId, channel: Channel, but: &[Arc<str>], text: &str) {
        let ended = self.calls.0.extract_if(|request_id, call| {
            call.channel == channel && self.node.default_of(call.to) == node && !but.contains(request_id)
        });
        for (_, call) in ended {
            let _ = call.replies.try_send(Err(RawError::failure(text)));
        }
    }

    pub(super) fn sweep_calls(&mut self) {
        let now = self.now();
        self.calls.0.retain(|_, call| !call.replies.is_closed() && call.heard + CALL_SILENCE_MAX > now);
    }
}

/// Official nodes send every failure as code 400 and tell its kind in the text; so do we (spec 11 §5).
fn error_of(reply_code: i32, data: &Bytes) -> RawError {
    let text = String::from_utf8_lossy(data);
    if let Some(text) = text.strip_prefix("GSB failure: ") {
        RawError::failure(text)
    } else if let Some(text) = text.strip_prefix("Bad request: ") {
        RawError::bad_request(text)
    } else if reply_code == code::BAD_REQUEST {
        RawError::bad_request(text)
    } else {
        RawError::failure(text)
    }
}

#[cfg(test)]
mod tests {
    use golem_bus::RawCode;

    use super::*;

    #[test]
    fn errors_keep_code_and_text_over_the_wire() {
        for error in [RawError::failure("boom text"), RawError::bad_request("endpoint address not found")] {
            assert_eq!(error_of(400, &error.to_string().into()), error);
        }
        assert_eq!(error_of(500, &Bytes::from_static(b"x")).code, RawCode::Failure);
        assert_eq!(error_of(400, &Bytes::from_static(b"\xff")).code, RawCode::BadRequest);
    }
}
