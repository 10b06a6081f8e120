//! `yagna app-key` (spec 22b §3).

use anyhow::Result;
use clap::Subcommand;
use golem_model::app_key::{ADDRESS, Create, GetByName, List, ROLE, Remove};
use serde_json::json;

use super::client::{Client, Who};
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key; the same name again gives the same key
    Create {
        name: String,
        /// Identity that the key acts as
        #[arg(long, value_parser = Who::strict)]
        id: Option<Who>,
        /// Origins of web pages that may use it
        #[arg(long, num_args = 1..)]
        allow_origins: Vec<String>,
    },
    /// List keys, a page at a time
    List {
        /// Only of this identity
        #[arg(long)]
        id: Option<String>,
        #[arg(short, long, default_value_t = 1)]
        page: u32,
        #[arg(long, default_value_t = 10)]
        per_page: u32,
    },
    /// Show a key
    Show { name: String },
    /// Delete a key
    Drop {
        name: String,
        /// Only if it is of this identity
        #[arg(long)]
        id: Option<String>,
    },
}

pub(super) async fn run(command: Command, client: &Client) -> Result<Output> {
    match command {
        Command::Create { name, id, allow_origins } => {
            let identity = client.node_id(id.as_ref()).await?;
            let create = Create { name, role: ROLE.to_owned(), identity, allow_origins };
            Output::value(client.call(ADDRESS, create).await?)
        }
        Command::List { id, page, per_page } => {
            let (keys, _) = client.call(ADDRESS, List { identity: id, page, per_page }).await?;
            let rows = keys.into_iter().map(|key| {
                let created = key.created_date.format("%Y-%m-%dT%H:%M:%S%.9f").to_string();
                [json!(key.name), json!(key.key), json!(key.identity), json!(key.role), json!(created)]
            });
            Ok(Output::table(["name", "key", "id", "role", "created"], rows.collect()))
        }
        Command::Show { name } => Output::value(client.call(ADDRESS, GetByName { name }).await?),
        Command::Drop { name, id } => {
            client.call(ADDRESS, Remove { name, identity: id }).await?;
            Ok(Output::Nothing)
        }
    }
}
