//! The door of the REST interface over a real socket (spec 21 §5).
#![expect(clippy::unwrap_used, reason = "test code")]

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use golem_api_rest::{AppKeys, Cors, Identity, Json, Limits, Shell, serve};
use golem_model::NodeId;
use golem_model::app_key::AppKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

struct Door {
    address: std::net::SocketAddr,
    keys: AppKeys,
    tasks: TaskTracker,
    stop: CancellationToken,
}

fn key(name: &str, key: &str, origins: &[&str]) -> AppKey {
    AppKey {
        name: name.to_owned(),
        key: key.to_owned(),
        role: "manager".to_owned(),
        identity: NodeId::from([7; 20]),
        created_date: "2026-01-01T00:00:00".parse().unwrap(),
        allow_origins: origins.iter().map(|o| (*o).to_owned()).collect(),
    }
}

async fn door(limits: Limits) -> Door {
    let keys = AppKeys::new();
    keys.insert(&key("test", "secret", &["http://a.example"]));
    let routes = Router::new()
        .route("/market-api/v1/who", get(|who: Identity| async move { who.node_id.to_string() }))
        .route("/market-api/v1/echo", post(|Json(body): Json<serde_json::Value>| async move { Json(body) }))
        .route("/version/get", get(|| async { "1" }))
        .route("/slow", get(|| async { std::future::pending::<()>().await }));
    let cors = Cors { origins: vec!["http://global.example".to_owned()], ..Cors::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    serve(listener, Shell::new(keys.clone(), cors, routes), limits, &tasks, stop.clone());
    Door { address, keys, tasks, stop }
}

impl Door {
    async fn send(&self, head: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{head}\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.to_ascii_lowercase()
    }

    async fn check(&self, head: &str, status: u16, body: &str) -> String {
        let answer = self.send(head).await;
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{head}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{head}: {answer}");
        answer
    }
}

#[tokio::test]
async fn a_key_opens_the_door_and_nothing_else_does() {
    let door = door(Limits::default()).await;
    let id = NodeId::from([7; 20]);
    let me = format!(r#"{{"identity":"{id}","name":"test","role":"manager"}}"#);
    for path in ["/me", "/market-api/v1/who", "/nothing"] {
        let answer = door.check(&format!("GET {path} HTTP/1.1"), 401, "missing application key").await;
        assert!(answer.contains("content-type: text/plain; charset=utf-8"), "{answer}");
        door.check(&format!("GET {path} HTTP/1.1\r\nauthorization: Bearer nope"), 401, "invalid application key").await;
        door.check(&format!("GET {path} HTTP/1.1\r\nauthorization: Basic secret"), 401, "missing application key")
            .await;
    }
    door.check("GET /me HTTP/1.1\r\nauthorization: Bearer secret", 200, &me).await;
    door.check("GET /me HTTP/1.1\r\nauthorization: bearer secret", 200, &me).await;
    door.check("GET /me?authToken=secret HTTP/1.1", 200, &me).await;
    door.check("GET /me?authToken=secret HTTP/1.1\r\nauthorization: Bearer nope", 401, "invalid application key").await;
    door.check("GET /market-api/v1/who HTTP/1.1\r\nauthorization: Bearer secret", 200, &id.to_string()).await;
    door.check("GET /nothing HTTP/1.1\r\nauthorization: Bearer secret", 404, "").await;
    door.check("DELETE /market-api/v1/who HTTP/1.1\r\nauthorization: Bearer secret", 404, "").await;
    door.check("GET /version/get HTTP/1.1", 200, "1").await;
    door.keys.remove("secret");
    door.check("GET /me HTTP/1.1\r\nauthorization: Bearer secret", 401, "invalid application key").await;
}

#[tokio::test]
async fn origins_are_allowed_by_the_global_list_or_by_the_key_of_the_header() {
    let door = door(Limits::default()).await;
    let preflight = "OPTIONS /market-api/v1/who HTTP/1.1\r\naccess-control-request-method: GET\r\naccess-control-request-headers: authorization";
    for origin in ["http://global.example", "http://a.example"] {
        let answer = door.check(&format!("{preflight}\r\norigin: {origin}"), 200, "").await;
        for line in [
            &format!("access-control-allow-origin: {origin}\r\n"),
            "access-control-allow-headers: authorization\r\n",
            "access-control-max-age: 3600\r\n",
        ] {
            assert!(answer.contains(line), "{answer}");
        }
    }
    let refused = "origin is not allowed to make this request";
    door.check(&format!("{preflight}\r\norigin: http://b.example"), 400, refused).await;
    let allows = async |head: &str| door.send(head).await.contains("access-control-allow-origin");
    assert!(allows("GET /me HTTP/1.1\r\nauthorization: Bearer secret\r\norigin: http://a.example").await);
    assert!(!allows("GET /me HTTP/1.1\r\nauthorization: Bearer secret\r\norigin: http://b.example").await);
    assert!(!allows("GET /me?authToken=secret HTTP/1.1\r\norigin: http://a.example").await);
    assert!(allows("GET /me?authToken=secret HTTP/1.1\r\norigin: http://global.example").await);
    assert!(allows("GET /me HTTP/1.1\r\norigin: http://a.example").await);
    door.check("OPTIONS /me HTTP/1.1\r\norigin: http://a.example", 401, "missing application key").await;
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off() {
    let door = door(Limits { keep_alive: Duration::from_millis(50), ..Limits::default() }).await;
    let mut slow = TcpStream::connect(door.address).await.unwrap();
    slow.write_all(b"GET /me HTTP/1.1\r\nx: ").await.unwrap();
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest).await;
    let mut large = TcpStream::connect(door.address).await.unwrap();
    let field = format!("GET /me HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(400_000));
    let _ = large.write_all(field.as_bytes()).await;
    let mut answer = String::new();
    let _ = large.read_to_string(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn a_crowd_waits_without_harm() {
    let limits = Limits {
        keep_alive: Duration::from_secs(60),
        keep_alive_crowded: Duration::from_millis(20),
        connections_max: 4,
    };
    let door = door(limits).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(TcpStream::connect(door.address).await.unwrap());
    }
    // Two of four keep their place; the others were let in with little patience and make room.
    door.check("GET /version/get HTTP/1.1", 200, "1").await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_those_who_wait() {
    let door = door(Limits::default()).await;
    let mut poll = TcpStream::connect(door.address).await.unwrap();
    poll.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\nauthorization: Bearer secret\r\n\r\n").await.unwrap();
    door.check("GET /version/get HTTP/1.1", 200, "1").await;
    door.stop.cancel();
    door.tasks.close();
    tokio::time::timeout(Duration::from_secs(2), door.tasks.wait()).await.unwrap();
}
