//! Metrics of the process itself (spec 22 §6.3).

use std::time::Duration;

use golem_api_rest::Metrics;
use golem_service::{Clock, Context, SystemClock};
use metrics::{counter, gauge};

use crate::version::COMPATIBLE;

const EVERY: Duration = Duration::from_secs(60);

/// Unix seconds.
pub(crate) fn now() -> i64 {
    SystemClock.now().timestamp()
}

pub(crate) fn start(ctx: &Context, snapshot: Metrics) {
    counter!("yagna_service_up").increment(1);
    let mut numbers = COMPATIBLE.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    for name in ["yagna_version_major", "yagna_version_minor", "yagna_version_patch"] {
        gauge!(name).set(numbers.next().unwrap_or_default());
    }
    gauge!("yagna_version_is_prerelease").set(0);
    gauge!("yagna_version_build_number").set(0);
    counter!("version_new").increment(0);
    counter!("version_skip").increment(0);
    let stop = ctx.stop.clone();
    ctx.tasks.spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = ticks.tick() => {
                    descriptors();
                    snapshot.upkeep();
                }
            }
        }
    });
}

/// Counts open file descriptors by kind.
#[cfg(target_os = "linux")]
fn descriptors() {
    use std::os::unix::fs::FileTypeExt;
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let mut counts = [("fifo", 0), ("chr", 0), ("dir", 0), ("blk", 0), ("reg", 0), ("sock", 0), ("other", 0)];
    for entry in entries.flatten() {
        let Ok(meta) = std::fs::metadata(entry.path()) else { continue };
        let kind = meta.file_type();
        let name = match () {
            () if kind.is_fifo() => "fifo",
            () if kind.is_char_device() => "chr",
            () if kind.is_dir() => "dir",
            () if kind.is_block_device() => "blk",
            () if kind.is_file() => "reg",
            () if kind.is_socket() => "sock",
            () => "other",
        };
        if let Some((_, count)) = counts.iter_mut().find(|(other, _)| *other == name) {
            *count += 1;
        }
    }
    for (name, count) in counts {
        gauge!(format!("yagna_fds_{name}")).set(f64::from(count));
    }
}

#[cfg(not(target_os = "linux"))]
const fn descriptors() {}
