//! What survives the agent: agreements, where each event list was left, the session name and own offers.
//!
//! Deals are stored as JSON: only the agent reads them, and always whole.

use std::path::Path;

use chrono::{DateTime, Utc};
use golem_model::market::{AgreementId, SubscriptionId};
use golem_store::rusqlite::{OptionalExtension, params};
use golem_store::{Durability, OpenError, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::deal::Deal;

const FILE: &str = "agent.db";
const MIGRATION_1: &str = "
    CREATE TABLE deal (agreement TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE offer (subscription TEXT PRIMARY KEY) STRICT;
    CREATE TABLE note (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
";

#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("cannot open the agent's journal")]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("an entry of the agent's journal cannot be read")]
    Content(#[from] serde_json::Error),
}

impl From<golem_store::rusqlite::Error> for JournalError {
    fn from(error: golem_store::rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Date of the last event of each list that was taken care of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursors {
    pub(crate) agreements: DateTime<Utc>,
    pub(crate) activities: DateTime<Utc>,
    pub(crate) notes: DateTime<Utc>,
    pub(crate) invoices: DateTime<Utc>,
}

impl Cursors {
    pub(crate) const fn at(now: DateTime<Utc>) -> Self {
        Self { agreements: now, activities: now, notes: now, invoices: now }
    }
}

/// Everything stored.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    pub(crate) deals: Vec<Deal>,
    pub(crate) cursors: Option<Cursors>,
    pub(crate) session: Option<String>,
    pub(crate) offers: Vec<SubscriptionId>,
}

/// One atomic change.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) deals: Vec<Deal>,
    pub(crate) over: Vec<AgreementId>,
    pub(crate) cursors: Option<Cursors>,
    pub(crate) offers_added: Vec<SubscriptionId>,
    pub(crate) offers_gone: Vec<SubscriptionId>,
}

impl Change {
    pub(crate) fn is_empty(&self) -> bool {
        self.deals.is_empty()
            && self.over.is_empty()
            && self.cursors.is_none()
            && self.offers_added.is_empty()
            && self.offers_gone.is_empty()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Journal(Store);

impl Journal {
    pub(crate) fn open(data_dir: &Path) -> Result<Self, JournalError> {
        Ok(Self(Store::open(&data_dir.join(FILE), Durability::Process, &[MIGRATION_1])?))
    }

    pub(crate) async fn load(&self) -> Result<Saved, JournalError> {
        self.0
            .read(|connection| {
                let mut saved = Saved::default();
                let mut rows = connection.prepare("SELECT body FROM deal ORDER BY agreement")?;
                for body in rows.query_map([], |row| row.get::<_, String>(0))? {
                    saved.deals.push(serde_json::from_str(&body?)?);
                }
                let mut rows = connection.prepare("SELECT subscription FROM offer")?;
                for id in rows.query_map([], |row| row.get::<_, String>(0))? {
                    saved.offers.extend(id?.parse::<SubscriptionId>());
                }
                let note = |name: &str| -> Result<Option<String>, JournalError> {
                    let mut rows = connection.prepare_cached("SELECT body FROM note WHERE name = ?1")?;
                    Ok(rows.query_row([name], |row| row.get(0)).optional()?)
                };
                saved.cursors = note("cursors")?.map(|body| serde_json::from_str(&body)).transpose()?;
                saved.session = note("session")?;
                Ok(saved)
            })
            .await
    }

    pub(crate) async fn set_session(&self, session: &str) -> Result<(), JournalError> {
        let session = session.to_owned();
        self.0
            .write(move |transaction| {
                transaction.execute("INSERT OR REPLACE INTO note (name, body) VALUES ('session', ?1)", [session])?;
                Ok(())
            })
            .await
    }

    pub(crate) async fn save(&self, change: Change) -> Result<(), JournalError> {
        self.0
            .write(move |transaction| {
                let mut put =
                    transaction.prepare_cached("INSERT OR REPLACE INTO deal (agreement, body) VALUES (?1, ?2)")?;
                for deal in &change.deals {
                    put.execute(params![deal.terms.agreement.as_str(), serde_json::to_string(deal)?])?;
                }
                let mut delete = transaction.prepare_cached("DELETE FROM deal WHERE agreement = ?1")?;
                for agreement in &change.over {
                    delete.execute([agreement.as_str()])?;
                }
                let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO offer (subscription) VALUES (?1)")?;
                for offer in &change.offers_added {
                    put.execute([offer.as_str()])?;
                }
                let mut delete = transaction.prepare_cached("DELETE FROM offer WHERE subscription = ?1")?;
                for offer in &change.offers_gone {
                    delete.execute([offer.as_str()])?;
                }
                if let Some(cursors) = &change.cursors {
                    let mut put = transaction
                        .prepare_cached("INSERT OR REPLACE INTO note (name, body) VALUES ('cursors', ?1)")?;
                    put.execute([serde_json::to_string(cursors)?])?;
                }
                Ok(())
            })
            .await
    }
}
