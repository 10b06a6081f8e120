//! The service bus (GSB, spec 20): typed calls between services, programs and nodes.
//!
//! [`Bus`] is the one handle. It binds handlers to addresses and calls addresses; whether the other side is a handler in
//! this process, a program on a socket or another node is told by the address alone. Values stay values inside the
//! process and become FlexBuffers ([`flexbuf`]) only where they leave it.
//!
//! - [`RawService`], [`RawRequest`], [`RawReply`]: calls without a look into the body, for those who only pass them on
//! - [`Payload`]: a body that is encoded only when it must be
//! - [`wire`]: frames and packets, which nodes also send one another
//!
//! One routing table holds the handlers of this process and the clients on sockets (`table`); each connection is one task
//! (`connection`) around a `link` that everybody else writes to.
//!
//! Deliberately absent: any knowledge of a service, checks of who calls (services do that), transport to other nodes (the
//! net binds `/net` as a raw service), and limits of time for an answer other than the caller's.

mod bus;
mod client;
mod connection;
mod error;
pub mod flexbuf;
mod handler;
mod link;
pub mod payload;
mod queue;
mod reply;
mod router;
mod table;
mod topic;
mod url;
pub mod wire;

pub use bus::Bus;
pub use client::ConnectError;
pub use connection::KeepAlive;
pub use error::{BusError, CallError};
pub use payload::{Payload, PayloadError, decode};
pub use reply::{RawChunk, RawCode, RawError, RawReply, RawRequest, RawService};
pub use router::{ListenError, Listening};
pub use topic::{Broadcast, Subscription};
pub use url::{BusUrl, ParseBusUrlError};
