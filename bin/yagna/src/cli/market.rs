//! `yagna market agreements` (spec 22b §6).

use anyhow::Result;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Subcommand;
use golem_model::market::{AgreementState, GetAgreement, ListAgreements, PUBLIC_ADDRESS, Role};
use serde_json::{Value, json};

use super::client::{Client, name_of};
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Agreements of this node
    #[command(subcommand)]
    Agreements(Agreements),
}

#[derive(Debug, Subcommand)]
pub(super) enum Agreements {
    /// List agreements
    List {
        /// Only in this state: Proposal, Pending, Cancelled, Rejected, Approved, Expired or Terminated
        #[arg(long, value_parser = wire_name::<AgreementState>)]
        state: Option<AgreementState>,
        /// Only made before this time (RFC 3339)
        #[arg(long)]
        before: Option<DateTime<Utc>>,
        /// Only made after this time (RFC 3339)
        #[arg(long)]
        after: Option<DateTime<Utc>>,
        /// Only of this session
        #[arg(long)]
        app_session_id: Option<String>,
    },
    /// Show an agreement
    Get {
        #[arg(long)]
        id: String,
        /// Side of this node: Provider or Requestor
        #[arg(long, value_parser = wire_name::<Role>)]
        role: Role,
    },
}

/// Reads a value by its name on the wire.
fn wire_name<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::String(text.to_owned())).map_err(|error| error.to_string())
}

pub(super) async fn run(command: Command, client: &Client) -> Result<Output> {
    let Command::Agreements(command) = command;
    match command {
        Agreements::List { state, before, after, app_session_id } => {
            let list = ListAgreements { state, before_date: before, after_date: after, app_session_id };
            let time = |time: DateTime<Utc>| json!(time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
            let rows = client.call(PUBLIC_ADDRESS, list).await?.into_iter().map(|agreement| {
                [
                    json!(agreement.id),
                    json!(name_of(agreement.role)),
                    time(agreement.timestamp),
                    agreement.approved_date.map_or_else(|| json!("N/A"), time),
                ]
            });
            let table = Output::table(["id", "role", "created", "approved"], rows.collect());
            Ok(table.titled("\nMatching agreements:\n"))
        }
        Agreements::Get { id, role } => {
            let agreement_id = wire_name(&id).map_err(anyhow::Error::msg)?;
            Output::value(client.call(PUBLIC_ADDRESS, GetAgreement { agreement_id, role }).await?)
        }
    }
}
