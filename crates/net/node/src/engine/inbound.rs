//! What peers send: calls for services of this node, replies, broadcasts (spec 11 §5 to §7).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use golem_bus::payload::deflate;
use golem_bus::wire::{self, CallReply, CallRequest, Kind};
use golem_bus::{Bus, Payload, RawChunk, RawError, RawRequest};
use golem_model::address::Channel;
use golem_model::{Caller, NodeId};
use golem_net_relay_core::QueryId;
use prost::Message;
use tokio::sync::mpsc;
use tracing::debug;

use super::{Command, Engine, Outgoing};
use crate::address::inward;
use crate::raw::COMPRESS_ABOVE_BYTES;
use crate::shared::{Counters, Shared};

/// Calls of one peer that run at once; more are refused.
const CALLS_PER_PEER_MAX: usize = 4096;
/// Calls that wait until the identities of their sender are known better.
const RECHECKS_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Inbound {
    running: HashMap<NodeId, usize>,
    /// Calls whose caller was not among the identities of the sender; it may have a new one.
    rechecks: HashMap<QueryId, (NodeId, Channel, CallRequest)>,
    order: VecDeque<QueryId>,
}

impl Inbound {
    pub(super) fn answered(&mut self, peer: NodeId) {
        if let Some(count) = self.running.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.running.remove(&peer);
            }
        }
    }
}

impl Engine {
    pub(super) fn on_unreliable(&mut self, from: NodeId, mut payload: Bytes) {
        let Ok(len) = payload.try_get_u32() else { return };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len <= payload.len() {
            payload.truncate(len);
            self.on_frame(from, Channel::Unreliable, payload);
        }
    }

    /// Takes a bus message of the node with the default identity `from`.
    pub(super) fn on_frame(&mut self, from: NodeId, channel: Channel, frame: Bytes) {
        match wire::decode_packet(frame) {
            Ok(Kind::Call(call)) => self.on_call(from, channel, call, false),
            Ok(Kind::Reply(reply)) => self.on_reply(from, reply),
            Ok(Kind::Broadcast(broadcast)) => self.on_broadcast(from, broadcast),
            Ok(_) | Err(_) => Counters::count(&self.shared.counters.malformed),
        }
    }

    /// Accepts a call only of an identity that the sender has proved; official nodes do not look (spec 11 §6).
    fn on_call(&mut self, from: NodeId, channel: Channel, call: CallRequest, is_recheck: bool) {
        let caller = call.caller.parse::<NodeId>().ok();
        let proved = caller.filter(|caller| *caller == from || self.node.identities_of(from).contains(caller));
        match proved {
            Some(caller) => self.serve(from, caller, channel, call),
            None if !is_recheck && caller.is_some() => {
                // An identity that was made after the session began: ask once more who this node is.
                if self.inbound.rechecks.len() >= RECHECKS_MAX
                    && let Some(oldest) = self.inbound.order.pop_front()
                {
                    self.inbound.rechecks.remove(&oldest);
                }
                let now = self.now();
                let query = self.node.find(now, from);
                self.inbound.rechecks.insert(query, (from, channel, call));
                self.inbound.order.push_back(query);
            }
            None => {
                Counters::count(&self.shared.counters.foreign_callers);
                debug!(%from, "dropped a call in a foreign name");
            }
        }
    }

    /// The answer to a question about a sender; true if it was one.
    pub(super) fn inbound_refreshed(&mut self, query: QueryId) -> bool {
        let Some((from, channel, call)) = self.inbound.rechecks.remove(&query) else { return false };
        self.inbound.order.retain(|other| *other != query);
        self.on_call(from, channel, call, true);
        true
    }

