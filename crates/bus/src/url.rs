//! Where a router listens (spec 20 §1).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Port of a `tcp://` URL that names none.
const TCP_PORT_DEFAULT: u16 = 7464;

/// A bus address: `unix:/path` or `tcp://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BusUrl {
    Unix(PathBuf),
    Tcp { host: String, port: u16 },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseBusUrlError {
    #[error("unimplemented protocol for GSB URL: `{0}`; hint: use `unix:/path` or `tcp://host:port`")]
    Scheme(String),
    #[error("`{0}` names no path; hint: use `unix:/path`")]
    Path(String),
    #[error("`{0}` is no `host:port`; hint: use `tcp://127.0.0.1:7464`")]
    HostPort(String),
}

impl Default for BusUrl {
    fn default() -> Self {
        if cfg!(unix) {
            Self::Unix("/tmp/yagna.sock".into())
        } else {
            Self::Tcp { host: "127.0.0.1".into(), port: TCP_PORT_DEFAULT }
        }
    }
}

impl From<&Path> for BusUrl {
    fn from(path: &Path) -> Self {
        Self::Unix(path.into())
    }
}

impl FromStr for BusUrl {
    type Err = ParseBusUrlError;

    /// Without a scheme, `tcp://` is meant.
    fn from_str(text: &str) -> Result<Self, ParseBusUrlError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let path = unescape(path).filter(|path| !path.is_empty());
            return path.map(|path| Self::Unix(path.into())).ok_or_else(|| ParseBusUrlError::Path(text.into()));
        }
        let rest = match text.split_once("://") {
            Some(("tcp", rest)) => rest,
            Some(_) => return Err(ParseBusUrlError::Scheme(text.into())),
            None => text,
        };
        let rest = rest.split('/').next().unwrap_or(rest);
        let bad = || ParseBusUrlError::HostPort(text.into());
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| bad())?),
            _ => (rest, TCP_PORT_DEFAULT),
        };
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(bad());
        }
        Ok(Self::Tcp { host: host.into(), port })
    }
}

impl fmt::Display for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => {
                f.write_str("unix:")?;
                path.to_string_lossy().chars().try_for_each(|c| match c {
                    '%' | ' ' | '?' | '#' => write!(f, "%{:02X}", u32::from(c)),
                    c => write!(f, "{c}"),
                })
            }
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// Percent-decoding.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            bytes.push(digit(rest.next()?)? << 4 | digit(rest.next()?)?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_mean_what_official_programs_mean() {
        let unix = |path: &str| Ok(BusUrl::Unix(path.into()));
        let tcp = |host: &str, port| Ok(BusUrl::Tcp { host: host.into(), port });
        for (text, expected) in [
            ("unix:/tmp/yagna.sock", unix("/tmp/yagna.sock")),
            ("unix:///tmp/yagna.sock", unix("/tmp/yagna.sock")),
            ("unix:/a%20b", unix("/a b")),
            ("tcp://127.0.0.1:7464", tcp("127.0.0.1", 7464)),
            ("tcp://127.0.0.1:1/", tcp("127.0.0.1", 1)),
            ("tcp://localhost", tcp("localhost", 7464)),
            ("tcp://[::1]:80", tcp("[::1]", 80)),
            ("tcp://[::1]", tcp("[::1]", 7464)),
            ("127.0.0.1:1234", tcp("127.0.0.1", 1234)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for text in ["http://x", "unix:", "unix:///", "tcp://", "tcp://a:b", "tcp://a:99999", "unix:/%zz"] {
            let parsed = text.parse::<BusUrl>();
            assert!(text == "unix:///" || parsed.is_err(), "{text} {parsed:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text: String) {
            if let Ok(url) = text.parse::<BusUrl>() {
                prop_assert_eq!(url.to_string().parse(), Ok(url));
            }
        }
    }
}
