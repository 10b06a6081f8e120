//! Bus addresses of other nodes (spec 20 §7.1).

use crate::NodeId;

/// Which transport carries a call to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Reliable and ordered, for messages.
    Reliable,
    /// One datagram, may be lost.
    Unreliable,
    /// Reliable, for bulk data, so that it does not delay messages.
    Transfer,
}

impl Channel {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Reliable => "",
            Self::Unreliable => "/udp",
            Self::Transfer => "/transfer",
        }
    }
}

/// Address of `service` (its `/public/…` name) on node `to`, called as the default identity.
pub fn remote(channel: Channel, to: NodeId, service: &str) -> String {
    format!("{}/net/{to}{}", channel.prefix(), exported(service))
}

/// The same, called as the own identity `from`.
pub fn remote_as(channel: Channel, from: NodeId, to: NodeId, service: &str) -> String {
    format!("{}/from/{from}/to/{to}{}", channel.prefix(), exported(service))
}

fn exported(service: &str) -> &str {
    debug_assert!(service.starts_with("/public/"), "only /public/… is reachable from other nodes");
    service.strip_prefix("/public").unwrap_or(service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_service_is_named_behind_its_node() {
        let (a, b) = (NodeId::from([1; 20]), NodeId::from([2; 20]));
        assert_eq!(remote(Channel::Unreliable, a, "/public/market"), format!("/udp/net/{a}/market"));
        assert_eq!(
            remote_as(Channel::Transfer, a, b, "/public/exeunit/1"),
            format!("/transfer/from/{a}/to/{b}/exeunit/1")
        );
    }
}