    fn serve(&mut self, from: NodeId, caller: NodeId, channel: Channel, call: CallRequest) {
        let reply = Reply {
            to: caller,
            channel,
            request_id: call.request_id,
            is_wanted: !call.no_reply,
            commands: self.commands.clone(),
            shared: Arc::clone(&self.shared),
        };
        let Some(address) = inward(&call.address, |id| self.shared.is_own(id)) else {
            let address: String = call.address.chars().take(256).collect();
            return self.refuse(reply, RawError::bad_request(format!("Unknown address: {address}")));
        };
        let running = self.inbound.running.entry(from).or_default();
        if *running >= CALLS_PER_PEER_MAX {
            Counters::count(&self.shared.counters.overload);
            return self.refuse(reply, RawError::failure("too many calls of this node are running"));
        }
        *running += 1;
        let request = RawRequest {
            caller: Caller::from(caller),
            address,
            data: Payload::from(call.data),
            no_reply: call.no_reply,
        };
        let (bus, commands) = (self.bus.clone(), self.commands.clone());
        self.tasks.spawn(async move {
            answer(&bus, request, reply).await;
            // The engine has stopped otherwise.
            let _ = commands.send(Command::Answered { peer: from }).await;
        });
    }

    fn refuse(&self, reply: Reply, error: RawError) {
        if reply.is_wanted {
            self.tasks.spawn(async move { reply.send(Err(error)).await });
        }
    }
}

/// Where the reply to a call of a peer goes: to the caller, on the channel of the call.
struct Reply {
    to: NodeId,
    channel: Channel,
    request_id: String,
    is_wanted: bool,
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

async fn answer(bus: &Bus, request: RawRequest, reply: Reply) {
    let may_compress = !request.address.contains("/gftp/");
    let mut chunks = bus.call_raw(request);
    while let Some(chunk) = chunks.next().await {
        let (reply_type, payload) = match chunk {
            Ok(RawChunk::Partial(payload)) => (wire::PARTIAL, payload),
            Ok(RawChunk::Full(payload)) => (wire::FULL, payload),
            Err(error) => {
                reply.send(Err(error)).await;
                return;
            }
        };
        if !reply.is_wanted {
            continue;
        }
        let data = match encode(payload, may_compress) {
            Ok(data) => data,
            Err(error) => return reply.send(Err(error)).await,
        };
        reply.send(Ok((reply_type, data))).await;
        if reply_type == wire::FULL {
            return;
        }
    }
    if reply.is_wanted {
        // The end of a stream without a last item.
        reply.send(Ok((wire::FULL, Bytes::new()))).await;
    }
}

/// The bytes of a body; big ones that this node wrote itself are compressed (spec 20 §5.2).
pub(crate) fn encode(payload: Payload, may_compress: bool) -> Result<Bytes, RawError> {
    let is_ours = payload.is_value();
    let bytes = payload.into_bytes().map_err(|error| RawError::failure(format!("Encoding problem: {error}")))?;
    let compress = is_ours && may_compress && bytes.len() > COMPRESS_ABOVE_BYTES;
    Ok(if compress { deflate(&bytes).into() } else { bytes })
}

impl Reply {
    async fn send(&self, outcome: Result<(i32, Bytes), RawError>) {
        if !self.is_wanted {
            return;
        }
        let (code, reply_type, data) = match outcome {
            Ok((reply_type, data)) => (wire::code::OK, reply_type, data),
            // Every failure is code 400 on the wire; the text tells its kind (spec 11 §5).
            Err(error) => (wire::code::BAD_REQUEST, wire::FULL, error.to_string().into()),
        };
        let reply = CallReply { request_id: self.request_id.clone(), code, reply_type, data };
        let frame: Bytes = wire::Packet { kind: Some(Kind::Reply(reply)) }.encode_to_vec().into();
        let permit = self.shared.admit(self.to, self.channel, frame.len()).await;
        let message = Outgoing { to: self.to, channel: self.channel, frame, request_id: None, permit };
        // The engine has stopped otherwise.
        let _ = self.commands.send(Command::Send(message)).await;
    }
}
