//! The store as a service uses it.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;

use futures::future::join_all;
use golem_store::rusqlite::Connection;
use golem_store::{Durability, OpenError, Store, StoreError};

const TABLE: &str = "CREATE TABLE item (name TEXT PRIMARY KEY)";

#[derive(Debug, thiserror::Error)]
enum TestError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("refused")]
    Refused,
}

async fn add(store: &Store, name: &str, refuse: bool) -> Result<(), TestError> {
    let name = name.to_owned();
    store
        .write(move |transaction| {
            transaction.execute("INSERT INTO item VALUES (?1)", [name]).map_err(StoreError::from)?;
            if refuse { Err(TestError::Refused) } else { Ok(()) }
        })
        .await
}

async fn count(store: &Store) -> u32 {
    store
        .read(|c: &Connection| c.query_row("SELECT count(*) FROM item", [], |row| row.get(0)).map_err(StoreError::from))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_refused_change_is_undone_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("a.db"), Durability::Process, &[TABLE]).unwrap();
    let names: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let outcomes = join_all(names.iter().enumerate().map(|(n, name)| add(&store, name, n % 2 == 1))).await;
    assert_eq!(outcomes.iter().filter(|o| matches!(o, Err(TestError::Refused))).count(), 50);
    assert_eq!(count(&store).await, 50);
}

#[tokio::test]
async fn what_was_answered_survives_reopening_and_migrations_run_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = Store::open(&path, Durability::Power, &[TABLE]).unwrap();
    add(&store, "kept", false).await.unwrap();
    drop(store);
    let store = Store::open(&path, Durability::Power, &[TABLE, "ALTER TABLE item ADD COLUMN note TEXT"]).unwrap();
    assert_eq!(count(&store).await, 1);
    drop(store);
    assert!(matches!(
        Store::open(&path, Durability::Power, &[TABLE]),
        Err(OpenError::Newer { found: 2, known: 1, .. })
    ));
}

#[tokio::test]
async fn a_panic_in_a_change_is_an_error_and_the_store_goes_on() {
    let store = Store::in_memory(&[TABLE]).unwrap();
    let outcome: Result<(), StoreError> = store.write(|_| panic!("boom")).await;
    assert!(matches!(outcome, Err(StoreError::Panicked)));
    add(&store, "after", false).await.unwrap();
    assert_eq!(count(&store).await, 1);
}

#[tokio::test]
async fn a_broken_file_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.db");
    std::fs::write(&path, vec![7; 8192]).unwrap();
    let error = Store::open(&path, Durability::Process, &[TABLE]).unwrap_err();
    assert!(error.to_string().contains("broken.db"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_made_although_its_caller_went_away() {
    let store = Arc::new(Store::in_memory(&[TABLE]).unwrap());
    let mut abandoned = Box::pin(add(&store, "first", false));
    assert!(futures::poll!(abandoned.as_mut()).is_pending());
    drop(abandoned);
    add(&store, "second", false).await.unwrap();
    assert_eq!(count(&store).await, 2);
}
