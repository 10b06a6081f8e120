//! The one writer of a database.
//!
//! Jobs wait in a bounded queue. The first job starts a drain on a blocking thread; the drain takes what is queued,
//! runs it in one transaction with a savepoint per job, commits, answers, and ends when the queue is empty.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{Semaphore, oneshot};

use crate::StoreError;

/// Writes that may wait. Further writers wait outside, without memory of ours.
const QUEUE_MAX: usize = 1024;
/// Jobs in one transaction, so that the first of a busy queue is not answered late.
const GROUP_MAX: usize = 256;

/// Runs the change and keeps its answer until the group is committed.
type Job = Box<dyn FnOnce(&Transaction<'_>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

pub(crate) struct Writer {
    connection: Mutex<Connection>,
    queue: Mutex<Queue>,
    places: Semaphore,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    draining: bool,
}

impl Writer {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection: Mutex::new(connection), queue: Mutex::default(), places: Semaphore::new(QUEUE_MAX) }
    }

    pub(crate) async fn write<T, E, F>(writer: &Arc<Self>, change: F) -> Result<T, E>
    where
        F: FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let place = writer.places.acquire().await.map_err(|_| StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        Self::enqueue(writer, Box::new(move |transaction| run(transaction, change, answer)));
        let outcome = answered.await;
        drop(place);
        outcome.map_err(|_| StoreError::Closed)?
    }

    fn enqueue(writer: &Arc<Self>, job: Job) {
        let mut queue = lock(&writer.queue);
        queue.jobs.push_back(job);
        if !std::mem::replace(&mut queue.draining, true) {
            let writer = Arc::clone(writer);
            tokio::task::spawn_blocking(move || writer.drain());
        }
    }

    fn drain(&self) {
        let mut connection = lock(&self.connection);
        while let Some(jobs) = self.next_group() {
            commit_group(&mut connection, jobs);
        }
    }

    fn next_group(&self) -> Option<Vec<Job>> {
        let mut queue = lock(&self.queue);
        let count = queue.jobs.len().min(GROUP_MAX);
        queue.draining = count > 0;
        (count > 0).then(|| queue.jobs.drain(..count).collect())
    }
}

fn commit_group(connection: &mut Connection, jobs: Vec<Job>) {
    let mut answers = Vec::with_capacity(jobs.len());
    let outcome = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
        answers.extend(jobs.into_iter().map(|job| job(&transaction)));
        transaction.commit()
    });
    let outcome = outcome.map_err(|error| StoreError::Commit(Arc::new(error)));
    // When the transaction could not begin, the jobs are dropped unrun and their callers read `Closed`.
    for answer in answers {
        answer(outcome.clone());
    }
}

fn run<T, E, F>(transaction: &Transaction<'_>, change: F, answer: oneshot::Sender<Result<T, E>>) -> Answer
where
    F: FnOnce(&Transaction<'_>) -> Result<T, E>,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let outcome = in_savepoint(transaction, change);
    Box::new(move |committed| {
        // A caller that went away does not want to know.
        let _ = answer.send(outcome.and_then(|value| committed.map(|()| value).map_err(E::from)));
    })
}

fn in_savepoint<T, E, F>(transaction: &Transaction<'_>, change: F) -> Result<T, E>
where
    F: FnOnce(&Transaction<'_>) -> Result<T, E>,
    E: From<StoreError>,
{
    transaction.execute_batch("SAVEPOINT job").map_err(StoreError::from)?;
    let outcome =
        catch_unwind(AssertUnwindSafe(|| change(transaction))).unwrap_or_else(|_| Err(StoreError::Panicked.into()));
    let end = if outcome.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
    transaction.execute_batch(end).map_err(StoreError::from)?;
    outcome
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}
