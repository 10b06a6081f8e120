//! The command line: arguments, the way to the daemon, exit codes (spec 22b).

mod activity;
mod app_key;
mod client;
mod consent;
mod db;
mod extension;
mod id;
mod market;
mod net;
mod payment;
mod prompt;
mod service;
mod version;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};
use golem_bus::BusUrl;

use crate::output::Output;
use client::Client;

#[derive(Debug, Parser)]
#[command(name = "yagna", version = crate::version::LONG.as_str(), about = "A node of the Golem network: its daemon and its command line")]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = false)]
pub(crate) struct Cli {
    /// Data directory of the node
    #[arg(short, long, global = true, env = crate::env::DATADIR.name, hide_env_values = true)]
    datadir: Option<PathBuf>,

    /// Address of the service bus
    #[arg(short, long, global = true, env = crate::env::GSB_URL.name, hide_env_values = true)]
    gsb_url: Option<BusUrl>,

    /// Print results as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[arg(long, global = true, hide = true)]
    quiet: bool,

    /// Accepted for the sake of scripts
    #[arg(long, hide = true)]
    accept_terms: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Identities of this node
    #[command(subcommand)]
    Id(id::Command),
    /// Keys that open the REST interface
    #[command(subcommand)]
    AppKey(app_key::Command),
    /// The running version
    #[command(subcommand)]
    Version(version::Command),
    /// Sessions with other nodes
    #[command(subcommand)]
    Net(net::Command),
    /// Agreements
    #[command(subcommand)]
    Market(market::Command),
    /// Activities
    #[command(subcommand)]
    Activity(activity::Command),
    /// Accounts, balances, payments
    #[command(subcommand)]
    Payment(payment::Command),
    /// What the owner agreed to share
    #[command(subcommand)]
    Consent(consent::Command),
    /// The daemon itself
    #[command(subcommand)]
    Service(Box<service::Command>),
    /// Databases of the node
    #[command(subcommand)]
    Db(db::Command),
    /// Programs named `yagna-<name>`
    #[command(subcommand)]
    Extension(extension::Command),
    /// Completions for a shell
    #[command(hide = true)]
    Complete { shell: clap_complete::Shell },
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// What a command runs with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) datadir: Option<PathBuf>,
    pub(crate) gsb_url: BusUrl,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

impl Settings {
    pub(crate) fn data_dir(&self) -> Result<PathBuf> {
        let dir = self.datadir.clone().or_else(crate::env::data_dir_default);
        dir.context("no data directory is known; hint: `yagna --datadir <path> …` or set `YAGNA_DATADIR`")
    }
}

pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(usage) => {
            let _ = usage.print();
            // Wrong usage is 1 here, as in the official program; help and version are no errors.
            return if usage.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let settings = Settings {
        datadir: cli.datadir.map(unquoted),
        gsb_url: cli.gsb_url.unwrap_or_default(),
        json: cli.json,
        quiet: cli.quiet,
    };
    let done = match cli.command {
        Command::Service(command) if command.is_run() => return service::run(*command, &settings),
        Command::Other(args) => return extension::exec(&args, &settings),
        command => execute(command, &settings),
    };
    match done {
        Ok(output) => {
            output.print(settings.json);
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

/// Double quotes around a path come from scripts that quote twice.
fn unquoted(path: PathBuf) -> PathBuf {
    path.to_str().map_or_else(|| path.clone(), |text| PathBuf::from(text.trim_matches('"')))
}

fn execute(command: Command, settings: &Settings) -> Result<Output> {
    match command {
        Command::Consent(command) => consent::run(&command, settings),
        Command::Db(command) => db::run(&command, settings),
        Command::Extension(command) => extension::run(command, settings),
        Command::Complete { shell } => Ok(complete(shell)),
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let output = runtime.block_on(ask(command, settings));
            runtime.shutdown_background();
            output
        }
    }
}

async fn ask(command: Command, settings: &Settings) -> Result<Output> {
    let client = Client::new(settings).await;
    match command {
        Command::Id(command) => id::run(command, &client).await,
        Command::AppKey(command) => app_key::run(command, &client).await,
        Command::Version(command) => version::run(command, &client).await,
        Command::Net(command) => net::run(command, &client).await,
        Command::Market(command) => market::run(command, &client).await,
        Command::Activity(command) => activity::run(command, &client).await,
        Command::Payment(command) => payment::run(command, &client).await,
        Command::Service(command) => service::shut_down(&command, &client).await,
        Command::Consent(_) | Command::Db(_) | Command::Extension(_) | Command::Complete { .. } | Command::Other(_) => {
            Ok(Output::Nothing)
        }
    }
}

fn complete(shell: clap_complete::Shell) -> Output {
    let mut script = format!("# generating yagna completions for {}\n", shell.to_string().to_uppercase()).into_bytes();
    clap_complete::generate(shell, &mut Cli::command(), "yagna", &mut script);
    let text = String::from_utf8_lossy(&script).into_owned();
    Output::Text { json: text.clone().into(), text }
}

/// Prints why nothing was done.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    let mut text = String::new();
    for (at, cause) in error.chain().enumerate() {
        text += &if at == 0 { cause.to_string() } else { format!("\n  cause: {cause}") };
    }
    let now = golem_service::Clock::now(&golem_service::SystemClock).with_timezone(&chrono::Local);
    let time = now.format("%Y-%m-%dT%H:%M:%S%.3f%z");
    let line = format!("[{time} ERROR yagna] Exiting..., error details: {error}\nError: {text}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    ExitCode::FAILURE
}

pub(crate) fn print_help() {
    let _ = Cli::command().print_help();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_anywhere() {
        for args in
            [["yagna", "--json", "id", "show"], ["yagna", "id", "--json", "show"], ["yagna", "id", "show", "--json"]]
        {
            assert!(Cli::try_parse_from(args).unwrap().json);
        }
    }
}
