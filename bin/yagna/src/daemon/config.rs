//! What a daemon is started with.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use golem_api_rest::Cors;
use golem_bus::BusUrl;

use crate::env;

/// Threads that serve requests when nothing says how many: requests are short, and threads cost memory.
const WORKERS_DEFAULT_MAX: usize = 4;

/// Everything a daemon needs to know. [`Config::new`] is a node for tests: no fixed ports, no environment.
#[derive(Clone, Debug)]
pub struct Config {
    pub data_dir: PathBuf,
    pub gsb_url: BusUrl,
    /// Host and port of the REST server.
    pub rest: (String, u16),
    pub cors: Cors,
    /// Idle time of a REST connection.
    pub keep_alive: Duration,
    /// Silence until a bus client is dropped.
    pub gsb_ping: Option<Duration>,
    pub identity: golem_identity::Config,
    pub net: golem_net_node::Config,
    pub payment: golem_payment_service::Config,
    pub erc20: golem_payment_erc20::Settings,
    /// Threads of the runtime, for the program only.
    pub workers: usize,
    /// Start registered extensions.
    pub extensions: bool,
}

impl Config {
    pub fn new(data_dir: PathBuf) -> Self {
        let (erc20, _) = golem_payment_erc20::Settings::load(&data_dir, &|_| None);
        let net = golem_net_node::Config { bind: SocketAddr::from(([127, 0, 0, 1], 0)), ..Default::default() };
        Self {
            gsb_url: BusUrl::Unix(data_dir.join("yagna.sock")),
            data_dir,
            rest: ("127.0.0.1".to_owned(), 0),
            cors: Cors::default(),
            keep_alive: Duration::from_secs(60),
            gsb_ping: None,
            identity: golem_identity::Config::default(),
            net,
            payment: golem_payment_service::Config::default(),
            erc20,
            workers: std::thread::available_parallelism().map_or(2, usize::from).clamp(2, WORKERS_DEFAULT_MAX),
            extensions: false,
        }
    }

    /// Takes over what the environment says.
    pub(crate) fn with_environment(&mut self) -> Result<()> {
        if let Some(secret) = env::AUTOCONF_ID_SECRET.get() {
            let secret = secret.parse();
            let failed = || format!("Failed to parse identity from {}", env::AUTOCONF_ID_SECRET.name);
            self.identity.id_secret = Some(secret.with_context(failed)?);
        }
        self.identity.app_key = env::AUTOCONF_APPKEY.get();
        self.gsb_ping = env::GSB_PING_TIMEOUT.parsed::<u64>()?.map(Duration::from_secs);
        if let Some(workers) = env::HTTP_WORKERS.parsed::<usize>()? {
            self.workers = workers.clamp(1, 256);
        }
        let var = |name: &str| std::env::var(name).ok();
        self.net = golem_net_node::Config::from_env(var)?;
        self.payment = golem_payment_service::Config::from_env(var)?;
        self.erc20 = golem_payment_erc20::load_settings(&self.data_dir);
        self.extensions = true;
        Ok(())
    }
}

/// Host and port of an `http` URL; a path is ignored.
pub fn rest_address(url: &str) -> Option<(String, u16)> {
    let rest = url.strip_prefix("http://")?;
    let rest = rest.split(['/', '?']).next()?;
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (rest, 80),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// Only the owner may look inside: unprotected keys are there.
pub(crate) fn create_data_dir(dir: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).with_context(|| format!("cannot create the data directory `{}`", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_host_and_port_of_the_api_url_count() {
        let some = |host: &str, port| Some((host.to_owned(), port));
        for (url, expected) in [
            ("http://127.0.0.1:7465", some("127.0.0.1", 7465)),
            ("http://0.0.0.0:1/path?x", some("0.0.0.0", 1)),
            ("http://localhost/", some("localhost", 80)),
            ("http://[::1]:5", some("::1", 5)),
            ("http://[::1]", some("::1", 80)),
            ("https://127.0.0.1", None),
            ("127.0.0.1:1", None),
            ("http://:1", None),
            ("http://a:99999", None),
        ] {
            assert_eq!(rest_address(url), expected, "{url}");
        }
    }
}
