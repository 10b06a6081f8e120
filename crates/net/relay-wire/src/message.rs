//! Messages of package `ya_relay_proto`; field numbers as in spec 10 §3.
//!
//! Numbers of one thing differ between request and response (session 10 and 11, reverse connection 50 and 60).

use bytes::Bytes;
use golem_keys::PublicKey;
use golem_model::NodeId;
use prost::{Enumeration, Message, Oneof};
use std::net::{IpAddr, SocketAddr};

use crate::SessionId;

#[derive(Clone, PartialEq, Message)]
pub struct Packet {
    /// 16 bytes, or empty in the first Session request.
    #[prost(bytes = "bytes", tag = "2")]
    pub session_id: Bytes,
    #[prost(oneof = "Kind", tags = "3, 4, 5")]
    pub kind: Option<Kind>,
}

impl Packet {
    fn new(session: Option<SessionId>, kind: Kind) -> Self {
        let session_id = session.map_or_else(Bytes::new, |id| Bytes::copy_from_slice(id.as_bytes()));
        Self { session_id, kind: Some(kind) }
    }

    pub fn request(session: Option<SessionId>, request_id: u64, kind: RequestKind) -> Self {
        Self::new(session, Kind::Request(Request { request_id, kind: Some(kind) }))
    }

    pub fn response(session: Option<SessionId>, request_id: u64, code: StatusCode, kind: ResponseKind) -> Self {
        Self::new(session, Kind::Response(Response { request_id, code: code.into(), kind: Some(kind) }))
    }

    pub fn control(session: SessionId, kind: ControlKind) -> Self {
        Self::new(Some(session), Kind::Control(Control { kind: Some(kind) }))
    }

    /// Tells the other side that `session` is not, or no longer, known.
    pub fn disconnected(session: SessionId) -> Self {
        let id = Bytes::copy_from_slice(session.as_bytes());
        Self::control(session, ControlKind::Disconnected(Disconnected { by: Some(DisconnectedBy::SessionId(id)) }))
    }

