//! What handlers on the bus and the engine both look at.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use golem_model::NodeId;
use golem_model::address::Channel;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that may wait for one node on one channel; then senders wait too.
const BUDGET_BYTES: usize = 16 << 20;
/// Budgets are counted in blocks, since a permit is a 32-bit number.
const BLOCK_BYTES: usize = 1 << 10;
const BLOCKS: usize = BUDGET_BYTES / BLOCK_BYTES;
/// Nodes whose budgets are remembered before idle ones are dropped.
const BUDGETS_MAX: usize = 4096;

/// Identities of this node, the locked ones included.
#[derive(Debug, Default)]
pub(crate) struct OwnIds {
    /// The network id of this process: the default identity when it started.
    pub(crate) default: NodeId,
    pub(crate) all: Vec<NodeId>,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    own: RwLock<OwnIds>,
    budgets: Mutex<HashMap<(NodeId, u8), Arc<Semaphore>>>,
    pub(crate) counters: Counters,
}

/// Why packets of peers were dropped, and the like.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) foreign_callers: AtomicU64,
    pub(crate) foreign_repliers: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) overload: AtomicU64,
    pub(crate) broadcasts_dropped: AtomicU64,
}

impl Counters {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    pub(crate) fn set_own(&self, default: NodeId, all: Vec<NodeId>) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = OwnIds { default, all };
    }

    pub(crate) fn default_id(&self) -> NodeId {
        self.own.read().unwrap_or_else(PoisonError::into_inner).default
    }

    pub(crate) fn is_own(&self, id: NodeId) -> bool {
        self.own.read().unwrap_or_else(PoisonError::into_inner).all.contains(&id)
    }

    /// Waits until `bytes` may wait for this node.
    pub(crate) async fn admit(&self, to: NodeId, channel: Channel, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if channel == Channel::Unreliable {
            return None;
        }
        let budget = {
            let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
            if budgets.len() >= BUDGETS_MAX {
                budgets.retain(|_, budget| budget.available_permits() < BLOCKS);
            }
            let key = (to, u8::from(channel == Channel::Transfer));
            Arc::clone(budgets.entry(key).or_insert_with(|| Arc::new(Semaphore::new(BLOCKS))))
        };
        let blocks = bytes.div_ceil(BLOCK_BYTES).clamp(1, BLOCKS);
        // The semaphore is never closed.
        budget.acquire_many_owned(u32::try_from(blocks).unwrap_or(u32::MAX)).await.ok()
    }
}
