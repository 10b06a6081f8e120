use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use crate::congestion::Congestion;
use crate::rtt::Rtt;

/// Later segments that arrive before an earlier one counts as lost.
const REORDERING_MAX: u64 = 3;

/// A segment that was sent and is not acknowledged.
#[derive(Debug)]
struct Sent {
    start: u64,
    payload: Bytes,
    /// Number of the transmission; grows with each, so order of sending is known even for repeated segments.
    number: u64,
    at: Duration,
    repeated: bool,
    state: SentState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SentState {
    InFlight,
    /// The peer has it, but not all before it.
    Held,
    Lost,
}

impl Sent {
    fn end(&self) -> u64 {
        self.start + len(&self.payload)
    }
}

/// The outgoing byte stream of a connection: what to send, what to repeat, and when.
///
/// Losses are found as in RACK: by what arrived of later transmissions, and else by time.
#[derive(Debug)]
pub(crate) struct Sender {
    unsent: VecDeque<Bytes>,
    unsent_bytes: u64,
    sent: VecDeque<Sent>,
    /// Offset of the first byte that is not acknowledged.
    acked: u64,
    /// Offset of the first byte that was never sent.
    next: u64,
    in_flight: u64,
    lost: usize,
    window: u64,
    segment: usize,
    number: u64,
    number_acked: u64,
    /// Losses of transmissions up to this one have been counted.
    recovered: u64,
    congestion: Congestion,
    rtt: Rtt,
    backoff: u32,
    duplicates: u32,
    /// When something must happen if nothing is acknowledged before.
    timer: Option<Duration>,
    probed: bool,
    /// When the next loss by time is due.
    loss_at: Option<Duration>,
    /// Up to this offset segments may have been repeated or have arrived out of order.
    disordered_until: u64,
    /// Since when nothing was acknowledged although something is outstanding.
    waiting_since: Option<Duration>,
    kicked: bool,
}

impl Sender {
    pub(crate) fn new(segment: u16, window: u64) -> Self {
        Self {
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            sent: VecDeque::new(),
            acked: 0,
            next: 0,
            in_flight: 0,
            lost: 0,
            window,
            segment: usize::from(segment),
            number: 0,
            number_acked: 0,
            recovered: 0,
            congestion: Congestion::new(u64::from(segment)),
            rtt: Rtt::default(),
            backoff: 0,
            duplicates: 0,
            timer: None,
            probed: false,
            loss_at: None,
            disordered_until: 0,
            waiting_since: None,
            kicked: false,
        }
    }

    /// The peer told in its SYN what it takes.
    pub(crate) fn set_limits(&mut self, segment: u16, window: u64) {
        self.segment = usize::from(segment);
        self.window = window;
        self.congestion = Congestion::new(u64::from(segment));
    }

