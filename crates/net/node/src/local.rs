//! Endpoints of the net on the local bus, and the one that other nodes ping (spec 11 §9).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use golem_bus::wire::{BroadcastRequest, Kind, Packet};
use golem_bus::{Bus, Payload, RawError, RawReply, RawRequest};
use golem_model::address::{Channel, remote};
use golem_model::net::{
    ADDRESS, Connect, DIAGNOSTIC, Disconnect, Error, FindNode, FindNodeResponse, GsbPing, GsbPingResponse,
    GsbRemotePing, IDENTITY_EVENTS, ListNeighbours, SendBroadcastMessage, Sessions, Shutdown, Sockets, Status,
    Subscribe, SubscribeError,
};
use golem_model::{Call, Caller, NodeId, identity};
use prost::Message;
use serde::de::IgnoredAny;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::{Ask, Command};
use crate::identity::Refresh;
use crate::shared::Shared;

/// How long one ping of another node may take.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Nodes that are pinged at once.
const PINGS_AT_ONCE: usize = 32;
/// How long a connection to a node may take to stand.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest topic and endpoint of a subscription.
const NAME_BYTES_MAX: usize = 1024;

/// Asks the engine.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) commands: mpsc::Sender<Command>,
}

/// The net has been stopped.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the network service has stopped")]
pub struct Stopped;

impl Asker {
    pub(crate) async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Stopped> {
        let (answer, result) = oneshot::channel();
        self.commands.send(Command::Ask(question(answer))).await.map_err(|_| Stopped)?;
        result.await.map_err(|_| Stopped)
    }
}

pub(crate) struct Local {
    pub(crate) bus: Bus,
    pub(crate) asker: Asker,
    pub(crate) shared: Arc<Shared>,
    pub(crate) refresh: Refresh,
    pub(crate) stop: CancellationToken,
}

impl Local {
    pub(crate) fn bind(self) {
        let bus = self.bus.clone();
        let asker = self.asker.clone();
        bus.bind(ADDRESS, move |_, _: Status| {
            let asker = asker.clone();
            async move { asker.ask(Ask::Status).await.map_err(Error::new) }
        });
        let asker = self.asker.clone();
        bus.bind(ADDRESS, move |_, _: Sessions| {
            let asker = asker.clone();
            async move { asker.ask(Ask::Sessions).await.map_err(Error::new) }
        });
        let asker = self.asker.clone();
        bus.bind(ADDRESS, move |_, _: Sockets| {
            let asker = asker.clone();
            async move { asker.ask(Ask::Sockets).await.map_err(Error::new) }
        });
        let asker = self.asker.clone();
        bus.bind(ADDRESS, move |_, find: FindNode| {
            let asker = asker.clone();
            async move {
                let id = find.node_id.parse().map_err(|error| {
                    Error::new(format!(
                        "NodeId `{}` parsing error: {error}",
                        find.node_id.chars().take(64).collect::<String>()
                    ))
                })?;
                find_node(&asker, id).await.map_err(Error::new)
            }
        });
        let asker = self.asker.clone();
        bus.bind(ADDRESS, move |_, list: ListNeighbours| {
            let asker = asker.clone();
            async move {
                let nodes =
                    asker.ask(|answer| Ask::Neighbours { count: list.size, answer }).await.map_err(Error::new)?;
                nodes.map_err(Error::new)
            }
        });
        let asker = self.asker.clone();
        bus.bind(ADDRESS, move |_, subscribe: Subscribe| {
            let asker = asker.clone();
            async move {
                let Subscribe { topic, endpoint } = subscribe;
                if topic.len() > NAME_BYTES_MAX || endpoint.len() > NAME_BYTES_MAX {
                    return Err(SubscribeError::RuntimeException("topic or endpoint is too long".to_owned()));
                }
                let number = asker.ask(|answer| Ask::Subscribe { topic, endpoint, answer }).await;
                let number = number.map_err(|error| SubscribeError::RuntimeException(error.to_string()))?;
                number.ok_or_else(|| SubscribeError::RuntimeException("too many subscriptions".to_owned()))
            }
        });
        self.bind_pings();
        self.bind_connections();
        self.bind_broadcast();
        let refresh = self.refresh.clone();
        bus.bind(IDENTITY_EVENTS, move |_, _: identity::Event| {
            let refresh = refresh.clone();
            async move {
                refresh.now().await;
                Ok(())
            }
        });
        bus.bind(DIAGNOSTIC, |_, _: GsbRemotePing| async { Ok(GsbRemotePing {}) });
        let stop = self.stop;
        bus.bind(ADDRESS, move |_, _: Shutdown| {
            stop.cancel();
            async { Ok(()) }
        });
    }

