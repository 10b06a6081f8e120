//! Where a transfer reads from or writes to (spec 53 §1).

use golem_model::NodeId;
use reqwest::Url;

use crate::{Expected, TransferError};

/// Longest text that is read as a location.
const LOCATION_LEN_MAX: usize = 16 * 1024;
/// Longest name of a published file or slot.
const NAME_LEN_MAX: usize = 256;

/// A place and, if the text names one, what its content must hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub place: Place,
    pub digest: Option<Expected>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Http(Url),
    Gftp {
        node: NodeId,
        name: String,
    },
    /// A path in a volume, decoded; see [`crate::Volumes`] for where it leads.
    Container(String),
}

/// What a text without a scheme means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    Container,
    File,
}

impl Location {
    pub fn parse(text: &str, plain: Plain) -> Result<Self, TransferError> {
        let text = text.trim();
        if text.is_empty() || text.len() > LOCATION_LEN_MAX {
            return Err(TransferError::Url("empty or too long".into()));
        }
        let Some(hashed) = strip_prefix(text, "hash:") else {
            return Ok(Self { place: Place::parse(text, plain)?, digest: None });
        };
        let bad = || TransferError::Url(quote(text));
        let (algorithm, rest) = hashed.strip_prefix("//").unwrap_or(hashed).split_once(':').ok_or_else(bad)?;
        let (digits, rest) = rest.split_once(':').ok_or_else(bad)?;
        let digits = strip_prefix(digits, "0x").unwrap_or(digits);
        if algorithm.is_empty() || digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let digest = Expected::parse(algorithm, digits)?;
        Ok(Self { place: Place::parse(rest, plain)?, digest: Some(digest) })
    }
}

impl Place {
    fn parse(text: &str, plain: Plain) -> Result<Self, TransferError> {
        let Some((scheme, rest)) = scheme(text) else {
            return match plain {
                Plain::Container => container(text),
                Plain::File => Err(TransferError::Scheme("file".into())),
            };
        };
        match scheme.as_str() {
            "container" => container(rest),
            "http" | "https" => Ok(Self::Http(Url::parse(text).map_err(|e| TransferError::UrlParse(e.to_string()))?)),
            "gftp" => {
                let bad = || TransferError::Url(quote(text));
                let (node, name) = rest.strip_prefix("//").and_then(|rest| rest.split_once('/')).ok_or_else(bad)?;
                let node = node.parse().map_err(|_| bad())?;
                let fits = !name.is_empty() && name.len() <= NAME_LEN_MAX;
                if !fits || !name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.')) {
                    return Err(bad());
                }
                Ok(Self::Gftp { node, name: name.into() })
            }
            _ => Err(TransferError::Scheme(scheme)),
        }
    }

    /// Last segment of the path, which names the cached image.
    pub(crate) fn file_name(&self) -> String {
        match self {
            Self::Http(url) => url.path_segments().and_then(|mut all| all.next_back()).unwrap_or_default().into(),
            Self::Gftp { name, .. } => name.clone(),
            Self::Container(path) => path.rsplit('/').next().unwrap_or_default().into(),
        }
    }
}

/// `.` and `..` as they stand are resolved first, as in every URL; what only decoding brings to light is refused later.
fn container(path: &str) -> Result<Place, TransferError> {
    let path = path.strip_prefix("//").map_or(path, |rest| rest.find('/').and_then(|at| rest.get(at..)).unwrap_or(""));
    let mut parts: Vec<&str> = Vec::new();
    let absolute = path.strip_prefix('/').unwrap_or(path);
    for part in absolute.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let decoded = unescape(&parts.join("/")).ok_or_else(|| TransferError::Url(quote(path)))?;
    if decoded.split('/').any(|part| matches!(part, "." | "..")) || decoded.contains('\0') {
        return Err(TransferError::Url(quote(path)));
    }
    Ok(Place::Container(format!("/{decoded}")))
}

fn scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let legal = scheme.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.'));
    (legal && scheme.starts_with(|c: char| c.is_ascii_alphabetic())).then(|| (scheme.to_ascii_lowercase(), rest))
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| text.get(prefix.len()..)).flatten()
}

/// Percent-decoding; a `%` that is no escape stays.
fn unescape(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        let digit = |at: usize| tail.get(at).and_then(|c| char::from(*c).to_digit(16));
        rest = tail;
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high << 4 | low).unwrap_or_default());
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).ok()
}

fn quote(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Location, String> {
        Location::parse(text, Plain::Container).map_err(|error| error.to_string())
    }

    fn path(text: &str) -> String {
        match parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).place {
            Place::Container(path) => path,
            other => panic!("{text} is {other:?}"),
        }
    }

    #[test]
    fn locations_are_told_apart() {
        assert_eq!(path("container:/in/a b%20c"), "/in/a b c");
        assert_eq!(path(" /vol/../x "), "/x");
        assert_eq!(path("in/file"), "/in/file");
        assert_eq!(path("container:/a%zz"), "/a%zz");
        let node = "0x1111111111111111111111111111111111111111";
        let place = parse(&format!("gftp://{node}/abc")).unwrap().place;
        assert_eq!(place, Place::Gftp { node: node.parse().unwrap(), name: "abc".into() });
        let hex = "3a76c87955366dad8f23fb1da5740399aba536041bdbd2d28cf8981b";
        for text in [format!("hash:sha3:{hex}:http://a/x"), format!("HASH://sha3:0x{hex}:http://a/x")] {
            let location = parse(&text).unwrap();
            assert_eq!(location.digest.unwrap().to_string(), hex);
            assert_eq!(location.place.file_name(), "x");
        }
        assert_eq!(parse("http://a/hash:x:00:y").unwrap().digest, None, "only a prefix counts");
    }

    #[test]
    fn bad_locations_are_refused_by_class() {
        let digits = "0".repeat(56);
        for (text, class) in [
            (String::new(), "Invalid url"),
            ("file:/etc/passwd".into(), "Unsupported scheme: file"),
            ("ftp://a/b".into(), "Unsupported scheme: ftp"),
            ("http://".into(), "URL parse error"),
            ("gftp://0x12/a".into(), "Invalid url"),
            ("gftp://0x1111111111111111111111111111111111111111/".into(), "Invalid url"),
            ("gftp://0x1111111111111111111111111111111111111111/a/../b".into(), "Invalid url"),
            ("hash:".into(), "Invalid url"),
            ("hash:sha3:zz:http://a".into(), "Invalid url"),
            ("hash:sha3:00:http://a".into(), "Unsupported digest: sha3 of length 2"),
            (format!("hash:SHA3:{digits}:http://a"), "Unsupported digest: SHA3"),
            (format!("hash:md5:{digits}:http://a"), "Unsupported digest: md5"),
            ("container:/vol/..%2F..%2Fx".into(), "Invalid url"),
            ("container:/vol/%2e%2e/x".into(), "Invalid url"),
            ("container:/vol/%00".into(), "Invalid url"),
            ("container:/%ff".into(), "Invalid url"),
            ("a".repeat(20_000), "Invalid url"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.starts_with(class), "{text:.80}: {error}");
        }
        assert!(Location::parse("/x", Plain::File).unwrap_err().to_string().contains("Unsupported scheme: file"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            if let Ok(Location { place: Place::Container(path), .. }) = parse(&text) {
                prop_assert!(path.starts_with('/') && !path.split('/').any(|part| part == ".."));
            }
        }
    }
}
