//! A node that has nothing but its identity service.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime};
use golem_api_rest::AppKeys;
use golem_bus::Bus;
use golem_identity::{Config, Handle, StartError};
use golem_keys::{Kdf, Keystore, SecretKey};
use golem_model::identity::{self, CreateGenerated, IdentityInfo};
use golem_model::{Call, Caller, NodeId, app_key};
use golem_service::{Clock, Context, ManualClock};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) const SECRET: &str = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318";

pub(crate) fn secret() -> SecretKey {
    SECRET.parse().unwrap()
}

/// An id that no test makes.
pub(crate) fn nobody() -> NodeId {
    NodeId::from([0x11; 20])
}

/// A keystore file with a password and quick to open.
pub(crate) fn key_file(secret: &SecretKey, password: &str) -> String {
    Keystore::seal(secret, password, Kdf::Quick).unwrap().to_json()
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) bus: Bus,
    pub(crate) handle: Handle,
    pub(crate) rest: AppKeys,
    pub(crate) clock: Arc<ManualClock>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Node {
    pub(crate) async fn start(dir: &Path) -> Self {
        Self::start_with(dir, Config::default()).await.unwrap()
    }

    pub(crate) async fn start_with(dir: &Path, config: Config) -> Result<Self, StartError> {
        let clock = Arc::new(ManualClock::at(DateTime::from_timestamp(1_700_000_000, 123_456_789).unwrap()));
        let ctx = Context {
            bus: Bus::new(),
            data_dir: dir.to_owned(),
            clock: Arc::<ManualClock>::clone(&clock),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let (bus, tasks, stop) = (ctx.bus.clone(), ctx.tasks.clone(), ctx.stop.clone());
        let rest = AppKeys::new();
        let handle = golem_identity::start(ctx, config, rest.clone()).await?;
        handle.bind_app_keys();
        Ok(Self { bus, handle, rest, clock, tasks, stop })
    }

    /// Ends every task; a service that leaves one behind is a failure.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(TIMEOUT, self.tasks.wait()).await.unwrap();
        self.bus.unbind("/local");
    }

    /// What the identity service answers.
    pub(crate) async fn id<C: Call>(&self, call: C) -> Result<C::Item, C::Error> {
        self.ask(identity::ADDRESS, call).await
    }

    /// What the app key service answers.
    pub(crate) async fn key<C: Call>(&self, call: C) -> Result<C::Item, C::Error> {
        self.ask(app_key::ADDRESS, call).await
    }

    async fn ask<C: Call>(&self, service: &str, call: C) -> Result<C::Item, C::Error> {
        match self.bus.call(service, Caller::local(), call, TIMEOUT).await {
            Ok(item) => Ok(item),
            Err(error) => Err(error.service().unwrap()),
        }
    }

    pub(crate) async fn create(&self, alias: Option<&str>, from: Option<String>) -> IdentityInfo {
        let alias = alias.map(str::to_owned);
        self.id(CreateGenerated { alias, from_keystore: from }).await.unwrap()
    }

    pub(crate) async fn sign(&self, node_id: NodeId) -> Result<Vec<u8>, identity::Error> {
        self.id(identity::Sign { node_id, payload: vec![0; 32] }).await
    }

    pub(crate) async fn create_key(&self, name: &str, identity: NodeId) -> Result<String, app_key::Error> {
        let allow_origins = vec!["http://a".to_owned(), "*".to_owned()];
        self.key(app_key::Create { name: name.to_owned(), role: "manager".to_owned(), identity, allow_origins }).await
    }

    pub(crate) async fn list_keys(&self, identity: Option<String>, page: u32, per_page: u32) -> (Vec<String>, u32) {
        let (keys, pages) = self.key(app_key::List { identity, page, per_page }).await.unwrap();
        (keys.into_iter().map(|key| key.name).collect(), pages)
    }

    /// Events that reach `endpoint` from now on, once it is subscribed.
    pub(crate) fn events<E: Call<Item = ()> + std::fmt::Debug>(&self, endpoint: &str) -> Events<E> {
        let (sender, inbox) = mpsc::channel(64);
        self.bus.bind(endpoint, move |_, event: E| {
            sender.try_send(event).unwrap();
            std::future::ready(Ok(()))
        });
        Events { inbox }
    }

    pub(crate) fn now(&self) -> NaiveDateTime {
        self.clock.now().naive_utc()
    }
}

#[derive(Debug)]
pub(crate) struct Events<E> {
    inbox: mpsc::Receiver<E>,
}

impl<E> Events<E> {
    pub(crate) async fn next(&mut self) -> E {
        tokio::time::timeout(TIMEOUT, self.inbox.recv()).await.unwrap().unwrap()
    }

    /// Whether all that came was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.inbox.is_empty()
    }
}
