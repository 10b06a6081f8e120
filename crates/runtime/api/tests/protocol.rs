//! Both ends of the blocking protocol against each other and against known bytes (spec 52 §3).
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine;
use golem_runtime_api::frame::{FrameError, Reader, encode};
use golem_runtime_api::proto::{
    Command, CreateNetwork, Endpoint, ErrorCode, ErrorReply, Interface, KillProcess, ProcessStatus, Reply, Request,
    Response, RunProcess, StatusKind,
};
use golem_runtime_api::{Client, ClientError, Events, RequestIds, RuntimeEvent, Service, serve};
use proptest::prelude::*;
use prost::Message;
use serde_json::{Map, Value, json};

fn vectors(name: &str) -> Value {
    let path = format!("{}/../../../tests/vectors/exe/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test]
async fn known_frames_are_read_and_written_byte_for_byte() {
    let all = vectors("runtime-api-protobuf.json");
    assert_eq!(all.as_array().unwrap().len(), 24);
    for vector in all.as_array().unwrap() {
        let bytes = hex::decode(vector["frame_hex"].as_str().unwrap()).unwrap();
        let (again, fields) = if vector["direction"] == "supervisor->runtime" {
            let request: Request = Reader::new(bytes.as_slice()).next().await.unwrap().unwrap();
            (encode(&request), request_fields(&request))
        } else {
            let response: Response = Reader::new(bytes.as_slice()).next().await.unwrap().unwrap();
            (encode(&response), response_fields(&response))
        };
        assert_eq!(hex::encode(again), hex::encode(&bytes), "{}", vector["name"]);
        assert_eq!(fields, vector["fields"], "{}", vector["name"]);
    }
}

/// An object of the fields that differ from their defaults, as the vectors list them.
fn object(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let empty = |value: &Value| match value {
        Value::String(text) => text.is_empty() || text == "0",
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(value) => !value,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Null => true,
    };
    let kept = fields.into_iter().filter(|(_, value)| !empty(value));
    Value::Object(kept.map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
}

/// Like `object`, with the kind, which stands even when it has no fields.
fn message(id: u64, event: bool, kind: &'static str, body: Value) -> Value {
    let mut all = object([("event", json!(event)), ("id", json!(id.to_string()))]);
    all[kind] = body;
    all
}

fn request_fields(request: &Request) -> Value {
    let output =
        |output: &Option<golem_runtime_api::proto::Output>| output.map_or(Value::Null, |o| json!({"at_end": o.at_end}));
    let (kind, body) = match request.command.as_ref().unwrap() {
        Command::Hello(hello) => ("hello", json!({"version": hello.version})),
        Command::Run(run) => (
            "run",
            object([
                ("bin", json!(run.bin)),
                ("args", json!(run.args)),
                ("work_dir", json!(run.work_dir)),
                ("stdout", output(&run.stdout)),
                ("stderr", output(&run.stderr)),
            ]),
        ),
        Command::Kill(kill) => ("kill", json!({"pid": kill.pid.to_string(), "signal": kill.signal})),
        Command::Shutdown(_) => ("shutdown", json!({})),
        Command::Network(network) => {
            let networks = network.networks.iter().map(|n| {
                let fields = [("addr", &n.addr), ("gateway", &n.gateway), ("mask", &n.mask), ("if_addr", &n.if_addr)];
                object(fields.map(|(key, value)| (key, json!(value))))
            });
            let interface = if network.interface() == Interface::Inet { json!("INET") } else { Value::Null };
            let networks = Value::Array(networks.collect());
            ("network", object([("networks", networks), ("hosts", json!(network.hosts)), ("interface", interface)]))
        }
    };
    message(request.id, false, kind, body)
}

fn response_fields(response: &Response) -> Value {
    let base64 = |bytes: &[u8]| json!(base64::engine::general_purpose::STANDARD.encode(bytes));
    let (kind, body) = match response.reply.as_ref().unwrap() {
        Reply::Error(error) => {
            let code = if error.code() == ErrorCode::NotFound { json!("NOT_FOUND") } else { Value::Null };
            ("error", object([("code", code), ("message", json!(error.message)), ("context", json!(error.context))]))
        }
        Reply::Hello(hello) => ("hello", json!({"version": hello.version})),
        Reply::Run(run) => ("run", object([("pid", json!(run.pid.to_string()))])),
        Reply::Kill(_) => ("kill", json!({})),
        Reply::Shutdown(_) => ("shutdown", json!({})),
        Reply::Status(status) => (
            "status",
            object([
                ("pid", json!(status.pid.to_string())),
                ("running", json!(status.running)),
                ("return_code", json!(status.return_code)),
                ("stdout", base64(&status.stdout)),
                ("stderr", base64(&status.stderr)),
            ]),
        ),
        Reply::RuntimeStatus(status) => match status.kind.as_ref().unwrap() {
            StatusKind::Counter(c) => ("rt_status", json!({"counter": {"name": c.name, "value": c.value}})),
            StatusKind::State(s) => ("rt_status", json!({"state": {"name": s.name, "value": base64(&s.value)}})),
        },
        Reply::Network(network) => match network.endpoint.as_ref().unwrap() {
            Endpoint::UnixStream(path) => ("network", json!({"unix_stream": path})),
            Endpoint::UnixDatagram(path) => ("network", json!({"unix_datagram": path})),
            Endpoint::UdpDatagram(address) => ("network", json!({"udp_datagram": address})),
            Endpoint::TcpListener(address) => ("network", json!({"tcp_listener": address})),
            Endpoint::TcpStream(address) => ("network", json!({"tcp_stream": address})),
        },
    };
    message(response.id, response.event, kind, body)
}

/// Answers like a runtime and keeps what it was asked.
#[derive(Default)]
struct Runtime {
    asked: Mutex<Vec<String>>,
    runs: Mutex<u64>,
}

impl Service for Runtime {
    async fn hello(&self, version: String) -> Result<String, ErrorReply> {
        self.asked.lock().unwrap().push(format!("hello {version}"));
        Ok("9.9".into())
    }
    async fn run(&self, run: RunProcess) -> Result<u64, ErrorReply> {
        if run.bin == "/bad" {
            return Err(ErrorReply::new(ErrorCode::NotFound, "no such program"));
        }
        let mut runs = self.runs.lock().unwrap();
        *runs += 1;
        Ok(*runs)
    }
    async fn kill(&self, kill: KillProcess) -> Result<(), ErrorReply> {
        self.asked.lock().unwrap().push(format!("kill {} {}", kill.pid, kill.signal));
        Ok(())
    }
    async fn create_network(&self, network: CreateNetwork) -> Result<Endpoint, ErrorReply> {
        Ok(Endpoint::UdpDatagram(format!("127.0.0.1:{}", network.networks.len())))
    }
    async fn shutdown(&self) -> Result<(), ErrorReply> {
        Ok(())
    }
}

#[tokio::test]
async fn both_ends_understand_each_other() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (their_read, their_write) = tokio::io::split(theirs);
    let (our_read, our_write) = tokio::io::split(ours);
    let events = Events::new(their_write);
    let runtime = Arc::new(Runtime::default());
    let (told, mut heard) = tokio::sync::mpsc::channel(8);
    let (client, reading) = Client::start(our_read, our_write, RequestIds::default(), told);

    let server = {
        let (events, runtime) = (events.clone(), Arc::clone(&runtime));
        async move { serve(their_read, &events, &*runtime).await.unwrap() }
    };
    let asking = client.clone();
    // Owns its end of the pipe, so that the pipe closes when it is done.
    let talk = async move {
        let client = asking;
        assert_eq!(client.hello().await.unwrap(), "9.9");
        let status = |pid, running, stdout: &'static str| ProcessStatus {
            pid,
            running,
            stdout: stdout.into(),
            ..ProcessStatus::default()
        };
        events.status(status(0, true, "started")).await.unwrap();
        let said = RuntimeEvent::Output { stdout: "started".into(), stderr: "".into() };
        assert_eq!(heard.recv().await.unwrap(), said);

        let run = |bin: &str| RunProcess { bin: bin.into(), ..RunProcess::default() };
        assert!(
            matches!(client.run(run("/bad")).await, Err(ClientError::Refused(e)) if e.message == "no such program")
        );
        let mut process = client.run(run("/good")).await.unwrap();
        assert_eq!(process.pid, 1);
        events.status(status(1, true, "out")).await.unwrap();
        events.counter("golem.usage.x", 2.5).await.unwrap();
        events.status(ProcessStatus { return_code: 7, ..status(1, false, "") }).await.unwrap();
        assert_eq!(process.statuses.recv().await.unwrap().stdout, "out");
        assert_eq!(process.statuses.recv().await.unwrap().return_code, 7);
        events.status(status(1, true, "late")).await.unwrap();
        assert_eq!(process.statuses.recv().await.unwrap().stdout, "late");
        drop(process);
        assert_eq!(heard.recv().await.unwrap(), RuntimeEvent::Counter { name: "golem.usage.x".into(), value: 2.5 });

        let network = CreateNetwork { networks: vec![], hosts: HashMap::new(), interface: Interface::Vpn.into() };
        assert_eq!(client.create_network(network).await.unwrap(), Some(Endpoint::UdpDatagram("127.0.0.1:0".into())));
        client.kill(1, 9).await.unwrap();
        client.shutdown().await.unwrap();
    };
    tokio::join!(server, async { reading.await.unwrap() }, talk);
    assert_eq!(*runtime.asked.lock().unwrap(), ["hello 0.1.0", "kill 1 9"]);
    assert_eq!(client.shutdown().await, Err(ClientError::Ended));
}

#[tokio::test]
async fn output_that_comes_before_its_process_is_named_is_kept() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (mut their_read, mut their_write) = tokio::io::split(theirs);
    let (our_read, our_write) = tokio::io::split(ours);
    let (told, _heard) = tokio::sync::mpsc::channel(8);
    let (client, reading) = Client::start(our_read, our_write, RequestIds::default(), told);
    let runtime = async move {
        use tokio::io::AsyncWriteExt;
        let request: Request = Reader::new(&mut their_read).next().await.unwrap().unwrap();
        assert_eq!(request.id, 2);
        let early = ProcessStatus { pid: 5, running: true, stdout: "early".into(), ..ProcessStatus::default() };
        let last = ProcessStatus { pid: 5, running: false, return_code: 3, ..ProcessStatus::default() };
        for reply in [Reply::Status(early), Reply::Status(last)] {
            their_write.write_all(&encode(&Response { event: true, id: 0, reply: Some(reply) })).await.unwrap();
        }
        let answer = Reply::Run(golem_runtime_api::proto::RunReply { pid: 5 });
        their_write.write_all(&encode(&Response { event: false, id: 2, reply: Some(answer) })).await.unwrap();
        their_write.shutdown().await.unwrap();
    };
    let asking = async {
        let mut process = client.run(RunProcess::default()).await.unwrap();
        assert_eq!(process.statuses.recv().await.unwrap().stdout, "early");
        assert_eq!(process.statuses.recv().await.unwrap().return_code, 3);
        assert!(process.statuses.recv().await.is_none());
    };
    tokio::join!(runtime, async { reading.await.unwrap() }, asking);
}

