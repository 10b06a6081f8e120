//! The one task of a relay. It owns both sockets and the state machine, is started by [`crate::start`], stops with the
//! stop token, and answers questions of the HTTP side.

use std::time::Duration;

use golem_net_relay_core::{Port, Random, Server, ServerCounters, ServerEffect, SessionView};
use golem_net_udp::Udp;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::{Config, Handle, state};

/// Sleep when no timer is set.
const FOREVER: Duration = Duration::from_secs(3600);

/// What a relay has counted and holds.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub counters: ServerCounters,
    pub sessions: usize,
    pub slots: usize,
    pub dropped: u64,
}

#[derive(Debug)]
pub(crate) enum Question {
    Report(oneshot::Sender<Report>),
    Nodes { prefix: String, limit: usize, answer: oneshot::Sender<Vec<SessionView>> },
}

impl Handle {
    /// Counters; nothing when the relay has stopped.
    pub async fn report(&self) -> Option<Report> {
        let (answer, report) = oneshot::channel();
        self.inbox.send(Question::Report(answer)).await.ok()?;
        report.await.ok()
    }

    /// Sessions of nodes whose id starts with these hex digits.
    pub async fn nodes(&self, prefix: &str, limit: usize) -> Option<Vec<SessionView>> {
        let (answer, nodes) = oneshot::channel();
        self.inbox.send(Question::Nodes { prefix: prefix.to_owned(), limit, answer }).await.ok()?;
        nodes.await.ok()
    }
}

struct Actor {
    server: Server,
    main: Udp,
    check: Udp,
    started: Instant,
}

pub(crate) fn spawn(
    config: Config,
    main: Udp,
    check: Udp,
    mut questions: mpsc::Receiver<Question>,
    tasks: &TaskTracker,
    stop: CancellationToken,
) {
    let started = Instant::now();
    let mut server = Server::new(Duration::ZERO, config.core, Random::new(StdRng::from_os_rng()));
    if let Some(dir) = &config.state_dir {
        match state::load_slots(dir) {
            Ok(slots) => server.restore_slots(slots),
            Err(error) => {
                warn!(dir = %dir.display(), %error, "slots of an earlier run cannot be read, nodes get new ones")
            }
        }
    }
    let mut actor = Actor { server, main, check, started };
    let run = async move {
        info!(address = %actor.main.local_addr(), "relay listens");
        loop {
            let timeout = actor.server.next_timeout().map_or_else(|| Instant::now() + FOREVER, |at| started + at);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(question) = questions.recv() => actor.answer(question),
                _ = actor.main.ready() => {}
                _ = actor.check.ready() => {}
                () = tokio::time::sleep_until(timeout) => {}
            }
            actor.turn();
        }
        if let Some(dir) = &config.state_dir
            && let Err(error) = state::save_slots(dir, actor.server.slots())
        {
            warn!(dir = %dir.display(), %error, "slots cannot be kept");
        }
        debug!("stopped");
    };
    tasks.spawn(run.instrument(info_span!("relay")));
}

impl Actor {
    fn turn(&mut self) {
        let Self { server, main, check, started } = self;
        let now = started.elapsed();
        let unix = unix_now();
        main.recv(|from, data| server.on_datagram(now, unix, Port::Main, from, data));
        check.recv(|from, data| server.on_datagram(now, unix, Port::Check, from, data));
        server.on_timeout(now);
        main.flush();
        check.flush();
        while let Some(ServerEffect::Send { port, to, data }) = server.poll_effect() {
            match port {
                Port::Main => main.send(to, data),
                Port::Check => check.send(to, data),
            }
        }
    }

    fn answer(&self, question: Question) {
        // An asker that has gone away needs no answer.
        match question {
            Question::Report(answer) => {
                let _ = answer.send(Report {
                    counters: *self.server.counters(),
                    sessions: self.server.session_count(),
                    slots: self.server.slots().len().saturating_sub(1),
                    dropped: self.main.dropped(),
                });
            }
            Question::Nodes { prefix, limit, answer } => {
                let _ = answer.send(self.server.sessions(self.started.elapsed(), &prefix, limit));
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the relay is a program of its own; its core takes the time as an argument"
)]
fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
