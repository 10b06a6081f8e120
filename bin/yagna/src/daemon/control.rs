//! Who may end the daemon: signals and `/local/control` (spec 22 §10).

use anyhow::Result;
use golem_bus::Bus;
use golem_model::control::{ADDRESS, ShutdownRequest};
use tokio::sync::watch;

/// How a daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// As on SIGTERM: parts may finish what they do.
    Graceful,
    /// As on SIGINT.
    Now,
}

#[derive(Debug)]
pub(crate) struct Control(watch::Receiver<Option<Stop>>);

impl Control {
    pub(crate) fn bind(bus: &Bus) -> Self {
        let (asked, wait) = watch::channel(None);
        bus.bind(ADDRESS, move |_, request: ShutdownRequest| {
            asked.send_replace(Some(if request.graceful { Stop::Graceful } else { Stop::Now }));
            std::future::ready(Ok(()))
        });
        Self(wait)
    }

    pub(crate) async fn asked(&self) -> Stop {
        let mut wait = self.0.clone();
        match wait.wait_for(Option::is_some).await {
            Ok(stop) => stop.unwrap_or(Stop::Now),
            Err(_) => std::future::pending().await,
        }
    }
}

pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    pub(crate) fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(not(unix))]
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {})
    }

    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.terminate.recv() => Stop::Graceful,
            _ = self.interrupt.recv() => Stop::Now,
        }
    }

    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) -> Stop {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Stop::Now
    }
}
