//! `yagna payment process`: when payments are made.

use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use clap::Subcommand;
use golem_model::NodeId;
use golem_model::payment::ADDRESS;
use golem_model::payment::local::{
    BatchCycle, GetDrivers, ProcessBatchCycleInfo, ProcessBatchCycleSet, ProcessPaymentsNow,
};
use serde_json::{Value, json};

use super::Account;
use crate::cli::client::{Client, Who};
use crate::output::Output;

/// Transactions may be waited for.
const NOW_TIME_MAX: Duration = Duration::from_secs(300);

const COLUMNS: [&str; 7] =
    ["Platform", "Interval", "Cron", "Max interval", "Extra time", "Next process", "Last processed"];

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pay what is due without waiting for the next time
    Now {
        #[command(flatten)]
        account: Account,
    },
    /// Show the times of all platforms
    Info {
        /// Address; without it the default identity
        #[arg(long, env = crate::env::ACCOUNT.name)]
        account: Option<NodeId>,
    },
    /// Change the times of a platform
    Set {
        #[command(flatten)]
        account: Account,
        /// Time between two rounds, as `10m`
        #[arg(long, value_parser = humantime::parse_duration)]
        interval: Option<Duration>,
        /// Time before the end of payment terms at which is paid in any case
        #[arg(long, value_parser = humantime::parse_duration)]
        payout: Option<Duration>,
        /// Rounds by a cron expression
        #[arg(long)]
        cron: Option<String>,
        /// Time of the next round (RFC 3339)
        #[arg(long)]
        next: Option<DateTime<Utc>>,
    },
}

pub(crate) async fn run(command: Command, client: &Client) -> Result<Output> {
    match command {
        Command::Now { account } => {
            let (node_id, platform) = (account.address(client).await?, account.platform(client).await?);
            let now = ProcessPaymentsNow { node_id, platform, skip_resolve: false, skip_send: false };
            Output::value(client.call_within(NOW_TIME_MAX, ADDRESS, now).await?)
        }
        Command::Info { account } => info(account, client).await,
        Command::Set { account, interval, payout, cron, next } => {
            let (node_id, platform) = (account.address(client).await?, account.platform(client).await?);
            let set =
                ProcessBatchCycleSet { node_id, platform, interval, cron, next_update: next, safe_payout: payout };
            let cycle = client.call(ADDRESS, set).await?;
            Ok(Output::table(COLUMNS, vec![row(&cycle, client.now())]))
        }
    }
}

async fn info(account: Option<NodeId>, client: &Client) -> Result<Output> {
    let drivers = client.call(ADDRESS, GetDrivers { ignore_legacy_networks: true }).await?;
    let node_id = client.node_id(account.map(Who::Id).as_ref()).await?;
    let mut platforms: Vec<String> = drivers
        .values()
        .flat_map(|details| details.networks.values())
        .flat_map(|network| network.tokens.values().cloned())
        .collect();
    platforms.sort();
    let (mut rows, mut items) = (Vec::new(), Vec::new());
    for platform in platforms {
        let cycle = client.call(ADDRESS, ProcessBatchCycleInfo { node_id, platform }).await?;
        rows.push(row(&cycle, client.now()));
        items.push(json!({
            "platform": cycle.platform,
            "intervalSec": cycle.interval.map(|time| time.as_secs()),
            "cron": cycle.cron,
            "maxIntervalSec": cycle.max_interval.as_secs(),
            "extraPaymentTimeSec": cycle.extra_payment_time.as_secs(),
            "nextProcess": utc(cycle.next_process).to_rfc3339(),
            "lastProcess": cycle.last_process.map(|time| utc(time).to_rfc3339()),
        }));
    }
    let of = account.map_or_else(|| "default".to_owned(), |id| id.to_string());
    Ok(Output::table(COLUMNS, rows).titled(format!("Batch cycle info {of}")).with_json(Value::Array(items)))
}

fn row(cycle: &BatchCycle, now: DateTime<Utc>) -> [Value; 7] {
    let time = |time: Duration| json!(humantime::format_duration(time).to_string());
    let next = utc(cycle.next_process);
    let last = cycle.last_process.map(utc);
    [
        json!(cycle.platform),
        cycle.interval.map_or(Value::Null, time),
        json!(cycle.cron),
        time(cycle.max_interval),
        time(cycle.extra_payment_time),
        json!(format!("{}\n(in {})", next.format("%Y-%m-%d %H:%M:%S"), whole(next - now))),
        json!(last.map_or_else(
            || "NULL".to_owned(),
            |last| format!("{}\n({} ago)", last.format("%Y-%m-%d %H:%M:%S"), whole(now - last))
        )),
    ]
}

/// Whole seconds, none when the time has passed.
fn whole(time: TimeDelta) -> String {
    let seconds = u64::try_from(time.num_seconds()).unwrap_or_default();
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

const fn utc(time: NaiveDateTime) -> DateTime<Utc> {
    time.and_utc()
}