    /// The session id, if it is one.
    pub fn session(&self) -> Option<SessionId> {
        SessionId::try_from(&*self.session_id).ok()
    }
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Kind {
    #[prost(message, tag = "3")]
    Request(Request),
    #[prost(message, tag = "4")]
    Response(Response),
    #[prost(message, tag = "5")]
    Control(Control),
}

#[derive(Clone, PartialEq, Message)]
pub struct Request {
    #[prost(uint64, tag = "1")]
    pub request_id: u64,
    #[prost(oneof = "RequestKind", tags = "10, 20, 30, 31, 40, 50, 80")]
    pub kind: Option<RequestKind>,
}

#[expect(clippy::large_enum_variant, reason = "lives on the stack for the time of one datagram")]
#[derive(Clone, PartialEq, Oneof)]
pub enum RequestKind {
    #[prost(message, tag = "10")]
    Session(SessionRequest),
    #[prost(message, tag = "20")]
    Register(Register),
    #[prost(message, tag = "30")]
    Node(NodeRequest),
    #[prost(message, tag = "31")]
    Slot(SlotRequest),
    #[prost(message, tag = "40")]
    Neighbours(NeighboursRequest),
    #[prost(message, tag = "50")]
    ReverseConnection(ReverseRequest),
    #[prost(message, tag = "80")]
    Ping(Empty),
}

#[derive(Clone, PartialEq, Message)]
pub struct SessionRequest {
    #[prost(message, optional, tag = "1")]
    pub challenge_req: Option<ChallengeRequest>,
    #[prost(message, optional, tag = "2")]
    pub challenge_resp: Option<ChallengeResponse>,
    #[prost(string, repeated, tag = "3")]
    pub supported_encryptions: Vec<String>,
    /// Default identity first; a claim, not a proof.
    #[prost(message, repeated, tag = "4")]
    pub identities: Vec<Identity>,
    /// SemVer; not known to peers of 0.17.6 (spec 10 §15).
    #[prost(string, tag = "5")]
    pub client_version: String,
}

/// Request and response: endpoints are ignored in the former, found by the relay in the latter.
#[derive(Clone, PartialEq, Message)]
pub struct Register {
    #[prost(message, repeated, tag = "1")]
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NodeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub node_id: Bytes,
    #[prost(bool, tag = "2")]
    pub public_key: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SlotRequest {
    #[prost(uint32, tag = "1")]
    pub slot: u32,
    #[prost(bool, tag = "2")]
    pub public_key: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct NeighboursRequest {
    #[prost(uint32, tag = "1")]
    pub count: u32,
    #[prost(bool, tag = "2")]
    pub public_key: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct ReverseRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub node_id: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub struct Response {
    #[prost(uint64, tag = "1")]
    pub request_id: u64,
    #[prost(enumeration = "StatusCode", tag = "2")]
    pub code: i32,
    /// Peers throw a response without kind away, whatever its code (spec 10 §3).
    #[prost(oneof = "ResponseKind", tags = "11, 20, 30, 40, 60, 80")]
    pub kind: Option<ResponseKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum ResponseKind {
    #[prost(message, tag = "11")]
    Session(SessionResponse),
    #[prost(message, tag = "20")]
    Register(Register),
    #[prost(message, tag = "30")]
    Node(NodeResponse),
    #[prost(message, tag = "40")]
    Neighbours(NeighboursResponse),
    #[prost(message, tag = "60")]
    ReverseConnection(Empty),
    #[prost(message, tag = "80")]
    Pong(Empty),
}

#[derive(Clone, PartialEq, Message)]
pub struct SessionResponse {
    #[prost(message, optional, tag = "1")]
    pub challenge_req: Option<ChallengeRequest>,
    #[prost(message, optional, tag = "2")]
    pub challenge_resp: Option<ChallengeResponse>,
    #[prost(string, repeated, tag = "3")]
    pub supported_encryptions: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub identities: Vec<Identity>,
}

/// Answer to Node and to Slot, and one entry of Neighbours.
#[derive(Clone, PartialEq, Message)]
pub struct NodeResponse {
    #[prost(message, repeated, tag = "1")]
    pub identities: Vec<Identity>,
    #[prost(message, repeated, tag = "2")]
    pub endpoints: Vec<Endpoint>,
    /// Unix seconds.
    #[prost(uint64, tag = "3")]
    pub seen_ts: u64,
    #[prost(uint32, tag = "4")]
    pub slot: u32,
    #[prost(string, repeated, tag = "5")]
    pub supported_encryptions: Vec<String>,
    #[prost(bytes = "bytes", tag = "6")]
    pub session_pub_key: Bytes,
    /// Proof by the default identity.
    #[prost(bytes = "bytes", tag = "7")]
    pub session_key_proof: Bytes,
    /// One proof per identity, in order.
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub session_key_proofs: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NeighboursResponse {
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<NodeResponse>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Control {
    #[prost(oneof = "ControlKind", tags = "10, 20, 21, 22, 23")]
    pub kind: Option<ControlKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum ControlKind {
    #[prost(message, tag = "10")]
    ReverseConnection(ReverseControl),
    #[prost(message, tag = "20")]
    PauseForwarding(Slot),
    #[prost(message, tag = "21")]
    ResumeForwarding(Slot),
    #[prost(message, tag = "22")]
    StopForwarding(StopForwarding),
    #[prost(message, tag = "23")]
    Disconnected(Disconnected),
}

#[derive(Clone, PartialEq, Message)]
pub struct ReverseControl {
    #[prost(bytes = "bytes", tag = "1")]
    pub node_id: Bytes,
    #[prost(message, repeated, tag = "2")]
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Slot {
    #[prost(uint32, tag = "1")]
    pub slot: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct StopForwarding {
    #[prost(uint32, tag = "1")]
    pub slot: u32,
    #[prost(enumeration = "StatusCode", tag = "3")]
    pub code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Disconnected {
    #[prost(oneof = "DisconnectedBy", tags = "1, 2, 3")]
    pub by: Option<DisconnectedBy>,
}

#[derive(Clone, PartialEq, Eq, Oneof)]
pub enum DisconnectedBy {
    #[prost(uint32, tag = "1")]
    Slot(u32),
    #[prost(bytes = "bytes", tag = "2")]
    NodeId(Bytes),
    #[prost(bytes = "bytes", tag = "3")]
    SessionId(Bytes),
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct ChallengeRequest {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(uint64, tag = "2")]
    pub caps: u64,
    /// Readers ignore it and assume SHA3-512.
    #[prost(int32, tag = "3")]
    pub kind: i32,
    #[prost(uint64, tag = "4")]
    pub difficulty: u64,
    #[prost(bytes = "bytes", tag = "5")]
    pub challenge: Bytes,
}

impl ChallengeRequest {
    pub fn new(difficulty: u64, challenge: [u8; 16]) -> Self {
        Self {
            version: "0.0.1".to_owned(),
            caps: 0,
            kind: 10,
            difficulty,
            challenge: Bytes::copy_from_slice(&challenge),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct ChallengeResponse {
    #[prost(bytes = "bytes", tag = "1")]
    pub solution: Bytes,
    /// Default identity first.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub signatures: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub session_sign: Vec<Bytes>,
    #[prost(bytes = "bytes", tag = "4")]
    pub session_pub_key: Bytes,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct Identity {
    #[prost(bytes = "bytes", tag = "1")]
    pub public_key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub node_id: Bytes,
}

impl Identity {
    /// The key, if the node id is that of the key.
    pub fn key(&self) -> Option<PublicKey> {
        let key = PublicKey::try_from(&*self.public_key).ok()?;
        (key.node_id().as_bytes()[..] == self.node_id[..]).then_some(key)
    }
}

impl From<&PublicKey> for Identity {
    fn from(key: &PublicKey) -> Self {
        Self {
            public_key: Bytes::copy_from_slice(key.as_bytes()),
            node_id: Bytes::copy_from_slice(key.node_id().as_bytes()),
        }
    }
}

/// Bytes of a node id in a message.
pub fn node_id_bytes(id: NodeId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct Endpoint {
    /// IP protocol number; only UDP is in use.
    #[prost(int32, tag = "1")]
    pub protocol: i32,
    /// IP literal.
    #[prost(string, tag = "2")]
    pub address: String,
    #[prost(uint32, tag = "3")]
    pub port: u32,
}

impl Endpoint {
    pub const UDP: i32 = 17;

    /// The UDP address, if it is one.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        let ip: IpAddr = (self.protocol == Self::UDP).then(|| self.address.parse().ok())??;
        let port = u16::try_from(self.port).ok().filter(|port| *port != 0)?;
        Some(SocketAddr::new(ip, port))
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        Self { protocol: Self::UDP, address: addr.ip().to_string(), port: addr.port().into() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum StatusCode {
    Undefined = 0,
    Ok = 200,
    BadRequest = 400,
    Unauthorized = 401,
    NotFound = 404,
    Timeout = 408,
    Conflict = 409,
    PayloadTooLarge = 413,
    TooManyRequests = 429,
    ServerError = 500,
    GatewayTimeout = 504,
}
