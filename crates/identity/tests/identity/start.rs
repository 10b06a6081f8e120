//! Which identity is the default, and what the environment fixes (spec 21 §3.2, §4.1).

use std::os::unix::fs::PermissionsExt;

use golem_identity::Config;
use golem_keys::SecretKey;
use golem_model::app_key::{Error, Get, GetByName, Remove};
use golem_model::identity::{DropId, GetKeyFile, List, Lock, Unlock, Update};

use crate::node::{Node, TIMEOUT, key_file, secret};

fn with_secret(secret: SecretKey) -> Config {
    Config { id_secret: Some(secret), app_key: None }
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let first = node.handle.default_id();
    let second = node.create(Some("second"), Some(key_file(&secret(), ""))).await.node_id;
    node.create(Some("locked"), Some(key_file(&SecretKey::generate(), "password"))).await;
    node.id(Update { node_id: first, alias: Some("first".to_owned()), set_default: false }).await.unwrap();
    node.id(Update { node_id: second, alias: None, set_default: true }).await.unwrap();
    let key = node.create_key("key", second).await.unwrap();
    let before = (
        node.id(List {}).await.unwrap(),
        node.id(GetKeyFile(second)).await.unwrap(),
        node.key(Get { key: key.clone() }).await.unwrap(),
    );
    node.stop().await;

    let node = Node::start(dir.path()).await;
    let after = (
        node.id(List {}).await.unwrap(),
        node.id(GetKeyFile(second)).await.unwrap(),
        node.key(Get { key: key.clone() }).await.unwrap(),
    );
    assert_eq!(after, before);
    assert_eq!(node.sign(second).await.unwrap(), secret().sign(&[0; 32]).as_bytes());
    assert_eq!(node.rest.get(&key).map(|who| who.node_id), Some(second));
    for file in ["identity.db", "identity.db-wal", "identity.db-shm"] {
        let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file} holds keys");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_new_secret_of_the_environment_becomes_the_stored_default() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let old = node.handle.default_id();
    node.stop().await;
    let node = Node::start_with(dir.path(), with_secret(secret())).await.unwrap();
    assert_eq!(node.handle.default_id(), secret().node_id());
    node.stop().await;
    let node = Node::start(dir.path()).await;
    assert_eq!(node.handle.default_id(), secret().node_id(), "stored");
    assert!(node.handle.can_sign(secret().node_id()), "unprotected");
    // The old one is an ordinary identity now.
    assert!(node.handle.can_sign(old));
    node.id(DropId { node_id: old }).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn a_known_secret_of_the_environment_is_the_default_for_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let marked = node.handle.default_id();
    let file = key_file(&secret(), "password");
    let known = node.create(Some("mine"), Some(file)).await.node_id;
    let stored = node.id(GetKeyFile(known)).await.unwrap();
    node.stop().await;

    let node = Node::start_with(dir.path(), with_secret(secret())).await.unwrap();
    assert_eq!(node.handle.default_id(), known);
    assert!(node.handle.can_sign(known), "its secret is at hand");
    assert_eq!(node.handle.default_alias().as_deref(), Some("mine"));
    assert_eq!(node.id(GetKeyFile(known)).await.unwrap(), stored, "the row is left as it is");
    node.stop().await;

    let node = Node::start(dir.path()).await;
    assert_eq!(node.handle.default_id(), marked);
    assert!(!node.handle.can_sign(known));
    node.stop().await;
}

#[tokio::test]
async fn a_locked_default_holds_the_start_until_it_is_unlocked() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let id = node.create(None, Some(key_file(&secret(), "password"))).await.node_id;
    node.id(Update { node_id: id, alias: None, set_default: true }).await.unwrap();
    node.stop().await;

    let node = Node::start(dir.path()).await;
    let mut waiting = start_waits(&node);
    assert!(!node.handle.can_sign(id));
    assert!(node.id(Unlock { node_id: id, password: "wrong".to_owned() }).await.is_err());
    assert!(waiting.as_mut().poll(&mut never_woken()).is_pending());
    node.id(Unlock { node_id: id, password: "password".to_owned() }).await.unwrap();
    tokio::time::timeout(TIMEOUT, waiting).await.unwrap();
    // Another way out: another default that can sign.
    node.id(Lock { node_id: id, set_password: None }).await.unwrap();
    let mut waiting = start_waits(&node);
    assert!(waiting.as_mut().poll(&mut never_woken()).is_pending());
    let other = node.create(None, None).await.node_id;
    node.id(Update { node_id: other, alias: None, set_default: true }).await.unwrap();
    tokio::time::timeout(TIMEOUT, waiting).await.unwrap();
    node.stop().await;
}

fn start_waits(node: &Node) -> std::pin::Pin<Box<impl Future<Output = ()>>> {
    let handle = node.handle.clone();
    Box::pin(async move { handle.unlocked().await })
}

const fn never_woken() -> std::task::Context<'static> {
    std::task::Context::from_waker(std::task::Waker::noop())
}

#[tokio::test]
async fn the_key_of_the_environment_is_there_and_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { id_secret: Some(secret()), app_key: Some("any string".to_owned()) };
    let node = Node::start_with(dir.path(), config).await.unwrap();
    let id = secret().node_id();
    let other = node.create(None, None).await.node_id;
    assert_eq!(node.list_keys(None, 1, 10).await, (vec!["autoconfigured".to_owned()], 0));
    let key = node.key(Get { key: "any string".to_owned() }).await.unwrap();
    assert_eq!((key.name.as_str(), key.role.as_str(), key.identity), ("autoconfigured", "manager", id));
    assert!(key.allow_origins.is_empty());
    assert_eq!(node.key(GetByName { name: "autoconfigured".to_owned() }).await.unwrap(), key);
    assert_eq!(node.rest.get("any string").map(|who| who.node_id), Some(id));
    assert_eq!(node.handle.first_app_key().as_deref(), Some("any string"));

    for identity in [id, other] {
        let error = node.create_key("autoconfigured", identity).await.unwrap_err();
        assert_eq!(error, Error::new(500, "Preconfigured appkey already exists"));
    }
    let remove = Remove { name: "autoconfigured".to_owned(), identity: None };
    assert_eq!(node.key(remove).await.unwrap_err(), Error::new(500, "Cannot remove autoconfigured key"));

    // Last of every page, also of a filtered one, and never counted.
    node.create_key("z", other).await.unwrap();
    node.create_key("y", id).await.unwrap();
    let table: [(_, _, _, &[&str], _); 4] = [
        (None, 1, 1, &["z", "autoconfigured"], 2),
        (None, 2, 1, &["y", "autoconfigured"], 2),
        (None, 3, 1, &["autoconfigured"], 2),
        (Some(other.to_string()), 1, 5, &["z", "autoconfigured"], 1),
    ];
    for (identity, page, per_page, names, pages) in table {
        let (got, count) = node.list_keys(identity, page, per_page).await;
        assert!(got == names && count == pages, "{page} {per_page}: {got:?} {count}");
    }
    node.stop().await;

    let node = Node::start(dir.path()).await;
    assert_eq!(node.list_keys(None, 1, 10).await, (vec!["z".to_owned(), "y".to_owned()], 1));
    assert!(node.rest.get("any string").is_none());
    node.stop().await;
}
