//! `yagna activity` (spec 22b §7).

use anyhow::Result;
use clap::Subcommand;
use golem_model::{Call, NodeId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{Client, Who};
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Numbers of activities by state
    Status {
        #[arg(long, value_parser = Who::parse)]
        id: Option<Who>,
    },
}

/// The same message as the activity service's, with its answer passed on as it is.
#[derive(Debug, Serialize, Deserialize)]
struct Stats {
    identity: NodeId,
}

impl Call for Stats {
    const ID: &'static str = "Stats";
    type Item = Value;
    type Error = Value;
}

pub(super) async fn run(command: Command, client: &Client) -> Result<Output> {
    let Command::Status { id } = command;
    let identity = client.node_id(id.as_ref()).await?;
    Output::value(client.call("/local/activity", Stats { identity }).await?)
}
