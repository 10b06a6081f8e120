//! The command line that a supervisor gives a runtime (spec 52 §2.1).

use std::ffi::OsString;
use std::path::PathBuf;

/// Resources that the runtime shall keep to; only with runtime-managed hardware, each only if the agreement names it.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Hardware {
    pub cpu_threads: Option<f64>,
    pub mem_gib: Option<f64>,
    pub storage_gib: Option<f64>,
}

/// What stands before the verb.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Invocation {
    pub work_dir: PathBuf,
    pub task_package: Option<PathBuf>,
    pub hardware: Option<Hardware>,
    pub runtime_args: Vec<String>,
}

impl Invocation {
    fn prefix(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["--workdir".into(), self.work_dir.clone().into()];
        if let Some(package) = &self.task_package {
            args.extend(["--task-package".into(), package.clone().into()]);
        }
        if let Some(hardware) = self.hardware {
            // Threads are whole; the others are printed as the float they are.
            let threads = hardware.cpu_threads.map(|threads| format!("{:.0}", threads.trunc()));
            let values = [
                ("--cpu-cores", threads),
                ("--mem-gib", hardware.mem_gib.map(|gib| gib.to_string())),
                ("--storage-gib", hardware.storage_gib.map(|gib| gib.to_string())),
            ];
            for (option, value) in values {
                args.extend(value.into_iter().flat_map(|value| [option.into(), value.into()]));
            }
        }
        args.extend(self.runtime_args.iter().map(Into::into));
        args
    }

    pub fn deploy(&self, volume_override: Option<&str>, hostname: Option<&str>) -> Vec<OsString> {
        let mut args = self.prefix();
        for (option, value) in [("--volume-override", volume_override), ("--hostname", hostname)] {
            args.extend(value.into_iter().flat_map(|value| [option.into(), value.into()]));
        }
        args.extend(["deploy".into(), "--".into()]);
        args
    }

    /// `start` of a runtime that runs one process for each command.
    pub fn start(&self, start_args: &[String]) -> Vec<OsString> {
        let mut args = self.prefix();
        args.extend(["start".into(), "--".into()]);
        args.extend(start_args.iter().map(Into::into));
        args
    }

    /// `start` of a runtime that stays; here no `--` separates the arguments.
    pub fn start_blocking(&self, vpn: Option<&str>, inet: Option<&str>, start_args: &[String]) -> Vec<OsString> {
        let mut args = self.prefix();
        for (option, value) in [("--vpn-endpoint", vpn), ("--inet-endpoint", inet)] {
            args.extend(value.into_iter().flat_map(|value| [option.into(), value.into()]));
        }
        args.push("start".into());
        args.extend(start_args.iter().map(Into::into));
        args
    }

    pub fn run(&self, entry_point: &str, run_args: &[String]) -> Vec<OsString> {
        let mut args = self.prefix();
        args.extend(["run".into(), "--entrypoint".into(), entry_point.into(), "--".into()]);
        args.extend(run_args.iter().map(Into::into));
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_stand_in_the_order_of_the_official_supervisor() {
        let plain =
            Invocation { work_dir: "/w".into(), task_package: Some("/c/t.gvmi".into()), ..Invocation::default() };
        assert_eq!(plain.deploy(None, None), ["--workdir", "/w", "--task-package", "/c/t.gvmi", "deploy", "--"]);
        let vpn = "udp://127.0.0.1:60617";
        let blocking = plain.start_blocking(Some(vpn), None, &[]);
        assert_eq!(blocking, ["--workdir", "/w", "--task-package", "/c/t.gvmi", "--vpn-endpoint", vpn, "start"]);

        let hardware = Hardware { cpu_threads: Some(2.0), mem_gib: Some(1.5), storage_gib: Some(10.0) };
        let full = Invocation { hardware: Some(hardware), runtime_args: vec!["--x".into()], ..plain };
        let prefix = "--workdir /w --task-package /c/t.gvmi --cpu-cores 2 --mem-gib 1.5 --storage-gib 10 --x";
        let joined = |args: Vec<OsString>| args.join(" ".as_ref()).into_string().unwrap();
        assert_eq!(joined(full.start(&["a".into()])), format!("{prefix} start -- a"));
        assert_eq!(joined(full.run("/bin/e", &["-b".into()])), format!("{prefix} run --entrypoint /bin/e -- -b"));
        let volumes = r#"{"/a":{"host":{}}}"#;
        let deploy = format!("{prefix} --volume-override {volumes} --hostname h deploy --");
        assert_eq!(joined(full.deploy(Some(volumes), Some("h"))), deploy);
    }
}
