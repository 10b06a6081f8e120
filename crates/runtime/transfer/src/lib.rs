//! Transfers of files: http(s), volumes of a container, other nodes (gftp); archives, hash checks, progress (spec 53).
//!
//! - [`Location`]: what a transfer names, parsed once; [`Volumes`]: where paths of a container lie on this machine
//! - [`Transfers`]: copies from one location to another, with retries
//! - [`images`]: the cache of task packages
//! - [`gftp`]: publish files and open upload slots on the bus, and read from and write to those of other nodes
//! - [`tool`]: the `gftp` program with its JSON-RPC mode
//!
//! Every path below a volume is opened by the kernel's own rules for staying inside it, so neither `..`, nor an encoded
//! slash, nor a link that a guest has made leads out ([`Volumes`]).
//!
//! Deliberately absent: what an activity may transfer (the exe-unit decides), and limits of disk space.

mod archive;
mod copy;
mod digest;
mod error;
pub mod gftp;
mod glob;
mod http;
pub mod images;
mod location;
mod progress;
pub mod tool;
mod volume;

pub use copy::{Options, Transfers};
pub use digest::{Expected, Hasher};
pub use error::TransferError;
pub use location::{Location, Place, Plain};
pub use progress::Progress;
pub use volume::{OpenMode, Volumes};
