//! The command line (spec 51 §1).

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use golem_bus::{Bus, BusUrl};
use golem_model::exe_unit::Command as ScriptCommand;
use golem_runtime_api::argv::{Hardware, Invocation};
use golem_runtime_api::deploy::OfferTemplate;
use golem_runtime_transfer::{Transfers, Volumes};
use golem_service::SystemClock;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::report::Reporter;
use crate::runtime::{self, Runtime};
use crate::signals::Signals;
use crate::usage::{KNOWN, Limits, Usage};
use crate::{Agreement, Options, Unit, log, service};

const BUS_NAME: &str = "exe-unit";
const KILL_TIMEOUT_DEFAULT: u64 = 5;
/// Time for the runtime to print its offer template or to test itself; virtual machines boot for it.
const ASK_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for answers that are on their way when the program ends.
const CLOSE_DEADLINE: Duration = Duration::from_millis(200);
const SCRIPT_BYTES_MAX: u64 = 16 << 20;

/// Runs one activity: drives a runtime by the orders of a requestor.
#[derive(Debug, Parser)]
#[command(name = "exe-unit", version)]
struct Cli {
    /// The runtime
    #[arg(short, long, global = true)]
    binary: Option<PathBuf>,
    /// The runtime keeps to the limits of processor, memory and disk; it is given them as arguments
    #[arg(long, alias = "cap-handoff", global = true)]
    runtime_managed_hardware: bool,
    /// The runtime brings its image itself
    #[arg(long, global = true)]
    runtime_managed_image: bool,
    /// One more argument for the runtime, before its verb; write `--runtime-arg=--flag`
    #[arg(short, long, global = true)]
    runtime_arg: Vec<String>,
    /// Accepted for enclaves, which this program does not have
    #[arg(long, env = "EXE_UNIT_SEC_KEY", hide_env_values = true, global = true)]
    sec_key: Option<String>,
    /// Accepted for enclaves, which this program does not have
    #[arg(long, env = "EXE_UNIT_REQUESTOR_PUB_KEY", global = true)]
    requestor_pub_key: Option<String>,
    /// Anybody on the bus may give orders; for tests
    #[arg(long, env = "EXE_UNIT_ANY_CALLER", hide = true, global = true)]
    any_caller: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve an activity on the service bus
    ServiceBus {
        /// Id of the activity
        service_id: String,
        /// Address on the bus that takes reports
        report_url: String,
        #[command(flatten)]
        dirs: Dirs,
    },
    /// Run the commands of a file and print their results
    FromFile {
        /// A JSON array of commands
        input: PathBuf,
        #[command(flatten)]
        dirs: Dirs,
        #[arg(long)]
        report_url: Option<String>,
        #[arg(long)]
        service_id: Option<String>,
        /// Stay after the last command until a signal comes
        #[arg(long)]
        stay: bool,
    },
    /// Print what an offer says about this supervisor and its runtime
    OfferTemplate,
    /// Run the self-test of the runtime
    Test,
}

