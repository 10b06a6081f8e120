//! Frames over virtual connections: one of ours and one of the peer's per node and channel (spec 11 §2.3).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use golem_bus::RawError;
use golem_model::NodeId;
use golem_model::address::Channel;
use golem_net_vtcp::{
    Address, CloseReason, ConnectionId, Event, FrameDecoder, MESSAGES_PORT, Stack, TRANSFER_PORT, frame_header,
};
use rand::Rng;
use tokio::sync::OwnedSemaphorePermit;
use tracing::debug;

use super::{Engine, Outgoing};
use crate::shared::Counters;

const fn port_of(channel: Channel) -> u16 {
    match channel {
        Channel::Transfer => TRANSFER_PORT,
        Channel::Reliable | Channel::Unreliable => MESSAGES_PORT,
    }
}

/// A frame that the peer has not acknowledged whole.
#[derive(Debug)]
struct Frame {
    start: u64,
    end: u64,
    frame: Bytes,
    request_id: Option<Arc<str>>,
    was_repeated: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

/// A connection that we opened; we send on no other.
#[derive(Debug)]
struct Out {
    node: NodeId,
    channel: Channel,
    queued: u64,
    acked: u64,
    frames: VecDeque<Frame>,
}

#[derive(Debug)]
struct In {
    node: NodeId,
    channel: Channel,
    decoder: FrameDecoder,
}

#[derive(Debug, Default)]
pub(super) struct Streams {
    out: HashMap<ConnectionId, Out>,
    by_node: HashMap<(NodeId, u16), ConnectionId>,
    incoming: HashMap<ConnectionId, In>,
}

impl Streams {
    /// Drops what the stack does not know any more.
    pub(super) fn forget_idle(&mut self, stack: &Stack) {
        let known = stack.ids();
        self.incoming.retain(|id, _| known.contains(id));
    }
}

impl Engine {
    pub(super) fn send_on_stream(&mut self, node: NodeId, message: Outgoing) {
        let header = match frame_header(message.frame.len()) {
            Ok(header) => header,
            Err(error) => return self.fail(&message, &error.to_string()),
        };
        let id = match self.stream_to(node, message.channel) {
            Ok(id) => id,
            Err(text) => return self.fail(&message, text),
        };
        let sent = self
            .stack
            .send(id, Bytes::copy_from_slice(&header))
            .and_then(|()| self.stack.send(id, message.frame.clone()));
        if sent.is_err() {
            return self.fail(&message, "Net: error sending message: session closed");
        }
        self.remember(id, message.frame, message.request_id, message.permit, false);
    }

    fn remember(
        &mut self,
        id: ConnectionId,
        frame: Bytes,
        request_id: Option<Arc<str>>,
        permit: Option<OwnedSemaphorePermit>,
        was_repeated: bool,
    ) {
        let Some(out) = self.streams.out.get_mut(&id) else { return };
        let start = out.queued;
        let len = u64::try_from(frame.len()).unwrap_or_default();
        out.queued += 8 + len;
        out.frames.push_back(Frame { start, end: out.queued, frame, request_id, was_repeated, _permit: permit });
    }

    /// The connection for this channel, opened now if there is none.
    pub(super) fn stream_to(&mut self, node: NodeId, channel: Channel) -> Result<ConnectionId, &'static str> {
        let port = port_of(channel);
        if let Some(id) = self.streams.by_node.get(&(node, port)) {
            return Ok(*id);
        }
        let (now, random) = (self.now(), self.rng.random());
        let address = self.address_of(node);
        let id = self.stack.connect(now, address, port, random).map_err(|_| "too many connections with this node")?;
        self.streams.by_node.insert((node, port), id);
        self.streams.out.insert(id, Out { node, channel, queued: 0, acked: 0, frames: VecDeque::new() });
        Ok(id)
    }

    pub(super) fn on_stack_event(&mut self, event: Event) {
        match event {
            Event::Connected(id) => self.on_stream_connected(id),
            Event::Accepted { id, peer, port } => {
                if let Some(node) = self.addresses.get(&peer) {
                    let channel = if port == TRANSFER_PORT { Channel::Transfer } else { Channel::Reliable };
                    self.streams.incoming.insert(id, In { node: *node, channel, decoder: FrameDecoder::default() });
                }
            }
            Event::Readable(id) => self.on_readable(id),
            Event::Acked { id, bytes } => {
                if let Some(out) = self.streams.out.get_mut(&id) {
                    out.acked = bytes;
                    while out.frames.front().is_some_and(|frame| frame.end <= bytes) {
                        out.frames.pop_front();
                    }
                }
            }
            Event::Closed { id, peer, reason } => self.on_closed(id, peer, reason),
        }
    }

    fn on_readable(&mut self, id: ConnectionId) {
        let mut frames = Vec::new();
        let mut bad = None;
        let Some(stream) = self.streams.incoming.get_mut(&id) else {
            // Nothing is said to us on our own connections; keep their windows open all the same.
            while self.stack.read(id).is_some() {}
            if self.stack.is_at_end(id)
                && let Some(out) = self.streams.out.get(&id)
            {
                // The peer closes it: what comes next needs a new one.
                self.streams.by_node.remove(&(out.node, port_of(out.channel)));
            }
            return;
        };
        while let Some(piece) = self.stack.read(id) {
            stream.decoder.push(piece);
            loop {
                match stream.decoder.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => {
                        bad = Some(error);
                        break;
                    }
                }
            }
            if bad.is_some() {
                break;
            }
        }
        let (node, channel) = (stream.node, stream.channel);
        for frame in frames {
            self.on_frame(node, channel, frame);
        }
        if let Some(error) = bad {
            debug!(%node, %error, "a peer's stream is out of step");
            Counters::count(&self.shared.counters.malformed);
            self.stack.abort(id);
        }
    }

    fn on_closed(&mut self, id: ConnectionId, peer: Address, reason: CloseReason) {
        self.streams.incoming.remove(&id);
        let Some(out) = self.streams.out.remove(&id) else { return };
        let key = (out.node, port_of(out.channel));
        if self.streams.by_node.get(&key) == Some(&id) {
            self.streams.by_node.remove(&key);
        }
        self.on_stream_failed(id);
        debug!(node = %out.node, %peer, channel = ?out.channel, %reason, "a virtual connection ended");
        let text = format!("Net: error sending message: {reason}");
        let mut to_repeat = Vec::new();
        for frame in out.frames {
            // A peer that restarted knows nothing of the connection, so it has not taken what it never acknowledged.
            if reason == CloseReason::Reset && frame.start >= out.acked && !frame.was_repeated {
                to_repeat.push(frame);
            } else if let Some(request_id) = &frame.request_id {
                self.end_call(request_id, RawError::failure(&*text));
            }
        }
        let repeated: Vec<Arc<str>> = to_repeat.iter().filter_map(|frame| frame.request_id.clone()).collect();
        self.fail_calls_but(out.node, out.channel, &repeated, &text);
        for frame in to_repeat {
            let Ok(id) = self.stream_to(out.node, out.channel) else { return };
            let header = frame_header(frame.frame.len()).unwrap_or_default();
            if self.stack.send(id, Bytes::copy_from_slice(&header)).is_ok()
                && self.stack.send(id, frame.frame.clone()).is_ok()
            {
                self.remember(id, frame.frame, frame.request_id, frame._permit, true);
            }
        }
    }
}
