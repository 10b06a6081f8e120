//! The one task of the net. It owns the socket, the sessions, the virtual TCP and the tables of calls; it is started by
//! [`crate::start`] and stops with the stop token, saying good-bye to peers.
//!
//! `streams` carries frames over virtual connections, `calls` matches replies with calls, `inbound` takes what peers
//! send, `casts` sends broadcasts, `report` answers questions about the state. Bus handlers, proofs and everything else
//! that takes time run as tasks of their own and come back as a [`Command`].

mod calls;
mod casts;
mod inbound;
mod report;
mod streams;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use golem_bus::{Bus, RawError};
use golem_keys::PublicKey;
use golem_model::NodeId;
use golem_model::address::Channel;
use golem_net_relay_core::{Effect, Node, Proof, ProofToken, QueryId, Unreachable};
use golem_net_udp::Udp;
use golem_net_vtcp::{Address, Stack};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::config::Config;
use crate::identity::Prover;
use crate::shared::Shared;

use calls::{Calls, ReplySender};
use casts::Casts;
use inbound::Inbound;
use report::Waiting;
use streams::Streams;

pub(crate) use calls::CHUNKS_MAX;
pub(crate) use inbound::encode;
pub(crate) use report::{Ask, shown};

/// Commands that wait for the engine; then their senders wait.
pub(crate) const INBOX_LEN: usize = 1024;
/// Commands taken before packets get their turn.
const COMMANDS_PER_TURN: usize = 256;
/// Packets of the virtual TCP sent before what has arrived is looked at.
const PACKETS_PER_TURN: usize = 256;
/// How often old entries are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// Longest bus message on the unreliable channel: a UDP payload less the headers.
pub(crate) const UNRELIABLE_BYTES_MAX: usize = 65_507 - 27 - 28;

/// A bus message on its way to a node.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) to: NodeId,
    pub(crate) channel: Channel,
    /// The protobuf packet without length prefixes.
    pub(crate) frame: Bytes,
    /// The call that this is the request of.
    pub(crate) request_id: Option<Arc<str>>,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
pub(crate) enum Command {
    /// A message that no reply is waited for.
    Send(Outgoing),
    Call {
        request_id: Arc<str>,
        message: Outgoing,
        replies: ReplySender,
    },
    Broadcast {
        topic: String,
        frame: Bytes,
    },
    /// A reply task of an inbound call has ended.
    Answered {
        peer: NodeId,
    },
    Proved {
        token: ProofToken,
        proof: Option<Proof>,
    },
    /// The unlocked identities, default first.
    Identities(Vec<PublicKey>),
    Ask(Ask),
}

pub(crate) struct Engine {
    pub(crate) config: Config,
    bus: Bus,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    commands: mpsc::Sender<Command>,
    prover: Prover,
    started: Instant,
    udp: Udp,
    node: Node,
    stack: Stack,
    rng: StdRng,
    streams: Streams,
    calls: Calls,
    inbound: Inbound,
    casts: Casts,
    waiting: Waiting,
    /// Virtual addresses of nodes that were heard or called.
    addresses: HashMap<Address, NodeId>,
    /// Messages for identities whose node is being asked for.
    unresolved: HashMap<NodeId, VecDeque<Outgoing>>,
}

/// Parts that the engine is built of.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) bus: Bus,
    pub(crate) shared: Arc<Shared>,
    pub(crate) tasks: TaskTracker,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) prover: Prover,
    pub(crate) started: Instant,
    pub(crate) udp: Udp,
    pub(crate) node: Node,
    pub(crate) stack: Stack,
    pub(crate) rng: StdRng,
}

