//! A relay and nodes in virtual time, over a network that loses packets and restarts its members.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "test code"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use golem_keys::{PublicKey, SecretKey};
use golem_model::NodeId;
use golem_net_relay_core::{
    Effect, Node, NodeConfig, Port, Proof, QueryId, Random, Server, ServerConfig, ServerEffect, Time, Unreachable,
};
use golem_net_relay_wire::{Datagram, challenge, proof};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const RELAY: ([u8; 4], u16) = ([10, 0, 0, 1], 7477);
const CHECK: ([u8; 4], u16) = ([10, 0, 0, 1], 7478);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Nat {
    Open,
    /// Lets in only those to whom something was sent.
    Closed,
}

struct Member {
    node: Node,
    keys: Vec<SecretKey>,
    session_key: SecretKey,
    address: SocketAddr,
    nat: Nat,
    sent_to: Vec<SocketAddr>,
    got: Vec<(NodeId, bool, Bytes)>,
    events: Vec<Effect>,
}

struct World {
    now: Time,
    rng: StdRng,
    server: Server,
    members: Vec<Member>,
    flying: BTreeMap<(Time, u64), (SocketAddr, SocketAddr, Bytes)>,
    count: u64,
    loss: f64,
    direct_packets: usize,
    sealed_packets: usize,
    log: bool,
}

fn secret(n: u64) -> SecretKey {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_bytes(&bytes).unwrap()
}

