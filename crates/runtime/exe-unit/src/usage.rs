//! Usage counters in the order of the agreement (spec 51 §4).

mod proc;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use golem_model::exe_unit::ActivityUsage;
use tokio::time::{Duration, Instant};

use crate::Agreement;

const DURATION: &str = "golem.usage.duration_sec";
const CPU: &str = "golem.usage.cpu_sec";
const MEMORY: &str = "golem.usage.gib";
const STORAGE: &str = "golem.usage.storage_gib";
const GIB: f64 = (1u64 << 30) as f64;

/// Counters that this supervisor knows how to count.
pub const KNOWN: [&str; 4] = [DURATION, CPU, MEMORY, STORAGE];

/// Walking the work dir costs disk accesses, so it is not done for each report.
const STORAGE_LOOK_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Usage {
    vector: Vec<String>,
    started: Instant,
    work_dir: PathBuf,
    limits: Option<Limits>,
    state: Mutex<State>,
}

/// What the agreement grants, when the supervisor looks after it.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Limits {
    pub mem_gib: Option<f64>,
    pub storage_gib: Option<f64>,
}

#[derive(Debug, Default)]
struct State {
    cpu_sec: f64,
    memory_peak: u64,
    storage: u64,
    storage_at: Option<Instant>,
    image: Option<PathBuf>,
    custom: BTreeMap<String, f64>,
}

impl Usage {
    pub fn new(agreement: &Agreement, work_dir: &Path, limits: Option<Limits>) -> Self {
        Self {
            vector: agreement.usage_vector.clone(),
            started: Instant::now(),
            work_dir: work_dir.into(),
            limits,
            state: Mutex::default(),
        }
    }

    /// A counter that the runtime keeps; ignored unless the agreement names it.
    pub fn set(&self, name: &str, value: f64) {
        let ours = KNOWN.contains(&name) || !value.is_finite();
        if !ours && self.vector.iter().any(|counter| counter == name) {
            self.lock().custom.insert(name.into(), value);
        }
    }

    pub(crate) fn set_image(&self, image: Option<PathBuf>) {
        let mut state = self.lock();
        (state.image, state.storage_at) = (image, None);
    }

    /// Looks at the machine. Blocks for as long as reading `/proc` and the work dir takes.
    pub fn measure(&self, unix_seconds: i64) -> ActivityUsage {
        let counted = |name: &str| self.vector.iter().any(|counter| counter == name);
        let limited = self.limits.unwrap_or_default();
        if counted(CPU) || counted(MEMORY) || limited.mem_gib.is_some() {
            let tree = proc::tree();
            let mut state = self.lock();
            // A child that ended between two steps of counting must not take its time back.
            state.cpu_sec = state.cpu_sec.max(tree.cpu_sec);
            state.memory_peak = state.memory_peak.max(tree.memory_bytes);
        }
        if counted(STORAGE) || limited.storage_gib.is_some() {
            let image = {
                let state = self.lock();
                let due = state.storage_at.is_none_or(|at| at.elapsed() >= STORAGE_LOOK_AFTER);
                due.then(|| state.image.clone())
            };
            if let Some(image) = image {
                let image = image.and_then(|path| path.metadata().ok()).map_or(0, |metadata| metadata.len());
                let bytes = image + proc::folder_bytes(&self.work_dir);
                let mut state = self.lock();
                (state.storage, state.storage_at) = (bytes, Some(Instant::now()));
            }
        }
        let state = self.lock();
        let value = |name: &String| match name.as_str() {
            DURATION => self.started.elapsed().as_secs_f64(),
            CPU => state.cpu_sec,
            MEMORY => gib(state.memory_peak),
            STORAGE => gib(state.storage),
            custom => state.custom.get(custom).copied().unwrap_or_default(),
        };
        ActivityUsage { current_usage: Some(self.vector.iter().map(value).collect()), timestamp: unix_seconds }
    }

    /// The limit that was broken, as of the last measurement.
    pub fn exceeded(&self) -> Option<String> {
        let limits = self.limits?;
        let state = self.lock();
        let checks =
            [(MEMORY, gib(state.memory_peak), limits.mem_gib), (STORAGE, gib(state.storage), limits.storage_gib)];
        let broken = checks.into_iter().find(|(_, used, limit)| limit.is_some_and(|limit| *used > limit))?;
        let (name, used, limit) = broken;
        Some(format!(
            "Usage limit exceeded: {name} is {used:.3} GiB, the agreement grants {:.3} GiB",
            limit.unwrap_or_default()
        ))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a counter of GiB has no more than a few digits")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / GIB
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stand_in_the_order_of_the_agreement() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("data"), vec![1; 1 << 20]).unwrap();
        let vector = ["my.counter", STORAGE, DURATION, MEMORY, CPU, "other"].map(String::from).to_vec();
        let agreement = Agreement { usage_vector: vector, ..Agreement::default() };
        let limits = Limits { mem_gib: Some(1000.0), storage_gib: Some(0.0005) };
        let usage = Usage::new(&agreement, dir.path(), Some(limits));
        usage.set("my.counter", 42.5);
        usage.set("unknown", 1.0);
        usage.set(CPU, -5.0);
        usage.set("other", f64::NAN);
        let measured = usage.measure(1_700_000_000);
        assert_eq!(measured.timestamp, 1_700_000_000);
        let values = measured.current_usage.unwrap();
        assert_eq!((values[0], values[5]), (42.5, 0.0));
        assert!(values[1] >= 1.0 / 1024.0 && values[1] < 0.01, "{values:?}");
        assert!(values[3] > 0.0 && values[4] >= 0.0, "{values:?}");
        assert!(usage.exceeded().unwrap().starts_with("Usage limit exceeded: golem.usage.storage_gib"));
    }

    #[test]
    fn time_of_children_counts_while_they_run_and_after() {
        let vector = vec![CPU.to_owned()];
        let usage = Usage::new(&Agreement { usage_vector: vector, ..Agreement::default() }, Path::new("/"), None);
        let cpu = || usage.measure(0).current_usage.unwrap()[0];
        let before = cpu();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"])
            .spawn()
            .unwrap();
        child.wait().unwrap();
        assert!(cpu() > before, "{before}");
    }
}
