use std::time::Duration;

use bytes::Bytes;

use crate::Address;
use crate::reassembly::{Reassembly, Taken};
use crate::segment::{Flags, SACK_BLOCKS_MAX, Segment};
use crate::sender::Sender;
use crate::stack::Config;

/// Bytes of the stream that the peer may send ahead of the reader.
const RECEIVE_BUFFER_BYTES: u64 = 4 << 20;
/// Announced in SYN; reaches the receive buffer with 16 bits.
const WINDOW_SCALE: u8 = 7;
/// Peers that announce no maximum segment size get what RFC 9293 says.
const PEER_MSS_DEFAULT: u16 = 1220;
/// How long we hold an acknowledgement back for more data, as peers do.
const ACK_DELAY: Duration = Duration::from_millis(40);
/// Segments after which an acknowledgement is not held back.
const ACK_EVERY: u32 = 2;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(45);
/// How long a closed end still answers a peer that did not hear our last acknowledgement.
const LINGER: Duration = Duration::from_secs(2);
/// How long we wait for the peer to close after we have.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Life of a connection as `net sockets` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    SynSent,
    SynReceived,
    Established,
    /// We have closed, the peer has not.
    FinWait,
    /// The peer has closed, we have not.
    CloseWait,
    /// Both have closed, or one has given up.
    Closed,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    #[error("the connection was closed")]
    Finished,
    #[error("the peer reset the connection")]
    Reset,
    #[error("the peer did not answer in time")]
    TimedOut,
    #[error("this node gave the connection up")]
    Aborted,
}

/// What a segment or a timer has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) connected: bool,
    pub(crate) readable: bool,
    pub(crate) acked: bool,
    pub(crate) closed: Option<CloseReason>,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: Address,
    pub(crate) peer_port: u16,
    pub(crate) local_port: u16,
    pub(crate) opened_here: bool,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_bytes: u64,
    state: State,
    since: Duration,
    // --- sending
    iss: u32,
    sender: Sender,
    peer_scale: u8,
    handshake_due: bool,
    handshake_at: Duration,
    handshake_tries: u32,
    fin_wanted: bool,
    fin_due: bool,
    fin_sent: Option<Duration>,
    closing_since: Option<Duration>,
    fin_acked: bool,
    fin_tries: u32,
    // --- receiving
    irs: u32,
    stream: Reassembly,
    ack_due: bool,
    ack_at: Option<Duration>,
    unacked_segments: u32,
    announced: u64,
    peer_fin: Option<u64>,
    fin_taken: bool,
    sack_permitted: bool,
    // --- liveness
    heard: Duration,
    probe_due: bool,
    probed: Option<Duration>,
    closed_at: Option<Duration>,
}

/// Ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ends {
    pub(crate) peer: Address,
    pub(crate) peer_port: u16,
    pub(crate) local_port: u16,
}

impl Connection {
    pub(crate) fn open(now: Duration, ends: Ends, iss: u32, config: &Config) -> Self {
        Self::new(now, ends, iss, State::SynSent, config)
    }

    pub(crate) fn accept(now: Duration, ends: Ends, iss: u32, syn: &Segment, config: &Config) -> Self {
        let mut new = Self::new(now, ends, iss, State::SynReceived, config);
        new.take_syn(syn, config);
        new
    }

    fn new(now: Duration, ends: Ends, iss: u32, state: State, config: &Config) -> Self {
        Self {
            peer: ends.peer,
            peer_port: ends.peer_port,
            local_port: ends.local_port,
            opened_here: state == State::SynSent,
            rx_bytes: 0,
            tx_bytes: 0,
            state,
            since: now,
            iss,
            sender: Sender::new(config.mss, 0),
            peer_scale: 0,
            handshake_due: true,
            handshake_at: now,
            handshake_tries: 0,
            fin_wanted: false,
            fin_due: false,
            fin_sent: None,
            closing_since: None,
            fin_acked: false,
            fin_tries: 0,
            irs: 0,
            stream: Reassembly::default(),
            ack_due: false,
            ack_at: None,
            unacked_segments: 0,
            announced: RECEIVE_BUFFER_BYTES,
            peer_fin: None,
            fin_taken: false,
            sack_permitted: false,
            heard: now,
            probe_due: false,
            probed: None,
            closed_at: None,
        }
    }

    fn take_syn(&mut self, syn: &Segment, config: &Config) {
        self.irs = syn.seq;
        self.peer_scale = syn.window_scale.unwrap_or(0);
        self.sack_permitted = syn.sack_permitted;
        // The window of a SYN is not scaled.
        self.sender.set_limits(syn.mss.unwrap_or(PEER_MSS_DEFAULT).clamp(64, config.mss), u64::from(syn.window));
    }

    pub(crate) const fn state(&self) -> State {
        self.state
    }

