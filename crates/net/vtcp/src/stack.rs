use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::connection::{Changes, CloseReason, Connection, Ends, State};
use crate::segment::{BadSegment, Flags, Segment};
use crate::{Address, MESSAGES_PORT, TRANSFER_PORT};

/// Connections with one peer. Real peers have four; more while old ones linger after a restart.
const CONNECTIONS_PER_PEER_MAX: usize = 32;
/// Connections of the whole stack.
const CONNECTIONS_MAX: usize = 16 * 1024;
/// Peers choose local ports from here up.
const LOCAL_PORT_MIN: u16 = 1000;
/// Answers to segments of unknown connections that wait to be sent.
const RESETS_MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Biggest TCP payload in either direction. 1338 is what peers announce (spec 11 §2.2).
    pub mss: u16,
    /// Silence after which a probe is sent; none: never.
    pub keep_alive: Option<Duration>,
    /// Time without acknowledgement after which a connection is dead; none: never.
    pub user_timeout: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self { mss: 1338, keep_alive: Some(Duration::from_secs(30)), user_timeout: Some(Duration::from_secs(120)) }
    }
}

/// Names a connection; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection that we opened can carry data. (It takes data before.)
    Connected(ConnectionId),
    /// A peer opened a connection.
    Accepted { id: ConnectionId, peer: Address, port: u16 },
    /// There is something to [`Stack::read`], or the stream has ended.
    Readable(ConnectionId),
    /// The peer has the first `bytes` of the stream.
    Acked { id: ConnectionId, bytes: u64 },
    /// The connection is gone. What was not acknowledged may or may not have arrived.
    Closed { id: ConnectionId, peer: Address, reason: CloseReason },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many connections")]
pub struct TooMany;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is not open")]
pub struct NotOpen;

/// What `net sockets` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketInfo {
    pub state: State,
    pub peer: Address,
    pub peer_port: u16,
    pub local_port: u16,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

/// All connections of a node.
#[derive(Debug)]
pub struct Stack {
    config: Config,
    local: Address,
    connections: HashMap<ConnectionId, Connection>,
    by_ends: HashMap<Ends, ConnectionId>,
    per_peer: HashMap<Address, usize>,
    next_id: u64,
    /// Connections that may have something to send, each once.
    ready: VecDeque<ConnectionId>,
    is_ready: HashSet<ConnectionId>,
    timers: BTreeSet<(Duration, ConnectionId)>,
    timer_of: HashMap<ConnectionId, Duration>,
    events: VecDeque<Event>,
    resets: VecDeque<Segment>,
}

impl Stack {
    pub fn new(local: Address, config: Config) -> Self {
        Self {
            config,
            local,
            connections: HashMap::new(),
            by_ends: HashMap::new(),
            per_peer: HashMap::new(),
            next_id: 0,
            ready: VecDeque::new(),
            is_ready: HashSet::new(),
            timers: BTreeSet::new(),
            timer_of: HashMap::new(),
            events: VecDeque::new(),
            resets: VecDeque::new(),
        }
    }

    pub const fn local(&self) -> Address {
        self.local
    }

    /// Opens a connection to `port` of `peer`. `random` gives the first sequence number and the local port.
    pub fn connect(&mut self, now: Duration, peer: Address, port: u16, random: u64) -> Result<ConnectionId, TooMany> {
        self.check_limits(peer)?;
        let iss = u32::try_from(random >> 32).unwrap_or_default();
        let span = u64::from(u16::MAX - LOCAL_PORT_MIN) + 1;
        let ends = (0..span)
            .map(|step| LOCAL_PORT_MIN + u16::try_from(((random & 0xffff_ffff) + step) % span).unwrap_or_default())
            .map(|local_port| Ends { peer, peer_port: port, local_port })
            .find(|ends| !self.by_ends.contains_key(ends))
            .ok_or(TooMany)?;
        let connection = Connection::open(now, ends, iss, &self.config);
        Ok(self.insert(ends, connection))
    }

    fn check_limits(&self, peer: Address) -> Result<(), TooMany> {
        let of_peer = self.per_peer.get(&peer).copied().unwrap_or_default();
        let full = self.connections.len() >= CONNECTIONS_MAX || of_peer >= CONNECTIONS_PER_PEER_MAX;
        if full { Err(TooMany) } else { Ok(()) }
    }

