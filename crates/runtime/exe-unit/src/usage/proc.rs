//! Processor time and memory of this process and all below it, from `/proc`; sizes of folders.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Clock ticks a second in `/proc`; the same on every Linux that we know.
const TICKS_PER_SECOND: f64 = 100.0;
/// Processes that are looked at.
const PROCESSES_MAX: usize = 100_000;
/// Files that are counted; beyond it the size is a lower bound.
const FILES_MAX: usize = 200_000;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tree {
    pub(super) cpu_sec: f64,
    pub(super) memory_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Process {
    parent: u32,
    /// Its own and that of its children that have ended.
    ticks: u64,
    resident_bytes: u64,
}

pub(super) fn tree() -> Tree {
    let own = |who| getrusage(who).map(|usage| usage.user_time() + usage.system_time());
    let seconds = |who| own(who).map_or(0.0, |time| ticks_to_seconds(time.num_microseconds(), 1e6));
    // What has ended and was waited for; the living are added below.
    let mut tree =
        Tree { cpu_sec: seconds(UsageWho::RUSAGE_SELF) + seconds(UsageWho::RUSAGE_CHILDREN), memory_bytes: 0 };
    let all = processes();
    let root = std::process::id();
    for (pid, process) in &all {
        if descends(*pid, root, &all) {
            tree.memory_bytes += process.resident_bytes;
            if *pid != root {
                tree.cpu_sec += ticks_to_seconds(i64::try_from(process.ticks).unwrap_or(i64::MAX), TICKS_PER_SECOND);
            }
        }
    }
    tree
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^52")]
fn ticks_to_seconds(ticks: i64, per_second: f64) -> f64 {
    ticks as f64 / per_second
}

fn processes() -> HashMap<u32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.take(PROCESSES_MAX).filter_map(|pid| Some((pid, read(pid)?))).collect()
}

fn read(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse(&stat)
}

fn parse(stat: &str) -> Option<Process> {
    // The name may hold anything, also `)`: what counts comes after the last one.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    // utime, stime, cutime, cstime
    let ticks = (11..15).filter_map(number).sum();
    let page = 4096;
    Some(Process { parent: u32::try_from(number(1)?).ok()?, ticks, resident_bytes: number(21)? * page })
}

fn descends(pid: u32, root: u32, all: &HashMap<u32, Process>) -> bool {
    let mut at = pid;
    // Bounded, should the table be torn into a circle.
    for _ in 0..64 {
        if at == root {
            return true;
        }
        match all.get(&at) {
            Some(process) if process.parent > 0 => at = process.parent,
            _ => return false,
        }
    }
    false
}

/// Bytes of all files below `path`, links not followed.
pub(super) fn folder_bytes(path: &Path) -> u64 {
    let (mut bytes, mut files) = (0, 0);
    let mut waiting = vec![path.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            files += 1;
            if metadata.is_dir() {
                waiting.push(entry.path());
            } else {
                bytes += metadata.len();
            }
            if files >= FILES_MAX {
                return bytes;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_of_processes_do_no_harm() {
        let rest = "S 7 1 1 0 -1 4194560 100 0 0 0 11 22 33 44 20 0 1 0 100 1000 5 18446744073709551615";
        let process = parse(&format!("42 (a) b) c) {rest}")).unwrap();
        assert_eq!((process.parent, process.ticks, process.resident_bytes), (7, 110, 5 * 4096));
        for bad in ["", "42", "42 (x)", "42 (x) S", "42 (x) S a b"] {
            assert!(parse(bad).is_none());
        }
        assert!(tree().memory_bytes > 0);
    }
}
