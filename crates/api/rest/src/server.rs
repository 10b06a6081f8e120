//! The server loop. Started by [`serve`] on the tracker; owns the listener and one task per connection; ends when the
//! stop token falls: it takes no more connections, gives running requests a moment, then closes.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::Shell;

/// Header fields of one request.
const HEADERS_MAX: usize = 100;

/// Bytes of the head of one request.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long running requests may go on after the stop.
const STOP_GRACE: Duration = Duration::from_millis(100);

/// After an error of `accept` (no more file descriptors) wait a moment instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What one client, or all together, may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Idle time of a connection; also the time in which a head must have arrived.
    pub keep_alive: Duration,
    /// The same when more than three quarters of `connections_max` are open.
    pub keep_alive_crowded: Duration,
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { keep_alive: Duration::from_secs(60), keep_alive_crowded: Duration::from_secs(5), connections_max: 4096 }
    }
}

/// Serves `shell` on `listener` until `stop`.
pub fn serve(listener: TcpListener, shell: Shell, limits: Limits, tasks: &TaskTracker, stop: CancellationToken) {
    let connections = tasks.clone();
    tasks.spawn(async move {
        let room = Arc::new(Semaphore::new(limits.connections_max));
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = accept(&listener, &room) => accepted,
            };
            let Some((stream, permit)) = accepted else { continue };
            let crowded = room.available_permits() < limits.connections_max / 4;
            let keep_alive = if crowded { limits.keep_alive_crowded } else { limits.keep_alive };
            connections.spawn(connection(stream, permit, shell.clone(), keep_alive, stop.clone()));
        }
        debug!("stopped");
    });
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            warn!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    shell: Shell,
    keep_alive: Duration,
    stop: CancellationToken,
) {
    // Small answers must not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shell = shell.clone();
        async move { shell.handle(request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(keep_alive)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(STOP_GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        debug!(%error, "connection ended");
    }
    drop(permit);
}
