//! A client that is nothing but a socket, so that it can do what no good client does.

use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use golem_bus::wire::{self, CallReply, CallRequest, Hello, Kind, Nothing, Outcome, Register, code};
use golem_bus::{Bus, BusUrl, KeepAlive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longer than anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A router on a socket of its own.
pub(crate) struct Router {
    pub(crate) bus: Bus,
    pub(crate) path: PathBuf,
    pub(crate) url: BusUrl,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    _dir: tempfile::TempDir,
}

impl Router {
    pub(crate) async fn start() -> Self {
        Self::start_with(KeepAlive::default()).await
    }

    pub(crate) async fn start_with(keep_alive: KeepAlive) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus.sock");
        let url = BusUrl::Unix(path.clone());
        let (bus, tasks, stop) = (Bus::new(), TaskTracker::new(), CancellationToken::new());
        bus.listen_with(&url, keep_alive, &tasks, stop.clone()).await.unwrap();
        Self { bus, path, url, stop, tasks, _dir: dir }
    }

    /// A client that says nothing yet.
    pub(crate) async fn silent(&self) -> Raw {
        let mut raw = Raw::new(UnixStream::connect(&self.path).await.unwrap());
        assert!(matches!(raw.next().await, Some(Kind::Hello(_))), "the router greets at once");
        raw
    }

    pub(crate) async fn client(&self, instance_id: &'static [u8]) -> Raw {
        let mut raw = self.silent().await;
        raw.send(hello(instance_id)).await;
        raw
    }
}

pub(crate) fn hello(instance_id: &'static [u8]) -> Kind {
    Kind::Hello(Hello { name: "raw".into(), version: "0".into(), instance_id: Bytes::from_static(instance_id) })
}

pub(crate) struct Raw {
    stream: UnixStream,
    input: BytesMut,
}

impl Raw {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, input: BytesMut::new() }
    }

    pub(crate) async fn send(&mut self, kind: Kind) {
        let mut frame = BytesMut::new();
        assert!(wire::write_frame(kind, &mut frame));
        self.send_bytes(&frame).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        tokio::time::timeout(DEADLINE, self.stream.write_all(bytes)).await.expect("the router reads").unwrap();
    }

    /// The next packet; `None` when the router has closed.
    pub(crate) async fn next(&mut self) -> Option<Kind> {
        loop {
            if let Some(kind) = wire::read_frame(&mut self.input).unwrap() {
                return Some(kind);
            }
            let read = tokio::time::timeout(DEADLINE, self.stream.read_buf(&mut self.input)).await;
            match read.expect("the router sends something") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(crate) async fn ask(&mut self, kind: Kind) -> Kind {
        self.send(kind).await;
        self.next().await.expect("the connection lives")
    }

    /// Registers and returns the code.
    pub(crate) async fn register(&mut self, id: &str) -> i32 {
        match self.ask(Kind::Register(Register { service_id: id.into() })).await {
            Kind::RegisterReply(Outcome { code, message }) => {
                assert!(code != code::CONFLICT || message.is_empty());
                code
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn unregister(&mut self, id: &str) -> i32 {
        match self.ask(Kind::Unregister(Register { service_id: id.into() })).await {
            Kind::UnregisterReply(outcome) => outcome.code,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn send_call(&mut self, address: &str, request_id: &str, data: impl Into<Bytes>) {
        self.send(call(address, request_id, data)).await;
    }

    /// The next packet is a call.
    pub(crate) async fn taken_call(&mut self) -> CallRequest {
        match self.next().await {
            Some(Kind::Call(call)) => call,
            other => panic!("{other:?}"),
        }
    }

    /// The next packet is a reply.
    pub(crate) async fn reply(&mut self) -> CallReply {
        match self.next().await {
            Some(Kind::Reply(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn send_reply(&mut self, request_id: &str, reply_type: i32, data: impl Into<Bytes>) {
        let data = data.into();
        self.send(Kind::Reply(CallReply { request_id: request_id.into(), code: code::OK, reply_type, data })).await;
    }

    /// Everything sent so far is handled, and nothing has come back that was not read.
    pub(crate) async fn is_quiet(&mut self) {
        assert_eq!(self.ask(Kind::Ping(Nothing {})).await, Kind::Pong(Nothing {}));
    }

    pub(crate) async fn is_closed(&mut self) {
        assert_eq!(self.next().await, None);
    }
}

pub(crate) fn call(address: &str, request_id: &str, data: impl Into<Bytes>) -> Kind {
    Kind::Call(CallRequest {
        caller: "local".into(),
        address: address.into(),
        request_id: request_id.into(),
        data: data.into(),
        no_reply: false,
    })
}

pub(crate) fn failed(request_id: &str, code: i32, text: &str) -> CallReply {
    let data = Bytes::copy_from_slice(text.as_bytes());
    CallReply { request_id: request_id.into(), code, reply_type: wire::FULL, data }
}
