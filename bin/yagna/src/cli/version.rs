//! `yagna version` (spec 22b §4).

use anyhow::Result;
use clap::Subcommand;
use golem_model::version::{ADDRESS, Check, Release, Skip, VersionInfo};

use super::client::Client;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the running version and a newer one that is known
    Show,
    /// Ask for a newer version first
    Check,
    /// Do not remind of the newer version
    #[command(hide = true)]
    Skip,
}

pub(super) async fn run(command: Command, client: &Client) -> Result<Output> {
    let check = matches!(command, Command::Check);
    if let Command::Skip = command {
        return Output::value(match client.call(ADDRESS, Skip()).await? {
            Some(release) => format!("Release skipped: {}", words(&release)),
            None => "No pending release to skip".to_owned(),
        });
    }
    let info: VersionInfo = client.call(ADDRESS, Check { check }).await?;
    let text = match &info.pending {
        None => format!("Your Yagna is up to date: {}", words(&info.current)),
        Some(pending) => format!("New Yagna {} is available!", words(pending)),
    };
    Ok(Output::Text { text, json: serde_json::to_value(info)? })
}

fn words(release: &Release) -> String {
    format!("Version {} '{}' released {}", release.version, release.name, release.release_ts.date())
}
