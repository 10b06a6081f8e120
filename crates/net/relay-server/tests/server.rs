//! A relay under fire, over HTTP, and as a program (spec 10 §13.3, §13.4).
#![cfg(test)]
#![cfg(unix)]

#[path = "support/probe.rs"]
#[expect(dead_code, reason = "shared with the recorded conversation")]
mod probe;

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Command, ExitCode, Output, Stdio};

use bytes::Bytes;
use golem_keys::SecretKey;
use golem_net_relay_server::{Handle, routes, run};
use golem_net_relay_wire::message::{
    ControlKind, Disconnected, DisconnectedBy, Empty, Packet, RequestKind, ResponseKind,
};
use golem_net_relay_wire::{Datagram, SessionId};
use probe::{Probe, relay};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

#[tokio::test]
async fn hostile_datagrams_change_nothing() {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let relay = relay(&tasks, &stop);
    let (good, bad) = (Probe::new(relay.addr()).await, Probe::new(relay.addr()).await);
    let session = good.open(&key(1)).await;
    good.register(session, 3).await;

    // Any bytes, any bytes behind the first byte of a packet or of a forward, and the session of somebody else.
    let mut runner = TestRunner::deterministic();
    let any = proptest::collection::vec(proptest::num::u8::ANY, 0..200);
    for round in 0..500 {
        let mut bytes = any.new_tree(&mut runner).unwrap().current();
        match round % 3 {
            0 => {}
            1 => bytes.splice(0..0, [[0x12, 16].as_slice(), session.as_bytes()].concat()).for_each(drop),
            _ => bytes.splice(0..0, [[0x0a].as_slice(), session.as_bytes()].concat()).for_each(drop),
        }
        bad.send(&bytes).await;
    }
    let gone = Disconnected { by: Some(DisconnectedBy::SessionId(Bytes::copy_from_slice(session.as_bytes()))) };
    bad.send(&Datagram::Packet(Packet::control(session, ControlKind::Disconnected(gone))).encode()).await;
    bad.send(&vec![0x12; 60_000]).await;

    let pong = good.ask(Packet::request(Some(session), 9, RequestKind::Ping(Empty {}))).await;
    assert!(matches!(pong.kind, Some(ResponseKind::Pong(_))));
    let report = relay.report().await.unwrap();
    assert_eq!((report.sessions, report.counters.sessions_removed), (1, 0));
    assert!(report.counters.malformed > 0);
    stop.cancel();
}

/// One request to `routes`; status and body.
async fn get(relay: &Handle, path: &str) -> (u16, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = axum::serve(listener, routes(relay.clone())).with_graceful_shutdown(stop.clone().cancelled_owned());
    let ask = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        stop.cancel();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    };
    let (served, answer) = tokio::join!(server.into_future(), ask);
    served.unwrap();
    answer
}

#[tokio::test]
async fn counters_and_nodes_over_http() {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let relay = relay(&tasks, &stop);
    let probe = Probe::new(relay.addr()).await;
    assert_eq!(get(&relay, "/sessions").await, (200, "sessions: 0".into()));
    assert_eq!(get(&relay, "/nodes/all").await, (200, "{}".into()));
    let (key, other) = (key(1), Probe::new(relay.addr()).await);
    let session = probe.open(&key).await;
    probe.register(session, 3).await;
    let unregistered = other.open(&self::key(2)).await;

    assert_eq!(get(&relay, "/sessions").await, (200, "sessions: 2".into()));
    let id = key.node_id().to_string();
    for prefix in ["all", &id[2..], &id, &id[2..6], &id[2..6].to_uppercase()] {
        let (status, body) = get(&relay, &format!("/nodes/{prefix}")).await;
        let nodes: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, nodes.as_object().unwrap().len()), (200, 1), "{prefix} {body}");
        let entry = &nodes[&id][0];
        assert_eq!(entry["peer"], probe.address().to_string());
        assert_eq!(entry["addrStatus"], "Valid");
        assert!(entry["seen"].as_str().unwrap().ends_with(" ago"), "{entry}");
        assert!(entry["supportedEncryptions"].is_array());
        // Whoever knows a session id can speak for its node.
        for secret in [session, unregistered] {
            assert!(!body.contains(&secret.to_string()) && !body.contains("sessionId"));
        }
    }
    assert_eq!(get(&relay, "/nodes/zz").await.1, "{}");
    assert_eq!(get(&relay, "/else").await.0, 404);
    for path in ["/", "/metrics"] {
        let (status, body) = get(&relay, path).await;
        assert_eq!(status, 200);
        for line in [
            "ya_relay_session 2",
            "ya_relay_session_created 2",
            "ya_relay_session_establish_register 1",
            "ya_relay_packet_forward 0",
        ] {
            assert!(body.lines().any(|other| other == line), "{line} in {body}");
        }
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    assert_eq!(get(&relay, "/sessions").await.0, 503);
}

