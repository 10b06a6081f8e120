//! Two questions of the name system: TXT records with endpoints and SRV records of faucets (spec 42 §2.4, §7).
//!
//! A stub of a resolver: one datagram out, one in, no cache. The system's resolvers are asked first, then public ones.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

/// Time for one resolver.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Resolvers behind those of the system.
const PUBLIC: [&str; 2] = ["8.8.8.8", "1.1.1.1"];

const TXT: u16 = 16;
const SRV: u16 = 33;
const ANY_CLASS_IN: u16 = 1;

/// Most compressed jumps in a name; a longer chain is a loop.
const JUMPS_MAX: usize = 16;

pub(crate) async fn texts(name: &str) -> io::Result<Vec<String>> {
    let answer = ask(name, TXT).await?;
    Ok(records(&answer, TXT).unwrap_or_default().into_iter().filter_map(|record| text(record.data)).collect())
}

/// Host and port of the service with the smallest priority.
pub(crate) async fn service(name: &str) -> io::Result<Option<(String, u16)>> {
    let answer = ask(name, SRV).await?;
    Ok(best_service(&answer))
}

async fn ask(name: &str, kind: u16) -> io::Result<Vec<u8>> {
    if name.trim_end_matches('.').ends_with("invalid") {
        // This name never exists (RFC 6761); development networks use it to say that there is nothing to look up.
        return Err(io::Error::other("a name that never exists"));
    }
    let id = rand::random::<u16>();
    let query = query(id, name, kind).ok_or_else(|| io::Error::other("not a domain name"))?;
    let mut last = io::Error::other("no resolver");
    for resolver in resolvers() {
        match ask_one(resolver, id, &query).await {
            Ok(answer) => return Ok(answer),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn resolvers() -> Vec<SocketAddr> {
    let system = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let named = system.lines().filter_map(|line| line.strip_prefix("nameserver")).map(str::trim);
    named.chain(PUBLIC).filter_map(|ip| ip.parse::<IpAddr>().ok()).take(4).map(|ip| SocketAddr::new(ip, 53)).collect()
}

async fn ask_one(resolver: SocketAddr, id: u16, query: &[u8]) -> io::Result<Vec<u8>> {
    let local: SocketAddr = if resolver.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(resolver).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 4096];
    let receive = async {
        loop {
            let length = socket.recv(&mut buffer).await?;
            if buffer.get(..2) == Some(id.to_be_bytes().as_slice()) {
                return Ok::<_, io::Error>(length);
            }
        }
    };
    let length = tokio::time::timeout(ANSWER_WITHIN, receive).await.map_err(io::Error::other)??;
    buffer.truncate(length);
    Ok(buffer)
}

fn query(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut query = Vec::new();
    // Recursion wanted, one question, nothing else.
    for word in [id, 0x0100, 1, 0, 0, 0] {
        query.extend_from_slice(&word.to_be_bytes());
    }
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        query.push(length);
        query.extend_from_slice(label.as_bytes());
    }
    query.push(0);
    query.extend_from_slice(&kind.to_be_bytes());
    query.extend_from_slice(&ANY_CLASS_IN.to_be_bytes());
    Some(query)
}

struct Record<'a> {
    data: &'a [u8],
    /// Where `data` begins in the message, for names in it.
    start: usize,
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn records(message: &[u8], kind: u16) -> Option<Vec<Record<'_>>> {
    let (questions, answers) = (word(message, 4)?, word(message, 6)?);
    let mut at = 12;
    for _ in 0..questions {
        at = name(message, at)?.1 + 4;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        at = name(message, at)?.1;
        let length = usize::from(word(message, at + 8)?);
        let start = at + 10;
        let data = message.get(start..start + length)?;
        if word(message, at)? == kind {
            found.push(Record { data, start });
        }
        at = start + length;
    }
    Some(found)
}

/// A name and where it ends.
fn name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut at, mut end, mut text) = (start, None, String::new());
    for _ in 0..128 + JUMPS_MAX {
        let length = *message.get(at)?;
        match length {
            0 => return Some((text, end.unwrap_or(at + 1))),
            1..=63 => {
                let label = message.get(at + 1..at + 1 + usize::from(length))?;
                text.push_str(&String::from_utf8_lossy(label));
                text.push('.');
                at += 1 + usize::from(length);
            }
            0xc0.. => {
                end = end.or(Some(at + 2));
                at = usize::from(word(message, at)? & 0x3fff);
            }
            _ => return None,
        }
    }
    None
}

/// The pieces of a TXT record, joined.
fn text(mut data: &[u8]) -> Option<String> {
    let mut joined = Vec::new();
    while let Some((&length, rest)) = data.split_first() {
        joined.extend_from_slice(rest.get(..usize::from(length))?);
        data = rest.get(usize::from(length)..)?;
    }
    String::from_utf8(joined).ok()
}

fn best_service(message: &[u8]) -> Option<(String, u16)> {
    let services = records(message, SRV)?;
    let read = |record: Record<'_>| {
        let (priority, port) = (word(record.data, 0)?, word(record.data, 4)?);
        let host = name(message, record.start + 6)?.0;
        Some((priority, host.trim_end_matches('.').to_owned(), port))
    };
    services.into_iter().filter_map(read).min().map(|(_, host, port)| (host, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message with the question repeated and one answer whose name points at it.
    fn answer(kind: u16, data: &[u8]) -> Vec<u8> {
        let mut message = query(7, "_a._tcp.example.", kind).unwrap();
        message[6..8].copy_from_slice(&1_u16.to_be_bytes());
        message.extend_from_slice(&[0xc0, 12]);
        for word in [kind, 1, 0, 60, u16::try_from(data.len()).unwrap()] {
            message.extend_from_slice(&word.to_be_bytes());
        }
        message.extend_from_slice(data);
        message
    }

    #[test]
    fn records_are_read() {
        let message = answer(TXT, b"\x08https://\x04node");
        let found = records(&message, TXT).unwrap();
        assert_eq!(text(found[0].data).unwrap(), "https://node");
        // Priority 1, weight 0, port 4004, then a name that points into the question.
        let message = answer(SRV, &[0, 1, 0, 0, 0x0f, 0xa4, 1, b'x', 0xc0, 12]);
        assert_eq!(best_service(&message), Some(("x._a._tcp.example".to_owned(), 4004)));
        assert_eq!(query(1, "a..b", TXT), None);
        assert_eq!(query(1, &"a".repeat(64), TXT), None);
    }

    #[test]
    fn a_name_that_points_at_itself_is_refused() {
        let mut message = answer(SRV, &[0, 1, 0, 0, 0, 1, 0xc0, 0]);
        let end = message.len();
        let target = u8::try_from(end - 2).unwrap();
        message[end - 1] = target;
        assert_eq!(best_service(&message), None);
    }

    proptest! {
        #[test]
        fn any_message_is_read_or_refused(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = best_service(&message);
            for record in records(&message, TXT).unwrap_or_default() {
                let _ = text(record.data);
            }
        }
    }
}