    pub(crate) fn is_same_syn(&self, syn: &Segment) -> bool {
        self.state != State::SynSent && self.irs == syn.seq
    }

    /// Bytes of our stream that the peer has.
    pub(crate) const fn acked(&self) -> u64 {
        self.sender.acked()
    }

    /// False when the stream has been closed on our side.
    pub(crate) fn send(&mut self, data: Bytes) -> bool {
        let open = !self.fin_wanted && self.state != State::Closed;
        if open {
            self.sender.push(data);
        }
        open
    }

    pub(crate) fn read(&mut self) -> Option<Bytes> {
        let piece = self.stream.read();
        if piece.is_some() && self.window() >= self.announced + RECEIVE_BUFFER_BYTES / 2 {
            self.ack_due = true;
        }
        piece
    }

    pub(crate) const fn close(&mut self) {
        self.fin_wanted = true;
        self.fin_due = true;
    }

    pub(crate) fn kick(&mut self, now: Duration) {
        match self.state {
            State::SynSent | State::SynReceived => self.handshake_due = true,
            _ => {
                self.sender.kick(now);
                self.ack_due |= self.stream.has_gap();
            }
        }
    }

    /// The RST that ends this connection at the peer.
    pub(crate) fn reset(&self, local: Address) -> Segment {
        let seq = match self.state {
            State::SynSent | State::SynReceived => self.iss.wrapping_add(1),
            _ => self.seq_of(self.sender.next() + u64::from(self.fin_sent.is_some())),
        };
        let mut segment = self.segment(local, Flags::RST.with(Flags::ACK), Bytes::new());
        segment.seq = seq;
        segment
    }

    /// Low 32 bits, on purpose: sequence numbers wrap.
    fn seq_of(&self, offset: u64) -> u32 {
        self.iss.wrapping_add(1).wrapping_add(low(offset))
    }

    fn window(&self) -> u64 {
        RECEIVE_BUFFER_BYTES.saturating_sub(self.stream.unread())
    }

    /// Offset in a stream of the sequence number `seq`, near `about`; negative ones are before the first byte.
    fn offset(first: u32, seq: u32, about: u64) -> i64 {
        let distance = seq.wrapping_sub(first.wrapping_add(low(about))).cast_signed();
        about.cast_signed() + i64::from(distance)
    }

    pub(crate) fn on_segment(&mut self, now: Duration, segment: &Segment, config: &Config) -> Changes {
        self.heard = now;
        self.probed = None;
        self.probe_due = false;
        if self.state == State::SynSent {
            return self.on_segment_while_opening(now, segment, config);
        }
        if segment.flags.has(Flags::RST) {
            let at = Self::offset(self.irs.wrapping_add(1), segment.seq, self.stream.next());
            let expected = self.stream.next().cast_signed();
            // Peers that lost the connection answer with the number that we acknowledged, or near it.
            let within = at >= expected - 1 && at <= expected + RECEIVE_BUFFER_BYTES.cast_signed();
            return if within { self.finish(now, CloseReason::Reset) } else { Changes::default() };
        }
        if segment.flags.has(Flags::SYN) {
            self.handshake_due |= self.state == State::SynReceived;
            self.ack_due |= self.state != State::SynReceived;
            return Changes::default();
        }
        if !segment.flags.has(Flags::ACK) {
            return Changes::default();
        }
        let mut changes = Changes::default();
        let ack = Self::offset(self.iss.wrapping_add(1), segment.ack, self.sender.acked());
        if self.state == State::SynReceived {
            if ack < 0 {
                return changes;
            }
            self.state = State::Established;
            if self.handshake_tries == 1 {
                self.sender.rtt_sample(now.saturating_sub(self.since));
            }
            changes.connected = true;
        }
        self.take_ack(now, segment, ack, &mut changes);
        self.take_data(now, segment, &mut changes);
        if self.fin_taken && self.fin_acked && self.state != State::Closed {
            self.state = State::Closed;
            self.closed_at = Some(now);
            changes.closed = Some(CloseReason::Finished);
        }
        changes
    }

    fn on_segment_while_opening(&mut self, now: Duration, segment: &Segment, config: &Config) -> Changes {
        let acks_syn = segment.flags.has(Flags::ACK) && segment.ack == self.iss.wrapping_add(1);
        if segment.flags.has(Flags::RST) {
            return if acks_syn { self.finish(now, CloseReason::Reset) } else { Changes::default() };
        }
        if !acks_syn || !segment.flags.has(Flags::SYN) {
            return Changes::default();
        }
        self.take_syn(segment, config);
        if self.handshake_tries == 1 {
            self.sender.rtt_sample(now.saturating_sub(self.since));
        }
        self.state = State::Established;
        self.handshake_due = false;
        self.ack_due = true;
        Changes { connected: true, ..Changes::default() }
    }