impl Engine {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            config: parts.config,
            bus: parts.bus,
            shared: parts.shared,
            tasks: parts.tasks,
            commands: parts.commands,
            prover: parts.prover,
            started: parts.started,
            udp: parts.udp,
            node: parts.node,
            stack: parts.stack,
            rng: parts.rng,
            streams: Streams::default(),
            calls: Calls::default(),
            inbound: Inbound::default(),
            casts: Casts::default(),
            waiting: Waiting::default(),
            addresses: HashMap::new(),
            unresolved: HashMap::new(),
        }
    }

    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Command>, stop: CancellationToken) {
        let mut next_sweep = self.started + SWEEP_EVERY;
        loop {
            let timers = self.node.next_timeout().into_iter().chain(self.stack.next_timeout()).min();
            let wake = timers.map_or(next_sweep, |at| (self.started + at).min(next_sweep));
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                command = inbox.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                _ = self.udp.ready() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
            for _ in 0..COMMANDS_PER_TURN {
                let Ok(command) = inbox.try_recv() else { break };
                self.on_command(command);
            }
            let now = self.now();
            self.udp.flush();
            self.udp.recv(|from, data| self.node.on_datagram(now, from, data));
            self.node.on_timeout(now);
            self.stack.on_timeout(now);
            if self.started + now >= next_sweep {
                next_sweep = self.started + now + SWEEP_EVERY;
                self.sweep();
            }
            self.pump();
        }
        self.say_goodbye();
        debug!("stopped");
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Carries effects, events and packets between the machines until there are no more.
    fn pump(&mut self) {
        for _ in 0..PACKETS_PER_TURN {
            self.pump_effects();
            if !self.udp.has_room() {
                return;
            }
            let now = self.now();
            let Some((to, packet)) = self.stack.poll_packet(now) else { break };
            if let Some(node) = self.addresses.get(&to) {
                self.node.send(now, *node, true, packet);
            }
        }
        self.pump_effects();
        // More packets wait: come back at once, after a look at what has arrived.
    }

    fn pump_effects(&mut self) {
        loop {
            if let Some(effect) = self.node.poll_effect() {
                self.on_effect(effect);
            } else if let Some(event) = self.stack.poll_event() {
                self.on_stack_event(event);
            } else {
                return;
            }
        }
    }

    fn on_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to, data } => self.udp.send(to, data),
            Effect::Deliver { from, reliable: true, payload } => {
                let address = self.address_of(from);
                let (now, random) = (self.now(), self.rng.random());
                if let Err(error) = self.stack.on_packet(now, address, &payload, random) {
                    debug!(%from, %error, "dropped a virtual packet");
                    crate::shared::Counters::count(&self.shared.counters.malformed);
                }
            }
            Effect::Deliver { from, reliable: false, payload } => self.on_unreliable(from, payload),
            Effect::Prove { token, challenge, difficulty } => self.prover.prove(token, challenge, difficulty),
            Effect::Resolved { id, node } => self.on_resolved(id, node),
            Effect::Unreachable { node, reason } => self.on_unreachable(node, reason),
            Effect::PathChanged { node } => {
                let address = self.address_of(node);
                let now = self.now();
                self.stack.kick(now, address);
            }
            Effect::Found { query, result } => self.on_found(query, result),
            Effect::Neighbours { query, result } => self.on_neighbours(query, result),
            Effect::RelayUp => {
                info!("session with the relay is up");
                self.send_waiting_casts();
            }
            Effect::RelayDown => warn!("session with the relay is lost"),
        }
    }

    /// The virtual address of a node, remembered for the way back.
    fn address_of(&mut self, node: NodeId) -> Address {
        let address = Address::of_node(node.as_bytes());
        self.addresses.insert(address, node);
        address
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Send(message) => self.send(message),
            Command::Call { request_id, message, replies } => {
                if let Some(message) = self.register_call(request_id, message, replies) {
                    self.send(message);
                }
            }
            Command::Broadcast { topic, frame } => self.broadcast(&topic, frame),
            Command::Answered { peer } => self.inbound.answered(peer),
            Command::Proved { token, proof } => {
                let now = self.now();
                self.node.proved(now, token, proof);
            }
            Command::Identities(keys) => {
                let now = self.now();
                self.prover.set_ids(keys.iter().map(PublicKey::node_id).collect());
                self.node.set_identities(now, keys);
            }
            Command::Ask(ask) => self.on_ask(ask),
        }
    }

    /// Sends a message on its channel; first the node behind the identity must be known.
    fn send(&mut self, message: Outgoing) {
        let node = self.node.default_of(message.to);
        if self.node.is_own(node) {
            return self.fail(&message, "a message to this node itself came to the net");
        }
        if !self.node.identities_of(node).is_empty() {
            return self.send_to(node, message);
        }
        let (now, to) = (self.now(), message.to);
        let waiting = self.unresolved.entry(to).or_default();
        waiting.push_back(message);
        if waiting.len() == 1 {
            self.node.resolve(now, to);
        }
    }

    fn send_to(&mut self, node: NodeId, message: Outgoing) {
        if message.channel == Channel::Unreliable {
            if message.frame.len() > UNRELIABLE_BYTES_MAX {
                return self.fail(&message, "the message does not fit into one datagram");
            }
            let now = self.now();
            self.node.send(now, node, false, unreliable_frame(&message.frame));
        } else {
            self.send_on_stream(node, message);
        }
    }

    fn on_resolved(&mut self, id: NodeId, node: NodeId) {
        for message in self.unresolved.remove(&id).unwrap_or_default() {
            self.send_to(node, message);
        }
    }

    fn on_unreachable(&mut self, node: NodeId, reason: Unreachable) {
        let text = format!("Net: error forwarding message: {reason}");
        for message in self.unresolved.remove(&node).unwrap_or_default() {
            self.fail(&message, &text);
        }
        let address = Address::of_node(node.as_bytes());
        self.stack.forget_peer(address);
        self.fail_calls_to(node, &text);
    }

    /// A message was not sent: its call, if it is one, ends with this text.
    fn fail(&mut self, message: &Outgoing, text: &str) {
        debug!(to = %message.to, channel = ?message.channel, text, "a message was not sent");
        if let Some(request_id) = &message.request_id {
            self.end_call(request_id, RawError::failure(text));
        }
    }

    fn on_found(&mut self, query: QueryId, result: Result<golem_net_relay_core::NodeInfo, Unreachable>) {
        if !self.inbound_refreshed(query) {
            self.answer_found(query, result);
        }
    }

    fn sweep(&mut self) {
        self.sweep_calls();
        self.streams.forget_idle(&self.stack);
        if self.addresses.len() > 2 * self.node.reached().count() + 1024 {
            let known: Vec<Address> = self.stack.sockets().map(|socket| socket.peer).collect();
            self.addresses.retain(|address, _| known.contains(address));
        }
        crate::metrics::publish(&self.node, &self.shared, self.udp.dropped(), self.calls.len());
    }

    /// FIN and at once RST on every connection, then Disconnected on every session (spec 11 §12).
    fn say_goodbye(&mut self) {
        for id in self.stack.ids() {
            self.stack.close(id);
        }
        self.pump();
        for id in self.stack.ids() {
            self.stack.abort(id);
        }
        self.pump();
        self.node.stop();
        self.pump_effects();
        self.udp.flush();
    }
}

/// A message on the unreliable channel: its length and itself (spec 11 §3.2).
fn unreliable_frame(frame: &Bytes) -> Bytes {
    let mut out = Vec::with_capacity(frame.len() + 4);
    out.extend_from_slice(&u32::try_from(frame.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(frame);
    out.into()
}
