//! The provider agent, `ya-provider`: sells this machine's computing on the market (spec 60).
//!
//! It publishes offers made of runtimes ([`config::descriptor`]), prices and hardware, negotiates ([`negotiation`]), runs
//! exe-units ([`execution`]), turns usage into bills ([`billing`]) and sees each agreement through to its paid invoice
//! ([`deal`]). The pure parts know no clock, file or socket; one actor ([`agent`]) drives them. It reaches its
//! daemon by REST alone, so it works with any daemon that speaks the protocol.
//!
//! [`run`] is the whole program. Deliberately absent: rules over identities, certificates and manifests.

mod agent;
mod billing;
mod cli;
mod clock;
mod config;
mod deal;
mod execution;
mod journal;
mod lock;
mod log;
mod negotiation;
mod offer;
mod platform;
mod properties;
mod run;
mod terms;
mod watch;

pub use cli::run;
