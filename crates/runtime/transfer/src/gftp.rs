//! Files on the bus (spec 53 §3): what other nodes publish, and what this node does.

mod publish;
mod remote;

pub use publish::{PublishError, Publisher};
pub use remote::Remote;
