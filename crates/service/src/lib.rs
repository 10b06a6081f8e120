//! What every service of the daemon is started with, and how it waits.
//!
//! [`Context`] carries the bus, the data folder, the clock, the task tracker and the stop token;
//! [`Wakers`] wakes exactly those who wait for a key, so nothing polls a database.
//! Deliberately absent: configuration of any one service, and any knowledge of which services exist.

mod clock;
mod wakers;

use std::path::PathBuf;
use std::sync::Arc;

use golem_bus::Bus;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use clock::{Clock, ManualClock, SystemClock};
pub use wakers::{Wait, Wakers};

/// Parts that the daemon lends to each of its services.
#[derive(Clone, Debug)]
pub struct Context {
    pub bus: Bus,
    pub data_dir: PathBuf,
    pub clock: Arc<dyn Clock>,
    /// All tasks of a service are spawned here, so that a clean stop can wait for them.
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}
