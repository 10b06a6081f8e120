//! Frames and packets (spec 20 §2). Nodes send each other the same ones (spec 11 §3).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

/// Largest frame that is read or written. Official peers have no limit; their largest known messages are 3 MB.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Bytes of the length that stands before each packet.
pub const HEADER_BYTES: usize = 4;

#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub version: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub instance_id: Bytes,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct Register {
    #[prost(string, tag = "1")]
    pub service_id: String,
}

/// Answer to anything but a call. Codes: [`code`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Outcome {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct CallRequest {
    #[prost(string, tag = "1")]
    pub caller: String,
    #[prost(string, tag = "2")]
    pub address: String,
    #[prost(string, tag = "3")]
    pub request_id: String,
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
    #[prost(bool, tag = "5")]
    pub no_reply: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct CallReply {
    #[prost(string, tag = "1")]
    pub request_id: String,
    #[prost(int32, tag = "2")]
    pub code: i32,
    /// 0 full, 1 partial.
    #[prost(int32, tag = "3")]
    pub reply_type: i32,
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct Topic {
    #[prost(string, tag = "1")]
    pub topic: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct BroadcastRequest {
    #[prost(string, tag = "1")]
    pub caller: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
    #[prost(string, tag = "3")]
    pub topic: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Nothing {}

/// The closed set of codes. An official client drops its connection on any other (spec 20 §2.2).
pub mod code {
    pub const OK: i32 = 0;
    pub const BAD_REQUEST: i32 = 400;
    /// Also "not registered" and "not subscribed".
    pub const NOT_FOUND: i32 = 404;
    pub const CONFLICT: i32 = 409;
    pub const FAILURE: i32 = 500;
}

pub const FULL: i32 = 0;
pub const PARTIAL: i32 = 1;

/// What a frame holds.
#[derive(Clone, PartialEq, Message)]
pub struct Packet {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    #[prost(message, tag = "1")]
    Hello(Hello),
    #[prost(message, tag = "2")]
    Register(Register),
    #[prost(message, tag = "3")]
    RegisterReply(Outcome),
    #[prost(message, tag = "4")]
    Unregister(Register),
    #[prost(message, tag = "5")]
    UnregisterReply(Outcome),
    #[prost(message, tag = "6")]
    Call(CallRequest),
    #[prost(message, tag = "7")]
    Reply(CallReply),
    #[prost(message, tag = "8")]
    Subscribe(Topic),
    #[prost(message, tag = "9")]
    SubscribeReply(Outcome),
    #[prost(message, tag = "10")]
    Unsubscribe(Topic),
    #[prost(message, tag = "11")]
    UnsubscribeReply(Outcome),
    #[prost(message, tag = "12")]
    Broadcast(BroadcastRequest),
    #[prost(message, tag = "13")]
    BroadcastReply(Outcome),
    #[prost(message, tag = "14")]
    Ping(Nothing),
    #[prost(message, tag = "15")]
    Pong(Nothing),
}

impl Outcome {
    pub const fn code(code: i32) -> Self {
        Self { code, message: String::new() }
    }
}

/// A frame that cannot be read; the connection that sent it is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes is above the limit of {FRAME_BYTES_MAX}")]
    TooLarge(usize),
    #[error("a packet cannot be decoded")]
    Packet(#[source] prost::DecodeError),
    #[error("a packet of no known kind")]
    UnknownKind,
}

/// Takes the next whole frame off `buffer`; `None` asks for more bytes.
pub fn read_frame(buffer: &mut BytesMut) -> Result<Option<Kind>, FrameError> {
    let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let len = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
    if len > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(len));
    }
    if buffer.len() < HEADER_BYTES + len {
        return Ok(None);
    }
    buffer.advance(HEADER_BYTES);
    decode_packet(buffer.split_to(len).freeze()).map(Some)
}

/// Decodes the body of a frame.
pub fn decode_packet(body: Bytes) -> Result<Kind, FrameError> {
    Packet::decode(body).map_err(FrameError::Packet)?.kind.ok_or(FrameError::UnknownKind)
}

/// Appends `kind` as one frame. Returns `false`, and appends nothing, when it is above [`FRAME_BYTES_MAX`].
pub fn write_frame(kind: Kind, buffer: &mut BytesMut) -> bool {
    let packet = Packet { kind: Some(kind) };
    let len = packet.encoded_len();
    let Some(header) = u32::try_from(len).ok().filter(|_| len <= FRAME_BYTES_MAX) else { return false };
    buffer.reserve(HEADER_BYTES + len);
    buffer.put_u32(header);
    // `BytesMut` grows, so there is always room.
    packet.encode(buffer).is_ok()
}
