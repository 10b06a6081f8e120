//! Signals that end the activity.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGABRT has no name in tokio.
const ABORT: i32 = 6;

/// Waits for ABRT, INT, TERM and QUIT.
#[derive(Debug)]
pub(crate) struct Signals {
    waiting: Vec<(i32, Signal)>,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        let kinds = [SignalKind::from_raw(ABORT), SignalKind::interrupt(), SignalKind::terminate(), SignalKind::quit()];
        let waiting = kinds.into_iter().map(|kind| Ok((kind.as_raw_value(), signal(kind)?)));
        Ok(Self { waiting: waiting.collect::<io::Result<_>>()? })
    }

    /// The number of the next one.
    pub(crate) async fn next(&mut self) -> i32 {
        let all = self.waiting.iter_mut().map(|(number, signal)| {
            Box::pin(async move {
                signal.recv().await;
                *number
            })
        });
        futures::future::select_all(all).await.0
    }
}
