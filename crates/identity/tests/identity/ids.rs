//! `/local/identity` (spec 21 §3, §3.1).

use golem_keys::{Keystore, SecretKey};
use golem_model::NodeId;
use golem_model::identity::{
    CreateGenerated, DropId, DropIdError, Error, Event, Get, GetKeyFile, GetPubKey, IdentityInfo, List, Lock, Sign,
    Subscribe, Unlock, Unsubscribe, Update,
};
use serde_json::{Value, json};

use crate::node::{Node, key_file, nobody, secret};

fn internal(text: &str) -> Error {
    Error::InternalErr(text.to_owned())
}

fn unlock(node_id: NodeId, password: &str) -> Unlock {
    Unlock { node_id, password: password.to_owned() }
}

fn rename(node_id: NodeId, alias: &str) -> Update {
    Update { node_id, alias: Some(alias.to_owned()), set_default: false }
}

#[tokio::test]
async fn a_first_start_makes_one_usable_default() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let id = node.handle.default_id();
    let expected = IdentityInfo { alias: None, node_id: id, is_locked: false, is_default: true, deleted: false };
    assert_eq!(node.id(List {}).await.unwrap().as_slice(), std::slice::from_ref(&expected));
    assert_eq!(node.id(Get::ByDefault).await.unwrap(), Some(expected.clone()));
    assert_eq!(node.id(Get::ByNodeId(id)).await.unwrap(), Some(expected));
    assert_eq!(node.id(Get::ByNodeId(nobody())).await.unwrap(), None);
    assert_eq!(node.id(Get::ByAlias("none".to_owned())).await.unwrap(), None);
    assert!(node.handle.can_sign(id) && !node.handle.can_sign(nobody()));
    node.stop().await;
}

#[tokio::test]
async fn an_unknown_id_is_named_in_the_error() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let id = nobody();
    let unknown = Error::NodeNotFound(id);
    assert_eq!(node.sign(id).await.unwrap_err(), unknown);
    assert_eq!(node.id(GetPubKey(id)).await.unwrap_err(), unknown);
    assert_eq!(node.id(GetKeyFile(id)).await.unwrap_err(), unknown);
    assert_eq!(node.id(rename(id, "a")).await.unwrap_err(), unknown);
    assert_eq!(node.id(Lock { node_id: id, set_password: None }).await.unwrap_err(), unknown);
    assert_eq!(node.id(unlock(id, "")).await.unwrap_err(), unknown);
    assert_eq!(node.id(DropId { node_id: id }).await.unwrap_err(), DropIdError::NodeNotFound(id));
    node.stop().await;
}

#[tokio::test]
async fn keystores_are_imported_or_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let open = key_file(&secret(), "");
    let info = node.create(Some("open"), Some(open.clone())).await;
    assert_eq!((info.node_id, info.is_locked, info.is_default), (secret().node_id(), false, false));
    assert_eq!(info.alias.as_deref(), Some("open"));

    let other = SecretKey::generate();
    let locked = node.create(None, Some(key_file(&other, "password"))).await;
    assert_eq!((locked.node_id, locked.is_locked), (other.node_id(), true));

    let edited = |edit: fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(&key_file(&SecretKey::generate(), "")).unwrap();
        edit(&mut value);
        value.to_string()
    };
    let bad = [
        ("no JSON", "{".to_owned()),
        ("no object", "[]".to_owned()),
        ("no address", edited(|file| drop(file.as_object_mut().unwrap().remove("address")))),
        ("short address", edited(|file| file["address"] = json!("0011"))),
        ("hex prefix", edited(|file| file["address"] = json!(nobody().to_string()))),
        ("address of another key", edited(|file| file["address"] = json!("11".repeat(20)))),
        ("other cipher", edited(|file| file["crypto"]["cipher"] = json!("aes-256-ctr"))),
        ("costly derivation", edited(|file| file["crypto"]["kdfparams"]["c"] = json!(4_000_000_000_u32))),
    ];
    for (name, text) in bad {
        let error = node.id(CreateGenerated { alias: None, from_keystore: Some(text) }).await.unwrap_err();
        assert!(matches!(error, Error::BadKeyStoreFormat(_)), "{name}: {error:?}");
    }

    let taken = "DAO error: UNIQUE constraint failed: identity.alias";
    let refused = [
        (None, Some(open), "Already exists"),
        (Some("open"), None, taken),
        (Some("open"), Some(key_file(&SecretKey::generate(), "")), taken),
    ];
    for (alias, from_keystore, text) in refused {
        let alias = alias.map(str::to_owned);
        let error = node.id(CreateGenerated { alias, from_keystore }).await.unwrap_err();
        assert_eq!(error, internal(text));
    }
    let long = node.id(CreateGenerated { alias: Some("a".repeat(257)), from_keystore: None }).await.unwrap_err();
    assert_eq!(long, internal("an alias has at most 256 characters"));
    assert_eq!(node.id(List {}).await.unwrap().len(), 3);
    node.stop().await;
}

