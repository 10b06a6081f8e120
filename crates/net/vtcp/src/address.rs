use std::fmt;
use std::net::Ipv6Addr;

/// IPv6 address of a node on the virtual link: made from its default node id (spec 11 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address([u8; 16]);

impl Address {
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Address of the node with this id.
    pub const fn of_node(id: &[u8; 20]) -> Self {
        let Some((first, _)) = id.split_first_chunk::<16>() else { return Self([0; 16]) };
        let mut bytes = *first;
        // No multicast address: byte modulo 255.
        if let [first @ 0xff, ..] = &mut bytes {
            *first = 0;
        }
        // Neither the unspecified nor the loopback address.
        if let [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last @ 0..2] = &mut bytes {
            *last = 2;
        }
        Self(bytes)
    }
}

impl From<[u8; 16]> for Address {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Ipv6Addr::from(self.0), f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
