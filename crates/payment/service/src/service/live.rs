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

#[cfg(test)]
mod tests {
    use golem_bus::Bus;
    use golem_payment_core::books::Funds;
    use golem_service::{Clock, Context, SystemClock};
    use golem_store::Store;
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::Config;

    fn service() -> Arc<Service> {
        let ctx = Context {
            bus: Bus::new(),
            data_dir: std::path::PathBuf::new(),
            clock: Arc::new(SystemClock),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let store = Store::in_memory(crate::store::MIGRATIONS).unwrap();
        Arc::new(Service::new(&ctx, store, Config::default()))
    }

    async fn insert(service: &Service, owner: NodeId) -> String {
        let now = SystemClock.now();
        let stored = Stored {
            id: uuid::Uuid::new_v4().to_string(),
            owner,
            address: owner.to_string(),
            platform: "erc20-hoodi-tglm".to_owned(),
            funds: Funds::new(golem_model::Amount::whole(1)),
            created: now,
            updated: now,
            timeout: now + chrono::TimeDelta::days(1),
            deposit: None,
            released: false,
        };
        let id = stored.id.clone();
        service.store.write(move |db| Ok::<_, StoreError>(allocation::insert(db, &stored)?)).await.unwrap();
        service.live.changed(owner);
        id
    }

    /// A list is read and written as JSON once, however often it is asked for.
    #[tokio::test]
    async fn a_list_is_made_once_until_it_changes() {
        let (service, owner, other) = (service(), NodeId::from([1; 20]), NodeId::from([2; 20]));
        for _ in 0..20 {
            insert(&service, owner).await;
        }
        let first = service.allocations(owner).await.unwrap();
        assert_eq!(first.list.len(), 20);
        insert(&service, other).await;
        assert!(Arc::ptr_eq(&first, &service.allocations(owner).await.unwrap()));
        let id = insert(&service, owner).await;
        let second = service.allocations(owner).await.unwrap();
        assert!(second.list.iter().any(|one| one.id == id));
        let shown: Vec<serde_json::Value> = serde_json::from_slice(&second.body).unwrap();
        assert_eq!(shown.len(), 21);
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_is_not_kept() {
        let (service, owner) = (service(), NodeId::from([1; 20]));
        let before = service.live.changes.load(Ordering::SeqCst);
        let stale = service.allocations(owner).await.unwrap();
        insert(&service, owner).await;
        service.live.keep(owner, &stale, before);
        assert_eq!(service.allocations(owner).await.unwrap().list.len(), 1);
    }
}