#[tokio::test]
async fn a_wrong_address_under_a_password_is_found_at_the_first_unlock() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let mut file: Value = serde_json::from_str(&key_file(&secret(), "password")).unwrap();
    file["address"] = json!("11".repeat(20));
    let info = node.create(None, Some(file.to_string())).await;
    assert_eq!((info.node_id, info.is_locked), (nobody(), true));
    let error = node.id(unlock(nobody(), "password")).await.unwrap_err();
    assert!(matches!(error, Error::BadKeyStoreFormat(_)), "{error:?}");
    assert_eq!(node.sign(nobody()).await.unwrap_err(), internal("sign error"));
    node.stop().await;
}

#[tokio::test]
async fn an_update_changes_the_alias_or_the_default_or_both() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let first = node.handle.default_id();
    let second = node.create(Some("second"), None).await.node_id;
    assert_eq!(node.id(rename(first, "first")).await.unwrap().alias.as_deref(), Some("first"));
    assert_eq!(node.id(rename(first, "second")).await.unwrap_err(), Error::AlreadyExists);
    assert_eq!(node.id(rename(first, "first")).await.unwrap_err(), Error::AlreadyExists, "its own alias");
    let info = node.id(Update { node_id: second, alias: None, set_default: true }).await.unwrap();
    assert_eq!((info.alias.as_deref(), info.is_default), (Some("second"), true));
    let defaults = node.id(List {}).await.unwrap().into_iter().filter(|info| info.is_default);
    assert_eq!(defaults.map(|info| info.node_id).collect::<Vec<_>>(), [second]);
    // An alias that is taken keeps the default where it is.
    let both = Update { node_id: first, alias: Some("second".to_owned()), set_default: true };
    assert_eq!(node.id(both).await.unwrap_err(), Error::AlreadyExists);
    assert_eq!(node.handle.default_id(), second);
    assert_eq!(node.handle.default_alias().as_deref(), Some("second"));
    // The old alias is free after a change.
    node.id(rename(first, "renamed")).await.unwrap();
    assert_eq!(node.create(Some("first"), None).await.alias.as_deref(), Some("first"));
    node.stop().await;
}

#[tokio::test]
async fn locked_keys_do_nothing_but_show_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let id = node.create(None, Some(key_file(&secret(), "password"))).await.node_id;
    let file = node.id(GetKeyFile(id)).await.unwrap();
    assert!(file.lines().count() > 5, "pretty-printed: {file}");
    assert_eq!(Keystore::parse(&file).unwrap().open("password").unwrap().node_id(), id);
    assert_eq!(node.sign(id).await.unwrap_err(), internal("sign error"));
    assert_eq!(node.id(GetPubKey(id)).await.unwrap_err(), internal("key locked"));
    let set = Lock { node_id: id, set_password: Some("x".to_owned()) };
    assert_eq!(node.id(set).await.unwrap_err(), internal("key already locked"));
    assert!(node.id(Lock { node_id: id, set_password: None }).await.unwrap().is_locked, "a second lock is no error");
    for wrong in ["", "Password", "password "] {
        assert_eq!(node.id(unlock(id, wrong)).await.unwrap_err(), Error::InvalidPassword, "{wrong:?}");
    }
    assert!(!node.id(unlock(id, "password")).await.unwrap().is_locked);
    assert_eq!(node.id(GetPubKey(id)).await.unwrap(), secret().public().as_bytes());
    assert_eq!(node.sign(id).await.unwrap(), secret().sign(&[0; 32]).as_bytes());
    for length in [0, 31, 33, 64] {
        let sign = Sign { node_id: id, payload: vec![0; length] };
        assert_eq!(node.id(sign).await.unwrap_err(), internal("sign error"), "{length} bytes");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_new_password_counts_at_once_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let id = node.create(None, None).await.node_id;
    assert!(node.id(Lock { node_id: id, set_password: Some("new".to_owned()) }).await.unwrap().is_locked);
    assert_eq!(node.id(unlock(id, "")).await.unwrap_err(), Error::InvalidPassword);
    assert!(!node.id(unlock(id, "new")).await.unwrap().is_locked);
    // Without a password the lock holds for this run; with one the key stays protected.
    let open = node.handle.default_id();
    assert!(node.id(Lock { node_id: open, set_password: None }).await.unwrap().is_locked);
    node.stop().await;

    let node = Node::start(dir.path()).await;
    assert!(node.handle.can_sign(open) && !node.handle.can_sign(id));
    assert!(!node.id(unlock(id, "new")).await.unwrap().is_locked);
    // The empty password takes the protection away.
    node.id(Lock { node_id: id, set_password: Some(String::new()) }).await.unwrap();
    node.stop().await;
    let node = Node::start(dir.path()).await;
    assert!(node.handle.can_sign(id));
    node.stop().await;
}

