//! Two stacks over a link that loses, delays and reorders packets, in virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "test code"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use golem_net_vtcp::{Address, CloseReason, Config, ConnectionId, Event, MESSAGES_PORT, Stack, TRANSFER_PORT};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

struct Link {
    now: Duration,
    ends: [Stack; 2],
    flying: BTreeMap<(Duration, u64), (usize, Bytes)>,
    count: u64,
    rng: StdRng,
    loss: f64,
    reorder: f64,
    delay: Duration,
    events: [Vec<Event>; 2],
    got: [BTreeMap<ConnectionId, Vec<u8>>; 2],
}

impl Link {
    fn new(seed: u64, loss: f64, reorder: f64, delay: Duration) -> Self {
        Self::with_config(seed, loss, reorder, delay, Config::default())
    }

    fn with_config(seed: u64, loss: f64, reorder: f64, delay: Duration, config: Config) -> Self {
        Self {
            now: Duration::ZERO,
            ends: [1, 2].map(|id| Stack::new(Address::of_node(&[id; 20]), config)),
            flying: BTreeMap::new(),
            count: 0,
            rng: StdRng::seed_from_u64(seed),
            loss,
            reorder,
            delay,
            events: [Vec::new(), Vec::new()],
            got: [BTreeMap::new(), BTreeMap::new()],
        }
    }

    fn address(&self, end: usize) -> Address {
        self.ends[end].local()
    }

    fn connect(&mut self, from: usize, port: u16) -> ConnectionId {
        let (to, random) = (self.address(1 - from), self.rng.random());
        self.ends[from].connect(self.now, to, port, random).unwrap()
    }

    fn pump(&mut self) {
        for end in 0..2 {
            while let Some((to, packet)) = self.ends[end].poll_packet(self.now) {
                assert_eq!(to, self.address(1 - end));
                assert!(packet.len() <= 1398);
                if self.rng.random_bool(self.loss) {
                    continue;
                }
                let late = if self.rng.random_bool(self.reorder) { self.delay * 2 } else { Duration::ZERO };
                self.count += 1;
                self.flying.insert((self.now + self.delay + late, self.count), (1 - end, packet));
            }
            while let Some(event) = self.ends[end].poll_event() {
                if let Event::Readable(id) = event {
                    while let Some(piece) = self.ends[end].read(id) {
                        self.got[end].entry(id).or_default().extend(&piece);
                    }
                }
                self.events[end].push(event);
            }
        }
    }

    /// One step of time; false when nothing more will happen before `until`.
    fn step(&mut self, until: Duration) -> bool {
        self.pump();
        let next =
            self.ends.iter().filter_map(Stack::next_timeout).chain(self.flying.keys().next().map(|(at, _)| *at)).min();
        let Some(next) = next.filter(|at| *at <= until) else { return false };
        self.now = self.now.max(next);
        while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to, packet) = entry.remove();
            let (from, random) = (self.address(1 - to), self.rng.random());
            self.ends[to].on_packet(self.now, from, &packet, random).unwrap();
        }
        for end in &mut self.ends {
            end.on_timeout(self.now);
        }
        self.pump();
        true
    }

    fn run_until(&mut self, until: Duration, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            assert!(
                self.step(until),
                "stuck at {:?}: {:?} {:?}",
                self.now,
                self.events[0].last(),
                self.events[1].last()
            );
        }
    }

    fn received(&self, end: usize) -> usize {
        self.got[end].values().map(Vec::len).sum()
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 255) as u8).collect()
}

#[test]
fn data_sent_before_the_handshake_arrives_in_two_round_trips() {
    let mut link = Link::new(1, 0.0, 0.0, Duration::from_millis(10));
    let id = link.connect(0, MESSAGES_PORT);
    link.ends[0].send(id, Bytes::from_static(b"hello")).unwrap();
    link.run_until(Duration::from_secs(1), |link| link.received(1) == 5);
    assert_eq!(link.now, Duration::from_millis(30));
    assert!(matches!(link.events[1][0], Event::Accepted { port: MESSAGES_PORT, .. }));
    link.run_until(Duration::from_secs(1), |link| link.events[0].contains(&Event::Acked { id, bytes: 5 }));
}

