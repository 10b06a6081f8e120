//! Changes of identities: check in the book, store, then change the book and tell the subscribers.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use golem_keys::{Keystore, KeystoreError, SecretKey};
use golem_model::NodeId;
use golem_model::identity::{CreateGenerated, DropIdError, Error, Event, Get, IdentityInfo, Lock, Unlock, Update};
use golem_store::StoreError;
use tokio::sync::watch;

use crate::app_keys::KeyRing;
use crate::book::{Book, Entry};
use crate::events::Subscribers;
use crate::store::IdentityStore;

pub(crate) struct Service {
    book: RwLock<Book>,
    /// Held over the wait for the store, so that store and book change in the same order.
    writing: tokio::sync::Mutex<()>,
    store: IdentityStore,
    ring: Arc<KeyRing>,
    pub(crate) events: Subscribers,
    changed: watch::Sender<()>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "identity::Service({})", self.default_id())
    }
}

impl Service {
    pub(crate) fn new(store: IdentityStore, book: Book, ring: Arc<KeyRing>, events: Subscribers) -> Self {
        Self {
            book: RwLock::new(book),
            writing: tokio::sync::Mutex::default(),
            store,
            ring,
            events,
            changed: watch::Sender::new(()),
        }
    }

    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(crate) fn default_id(&self) -> NodeId {
        self.read().default()
    }

    pub(crate) fn can_sign(&self, id: NodeId) -> bool {
        self.read().live(id).is_ok_and(|entry| entry.secret.is_some())
    }

    pub(crate) fn exists(&self, id: NodeId) -> bool {
        self.read().live(id).is_ok()
    }

    pub(crate) fn list(&self) -> Vec<IdentityInfo> {
        self.read().list()
    }

    pub(crate) fn get(&self, by: &Get) -> Option<IdentityInfo> {
        self.read().get(by)
    }

    pub(crate) fn sign(&self, id: NodeId, payload: &[u8]) -> Result<Vec<u8>, Error> {
        let secret = self.read().live(id)?.secret.clone();
        match (secret, <&[u8; 32]>::try_from(payload)) {
            (Some(secret), Ok(payload)) => Ok(secret.sign(payload).as_bytes().to_vec()),
            _ => Err(Error::internal("sign error")),
        }
    }

    pub(crate) fn public_key(&self, id: NodeId) -> Result<Vec<u8>, Error> {
        let secret = self.read().live(id)?.secret.clone();
        let secret = secret.ok_or_else(|| Error::internal("key locked"))?;
        Ok(secret.public().as_bytes().to_vec())
    }

    pub(crate) fn key_file(&self, id: NodeId) -> Result<String, Error> {
        Ok(self.read().live(id)?.keystore.to_json_pretty())
    }

    pub(crate) async fn create(&self, request: CreateGenerated) -> Result<IdentityInfo, Error> {
        let (id, entry) = match request.from_keystore {
            Some(text) => import(&text, request.alias).await?,
            None => generate(request.alias)?,
        };
        let _writing = self.writing.lock().await;
        self.read().check_new(id, entry.alias.as_deref())?;
        self.store.insert(id, entry.clone(), false).await.map_err(store_error)?;
        let unlocked = entry.secret.is_some();
        self.write().insert(id, entry);
        if unlocked {
            self.tell(Event::AccountUnlocked { identity: id });
        }
        self.read().info(id)
    }

    pub(crate) async fn update(&self, request: Update) -> Result<IdentityInfo, Error> {
        let Update { node_id: id, alias, set_default } = request;
        let _writing = self.writing.lock().await;
        self.read().live(id)?;
        if let Some(alias) = &alias {
            self.read().check_alias(id, alias)?;
        }
        self.store.update(id, alias.clone(), set_default).await.map_err(store_error)?;
        let mut book = self.write();
        if let Some(alias) = alias {
            book.change(id, |entry| entry.alias = Some(alias));
        }
        if set_default {
            book.set_default(id);
        }
        let info = book.info(id);
        drop(book);
        self.changed.send_replace(());
        info
    }

