//! Wall time of the agent.

use chrono::{DateTime, Utc};

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock;

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        clippy::unused_self,
        reason = "the one place where wall time enters the agent"
    )]
    pub(crate) fn now(self) -> DateTime<Utc> {
        Utc::now()
    }
}
