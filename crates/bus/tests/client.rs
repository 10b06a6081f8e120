//! `Bus` as a caller and as a callee: in one process, and over a socket (spec 20 §3.2, §5, §8).
#![cfg(test)]
#![cfg(unix)]

#[path = "support/client.rs"]
#[expect(dead_code, reason = "shared with the router's tests")]
mod client;

use std::time::Duration;

use bytes::Bytes;
use client::{DEADLINE, Raw, Router};
use futures::future::join_all;
use futures::{StreamExt, stream};
use golem_bus::wire::{CallReply, FULL, Kind, Nothing, Outcome, PARTIAL, Register, code};
use golem_bus::{Bus, BusError, BusUrl, CallError, ConnectError, Payload, RawReply, RawRequest, decode, flexbuf};
use golem_model::{Call, Caller, StreamCall};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Echo {
    text: String,
    /// Only a value that was never encoded still has it.
    #[serde(skip)]
    mark: u32,
}

impl Call for Echo {
    const ID: &'static str = "Echo";
    type Item = Self;
    type Error = String;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Count(u32);

impl StreamCall for Count {
    const ID: &'static str = "Count";
    type Item = u32;
    type Error = String;
}

fn echo(text: &str) -> Echo {
    Echo { text: text.into(), mark: 7 }
}

fn bind_all(bus: &Bus) {
    bus.bind("/s", |caller: Caller, call: Echo| async move {
        match &*call.text {
            "fail" => Err(format!("no, {caller}")),
            "panic" => panic!("on purpose"),
            _ => Ok(call),
        }
    });
    bus.bind_stream("/s", |_, Count(to): Count| {
        stream::iter((0..to).map(Ok).chain((to == 3).then(|| Err("three".to_owned()))))
    });
}

async fn check_calls(bus: &Bus, mark: u32) {
    let call = |text: &str| bus.call("/s", Caller::from("me"), echo(text), DEADLINE);
    assert_eq!(call("hello").await, Ok(Echo { text: "hello".into(), mark }));
    assert_eq!(call("fail").await, Err(CallError::Service("no, me".into())));
    let panicked = call("panic").await;
    assert!(matches!(panicked, Err(CallError::Bus(BusError::Failure(_)))), "{panicked:?}");
    let nobody = bus.call("/nobody", Caller::local(), echo("x"), DEADLINE).await;
    assert_eq!(nobody, Err(CallError::Bus(BusError::BadRequest("endpoint address not found".into()))));

    let items: Vec<_> = bus.call_stream("/s", Caller::local(), Count(2000)).collect().await;
    assert_eq!(items, (0..2000).map(Ok).collect::<Vec<_>>());
    let items: Vec<_> = bus.call_stream("/s", Caller::local(), Count(3)).collect().await;
    assert_eq!(items.last(), Some(&Err(CallError::Service("three".into()))));
    assert_eq!(items.len(), 4);

    // A stream is no single answer, and no endpoint below a typed one.
    let raw =
        |address: &str, data| RawRequest { caller: Caller::local(), address: address.into(), data, no_reply: false };
    let streamed = bus.call_single(raw("/s/Count", Payload::value(Count(2))), DEADLINE).await;
    assert_eq!(streamed.err(), Some(BusError::Streaming));
    let below = bus.call_single(raw("/s/Echo/x", Payload::value(echo("x"))), DEADLINE).await;
    assert_eq!(below.err(), Some(BusError::Failure("No such endpoint `/s/Echo/x`".into())));
    let Err(BusError::Failure(text)) = bus.call_single(raw("/s/Echo", Payload::from(vec![1, 2, 3])), DEADLINE).await
    else {
        panic!("bytes that are no message were taken");
    };
    assert!(text.starts_with("Bad content: "), "{text}");
}

#[tokio::test]
async fn calls_inside_a_process_pass_values() {
    let bus = Bus::new();
    bind_all(&bus);
    check_calls(&bus, 7).await;
}

#[tokio::test]
async fn calls_over_a_socket_both_ways() {
    let router = Router::start().await;
    let client = Bus::connect(&router.url, "test").await.unwrap();
    bind_all(&router.bus);
    check_calls(&client, 0).await;
    router.bus.unbind("/s");

    bind_all(&client);
    assert!(client.bound().await);
    check_calls(&router.bus, 0).await;
    let other = Bus::connect(&router.url, "other").await.unwrap();
    check_calls(&other, 0).await;
    check_calls(&client, 7).await;

    // Binding again replaces; what is unbound is gone, everywhere.
    client.bind("/s", |_, call: Echo| async move { Ok(Echo { text: format!("second {}", call.text), mark: 0 }) });
    let second = other.call("/s", Caller::local(), echo("x"), DEADLINE).await.unwrap();
    assert_eq!(second.text, "second x");
    client.unbind("/s");
    let gone = client.call("/s", Caller::local(), echo("x"), DEADLINE).await;
    assert_eq!(gone, Err(CallError::Bus(BusError::BadRequest("endpoint address not found".into()))));
    assert!(!router.bus.is_bound("/s/Echo"));
}

#[tokio::test]
async fn many_calls_at_once_get_their_own_answers() {
    let router = Router::start().await;
    let (callee, caller) = tokio::join!(Bus::connect(&router.url, "callee"), Bus::connect(&router.url, "caller"));
    let (callee, caller) = (callee.unwrap(), caller.unwrap());
    callee.bind("/s", |_, call: Echo| async move {
        for _ in 0..call.text.len() % 7 {
            tokio::task::yield_now().await;
        }
        Ok(call)
    });
    assert!(callee.bound().await);
    let texts: Vec<String> = (0..500).map(|n| "x".repeat(n)).collect();
    let answers = join_all(texts.iter().map(|text| caller.call("/s", Caller::local(), echo(text), DEADLINE))).await;
    for (text, answer) in texts.iter().zip(answers) {
        assert_eq!(&answer.unwrap().text, text);
    }
}

#[tokio::test]
async fn a_message_without_reply_arrives() {
    let router = Router::start().await;
    let client = Bus::connect(&router.url, "test").await.unwrap();
    let (sent, mut got) = tokio::sync::mpsc::channel(4);
    router.bus.bind("/s", move |caller: Caller, call: Echo| {
        let sent = sent.clone();
        async move {
            sent.send((caller, call.text)).await.map_err(|error| error.to_string())?;
            Err("nobody hears this".into())
        }
    });
    client.push("/s", Caller::from("me"), echo("over the socket"));
    assert_eq!(got.recv().await, Some((Caller::from("me"), "over the socket".into())));
    router.bus.push("/s", Caller::local(), echo("in the process"));
    assert_eq!(got.recv().await, Some((Caller::local(), "in the process".into())));
}

#[tokio::test]
async fn raw_services_pass_on_what_they_do_not_know() {
    let router = Router::start().await;
    let far = Bus::new();
    bind_all(&far);
    router.bus.bind_raw("/net", {
        std::sync::Arc::new(move |request: RawRequest| -> RawReply {
            let address = request.address.replacen("/net/peer", "", 1);
            far.call_raw(RawRequest { address, ..request })
        })
    });
    let client = Bus::connect(&router.url, "test").await.unwrap();
    let answer = client.call("/net/peer/s", Caller::from("me"), echo("far"), DEADLINE).await.unwrap();
    assert_eq!(answer.text, "far");
    let items: Vec<_> = client.call_stream("/net/peer/s", Caller::local(), Count(5)).collect().await;
    assert_eq!(items, (0..5).map(Ok).collect::<Vec<_>>());
    // The error of the far side keeps its text (spec 20 §5.5).
    let nobody = client.call("/net/peer/nobody", Caller::local(), echo("x"), DEADLINE).await;
    assert_eq!(nobody, Err(CallError::Bus(BusError::BadRequest("endpoint address not found".into()))));
}

/// A router of a few lines, to see what a client sends.
struct Script {
    listener: UnixListener,
    url: BusUrl,
    _dir: tempfile::TempDir,
}

impl Script {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus.sock");
        Self { listener: UnixListener::bind(&path).unwrap(), url: BusUrl::Unix(path), _dir: dir }
    }

