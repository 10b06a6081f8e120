//! The keys this node holds, signatures with them, and the app keys that give REST clients their identity (spec 21).
//!
//! [`start`] opens `identity.db`, settles which identity is the default and binds `/local/identity`. When the default is
//! locked the daemon waits in [`Handle::unlocked`]; [`Handle::bind_app_keys`] then binds `/local/appkey`. Both keep the
//! shared [`AppKeys`] of the REST shell up to date.
//! Deliberately absent: rights of roles (there is one role), and checks of who calls on the local bus.

mod app_keys;
mod book;
mod events;
mod local;
mod official;
mod service;
mod store;

use std::sync::Arc;

use golem_api_rest::AppKeys;
use golem_keys::SecretKey;
use golem_model::NodeId;
use golem_service::Context;
use golem_store::{OpenError, StoreError};
use tracing::{info, warn};

use app_keys::KeyRing;
use book::{Book, Entry};
use service::Service;
use store::IdentityStore;

/// What the environment fixes for this run (spec 21 §3.2, §4.1).
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Key of the default identity, `YAGNA_AUTOCONF_ID_SECRET`.
    pub id_secret: Option<SecretKey>,
    /// An app key that is always there, `YAGNA_AUTOCONF_APPKEY`.
    pub app_key: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot open the identities of this node")]
    Open(#[from] OpenError),
    #[error("cannot read or store the identities of this node")]
    Store(#[from] StoreError),
    #[error(
        "cannot take over the identities of the official data directory: {0}; hint: move `yagna.db` away to start with a new identity"
    )]
    TakeOver(String),
    #[error("the stored key of `{node_id}` cannot be read: {reason}")]
    Key { node_id: NodeId, reason: String },
    #[error("cannot seal a key: {0}")]
    Seal(String),
}

/// A running identity service.
#[derive(Clone, Debug)]
pub struct Handle {
    service: Arc<Service>,
    ring: Arc<KeyRing>,
    bus: golem_bus::Bus,
}

/// Opens the identities and answers for them on the bus.
pub async fn start(ctx: Context, config: Config, rest_keys: AppKeys) -> Result<Handle, StartError> {
    let store = IdentityStore::open(&ctx.data_dir)?;
    official::take_over(&store, &ctx.data_dir).await?;
    let book = settle(&store, &config).await?;
    let default = book.default();
    info!(identity = %default, "using default identity");
    let auto = config.app_key.map(|key| KeyRing::auto(key, default, ctx.clock.now().naive_utc()));
    let events = events::Subscribers::new(&ctx);
    let ring = Arc::new(KeyRing::new(ctx.clock.clone(), store.clone(), rest_keys, auto, events.clone()).await?);
    let service = Arc::new(Service::new(store, book, Arc::clone(&ring), events));
    local::bind_identity(&ctx.bus, &service);
    Ok(Handle { service, ring, bus: ctx.bus })
}

impl Handle {
    /// The identity that acts when none is named.
    pub fn default_id(&self) -> NodeId {
        self.service.default_id()
    }

    /// Returns when the default identity can sign; a daemon with a protected key waits here for `yagna id unlock`.
    pub async fn unlocked(&self) {
        let mut changes = self.service.changes();
        if !self.service.can_sign(self.default_id()) {
            warn!("Daemon cannot start because default account is locked. Unlock it by running 'yagna id unlock'");
            while !self.service.can_sign(self.default_id()) && changes.changed().await.is_ok() {}
        }
    }

    /// Answers for app keys on the bus.
    pub fn bind_app_keys(&self) {
        local::bind_app_keys(&self.bus, &self.ring, &self.service);
    }

    /// Whether `node_id` is here and unlocked.
    pub fn can_sign(&self, node_id: NodeId) -> bool {
        self.service.can_sign(node_id)
    }

    /// Alias of the default identity.
    pub fn default_alias(&self) -> Option<String> {
        self.service.get(&golem_model::identity::Get::ByDefault).and_then(|info| info.alias)
    }

    /// First stored key of the default identity, for children of the daemon.
    pub fn first_app_key(&self) -> Option<String> {
        self.ring.first_of(self.default_id())
    }
}

/// Reads all identities, unlocks those without a password and settles the default one.
async fn settle(store: &IdentityStore, config: &Config) -> Result<Book, StartError> {
    let (mut entries, marked) = store.load().await?;
    let default = match (&config.id_secret, marked) {
        (Some(secret), _) => {
            let node_id = secret.node_id();
            match entries.get_mut(&node_id) {
                // Already there: the row is left as it is, the default holds for this run only.
                Some(entry) => entry.secret = Some(secret.clone()),
                None => {
                    entries.insert(node_id, create(store, secret.clone(), None, true).await?);
                }
            }
            node_id
        }
        (None, Some(marked)) => marked,
        (None, None) => {
            info!("generating new default identity");
            let secret = SecretKey::generate();
            let node_id = secret.node_id();
            entries.insert(node_id, create(store, secret, None, true).await?);
            node_id
        }
    };
    Ok(Book::new(entries, default))
}

async fn create(
    store: &IdentityStore,
    secret: SecretKey,
    alias: Option<String>,
    default: bool,
) -> Result<Entry, StartError> {
    let keystore = golem_keys::Keystore::seal_for(&secret, "").map_err(|error| StartError::Seal(error.to_string()))?;
    let entry = Entry { alias, keystore, protected: false, secret: Some(secret.clone()), deleted: false };
    store.insert(secret.node_id(), entry.clone(), default).await?;
    Ok(entry)
}