#[test]
fn a_lossy_slow_link_carries_megabytes() {
    let data = pattern(3_000_000);
    let mut link = Link::new(7, 0.2, 0.1, Duration::from_millis(200));
    let id = link.connect(0, TRANSFER_PORT);
    link.ends[0].send(id, data.clone().into()).unwrap();
    link.run_until(Duration::from_secs(300), |link| link.received(1) == data.len());
    assert_eq!(link.got[1].values().next().unwrap(), &data);
}

#[test]
fn a_clean_link_is_filled_without_repeats() {
    let data = pattern(10_000_000);
    let mut link = Link::new(3, 0.0, 0.0, Duration::from_millis(5));
    let id = link.connect(0, TRANSFER_PORT);
    link.ends[0].send(id, data.clone().into()).unwrap();
    link.run_until(Duration::from_secs(10), |link| link.received(1) == data.len());
    assert!(link.now < Duration::from_millis(250), "{:?}", link.now);
    let sent = link.ends[0].sockets().next().unwrap().tx_bytes;
    assert_eq!(sent, data.len() as u64);
}

#[test]
fn both_sides_close_and_forget() {
    let mut link = Link::new(4, 0.1, 0.1, Duration::from_millis(20));
    let id = link.connect(0, MESSAGES_PORT);
    link.ends[0].send(id, pattern(5000).into()).unwrap();
    link.ends[0].close(id);
    link.run_until(Duration::from_secs(60), |link| link.ends.iter().all(|end| end.sockets().count() == 0));
    assert_eq!(link.received(1), 5000);
    for end in 0..2 {
        let closed = |event: &&Event| matches!(event, Event::Closed { reason: CloseReason::Finished, .. });
        assert_eq!(link.events[end].iter().filter(closed).count(), 1);
    }
}

#[test]
fn a_restarted_peer_resets_the_old_connection_and_takes_a_new_one() {
    let mut link = Link::new(5, 0.0, 0.0, Duration::from_millis(1));
    let id = link.connect(0, MESSAGES_PORT);
    link.ends[0].send(id, pattern(10).into()).unwrap();
    link.run_until(Duration::from_secs(1), |link| link.received(1) == 10);
    link.ends[1] = Stack::new(link.address(1), Config::default());
    link.ends[0].send(id, pattern(10).into()).unwrap();
    let peer = link.address(1);
    link.run_until(Duration::from_secs(2), |link| {
        link.events[0].contains(&Event::Closed { id, peer, reason: CloseReason::Reset })
    });
    let id = link.connect(0, MESSAGES_PORT);
    link.ends[0].send(id, pattern(10).into()).unwrap();
    link.run_until(Duration::from_secs(3), |link| link.received(1) == 20);
}

#[test]
fn idle_connections_are_probed_and_live_while_answered() {
    let mut link = Link::new(6, 0.0, 0.0, Duration::from_millis(1));
    let id = link.connect(0, MESSAGES_PORT);
    link.ends[0].send(id, pattern(10).into()).unwrap();
    while link.now < Duration::from_secs(600) && link.step(Duration::from_secs(601)) {}
    assert!(link.now >= Duration::from_secs(590));
    assert_eq!(link.ends[0].sockets().count(), 1);
    assert_eq!(link.received(1), 10, "probes carry no data");
    link.loss = 1.0;
    link.run_until(Duration::from_secs(1200), |link| link.ends.iter().all(|end| end.sockets().count() == 0));
    assert!(link.events[0].iter().any(|event| matches!(event, Event::Closed { reason: CloseReason::TimedOut, .. })));
}

#[test]
fn nobody_answers_a_call_to_a_closed_port_or_to_nowhere() {
    let mut link = Link::new(8, 0.0, 0.0, Duration::from_millis(1));
    let refused = link.connect(0, 77);
    let peer = link.address(1);
    link.run_until(Duration::from_secs(1), |link| {
        link.events[0].contains(&Event::Closed { id: refused, peer, reason: CloseReason::Reset })
    });
    link.loss = 1.0;
    let lost = link.connect(0, 1);
    link.run_until(Duration::from_secs(50), |link| {
        link.events[0].contains(&Event::Closed { id: lost, peer, reason: CloseReason::TimedOut })
    });
}

