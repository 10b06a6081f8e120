//! Every environment variable of the daemon: name, default, meaning, owner (spec 22c). The reference page is made from
//! [`VARIABLES`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};

/// One variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    pub name: &'static str,
    pub default: &'static str,
    pub doc: &'static str,
    /// The part that reads it.
    pub owner: &'static str,
}

macro_rules! variables {
    ($($id:ident = $name:literal, $default:literal, $owner:literal, $doc:literal;)*) => {
        $(pub const $id: Variable = Variable { name: $name, default: $default, doc: $doc, owner: $owner };)*
        /// All of them, in the order of the reference page.
        pub const VARIABLES: &[Variable] = &[$($id),*];
    };
}

variables! {
    DATADIR = "YAGNA_DATADIR", "platform data directory", "core", "data directory, as `-d`";
    GSB_URL = "GSB_URL", "unix:/tmp/yagna.sock", "bus", "address of the service bus, as `-g`";
    GSB_PING_TIMEOUT = "GSB_PING_TIMEOUT", "20", "bus", "seconds until a silent bus client is dropped";
    API_URL = "YAGNA_API_URL", "http://127.0.0.1:7465", "rest", "address of the REST server, as `-a`";
    MAX_REST_TIMEOUT = "MAX_REST_TIMEOUT", "60", "rest", "seconds that an idle connection is kept";
    HTTP_WORKERS = "YAGNA_HTTP_WORKERS", "number of CPUs, at most 4", "rest", "threads that serve requests, 1 to 256";
    API_ALLOW_ORIGIN = "YAGNA_API_ALLOW_ORIGIN", "", "rest", "an origin that web pages may call from";
    AUTOCONF_ID_SECRET = "YAGNA_AUTOCONF_ID_SECRET", "", "identity", "private key of the default identity, 64 hex digits";
    AUTOCONF_APPKEY = "YAGNA_AUTOCONF_APPKEY", "", "identity", "an app key that is always there, named `autoconfigured`";
    EXTENSIONS_DIR = "YAGNA_EXTENSIONS_DIR", "", "extension", "directories that are searched for extensions first";
    NOTIFY_SOCKET = "NOTIFY_SOCKET", "", "core", "datagram socket that gets `READY=1`";
    CONSENT_PATH = "YA_CONSENT_PATH", "<data directory>/CONSENT", "consent", "consent file";
    CONSENT_STATS = "YA_CONSENT_STATS", "", "consent", "`allow` or `deny` sharing statistics";
    RUST_LOG = "RUST_LOG", "info", "logs", "filter of log lines";
    LOG_DIR = "YAGNA_LOG_DIR", "data directory", "logs", "directory of log files, empty for none";
    LOG_UNCOMPRESSED = "LOG_FILES_UNCOMPRESSED", "1", "logs", "old log files kept as they are";
    LOG_COMPRESSED = "LOG_FILES_COMPRESSED", "10", "logs", "old log files kept compressed";
    LOG_ROTATE_AGE = "LOG_ROTATE_AGE", "day", "logs", "`day` or `hour`: time of one log file";
    LOG_ROTATE_SIZE = "LOG_ROTATE_SIZE", "", "logs", "bytes of one log file";
    METRICS_URL = "YAGNA_METRICS_URL", "", "metrics", "where metrics are pushed to; nothing is pushed without it and consent";
    METRICS_JOB = "YAGNA_METRICS_JOB_NAME", "community.1", "metrics", "job label of pushed metrics";
    METRICS_GROUP = "YAGNA_METRICS_GROUP", "", "metrics", "group label of pushed metrics";
    NET_TYPE = "YA_NET_TYPE", "hybrid", "net", "kind of network; only `hybrid`";
    NET_RELAY = "YA_NET_RELAY_HOST", "SRV record `_net_relay._udp.dev.golem.network`", "net", "`host:port` of the relay";
    NET_BIND = "YA_NET_BIND_URL", "udp://0.0.0.0:11500", "net", "local UDP endpoint";
    NET_BROADCAST = "YA_NET_BROADCAST_SIZE", "5", "net", "neighbours that a broadcast goes to";
    NET_PUB_BROADCAST = "YA_NET_PUB_BROADCAST_SIZE", "30", "net", "the same for a node with a public address";
    NET_SESSION_EXPIRATION = "YA_NET_SESSION_EXPIRATION", "15s", "net", "silence before a session is probed";
    NET_SESSION_REQUEST = "YA_NET_SESSION_REQUEST_TIMEOUT", "3s", "net", "wait for the first answer of a session";
    ACTIVITY_UNRESPONSIVE = "UNRESPONSIVE_LIMIT_SECONDS", "5", "activity", "silence of an exe-unit until it is unresponsive";
    ACTIVITY_INACTIVITY = "INACTIVITY_LIMIT_SECONDS", "10", "activity", "silence of an exe-unit until it is destroyed";
    ACCOUNT = "YA_ACCOUNT", "default identity", "payment", "account of payment commands";
}

/// Names with `<NET>` in them, read by the payment driver.
pub const PER_NETWORK: &[Variable] = &[
    Variable {
        name: "<NET>_GETH_ADDR",
        default: "built in",
        doc: "RPC endpoints, separated by commas",
        owner: "driver",
    },
    Variable { name: "<NET>_TGLM_CONTRACT_ADDRESS", default: "built in", doc: "token contract", owner: "driver" },
];

impl Variable {
    /// The value, if there is one that is text and not empty.
    pub fn get(&self) -> Option<String> {
        std::env::var(self.name).ok().filter(|value| !value.is_empty())
    }

    pub fn os(&self) -> Option<OsString> {
        std::env::var_os(self.name)
    }

    /// The value as a `T`; an error names the variable.
    pub fn parsed<T>(&self) -> Result<Option<T>>
    where
        T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        let value = self.get();
        let parse = |text: String| text.trim().parse().with_context(|| format!("`{}` is `{text}`", self.name));
        value.map(parse).transpose()
    }
}

/// The data directory when nothing names one (spec 22 §2).
pub fn data_dir_default() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    if cfg!(target_os = "macos") {
        return home.map(|home| home.join("Library/Application Support/GolemFactory.yagna"));
    }
    if cfg!(windows) {
        return std::env::var_os("APPDATA").map(|dir| PathBuf::from(dir).join("GolemFactory\\yagna\\data"));
    }
    let data = std::env::var_os("XDG_DATA_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    data.or_else(|| home.map(|home| home.join(".local/share"))).map(|data| data.join("yagna"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_explained() {
        for (at, variable) in VARIABLES.iter().enumerate() {
            assert!(!variable.doc.is_empty() && !variable.owner.is_empty(), "{}", variable.name);
            assert!(VARIABLES.iter().skip(at + 1).all(|other| other.name != variable.name), "{}", variable.name);
        }
    }
}
