use std::net::SocketAddr;
use std::time::Duration;

use golem_net_vtcp as vtcp;

/// Bytes of the frame around the virtual link, counted as peers count them: Ethernet, IP, UDP, and what the relay
/// protocol adds (spec 11 §2.2).
const LINK_OVERHEAD_BYTES: u16 = 14 + 40 + 20 + 5 + 23;
/// IPv6 and TCP headers of the virtual link.
const SEGMENT_OVERHEAD_BYTES: u16 = 60;
/// Smallest link that IPv6 allows.
const MTU_MIN: u16 = 1280;
/// Largest link: a UDP payload ends below.
const MTU_MAX: u16 = 65_000;

#[derive(Clone, Debug)]
pub struct Config {
    /// `host:port` of the relay.
    pub relay: Option<String>,
    pub bind: SocketAddr,
    /// Nodes that a broadcast goes to, without and with a public address.
    pub broadcast_size: usize,
    pub public_broadcast_size: usize,
    /// Silence after which a session is probed.
    pub session_expiration: Duration,
    pub session_request_timeout: Duration,
    /// Open and accept sessions with nodes; without, everything goes through the relay.
    pub direct: bool,
    /// Seal payloads to nodes that can open them.
    pub encrypt: bool,
    pub tcp: vtcp::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            relay: None,
            bind: SocketAddr::from(([0, 0, 0, 0], 11500)),
            broadcast_size: 5,
            public_broadcast_size: 30,
            session_expiration: Duration::from_secs(15),
            session_request_timeout: Duration::from_secs(3),
            direct: true,
            encrypt: true,
            tcp: vtcp::Config::default(),
        }
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}={value}`: {want}")]
pub struct BadSetting {
    name: &'static str,
    value: String,
    want: &'static str,
}

impl Config {
    /// The defaults, changed by variables of the environment (spec 10 §17, 22c). `get` looks one up.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Result<Self, BadSetting> {
        let mut config = Self::default();
        let get = |name: &'static str| get(name).filter(|value| !value.is_empty());
        if let Some(value) = get("YA_NET_TYPE")
            && value != "hybrid"
        {
            return Err(BadSetting { name: "YA_NET_TYPE", value, want: "only `hybrid` is supported" });
        }
        config.relay = get("YA_NET_RELAY_HOST");
        if let Some(value) = get("YA_NET_BIND_URL") {
            let address = value.strip_prefix("udp://").unwrap_or(&value).trim_end_matches('/');
            let want = "want `udp://<ip>:<port>`";
            config.bind = address.parse().map_err(|_| BadSetting { name: "YA_NET_BIND_URL", value, want })?;
        }
        let number = |name: &'static str, default: usize| match get(name) {
            Some(value) => value.parse().map_err(|_| BadSetting { name, value, want: "want a number" }),
            None => Ok(default),
        };
        let duration = |name: &'static str, default: Duration| match get(name) {
            Some(value) => humantime::parse_duration(&value).map_err(|_| BadSetting {
                name,
                value,
                want: "want a duration, for instance `15s`",
            }),
            None => Ok(default),
        };
        config.broadcast_size = number("YA_NET_BROADCAST_SIZE", config.broadcast_size)?;
        config.public_broadcast_size = number("YA_NET_PUB_BROADCAST_SIZE", config.public_broadcast_size)?;
        config.session_expiration = duration("YA_NET_SESSION_EXPIRATION", config.session_expiration)?;
        config.session_request_timeout = duration("YA_NET_SESSION_REQUEST_TIMEOUT", config.session_request_timeout)?;
        if let Some(value) = get("YA_NET_MTU") {
            let mtu = value.parse().ok().filter(|mtu| (MTU_MIN..=MTU_MAX).contains(mtu));
            let want = "want a number of bytes from 1280 to 65000";
            let mtu: u16 = mtu.ok_or(BadSetting { name: "YA_NET_MTU", value, want })?;
            config.tcp.mss = mtu - LINK_OVERHEAD_BYTES - SEGMENT_OVERHEAD_BYTES;
        }
        // A value that does not parse switches the timer off, as in official nodes.
        let timer = |name: &'static str, default| match get(name) {
            Some(value) => value.parse().ok().map(Duration::from_millis),
            None => default,
        };
        config.tcp.user_timeout = timer("YA_NET_TCP_TIMEOUT_MS", config.tcp.user_timeout);
        config.tcp.keep_alive = timer("YA_NET_TCP_KEEP_ALIVE_MS", config.tcp.keep_alive);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<Config, BadSetting> {
        Config::from_env(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn defaults_are_those_of_official_nodes() {
        let config = config(&[]).unwrap();
        assert_eq!(config.bind.to_string(), "0.0.0.0:11500");
        assert_eq!((config.broadcast_size, config.public_broadcast_size, config.tcp.mss), (5, 30, 1338));
    }

    #[test]
    fn settings_are_read() {
        let config = config(&[
            ("YA_NET_RELAY_HOST", "127.0.0.1:7477"),
            ("YA_NET_BIND_URL", "udp://127.0.0.1:0"),
            ("YA_NET_PUB_BROADCAST_SIZE", "3"),
            ("YA_NET_SESSION_EXPIRATION", "30s"),
            ("YA_NET_MTU", "1500"),
            ("YA_NET_TCP_TIMEOUT_MS", "never"),
        ])
        .unwrap();
        assert_eq!(config.relay.as_deref(), Some("127.0.0.1:7477"));
        assert_eq!(config.bind.to_string(), "127.0.0.1:0");
        assert_eq!((config.public_broadcast_size, config.tcp.mss), (3, 1338));
        assert_eq!(config.tcp.user_timeout, None);
    }

    #[test]
    fn bad_settings_are_told() {
        for (name, value) in [
            ("YA_NET_TYPE", "central"),
            ("YA_NET_BIND_URL", "tcp://x"),
            ("YA_NET_MTU", "100"),
            ("YA_NET_BROADCAST_SIZE", "x"),
        ] {
            assert!(config(&[(name, value)]).unwrap_err().to_string().contains(name));
        }
    }
}
