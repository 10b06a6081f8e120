//! An official data directory is taken over once (spec 21 §3.3).

use std::path::Path;

use golem_keys::SecretKey;
use golem_model::app_key::GetByName;
use golem_model::identity::{DropId, Get, List, Unlock};
use golem_store::rusqlite::{Connection, params};

use crate::node::{Node, key_file, secret};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE identity (identity_id TEXT PRIMARY KEY, key_file_json TEXT NOT NULL, is_default BOOLEAN NOT NULL,
        is_deleted BOOLEAN NOT NULL, alias TEXT UNIQUE, note TEXT, created_date DATETIME NOT NULL);
    CREATE TABLE role (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    INSERT INTO role VALUES (1, 'manager');
    CREATE TABLE app_key (id INTEGER PRIMARY KEY, role_id INTEGER NOT NULL, name TEXT NOT NULL UNIQUE,
        key TEXT NOT NULL, identity_id TEXT NOT NULL, created_date DATETIME NOT NULL, allow_origins TEXT);
";

const CREATED: &str = "2023-11-14 22:13:20.123456789";

fn official(dir: &Path) -> Connection {
    let connection = Connection::open(dir.join("yagna.db")).unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    connection
}

fn insert_id(db: &Connection, id: &str, file: &str, default: bool, deleted: bool, alias: Option<&str>) {
    let values = params![id, file, default, deleted, alias, CREATED];
    db.execute("INSERT INTO identity VALUES (?, ?, ?, ?, ?, NULL, ?)", values).unwrap();
}

fn insert_key(db: &Connection, number: i64, name: &str, id: &str, origins: Option<&str>) {
    let values = params![number, name, format!("key-of-{name}"), id, CREATED, origins];
    db.execute("INSERT INTO app_key VALUES (?, 1, ?, ?, ?, ?, ?)", values).unwrap();
}

#[tokio::test]
async fn identities_and_keys_are_taken_over_once() {
    let dir = tempfile::tempdir().unwrap();
    let (locked, gone) = (SecretKey::generate(), SecretKey::generate());
    let (id, locked_id) = (secret().node_id(), locked.node_id());
    let db = official(dir.path());
    insert_id(&db, &locked_id.to_string(), &key_file(&locked, "password"), false, false, Some("locked"));
    insert_id(&db, &id.to_string(), &key_file(&secret(), ""), true, false, None);
    insert_id(&db, &gone.node_id().to_string(), "", false, true, Some("gone"));
    insert_id(&db, "0xbroken", "", false, false, None);
    insert_key(&db, 2, "second", &id.to_string(), None);
    insert_key(&db, 1, "first", &locked_id.to_string(), Some("[\"http://a\", \"https://b:1\"]"));
    insert_key(&db, 3, "none", &id.to_string(), Some("[]"));
    insert_key(&db, 4, "orphan", &gone.node_id().to_string(), None);

    // The official program's connection is open still: its last rows are in the write-ahead log alone.
    let node = Node::start(dir.path()).await;
    assert_eq!(node.handle.default_id(), id);
    assert_eq!(node.sign(id).await.unwrap(), secret().sign(&[0; 32]).as_bytes());
    assert_eq!(node.id(List {}).await.unwrap().len(), 2);
    let info = node.id(Get::ByAlias("locked".to_owned())).await.unwrap().unwrap();
    assert!(info.node_id == locked_id && info.is_locked);
    node.id(Unlock { node_id: locked_id, password: "password".to_owned() }).await.unwrap();
    let (names, _) = node.list_keys(None, 1, 10).await;
    assert_eq!(names, ["first", "second", "none"], "a key without its identity is left behind");
    let first = node.key(GetByName { name: "first".to_owned() }).await.unwrap();
    assert_eq!((first.key.as_str(), first.identity), ("key-of-first", locked_id));
    assert_eq!(first.allow_origins, ["http://a", "https://b:1"]);
    assert_eq!(first.created_date.to_string(), CREATED);
    assert!(node.key(GetByName { name: "none".to_owned() }).await.unwrap().allow_origins.is_empty());
    assert_eq!(node.rest.get("key-of-second").map(|who| who.node_id), Some(id));

    // What is dropped here does not come back from the official file.
    node.id(DropId { node_id: locked_id }).await.unwrap();
    node.stop().await;
    let node = Node::start(dir.path()).await;
    assert_eq!(node.id(List {}).await.unwrap().len(), 1);
    assert_eq!(node.list_keys(None, 1, 10).await.0, ["second", "none"]);
    node.stop().await;
}

#[tokio::test]
async fn a_take_over_that_fails_leaves_nothing_half_done() {
    let dir = tempfile::tempdir().unwrap();
    let db = official(dir.path());
    insert_id(&db, &secret().node_id().to_string(), &key_file(&secret(), ""), true, false, None);
    let other = SecretKey::generate();
    insert_id(&db, &other.node_id().to_string(), &key_file(&other, ""), false, false, Some("other"));
    // The same identity in other letters: the copy cannot be stored.
    let twice = other.node_id().to_string().to_uppercase().replacen("0X", "0x", 1);
    insert_id(&db, &twice, &key_file(&other, ""), false, false, None);
    let failed = Node::start_with(dir.path(), golem_identity::Config::default()).await;
    assert!(failed.is_err());
    db.execute("DELETE FROM identity WHERE identity_id = ?", [twice]).unwrap();
    let node = Node::start(dir.path()).await;
    assert_eq!(node.handle.default_id(), secret().node_id());
    assert_eq!(node.id(List {}).await.unwrap().len(), 2, "the second try takes all over");
    node.stop().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_stops_the_start_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("yagna.db"), "x".repeat(5000)).unwrap();
    let error = Node::start_with(dir.path(), golem_identity::Config::default()).await.unwrap_err();
    assert!(error.to_string().contains("hint: move `yagna.db` away"), "{error}");
    // An empty one has nothing to take over.
    std::fs::write(dir.path().join("yagna.db"), "").unwrap();
    let node = Node::start(dir.path()).await;
    assert!(node.handle.can_sign(node.handle.default_id()));
    node.stop().await;
}
