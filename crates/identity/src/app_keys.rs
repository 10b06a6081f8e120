//! App keys: in memory in the order of their making, in the store, and in the table of the REST shell.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::NaiveDateTime;
use golem_api_rest::AppKeys;
use golem_model::NodeId;
use golem_model::app_key::{AppKey, Create, Error, Event, List, ROLE};
use golem_service::Clock;
use golem_store::StoreError;

use crate::events::{Kind, Subscribers};
use crate::store::IdentityStore;

const AUTO_NAME: &str = "autoconfigured";

const KEYS_MAX: usize = 10_000;

const NAME_CHARS_MAX: usize = 256;

const ORIGINS_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct KeyRing {
    stored: Mutex<Vec<AppKey>>,
    /// The key of the environment: not stored, always there.
    auto: Option<AppKey>,
    /// Held over the wait for the store, so that store and memory change in the same order.
    writing: tokio::sync::Mutex<()>,
    store: IdentityStore,
    rest: AppKeys,
    events: Subscribers,
    clock: Arc<dyn Clock>,
}

impl KeyRing {
    pub(crate) fn auto(key: String, identity: NodeId, created_date: NaiveDateTime) -> AppKey {
        AppKey {
            name: AUTO_NAME.to_owned(),
            key,
            role: ROLE.to_owned(),
            identity,
            created_date,
            allow_origins: Vec::new(),
        }
    }

    pub(crate) async fn new(
        clock: Arc<dyn Clock>,
        store: IdentityStore,
        rest: AppKeys,
        auto: Option<AppKey>,
        events: Subscribers,
    ) -> Result<Self, StoreError> {
        let stored = store.load_keys().await?;
        stored.iter().chain(&auto).for_each(|key| rest.insert(key));
        Ok(Self {
            stored: Mutex::new(stored),
            auto,
            writing: tokio::sync::Mutex::default(),
            store,
            rest,
            events,
            clock,
        })
    }

    pub(crate) async fn create(&self, request: Create) -> Result<String, Error> {
        let Create { name, role, identity, allow_origins } = request;
        if self.is_auto(&name) {
            return Err(Error::new(500, "Preconfigured appkey already exists"));
        }
        if role != ROLE {
            return Err(Error::not_found());
        }
        if name.chars().count() > NAME_CHARS_MAX || allow_origins.len() > ORIGINS_MAX {
            return Err(Error::new(
                400,
                format!("a key has a name of at most {NAME_CHARS_MAX} characters and at most {ORIGINS_MAX} origins"),
            ));
        }
        let _writing = self.writing.lock().await;
        if let Some(existing) = self.lock().iter().find(|key| key.name == name) {
            return if existing.identity == identity {
                Ok(existing.key.clone())
            } else {
                let owner = existing.identity;
                Err(Error::new(400, format!("app-key with name {name} already defined with identity {owner}")))
            };
        }
        if self.lock().len() >= KEYS_MAX {
            return Err(Error::new(
                400,
                format!("there are {KEYS_MAX} keys already; hint: `yagna app-key drop <name>`"),
            ));
        }
        let key = AppKey {
            name,
            key: uuid::Uuid::new_v4().simple().to_string(),
            role,
            identity,
            created_date: self.clock.now().naive_utc(),
            allow_origins,
        };
        self.store.insert_key(key.clone()).await.map_err(store_error)?;
        self.rest.insert(&key);
        self.lock().push(key.clone());
        let text = key.key.clone();
        self.events.tell(&Event::NewKey(key).into());
        Ok(text)
    }

    pub(crate) fn get(&self, wanted: impl Fn(&AppKey) -> bool) -> Result<AppKey, Error> {
        self.lock().iter().chain(&self.auto).find(|key| wanted(key)).cloned().ok_or_else(Error::not_found)
    }

    pub(crate) fn list(&self, request: &List) -> (Vec<AppKey>, u32) {
        let stored = self.lock();
        let per_page = request.per_page;
        let first = u64::from(request.page.saturating_sub(1)) * u64::from(per_page);
        let of_identity =
            |key: &&AppKey| request.identity.as_ref().is_none_or(|identity| key.identity.to_string() == *identity);
        let mut page: Vec<AppKey> = stored
            .iter()
            .filter(of_identity)
            .skip(usize::try_from(first).unwrap_or(usize::MAX))
            .take(usize::try_from(per_page).unwrap_or(usize::MAX))
            .cloned()
            .collect();
        page.extend(self.auto.clone());
        let stored = u32::try_from(stored.len()).unwrap_or(u32::MAX);
        (page, stored.checked_div(per_page).map_or(0, |_| stored.div_ceil(per_page)))
    }

    pub(crate) async fn remove(&self, name: &str, identity: Option<&str>) -> Result<(), Error> {
        if self.is_auto(name) {
            return Err(Error::new(500, "Cannot remove autoconfigured key"));
        }
        let _writing = self.writing.lock().await;
        let wanted = |key: &AppKey| key.name == name && identity.is_none_or(|id| key.identity.to_string() == id);
        let found = self.lock().iter().find(|key| wanted(key)).cloned().ok_or_else(Error::not_found)?;
        self.store.remove_key(found.name.clone()).await.map_err(store_error)?;
        self.dropped(&found);
        Ok(())
    }

    /// Drops all keys of an identity that goes.
    pub(crate) async fn forget(&self, identity: NodeId) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        let gone: Vec<AppKey> = self.lock().iter().filter(|key| key.identity == identity).cloned().collect();
        for key in gone {
            self.store.remove_key(key.name.clone()).await?;
            self.dropped(&key);
        }
        Ok(())
    }

    pub(crate) fn subscribe(&self, endpoint: String) -> u64 {
        self.events.add(Kind::AppKey, endpoint)
    }

    pub(crate) fn first_of(&self, identity: NodeId) -> Option<String> {
        self.get(|key| key.identity == identity).ok().map(|key| key.key)
    }

    fn dropped(&self, gone: &AppKey) {
        self.lock().retain(|key| key.name != gone.name);
        // The same text may still be the key of the environment.
        match self.get(|key| key.key == gone.key) {
            Ok(still) => self.rest.insert(&still),
            Err(_) => self.rest.remove(&gone.key),
        }
        self.events.tell(&Event::DroppedKey(gone.clone()).into());
    }

    fn is_auto(&self, name: &str) -> bool {
        self.auto.is_some() && name == AUTO_NAME
    }

    fn lock(&self) -> MutexGuard<'_, Vec<AppKey>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used in map_err")]
fn store_error(error: StoreError) -> Error {
    Error::new(500, format!("DAO error: {error}"))
}