#[tokio::test]
async fn open_requests_fail_when_the_runtime_ends_or_talks_nonsense() {
    for nonsense in [&b""[..], b"hello world, I am no protocol", b"\xff\xff\xff\xff\xff\xff", b"\xff\xff\xff\xff\x01"] {
        let (told, _heard) = tokio::sync::mpsc::channel(8);
        let (client, reading) = Client::start(nonsense, tokio::io::sink(), RequestIds::default(), told);
        let (answer, end) = tokio::join!(client.hello(), reading);
        assert_eq!(answer, Err(ClientError::Ended));
        assert_eq!(end.is_ok(), nonsense.is_empty());
    }
}

#[tokio::test]
async fn a_frame_is_not_believed_its_length() {
    let mut reader = Reader::new(&b"\xff\xff\xff\x7f\x00"[..]);
    assert!(matches!(reader.next::<Request>().await, Err(FrameError::TooLong(_))));
    let mut reader = Reader::new(&b"\xff\xff\x03\x00"[..]);
    assert!(matches!(reader.next::<Request>().await, Err(FrameError::Io(_))));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        drop(Request::decode(bytes.as_slice()));
        drop(Response::decode(bytes.as_slice()));
        let read = async { let mut reader = Reader::new(bytes.as_slice()); while let Ok(Some(_)) = reader.next::<Response>().await {} };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(read);
    }
}
