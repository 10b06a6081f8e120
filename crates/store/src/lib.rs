//! SQLite for services: one writer, many readers, numbered migrations.
//!
//! [`Store::write`] queues a closure for the only writer; what is queued together is committed together, so a busy
//! service pays one disk sync for many changes. Each closure has a savepoint of its own: its error undoes it alone.
//! [`Store::read`] runs on one of a few reader connections and sees the last commit.
//! An idle store owns no thread. Deliberately absent: any SQL of a theme, and an outbox table: intents are rows of the
//! theme that has them.

mod migrate;
mod reader;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags, Transaction};

pub use migrate::OpenError;
use reader::Readers;
pub use rusqlite;
use writer::Writer;

/// When a committed change is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survives the death of the process; a power failure may undo the last commits.
    Process,
    /// Survives a power failure: a disk sync for each group of writes. For money.
    Power,
}

/// Why a read or write failed for a reason of the storage itself.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("database error: {0}")]
    Sql(Arc<rusqlite::Error>),
    #[error("the change could not be committed: {0}")]
    Commit(Arc<rusqlite::Error>),
    #[error("the database work panicked; its change was undone")]
    Panicked,
    #[error("the store is closed")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(Arc::new(error))
    }
}

/// A database file with its one writer and its readers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
}

/// Where a database lives, so that further connections can be opened.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    File {
        path: PathBuf,
        durability: Durability,
    },
    /// A named in-memory database shared by the connections of one store.
    Memory {
        name: String,
    },
}

impl Store {
    /// Opens or creates the database at `path` and brings it up to the last of `migrations` (forward only;
    /// number n is the n-th, kept in `PRAGMA user_version`).
    pub fn open(path: &Path, durability: Durability, migrations: &[&str]) -> Result<Self, OpenError> {
        Self::at(Place::File { path: path.to_owned(), durability }, migrations)
    }

    /// A database that lives as long as the store, for tests.
    pub fn in_memory(migrations: &[&str]) -> Result<Self, OpenError> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("golem-store-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Self::at(Place::Memory { name }, migrations)
    }

    fn at(place: Place, migrations: &[&str]) -> Result<Self, OpenError> {
        let mut connection = place.connect().map_err(|source| OpenError::Open { place: place.clone(), source })?;
        migrate::migrate(&mut connection, &place, migrations)?;
        Ok(Self { writer: Arc::new(Writer::new(connection)), readers: Arc::new(Readers::new(place)) })
    }

    /// Runs `change` in the writer and returns when it is committed. An `Err` of `change` undoes it.
    ///
    /// The change is made even if the returned future is dropped after the first poll.
    pub async fn write<T, E, F>(&self, change: F) -> Result<T, E>
    where
        F: FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        Writer::write(&self.writer, change).await
    }

    /// Runs `query` on a reader connection, off the async threads.
    pub async fn read<T, E, F>(&self, query: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        Readers::read(&self.readers, query).await
    }
}

impl Place {
    pub(crate) fn connect(&self) -> Result<Connection, rusqlite::Error> {
        let connection = match self {
            Self::File { path, .. } => Connection::open(path)?,
            Self::Memory { name } => Connection::open_with_flags(
                format!("file:{name}?mode=memory&cache=shared"),
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_URI,
            )?,
        };
        let synchronous = match self {
            Self::File { durability: Durability::Power, .. } => "FULL",
            _ => "NORMAL",
        };
        // 512 KiB of cache per connection keeps an idle daemon small; the operating system caches the file anyway.
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA foreign_keys = ON;
             PRAGMA busy_timeout = 5000; PRAGMA cache_size = -512; PRAGMA temp_store = MEMORY;"
        ))?;
        if matches!(self, Self::Memory { .. }) {
            // Table locks of a shared cache are not waited for; readers of a test may see the open transaction instead.
            connection.execute_batch("PRAGMA read_uncommitted = ON;")?;
        }
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "{}", path.display()),
            Self::Memory { .. } => f.write_str("(in memory)"),
        }
    }
}