fn server(seed: u64, now: Time) -> Server {
    Server::new(
        now,
        ServerConfig { difficulty: 4, ..ServerConfig::default() },
        Random::new(StdRng::seed_from_u64(seed)),
    )
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Time::from_secs(1000);
        Self {
            now,
            rng: StdRng::seed_from_u64(seed),
            server: server(seed, now),
            members: Vec::new(),
            flying: BTreeMap::new(),
            count: 0,
            loss: 0.0,
            direct_packets: 0,
            sealed_packets: 0,
            log: false,
        }
    }

    fn add(&mut self, keys: Vec<SecretKey>, nat: Nat) -> usize {
        self.add_with(keys, nat, |_| {})
    }

    fn add_with(&mut self, keys: Vec<SecretKey>, nat: Nat, change: impl Fn(&mut NodeConfig)) -> usize {
        let address = SocketAddr::from(([10, 0, 1, self.members.len() as u8 + 1], 11500));
        let session_key = secret(self.rng.random());
        let mut config = NodeConfig::new(SocketAddr::from(RELAY), session_key.clone());
        change(&mut config);
        let public: Vec<PublicKey> = keys.iter().map(SecretKey::public).collect();
        let node = Node::new(self.now, config, public, Random::new(StdRng::seed_from_u64(self.rng.random())));
        let (sent_to, got, events) = (Vec::new(), Vec::new(), Vec::new());
        self.members.push(Member { node, keys, session_key, address, nat, sent_to, got, events });
        self.members.len() - 1
    }

    /// The same node as a new process.
    fn restart(&mut self, member: usize) {
        let now = self.now;
        let random = self.rng.random();
        let session_key = secret(self.rng.random());
        let old = &mut self.members[member];
        old.session_key = session_key.clone();
        let config = NodeConfig::new(SocketAddr::from(RELAY), session_key);
        let public = old.keys.iter().map(SecretKey::public).collect();
        old.node = Node::new(now, config, public, Random::new(StdRng::seed_from_u64(random)));
    }

    fn id(&self, member: usize) -> NodeId {
        self.members[member].keys[0].node_id()
    }

    fn fly(&mut self, from: SocketAddr, to: SocketAddr, data: Bytes) {
        if self.log {
            eprintln!("{:?} {from} -> {to} {:?}", self.now, Datagram::decode(data.clone()));
        }
        if !self.rng.random_bool(self.loss) {
            self.count += 1;
            self.flying.insert((self.now + Time::from_millis(5), self.count), (from, to, data));
        }
    }

    fn pump(&mut self) {
        while let Some(ServerEffect::Send { port, to, data }) = self.server.poll_effect() {
            let from = SocketAddr::from(if port == Port::Main { RELAY } else { CHECK });
            self.fly(from, to, data);
        }
        for at in 0..self.members.len() {
            while let Some(effect) = self.members[at].node.poll_effect() {
                let member = &mut self.members[at];
                match effect {
                    Effect::Send { to, data } => {
                        member.sent_to.push(to);
                        let from = member.address;
                        if let Ok(Datagram::Forward(forward)) = Datagram::decode(data.clone()) {
                            self.direct_packets += usize::from(forward.is_direct());
                            self.sealed_packets +=
                                usize::from(forward.flags.has(golem_net_relay_wire::Flags::ENCRYPTED));
                        }
                        self.fly(from, to, data);
                    }
                    Effect::Prove { token, challenge, difficulty } => {
                        let solution = challenge::solve(&challenge, difficulty, 1 << 20).unwrap();
                        let digest = proof::solution_digest(&solution);
                        let key_digest = proof::session_key_digest(&member.session_key.public());
                        let answer = Proof {
                            solution: Bytes::copy_from_slice(&solution),
                            signatures: member.keys.iter().map(|key| key.sign(&digest)).collect(),
                            session_signatures: member.keys.iter().map(|key| key.sign(&key_digest)).collect(),
                        };
                        member.node.proved(self.now, token, Some(answer));
                    }
                    Effect::Deliver { from, reliable, payload } => member.got.push((from, reliable, payload)),
                    other => member.events.push(other),
                }
            }
        }
    }

    fn step(&mut self, until: Time) -> bool {
        self.pump();
        let timers =
            self.members.iter().filter_map(|member| member.node.next_timeout()).chain(self.server.next_timeout());
        let Some(next) = timers.chain(self.flying.keys().next().map(|(at, _)| *at)).min().filter(|at| *at <= until)
        else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(next);
        while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (from, to, data) = entry.remove();
            let unix = 1_800_000_000 + self.now.as_secs();
            if to == SocketAddr::from(RELAY) || to == SocketAddr::from(CHECK) {
                let port = if to == SocketAddr::from(RELAY) { Port::Main } else { Port::Check };
                self.server.on_datagram(self.now, unix, port, from, data);
            } else if let Some(member) = self.members.iter_mut().find(|member| member.address == to)
                && (member.nat == Nat::Open || member.sent_to.contains(&from))
            {
                member.node.on_datagram(self.now, from, data);
            }
        }
        self.server.on_timeout(self.now);
        for member in &mut self.members {
            member.node.on_timeout(self.now);
        }
        self.pump();
        true
    }

    fn run_for(&mut self, time: Time) {
        let until = self.now + time;
        while self.step(until) {}
    }

    fn run_until(&mut self, within: Time, what: &str, done: impl Fn(&Self) -> bool) {
        let until = self.now + within;
        while !done(self) {
            assert!(self.step(until), "not within {within:?}: {what}");
        }
    }

    fn all_up(&mut self) {
        self.run_until(Time::from_secs(60), "relay sessions", |world| {
            world.members.iter().all(|m| m.node.is_relay_up())
        });
        self.run_for(Time::from_secs(2));
    }

    fn send(&mut self, from: usize, to: NodeId, text: &'static str) {
        let now = self.now;
        self.members[from].node.send(now, to, true, Bytes::from_static(text.as_bytes()));
    }

    fn arrives(&mut self, at: usize, from: NodeId, text: &'static str, within: Time) {
        self.run_until(within, text, |world| {
            world.members[at].got.contains(&(from, true, Bytes::from_static(text.as_bytes())))
        });
    }

    fn exchange(&mut self, a: usize, b: usize, text: &'static str, within: Time) {
        let (id_a, id_b) = (self.id(a), self.id(b));
        for member in [a, b] {
            self.members[member].got.clear();
        }
        self.send(a, id_b, text);
        self.arrives(b, id_a, text, within);
        self.send(b, id_a, text);
        self.arrives(a, id_b, text, within);
    }

    fn answer<T>(&mut self, member: usize, pick: impl Fn(&Effect) -> Option<T>) -> T {
        let until = self.now + Time::from_secs(30);
        loop {
            if let Some(found) = self.members[member].events.iter().find_map(&pick) {
                return found;
            }
            assert!(self.step(until), "no answer");
        }
    }
}