    fn insert(&mut self, ends: Ends, connection: Connection) -> ConnectionId {
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        self.by_ends.insert(ends, id);
        *self.per_peer.entry(ends.peer).or_default() += 1;
        self.connections.insert(id, connection);
        self.touch(id);
        id
    }

    fn remove(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let (peer, peer_port, local_port) = (connection.peer, connection.peer_port, connection.local_port);
        self.by_ends.remove(&Ends { peer, peer_port, local_port });
        if let Some(count) = self.per_peer.get_mut(&peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_peer.remove(&peer);
            }
        }
        if let Some(at) = self.timer_of.remove(&id) {
            self.timers.remove(&(at, id));
        }
    }

    /// The connection may have something to send, and its timer may have changed.
    fn touch(&mut self, id: ConnectionId) {
        if self.is_ready.insert(id) {
            self.ready.push_back(id);
        }
    }

    fn set_timer(&mut self, id: ConnectionId) {
        let next = self.connections.get(&id).and_then(|connection| connection.next_timeout(&self.config));
        let before = self.timer_of.get(&id).copied();
        if next != before {
            if let Some(at) = before {
                self.timers.remove(&(at, id));
                self.timer_of.remove(&id);
            }
            if let Some(at) = next {
                self.timers.insert((at, id));
                self.timer_of.insert(id, at);
            }
        }
    }

    /// Appends to the stream. How much waits is for the caller to bound, by [`Event::Acked`].
    pub fn send(&mut self, id: ConnectionId, data: Bytes) -> Result<(), NotOpen> {
        let connection = self.connections.get_mut(&id).ok_or(NotOpen)?;
        if !connection.send(data) {
            return Err(NotOpen);
        }
        self.touch(id);
        Ok(())
    }

    /// The next piece of the peer's stream.
    pub fn read(&mut self, id: ConnectionId) -> Option<Bytes> {
        let piece = self.connections.get_mut(&id)?.read()?;
        self.touch(id);
        Some(piece)
    }

    /// Whether the peer has closed its side and all before was taken.
    pub fn is_at_end(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_none_or(Connection::is_at_end)
    }

    /// Whether both ends have agreed on the connection.
    pub fn is_connected(&self, id: ConnectionId) -> bool {
        let opening = [State::SynSent, State::SynReceived, State::Closed];
        self.connections.get(&id).is_some_and(|connection| !opening.contains(&connection.state()))
    }

    /// Closes our side after what is queued.
    pub fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.close();
            self.touch(id);
        }
    }

    /// Ends the connection at once on both sides.
    pub fn abort(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.state() != State::Closed {
            let (reset, peer) = (connection.reset(self.local), connection.peer);
            self.push_reset(reset);
            self.events.push_back(Event::Closed { id, peer, reason: CloseReason::Aborted });
        }
        self.remove(id);
    }

    /// Ends all connections with `peer` without a word to it: it cannot be reached.
    pub fn forget_peer(&mut self, peer: Address) {
        for id in self.of_peer(peer) {
            if self.connections.get(&id).is_some_and(|connection| connection.state() != State::Closed) {
                self.events.push_back(Event::Closed { id, peer, reason: CloseReason::Aborted });
            }
            self.remove(id);
        }
    }

    /// The path to `peer` has changed: repeats at once what was not acknowledged.
    pub fn kick(&mut self, now: Duration, peer: Address) {
        for id in self.of_peer(peer) {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.kick(now);
            }
            self.touch(id);
        }
    }

    fn of_peer(&self, peer: Address) -> Vec<ConnectionId> {
        if !self.per_peer.contains_key(&peer) {
            return Vec::new();
        }
        self.connections.iter().filter(|(_, connection)| connection.peer == peer).map(|(id, _)| *id).collect()
    }

    pub fn ids(&self) -> Vec<ConnectionId> {
        self.connections.keys().copied().collect()
    }

    /// Takes a packet that came from the node with address `from`.
    pub fn on_packet(&mut self, now: Duration, from: Address, packet: &Bytes, random: u32) -> Result<(), BadPacket> {
        let segment = Segment::decode(packet)?;
        // The path has proved who sent it; any other source would speak for a stranger (spec 11 §2.1).
        if segment.source != from {
            return Err(BadPacket::Source);
        }
        if segment.target != self.local {
            return Err(BadPacket::Target);
        }
        let ends = Ends { peer: from, peer_port: segment.source_port, local_port: segment.target_port };
        let opens = segment.flags.has(Flags::SYN) && !segment.flags.has(Flags::ACK) && !segment.flags.has(Flags::RST);
        if let Some(id) = self.by_ends.get(&ends).copied() {
            let known = self.connections.get(&id).is_some_and(|connection| connection.is_same_syn(&segment));
            if !opens || known {
                self.deliver(now, id, &segment);
                return Ok(());
            }
            // The peer has restarted and came to the same port.
            self.end(id, CloseReason::Reset);
            self.remove(id);
        }
        let listens = [MESSAGES_PORT, TRANSFER_PORT].contains(&segment.target_port);
        if opens && listens && self.check_limits(from).is_ok() {
            let connection = Connection::accept(now, ends, random, &segment, &self.config);
            self.insert(ends, connection);
        } else if !segment.flags.has(Flags::RST) {
            self.refuse(&segment);
        }
        Ok(())
    }

    fn deliver(&mut self, now: Duration, id: ConnectionId, segment: &Segment) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let changes = connection.on_segment(now, segment, &self.config);
        self.report(id, changes);
        self.touch(id);
    }

    fn report(&mut self, id: ConnectionId, changes: Changes) {
        let Some(connection) = self.connections.get(&id) else { return };
        let (peer, port, bytes) = (connection.peer, connection.local_port, connection.acked());
        if changes.connected {
            self.events.push_back(if connection.opened_here {
                Event::Connected(id)
            } else {
                Event::Accepted { id, peer, port }
            });
        }
        if changes.readable {
            self.events.push_back(Event::Readable(id));
        }
        if changes.acked {
            self.events.push_back(Event::Acked { id, bytes });
        }
        if let Some(reason) = changes.closed {
            self.events.push_back(Event::Closed { id, peer, reason });
        }
    }

    fn end(&mut self, id: ConnectionId, reason: CloseReason) {
        if let Some(connection) = self.connections.get(&id)
            && connection.state() != State::Closed
        {
            self.events.push_back(Event::Closed { id, peer: connection.peer, reason });
        }
    }

    /// Tells the sender of a segment that there is no such connection.
    fn refuse(&mut self, segment: &Segment) {
        let acks = segment.flags.has(Flags::ACK);
        self.push_reset(Segment {
            source: segment.target,
            target: segment.source,
            source_port: segment.target_port,
            target_port: segment.source_port,
            seq: if acks { segment.ack } else { 0 },
            ack: segment.seq.wrapping_add(segment.sequence_len()),
            flags: if acks { Flags::RST } else { Flags::RST.with(Flags::ACK) },
            window: 0,
            mss: None,
            window_scale: None,
            sack_permitted: false,
            sack: Vec::new(),
            payload: Bytes::new(),
        });
    }

    fn push_reset(&mut self, segment: Segment) {
        if self.resets.len() < RESETS_MAX {
            self.resets.push_back(segment);
        }
    }

    pub fn next_timeout(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub fn on_timeout(&mut self, now: Duration) {
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            self.timer_of.remove(&id);
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            if connection.forget_at().is_some_and(|at| at <= now) {
                self.remove(id);
                continue;
            }
            let changes = connection.on_timeout(now, &self.config);
            self.report(id, changes);
            self.touch(id);
        }
    }

    /// The next packet to send, and the address of the node to which it goes. Connections take turns.
    pub fn poll_packet(&mut self, now: Duration) -> Option<(Address, Bytes)> {
        if let Some(reset) = self.resets.pop_front() {
            return Some((reset.target, reset.encode()));
        }
        while let Some(id) = self.ready.pop_front() {
            let segment =
                self.connections.get_mut(&id).and_then(|connection| connection.poll(now, self.local, &self.config));
            if let Some(segment) = segment {
                self.ready.push_back(id);
                return Some((segment.target, segment.encode()));
            }
            self.is_ready.remove(&id);
            if self.connections.get(&id).and_then(Connection::forget_at).is_some_and(|at| at <= now) {
                self.remove(id);
            } else {
                self.set_timer(id);
            }
        }
        None
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn sockets(&self) -> impl Iterator<Item = SocketInfo> {
        self.connections.values().map(|connection| SocketInfo {
            state: connection.state(),
            peer: connection.peer,
            peer_port: connection.peer_port,
            local_port: connection.local_port,
            rx_bytes: connection.rx_bytes,
            tx_bytes: connection.tx_bytes,
        })
    }
}

/// A packet that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPacket {
    #[error("malformed packet")]
    Segment(#[from] BadSegment),
    #[error("the source address is not that of the sender")]
    Source,
    #[error("the target address is not ours")]
    Target,
}