    pub(crate) fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.unsent_bytes += len(&data);
            self.unsent.push_back(data);
        }
    }

    pub(crate) const fn acked(&self) -> u64 {
        self.acked
    }

    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Whether all that was pushed has been sent at least once.
    pub(crate) const fn is_sent(&self) -> bool {
        self.unsent_bytes == 0
    }

    pub(crate) const fn waiting_since(&self) -> Option<Duration> {
        self.waiting_since
    }

    pub(crate) fn rtt_sample(&mut self, rtt: Duration) {
        self.rtt.sample(rtt);
    }

    pub(crate) fn retransmit_after(&self, backoff: u32) -> Duration {
        self.rtt.retransmit_after(backoff)
    }

    pub(crate) fn next_timeout(&self) -> Option<Duration> {
        self.timer.into_iter().chain(self.loss_at).min()
    }

    /// An acknowledgement up to `acked` with the ranges that the peer holds beyond; true if it moved the stream on.
    pub(crate) fn on_ack(
        &mut self,
        now: Duration,
        acked: u64,
        held: &[(u64, u64)],
        window: u64,
        is_pure: bool,
    ) -> bool {
        if acked > self.next {
            return false;
        }
        let was_limited = self.in_flight + len_of(self.segment) > self.congestion.window();
        let moved = acked > self.acked;
        let mut fresh = 0;
        let mut newest: Option<(u64, Duration, bool)> = None;
        let mut note = |sent: &Sent| {
            if newest.is_none_or(|(number, ..)| sent.number > number) {
                newest = Some((sent.number, sent.at, sent.repeated));
            }
        };
        if moved {
            while let Some(first) = self.sent.front_mut() {
                if first.end() <= acked {
                    match first.state {
                        SentState::InFlight => {
                            self.in_flight = self.in_flight.saturating_sub(len(&first.payload));
                            fresh += len(&first.payload);
                            note(first);
                        }
                        SentState::Lost => self.lost = self.lost.saturating_sub(1),
                        SentState::Held => {}
                    }
                    self.sent.pop_front();
                    continue;
                }
                if first.start < acked {
                    let part = acked - first.start;
                    first.payload.advance(usize::try_from(part).unwrap_or(usize::MAX));
                    first.start = acked;
                    if first.state == SentState::InFlight {
                        self.in_flight = self.in_flight.saturating_sub(part);
                    }
                }
                break;
            }
            self.acked = acked;
        }
        for (from, to) in held.iter().filter(|(from, to)| *from >= acked && from < to && *to <= self.next) {
            let at = self.sent.partition_point(|sent| sent.start < *from);
            for sent in self.sent.iter_mut().skip(at).take_while(|sent| sent.end() <= *to) {
                match sent.state {
                    SentState::InFlight => {
                        self.in_flight = self.in_flight.saturating_sub(len(&sent.payload));
                        fresh += len(&sent.payload);
                        note(sent);
                    }
                    SentState::Lost => self.lost = self.lost.saturating_sub(1),
                    SentState::Held => continue,
                }
                sent.state = SentState::Held;
                self.disordered_until = self.next;
            }
        }
        if let Some((number, at, repeated)) = newest {
            self.number_acked = self.number_acked.max(number);
            if !repeated {
                self.rtt.sample(now.saturating_sub(at));
            }
        }
        self.window = window;
        if window == 0 {
            self.waiting_since = self.waiting_since.map(|_| now);
        }
        if moved || fresh > 0 {
            self.backoff = 0;
            self.duplicates = 0;
            self.probed = false;
            self.waiting_since = (!self.sent.is_empty()).then_some(now);
            if was_limited {
                self.congestion.on_acked(fresh);
            }
            self.set_timer(now);
        } else if is_pure && !self.sent.is_empty() && held.is_empty() {
            self.duplicates += 1;
            if u64::from(self.duplicates) == REORDERING_MAX {
                self.lose_first();
            }
        }
        self.find_losses(now);
        moved
    }

    /// Without selective acknowledgements three repeated ones mean that the first segment was lost.
    fn lose_first(&mut self) {
        if let Some(first) = self.sent.front_mut()
            && first.state == SentState::InFlight
        {
            first.state = SentState::Lost;
            self.in_flight = self.in_flight.saturating_sub(len(&first.payload));
            self.lost += 1;
            self.congestion.on_loss();
        }
    }

    fn find_losses(&mut self, now: Duration) {
        self.loss_at = None;
        // In order, nothing that is outstanding is older than what arrived.
        if self.acked >= self.disordered_until {
            return;
        }
        let patience = self.rtt.reordering_window();
        let mut newest_lost = None;
        for sent in self.sent.iter_mut().filter(|sent| sent.state == SentState::InFlight) {
            if sent.number >= self.number_acked {
                continue;
            }
            if sent.number + REORDERING_MAX <= self.number_acked || sent.at + patience <= now {
                sent.state = SentState::Lost;
                self.in_flight = self.in_flight.saturating_sub(len(&sent.payload));
                self.lost += 1;
                newest_lost = newest_lost.max(Some(sent.number));
            } else {
                let due = sent.at + patience;
                self.loss_at = Some(self.loss_at.map_or(due, |at| at.min(due)));
            }
        }
        if newest_lost.is_some_and(|number| number > self.recovered) {
            self.recovered = self.number;
            self.congestion.on_loss();
        }
    }

    fn set_timer(&mut self, now: Duration) {
        self.timer = (!self.sent.is_empty()).then(|| {
            now + if self.probed || self.backoff > 0 {
                self.rtt.retransmit_after(self.backoff)
            } else {
                self.rtt.probe_after()
            }
        });
    }

    pub(crate) fn on_timeout(&mut self, now: Duration) {
        if self.loss_at.is_some_and(|at| at <= now) {
            self.find_losses(now);
        }
        if self.timer.is_none_or(|at| at > now) {
            return;
        }
        if self.sent.is_empty() {
            self.timer = None;
            // A closed window: ask with one byte whether it has opened.
            self.kicked = self.unsent_bytes > 0;
            return;
        }
        if self.probed || self.backoff > 0 {
            self.lose_all();
            self.congestion.on_timeout();
            self.backoff += 1;
        } else {
            self.probed = true;
            if let Some(last) = self.sent.iter_mut().rev().find(|sent| sent.state == SentState::InFlight) {
                last.state = SentState::Lost;
                self.in_flight = self.in_flight.saturating_sub(len(&last.payload));
                self.lost += 1;
                self.kicked = true;
            }
        }
        self.set_timer(now);
    }

    fn lose_all(&mut self) {
        for sent in self.sent.iter_mut().filter(|sent| sent.state == SentState::InFlight) {
            sent.state = SentState::Lost;
            self.lost += 1;
        }
        self.in_flight = 0;
        self.recovered = self.number;
        self.kicked = true;
    }

    /// The path to the peer has changed: what is outstanding probably went nowhere.
    pub(crate) fn kick(&mut self, now: Duration) {
        if !self.sent.is_empty() {
            self.lose_all();
            self.backoff = 0;
            self.set_timer(now);
        }
    }

    /// The next segment to send: offset, payload, whether it is the last for now.
    pub(crate) fn poll(&mut self, now: Duration) -> Option<(u64, Bytes, bool)> {
        let kicked = std::mem::take(&mut self.kicked);
        let room = self.congestion.window().saturating_sub(self.in_flight);
        if self.lost > 0 && (kicked || room > 0) {
            let last = self.is_sent();
            let number = self.number + 1;
            if let Some(sent) = self.sent.iter_mut().find(|sent| sent.state == SentState::Lost) {
                self.number = number;
                sent.number = number;
                sent.at = now;
                sent.repeated = true;
                self.disordered_until = self.next;
                sent.state = SentState::InFlight;
                self.in_flight += len(&sent.payload);
                self.lost -= 1;
                let out = (sent.start, sent.payload.clone(), last);
                if self.timer.is_none() {
                    self.set_timer(now);
                }
                return Some(out);
            }
            self.lost = 0;
        }
        if self.unsent_bytes == 0 {
            return None;
        }
        let mut space = self.window.saturating_sub(self.next - self.acked).min(room);
        if space == 0 {
            if self.sent.is_empty() {
                if !kicked {
                    if self.timer.is_none() {
                        self.timer = Some(now + self.rtt.retransmit_after(self.backoff));
                        self.backoff += 1;
                    }
                    return None;
                }
                space = 1;
            } else {
                return None;
            }
        }
        // No small segments while full ones are on their way and the window is what limits them.
        let whole = self.unsent_bytes.min(len_of(self.segment));
        if space < whole && !self.sent.is_empty() {
            return None;
        }
        let payload = self.cut(usize::try_from(space.min(whole)).unwrap_or(self.segment));
        let start = self.next;
        self.next += len(&payload);
        self.in_flight += len(&payload);
        self.number += 1;
        let state = SentState::InFlight;
        self.sent.push_back(Sent {
            start,
            payload: payload.clone(),
            number: self.number,
            at: now,
            repeated: false,
            state,
        });
        if self.sent.len() == 1 {
            self.backoff = 0;
            self.probed = false;
            self.waiting_since = Some(now);
            self.set_timer(now);
        }
        Some((start, payload, self.unsent_bytes == 0))
    }

    /// Takes `want` bytes off the queue, without a copy where one piece has them all.
    fn cut(&mut self, want: usize) -> Bytes {
        let payload = self.cut_off(want);
        self.unsent_bytes = self.unsent_bytes.saturating_sub(len(&payload));
        payload
    }

    fn cut_off(&mut self, want: usize) -> Bytes {
        if let Some(first) = self.unsent.front_mut()
            && first.len() > want
        {
            return first.split_to(want);
        }
        let first = self.unsent.pop_front().unwrap_or_default();
        if first.len() == want {
            return first;
        }
        let mut out = BytesMut::with_capacity(want);
        out.extend_from_slice(&first);
        while out.len() < want {
            let Some(mut piece) = self.unsent.pop_front() else { break };
            let rest = piece.split_off(piece.len().min(want - out.len()));
            out.extend_from_slice(&piece);
            if !rest.is_empty() {
                self.unsent.push_front(rest);
            }
        }
        out.freeze()
    }
}

fn len(piece: &Bytes) -> u64 {
    len_of(piece.len())
}

fn len_of(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
