//! Takes over identities and app keys of an official data directory (spec 21 §3.3), once, when there are none of our own.

use std::path::Path;

use chrono::NaiveDateTime;
use golem_keys::Keystore;
use golem_model::NodeId;
use golem_model::app_key::{AppKey, ROLE};
use golem_store::rusqlite::{self, Connection, OpenFlags};
use tracing::{info, warn};

use crate::StartError;
use crate::book::Entry;
use crate::store::IdentityStore;

#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Each with its mark as the default.
    pub(crate) identities: Vec<(NodeId, Entry, bool)>,
    pub(crate) keys: Vec<AppKey>,
}

pub(crate) async fn take_over(store: &IdentityStore, data_dir: &Path) -> Result<(), StartError> {
    let path = data_dir.join("yagna.db");
    if !path.exists() || !store.is_empty().await? {
        return Ok(());
    }
    let found = tokio::task::spawn_blocking(move || read(&path))
        .await
        .map_err(|error| StartError::TakeOver(error.to_string()))?
        .map_err(|error| StartError::TakeOver(error.to_string()))?;
    let (identities, keys) = (found.identities.len(), found.keys.len());
    store.take_over(found).await?;
    info!(identities, keys, "took over an official data directory");
    Ok(())
}

fn read(path: &Path) -> Result<Found, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let mut found = Found::default();
    if !connection.table_exists(None, "identity")? {
        return Ok(found);
    }
    let mut select = connection
        .prepare("SELECT identity_id, key_file_json, alias, is_default FROM identity WHERE is_deleted = 0")?;
    let rows = select.query_map([], |r| {
        Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get::<_, Option<String>>(2)?, r.get::<_, bool>(3)?))
    })?;
    for row in rows {
        let (id, text, alias, default) = row?;
        match (id.parse::<NodeId>(), Keystore::parse(&text)) {
            (Ok(id), Ok(keystore)) => {
                let protected = keystore.open("").is_err();
                let entry = Entry { alias, keystore, protected, secret: None, deleted: false };
                found.identities.push((id, entry, default));
            }
            _ => warn!(id, "an official identity cannot be read and is left behind"),
        }
    }
    if !connection.table_exists(None, "app_key")? {
        return Ok(found);
    }
    let mut select =
        connection.prepare("SELECT name, key, identity_id, created_date, allow_origins FROM app_key ORDER BY id")?;
    let rows = select.query_map([], |r| {
        let created: String = r.get(3)?;
        let origins: Option<String> = r.get(4)?;
        Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get::<_, String>(2)?, created, origins))
    })?;
    for row in rows {
        let (name, key, identity, created, origins) = row?;
        let created = NaiveDateTime::parse_from_str(&created, "%Y-%m-%d %H:%M:%S%.f");
        match (identity.parse::<NodeId>(), created) {
            (Ok(identity), Ok(created_date)) if found.identities.iter().any(|(id, ..)| *id == identity) => {
                let allow_origins = origins.as_deref().map(origin_list).unwrap_or_default();
                found.keys.push(AppKey { name, key, role: ROLE.to_owned(), identity, created_date, allow_origins });
            }
            _ => warn!(name, "an official app key cannot be read and is left behind"),
        }
    }
    Ok(found)
}

/// Items of a JSON array of strings without escapes, which is all that origins need.
fn origin_list(text: &str) -> Vec<String> {
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    inner.split(',').map(|item| item.trim().trim_matches('"').to_owned()).filter(|item| !item.is_empty()).collect()
}