const ARGS: &str = "RELAY_TEST_ARGS";
const CODE: &str = "RELAY_TEST_CODE";

/// The program, when another test starts this one as a process of its own.
#[test]
fn program() {
    let (Ok(args), Ok(code)) = (std::env::var(ARGS), std::env::var(CODE)) else { return };
    let args = std::iter::once("ya-relay-server").chain(args.split_whitespace()).map(Into::into);
    // An `ExitCode` can be compared by its look only.
    assert_eq!(format!("{:?}", run(args)), format!("{:?}", ExitCode::from(code.parse::<u8>().unwrap())));
}

fn command(args: &str, code: u8) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "program", "--nocapture"]).env(ARGS, args).env(CODE, code.to_string());
    for name in ["RELAY_LISTEN_ON", "METRICS_SCRAPE_ADDR", "STATE_DIRECTORY", "DIFFICULTY", "SALT", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

fn run_to_end(args: &str, code: u8) -> (String, String) {
    let Output { status, stdout, stderr } = command(args, code).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "`{args}`: {stdout}{stderr}");
    (stdout, stderr)
}

#[test]
fn help_names_every_option_and_its_default() {
    let (help, _) = run_to_end("--help", 0);
    for text in [
        "-a, --listen-on",
        "RELAY_LISTEN_ON",
        "0.0.0.0:7477",
        "--metrics-scrape-addr",
        "METRICS_SCRAPE_ADDR",
        "127.0.0.1:9000",
        "--state-dir",
        "STATE_DIRECTORY",
        "--session-cleaner-interval",
        "SESSION_CLEANER_INTERVAL",
        "10s",
        "--session-purge-timeout",
        "SESSION_PURGE_TIMEOUT",
        "10min",
        "--difficulty",
        "DIFFICULTY",
        "16",
        "--salt",
        "SALT",
        "--ip-check-timeout",
        "IP_CHECK_TIMEOUT",
        "1s",
        "--ip-check-retry-cnt",
        "IP_CHECK_RETRY_CNT",
        "3",
        "--ip-check-retry",
        "200ms",
    ] {
        assert!(help.contains(text), "{text} in {help}");
    }
    let (version, _) = run_to_end("--version", 0);
    assert!(version.contains("ya-relay-server "), "{version}");
}

#[test]
fn usage_errors_say_what_is_wrong() {
    for (args, told) in [
        ("--listen-on nowhere", "--listen-on"),
        ("--listen-on [::1]:7477", "--listen-on"),
        ("--difficulty 29", "--difficulty"),
        ("--salt 1234", "32 hex digits"),
        ("--ip-check-retry soon", "--ip-check-retry"),
        ("--no-such-option", "--no-such-option"),
        ("stray", "stray"),
    ] {
        let (_, stderr) = run_to_end(args, 2);
        assert!(stderr.contains("error: ") && stderr.contains(told), "`{args}`: {stderr}");
    }
}

#[test]
fn a_taken_port_is_an_error_with_its_cause() {
    let taken = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let (_, stderr) =
        run_to_end(&format!("-a {address} --metrics-scrape-addr none --workers 4 --tasks-per-worker 32"), 1);
    assert!(
        stderr.contains(&format!("cannot bind the relay to udp `{address}`")) && stderr.contains("cause: "),
        "{stderr}"
    );
}

#[tokio::test]
async fn the_program_keeps_slots_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let args = format!("-a 127.0.0.1:0 --metrics-scrape-addr none --difficulty 2 --state-dir {}", dir.path().display());
    for round in 1..=2 {
        let mut child = command(&args, 0).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.by_ref().find_map(|line| Some(line.split_once("127.0.0.1:")?.1.trim().to_owned())).unwrap();
        let port: String = address.chars().take_while(char::is_ascii_digit).collect();
        let probe = Probe::new((Ipv4Addr::LOCALHOST, port.parse().unwrap()).into()).await;
        let session: SessionId = probe.open(&key(round)).await;
        probe.register(session, 3).await;
        let node = golem_net_relay_wire::message::NodeRequest {
            node_id: Bytes::copy_from_slice(key(round).node_id().as_bytes()),
            public_key: true,
        };
        let found = probe.ask(Packet::request(Some(session), 4, RequestKind::Node(node))).await;
        assert!(
            matches!(found.kind, Some(ResponseKind::Node(node)) if node.slot == u32::from(round)),
            "each has its own"
        );
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        assert!(child.wait().unwrap().success());
        let slots = std::fs::read(dir.path().join("slots.state")).unwrap();
        let expected: Vec<u8> = [vec![0; 20]]
            .into_iter()
            .chain((1..=round).map(|n| key(n).node_id().as_bytes().to_vec()))
            .flatten()
            .collect();
        assert_eq!(slots, expected);
    }
}
