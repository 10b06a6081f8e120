//! The command line (spec 52 §2, §6).

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

use crate::cache::Cache;
use crate::deployment::{DeployError, Deployment};
use crate::guest::{self, Limits};

/// A module that writes one line; what `test` runs.
const SELF_TEST: &[u8] = include_bytes!("self_test.wasm");
const SELF_TEST_OUTPUT: &[u8] = b"hello wasi\n";

/// Runs WASM programs for a supervisor.
#[derive(Debug, Parser)]
#[command(name = "ya-runtime-wasi", version)]
struct Cli {
    /// Folder of the activity: volumes and what `deploy` has found out
    #[arg(short, long, default_value = ".")]
    workdir: PathBuf,
    /// The package: a zip with `manifest.json` and WASM modules
    #[arg(short, long)]
    task_package: Option<PathBuf>,
    /// Folder of compiled modules [default: `golem/wasi` in the user's cache folder]
    #[arg(long, env = "YA_RUNTIME_WASI_CACHE")]
    cache_dir: Option<PathBuf>,
    /// Log more
    #[arg(long)]
    debug: bool,
    /// Memory that a program may use
    #[arg(long)]
    mem_gib: Option<f64>,
    /// Accepted; a program has one thread
    #[arg(long)]
    cpu_cores: Option<f64>,
    /// Accepted; the supervisor looks after the disk
    #[arg(long)]
    storage_gib: Option<f64>,
    /// More volumes, as JSON: `{"/path":{"host":{}}}`
    #[arg(long, env = "YA_RUNTIME_VOLUME_OVERRIDE")]
    volume_override: Option<String>,
    /// Accepted; a program sees no host name
    #[arg(long)]
    hostname: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the package, make its volumes, compile its modules
    Deploy {
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check that every module loads
    Start {
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run one entry point
    Run {
        #[arg(short, long)]
        entrypoint: String,
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Print what an offer says about this runtime
    OfferTemplate {
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run a small module and compare what it prints
    Test {
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

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
    start_log(cli.debug);
    match execute(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let mut text = format!("Error: {error}");
            let mut cause = std::error::Error::source(&*error);
            while let Some(error) = cause {
                text.push_str(&format!("\n  cause: {error}"));
                cause = error.source();
            }
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(debug: bool) {
    use tracing_subscriber::EnvFilter;
    let level = if debug { "debug" } else { "warn" };
    let filter = EnvFilter::try_from_env("YA_WASI_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // Fails only when this process has a log already.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn execute(cli: &Cli) -> Result<u8, Failure> {
    match &cli.command {
        Command::Deploy { .. } => {
            let package = cli.task_package.as_deref().ok_or("no package; hint: name it by `--task-package`")?;
            std::fs::create_dir_all(&cli.workdir)?;
            let cache = open_cache(cli)?;
            let result = Deployment::create(&cli.workdir, package, cli.volume_override.as_deref(), &cache)?;
            // Official runtimes end their result with two line ends.
            print(&format!("{}\n\n", serde_json::to_string(&result)?))?;
            Ok(0)
        }
        Command::Start { .. } => {
            let deployment = Deployment::load(&cli.workdir)?;
            let cache = open_cache(cli)?;
            for entry in &deployment.entry_points {
                deployment.module(entry, &cache)?;
            }
            Ok(0)
        }
        Command::Run { entrypoint, args } => {
            let deployment = Deployment::load(&cli.workdir)?;
            let entry = deployment.entry_point(entrypoint)?;
            let cache = open_cache(cli)?;
            let module = deployment.module(entry, &cache)?;
            let (name, vols) = (&entry.wasm_path, &deployment.vols);
            let code = guest::run(cache.engine(), &module, name, args, &cli.workdir, vols, limits(cli)?)?;
            // What does not fit into an exit code is a failure all the same.
            Ok(u8::try_from(code).unwrap_or(u8::MAX))
        }
        Command::OfferTemplate { .. } => {
            let properties = json!({"golem.runtime.wasm.wasi.version@v": "0.1.0"});
            print(&json!({"properties": properties, "constraints": ""}).to_string())?;
            Ok(0)
        }
        Command::Test { .. } => self_test(cli).map(|()| 0),
    }
}

fn self_test(cli: &Cli) -> Result<(), Failure> {
    let cache = open_cache(cli)?;
    let module = cache.compile(SELF_TEST, "self-test")?;
    let output = MemoryOutputPipe::new(SELF_TEST_OUTPUT.len() + 1);
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdout(output.clone());
    let code = guest::execute(cache.engine(), &module, "self-test", &[], wasi, Limits::default())?;
    let printed = output.contents();
    if code != 0 || printed != SELF_TEST_OUTPUT {
        return Err(
            format!("the self-test ended with {code} and printed `{}`", String::from_utf8_lossy(&printed)).into()
        );
    }
    print("ok\n")?;
    Ok(())
}

fn limits(cli: &Cli) -> Result<Limits, Failure> {
    let Some(gib) = cli.mem_gib else { return Ok(Limits::default()) };
    if !(gib > 0.0 && gib < 1e6) {
        return Err(format!("`--mem-gib {gib}` is not an amount of memory").into());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
    let bytes = (gib * 1024.0 * 1024.0 * 1024.0) as usize;
    Ok(Limits { memory_bytes_max: Some(bytes) })
}

/// The user's cache folder serves all activities; without one the work dir must do.
fn open_cache(cli: &Cli) -> Result<Cache, DeployError> {
    let user = || {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
        Some(base.join("golem/wasi"))
    };
    let fallback = || cli.workdir.join(".compiled");
    match cli.cache_dir.clone().or_else(user) {
        Some(dir) => Ok(Cache::open(&dir).or_else(|_| Cache::open(&fallback()))?),
        None => Ok(Cache::open(&fallback())?),
    }
}

fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
