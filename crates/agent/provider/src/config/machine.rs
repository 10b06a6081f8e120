//! What this machine has (spec 60 §3): reads `/proc` and the file system of the data directory.

use std::collections::BTreeSet;
use std::path::Path;

use super::hardware::{Machine, Resources};

const KIB_PER_GIB: f64 = 1024.0 * 1024.0;
const BYTES_PER_GIB: f64 = KIB_PER_GIB * 1024.0;

/// The machine that this program runs on; what cannot be found out counts as the least that is offered.
pub(crate) fn detect(data_dir: &Path) -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let threads = std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
    Machine {
        cpu_cores: physical_cores(&read("/proc/cpuinfo")).unwrap_or(threads),
        resources: Resources {
            cpu_threads: threads,
            mem_gib: total_memory_gib(&read("/proc/meminfo")).unwrap_or(0.0),
            storage_gib: free_storage_gib(data_dir).unwrap_or(0.0),
        },
    }
}

/// Distinct pairs of socket and core. Machines that name neither (most ARM ones) have no answer here.
fn physical_cores(cpuinfo: &str) -> Option<u32> {
    let mut cores = BTreeSet::new();
    let mut socket = "";
    for line in cpuinfo.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        match key.trim() {
            "processor" => socket = "",
            "physical id" => socket = value.trim(),
            "core id" => drop(cores.insert((socket, value.trim()))),
            _ => {}
        }
    }
    u32::try_from(cores.len()).ok().filter(|count| *count > 0)
}

fn total_memory_gib(meminfo: &str) -> Option<f64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / KIB_PER_GIB)
}

#[expect(clippy::cast_precision_loss, reason = "GiB to seven digits are plenty")]
fn free_storage_gib(folder: &Path) -> Option<f64> {
    let existing = folder.ancestors().find(|path| path.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some(stat.f_bavail as f64 * stat.f_frsize as f64 / BYTES_PER_GIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_counted_once_for_all_their_threads() {
        let text = "processor : 0\nphysical id : 0\ncore id : 0\n\nprocessor : 1\nphysical id : 0\ncore id : 0\n\n\
                    processor : 2\nphysical id : 1\ncore id : 0\n";
        assert_eq!(physical_cores(text), Some(2));
        assert_eq!(physical_cores("processor : 0\nBogoMIPS : 50\n"), None);
    }

    #[test]
    fn memory_is_binary() {
        assert_eq!(total_memory_gib("MemTotal:       2097152 kB\nMemFree: 1 kB\n"), Some(2.0));
        assert_eq!(total_memory_gib("nothing"), None);
    }

    #[test]
    fn this_machine_has_something() {
        let machine = detect(Path::new("/tmp/not/there/yet"));
        assert!(machine.resources.cpu_threads >= 1 && machine.cpu_cores >= 1);
        assert!(machine.resources.storage_gib > 0.0);
    }
}
