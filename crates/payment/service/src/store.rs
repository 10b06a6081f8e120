//! The SQL of payments, one module per group of tables. Functions take the connection of a read or of the one writer;
//! whoever calls several of them in one write changes all or nothing.

pub(crate) mod agreement;
pub(crate) mod allocation;
pub(crate) mod cycle;
pub(crate) mod document;
pub(crate) mod event;
pub(crate) mod order;
pub(crate) mod outbox;
pub(crate) mod payment;
mod text;

use std::path::Path;

use chrono::{DateTime, Utc};
use golem_store::rusqlite::{self, Row};
use golem_store::{Durability, OpenError, Store};
pub(crate) use text::Text;

pub(crate) const MIGRATIONS: &[&str] = &[include_str!("store/schema.sql")];

/// Opens `payment.db` in the data folder.
pub(crate) fn open(data_dir: &Path) -> Result<Store, OpenError> {
    Store::open(&data_dir.join("payment.db"), Durability::Power, MIGRATIONS)
}

/// On which side of an agreement the owner of a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Requestor,
    Provider,
}

impl Side {
    pub(crate) const fn letter(self) -> &'static str {
        match self {
            Self::Requestor => "R",
            Self::Provider => "P",
        }
    }

    fn of_column(row: &Row<'_>, column: &str) -> rusqlite::Result<Self> {
        let letter: String = row.get(column)?;
        Ok(if letter == "R" { Self::Requestor } else { Self::Provider })
    }
}

/// A time of a column in microseconds.
fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<DateTime<Utc>> {
    Ok(from_micros(row.get(column)?))
}

fn optional_time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<DateTime<Utc>>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(from_micros))
}

pub(crate) fn from_micros(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A text column that is parsed.
fn parsed<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get::<_, Text<T>>(column).map(|text| text.0)
}
