//! The HTTP client of the driver, made when it is first needed: reading the system's certificates costs time and memory
//! that a daemon without payments need not spend.

use std::sync::OnceLock;
use std::time::Duration;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Connections to nodes are kept for the next look, not for the next cycle.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Http(OnceLock<reqwest::Client>);

impl Http {
    pub(crate) fn client(&self) -> Result<&reqwest::Client, reqwest::Error> {
        if let Some(client) = self.0.get() {
            return Ok(client);
        }
        // Fails when the program has installed one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().connect_timeout(CONNECT_WITHIN).pool_idle_timeout(IDLE).build()?;
        Ok(self.0.get_or_init(|| client))
    }
}