#[derive(Debug, Args)]
struct Dirs {
    /// The agreement, as the provider agent writes it
    #[arg(short, long)]
    agreement: PathBuf,
    /// Folder of this activity
    #[arg(short, long)]
    work_dir: PathBuf,
    /// Folder of images, shared by all activities
    #[arg(short, long)]
    cache_dir: PathBuf,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The whole program.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let environment = Environment::load();
    let supervises = matches!(cli.command, Command::ServiceBus { .. } | Command::FromFile { .. });
    let log_dir = PathBuf::from(environment.get("EXE_UNIT_LOG_DIR").unwrap_or_else(|| "logs".into()));
    let (stderr_level, file_level) = (environment.get("RUST_LOG"), environment.get("EXE_UNIT_FILE_LOG_LEVEL"));
    log::start(supervises.then_some(log_dir.as_path()), stderr_level.as_deref(), file_level.as_deref());
    Transfers::install_tls();
    let done = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = done.map_err(Failure::from).and_then(|runtime| {
        let done = runtime.block_on(execute(cli, &environment));
        runtime.shutdown_timeout(CLOSE_DEADLINE);
        done
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            let mut text = format!("error: {error}");
            let mut cause = std::error::Error::source(&*error);
            while let Some(error) = cause {
                text.push_str(&format!("\n  cause: {error}"));
                cause = error.source();
            }
            tracing::error!("{text}");
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

async fn execute(cli: Cli, environment: &Environment) -> Result<ExitCode, Failure> {
    let program = cli.binary.clone().ok_or("no runtime; hint: name it by `--binary <path>`")?;
    match &cli.command {
        Command::OfferTemplate => offer_template(&program, &cli.runtime_arg).await,
        Command::Test => self_test(&program, &cli.runtime_arg).await,
        Command::ServiceBus { service_id, report_url, dirs } => {
            let url = environment.bus_url()?;
            let bus = Bus::connect(&url, BUS_NAME).await?;
            let unit = Supervisor::new(&cli, dirs, service_id, Some((bus, report_url.clone())), environment)?;
            unit.serve().await
        }
        Command::FromFile { input, dirs, report_url, service_id, stay } => {
            let script = read_script(input)?;
            let id = service_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
            let target = match report_url {
                Some(url) => Some((Bus::connect(&environment.bus_url()?, BUS_NAME).await?, url.clone())),
                None => None,
            };
            let unit = Supervisor::new(&cli, dirs, &id, target, environment)?;
            unit.run_file(script, *stay).await
        }
    }
}

/// The parts of a running supervisor.
struct Supervisor {
    unit: Unit,
    reports: Reporter,
    bus: Option<Bus>,
    tasks: TaskTracker,
    signals: Signals,
}

impl Supervisor {
    fn new(
        cli: &Cli,
        dirs: &Dirs,
        activity_id: &str,
        target: Option<(Bus, String)>,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        // First of all, so that a signal during the start is not lost.
        let signals = Signals::listen()?;
        let agreement = Agreement::load(&dirs.agreement)?;
        let work_dir = make_dir(&dirs.work_dir)?;
        let cache_dir = make_dir(&dirs.cache_dir)?;
        let gib = |name: &str| agreement.inf(name);
        let hardware = cli.runtime_managed_hardware.then(|| Hardware {
            cpu_threads: gib("cpu.threads"),
            mem_gib: gib("mem.gib"),
            storage_gib: gib("storage.gib"),
        });
        let limits = Limits { mem_gib: gib("mem.gib"), storage_gib: gib("storage.gib") };
        let limits = (!cli.runtime_managed_hardware).then_some(limits);
        let runtime_args = cli.runtime_arg.clone();
        let invocation = Invocation { work_dir: work_dir.clone(), task_package: None, hardware, runtime_args };
        let program = cli.binary.clone().unwrap_or_default();
        // A name without a folder is looked for in PATH; a path must hold after the change of folder.
        let program = if program.components().count() > 1 { std::fs::canonicalize(program)? } else { program };

        let tasks = TaskTracker::new();
        let bus = target.as_ref().map(|(bus, _)| bus.clone());
        let usage = Arc::new(Usage::new(&agreement, &work_dir, limits));
        let reports = Reporter::new(target, activity_id.into());
        let runtime = Runtime::new(program, invocation, environment.kill_grace(), tasks.clone(), Arc::clone(&usage));
        let transfers = Transfers::new(Volumes::new(&work_dir), bus.clone())?;
        let options = Options {
            activity_id: activity_id.into(),
            agreement,
            work_dir,
            cache_dir,
            runtime_managed_image: cli.runtime_managed_image,
            any_caller: cli.any_caller,
        };
        let unit = Unit::new(options, runtime, transfers, usage, reports.clone(), Arc::new(SystemClock), tasks.clone());
        Ok(Self { unit, reports, bus, tasks, signals })
    }

    /// Binds, reports and starts to send usage. What comes out of the channel is a reason to end.
    fn begin(&self) -> mpsc::Receiver<String> {
        if let Some(bus) = &self.bus {
            service::bind(bus, &self.unit);
        }
        self.unit.initialize();
        let (end, ending) = mpsc::channel(1);
        self.tasks.spawn(self.reports.clone().send_states());
        let (unit, limits) = (self.unit.clone(), self.unit.clone());
        let measure = move || {
            let unit = unit.clone();
            async move { unit.usage().await }
        };
        let exceeded = end.clone();
        let check = move || {
            // One reason is enough; the channel holds it until the end begins.
            let _ = limits.usage_exceeded().map(|reason| exceeded.try_send(reason));
        };
        let reports = self.reports.clone();
        self.tasks.spawn(async move {
            let lost = reports.send_usage(measure, check).await;
            // The end may have begun already.
            let _ = end.send(lost).await;
        });
        info!(activity = self.unit.activity_id(), "exe-unit started");
        ending
    }

    async fn serve(mut self) -> Result<ExitCode, Failure> {
        let mut ending = self.begin();
        let reason = self.reason(&mut ending).await;
        self.end(&reason).await;
        Ok(ExitCode::SUCCESS)
    }

    async fn reason(&mut self, ending: &mut mpsc::Receiver<String>) -> String {
        tokio::select! {
            signal = self.signals.next() => format!("Interrupted by signal: {signal}"),
            Some(reason) = ending.recv() => reason,
        }
    }

    /// Runs one batch and prints each result as a line of JSON.
    async fn run_file(mut self, script: Vec<ScriptCommand>, stay: bool) -> Result<ExitCode, Failure> {
        let mut ending = self.begin();
        let batch_id = uuid::Uuid::new_v4().simple().to_string();
        self.unit.exec(&batch_id, script)?;
        let batch = self.unit.batch(&batch_id).ok_or("the batch is gone")?;
        let results = async {
            for index in 0..batch.script.len() {
                let asked = u64::try_from(index).unwrap_or(u64::MAX);
                while !batch.is_ended() && batch.results(Some(asked), ASK_TIMEOUT).await.is_err() {}
                let results = batch.results(Some(asked), Duration::ZERO).await?;
                let Some(result) = results.get(index) else { break };
                print(&format!("{}\n", serde_json::to_string(result)?))?;
            }
            Ok::<_, Failure>("Finished".to_owned())
        };
        let mut reason = tokio::select! {
            done = results => done?,
            signal = self.signals.next() => format!("Interrupted by signal: {signal}"),
            Some(reason) = ending.recv() => reason,
        };
        if stay && reason == "Finished" {
            reason = self.reason(&mut ending).await;
        }
        let ok = batch.is_done();
        self.end(&reason).await;
        Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn end(&self, reason: &str) {
        self.unit.shut_down(reason).await;
        if let Some(bus) = &self.bus {
            bus.close(CLOSE_DEADLINE).await;
        }
        info!("exe-unit ended");
    }
}

fn make_dir(path: &Path) -> Result<PathBuf, Failure> {
    let made = std::fs::create_dir_all(path).and_then(|()| std::fs::canonicalize(path));
    made.map_err(|error| format!("cannot make folder `{}`: {error}", path.display()).into())
}

fn read_script(path: &Path) -> Result<Vec<ScriptCommand>, Failure> {
    let size = std::fs::metadata(path)?.len();
    if size > SCRIPT_BYTES_MAX {
        return Err(format!("`{}` is larger than {SCRIPT_BYTES_MAX} bytes", path.display()).into());
    }
    let text = std::fs::read_to_string(path)?;
    serde_json::from_str(&text).map_err(|error| format!("`{}` is not an exe-script: {error}", path.display()).into())
}

async fn offer_template(program: &Path, runtime_args: &[String]) -> Result<ExitCode, Failure> {
    let properties = json!({
        "golem.com.usage.vector": KNOWN,
        "golem.activity.caps.transfer.protocol": ["http", "https", "gftp"],
        "golem.activity.caps.transfer.report-progress": true,
        "golem.activity.caps.deploy.report-progress": true,
    });
    let base: OfferTemplate = serde_json::from_value(json!({"properties": properties, "constraints": ""}))?;
    let args = runtime_args.iter().map(OsString::from).chain(["offer-template".into()]).collect();
    let (code, out, err) = runtime::ask(program, args, ASK_TIMEOUT).await?;
    let template = if code == Some(0) {
        base.patched(OfferTemplate::parse(&out)?)
    } else {
        warn!(?code, stderr = %String::from_utf8_lossy(&err), "the runtime has no offer template");
        base
    };
    print(&serde_json::to_string(&template)?)?;
    Ok(ExitCode::SUCCESS)
}

async fn self_test(program: &Path, runtime_args: &[String]) -> Result<ExitCode, Failure> {
    let args = runtime_args.iter().map(OsString::from).chain(["test".into()]).collect();
    let (code, out, err) = runtime::ask(program, args, ASK_TIMEOUT).await?;
    std::io::stderr().write_all(&err)?;
    std::io::stdout().write_all(&out)?;
    Ok(if code == Some(0) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Variables of the process, and below them those of a `.env` file in the current folder.
struct Environment(HashMap<String, String>);

impl Environment {
    fn load() -> Self {
        let text = std::fs::read_to_string(".env").unwrap_or_default();
        let pairs = text.lines().filter_map(|line| {
            let line = line.trim();
            let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
            let value = value.trim().trim_matches(['"', '\'']);
            (!line.starts_with('#')).then(|| (name.trim().to_owned(), value.to_owned()))
        });
        Self(pairs.collect())
    }

    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().or_else(|| self.0.get(name).cloned()).filter(|value| !value.is_empty())
    }

    fn bus_url(&self) -> Result<BusUrl, Failure> {
        self.get("GSB_URL").map_or_else(|| Ok(BusUrl::default()), |url| Ok(url.parse()?))
    }

    /// Between asking the processes of the runtime to end and killing them.
    fn kill_grace(&self) -> Duration {
        let seconds = self.get("PROCESS_KILL_TIMEOUT_SECONDS").and_then(|text| text.parse().ok());
        Duration::from_secs(seconds.unwrap_or(KILL_TIMEOUT_DEFAULT).max(1)) / 5
    }
}