    fn take_ack(&mut self, now: Duration, segment: &Segment, ack: i64, changes: &mut Changes) {
        let Ok(mut acked) = u64::try_from(ack) else { return };
        let fin_at = self.sender.next();
        if self.fin_sent.is_some() && acked == fin_at + 1 {
            self.fin_acked = true;
            acked = fin_at;
        }
        let held: Vec<(u64, u64)> = segment
            .sack
            .iter()
            .take(SACK_BLOCKS_MAX)
            .filter_map(|(from, to)| {
                let first = self.iss.wrapping_add(1);
                let about = self.sender.acked();
                Some((
                    u64::try_from(Self::offset(first, *from, about)).ok()?,
                    u64::try_from(Self::offset(first, *to, about)).ok()?,
                ))
            })
            .collect();
        let window = u64::from(segment.window) << self.peer_scale;
        let is_pure = segment.sequence_len() == 0;
        changes.acked |= self.sender.on_ack(now, acked, &held, window, is_pure);
    }

    fn take_data(&mut self, now: Duration, segment: &Segment, changes: &mut Changes) {
        let start = Self::offset(self.irs.wrapping_add(1), segment.seq, self.stream.next());
        let has_fin = segment.flags.has(Flags::FIN);
        if segment.payload.is_empty() && !has_fin {
            // A probe of an idle connection by an empty old segment.
            self.ack_due |= start < self.stream.next().cast_signed();
            return;
        }
        let mut payload = segment.payload.clone();
        let end = start + i64::try_from(payload.len()).unwrap_or(i64::MAX);
        let before = start.min(0).unsigned_abs();
        let start = start.max(0).cast_unsigned();
        let payload = payload.split_off(usize::try_from(before).unwrap_or(usize::MAX).min(payload.len()));
        let count = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let limit = self.stream.next() + self.window();
        let next = self.stream.next();
        let taken = self.stream.take(start, payload, limit);
        self.rx_bytes += count;
        changes.readable |= self.stream.next() > next;
        if has_fin && let Ok(end) = u64::try_from(end) {
            self.peer_fin = Some(end);
        }
        if !self.fin_taken && self.peer_fin == Some(self.stream.next()) {
            self.fin_taken = true;
            changes.readable = true;
            // Nobody sends on a connection that its peer has closed: answer with our own FIN.
            self.close();
        }
        match taken {
            Taken::InOrder if !has_fin => {
                self.unacked_segments += 1;
                if self.unacked_segments >= ACK_EVERY {
                    self.ack_due = true;
                } else if self.ack_at.is_none() {
                    self.ack_at = Some(now + ACK_DELAY);
                }
            }
            _ => self.ack_due = true,
        }
    }

    pub(crate) const fn is_at_end(&self) -> bool {
        self.fin_taken
    }

    fn finish(&mut self, now: Duration, reason: CloseReason) -> Changes {
        self.state = State::Closed;
        self.closed_at = Some(now);
        Changes { closed: Some(reason), ..Changes::default() }
    }

    /// When a closed connection may be forgotten.
    pub(crate) fn forget_at(&self) -> Option<Duration> {
        self.closed_at.map(|at| if self.fin_taken && self.fin_acked { at + LINGER } else { at })
    }

