//! `yagna service`: the daemon in the foreground, and its end (spec 22b §10).

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use golem_model::control::{ADDRESS, ShutdownRequest};

use super::client::Client;
use super::{Settings, failed};
use crate::daemon::{self, Config};
use crate::env;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon in the foreground
    Run(Box<Run>),
    /// Stop the running daemon
    Shutdown {
        /// Let running requests end
        #[arg(long)]
        gracefully: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Run {
    /// Address of the REST server
    #[arg(short, long, env = env::API_URL.name, default_value = "http://127.0.0.1:7465")]
    api_url: String,
    /// Do not push metrics
    #[arg(long)]
    disable_metrics_push: bool,
    /// Where metrics are pushed to
    #[arg(long, env = env::METRICS_URL.name)]
    metrics_push_url: Option<String>,
    /// Job label of pushed metrics
    #[arg(long, env = env::METRICS_JOB.name, default_value = "community.1")]
    metrics_job_name: String,
    /// Group label of pushed metrics
    #[arg(long, env = env::METRICS_GROUP.name)]
    group: Option<String>,
    /// Seconds that an idle connection is kept
    #[arg(long, env = env::MAX_REST_TIMEOUT.name, default_value_t = 60)]
    max_rest_timeout: u64,
    /// More log lines
    #[arg(long)]
    debug: bool,
    /// Directory of log files, empty for none
    #[arg(long, env = env::LOG_DIR.name)]
    log_dir: Option<PathBuf>,
    /// Origin of web pages that every key may be used from
    #[arg(long, env = env::API_ALLOW_ORIGIN.name)]
    api_allow_origin: Vec<String>,
    /// Seconds that a browser may remember what it may do
    #[arg(long, default_value_t = 3600)]
    max_age: u64,
}

impl Command {
    pub(super) const fn is_run(&self) -> bool {
        matches!(self, Self::Run(_))
    }
}

pub(super) async fn shut_down(command: &Command, client: &Client) -> Result<Output> {
    let Command::Shutdown { gracefully } = command else { return Ok(Output::Nothing) };
    client.result(ADDRESS, ShutdownRequest { graceful: *gracefully }).await
}

pub(super) fn run(command: Command, settings: &Settings) -> ExitCode {
    let Command::Run(run) = command else { return ExitCode::FAILURE };
    match config(*run, settings).and_then(daemon::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn config(run: Run, settings: &Settings) -> Result<daemon::Program> {
    let data_dir = settings.data_dir()?;
    let log_dir = match run.log_dir {
        Some(dir) if dir.as_os_str().is_empty() => None,
        Some(dir) => Some(dir),
        // An empty variable counts as given.
        None if env::LOG_DIR.os().is_some_and(|dir| dir.is_empty()) => None,
        None => Some(data_dir.clone()),
    };
    let mut config = Config::new(data_dir);
    config.gsb_url = settings.gsb_url.clone();
    config.rest = daemon::rest_address(&run.api_url).with_context(|| format!("`{}` is no http URL", run.api_url))?;
    config.cors.origins = run.api_allow_origin;
    config.cors.max_age_secs = run.max_age;
    config.keep_alive = Duration::from_secs(run.max_rest_timeout.max(1));
    config.with_environment()?;
    if run.metrics_push_url.is_some() && !run.disable_metrics_push {
        let label = run.group.map(|group| format!(" of group `{group}`")).unwrap_or_default();
        tracing::debug!(job = run.metrics_job_name, "metrics{label} are served, not pushed");
    }
    Ok(daemon::Program { config, log_dir, debug: run.debug })
}
