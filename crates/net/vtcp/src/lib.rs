//! Virtual TCP: IPv6 packets with TCP segments as payload of Forward packets (spec 11 §2, §3).
//!
//! [`Stack`] is a state machine: packets, the time and random numbers come in as arguments, packets and [`Event`]s
//! are polled out. [`FrameDecoder`] cuts the byte stream of a connection into bus messages. A time is the
//! [`Duration`](std::time::Duration) since any fixed moment that the caller chose.
//! Deliberately absent: sockets, routes to peers, and what is in a frame. ICMP, extension headers, fragments and
//! urgent data do not occur on the virtual link.

mod address;
mod congestion;
mod connection;
mod frame;
mod reassembly;
mod rtt;
mod segment;
mod sender;
mod stack;

pub use address::Address;
pub use connection::{CloseReason, State};
pub use frame::{BadFrame, FRAME_BYTES_MAX, FrameDecoder, frame_header};
pub use segment::{BadSegment, Flags, Segment};
pub use stack::{BadPacket, Config, ConnectionId, Event, NotOpen, SocketInfo, Stack, TooMany};

/// Port of the messages channel.
pub const MESSAGES_PORT: u16 = 1;
/// Port of the transfer channel.
pub const TRANSFER_PORT: u16 = 2;
