//! The HTTP shell that the routes of every service stand on.
//!
//! It answers who asks ([`Identity`], from [`AppKeys`]), how errors look ([`ApiError`]), how bodies and queries are
//! read ([`Json`], [`JsonIn`], [`Query`]) and how long a poll may wait ([`poll_timeout`]); around the routes it does
//! authorization, CORS, limits, health, metrics and the server loop ([`Shell`], [`serve`]).
//! Deliberately absent: knowledge of any service, and of where keys are stored.

mod auth;
mod cors;
mod error;
mod extract;
mod health;
mod metrics;
mod server;
mod shell;
mod timeout;

pub use auth::{AppKeys, Identity};
pub use cors::Cors;
pub use error::ApiError;
pub use extract::{BODY_BYTES_MAX, Json, JsonIn, Query};
pub use health::{Check, Health};
pub use metrics::Metrics;
pub use server::{Limits, serve};
pub use shell::Shell;
pub use timeout::{POLL_TIMEOUT_DEFAULT, POLL_TIMEOUT_MAX, checked_timeout, poll_timeout};
