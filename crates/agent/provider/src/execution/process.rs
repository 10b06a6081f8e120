//! The life of one exe-unit process.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use golem_api_client::Client;
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{ExecutorConfig, Unit, environment, write_agreement};
use crate::config::descriptor::Descriptor;
use crate::deal::CloseState;

/// The last part of an exe-unit's log that goes into the reason of its end.
const LOG_TAIL_BYTES: u64 = 600;

/// Starts the exe-unit and stays until it ends.
pub(super) async fn run(
    client: &Client,
    config: &ExecutorConfig,
    unit: &Unit,
    descriptor: Option<Descriptor>,
    requestor_pub_key: Option<String>,
    stop: CancellationToken,
) -> anyhow::Result<CloseState> {
    let descriptor = descriptor.context("the runtime of the agreement is not installed any more")?;
    let folder =
        config.folders.activity(unit.agreement, &unit.activity).context("the activity's id is no plain name")?;
    let agreement_file = config.folders.agreement_file(unit.agreement);
    if !agreement_file.exists() {
        write_agreement(&config.folders, &client.agreement(unit.agreement).await?)?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    let log_path = folder.with_extension("log");
    let log = OpenOptions::new().create(true).append(true).open(&log_path)?;
    if stop.is_cancelled() {
        return Ok(CloseState::aborted(&unit.activity));
    }
    let mut command = Command::new(&descriptor.supervisor_path);
    command
        .args(descriptor.leading_args())
        .arg("service-bus")
        .arg(&unit.activity)
        .arg("/local/activity")
        .arg("-c")
        .arg(&config.folders.cache)
        .arg("-w")
        .arg(&folder)
        .arg("-a")
        .arg(&agreement_file);
    if let Some(key) = requestor_pub_key {
        command.arg("--requestor-pub-key").arg(key);
    }
    command
        .current_dir(&folder)
        .env_clear()
        .envs(environment::inherited())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0);
    let child = command.spawn().with_context(|| format!("cannot start `{}`", descriptor.supervisor_path.display()))?;
    info!(activity = %unit.activity, pid = child.id(), "exe-unit started");
    let status = until_exit(child, config.termination_timeout, stop).await?;
    info!(activity = %unit.activity, %status, "exe-unit ended");
    Ok(match status.code() {
        None => CloseState::aborted(&unit.activity),
        Some(0) => CloseState::exited(&unit.activity, 0, None),
        Some(code) => CloseState::exited(&unit.activity, code, log_tail(&log_path)),
    })
}

async fn until_exit(mut child: Child, patience: Duration, stop: CancellationToken) -> std::io::Result<ExitStatus> {
    tokio::select! {
        status = child.wait() => return status,
        () = stop.cancelled() => {}
    }
    if let Some(pid) = child.id().and_then(pid) {
        signal(pid, Signal::TERM);
    }
    match tokio::time::timeout(patience, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            // The whole group: a runtime must not outlive its supervisor.
            if let Some(pid) = child.id().and_then(pid) {
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            }
            child.wait().await
        }
    }
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

fn signal(pid: Pid, signal: Signal) {
    if let Err(error) = rustix::process::kill_process(pid, signal) {
        warn!(pid = pid.as_raw_nonzero(), %error, "cannot signal the exe-unit");
    }
}

/// Stays with an exe-unit that is no child of ours. False when there is none.
pub(super) async fn follow(activity: &str, patience: Duration, stop: CancellationToken) -> bool {
    let name = activity.to_owned();
    let found = tokio::task::spawn_blocking(move || find(Path::new("/proc"), &name)).await;
    let Ok(Some(id)) = found else { return false };
    info!(activity, pid = id.as_raw_nonzero(), "exe-unit taken over");
    let mut gone = std::pin::pin!(gone(id));
    tokio::select! {
        () = &mut gone => return true,
        () = stop.cancelled() => signal(id, Signal::TERM),
    }
    if tokio::time::timeout(patience, &mut gone).await.is_err() {
        let _ = rustix::process::kill_process_group(id, Signal::KILL);
        gone.await;
    }
    true
}

/// The process whose command line says `service-bus <activity>`.
fn find(proc: &Path, activity: &str) -> Option<Pid> {
    let entries = std::fs::read_dir(proc).ok()?;
    entries.flatten().find_map(|entry| {
        let id: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let args: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let ours = args.windows(2).any(|pair| pair == [b"service-bus".as_slice(), activity.as_bytes()]);
        if ours { Pid::from_raw(id) } else { None }
    })
}

/// Returns when the process has ended.
#[cfg(target_os = "linux")]
#[expect(
    deprecated,
    reason = "an owned descriptor stays open as long as it is registered; the new name is the same call behind `unsafe`"
)]
async fn gone(id: Pid) {
    use rustix::process::{PidfdFlags, pidfd_open};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    let Ok(handle) = pidfd_open(id, PidfdFlags::NONBLOCK) else { return };
    match AsyncFd::with_interest(handle, Interest::READABLE) {
        Ok(handle) => drop(handle.readable().await),
        Err(_) => wait_by_looking(id).await,
    }
}

#[cfg(not(target_os = "linux"))]
async fn gone(id: Pid) {
    wait_by_looking(id).await;
}

async fn wait_by_looking(id: Pid) {
    while rustix::process::test_kill_process(id).is_ok() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn log_tail(path: &PathBuf) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES))).ok()?;
    let mut tail = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut tail).ok()?;
    let text: String =
        String::from_utf8_lossy(&tail).chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let text = text.trim();
    if text.is_empty() { None } else { Some(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_activity() {
        let proc = tempfile::tempdir().unwrap();
        for (id, line) in
            [("41", "exe-unit\0-b\0rt\0service-bus\0aa\0/local/activity\0"), ("42", "cat\0aa\0"), ("x", "")]
        {
            std::fs::create_dir(proc.path().join(id)).unwrap();
            std::fs::write(proc.path().join(id).join("cmdline"), line).unwrap();
        }
        assert_eq!(find(proc.path(), "aa"), Pid::from_raw(41));
        assert_eq!(find(proc.path(), "a"), None);
    }
}