    pub(crate) fn next_timeout(&self, config: &Config) -> Option<Duration> {
        if let Some(at) = self.forget_at() {
            return Some(at);
        }
        let handshake = matches!(self.state, State::SynSent | State::SynReceived)
            .then(|| self.handshake_at.min(self.since + CONNECT_TIMEOUT));
        let fin = self.fin_sent.filter(|_| !self.fin_acked).map(|at| at + self.sender.retransmit_after(self.fin_tries));
        let dead = self.sender.waiting_since().zip(config.user_timeout).map(|(since, after)| since + after);
        let closing = self.closing_since.map(|since| since + CLOSE_TIMEOUT);
        [handshake, fin, dead, closing, self.keep_alive_at(config), self.ack_at, self.sender.next_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    fn keep_alive_at(&self, config: &Config) -> Option<Duration> {
        let after = config.keep_alive.filter(|_| !matches!(self.state, State::SynSent | State::SynReceived))?;
        Some(self.probed.unwrap_or(self.heard) + after)
    }

    pub(crate) fn on_timeout(&mut self, now: Duration, config: &Config) -> Changes {
        if self.state == State::Closed {
            return Changes::default();
        }
        if matches!(self.state, State::SynSent | State::SynReceived) {
            if now >= self.since + CONNECT_TIMEOUT {
                return self.finish(now, CloseReason::TimedOut);
            }
            self.handshake_due |= now >= self.handshake_at;
        }
        let dead =
            |since: Option<Duration>| since.zip(config.user_timeout).is_some_and(|(since, after)| now >= since + after);
        let closing = self.closing_since.is_some_and(|since| now >= since + CLOSE_TIMEOUT);
        if closing
            || dead(self.sender.waiting_since())
            || (self.probed.is_some() && dead(Some(self.heard + config.keep_alive.unwrap_or_default())))
        {
            return self.finish(now, CloseReason::TimedOut);
        }
        if self.ack_at.is_some_and(|at| now >= at) {
            self.ack_due = true;
        }
        if self.keep_alive_at(config).is_some_and(|at| now >= at) {
            self.probe_due = true;
            self.probed = Some(now);
        }
        if self.fin_sent.is_some_and(|at| !self.fin_acked && now >= at + self.sender.retransmit_after(self.fin_tries)) {
            self.fin_due = true;
        }
        self.sender.on_timeout(now);
        Changes::default()
    }

    fn segment(&self, local: Address, flags: Flags, payload: Bytes) -> Segment {
        let next = self.stream.next() + u64::from(self.fin_taken);
        let window = if flags.has(Flags::SYN) { self.window() } else { self.window() >> WINDOW_SCALE };
        let opens = flags.has(Flags::SYN);
        Segment {
            source: local,
            target: self.peer,
            source_port: self.local_port,
            target_port: self.peer_port,
            seq: if opens { self.iss } else { self.seq_of(self.sender.next() + u64::from(self.fin_sent.is_some())) },
            ack: if flags.has(Flags::ACK) { self.irs.wrapping_add(1).wrapping_add(low(next)) } else { 0 },
            flags,
            window: u16::try_from(window).unwrap_or(u16::MAX),
            mss: None,
            window_scale: opens.then_some(WINDOW_SCALE),
            sack_permitted: opens,
            sack: Vec::new(),
            payload,
        }
    }

    /// The next segment to send.
    pub(crate) fn poll(&mut self, now: Duration, local: Address, config: &Config) -> Option<Segment> {
        match self.state {
            State::SynSent | State::SynReceived => {
                if !std::mem::take(&mut self.handshake_due) {
                    return None;
                }
                self.handshake_tries += 1;
                self.handshake_at = now + self.sender.retransmit_after(self.handshake_tries - 1);
                let flags = if self.opened_here { Flags::SYN } else { Flags::SYN.with(Flags::ACK) };
                return Some(Segment { mss: Some(config.mss), ..self.segment(local, flags, Bytes::new()) });
            }
            State::Closed => {
                return std::mem::take(&mut self.ack_due).then(|| self.segment(local, Flags::ACK, Bytes::new()));
            }
            _ => {}
        }
        if let Some((start, payload, is_last)) = self.sender.poll(now) {
            let flags = if is_last { Flags::ACK.with(Flags::PSH) } else { Flags::ACK };
            self.tx_bytes += u64::try_from(payload.len()).unwrap_or(u64::MAX);
            self.acknowledged();
            return Some(Segment { seq: self.seq_of(start), ..self.segment(local, flags, payload) });
        }
        if self.fin_wanted && self.fin_due && self.sender.is_sent() {
            self.fin_due = false;
            self.fin_tries += u32::from(self.fin_sent.is_some());
            self.fin_sent = Some(now);
            self.closing_since.get_or_insert(now);
            self.state = if self.fin_taken { State::CloseWait } else { State::FinWait };
            self.acknowledged();
            let seq = self.seq_of(self.sender.next());
            return Some(Segment { seq, ..self.segment(local, Flags::FIN.with(Flags::ACK), Bytes::new()) });
        }
        if std::mem::take(&mut self.probe_due) {
            // One zero byte before the next number, as peers write it (spec 11 §2.2).
            let segment = self.segment(local, Flags::ACK, Bytes::from_static(&[0]));
            return Some(Segment { seq: segment.seq.wrapping_sub(1), ..segment });
        }
        if self.ack_due {
            let mut segment = self.segment(local, Flags::ACK, Bytes::new());
            if self.sack_permitted {
                let first = self.irs.wrapping_add(1);
                let block = |(from, to): &(u64, u64)| (first.wrapping_add(low(*from)), first.wrapping_add(low(*to)));
                segment.sack = self.stream.ranges().iter().take(SACK_BLOCKS_MAX).map(block).collect();
            }
            self.acknowledged();
            return Some(segment);
        }
        None
    }

    fn acknowledged(&mut self) {
        self.ack_due = false;
        self.ack_at = None;
        self.unacked_segments = 0;
        self.announced = self.window();
    }
}

/// Low 32 bits, on purpose: sequence numbers wrap.
fn low(offset: u64) -> u32 {
    u32::try_from(offset & u64::from(u32::MAX)).unwrap_or_default()
}
