//! Allocations that are not released, ready to be shown: clients ask for them all the time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use golem_model::NodeId;
use golem_store::StoreError;

use super::Service;
use crate::store::allocation::{self, Stored};

/// The live allocations of one identity.
#[derive(Debug)]
pub(crate) struct Allocations {
    pub(crate) list: Vec<Stored>,
    /// The list as JSON.
    pub(crate) body: Bytes,
}

/// What was read last. An entry is dropped by each change, before the change is answered.
#[derive(Debug, Default)]
pub(crate) struct Live {
    owners: RwLock<HashMap<NodeId, Arc<Allocations>>>,
    changes: AtomicU64,
}

impl Live {
    pub(super) fn changed(&self, owner: NodeId) {
        let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, Ordering::SeqCst);
        owners.remove(&owner);
    }

    fn get(&self, owner: NodeId) -> Option<Arc<Allocations>> {
        self.owners.read().unwrap_or_else(PoisonError::into_inner).get(&owner).cloned()
    }

    /// Keeps what was read, unless something changed since.
    fn keep(&self, owner: NodeId, read: &Arc<Allocations>, changes: u64) {
        let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        if self.changes.load(Ordering::SeqCst) == changes {
            owners.insert(owner, Arc::clone(read));
        }
    }
}

impl Service {
    /// The live allocations of `owner`, oldest first.
    pub(crate) async fn allocations(&self, owner: NodeId) -> Result<Arc<Allocations>, StoreError> {
        if let Some(known) = self.live.get(owner) {
            return Ok(known);
        }
        let changes = self.live.changes.load(Ordering::SeqCst);
        let list = self.store.read(move |db| Ok::<_, StoreError>(allocation::live(db, owner)?)).await?;
        let views: Vec<_> = list.iter().map(Stored::view).collect();
        let body = serde_json::to_vec(&views).unwrap_or_default().into();
        let read = Arc::new(Allocations { list, body });
        self.live.keep(owner, &read, changes);
        Ok(read)
    }
}
