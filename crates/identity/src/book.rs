//! The identities of this node in memory: look-ups and the rules of their change, without effects.

use std::collections::BTreeMap;

use golem_keys::{Keystore, SecretKey};
use golem_model::NodeId;
use golem_model::identity::{Error, Get, IdentityInfo};

/// Identities that one node may hold, those dropped since the start included.
const IDENTITIES_MAX: usize = 10_000;

/// Characters of an alias.
const ALIAS_CHARS_MAX: usize = 256;

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) alias: Option<String>,
    pub(crate) keystore: Keystore,
    /// Whether the keystore needs a password, so that a start does not pay for a trial without one.
    pub(crate) protected: bool,
    /// The key, while it is unlocked.
    pub(crate) secret: Option<SecretKey>,
    /// Dropped since the start: shown, but of no use.
    pub(crate) deleted: bool,
}

#[derive(Debug)]
pub(crate) struct Book {
    entries: BTreeMap<NodeId, Entry>,
    default: NodeId,
}

impl Book {
    pub(crate) const fn new(entries: BTreeMap<NodeId, Entry>, default: NodeId) -> Self {
        Self { entries, default }
    }

    pub(crate) const fn default(&self) -> NodeId {
        self.default
    }

    pub(crate) fn list(&self) -> Vec<IdentityInfo> {
        self.entries.iter().map(|(id, entry)| self.info_of(*id, entry)).collect()
    }

    pub(crate) fn get(&self, by: &Get) -> Option<IdentityInfo> {
        let id = match by {
            Get::ByDefault => self.default,
            Get::ByNodeId(id) => *id,
            Get::ByAlias(alias) => self.by_alias(alias, false).or_else(|| self.by_alias(alias, true))?,
        };
        self.entries.get(&id).map(|entry| self.info_of(id, entry))
    }

    /// An identity that exists and is not dropped.
    pub(crate) fn live(&self, id: NodeId) -> Result<&Entry, Error> {
        self.entries.get(&id).filter(|entry| !entry.deleted).ok_or(Error::NodeNotFound(id))
    }

    pub(crate) fn any(&self, id: NodeId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(crate) fn info(&self, id: NodeId) -> Result<IdentityInfo, Error> {
        self.entries.get(&id).map(|entry| self.info_of(id, entry)).ok_or(Error::NodeNotFound(id))
    }

    /// Whether `id` with `alias` may be added.
    pub(crate) fn check_new(&self, id: NodeId, alias: Option<&str>) -> Result<(), Error> {
        if self.live(id).is_ok() {
            return Err(Error::internal("Already exists"));
        }
        if self.entries.len() >= IDENTITIES_MAX {
            return Err(Error::internal(format!("there are {IDENTITIES_MAX} identities already")));
        }
        let Some(alias) = alias else { return Ok(()) };
        check_length(alias)?;
        if self.by_alias(alias, false).is_some() {
            return Err(Error::internal("DAO error: UNIQUE constraint failed: identity.alias"));
        }
        Ok(())
    }

    /// Whether `id` may be renamed to `alias`; its present alias counts as taken, too.
    pub(crate) fn check_alias(&self, id: NodeId, alias: &str) -> Result<(), Error> {
        self.live(id)?;
        check_length(alias)?;
        if self.by_alias(alias, false).is_some() { Err(Error::AlreadyExists) } else { Ok(()) }
    }

    pub(crate) fn insert(&mut self, id: NodeId, entry: Entry) {
        self.entries.insert(id, entry);
    }

    pub(crate) fn change(&mut self, id: NodeId, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.get_mut(&id) {
            change(entry);
        }
    }

    pub(crate) const fn set_default(&mut self, id: NodeId) {
        self.default = id;
    }

    fn by_alias(&self, alias: &str, deleted: bool) -> Option<NodeId> {
        let found = |entry: &Entry| entry.deleted == deleted && entry.alias.as_deref() == Some(alias);
        self.entries.iter().find(|(_, entry)| found(entry)).map(|(id, _)| *id)
    }

    fn info_of(&self, id: NodeId, entry: &Entry) -> IdentityInfo {
        IdentityInfo {
            alias: entry.alias.clone(),
            node_id: id,
            // What is dropped is shown as it was last seen by its owner: gone, not locked.
            is_locked: entry.secret.is_none() && !entry.deleted,
            is_default: id == self.default,
            deleted: entry.deleted,
        }
    }
}

fn check_length(alias: &str) -> Result<(), Error> {
    if alias.chars().count() > ALIAS_CHARS_MAX {
        return Err(Error::internal(format!("an alias has at most {ALIAS_CHARS_MAX} characters")));
    }
    Ok(())
}