fn two(nat: [Nat; 2]) -> World {
    let mut world = World::new(11);
    world.add(vec![secret(1)], nat[0]);
    world.add(vec![secret(2)], nat[1]);
    world.all_up();
    world
}

const SHORT: Time = Time::from_millis(200);

#[test]
fn open_nodes_meet_and_become_direct() {
    let mut world = two([Nat::Open, Nat::Open]);
    assert!(world.members.iter().all(|member| member.node.public_address() == Some(member.address)));
    world.exchange(0, 1, "hello", SHORT);
    world.run_for(Time::from_secs(1));
    let (a, b) = (world.id(0), world.id(1));
    assert!(world.members[0].node.is_direct(b) && world.members[1].node.is_direct(a));
    let before = world.direct_packets;
    world.exchange(0, 1, "again", SHORT);
    assert_eq!(world.direct_packets, before + 2);
    assert!(world.sealed_packets > 0, "between our nodes payloads are sealed");
}

#[test]
fn closed_nodes_are_relayed() {
    let mut world = two([Nat::Closed, Nat::Closed]);
    world.exchange(0, 1, "hello", SHORT);
    world.run_for(Time::from_secs(60));
    world.exchange(0, 1, "later", SHORT);
    assert_eq!(world.direct_packets, 0);
}

#[test]
fn an_open_node_is_reached_by_a_closed_one_and_calls_it_back() {
    for open in [0, 1] {
        let mut nat = [Nat::Closed; 2];
        nat[open] = Nat::Open;
        let mut world = two(nat);
        world.exchange(0, 1, "hello", SHORT);
        world.run_for(Time::from_secs(1));
        let b = world.id(1);
        assert!(world.members[0].node.is_direct(b), "open: {open}");
    }
}

#[test]
fn both_dial_at_once_and_one_session_stays() {
    let mut world = two([Nat::Open, Nat::Open]);
    let (a, b) = (world.id(0), world.id(1));
    world.send(0, b, "from a");
    world.send(1, a, "from b");
    world.arrives(1, a, "from a", SHORT);
    world.arrives(0, b, "from b", SHORT);
    world.run_for(Time::from_secs(30));
    for member in &world.members {
        assert_eq!(member.node.sessions(world.now).len(), 2, "relay and peer");
    }
    world.exchange(0, 1, "after", SHORT);
}

#[test]
fn packets_sent_before_the_relay_is_up_arrive() {
    let mut world = World::new(3);
    world.add(vec![secret(1)], Nat::Open);
    world.add(vec![secret(2)], Nat::Open);
    let (a, b) = (world.id(0), world.id(1));
    world.send(0, b, "early");
    world.arrives(1, a, "early", Time::from_secs(12));
}

#[test]
fn an_alias_reaches_its_node() {
    let mut world = World::new(4);
    world.add(vec![secret(1)], Nat::Open);
    world.add(vec![secret(2), secret(3)], Nat::Open);
    world.all_up();
    let (a, alias) = (world.id(0), secret(3).node_id());
    world.send(0, alias, "to the alias");
    world.arrives(1, a, "to the alias", SHORT);
    assert_eq!(world.members[0].node.default_of(alias), world.id(1));
    assert!(world.members[0].node.identities_of(world.id(1)).contains(&alias));
}

