//! The routing table: handlers of this process and connections, in one place, by longest prefix (spec 20 §4.1).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::RawService;
use crate::link::Link;

/// Longer addresses match nothing: each segment costs a look-up.
const ADDRESS_BYTES_MAX: usize = 4096;

/// Ids that all connections together may register.
const REGISTERED_MAX: usize = 65_536;

#[derive(Clone)]
pub(crate) enum Target {
    Process(Arc<dyn RawService>),
    Link(Arc<Link>),
}

/// Why an id was not registered for a connection.
pub(crate) enum Refused {
    /// Owned by this connection.
    OwnedBy(Arc<Link>),
    /// Owned by a handler of this process.
    Taken,
    TooMany,
}

#[derive(Default)]
pub(crate) struct Table(RwLock<HashMap<String, Target>>);

impl Table {
    /// Binds for this process; whoever was there before is replaced.
    pub(crate) fn bind(&self, prefix: &str, service: Arc<dyn RawService>) {
        self.write().insert(prefix.into(), Target::Process(service));
    }

    /// Removes what this process bound to `prefix` and below. Returns the ids.
    pub(crate) fn unbind(&self, prefix: &str) -> Vec<String> {
        let below = |id: &str| id.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let ids: Vec<_> = self
            .write()
            .extract_if(|id, target| matches!(target, Target::Process(_)) && below(id))
            .map(|(id, _)| id)
            .collect();
        ids
    }

    pub(crate) fn register(&self, id: &str, link: &Arc<Link>) -> Result<(), Refused> {
        let mut routes = self.write();
        match routes.get(id) {
            Some(Target::Process(_)) => return Err(Refused::Taken),
            Some(Target::Link(owner)) if !owner.is_closed() => return Err(Refused::OwnedBy(Arc::clone(owner))),
            _ => {}
        }
        if routes.len() >= REGISTERED_MAX {
            return Err(Refused::TooMany);
        }
        routes.insert(id.into(), Target::Link(Arc::clone(link)));
        Ok(())
    }

    /// Whether `id` was registered by this connection, or by one that has ended.
    pub(crate) fn unregister(&self, id: &str, link: &Link) -> bool {
        let mut routes = self.write();
        let owned =
            matches!(routes.get(id), Some(Target::Link(owner)) if owner.number == link.number || owner.is_closed());
        owned && routes.remove(id).is_some()
    }

    pub(crate) fn remove_link(&self, link: &Link) {
        self.write().retain(|_, target| !matches!(target, Target::Link(owner) if owner.number == link.number));
    }

    /// The owner of the longest prefix of `address` on segment borders.
    pub(crate) fn find(&self, address: &str) -> Option<Target> {
        if address.len() > ADDRESS_BYTES_MAX {
            return None;
        }
        let routes = self.read();
        let mut prefix = address;
        loop {
            if let Some(target) = routes.get(prefix) {
                return Some(target.clone());
            }
            prefix = prefix.rsplit_once('/')?.0;
        }
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.read().contains_key(id)
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.read().keys().cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Target>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Target>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.read().keys()).finish()
    }
}