#[tokio::test]
async fn a_dropped_identity_is_shown_until_the_end_of_the_run_and_can_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let default = node.handle.default_id();
    assert_eq!(node.id(DropId { node_id: default }).await.unwrap_err(), DropIdError::DefaultIdentity);
    let id = node.create(Some("gone"), Some(key_file(&secret(), ""))).await.node_id;
    let key = node.create_key("of-gone", id).await.unwrap();
    assert!(node.rest.get(&key).is_some());

    let info = node.id(DropId { node_id: id }).await.unwrap();
    assert!(info.deleted && !info.is_default && info.alias.as_deref() == Some("gone"));
    assert_eq!(node.id(DropId { node_id: id }).await.unwrap_err(), DropIdError::AlreadyDeleted);
    assert_eq!(node.id(Get::ByNodeId(id)).await.unwrap().map(|info| info.deleted), Some(true));
    assert!(node.id(List {}).await.unwrap().contains(&info));
    assert_eq!(node.sign(id).await.unwrap_err(), Error::NodeNotFound(id), "the key is gone at once");
    assert!(node.rest.get(&key).is_none(), "so are its app keys");
    assert_eq!(node.list_keys(None, 1, 10).await, (vec![], 0));

    // The alias is free, and so is the id.
    let heir = node.create(Some("gone"), None).await.node_id;
    assert_eq!(node.id(Get::ByAlias("gone".to_owned())).await.unwrap().map(|info| info.node_id), Some(heir));
    let back = node.create(None, Some(key_file(&secret(), ""))).await;
    assert!(!back.deleted && back.alias.is_none() && node.sign(id).await.is_ok());
    node.id(DropId { node_id: id }).await.unwrap();
    node.stop().await;

    let node = Node::start(dir.path()).await;
    let mut ids: Vec<_> = node.id(List {}).await.unwrap().into_iter().map(|info| info.node_id).collect();
    let mut expected = [default, heir];
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
    assert_eq!(node.id(DropId { node_id: id }).await.unwrap_err(), DropIdError::NodeNotFound(id));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn events_come_in_the_order_of_the_changes() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let mut events = node.events::<Event>("/local/watcher");
    let subscribe = Subscribe { endpoint: "/local/watcher".to_owned() };
    // Nobody is at home at this one; the others are told all the same.
    node.id(Subscribe { endpoint: "/local/nobody".to_owned() }).await.unwrap();
    node.id(subscribe.clone()).await.unwrap();

    let identity = node.create(None, Some(key_file(&secret(), ""))).await.node_id;
    assert_eq!(events.next().await, Event::AccountUnlocked { identity });
    for _ in 0..20 {
        node.id(Lock { node_id: identity, set_password: None }).await.unwrap();
        node.id(unlock(identity, "")).await.unwrap();
    }
    for _ in 0..20 {
        assert_eq!(events.next().await, Event::AccountLocked { identity });
        assert_eq!(events.next().await, Event::AccountUnlocked { identity });
    }
    assert!(node.id(unlock(identity, "wrong")).await.is_err());
    node.id(rename(identity, "quiet")).await.unwrap();
    node.id(DropId { node_id: identity }).await.unwrap();
    assert_eq!(events.next().await, Event::AccountLocked { identity });
    // One that comes or goes locked makes no event.
    let locked = node.create(None, Some(key_file(&secret(), "password"))).await.node_id;
    node.id(DropId { node_id: locked }).await.unwrap();

    // The same endpoint twice is called twice.
    node.id(subscribe.clone()).await.unwrap();
    let identity = node.create(None, None).await.node_id;
    for _ in 0..2 {
        assert_eq!(events.next().await, Event::AccountUnlocked { identity });
    }
    node.id(Unsubscribe { endpoint: "/local/watcher".to_owned() }).await.unwrap();
    node.create(None, None).await;
    node.id(subscribe).await.unwrap();
    let identity = node.create(None, None).await.node_id;
    assert_eq!(events.next().await, Event::AccountUnlocked { identity }, "nothing between the two subscriptions");
    node.stop().await;
    assert!(events.is_empty());
}