    /// The next connection, and the instance id of its Hello.
    async fn accept(&self) -> (Raw, Bytes) {
        let (stream, _) = tokio::time::timeout(DEADLINE, self.listener.accept()).await.unwrap().unwrap();
        let mut raw = Raw::new(stream);
        match raw.next().await {
            Some(Kind::Hello(hello)) => (raw, hello.instance_id),
            other => panic!("{other:?}"),
        }
    }
}

async fn expect_register(raw: &mut Raw, id: &str, answer: i32) {
    assert_eq!(raw.next().await, Some(Kind::Register(Register { service_id: id.into() })));
    raw.send(Kind::RegisterReply(Outcome::code(answer))).await;
}

#[tokio::test]
async fn a_client_that_loses_its_router_comes_back_with_all_it_bound() {
    let script = Script::new();
    let (bus, accepted) = tokio::join!(Bus::connect(&script.url, "test"), script.accept());
    let (bus, (mut raw, instance)) = (bus.unwrap(), accepted);
    assert_eq!(instance.len(), 16);
    bus.bind("/s", |_, call: Echo| async move { Ok(call) });
    expect_register(&mut raw, "/s/Echo", code::OK).await;
    assert!(bus.bound().await);
    assert_eq!(raw.ask(Kind::Ping(Nothing {})).await, Kind::Pong(Nothing {}));

    // A call that is open at the loss fails; one made during the absence waits for the new connection.
    let open = bus.call("/other", Caller::local(), echo("lost"), DEADLINE);
    let (open, ()) = tokio::join!(open, async {
        assert_eq!(raw.taken_call().await.address, "/other/Echo");
        drop(raw);
    });
    assert_eq!(open, Err(CallError::Bus(BusError::Failure("lost connection".into()))));
    let waiting = bus.call("/other", Caller::local(), echo("patient"), DEADLINE);
    let (waiting, ()) = tokio::join!(waiting, async {
        let (mut raw, again) = script.accept().await;
        assert_eq!(again, instance, "so that the router drops the old connection");
        expect_register(&mut raw, "/s/Echo", code::OK).await;
        let call = raw.taken_call().await;
        let answer: Result<Echo, String> = Ok(decode(&call.data).unwrap());
        raw.send_reply(&call.request_id, FULL, flexbuf::to_vec(&answer).unwrap()).await;
    });
    assert_eq!(waiting.unwrap().text, "patient");
}

