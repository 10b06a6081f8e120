//! Bus addresses that lead to other nodes, and what arrives from there (spec 11 §4).

use golem_model::NodeId;
use golem_model::address::Channel;

/// Prefixes under which the net is bound on the local bus.
pub(crate) const PREFIXES: [&str; 6] = ["/net", "/udp/net", "/transfer/net", "/from", "/udp/from", "/transfer/from"];

const fn wire_prefix(channel: Channel) -> &'static str {
    match channel {
        Channel::Reliable => "/net",
        Channel::Unreliable => "/udp/net",
        Channel::Transfer => "/transfer/net",
    }
}

/// Where a call of this node goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outward {
    pub(crate) channel: Channel,
    /// The own identity that calls, if the address names one.
    pub(crate) from: Option<NodeId>,
    pub(crate) to: NodeId,
    /// What follows the id, with the slash in front.
    path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadAddress {
    #[error("`{0}` is no address of another node: want `/net/<node id>/<service>`")]
    Form(String),
    #[error("`{0}` is no node id")]
    NodeId(String),
}

impl Outward {
    pub(crate) fn parse(address: &str) -> Result<Self, BadAddress> {
        let form = || BadAddress::Form(address.to_owned());
        let (channel, rest) = split_channel(address).ok_or_else(form)?;
        let (from, rest) = match rest.strip_prefix("/from/") {
            Some(rest) => {
                let (from, rest) = rest.split_once('/').ok_or_else(form)?;
                (Some(node_id(from)?), rest.strip_prefix("to/").ok_or_else(form)?)
            }
            None => (None, rest.strip_prefix("/net/").ok_or_else(form)?),
        };
        let (to, path) = rest.split_at(rest.find('/').ok_or_else(form)?);
        if path.len() < 2 {
            return Err(form());
        }
        Ok(Self { channel, from, to: node_id(to)?, path: path.to_owned() })
    }

    /// The address as it is written on the wire; ids always in lower case.
    pub(crate) fn wire(&self) -> String {
        format!("{}/{}{}", wire_prefix(self.channel), self.to, self.path)
    }

    /// The service itself, when it is on this node.
    pub(crate) fn public(&self) -> String {
        format!("/public{}", self.path)
    }
}

fn split_channel(address: &str) -> Option<(Channel, &str)> {
    let (channel, rest) = if let Some(rest) = address.strip_prefix("/udp") {
        (Channel::Unreliable, rest)
    } else if let Some(rest) = address.strip_prefix("/transfer") {
        (Channel::Transfer, rest)
    } else {
        (Channel::Reliable, address)
    };
    rest.starts_with('/').then_some((channel, rest))
}

fn node_id(text: &str) -> Result<NodeId, BadAddress> {
    text.parse().map_err(|_| BadAddress::NodeId(text.chars().take(64).collect()))
}

/// The local service behind an address that came from the network, if its node is one of ours.
pub(crate) fn inward(address: &str, is_own: impl Fn(NodeId) -> bool) -> Option<String> {
    let (_, rest) = split_channel(address)?;
    let rest = rest.strip_prefix("/net/")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (id, path) = rest.split_at_checked(end)?;
    let id: NodeId = id.parse().ok()?;
    is_own(id).then(|| format!("/public{path}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "0x0b27b802a68b8356c0152036938dfcaf83c0b820";
    const B: &str = "0x0cf020486f617c1dd38e8aabdc75960c44e601a2";

    #[test]
    fn addresses_are_read_and_written_for_the_wire() {
        let check = |address: String, channel, from: Option<&str>, wire: String| {
            let outward = Outward::parse(&address).unwrap();
            assert_eq!((outward.channel, outward.from), (channel, from.map(|id| id.parse().unwrap())), "{address}");
            assert_eq!(outward.wire(), wire);
            assert_eq!(outward.public(), "/public/x/Y");
        };
        check(format!("/net/{B}/x/Y"), Channel::Reliable, None, format!("/net/{B}/x/Y"));
        check(format!("/from/{A}/to/{B}/x/Y"), Channel::Reliable, Some(A), format!("/net/{B}/x/Y"));
        check(format!("/udp/from/{A}/to/{B}/x/Y"), Channel::Unreliable, Some(A), format!("/udp/net/{B}/x/Y"));
        check(format!("/transfer/net/{B}/x/Y"), Channel::Transfer, None, format!("/transfer/net/{B}/x/Y"));
        let upper = B.to_uppercase().replace("0X", "0x");
        check(format!("/net/{upper}/x/Y"), Channel::Reliable, None, format!("/net/{B}/x/Y"));
    }

    #[test]
    fn other_addresses_are_refused() {
        for address in ["", "/", "/net", "/net/", "/net/x/y", "/udp", "/from", "/udpx/net", "/transfer/x"] {
            assert!(Outward::parse(address).is_err(), "{address}");
        }
        for address in
            [format!("/net/{B}"), format!("/net/{B}/"), format!("/from/{A}/{B}/x"), format!("/from/{A}/to/{B}")]
        {
            assert!(Outward::parse(&address).is_err(), "{address}");
        }
    }

    #[test]
    fn only_public_services_of_own_ids_are_reached() {
        let own = |id: NodeId| id.to_string() == A;
        assert_eq!(inward(&format!("/net/{A}/x/Y"), own).as_deref(), Some("/public/x/Y"));
        assert_eq!(
            inward(&format!("/udp/net/{}/x/Y", A.to_uppercase().replace("0X", "0x")), own).as_deref(),
            Some("/public/x/Y")
        );
        for address in [
            format!("/net/{B}/x"),
            format!("/public/{A}/x"),
            "/local/identity".to_owned(),
            format!("/from/{A}/to/{A}/x"),
        ] {
            assert_eq!(inward(&address, own), None, "{address}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = Outward::parse(&text);
            let _ = inward(&text, |_| true);
            let _ = Outward::parse(&format!("/from/{text}/to/{text}"));
        }
    }
}
