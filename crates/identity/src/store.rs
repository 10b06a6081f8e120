//! `identity.db`: identities and app keys. The file holds unprotected keys, so only its owner may read it.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::NaiveDateTime;
use golem_keys::Keystore;
use golem_model::NodeId;
use golem_model::app_key::AppKey;
use golem_store::rusqlite::{self, Row, Transaction, params};
use golem_store::{Durability, OpenError, Store, StoreError};

use crate::StartError;
use crate::book::Entry;
use crate::official::Found;

const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE identity (
        node_id TEXT PRIMARY KEY,
        alias TEXT UNIQUE,
        keystore TEXT NOT NULL,
        protected INTEGER NOT NULL,
        is_default INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE app_key (
        number INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        key TEXT NOT NULL,
        role TEXT NOT NULL,
        identity TEXT NOT NULL,
        created TEXT NOT NULL,
        allow_origins TEXT NOT NULL
    ) STRICT;
"];

/// Separates origins in their column; no origin has one.
const ORIGIN_END: char = '\n';

#[derive(Clone, Debug)]
pub(crate) struct IdentityStore(Store);

impl IdentityStore {
    pub(crate) fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let path = data_dir.join("identity.db");
        let store = Store::open(&path, Durability::Power, &MIGRATIONS)?;
        owner_only(&path);
        Ok(Self(store))
    }

    pub(crate) async fn is_empty(&self) -> Result<bool, StoreError> {
        self.0.read(|c| Ok(c.query_row("SELECT NOT EXISTS (SELECT 1 FROM identity)", [], |row| row.get(0))?)).await
    }

    /// All identities and which is marked as default. Those without a password come unlocked.
    pub(crate) async fn load(&self) -> Result<(BTreeMap<NodeId, Entry>, Option<NodeId>), StartError> {
        type Stored = (String, Option<String>, String, bool, bool);
        let rows: Vec<Stored> = self
            .0
            .read(|c| {
                let mut select = c.prepare("SELECT node_id, alias, keystore, protected, is_default FROM identity")?;
                let rows = select.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)))?;
                Ok::<_, StoreError>(rows.collect::<Result<_, _>>()?)
            })
            .await?;
        let mut entries = BTreeMap::new();
        let mut default = None;
        for (text, alias, keystore, protected, is_default) in rows {
            let broken = |node_id, reason: String| StartError::Key { node_id, reason };
            let node_id: NodeId =
                text.parse().map_err(|_| broken(NodeId::default(), format!("`{text}` is no node id")))?;
            let keystore = Keystore::parse(&keystore).map_err(|error| broken(node_id, error.to_string()))?;
            let secret = if protected { None } else { keystore.open("").ok() };
            if is_default {
                default = Some(node_id);
            }
            entries.insert(node_id, Entry { alias, keystore, protected, secret, deleted: false });
        }
        Ok((entries, default))
    }

    /// Adds an identity; as the default it takes the mark from all others.
    pub(crate) async fn insert(&self, id: NodeId, entry: Entry, default: bool) -> Result<(), StoreError> {
        self.0.write(move |tx| insert(tx, id, &entry, default)).await
    }

    /// Stores all that an official data directory holds, or nothing.
    pub(crate) async fn take_over(&self, found: Found) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                for (id, entry, default) in &found.identities {
                    insert(tx, *id, entry, *default)?;
                }
                found.keys.iter().try_for_each(|key| insert_key(tx, key))
            })
            .await
    }

    pub(crate) async fn update(&self, id: NodeId, alias: Option<String>, default: bool) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                let id = id.to_string();
                if alias.is_some() {
                    tx.execute("UPDATE identity SET alias = ? WHERE node_id = ?", params![alias, id])?;
                }
                if default {
                    tx.execute("UPDATE identity SET is_default = (node_id = ?)", [id])?;
                }
                Ok(())
            })
            .await
    }

    pub(crate) async fn replace_keystore(
        &self,
        id: NodeId,
        keystore: &Keystore,
        protected: bool,
    ) -> Result<(), StoreError> {
        let keystore = keystore.to_json();
        self.0
            .write(move |tx| {
                let values = params![keystore, protected, id.to_string()];
                tx.execute("UPDATE identity SET keystore = ?, protected = ? WHERE node_id = ?", values)?;
                Ok(())
            })
            .await
    }

    /// The row goes as a whole, so its alias is free again.
    pub(crate) async fn remove(&self, id: NodeId) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                tx.execute("DELETE FROM identity WHERE node_id = ?", [id.to_string()])?;
                Ok(())
            })
            .await
    }

    pub(crate) async fn load_keys(&self) -> Result<Vec<AppKey>, StoreError> {
        self.0
            .read(|c| {
                let mut select =
                    c.prepare("SELECT name, key, role, identity, created, allow_origins FROM app_key ORDER BY number")?;
                let keys = select.query_map([], key_of)?;
                Ok(keys.collect::<Result<_, _>>()?)
            })
            .await
    }

    pub(crate) async fn insert_key(&self, key: AppKey) -> Result<(), StoreError> {
        self.0.write(move |tx| insert_key(tx, &key)).await
    }

    pub(crate) async fn remove_key(&self, name: String) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                tx.execute("DELETE FROM app_key WHERE name = ?", [name])?;
                Ok(())
            })
            .await
    }
}

fn insert(tx: &Transaction<'_>, id: NodeId, entry: &Entry, default: bool) -> Result<(), StoreError> {
    if default {
        tx.execute("UPDATE identity SET is_default = 0", [])?;
    }
    tx.execute(
        "INSERT INTO identity (node_id, alias, keystore, protected, is_default) VALUES (?, ?, ?, ?, ?)",
        params![id.to_string(), entry.alias, entry.keystore.to_json(), entry.protected, default],
    )?;
    Ok(())
}

fn insert_key(tx: &Transaction<'_>, key: &AppKey) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO app_key (name, key, role, identity, created, allow_origins) VALUES (?, ?, ?, ?, ?, ?)",
        params![
            key.name,
            key.key,
            key.role,
            key.identity.to_string(),
            key.created_date.format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
            key.allow_origins.join(&ORIGIN_END.to_string()),
        ],
    )?;
    Ok(())
}

fn key_of(row: &Row<'_>) -> rusqlite::Result<AppKey> {
    let bad = |column, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    };
    let identity: String = row.get(3)?;
    let created: String = row.get(4)?;
    let origins: String = row.get(5)?;
    Ok(AppKey {
        name: row.get(0)?,
        key: row.get(1)?,
        role: row.get(2)?,
        identity: identity.parse().map_err(|error| bad(3, Box::new(error)))?,
        created_date: created.parse::<NaiveDateTime>().map_err(|error| bad(4, Box::new(error)))?,
        allow_origins: origins.split(ORIGIN_END).filter(|origin| !origin.is_empty()).map(str::to_owned).collect(),
    })
}

#[cfg(unix)]
fn owner_only(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        // A file that is not there yet takes the mode of the database.
        let _ = std::fs::set_permissions(name, std::fs::Permissions::from_mode(0o600));
    }
}

#[cfg(not(unix))]
fn owner_only(_: &Path) {}
