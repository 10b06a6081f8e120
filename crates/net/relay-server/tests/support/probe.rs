//! A relay on loopback, and a socket that says to it whatever a test wants.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use golem_keys::SecretKey;
use golem_net_relay_server::{Config, Handle, start};
use golem_net_relay_wire::message::{
    ChallengeRequest, ChallengeResponse, Empty, Identity, Kind, NodeRequest, NodeResponse, Packet, Register,
    RequestKind, Response, ResponseKind, SessionRequest, StatusCode,
};
use golem_net_relay_wire::{Datagram, SessionId, challenge, proof};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const DIFFICULTY: u64 = 4;
pub(crate) const RETRIES: u32 = 3;

pub(crate) fn relay(tasks: &TaskTracker, stop: &CancellationToken) -> Handle {
    let mut config = Config::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    config.core.difficulty = DIFFICULTY;
    config.core.check_timeout = Duration::from_millis(300);
    config.core.check_retry_after = Duration::from_millis(20);
    config.core.check_retries = RETRIES;
    start(config, tasks, stop.clone()).unwrap()
}

/// One socket of a scripted node.
pub(crate) struct Probe {
    socket: UdpSocket,
    relay: SocketAddr,
}

impl Probe {
    pub(crate) async fn new(relay: SocketAddr) -> Self {
        Self { socket: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(), relay }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub(crate) async fn send(&self, data: &[u8]) {
        self.socket.send_to(data, self.relay).await.unwrap();
    }

    /// The next datagram, and whether it comes from the main socket of the relay.
    pub(crate) async fn next(&self) -> (Datagram, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let received = tokio::time::timeout(DEADLINE, self.socket.recv_from(&mut buffer)).await;
        let (len, from) = received.expect("an answer").unwrap();
        (Datagram::decode(Bytes::copy_from_slice(&buffer[..len])).unwrap(), from)
    }

    /// The next datagram is an answer from the address that was asked.
    pub(crate) async fn answer(&self) -> Datagram {
        let (datagram, from) = self.next().await;
        assert_eq!(from, self.relay, "{datagram:?}");
        datagram
    }

    pub(crate) async fn ask(&self, packet: Packet) -> Response {
        self.send(&Datagram::Packet(packet).encode()).await;
        match self.answer().await {
            Datagram::Packet(Packet { kind: Some(Kind::Response(response)), .. }) => response,
            other => panic!("{other:?}"),
        }
    }

    /// Everything sent so far is handled, and nothing has come back that was not read.
    pub(crate) async fn is_quiet(&self) {
        assert_eq!(self.until_quiet().await, []);
    }

    /// The same, but this may have come.
    pub(crate) async fn is_quiet_but_for(&self, allowed: &Datagram) {
        let came = self.until_quiet().await;
        assert!(came.iter().all(|datagram| datagram == allowed), "{came:?}");
    }

    async fn until_quiet(&self) -> Vec<Datagram> {
        let nobody = SessionId::from([0xee; 16]);
        let node = RequestKind::Node(NodeRequest { node_id: Bytes::from_static(&[9; 20]), public_key: false });
        self.send(&Datagram::Packet(Packet::request(Some(nobody), 123_456, node)).encode()).await;
        let last = ResponseKind::Node(NodeResponse::default());
        let last = Datagram::Packet(Packet::response(Some(nobody), 123_456, StatusCode::Unauthorized, last));
        let mut came = Vec::new();
        loop {
            let datagram = self.answer().await;
            if datagram == last {
                return came;
            }
            came.push(datagram);
        }
    }

    /// Opens a session.
    pub(crate) async fn open(&self, key: &SecretKey) -> SessionId {
        let hello = SessionRequest { identities: vec![Identity::from(&key.public())], ..SessionRequest::default() };
        self.send(&Datagram::Packet(Packet::request(None, 1, RequestKind::Session(hello))).encode()).await;
        let Datagram::Packet(packet) = self.answer().await else { panic!("not a packet") };
        let session = packet.session().unwrap();
        let response = solved(key, challenge_of(&packet));
        let request = SessionRequest { challenge_resp: Some(response), ..SessionRequest::default() };
        let answer = self.ask(Packet::request(Some(session), 2, RequestKind::Session(request))).await;
        assert_eq!(answer.code, StatusCode::Ok as i32);
        session
    }

    /// Asks to be registered, answers the check, and returns the answer.
    pub(crate) async fn register(&self, session: SessionId, request_id: u64) -> Datagram {
        let request = Packet::request(Some(session), request_id, RequestKind::Register(Register::default()));
        self.send(&Datagram::Packet(request).encode()).await;
        loop {
            let (datagram, from) = self.next().await;
            if from == self.relay {
                return datagram;
            }
            // The check comes from another socket, and is answered there.
            let Datagram::Packet(Packet { kind: Some(Kind::Request(ping)), .. }) = datagram else {
                panic!("{datagram:?}")
            };
            let pong = ResponseKind::Pong(Empty {});
            let pong = Packet::response(Some(session), ping.request_id, StatusCode::Ok, pong);
            self.socket.send_to(&Datagram::Packet(pong).encode(), from).await.unwrap();
        }
    }
}

pub(crate) fn challenge_of(packet: &Packet) -> &ChallengeRequest {
    match &packet.kind {
        Some(Kind::Response(Response { kind: Some(ResponseKind::Session(session)), .. })) => {
            session.challenge_req.as_ref().unwrap()
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn solved(key: &SecretKey, asked: &ChallengeRequest) -> ChallengeResponse {
    let solution = challenge::solve(&asked.challenge, asked.difficulty, u64::MAX).unwrap();
    let signature = key.sign(&proof::solution_digest(&solution));
    ChallengeResponse {
        solution: Bytes::copy_from_slice(&solution),
        signatures: vec![Bytes::copy_from_slice(signature.as_bytes())],
        ..ChallengeResponse::default()
    }
}
