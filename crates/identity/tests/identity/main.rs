//! The identity service as programs of a node see it: messages in, answers, errors and events out (spec 21 §3, §4).
#![expect(clippy::unwrap_used, reason = "test code")]

mod app_keys;
mod ids;
mod node;
mod start;
mod take_over;
