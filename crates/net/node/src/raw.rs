//! The prefixes `/net`, `/from` and their siblings on the local bus: calls that go to other nodes (spec 11 §4, §5).

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryFutureExt, future, stream};
use golem_bus::wire::{CallRequest, Kind, Packet};
use golem_bus::{Bus, Payload, RawChunk, RawError, RawReply, RawRequest, RawService};
use golem_model::{Caller, NodeId};
use prost::Message;
use tokio::sync::mpsc;

use crate::address::Outward;
use crate::engine::{Command, Outgoing};
use crate::identity::Refresh;
use crate::shared::Shared;

/// Bodies up to this size are not worth compressing (spec 20 §5.2).
pub(crate) const COMPRESS_ABOVE_BYTES: usize = 4096;
/// Chunks of one reply that wait for its reader.
const CHUNKS_MAX: usize = crate::CHUNKS_MAX;

/// Sends what is called below its prefixes to other nodes.
pub(crate) struct NetService {
    pub(crate) bus: Bus,
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) refresh: Refresh,
}

impl RawService for NetService {
    fn call(&self, request: RawRequest) -> RawReply {
        let outward = match Outward::parse(&request.address) {
            Ok(outward) => outward,
            Err(error) => return RawReply::error(RawError::bad_request(error.to_string())),
        };
        let caller = outward.from.unwrap_or_else(|| self.shared.default_id());
        if !self.shared.is_own(caller) {
            return self.after_refresh(outward, caller, request);
        }
        start(&self.bus, &self.shared, &self.commands, outward, caller, request)
    }
}

impl NetService {
    /// An identity that is not known may have been made lately: looks once, then decides.
    fn after_refresh(&self, outward: Outward, caller: NodeId, request: RawRequest) -> RawReply {
        let (bus, shared, commands) = (self.bus.clone(), Arc::clone(&self.shared), self.commands.clone());
        let refresh = self.refresh.clone();
        let reply = async move {
            refresh.now().await;
            if shared.is_own(caller) {
                start(&bus, &shared, &commands, outward, caller, request)
            } else {
                let text = format!("Trying to send message from unknown identity: {caller}");
                RawReply::error(RawError::bad_request(text))
            }
        };
        RawReply::stream(reply.flatten_stream())
    }
}

fn start(
    bus: &Bus,
    shared: &Arc<Shared>,
    commands: &mpsc::Sender<Command>,
    outward: Outward,
    caller: NodeId,
    request: RawRequest,
) -> RawReply {
    if shared.is_own(outward.to) {
        // This node calls itself: the same service, the same caller, without the network.
        return bus.call_raw(RawRequest { caller: Caller::from(caller), address: outward.public(), ..request });
    }
    let (shared, commands) = (Arc::clone(shared), commands.clone());
    let no_reply = request.no_reply;
    let (replies, chunks) = mpsc::channel(CHUNKS_MAX);
    let send = async move {
        let (request_id, frame) = frame(&outward, caller, request)?;
        let permit = shared.admit(outward.to, outward.channel, frame.len()).await;
        let wanted = (!no_reply).then(|| Arc::clone(&request_id));
        let message = Outgoing { to: outward.to, channel: outward.channel, frame, request_id: wanted, permit };
        let command = if no_reply { Command::Send(message) } else { Command::Call { request_id, message, replies } };
        commands.send(command).await.map_err(|_| RawError::failure("the network service has stopped"))
    };
    if no_reply {
        return RawReply::future(send.map_ok(|()| Payload::empty()));
    }
    let chunks = stream::unfold(chunks, |mut chunks| async move { chunks.recv().await.map(|chunk| (chunk, chunks)) });
    let reply = send.map(move |sent| match sent {
        Ok(()) => chunks
            .chain(stream::once(future::ready(Err(RawError::failure("Net: the call was given up")))))
            .left_stream(),
        Err(error) => stream::once(future::ready(Err::<RawChunk, _>(error))).right_stream(),
    });
    RawReply::stream(reply.flatten_stream())
}

fn frame(outward: &Outward, caller: NodeId, request: RawRequest) -> Result<(Arc<str>, Bytes), RawError> {
    // Official nodes serve some of these without a reader that inflates (spec 20 §5.2).
    let may_compress = !request.address.contains("/gftp/");
    let data = crate::engine::encode(request.data, may_compress)?;
    let request_id: Arc<str> = (rand::random::<u64>() >> 11).to_string().into();
    let call = CallRequest {
        caller: caller.to_string(),
        address: outward.wire(),
        request_id: request_id.to_string(),
        data,
        no_reply: request.no_reply,
    };
    Ok((request_id, Packet { kind: Some(Kind::Call(call)) }.encode_to_vec().into()))
}
