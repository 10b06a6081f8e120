//! When each identity pays on each platform (spec 40 §6.1).

use chrono::{DateTime, TimeDelta, Utc};
use golem_model::NodeId;
use golem_payment_core::cycle::{Cycle, Rule};
use golem_store::rusqlite::{Connection, OptionalExtension, Result, Row, named_params, params};

use super::{Text, optional_time, parsed, time};

fn read(row: &Row<'_>) -> Result<Cycle> {
    let (interval_ms, cron): (Option<i64>, Option<String>) = (row.get("interval_ms")?, row.get("cron")?);
    let rule = match cron.and_then(|cron| cron.parse().ok()) {
        Some(cron) => Rule::Cron(cron),
        None => Rule::Interval(TimeDelta::milliseconds(interval_ms.unwrap_or(300_000))),
    };
    Ok(Cycle {
        rule,
        extra: TimeDelta::milliseconds(row.get("extra_ms")?),
        max_interval: TimeDelta::milliseconds(row.get("max_ms")?),
        next: time(row, "next")?,
        last: optional_time(row, "last")?,
    })
}

pub(crate) fn get(db: &Connection, owner: NodeId, platform: &str) -> Result<Option<Cycle>> {
    db.prepare_cached("SELECT * FROM batch_cycle WHERE owner = ?1 AND platform = ?2")?
        .query_row(params![Text(owner), platform], read)
        .optional()
}

pub(crate) fn list(db: &Connection) -> Result<Vec<(NodeId, String, Cycle)>> {
    db.prepare_cached("SELECT * FROM batch_cycle ORDER BY owner, platform")?
        .query_map([], |row| Ok((parsed(row, "owner")?, row.get("platform")?, read(row)?)))?
        .collect()
}

pub(crate) fn next_due(db: &Connection) -> Result<Option<DateTime<Utc>>> {
    let next: Option<i64> = db.prepare_cached("SELECT min(next) FROM batch_cycle")?.query_row([], |row| row.get(0))?;
    Ok(next.map(super::from_micros))
}

pub(crate) fn save(db: &Connection, owner: NodeId, platform: &str, cycle: &Cycle) -> Result<()> {
    let (interval, cron) = match &cycle.rule {
        Rule::Interval(interval) => (Some(interval.num_milliseconds()), None),
        Rule::Cron(cron) => (None, Some(cron.to_string())),
    };
    db.prepare_cached(
        "INSERT OR REPLACE INTO batch_cycle (owner, platform, interval_ms, cron, max_ms, extra_ms, next, last)
         VALUES (:owner, :platform, :interval, :cron, :max, :extra, :next, :last)",
    )?
    .execute(named_params! {
        ":owner": Text(owner), ":platform": platform, ":interval": interval, ":cron": cron,
        ":max": cycle.max_interval.num_milliseconds(), ":extra": cycle.extra.num_milliseconds(),
        ":next": cycle.next.timestamp_micros(), ":last": cycle.last.map(|last| last.timestamp_micros()),
    })?;
    Ok(())
}
