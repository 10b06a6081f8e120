//! The router against clients that are bare sockets (spec 20 §2 to §4).
#![cfg(test)]
#![cfg(unix)]

#[path = "support/client.rs"]
mod client;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bytes::Bytes;
use client::{DEADLINE, Router, call, failed, hello};
use golem_bus::wire::{
    BroadcastRequest, CallReply, CallRequest, FRAME_BYTES_MAX, FULL, Kind, Nothing, Outcome, PARTIAL, Topic, code,
};
use golem_bus::{Bus, BusUrl, KeepAlive, ListenError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[tokio::test]
async fn a_client_without_hello_is_served_and_cleaned_up() {
    let router = Router::start().await;
    let mut silent = router.silent().await;
    assert_eq!(silent.register("/a").await, code::OK);
    assert_eq!(silent.register("/a").await, code::CONFLICT, "also by its owner");
    drop(silent);
    let mut next = router.silent().await;
    assert_eq!(next.register("/a").await, code::OK, "an owner that is gone is replaced, however fast the next comes");
}

#[tokio::test]
async fn an_instance_that_comes_again_replaces_itself() {
    let router = Router::start().await;
    for id in [&b"0123456789abcdef"[..], b""] {
        let mut old = router.client(id).await;
        assert_eq!(old.register("/mine").await, code::OK);
        let mut caller = router.silent().await;
        caller.send_call("/mine/x", "1", "").await;
        old.taken_call().await;
        let mut new = router.client(id).await;
        old.is_closed().await;
        assert_eq!(caller.reply().await, failed("1", code::FAILURE, "lost connection"));
        assert_eq!(new.register("/mine").await, code::OK);
        caller.send_call("/mine/x", "2", "").await;
        assert_eq!(new.taken_call().await.address, "/mine/x");
    }
}

#[tokio::test]
async fn ids_have_one_owner() {
    let router = Router::start().await;
    let (mut a, mut b) = (router.client(b"a").await, router.client(b"b").await);
    assert_eq!(a.register("/a").await, code::OK);
    assert_eq!(b.register("/a").await, code::CONFLICT);
    assert_eq!(b.register("/a/nested").await, code::OK);
    assert_eq!(b.unregister("/a").await, code::NOT_FOUND);
    assert_eq!(a.unregister("/a").await, code::OK);
    assert_eq!(a.unregister("/a").await, code::NOT_FOUND);
    for odd in ["", "no-slash", "/slash/"] {
        assert_eq!(a.register(odd).await, code::OK, "{odd}");
    }
    assert_eq!(a.register(&"x".repeat(5000)).await, code::BAD_REQUEST);
}

#[tokio::test]
async fn the_longest_prefix_on_a_segment_border_takes_the_call() {
    let router = Router::start().await;
    let (mut short, mut long) = (router.silent().await, router.silent().await);
    assert_eq!(short.register("/a").await, code::OK);
    assert_eq!(long.register("/a/b").await, code::OK);
    let mut caller = router.silent().await;
    for (address, to_long) in
        [("/a/b", true), ("/a/b/c", true), ("/a/b/", true), ("/a/bc", false), ("/a", false), ("/a/x/b", false)]
    {
        caller.send_call(address, address, "body").await;
        let callee = if to_long { &mut long } else { &mut short };
        let got = callee.taken_call().await;
        assert_eq!((&*got.address, &*got.caller, &*got.data), (address, "local", &b"body"[..]));
        callee.send_reply(&got.request_id, FULL, "ok").await;
        assert_eq!(caller.reply().await.request_id, address);
    }
    for address in ["/", "", "/b", "a/b", "/ab"] {
        caller.send_call(address, "no", "").await;
        assert_eq!(caller.reply().await, failed("no", code::BAD_REQUEST, "endpoint address not found"), "{address}");
    }
    caller.send_call(&"/x".repeat(4000), "long", "").await;
    assert_eq!(caller.reply().await.code, code::BAD_REQUEST);
}

#[tokio::test]
async fn equal_request_ids_of_two_callers_never_mix() {
    let router = Router::start().await;
    let (mut callee, mut b, mut c) = (router.silent().await, router.silent().await, router.silent().await);
    assert_eq!(callee.register("/s").await, code::OK);
    b.send_call("/s/m", "7", "of b").await;
    let of_b = callee.taken_call().await;
    c.send_call("/s/m", "7", "of c").await;
    let of_c = callee.taken_call().await;
    assert_ne!(of_b.request_id, of_c.request_id);
    assert_eq!((&*of_b.data, &*of_c.data), (&b"of b"[..], &b"of c"[..]));
    callee.send_reply("no such id", FULL, "stray").await;
    callee.send_reply(&of_c.request_id, FULL, "to c").await;
    callee.send_reply(&of_c.request_id, FULL, "again").await;
    callee.send_reply(&of_b.request_id, FULL, "to b").await;
    for (caller, text) in [(&mut b, "to b"), (&mut c, "to c")] {
        let reply = caller.reply().await;
        assert_eq!((&*reply.request_id, reply.code, &*reply.data), ("7", code::OK, text.as_bytes()));
        caller.is_quiet().await;
    }
}

#[tokio::test]
async fn callers_of_a_dead_callee_hear_of_it_at_once() {
    let router = Router::start().await;
    let (mut callee, mut b, mut c) = (router.silent().await, router.silent().await, router.silent().await);
    assert_eq!(callee.register("/s").await, code::OK);
    b.send_call("/s/m", "1", "").await;
    b.send_call("/s/m", "2", "").await;
    c.send_call("/s/m", "1", "").await;
    for _ in 0..3 {
        callee.taken_call().await;
    }
    drop(callee);
    let mut got = vec![b.reply().await, b.reply().await];
    got.sort_by(|a, b| a.request_id.cmp(&b.request_id));
    assert_eq!(got, ["1", "2"].map(|id| failed(id, code::FAILURE, "lost connection")));
    assert_eq!(c.reply().await, failed("1", code::FAILURE, "lost connection"));
    b.send_call("/s/m", "3", "").await;
    let reply = b.reply().await;
    assert!([code::BAD_REQUEST, code::FAILURE].contains(&reply.code), "{reply:?}");
}

#[tokio::test]
async fn nobody_answers_a_call_without_reply() {
    let router = Router::start().await;
    let (mut callee, mut caller) = (router.silent().await, router.silent().await);
    assert_eq!(callee.register("/s").await, code::OK);
    let push = |address: &str| {
        let Kind::Call(call) = call(address, "9", "x") else { unreachable!() };
        Kind::Call(CallRequest { no_reply: true, ..call })
    };
    caller.send(push("/s/m")).await;
    let got = callee.taken_call().await;
    assert!(got.no_reply);
    callee.send_reply(&got.request_id, FULL, "nobody wants it").await;
    callee.is_quiet().await;
    caller.send(push("/nobody/there")).await;
    caller.is_quiet().await;
}

#[tokio::test]
async fn chunks_keep_their_order_and_the_last_one_ends_the_call() {
    let router = Router::start().await;
    let (mut callee, mut caller) = (router.silent().await, router.silent().await);
    assert_eq!(callee.register("/s").await, code::OK);
    caller.send_call("/s/m", "1", "").await;
    let id = callee.taken_call().await.request_id;
    for chunk in 0..500_u32 {
        callee.send_reply(&id, PARTIAL, chunk.to_be_bytes().to_vec()).await;
    }
    callee.send_reply(&id, FULL, "").await;
    callee.send_reply(&id, PARTIAL, "too late").await;
    for chunk in 0..500_u32 {
        let reply = caller.reply().await;
        assert_eq!((reply.reply_type, &*reply.data), (PARTIAL, &chunk.to_be_bytes()[..]));
    }
    let last = caller.reply().await;
    assert_eq!((last.code, last.reply_type, last.data.len()), (code::OK, FULL, 0));
    callee.is_quiet().await;
    caller.is_quiet().await;
}

#[tokio::test]
async fn replies_are_made_fit_for_official_clients() {
    let router = Router::start().await;
    let (mut callee, mut caller) = (router.silent().await, router.silent().await);
    assert_eq!(callee.register("/s").await, code::OK);
    for (code, reply_type, data, expected) in [
        (500, FULL, &b"boom text"[..], failed("1", code::FAILURE, "boom text")),
        (400, PARTIAL, b"bad", failed("1", code::BAD_REQUEST, "bad")),
        (777, FULL, b"odd", failed("1", code::FAILURE, "odd")),
        (500, FULL, b"\xff", failed("1", code::FAILURE, "\u{fffd}")),
        (0, 9, b"odd kind", failed("1", code::OK, "odd kind")),
    ] {
        caller.send_call("/s/m", "1", "").await;
        let request_id = callee.taken_call().await.request_id;
        callee.send(Kind::Reply(CallReply { request_id, code, reply_type, data: Bytes::from_static(data) })).await;
        assert_eq!(caller.reply().await, expected);
    }
}

#[tokio::test]
async fn a_stalled_callee_holds_up_nobody() {
    const CALLS: usize = 80;
    let router = Router::start().await;
    let (mut stalled, mut good, mut caller) = (router.silent().await, router.silent().await, router.silent().await);
    assert_eq!(stalled.register("/stalled").await, code::OK);
    assert_eq!(good.register("/good").await, code::OK);
    let body = Bytes::from(vec![1; 1 << 20]);
    for id in 0..CALLS {
        caller.send_call("/stalled/m", &id.to_string(), body.clone()).await;
    }
    caller.send_call("/good/m", "good", "").await;
    let id = good.taken_call().await.request_id;
    good.send_reply(&id, FULL, "fine").await;
    let mut refused = 0;
    loop {
        let reply = caller.reply().await;
        if reply.request_id == "good" {
            break;
        }
        assert_eq!(reply, failed(&reply.request_id, code::FAILURE, "stalled connection"));
        refused += 1;
    }
    assert!((1..CALLS).contains(&refused), "{refused}");
    drop(stalled);
    for _ in refused..CALLS {
        let reply = caller.reply().await;
        assert_eq!(reply, failed(&reply.request_id, code::FAILURE, "lost connection"));
    }
    caller.is_quiet().await;
}

#[tokio::test]
async fn a_silent_client_is_probed_then_dropped_and_one_that_answers_stays() {
    let keep_alive = KeepAlive { interval: Duration::from_millis(40), timeout: Duration::from_millis(150) };
    let router = Router::start_with(keep_alive).await;
    let mut good = router.client(b"good").await;
    let mut dead = router.client(b"dead").await;
    for _ in 0..10 {
        assert_eq!(good.next().await, Some(Kind::Ping(Nothing {})));
        good.send(Kind::Pong(Nothing {})).await;
    }
    assert_eq!(dead.next().await, Some(Kind::Ping(Nothing {})));
    while let Some(packet) = dead.next().await {
        assert_eq!(packet, Kind::Ping(Nothing {}));
    }
    // Pings may stand before the answer.
    let mut answer = good.ask(Kind::Subscribe(Topic { topic: "t".into() })).await;
    while answer == Kind::Ping(Nothing {}) {
        answer = good.next().await.unwrap();
    }
    assert_eq!(answer, Kind::SubscribeReply(Outcome::code(code::OK)));
}

#[tokio::test]
async fn a_broadcast_reaches_each_subscriber_once() {
    let router = Router::start().await;
    let (mut a, mut b) = (router.silent().await, router.silent().await);
    let topic = || Topic { topic: "news".into() };
    for _ in 0..2 {
        assert_eq!(a.ask(Kind::Subscribe(topic())).await, Kind::SubscribeReply(Outcome::code(code::OK)));
    }
    let mut here = router.bus.subscribe("news");
    let news = || BroadcastRequest { caller: "b".into(), data: Bytes::from_static(b"data"), topic: "news".into() };
    assert_eq!(b.ask(Kind::Broadcast(news())).await, Kind::BroadcastReply(Outcome::code(code::OK)));
    assert_eq!(a.next().await, Some(Kind::Broadcast(news())));
    a.is_quiet().await;
    let heard = here.next().await.unwrap();
    assert_eq!((heard.caller.as_str(), &*heard.data), ("b", &b"data"[..]));
    let quit = |found| Kind::UnsubscribeReply(Outcome::code(found));
    assert_eq!(a.ask(Kind::Unsubscribe(topic())).await, quit(code::OK));
    assert_eq!(a.ask(Kind::Unsubscribe(topic())).await, quit(code::NOT_FOUND));
    assert_eq!(b.ask(Kind::Broadcast(news())).await, Kind::BroadcastReply(Outcome::code(code::OK)));
    a.is_quiet().await;
    b.is_quiet().await;
}

#[tokio::test]
async fn a_broken_client_loses_its_own_connection_only() {
    let router = Router::start().await;
    let (mut callee, mut caller) = (router.silent().await, router.silent().await);
    assert_eq!(callee.register("/s").await, code::OK);
    let too_large = u32::try_from(FRAME_BYTES_MAX + 1).unwrap().to_be_bytes();
    let outcome = || Outcome::code(code::OK);
    for (what, bytes) in [
        ("too large", &too_large[..]),
        ("the largest length of all", &[0xff; 4]),
        ("an empty packet", &[0, 0, 0, 0]),
        ("an unknown member", &[0, 0, 0, 3, 0x82, 0x01, 0x00]),
        ("no protobuf", &[0, 0, 0, 2, 0xff, 0xff]),
        ("a member cut short", &[0, 0, 0, 3, 0x32, 0x20, 0x0a]),
        ("an address that is no text", &[0, 0, 0, 5, 0x32, 0x03, 0x12, 0x01, 0xff]),
    ] {
        let mut broken = router.client(b"broken").await;
        assert_eq!(broken.register("/broken").await, code::OK, "the one before is cleaned up");
        broken.send_bytes(bytes).await;
        assert_eq!(broken.next().await, None, "{what}");
    }
    for kind in [
        hello(b"again"),
        Kind::RegisterReply(outcome()),
        Kind::UnregisterReply(outcome()),
        Kind::SubscribeReply(outcome()),
        Kind::UnsubscribeReply(outcome()),
        Kind::BroadcastReply(outcome()),
    ] {
        let mut broken = router.client(b"broken").await;
        broken.send(kind.clone()).await;
        assert_eq!(broken.next().await, None, "{kind:?}");
    }
    caller.send_call("/s/m", "1", "").await;
    let id = callee.taken_call().await.request_id;
    callee.send_reply(&id, FULL, "still here").await;
    assert_eq!(&*caller.reply().await.data, b"still here");
}

#[tokio::test]
async fn the_socket_is_the_owners_and_a_live_router_keeps_it() {
    let router = Router::start().await;
    let mode = std::fs::metadata(&router.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let second = Bus::new().listen(&router.url, &tasks, stop.clone()).await;
    assert!(matches!(second, Err(ListenError::Served(_))), "{second:?}");
    router.client(b"c").await.is_quiet().await;

    router.stop.cancel();
    router.tasks.close();
    tokio::time::timeout(DEADLINE, router.tasks.wait()).await.unwrap();
    assert!(!router.path.exists(), "removed at the end");

    // What a crash leaves behind is taken over; what is no socket is not touched.
    drop(std::os::unix::net::UnixListener::bind(&router.path).unwrap());
    let bus = Bus::new();
    bus.listen(&router.url, &tasks, stop.clone()).await.unwrap();
    let file = router.path.with_file_name("file");
    std::fs::write(&file, "precious").unwrap();
    let refused = bus.listen(&BusUrl::Unix(file.clone()), &tasks, stop.clone()).await;
    assert!(matches!(refused, Err(ListenError::Bind { .. })), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    stop.cancel();
}

#[tokio::test]
async fn tcp_works_the_same() {
    let (bus, tasks, stop) = (Bus::new(), TaskTracker::new(), CancellationToken::new());
    let listening = bus.listen(&"tcp://127.0.0.1:0".parse().unwrap(), &tasks, stop.clone()).await.unwrap();
    assert!(!matches!(listening.url(), BusUrl::Tcp { port: 0, .. }));
    let client = Bus::connect(listening.url(), "test").await.unwrap();
    let request = golem_bus::RawRequest {
        caller: golem_model::Caller::local(),
        address: "/nobody".into(),
        data: golem_bus::Payload::empty(),
        no_reply: false,
    };
    let answer = client.call_single(request, DEADLINE).await;
    assert_eq!(answer.err(), Some(golem_bus::BusError::BadRequest("endpoint address not found".into())));
    stop.cancel();
}
