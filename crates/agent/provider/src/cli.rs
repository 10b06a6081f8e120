//! The command line (spec 60 §1).

mod args;
mod config;
mod exe_unit;
mod preset;
mod profile;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde::Serialize;

pub(crate) use args::{NodeArgs, RunArgs};

use crate::config::descriptor::{self, Descriptor};
use crate::config::hardware::{Caps, Machine};
use crate::config::machine;

/// Sells this machine's computing on the Golem Network.
#[derive(Debug, Parser)]
#[command(
    name = "ya-provider",
    version,
    after_help = "Example: ya-provider run --app-key $YAGNA_APPKEY --payment-network hoodi"
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// Descriptor files of the installed runtimes; one `*` in the file name is allowed
    #[arg(long, env = "EXE_UNIT_PATH", global = true)]
    exe_unit_path: Option<PathBuf>,
    /// Folder with the settings and the work of exe-units
    #[arg(long, env = "DATA_DIR", global = true, value_parser = unquoted)]
    data_dir: Option<PathBuf>,
    /// Folder of the log files [default: the data directory]
    #[arg(long, env = "PROVIDER_LOG_DIR", global = true, value_parser = unquoted)]
    log_dir: Option<PathBuf>,
    /// Folder of trusted certificates [default: `cert-dir` in the data directory]
    #[arg(long, env = "PROVIDER_CERT_DIR", global = true, value_parser = unquoted)]
    cert_dir: Option<PathBuf>,
    /// Offer at most this many CPU threads
    #[arg(long, env = "YA_RT_CORES", global = true)]
    rt_cores: Option<u32>,
    /// Offer at most this much memory, in GiB
    #[arg(long, env = "YA_RT_MEM", global = true)]
    rt_mem: Option<f64>,
    /// Offer at most this much storage, in GiB
    #[arg(long, env = "YA_RT_STORAGE", global = true)]
    rt_storage: Option<f64>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publish offers and serve agreements until stopped
    Run(Box<RunArgs>),
    /// Test every installed runtime
    SelfTest(Box<RunArgs>),
    /// Name, subnet and account of the node
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// What is offered for which price
    #[command(subcommand)]
    Preset(preset::PresetCommand),
    /// How much of the machine is offered
    #[command(subcommand)]
    Profile(profile::ProfileCommand),
    /// Installed runtimes
    #[command(subcommand)]
    ExeUnit(exe_unit::ExeUnitCommand),
}

/// Paths from installers come in quotes now and then.
fn unquoted(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(PathBuf::from(text.trim_matches(['"', '\''])))
}

impl Global {
    pub(crate) fn data_dir(&self) -> anyhow::Result<PathBuf> {
        let folder = match &self.data_dir {
            Some(folder) => folder.clone(),
            None => {
                default_data_dir().context("no home directory\nhint: `--data-dir` (or DATA_DIR) names the folder")?
            }
        };
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
        folder.canonicalize().with_context(|| format!("cannot use `{}`", folder.display()))
    }

    pub(crate) fn log_dir(&self) -> anyhow::Result<PathBuf> {
        self.log_dir.clone().map_or_else(|| self.data_dir(), Ok)
    }

    pub(crate) fn caps(&self) -> Caps {
        Caps { cpu_threads: self.rt_cores, mem_gib: self.rt_mem, storage_gib: self.rt_storage }
    }

    pub(crate) fn descriptors(&self) -> anyhow::Result<Vec<Descriptor>> {
        let pattern = self.exe_unit_path.clone().unwrap_or_else(descriptor::default_pattern);
        Ok(descriptor::find(&pattern)?)
    }

    pub(crate) fn machine(&self) -> anyhow::Result<Machine> {
        Ok(machine::detect(&self.data_dir()?))
    }
}

fn default_data_dir() -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let home = || std::env::home_dir().filter(absolute);
    let base = if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Application Support"))
    } else {
        let named = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(absolute);
        named.or_else(|| home().map(|home| home.join(".local/share")))
    };
    Some(base?.join("ya-provider"))
}

/// Prints data to stdout. A reader that went away is not our error.
pub(crate) fn print(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

pub(crate) fn print_json<T: Serialize + ?Sized>(value: &T) -> anyhow::Result<()> {
    print(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// The program `ya-provider`: 0 done, 1 failed, 2 wrong usage.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let global = cli.global;
    let outcome = match cli.command {
        Command::Run(args) => crate::run::run(&global, *args),
        Command::SelfTest(args) => crate::run::self_test(&global, &args),
        Command::Config(command) => config::run(&global, command),
        Command::Preset(command) => preset::run(&global, command),
        Command::Profile(command) => profile::run(&global, command),
        Command::ExeUnit(command) => exe_unit::run(&global, &command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}", report(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error, then its causes, then its hints.
fn report(error: &anyhow::Error) -> String {
    let mut lines = Vec::new();
    let mut hints = Vec::new();
    for (depth, cause) in error.chain().enumerate() {
        let prefix = if depth == 0 { "error: " } else { "  cause: " };
        for (number, line) in cause.to_string().lines().enumerate() {
            match line.strip_prefix("hint: ") {
                Some(hint) => hints.push(format!("  hint: {hint}")),
                None if number == 0 => lines.push(format!("{prefix}{line}")),
                None => lines.push(format!("  {line}")),
            }
        }
    }
    lines.dedup();
    lines.extend(hints);
    lines.join("\n")
}