#[test]
fn a_kick_repeats_at_once() {
    let mut link = Link::new(9, 0.0, 0.0, Duration::from_millis(1));
    let id = link.connect(0, MESSAGES_PORT);
    link.run_until(Duration::from_secs(1), |link| link.events[0].contains(&Event::Connected(id)));
    link.loss = 1.0;
    link.ends[0].send(id, pattern(5000).into()).unwrap();
    link.pump();
    link.loss = 0.0;
    let peer = link.address(1);
    link.ends[0].kick(link.now, peer);
    let before = link.now;
    link.run_until(Duration::from_secs(2), |link| link.received(1) == 5000);
    assert!(link.now - before < Duration::from_millis(5));
}

#[test]
fn packets_of_strangers_are_refused() {
    let mut link = Link::new(10, 0.0, 0.0, Duration::from_millis(1));
    link.connect(0, MESSAGES_PORT);
    let (_, packet) = link.ends[0].poll_packet(Duration::ZERO).unwrap();
    let stranger = Address::of_node(&[9; 20]);
    assert!(link.ends[1].on_packet(Duration::ZERO, stranger, &packet, 0).is_err());
    let mut other = Stack::new(stranger, Config::default());
    assert!(other.on_packet(Duration::ZERO, link.address(0), &packet, 0).is_err());
}

#[test]
fn one_peer_cannot_take_all_connections() {
    let mut stack = Stack::new(Address::of_node(&[1; 20]), Config::default());
    let peer = Address::of_node(&[2; 20]);
    let opened = (0..100u64).filter(|n| stack.connect(Duration::ZERO, peer, 1, *n).is_ok()).count();
    assert_eq!(opened, 32);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn streams_arrive_whole_in_both_directions(
        seed: u64, loss in 0.0..0.3f64, reorder in 0.0..0.3f64, delay_ms in 1..300u64,
        sizes in proptest::collection::vec((0..2usize, 0..2usize, 1..40_000usize), 1..8),
    ) {
        let mut link = Link::new(seed, loss, reorder, Duration::from_millis(delay_ms));
        let ids = [0, 1].map(|end| [MESSAGES_PORT, TRANSFER_PORT].map(|port| link.connect(end, port)));
        let mut sent = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
        for (end, channel, size) in sizes {
            let data = pattern(size);
            sent[end][channel].extend(&data);
            link.ends[end].send(ids[end][channel], data.into()).unwrap();
        }
        let total = [0, 1].map(|end| sent[1 - end].iter().map(Vec::len).sum::<usize>());
        link.run_until(Duration::from_secs(900), |link| (0..2).all(|end| link.received(end) >= total[end]));
        for end in 0..2 {
            let mut got: Vec<_> = link.got[end].values().cloned().collect();
            let mut want: Vec<_> = sent[1 - end].iter().filter(|data| !data.is_empty()).cloned().collect();
            got.sort();
            want.sort();
            prop_assert!(got == want);
        }
    }

    #[test]
    fn hostile_packets_never_panic(
        packets in proptest::collection::vec(
            (0..4u16, 0..32u8, any::<u32>(), any::<u32>(), any::<u16>(), any::<Vec<u8>>(), any::<Option<(u32, u32)>>(), any::<bool>()),
            0..60,
        ),
    ) {
        let (a, b) = (Address::of_node(&[1; 20]), Address::of_node(&[2; 20]));
        let mut stack = Stack::new(a, Config::default());
        let mut near = 7u32;
        let mut now = Duration::ZERO;
        for (port, flags, seq, ack, window, payload, sack, close) in packets {
            let segment = golem_net_vtcp::Segment {
                source: b, target: a, source_port: 5, target_port: port,
                seq: if close { near } else { seq },
                ack: if close { near } else { ack },
                flags: golem_net_vtcp::Flags(flags), window,
                mss: close.then_some(window), window_scale: None, sack_permitted: close,
                sack: sack.into_iter().collect(), payload: payload.into(),
            };
            near = near.wrapping_add(segment.sequence_len());
            let _ = stack.on_packet(now, b, &segment.encode(), 7);
            while let Some(event) = stack.poll_event() {
                if let Event::Readable(id) | Event::Accepted { id, .. } = event {
                    while stack.read(id).is_some() {}
                    let _ = stack.send(id, Bytes::from_static(b"answer"));
                }
            }
            while stack.poll_packet(now).is_some() {}
            now += Duration::from_millis(u64::from(window));
            stack.on_timeout(now);
        }
    }
}