#[test]
fn an_unknown_node_is_unreachable_soon_and_other_answers_come() {
    let mut world = two([Nat::Open, Nat::Closed]);
    let stranger = secret(99).node_id();
    world.send(0, stranger, "nobody");
    let reason = world.answer(0, |effect| match effect {
        Effect::Unreachable { node, reason } if *node == stranger => Some(*reason),
        _ => None,
    });
    assert_eq!(reason, Unreachable::Unknown(stranger));
    let (now, b) = (world.now, world.id(1));
    let found = |query: QueryId| {
        move |effect: &Effect| match effect {
            Effect::Found { query: of, result } if *of == query => Some(result.clone()),
            _ => None,
        }
    };
    let query = world.members[0].node.find(now, b);
    assert_eq!(world.answer(0, found(query)).unwrap().default_id(), Some(b));
    let query = world.members[0].node.find(now, stranger);
    assert!(world.answer(0, found(query)).is_err());
    let query = world.members[0].node.neighbours(now, 8);
    let nodes = world.answer(0, |effect| match effect {
        Effect::Neighbours { query: of, result } if *of == query => Some(result.clone().unwrap()),
        _ => None,
    });
    assert_eq!(nodes.iter().filter_map(|info| info.default_id()).collect::<Vec<_>>(), [b]);
}

#[test]
fn a_restarted_peer_is_reached_whoever_sends_first() {
    for first in [0, 1] {
        for nat in [[Nat::Open, Nat::Open], [Nat::Closed, Nat::Closed]] {
            let mut world = two(nat);
            world.exchange(0, 1, "hello", SHORT);
            world.run_for(Time::from_secs(1));
            world.restart(1);
            world.run_until(Time::from_secs(10), "relay", |world| world.members[1].node.is_relay_up());
            let (a, b) = (world.id(first), world.id(1 - first));
            // Single packets may be lost while keys and sessions are learnt again; virtual TCP repeats them.
            let until = world.now + Time::from_secs(5);
            while !world.members[1 - first].got.contains(&(a, true, Bytes::from_static(b"back"))) {
                assert!(world.now < until, "first: {first}");
                world.send(first, b, "back");
                world.run_for(Time::from_millis(200));
            }
            world.run_for(Time::from_secs(3));
            world.exchange(first, 1 - first, "both ways", SHORT);
        }
    }
}

#[test]
fn a_restarted_relay_is_found_again_and_direct_sessions_stay() {
    let mut world = two([Nat::Open, Nat::Open]);
    world.exchange(0, 1, "hello", SHORT);
    world.run_for(Time::from_secs(1));
    world.server = server(77, world.now);
    world.exchange(0, 1, "without the relay", SHORT);
    world.run_for(Time::from_secs(20));
    assert!(world.members.iter().all(|member| member.node.is_relay_up()));

    let mut world = two([Nat::Closed, Nat::Closed]);
    world.exchange(0, 1, "hello", SHORT);
    world.server = server(78, world.now);
    let (a, b) = (world.id(0), world.id(1));
    let until = world.now + Time::from_secs(25);
    while !world.members[1].got.contains(&(a, true, Bytes::from_static(b"relayed"))) {
        assert!(world.now < until);
        world.send(0, b, "relayed");
        world.run_for(Time::from_millis(500));
    }
    assert!(world.members[0].events.iter().any(|event| matches!(event, Effect::PathChanged { .. })));
}

#[test]
fn a_silent_relay_is_left_and_tried_for_ever() {
    let mut world = two([Nat::Open, Nat::Open]);
    world.loss = 1.0;
    world.run_for(Time::from_secs(300));
    assert!(world.members.iter().all(|member| !member.node.is_relay_up()));
    world.loss = 0.0;
    world.run_for(Time::from_secs(60));
    world.exchange(0, 1, "back", SHORT);
}

