//! Processes of the runtime: each in a group of its own, which is ended as a whole.
#![expect(unsafe_code, reason = "a hook between fork and exec is the only way to tie a child's life to ours")]

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// What children must not learn from our environment.
const SECRET_VARIABLES: [&str; 3] = ["YAGNA_APPKEY", "EXE_UNIT_SEC_KEY", "YAGNA_AUTOCONF_ID_SECRET"];

const READ_BYTES: usize = 64 * 1024;

/// Time for output that is still in the pipes of an ended process. Its own children may hold them open for ever.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Pause between two looks whether a group is gone.
const GROUP_LOOK_AFTER: Duration = Duration::from_millis(5);

/// A process and those it starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group(Pid);

impl Group {
    pub(crate) fn of(child: &Child) -> Option<Self> {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok())?;
        Some(Self(Pid::from_raw(pid)))
    }

    fn signal(self, signal: Option<Signal>) -> bool {
        !matches!(killpg(self.0, signal), Err(Errno::ESRCH))
    }

    /// Asks the group to end, then makes it.
    pub(crate) async fn end(self, grace: Duration) {
        if !self.signal(Some(Signal::SIGTERM)) {
            return;
        }
        let gone = async {
            while self.signal(None) {
                tokio::time::sleep(GROUP_LOOK_AFTER).await;
            }
        };
        if tokio::time::timeout(grace, gone).await.is_err() {
            debug!(group = %self.0, "killing what did not end when asked");
            self.signal(Some(Signal::SIGKILL));
        }
    }
}

/// A command line in its own process group, which the kernel kills should this process die.
pub(crate) fn command(program: &Path, args: &[OsString], dir: Option<&Path>) -> Command {
    let mut command = Command::new(program);
    command.args(args).process_group(0).kill_on_drop(true).stdin(Stdio::null());
    if let Some(dir) = dir {
        command.current_dir(dir);
    }
    for name in SECRET_VARIABLES {
        command.env_remove(name);
    }
    // SAFETY: the hook runs in the child between fork and exec, where only async-signal-safe calls are allowed: it makes one
    // system call and neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
    }
    command
}

/// How a process ended: its exit code, or nothing when a signal ended it.
pub(crate) fn code(status: ExitStatus) -> Option<i32> {
    debug!(code = ?status.code(), signal = ?status.signal(), "process ended");
    status.code()
}

/// A process that runs to its end; its output goes to the two sinks as it comes.
/// `None` means that it was stopped before.
pub(crate) async fn run(
    mut command: Command,
    mut stdout: impl FnMut(&[u8]),
    mut stderr: impl FnMut(&[u8]),
    stop: &CancellationToken,
    kill_grace: Duration,
) -> io::Result<Option<ExitStatus>> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let group = Group::of(&child);
    let (mut out, mut err) = (Pipe::new(child.stdout.take()), Pipe::new(child.stderr.take()));
    let status = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                let end = async {
                    if let Some(group) = group {
                        group.end(kill_grace).await;
                    }
                };
                // Side by side: a group is not gone before its dead were waited for.
                let ((), waited) = tokio::join!(end, child.wait());
                waited?;
                return Ok(None);
            }
            bytes = out.next(), if out.is_open() => stdout(bytes),
            bytes = err.next(), if err.is_open() => stderr(bytes),
            status = child.wait() => break status?,
        }
    };
    let drain = async {
        while out.is_open() || err.is_open() {
            tokio::select! {
                bytes = out.next(), if out.is_open() => stdout(bytes),
                bytes = err.next(), if err.is_open() => stderr(bytes),
            }
        }
    };
    if tokio::time::timeout(DRAIN_TIMEOUT, drain).await.is_err() {
        debug!("a process has ended, but others hold its output open");
    }
    if let Some(group) = group {
        // What it left in the background does not outlive the command.
        group.end(kill_grace).await;
    }
    Ok(Some(status))
}

struct Pipe<R> {
    stream: Option<R>,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Pipe<R> {
    fn new(stream: Option<R>) -> Self {
        Self { stream, buffer: vec![0; READ_BYTES] }
    }

    const fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// The next bytes; none at the end. Cancel-safe, as reading is.
    async fn next(&mut self) -> &[u8] {
        let Some(stream) = &mut self.stream else { return &[] };
        match stream.read(&mut self.buffer).await {
            Ok(read) if read > 0 => self.buffer.get(..read).unwrap_or_default(),
            _ => {
                self.stream = None;
                &[]
            }
        }
    }
}
