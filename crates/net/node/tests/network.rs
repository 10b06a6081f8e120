//! Nodes and a relay in one process, over UDP on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "test code"
)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt, stream};
use golem_bus::{Bus, BusError, CallError, Payload, RawChunk, RawError, RawReply, RawRequest};
use golem_keys::SecretKey;
use golem_model::address::{Channel, remote, remote_as};
use golem_model::identity::{self, Ack, GetPubKey, IdentityInfo, List, Sign};
use golem_model::net::{
    self, Connect, Disconnect, FindNode, GsbPing, ListNeighbours, SendBroadcastMessage, Sessions, Sockets, Status,
};
use golem_model::{Call, Caller, NodeId, StreamCall};
use golem_net_node::{Config, Handle};
use golem_net_relay_server as relay;
use golem_service::{Context, SystemClock};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SOON: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Echo {
    #[serde(with = "serde_bytes")]
    data: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Echoed {
    caller: String,
    #[serde(with = "serde_bytes")]
    data: Vec<u8>,
}

impl Call for Echo {
    const ID: &'static str = "Echo";
    type Item = Echoed;
    type Error = String;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Count {
    to: u32,
}

impl StreamCall for Count {
    const ID: &'static str = "Count";
    type Item = u32;
    type Error = String;
}

struct Relay {
    addr: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

fn relay_at(addr: SocketAddr) -> Relay {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let mut config = relay::Config::new(addr);
    config.core.difficulty = 4;
    config.core.check_timeout = Duration::from_millis(200);
    let handle = relay::start(config, &tasks, stop.clone()).unwrap();
    Relay { addr: handle.addr(), stop, tasks }
}

fn relay() -> Relay {
    relay_at(([127, 0, 0, 1], 0).into())
}

impl Relay {
    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

struct TestNode {
    bus: Bus,
    net: Handle,
    keys: Arc<Mutex<Vec<SecretKey>>>,
    id: NodeId,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// An identity service with these keys.
fn bind_identities(bus: &Bus, keys: &Arc<Mutex<Vec<SecretKey>>>) {
    let find = |keys: &Arc<Mutex<Vec<SecretKey>>>, id: NodeId| {
        let found = keys.lock().unwrap().iter().find(|key| key.node_id() == id).cloned();
        found.ok_or(identity::Error::NodeNotFound(id))
    };
    let list = Arc::clone(keys);
    bus.bind(identity::ADDRESS, move |_, _: List| {
        let keys = list.lock().unwrap();
        let info = |(n, key): (usize, &SecretKey)| IdentityInfo {
            alias: None,
            node_id: key.node_id(),
            is_locked: false,
            is_default: n == 0,
            deleted: false,
        };
        let list = keys.iter().enumerate().map(info).collect();
        async move { Ok(list) }
    });
    let known = Arc::clone(keys);
    bus.bind(identity::ADDRESS, move |_, get: GetPubKey| {
        let key = find(&known, get.0).map(|key| key.public().as_bytes().to_vec());
        async move { key }
    });
    let known = Arc::clone(keys);
    bus.bind(identity::ADDRESS, move |_, sign: Sign| {
        let signature =
            find(&known, sign.node_id).map(|key| key.sign(&sign.payload.try_into().unwrap()).as_bytes().to_vec());
        async move { signature }
    });
    bus.bind(identity::ADDRESS, |_, _: identity::Subscribe| async { Ok(Ack {}) });
}

async fn node_with(relay: SocketAddr, keys: Vec<SecretKey>, change: impl FnOnce(&mut Config)) -> TestNode {
    let bus = Bus::new();
    let id = keys[0].node_id();
    let keys = Arc::new(Mutex::new(keys));
    bind_identities(&bus, &keys);
    bus.bind("/public/test", |caller: Caller, echo: Echo| async move {
        if echo.data == b"refuse" {
            return Err("refused".to_owned());
        }
        Ok(Echoed { caller: caller.to_string(), data: echo.data })
    });
    bus.bind_stream("/public/test", |_, count: Count| stream::iter((0..count.to).map(Ok)));
    bus.bind_raw("/public/failing", Arc::new(|_: RawRequest| RawReply::error(RawError::failure("boom text"))));
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let ctx = Context {
        bus: bus.clone(),
        data_dir: std::env::temp_dir(),
        clock: Arc::new(SystemClock),
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    let mut config = Config { relay: Some(relay.to_string()), bind: ([127, 0, 0, 1], 0).into(), ..Config::default() };
    change(&mut config);
    let net = golem_net_node::start(ctx, config).await.unwrap();
    TestNode { bus, net, keys, id, stop, tasks }
}

async fn node(relay: &Relay) -> TestNode {
    node_with(relay.addr, vec![SecretKey::generate()], |_| {}).await
}

impl TestNode {
    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(SOON, self.tasks.wait()).await.unwrap();
    }

    async fn echo_at(&self, address: &str, data: &[u8]) -> Result<Echoed, CallError<String>> {
        self.bus.call(address, Caller::local(), Echo { data: data.to_vec() }, SOON).await
    }

    async fn echo(&self, channel: Channel, to: NodeId, data: &[u8]) -> Result<Echoed, CallError<String>> {
        self.echo_at(&remote(channel, to, "/public/test"), data).await
    }

    /// Calls until it works: the way there may have to be found again.
    async fn reaches(&self, to: NodeId) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let address = remote(Channel::Reliable, to, "/public/test");
            let call = self.bus.call(&address, Caller::local(), Echo { data: b"x".to_vec() }, Duration::from_secs(5));
            match call.await {
                Ok(_) => return,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
        }
    }

    async fn ask<C: Call>(&self, call: C) -> C::Item {
        self.bus.call(net::ADDRESS, Caller::local(), call, SOON).await.unwrap()
    }

    /// Waits until there is a direct session with the node.
    async fn is_direct_with(&self, to: NodeId) {
        let until = Instant::now() + SOON;
        while !self.ask(Sessions {}).await.iter().any(|session| session.node_id == Some(to)) {
            assert!(Instant::now() < until);
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_reach_another_node_on_every_channel() {
    let relay = relay();
    let (a, b) = (node(&relay).await, node(&relay).await);
    for channel in [Channel::Reliable, Channel::Unreliable, Channel::Transfer] {
        for to_b in [true, false] {
            let (from, to) = if to_b { (&a, &b) } else { (&b, &a) };
            let echoed = from.echo(channel, to.id, b"hello").await.unwrap();
            assert_eq!(echoed, Echoed { caller: from.id.to_string(), data: b"hello".to_vec() });
        }
    }
    let echoed = a.echo_at(&remote_as(Channel::Reliable, a.id, b.id, "/public/test"), b"named").await.unwrap();
    assert_eq!(echoed.caller, a.id.to_string());
    let upper = b.id.to_string().to_uppercase().replace("0X", "0x");
    a.echo_at(&format!("/net/{upper}/test"), b"upper case").await.unwrap();
    a.is_direct_with(b.id).await;
    a.stop().await;
    b.stop().await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_identities_are_called_without_the_network() {
    let relay = relay();
    let alias = SecretKey::generate();
    let a = node_with(relay.addr, vec![SecretKey::generate(), alias.clone()], |_| {}).await;
    for channel in [Channel::Reliable, Channel::Unreliable, Channel::Transfer] {
        for to in [a.id, alias.node_id()] {
            assert_eq!(a.echo(channel, to, b"x").await.unwrap().caller, a.id.to_string());
            let address = remote_as(channel, alias.node_id(), to, "/public/test");
            assert_eq!(a.echo_at(&address, b"x").await.unwrap().caller, alias.node_id().to_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_keep_their_order_and_big_bodies_arrive_whole() {
    let relay = relay();
    let (a, b) = (node(&relay).await, node(&relay).await);
    let address = remote(Channel::Reliable, b.id, "/public/test");
    let items: Vec<u32> =
        a.bus.call_stream(&address, Caller::local(), Count { to: 3000 }).map(|item| item.unwrap()).collect().await;
    assert_eq!(items, (0..3000).collect::<Vec<u32>>());
    let mut state = 1u64;
    let mut random = || {
        // Nothing that compresses.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let data: Vec<u8> = (0..5_000_000).map(|_| random()).collect();
    for channel in [Channel::Transfer, Channel::Reliable] {
        assert!(a.echo(channel, b.id, &data).await.unwrap().data == data);
    }
    // Fits into one datagram of the unreliable channel, in fragments.
    assert_eq!(a.echo(Channel::Unreliable, b.id, &data[..3000]).await.unwrap().data.len(), 3000);
    assert!(a.echo(Channel::Unreliable, b.id, &data[..70_000]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_keep_their_code_and_text() {
    let relay = relay();
    let (a, b) = (node(&relay).await, node(&relay).await);
    let refused = a.echo(Channel::Reliable, b.id, b"refuse").await.unwrap_err();
    assert_eq!(refused, CallError::Service("refused".to_owned()));
    let error = async |address: String| {
        let CallError::Bus(error) = a.echo_at(&address, b"x").await.unwrap_err() else { panic!("a service error") };
        error
    };
    let no_service = error(format!("/net/{}/nothing/here", b.id)).await;
    assert_eq!(no_service, BusError::BadRequest("endpoint address not found".to_owned()));
    assert_eq!(error(format!("/net/{}/failing", b.id)).await, BusError::Failure("boom text".to_owned()));
    let nobody = error(format!("/net/{}/test", NodeId::from([9; 20]))).await;
    assert!(nobody.to_string().contains("the relay does not know node"), "{nobody}");
    for address in ["/net", "/net/xyz/test", &format!("/net/{}", b.id)] {
        assert!(matches!(error(address.to_owned()).await, BusError::BadRequest(_)), "{address}");
    }
    let stranger = NodeId::from([7; 20]);
    let foreign = error(remote_as(Channel::Reliable, stranger, b.id, "/public/test")).await;
    assert!(foreign.to_string().contains("unknown identity"), "{foreign}");
    assert!(matches!(error(format!("/net/{}/../local/identity", b.id)).await, BusError::BadRequest(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_arrive_and_answer_at_once() {
    let relay = relay();
    let (a, b) = (node(&relay).await, node(&relay).await);
    let (seen, mut arrived) = tokio::sync::mpsc::channel(4);
    let service = move |request: RawRequest| {
        seen.try_send((request.caller.clone(), request.no_reply)).unwrap();
        RawReply::full(Payload::empty())
    };
    b.bus.bind_raw("/public/sink", Arc::new(service));
    for channel in [Channel::Unreliable, Channel::Reliable] {
        let (caller, data) = (Caller::local(), Payload::from(b"raw".to_vec()));
        let address = remote(channel, b.id, "/public/sink/x");
        let chunks: Vec<_> = a.bus.call_raw(RawRequest { caller, address, data, no_reply: true }).collect().await;
        assert!(matches!(&chunks[..], [Ok(RawChunk::Full(payload))] if payload.is_empty()));
        let (caller, no_reply) = tokio::time::timeout(SOON, arrived.recv()).await.unwrap().unwrap();
        assert_eq!((caller, no_reply), (Caller::from(a.id), true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broadcasts_reach_subscribers_of_the_topic() {
    let relay = relay();
    let (a, b, c) = (node(&relay).await, node(&relay).await, node(&relay).await);
    let (seen, mut arrived) = tokio::sync::mpsc::channel(64);
    for to in [&b, &c] {
        let (seen, me) = (seen.clone(), to.id);
        to.bus.bind("/local/test/news", move |caller: Caller, message: SendBroadcastMessage<String>| {
            let _ = seen.try_send((me, caller, message.body));
            async { Ok(()) }
        });
        to.ask(net::Subscribe { topic: "news".to_owned(), endpoint: "/local/test/news".to_owned() }).await;
    }
    let mut waiting = vec![b.id, c.id];
    let until = Instant::now() + SOON;
    // A broadcast is one datagram, and the neighbours may still be on their way to the relay: send until all have it.
    while !waiting.is_empty() {
        assert!(Instant::now() < until);
        a.ask(SendBroadcastMessage::new("other", "not for you".to_owned())).await;
        a.ask(SendBroadcastMessage::new("news", "hello".to_owned())).await;
        while let Ok(Some((at, caller, body))) = tokio::time::timeout(Duration::from_millis(200), arrived.recv()).await
        {
            assert_eq!((caller, &*body), (Caller::from(a.id), "hello"));
            waiting.retain(|id| *id != at);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relayed_nodes_reach_each_other() {
    let relay = relay();
    let relayed = |config: &mut Config| config.direct = false;
    let a = node_with(relay.addr, vec![SecretKey::generate()], relayed).await;
    let b = node_with(relay.addr, vec![SecretKey::generate()], relayed).await;
    let data = vec![7; 2_000_000];
    assert!(a.echo(Channel::Reliable, b.id, &data).await.unwrap().data == data);
    assert!(a.ask(Sessions {}).await.iter().all(|session| session.session_type == "relay"));
    assert_eq!(a.ask(Status {}).await.public_address, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_peer_is_called_again() {
    let relay = relay();
    let a = node(&relay).await;
    let key = SecretKey::generate();
    let b = node_with(relay.addr, vec![key.clone()], |_| {}).await;
    let (id, bind) = (b.id, b.net.listen_addr());
    a.echo(Channel::Reliable, id, b"x").await.unwrap();
    a.is_direct_with(id).await;
    b.stop().await;
    let b = node_with(relay.addr, vec![key.clone()], |config| config.bind = bind).await;
    a.reaches(id).await;
    b.reaches(a.id).await;
    // The same without a good-bye: a node that died.
    drop(b.net);
    b.stop.cancel();
    let b = node_with(relay.addr, vec![key], |_| {}).await;
    a.reaches(id).await;
    b.reaches(a.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_relay_is_found_again() {
    let first = relay();
    let addr = first.addr;
    let keep = |config: &mut Config| {
        config.session_expiration = Duration::from_millis(300);
        config.direct = false;
    };
    let a = node_with(addr, vec![SecretKey::generate()], keep).await;
    let b = node_with(addr, vec![SecretKey::generate()], keep).await;
    a.echo(Channel::Reliable, b.id, b"x").await.unwrap();
    first.stop().await;
    let second = relay_at(addr);
    a.reaches(b.id).await;
    b.reaches(a.id).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_node_that_stops_ends_with_an_error() {
    let relay = relay();
    let (a, b) = (node(&relay).await, node(&relay).await);
    b.bus.bind_raw("/public/slow", Arc::new(|_: RawRequest| RawReply::future(std::future::pending())));
    a.echo(Channel::Reliable, b.id, b"x").await.unwrap();
    let address = format!("/net/{}/slow", b.id);
    let call = async { a.echo_at(&address, b"x").await };
    let stop = async {
        a.ask(Sessions {}).await;
        b.stop.cancel();
    };
    let started = Instant::now();
    let (answer, ()) = tokio::join!(call, stop);
    assert!(matches!(answer, Err(CallError::Bus(_))), "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_identity_can_call_and_be_called() {
    let relay = relay();
    let (a, b) = (node(&relay).await, node(&relay).await);
    a.echo(Channel::Reliable, b.id, b"x").await.unwrap();
    let alias = SecretKey::generate();
    a.keys.lock().unwrap().push(alias.clone());
    let alias = alias.node_id();
    let until = Instant::now() + SOON;
    // The relay learns of it in a new session; until then the other node must refuse the caller.
    loop {
        let address = remote_as(Channel::Unreliable, alias, b.id, "/public/test");
        let call = a.bus.call::<Echo>(&address, Caller::local(), Echo { data: vec![] }, Duration::from_millis(500));
        match call.await {
            Ok(echoed) => break assert_eq!(echoed.caller, alias.to_string()),
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    }
    b.reaches(alias).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_endpoints_tell_the_state() {
    let relay = relay();
    let (a, b) = (node(&relay).await, node(&relay).await);
    a.reaches(b.id).await;
    a.is_direct_with(b.id).await;
    let status = a.ask(Status {}).await;
    assert_eq!((status.node_id, status.listen_address), (a.id, Some(a.net.listen_addr())));
    assert!(status.metrics.tx_total > 0 && status.sessions == 2);
    let sockets = a.ask(Sockets {}).await;
    assert!(sockets.iter().any(|socket| socket.state == "Established" && socket.remote_port == "1"));
    let found = a.ask(FindNode { node_id: b.id.to_string() }).await;
    assert_eq!(found.identities, [b.id]);
    assert_eq!(a.ask(ListNeighbours { size: 8 }).await, [b.id]);
    let pings = a.ask(GsbPing { nodes: vec![] }).await;
    assert!(
        matches!(&pings[..], [ping] if ping.node_id == b.id && ping.is_p2p && ping.tcp_ping.is_some() && ping.udp_ping.is_some())
    );
    let connect = Connect { node: b.id, keep: false, reliable_channel: true, transfer_channel: true };
    assert_eq!(a.ask(connect).await.identities, [b.id]);
    a.ask(Disconnect { node: b.id }).await;
    let bad = a.bus.call(net::ADDRESS, Caller::local(), FindNode { node_id: "xyz".into() }, SOON).await;
    assert!(matches!(bad, Err(CallError::Service(net::Error::RuntimeException(_)))));
    a.reaches(b.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_datagrams_change_nothing() {
    let relay = relay();
    let (a, b) = (node(&relay).await, node(&relay).await);
    a.echo(Channel::Reliable, b.id, b"x").await.unwrap();
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for n in 0..2000u32 {
        let len = (n % 90) as usize;
        let mut datagram: Vec<u8> =
            (0..len).map(|at| (n.wrapping_mul(31).wrapping_add(at as u32 * 7) % 251) as u8).collect();
        if let Some(first) = datagram.first_mut() {
            *first = [0x0a, 0x12, 0x1a, 0x22, 0x2a, 0xff][(n % 6) as usize];
        }
        for to in [a.net.listen_addr(), b.net.listen_addr(), relay.addr] {
            stranger.send_to(&datagram, to).await.unwrap();
        }
    }
    a.echo(Channel::Reliable, b.id, b"x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_takes_less_than_a_millisecond() {
    let relay = relay();
    let (a, b) = (node(&relay).await, node(&relay).await);
    a.reaches(b.id).await;
    a.is_direct_with(b.id).await;
    let mut times = Vec::new();
    for _ in 0..200 {
        let started = Instant::now();
        a.echo(Channel::Reliable, b.id, b"x").await.unwrap();
        times.push(started.elapsed());
    }
    times.sort_unstable();
    // A debug build on a busy machine is slow; the promise is kept in tests/perf.
    println!("median {:?}, worst {:?}", times[100], times[199]);
    assert!(times[100] < Duration::from_millis(10), "{:?}", times[100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_moves_without_stalls() {
    let relay = relay();
    for direct in [true, false] {
        let kind = |config: &mut Config| config.direct = direct;
        let a = node_with(relay.addr, vec![SecretKey::generate()], kind).await;
        let b = node_with(relay.addr, vec![SecretKey::generate()], kind).await;
        b.bus.bind_raw("/public/sink", Arc::new(|_: RawRequest| RawReply::full(Payload::from(b"ok".to_vec()))));
        a.reaches(b.id).await;
        if direct {
            a.is_direct_with(b.id).await;
        }
        let started = Instant::now();
        let total = 20_000_000;
        for _ in 0..4 {
            let data = Payload::from(vec![7; total / 4]);
            let address = remote(Channel::Transfer, b.id, "/public/sink/x");
            let request = RawRequest { caller: Caller::local(), address, data, no_reply: false };
            a.bus.call_single(request, SOON).await.unwrap();
        }
        let rate = total as f64 / started.elapsed().as_secs_f64() / 1e6;
        println!("direct: {direct}, {rate:.1} MB/s");
        // A debug build on a busy machine; a stall for a timer would show.
        assert!(rate > 2.0, "{rate} MB/s");
    }
}
