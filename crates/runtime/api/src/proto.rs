//! Messages of the blocking protocol (spec 52 §3.2). Field numbers are the wire.

use std::collections::HashMap;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(oneof = "Command", tags = "2, 10, 11, 12, 30")]
    pub command: Option<Command>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Command {
    #[prost(message, tag = "2")]
    Hello(Hello),
    #[prost(message, tag = "10")]
    Run(RunProcess),
    #[prost(message, tag = "11")]
    Kill(KillProcess),
    #[prost(message, tag = "12")]
    Shutdown(Empty),
    #[prost(message, tag = "30")]
    Network(CreateNetwork),
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Empty {}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Hello {
    #[prost(string, tag = "1")]
    pub version: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RunProcess {
    #[prost(string, tag = "1")]
    pub bin: String,
    #[prost(string, repeated, tag = "2")]
    pub args: Vec<String>,
    #[prost(string, tag = "3")]
    pub work_dir: String,
    #[prost(message, optional, tag = "4")]
    pub stdout: Option<Output>,
    #[prost(message, optional, tag = "5")]
    pub stderr: Option<Output>,
}

/// Where a stream of a process goes; supervisors do not send it.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Output {
    #[prost(uint32, tag = "2")]
    pub at_end: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct KillProcess {
    #[prost(uint64, tag = "1")]
    pub pid: u64,
    #[prost(int32, tag = "2")]
    pub signal: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CreateNetwork {
    #[prost(message, repeated, tag = "1")]
    pub networks: Vec<Network>,
    #[prost(map = "string, string", tag = "2")]
    pub hosts: HashMap<String, String>,
    #[prost(enumeration = "Interface", tag = "3")]
    pub interface: i32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Network {
    #[prost(string, tag = "1")]
    pub addr: String,
    #[prost(string, tag = "2")]
    pub gateway: String,
    #[prost(string, tag = "3")]
    pub mask: String,
    #[prost(string, tag = "4")]
    pub if_addr: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Interface {
    Vpn = 0,
    Inet = 1,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// Unasked, and therefore without an id.
    #[prost(bool, tag = "1")]
    pub event: bool,
    #[prost(uint64, tag = "2")]
    pub id: u64,
    #[prost(oneof = "Reply", tags = "3, 4, 10, 11, 12, 20, 21, 30")]
    pub reply: Option<Reply>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Reply {
    #[prost(message, tag = "3")]
    Error(ErrorReply),
    #[prost(message, tag = "4")]
    Hello(Hello),
    #[prost(message, tag = "10")]
    Run(RunReply),
    #[prost(message, tag = "11")]
    Kill(Empty),
    #[prost(message, tag = "12")]
    Shutdown(Empty),
    #[prost(message, tag = "20")]
    Status(ProcessStatus),
    #[prost(message, tag = "21")]
    RuntimeStatus(RuntimeStatus),
    #[prost(message, tag = "30")]
    Network(NetworkReply),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ErrorReply {
    #[prost(enumeration = "ErrorCode", tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(map = "string, string", tag = "3")]
    pub context: HashMap<String, String>,
}

impl ErrorReply {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), context: HashMap::new() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ErrorCode {
    Internal = 0,
    NotFound = 1,
    BadRequest = 2,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct RunReply {
    #[prost(uint64, tag = "1")]
    pub pid: u64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ProcessStatus {
    #[prost(uint64, tag = "1")]
    pub pid: u64,
    #[prost(bool, tag = "2")]
    pub running: bool,
    #[prost(int32, tag = "3")]
    pub return_code: i32,
    #[prost(bytes = "bytes", tag = "4")]
    pub stdout: bytes::Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    pub stderr: bytes::Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RuntimeStatus {
    #[prost(oneof = "StatusKind", tags = "1, 2")]
    pub kind: Option<StatusKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum StatusKind {
    #[prost(message, tag = "1")]
    State(StateStatus),
    #[prost(message, tag = "2")]
    Counter(CounterStatus),
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StateStatus {
    #[prost(string, tag = "1")]
    pub name: String,
    /// JSON.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: bytes::Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CounterStatus {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(double, tag = "2")]
    pub value: f64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NetworkReply {
    #[prost(oneof = "Endpoint", tags = "1, 2, 3, 4, 5")]
    pub endpoint: Option<Endpoint>,
}

#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Endpoint {
    #[prost(string, tag = "1")]
    UnixStream(String),
    #[prost(string, tag = "2")]
    UnixDatagram(String),
    #[prost(string, tag = "3")]
    UdpDatagram(String),
    #[prost(string, tag = "4")]
    TcpListener(String),
    #[prost(string, tag = "5")]
    TcpStream(String),
}
