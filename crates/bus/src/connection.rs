//! The task of one connection.
//!
//! Started by [`crate::router`] for each accepted socket and by [`crate::client`] for its one; owns the socket; stops at
//! the end of the stream, on a broken frame, when kicked, when the other end is silent for too long, or when told to
//! stop. At its end everybody who waits for an answer over it is told.
//!
//! One task both reads and writes: replies of handlers that are ready at once, and all frames of one read, leave in one
//! write.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures::{FutureExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::bus::Inner;
use crate::link::Link;
use crate::table::Target;
use crate::wire::{self, CallRequest, FrameError, Kind, Nothing};
use crate::{Bus, Payload, RawError, RawReply, RawRequest};

/// Free room made in the input buffer before each read; one read takes many small frames.
const READ_BYTES: usize = 64 << 10;

/// How long a connection may take to get rid of its last frames when it is told to stop.
const FLUSH: Duration = Duration::from_secs(1);

/// When to probe a silent connection, and when to give it up (spec 20 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    pub interval: Duration,
    pub timeout: Duration,
}

impl KeepAlive {
    /// From the number of seconds in `GSB_PING_TIMEOUT`.
    pub fn from_timeout(timeout: Duration) -> Self {
        Self { interval: (timeout / 4).max(Duration::from_secs(1)), timeout: timeout.max(Duration::from_secs(1)) }
    }
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), timeout: Duration::from_secs(20) }
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the other end closed")]
    Closed,
    #[error("told to stop")]
    Stopped,
    #[error("replaced or cut off")]
    Kicked,
    #[error("silent for too long")]
    Silent,
    #[error("reading or writing failed")]
    Io(#[from] std::io::Error),
    #[error("not a frame of the bus")]
    Frame(#[from] FrameError),
    #[error("a packet of this kind does not belong here: {0}")]
    Unexpected(&'static str),
}

/// What a router or a client does with the packets that concern only one of them.
pub(crate) trait Role: Send {
    fn packet(&mut self, bus: &Inner, link: &Arc<Link>, kind: Kind) -> impl Future<Output = Result<(), End>> + Send;
}

pub(crate) async fn drive<S, R>(
    stream: S,
    link: &Arc<Link>,
    bus: &Weak<Inner>,
    mut role: R,
    keep_alive: Option<KeepAlive>,
    stop: &CancellationToken,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
    R: Role,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    let mut probes = Vec::new();
    let mut heard = Instant::now();
    let mut ticks = keep_alive.map(|keep_alive| {
        let mut ticks = interval_at(heard + keep_alive.interval, keep_alive.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    let end = loop {
        if output.is_empty() {
            output = link.take_output();
        }
        probes.extend(link.take_probes());
        input.reserve(READ_BYTES);
        // Reads and writes lose nothing when another arm wins; a tick that is not taken comes again.
        tokio::select! {
            biased;
            () = stop.cancelled() => break End::Stopped,
            () = link.kicked() => break End::Kicked,
            written = writer.write(&output), if !output.is_empty() => match written {
                Ok(0) => break End::Closed,
                Ok(bytes) => {
                    output.advance(bytes);
                    link.written(bytes);
                }
                Err(error) => break error.into(),
            },
            read = reader.read_buf(&mut input) => match read {
                Ok(0) => break End::Closed,
                Ok(_) => {
                    heard = Instant::now();
                    let Some(bus) = bus.upgrade() else { break End::Stopped };
                    if let Err(end) = frames(&mut input, &bus, link, &mut role).await {
                        break end;
                    }
                }
                Err(error) => break error.into(),
            },
            // Nothing to read or write just now, so whoever probes may know that the other end is there.
            () = std::future::ready(()), if !probes.is_empty() => {
                for probe in probes.drain(..) {
                    // Whoever probed may have gone.
                    let _ = probe.send(());
                }
            }
            () = link.woken() => {}
            _ = async { match ticks.as_mut() { Some(ticks) => ticks.tick().await, None => std::future::pending().await } } => {
                let KeepAlive { interval, timeout } = keep_alive.unwrap_or_default();
                let silence = heard.elapsed();
                if silence > timeout {
                    break End::Silent;
                }
                if silence > interval / 2 {
                    // A closed link ends in the next round.
                    let _ = link.send(Kind::Ping(Nothing {}));
                }
            }
        }
    };
    if matches!(end, End::Stopped) {
        // At the end of the deadline the rest is lost, as it would be by a crash.
        let _ = tokio::time::timeout(FLUSH, async {
            loop {
                writer.write_all_buf(&mut output).await?;
                output = link.take_output();
                if output.is_empty() {
                    return writer.shutdown().await;
                }
            }
        })
        .await;
    }
    link.close();
    end
}

async fn frames<R: Role>(input: &mut BytesMut, bus: &Arc<Inner>, link: &Arc<Link>, role: &mut R) -> Result<(), End> {
    while let Some(kind) = wire::read_frame(input)? {
        match kind {
            Kind::Reply(reply) => link.on_reply(reply).await,
            other => role.packet(bus, link, other).await?,
        }
    }
    Ok(())
}

/// Answers a call that came over `link`; `unknown` is what it gets when nothing is bound there.
pub(crate) fn serve(bus: &Inner, link: &Arc<Link>, call: CallRequest, unknown: impl FnOnce(&str) -> RawError) {
    let service = match bus.table.find(&call.address) {
        Some(Target::Process(service)) => service,
        Some(Target::Link(callee)) => return callee.forward(link, call),
        None if call.no_reply => return,
        None => return link.send_reply(&call.request_id, Err(unknown(&call.address))),
    };
    let CallRequest { caller, address, request_id, data, no_reply } = call;
    let request = RawRequest { caller: caller.as_str().into(), address, data: Payload::from(data), no_reply };
    let mut reply = bus.dispatch(&*service, request);
    // Handlers that are ready at once need no task of their own.
    while let Some(chunk) = reply.next().now_or_never() {
        match chunk {
            None => return,
            Some(chunk) if !no_reply => link.send_reply(&request_id, chunk),
            Some(_) => {}
        }
        if link.is_full() {
            break;
        }
    }
    let link = Arc::clone(link);
    bus.tasks.spawn(async move {
        if no_reply {
            while reply.next().await.is_some() {}
        } else {
            finish(reply, &link, &request_id).await;
        }
    });
}

async fn finish(mut reply: RawReply, link: &Link, request_id: &str) {
    loop {
        // A dropped reply runs to its end when it is a single one.
        let chunk = tokio::select! {
            biased;
            () = link.closed() => return,
            chunk = reply.next() => chunk,
        };
        let Some(chunk) = chunk else { return };
        if !link.has_room().await {
            return;
        }
        link.send_reply(request_id, chunk);
    }
}

impl Bus {
    /// Serves one connection that something else has opened, for example a pair of pipes in a test.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(&self, stream: S, stop: &CancellationToken) {
        crate::router::attend(stream, &self.downgrade(), None, stop).await;
    }
}
