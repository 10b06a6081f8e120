//! `/local/appkey` (spec 21 §4).

use chrono::TimeDelta;
use golem_model::app_key::{AppKey, Create, Error, Event, Get, GetByName, Remove, Subscribe};

use crate::node::{Node, nobody};

fn remove(name: &str, identity: Option<String>) -> Remove {
    Remove { name: name.to_owned(), identity }
}

#[tokio::test]
async fn a_key_is_made_once_found_by_key_and_name_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let identity = node.handle.default_id();
    let other = node.create(None, None).await.node_id;
    let key = node.create_key("a", identity).await.unwrap();
    assert!(key.len() == 32 && key.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')), "{key}");
    let expected = AppKey {
        name: "a".to_owned(),
        key: key.clone(),
        role: "manager".to_owned(),
        identity,
        created_date: node.now(),
        allow_origins: vec!["http://a".to_owned(), "*".to_owned()],
    };
    assert_eq!(node.key(Get { key: key.clone() }).await.unwrap(), expected);
    assert_eq!(node.key(GetByName { name: "a".to_owned() }).await.unwrap(), expected);
    assert_eq!(node.rest.get(&key).map(|who| who.node_id), Some(identity), "good for REST at once");
    assert_eq!(node.handle.first_app_key().as_deref(), Some(key.as_str()));

    // The same again is the same key, its origins unchanged.
    let again =
        Create { name: "a".to_owned(), role: "manager".to_owned(), identity, allow_origins: vec!["b".to_owned()] };
    assert_eq!(node.key(again).await.unwrap(), key);
    assert_eq!(node.key(GetByName { name: "a".to_owned() }).await.unwrap(), expected);

    let defined = format!("app-key with name a already defined with identity {identity}");
    assert_eq!(node.create_key("a", other).await.unwrap_err(), Error::new(400, defined));
    let role = Create { name: "b".to_owned(), role: "admin".to_owned(), identity, allow_origins: vec![] };
    assert_eq!(node.key(role).await.unwrap_err(), Error::not_found());
    assert_eq!(node.key(Get { key: "none".to_owned() }).await.unwrap_err(), Error::new(500, "DAO error: NotFound"));
    assert_eq!(node.key(GetByName { name: "none".to_owned() }).await.unwrap_err(), Error::not_found());
    assert_eq!(node.key(remove("none", None)).await.unwrap_err(), Error::not_found());
    assert_eq!(node.create_key("b", nobody()).await.unwrap_err().code, 400);
    assert_eq!(node.create_key(&"n".repeat(257), identity).await.unwrap_err().code, 400);
    let many =
        Create { name: "b".to_owned(), role: "manager".to_owned(), identity, allow_origins: vec!["o".to_owned(); 65] };
    assert_eq!(node.key(many).await.unwrap_err().code, 400);

    // A remove for another identity leaves the key good.
    assert!(node.key(remove("a", Some(other.to_string()))).await.is_err());
    assert!(node.rest.get(&key).is_some());
    node.key(remove("a", Some(identity.to_string()))).await.unwrap();
    assert!(node.rest.is_empty());
    assert_eq!(node.key(Get { key }).await.unwrap_err(), Error::not_found());
    assert_eq!(node.list_keys(None, 1, 10).await, (vec![], 0));
    node.stop().await;
}

#[tokio::test]
async fn pages_are_counted_without_the_filter() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let (mine, other) = (node.handle.default_id(), node.create(Some("alias"), None).await.node_id);
    // Made in an order that neither the alphabet nor the clock has.
    for (name, identity) in [("c", mine), ("a", other), ("e", mine), ("b", mine), ("d", other)] {
        node.create_key(name, identity).await.unwrap();
        node.clock.advance(TimeDelta::seconds(-1));
    }
    let table: [(_, _, _, &[&str], _); 11] = [
        (None, 1, 10, &["c", "a", "e", "b", "d"], 1),
        (None, 1, 2, &["c", "a"], 3),
        (None, 2, 2, &["e", "b"], 3),
        (None, 3, 2, &["d"], 3),
        (None, 4, 2, &[], 3),
        (None, 0, 2, &["c", "a"], 3),
        (None, 1, 0, &[], 0),
        (None, u32::MAX, u32::MAX, &[], 1),
        (Some(other.to_string()), 1, 2, &["a", "d"], 3),
        (Some("alias".to_owned()), 1, 5, &[], 1),
        (Some(other.to_string().to_uppercase()), 1, 5, &[], 1),
    ];
    for (identity, page, per_page, names, pages) in table {
        let (got, count) = node.list_keys(identity.clone(), page, per_page).await;
        assert!(got == names && count == pages, "{identity:?} {page} {per_page}: {got:?} {count}");
    }
    node.stop().await;

    let node = Node::start(dir.path()).await;
    let (names, _) = node.list_keys(None, 1, 10).await;
    assert_eq!(names, ["c", "a", "e", "b", "d"], "the order survives a restart");
    assert_eq!(node.rest.len(), 5);
    node.stop().await;
}

#[tokio::test]
async fn subscribers_hear_of_new_and_dropped_keys() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let mut events = node.events::<Event>("/local/watcher");
    let endpoint = "/local/watcher".to_owned();
    let first = node.key(Subscribe { endpoint }).await.unwrap();
    let second = node.key(Subscribe { endpoint: "/local/nobody".to_owned() }).await.unwrap();
    assert_ne!(first, second);
    let id = node.create(None, None).await.node_id;
    for name in ["a", "b"] {
        node.create_key(name, id).await.unwrap();
        let key = node.key(GetByName { name: name.to_owned() }).await.unwrap();
        assert_eq!(events.next().await, Event::NewKey(key));
    }
    // The same key again is no news.
    node.create_key("a", id).await.unwrap();
    let (a, b) = (
        node.key(GetByName { name: "a".to_owned() }).await.unwrap(),
        node.key(GetByName { name: "b".to_owned() }).await.unwrap(),
    );
    node.key(remove("b", None)).await.unwrap();
    assert_eq!(events.next().await, Event::DroppedKey(b));
    node.id(golem_model::identity::DropId { node_id: id }).await.unwrap();
    assert_eq!(events.next().await, Event::DroppedKey(a));
    node.stop().await;
    assert!(events.is_empty());
}
