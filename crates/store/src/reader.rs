use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::{Place, StoreError};

/// Readers at once. More only compete for the same two or four cores and hold 512 KiB each.
const READERS_MAX: usize = 4;

/// Connections for reading, opened when first needed and kept for the next query.
#[derive(Debug)]
pub(crate) struct Readers {
    place: Place,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, idle: Mutex::default(), permits: Arc::new(Semaphore::new(READERS_MAX)) }
    }

    pub(crate) async fn read<T, E, F>(readers: &Arc<Self>, query: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let permit = Arc::clone(&readers.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(readers);
        let work = move || {
            let _permit = permit;
            let connection = match readers.take() {
                Some(connection) => connection,
                None => readers.place.connect().map_err(StoreError::from)?,
            };
            let answer = catch_unwind(AssertUnwindSafe(|| query(&connection))).map_err(|_| StoreError::Panicked)?;
            readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            answer
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Closed)?
    }

    fn take(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}