    pub(crate) async fn lock(&self, request: Lock) -> Result<IdentityInfo, Error> {
        let id = request.node_id;
        let _writing = self.writing.lock().await;
        let secret = self.read().live(id)?.secret.clone();
        if let Some(password) = request.set_password {
            let secret = secret.clone().ok_or_else(|| Error::internal("key already locked"))?;
            let protected = !password.is_empty();
            let keystore = blocking(move || Keystore::seal_for(&secret, &password)).await?.map_err(Error::internal)?;
            self.store.replace_keystore(id, &keystore, protected).await.map_err(store_error)?;
            self.write().change(id, |entry| {
                entry.keystore = keystore;
                entry.protected = protected;
            });
        }
        self.write().change(id, |entry| entry.secret = None);
        if secret.is_some() {
            self.tell(Event::AccountLocked { identity: id });
        }
        self.read().info(id)
    }

    pub(crate) async fn unlock(&self, request: Unlock) -> Result<IdentityInfo, Error> {
        let id = request.node_id;
        let keystore = self.read().live(id)?.keystore.clone();
        let password = request.password;
        let trial = keystore.clone();
        let opened = blocking(move || trial.open(&password)).await?;
        let secret = opened.map_err(|error| match error {
            KeystoreError::Password => Error::InvalidPassword,
            other => Error::BadKeyStoreFormat(other.to_string()),
        })?;
        if secret.node_id() != id {
            return Err(Error::BadKeyStoreFormat(format!("the key inside belongs to {}", secret.node_id())));
        }
        let _writing = self.writing.lock().await;
        // The password may have changed while the old one was tried.
        if self.read().live(id)?.keystore != keystore {
            return Err(Error::InvalidPassword);
        }
        self.write().change(id, |entry| entry.secret = Some(secret));
        self.tell(Event::AccountUnlocked { identity: id });
        self.read().info(id)
    }

    pub(crate) async fn drop_id(&self, id: NodeId) -> Result<IdentityInfo, DropIdError> {
        let _writing = self.writing.lock().await;
        let unlocked = {
            let book = self.read();
            let entry = book.any(id).ok_or(DropIdError::NodeNotFound(id))?;
            if entry.deleted {
                return Err(DropIdError::AlreadyDeleted);
            }
            if book.default() == id {
                return Err(DropIdError::DefaultIdentity);
            }
            entry.secret.is_some()
        };
        let failed = |error: StoreError| DropIdError::InternalErr(error.to_string());
        self.ring.forget(id).await.map_err(failed)?;
        self.store.remove(id).await.map_err(failed)?;
        self.write().change(id, |entry| {
            entry.deleted = true;
            entry.secret = None;
        });
        if unlocked {
            self.tell(Event::AccountLocked { identity: id });
        }
        self.read().info(id).map_err(|_| DropIdError::NodeNotFound(id))
    }

    fn tell(&self, event: Event) {
        self.changed.send_replace(());
        self.events.tell(&event.into());
    }

    fn read(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Book> {
        self.book.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn generate(alias: Option<String>) -> Result<(NodeId, Entry), Error> {
    let secret = SecretKey::generate();
    let keystore = Keystore::seal_for(&secret, "").map_err(Error::internal)?;
    Ok((secret.node_id(), Entry { alias, keystore, protected: false, secret: Some(secret), deleted: false }))
}

async fn import(text: &str, alias: Option<String>) -> Result<(NodeId, Entry), Error> {
    let bad = |error: KeystoreError| Error::BadKeyStoreFormat(error.to_string());
    let keystore = Keystore::parse(text).map_err(bad)?;
    let id = keystore.address().map_err(bad)?.ok_or_else(|| Error::BadKeyStoreFormat("missing address".to_owned()))?;
    let trial = keystore.clone();
    let secret = match blocking(move || trial.open("")).await? {
        Ok(secret) => Some(secret),
        // The address is checked when the owner unlocks it.
        Err(KeystoreError::Password) => None,
        Err(error) => return Err(bad(error)),
    };
    Ok((id, Entry { alias, keystore, protected: secret.is_none(), secret, deleted: false }))
}

/// Key derivation takes milliseconds to seconds.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::internal("the key derivation was interrupted"))
}

#[expect(clippy::needless_pass_by_value, reason = "used in map_err")]
fn store_error(error: StoreError) -> Error {
    Error::InternalErr(format!("DAO error: {error}"))
}