    fn bind_connections(&self) {
        let asker = self.asker.clone();
        self.bus.bind(ADDRESS, move |_, connect: Connect| {
            let asker = asker.clone();
            async move {
                let found = find_node(&asker, connect.node).await?;
                let wanted =
                    [(connect.reliable_channel, Channel::Reliable), (connect.transfer_channel, Channel::Transfer)];
                for channel in wanted.into_iter().filter_map(|(wanted, channel)| wanted.then_some(channel)) {
                    let open = asker.ask(|answer| Ask::Open { node: connect.node, channel, answer });
                    let is_open = tokio::time::timeout(OPEN_TIMEOUT, open).await;
                    if !matches!(is_open, Ok(Ok(true))) {
                        let name = if channel == Channel::Transfer { "transfer" } else { "reliable" };
                        return Err(format!("Fail to open {name} channel"));
                    }
                }
                Ok(found)
            }
        });
        let asker = self.asker.clone();
        self.bus.bind(ADDRESS, move |_, disconnect: Disconnect| {
            let asker = asker.clone();
            async move {
                let node = disconnect.node;
                let was =
                    asker.ask(|answer| Ask::Disconnect { node, answer }).await.map_err(|error| error.to_string())?;
                if was { Ok(()) } else { Err(format!("there is no session with node {node}")) }
            }
        });
    }

    fn bind_pings(&self) {
        let (bus, asker) = (self.bus.clone(), self.asker.clone());
        self.bus.bind(ADDRESS, move |_, ping: GsbPing| {
            let (bus, asker) = (bus.clone(), asker.clone());
            async move {
                let nodes =
                    if ping.nodes.is_empty() { asker.ask(Ask::Reached).await.map_err(Error::new)? } else { ping.nodes };
                let _ = asker.commands.send(Command::Ask(Ask::PingAll)).await;
                let pings = stream::iter(nodes).map(|node| ping_node(&bus, &asker, node)).buffered(PINGS_AT_ONCE);
                Ok(pings.collect::<Vec<_>>().await)
            }
        });
    }

    /// Takes the whole body as it came: the message inside is of no concern to the net.
    fn bind_broadcast(&self) {
        let (commands, shared) = (self.asker.commands.clone(), Arc::clone(&self.shared));
        let address = format!("{ADDRESS}/{}", SendBroadcastMessage::<()>::ID);
        let service = move |request: RawRequest| {
            let (commands, shared) = (commands.clone(), Arc::clone(&shared));
            RawReply::future(async move {
                let data = crate::engine::encode(request.data, true)?;
                let topic = topic_of(&data)?;
                // Receivers drop broadcasts in any other name.
                let caller = shared.default_id().to_string();
                let broadcast = BroadcastRequest { caller, data, topic: topic.clone() };
                let frame = Packet { kind: Some(Kind::Broadcast(broadcast)) }.encode_to_vec().into();
                commands
                    .send(Command::Broadcast { topic, frame })
                    .await
                    .map_err(|_| RawError::failure(Stopped.to_string()))?;
                Ok(Payload::value(Ok::<(), ()>(())))
            })
        };
        self.bus.bind_raw(&address, Arc::new(service));
    }
}

fn topic_of(data: &Bytes) -> Result<String, RawError> {
    let message: SendBroadcastMessage<IgnoredAny> =
        golem_bus::decode(data).map_err(|error| RawError::failure(error.to_string()))?;
    Ok(message.topic)
}

async fn find_node(asker: &Asker, id: NodeId) -> Result<FindNodeResponse, String> {
    let found = asker.ask(|answer| Ask::Find { id, answer }).await.map_err(|error| error.to_string())?;
    found.map_err(|error| error.to_string())
}

async fn ping_node(bus: &Bus, asker: &Asker, node: NodeId) -> GsbPingResponse {
    let time = async |channel| {
        let started = Instant::now();
        let address = remote(channel, node, DIAGNOSTIC);
        let answer = bus.call(&address, Caller::local(), GsbRemotePing {}, PING_TIMEOUT).await;
        answer.is_ok().then(|| started.elapsed())
    };
    let (tcp_ping, udp_ping) = tokio::join!(time(Channel::Reliable), time(Channel::Unreliable));
    let (default, is_p2p) = asker.ask(|answer| Ask::Path { node, answer }).await.unwrap_or((node, false));
    let node_alias = (default != node).then_some(node);
    GsbPingResponse { node_id: default, node_alias, tcp_ping, udp_ping, is_p2p }
}