#[tokio::test]
async fn a_refused_registration_is_tried_again_while_it_is_bound() {
    let script = Script::new();
    let (bus, accepted) = tokio::join!(Bus::connect(&script.url, "test"), script.accept());
    let (bus, (mut raw, _)) = (bus.unwrap(), accepted);
    bus.bind("/s", |_, call: Echo| async move { Ok(call) });
    expect_register(&mut raw, "/s/Echo", code::CONFLICT).await;
    assert!(!bus.bound().await);
    expect_register(&mut raw, "/s/Echo", code::OK).await;
    assert!(bus.bound().await);

    // Refused when it is already unbound: no trouble of anybody.
    bus.bind("/t", |_, call: Echo| async move { Ok(call) });
    bus.unbind("/t");
    expect_register(&mut raw, "/t/Echo", code::CONFLICT).await;
    assert!(matches!(raw.next().await, Some(Kind::Unregister(_))));
    assert!(bus.bound().await);
}

#[tokio::test]
async fn odd_replies_are_errors_not_hangs() {
    let script = Script::new();
    let (bus, accepted) = tokio::join!(Bus::connect(&script.url, "test"), script.accept());
    let (bus, (mut raw, _)) = (bus.unwrap(), accepted);
    for (code, reply_type, data, expected) in [
        (code::OK, FULL, &b""[..], BusError::Empty),
        (code::OK, PARTIAL, b"\0\0\x01", BusError::Streaming),
        (code::BAD_REQUEST, FULL, b"why", BusError::BadRequest("why".into())),
        (code::FAILURE, FULL, b"boom", BusError::Failure("boom".into())),
        (999, FULL, b"odd", BusError::Failure("odd".into())),
    ] {
        let call = bus.call("/other", Caller::local(), echo("x"), DEADLINE);
        let (answer, ()) = tokio::join!(call, async {
            let request_id = raw.taken_call().await.request_id;
            assert!(request_id.parse::<u64>().unwrap() < 1 << 53);
            raw.send(Kind::Reply(CallReply { request_id, code, reply_type, data: Bytes::from_static(data) })).await;
        });
        assert_eq!(answer, Err(CallError::Bus(expected)));
    }
    let late = bus.call("/other", Caller::local(), echo("x"), Duration::from_millis(20)).await;
    assert!(matches!(late, Err(CallError::Bus(BusError::Timeout { .. }))), "{late:?}");
}

#[tokio::test]
async fn a_long_stream_needs_no_more_room_than_what_is_unread() {
    // More than the queue of one call may hold, but never unread at once, and never quite read either.
    const CHUNKS: usize = 300;
    let script = Script::new();
    let (bus, accepted) = tokio::join!(Bus::connect(&script.url, "test"), script.accept());
    let (bus, (mut raw, _)) = (bus.unwrap(), accepted);
    let request =
        RawRequest { caller: Caller::local(), address: "/far/x".into(), data: Payload::empty(), no_reply: false };
    let mut reply = bus.call_raw(request);
    let id = raw.taken_call().await.request_id;
    let chunk = Bytes::from(vec![0; 1 << 20]);
    for sent in 0..CHUNKS {
        raw.send_reply(&id, PARTIAL, chunk.clone()).await;
        // Two stay unread; the client has them when it answers.
        raw.is_quiet().await;
        if sent >= 2 {
            reply.next().await.unwrap().unwrap();
        }
    }
    raw.send_reply(&id, FULL, "").await;
    let rest: Vec<_> = reply.collect().await;
    assert_eq!(rest.len(), 3);
    assert!(rest.iter().all(Result::is_ok));
}

#[tokio::test]
async fn no_router_is_an_error_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let url = BusUrl::Unix(dir.path().join("nobody.sock"));
    let refused = Bus::connect(&url, "test").await.unwrap_err();
    assert!(matches!(refused, ConnectError::Connect { .. }) && refused.to_string().contains("hint: "), "{refused}");
}