#[test]
fn a_node_that_stops_says_good_bye() {
    let mut world = two([Nat::Open, Nat::Open]);
    world.exchange(0, 1, "hello", SHORT);
    world.run_for(Time::from_secs(1));
    world.members[1].node.stop();
    world.run_for(Time::from_millis(50));
    let b = world.id(1);
    assert!(!world.members[0].node.is_direct(b));
    assert_eq!(world.server.session_count(), 1);
}

#[test]
fn a_new_identity_is_announced() {
    let mut world = two([Nat::Open, Nat::Closed]);
    world.members[1].keys.push(secret(5));
    let keys = world.members[1].keys.iter().map(SecretKey::public).collect();
    let now = world.now;
    world.members[1].node.set_identities(now, keys);
    world.all_up();
    let a = world.id(0);
    world.send(0, secret(5).node_id(), "to the new one");
    world.arrives(1, a, "to the new one", SHORT);
}

#[test]
fn nodes_of_different_kinds_understand_each_other() {
    for (encrypt, direct) in [(false, true), (true, false), (false, false)] {
        let mut world = World::new(5);
        world.add(vec![secret(1)], Nat::Open);
        world.add_with(vec![secret(2)], Nat::Open, |config| {
            config.encrypt = encrypt;
            config.direct = direct;
        });
        world.all_up();
        world.exchange(0, 1, "hello", SHORT);
        world.run_for(Time::from_secs(1));
        world.exchange(0, 1, "again", SHORT);
        let b = world.id(1);
        assert_eq!(world.members[0].node.is_direct(b), direct);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is lost, restarted or dialled: once the network heals, everybody reaches everybody.
    #[test]
    fn after_healing_everybody_is_reached(
        seed: u64, loss in 0.0..0.4f64, closed in proptest::collection::vec(any::<bool>(), 3),
        events in proptest::collection::vec((0..6u8, 0..3usize, 0..3usize, 0..20_000u64), 0..25),
    ) {
        let mut world = World::new(seed);
        for (n, closed) in closed.iter().enumerate() {
            world.add(vec![secret(n as u64 + 1)], if *closed { Nat::Closed } else { Nat::Open });
        }
        world.loss = loss;
        for (what, a, b, pause) in events {
            match what {
                0 => world.restart(a),
                1 => world.server = server(seed ^ pause, world.now),
                2 => {
                    let (now, id) = (world.now, world.id(b));
                    world.members[a].node.disconnect(now, id);
                }
                _ if a != b => {
                    let id = world.id(b);
                    world.send(a, id, "noise");
                }
                _ => {}
            }
            world.run_for(Time::from_millis(pause));
        }
        world.loss = 0.0;
        world.run_for(Time::from_secs(60));
        for a in 0..3 {
            for b in 0..3 {
                if a != b {
                    // One packet may show that a session is dead; those after it must arrive.
                    let id = world.id(b);
                    world.send(a, id, "probe");
                    world.run_for(Time::from_secs(40));
                    world.log = true; eprintln!("EXCHANGE {a} {b} {} {}", world.id(a), world.id(b));
                    world.exchange(a, b, "healed", Time::from_secs(1)); world.log = false;
                }
            }
        }
    }

    #[test]
    fn hostile_datagrams_never_panic(datagrams in proptest::collection::vec((any::<bool>(), any::<Vec<u8>>()), 0..50)) {
        let mut world = two([Nat::Open, Nat::Open]);
        for (to_server, bytes) in datagrams {
            let from = SocketAddr::from(([6, 6, 6, 6], 666));
            let to = if to_server { SocketAddr::from(RELAY) } else { world.members[0].address };
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = [0x0a, 0x12, 0x1a, 0x22, 0x2a][usize::from(*first) % 5];
            }
            world.fly(from, to, bytes.into());
        }
        world.run_for(Time::from_millis(100));
        world.exchange(0, 1, "still there", SHORT);
    }
}
