//! Ids of subscriptions, proposals and agreements (spec 31 §2).
//!
//! Hex digits are read in either case and kept as they came: two ids that differ in case are two ids.
//! How ids are computed is the business of the market core.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const RANDOM_LEN: usize = 32;
const HASH_LEN: usize = 64;
const SUBSCRIPTION_LEN: usize = RANDOM_LEN + 1 + HASH_LEN;

/// Longest piece of a foreign text that an error repeats.
const QUOTED_MAX: usize = 200;

/// Side of a negotiation or agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    Provider,
    Requestor,
}

impl Role {
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Provider => Self::Requestor,
            Self::Requestor => Self::Provider,
        }
    }

    const fn letter(self) -> &'static str {
        match self {
            Self::Provider => "P",
            Self::Requestor => "R",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Provider => "Provider",
            Self::Requestor => "Requestor",
        })
    }
}

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseIdError(String);

fn quoted(text: &str) -> &str {
    match text.char_indices().nth(QUOTED_MAX) {
        Some((at, _)) => text.get(..at).unwrap_or_default(),
        None => text,
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn parse_hash(text: &str) -> Result<[u8; HASH_LEN], ParseIdError> {
    if !is_hex(text) {
        return Err(ParseIdError(format!("Id [{}] contains non hexadecimal characters.", quoted(text))));
    }
    text.as_bytes()
        .try_into()
        .map_err(|_| ParseIdError(format!("Id [{}] hash has invalid length. Should be |64|", quoted(text))))
}

const fn hex_digits(bytes: &[u8; 32]) -> [u8; HASH_LEN] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; HASH_LEN];
    let mut at = 0;
    while at < bytes.len() {
        #[expect(clippy::indexing_slicing, reason = "`at` is below 32 and a nibble below 16")]
        {
            text[2 * at] = DIGITS[(bytes[at] >> 4) as usize];
            text[2 * at + 1] = DIGITS[(bytes[at] & 15) as usize];
        }
        at += 1;
    }
    text
}

/// Only ASCII hex digits and dashes ever get into an id.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Id of an offer or demand: `<32 hex>-<64 hex>`, random part and hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId([u8; SUBSCRIPTION_LEN]);

impl SubscriptionId {
    pub fn new(random: u128, hash: &[u8; 32]) -> Self {
        let mut id = [b'-'; SUBSCRIPTION_LEN];
        let (front, back) = id.split_at_mut(RANDOM_LEN);
        front.copy_from_slice(format!("{random:032x}").as_bytes());
        if let Some(back) = back.get_mut(1..) {
            back.copy_from_slice(&hex_digits(hash));
        }
        Self(id)
    }

    pub fn as_str(&self) -> &str {
        text(&self.0)
    }

    /// The 64 hex digits after the dash.
    pub fn hash(&self) -> &str {
        text(self.0.get(RANDOM_LEN + 1..).unwrap_or_default())
    }

    pub fn has_hash(&self, hash: &[u8; 32]) -> bool {
        self.hash().as_bytes() == hex_digits(hash)
    }
}

impl FromStr for SubscriptionId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let wrong = |what| Err(ParseIdError(format!("Subscription id [{}] {what}", quoted(text))));
        let Some((random, hash)) = text.split_once('-').filter(|(_, hash)| !hash.contains('-')) else {
            return wrong("has invalid format.");
        };
        if !is_hex(random) || !is_hex(hash) {
            return wrong("contains non hexadecimal characters.");
        }
        match text.as_bytes().try_into() {
            Ok(bytes) if random.len() == RANDOM_LEN => Ok(Self(bytes)),
            _ => wrong("has invalid length. Should be |32|-|64|"),
        }
    }
}

/// Id of an agreement as everything above the market knows it: 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgreementId([u8; HASH_LEN]);

impl AgreementId {
    pub const fn new(hash: &[u8; 32]) -> Self {
        Self(hex_digits(hash))
    }

    pub fn as_str(&self) -> &str {
        text(&self.0)
    }

    /// The form that the market puts on the wire and into its texts.
    pub const fn owned_by(self, owner: Role) -> OwnedAgreementId {
        ProposalId { owner, hash: self.0 }
    }
}

impl FromStr for AgreementId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        parse_hash(text).map(Self)
    }
}

/// Id of a proposal: `R-` (the requestor's copy) or `P-` (the provider's) and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProposalId {
    owner: Role,
    hash: [u8; HASH_LEN],
}

/// An agreement's id between daemons has the form of a proposal's.
pub type OwnedAgreementId = ProposalId;

impl ProposalId {
    pub const fn new(owner: Role, hash: &[u8; 32]) -> Self {
        Self { owner, hash: hex_digits(hash) }
    }

    pub const fn owner(&self) -> Role {
        self.owner
    }

    pub fn hash(&self) -> &str {
        text(&self.hash)
    }

    /// The copy of the other or the same side; a receiver puts its own role before it looks at an id.
    #[must_use]
    pub const fn owned_by(self, owner: Role) -> Self {
        Self { owner, ..self }
    }

    /// The same digits without the owner.
    pub const fn agreement(&self) -> AgreementId {
        AgreementId(self.hash)
    }
}

impl FromStr for ProposalId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let Some((owner, hash)) = text.split_once('-').filter(|(_, hash)| !hash.contains('-')) else {
            return Err(ParseIdError(format!("Id [{}] has invalid format.", quoted(text))));
        };
        let owner = match owner {
            "P" => Role::Provider,
            "R" => Role::Requestor,
            _ => return Err(ParseIdError(format!("Id [{}] has invalid owner type.", quoted(owner)))),
        };
        Ok(Self { owner, hash: parse_hash(hash)? })
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for AgreementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for ProposalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.owner.letter(), self.hash())
    }
}

macro_rules! text_id {
    ($($id:ty),*) => {$(
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $id;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("the text of an id")
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$id, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    )*};
}

text_id!(SubscriptionId, AgreementId, ProposalId);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn ids_are_read_and_refused_as_the_vectors_say() {
        let vectors = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/market/id-parsing.json"));
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let input = case["input"].as_str().unwrap();
            let got = match case["kind"].as_str().unwrap() {
                "subscription" => input.parse::<SubscriptionId>().map(|id| id.to_string()),
                "proposal" => input.parse::<ProposalId>().map(|id| id.to_string()),
                "rest-agreement" => input.parse::<AgreementId>().map(|id| id.to_string()),
                kind => panic!("unknown kind {kind}"),
            };
            match case["error"].as_str() {
                None => assert_eq!(got.as_deref(), Ok(input)),
                Some(error) => assert_eq!(got.unwrap_err().to_string(), error, "{input}"),
            }
        }
    }

    #[test]
    fn case_of_digits_is_kept() {
        let upper = "A".repeat(64);
        assert_eq!(upper.parse::<AgreementId>().unwrap().to_string(), upper);
        assert_ne!(upper.parse::<AgreementId>(), upper.to_lowercase().parse::<AgreementId>());
    }

    proptest! {
        #[test]
        fn ids_survive_print_and_parse(random: u128, hash: [u8; 32]) {
            let id = SubscriptionId::new(random, &hash);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert!(id.has_hash(&hash));
            for owner in [Role::Provider, Role::Requestor] {
                let id = ProposalId::new(owner, &hash);
                prop_assert_eq!(id.to_string().parse(), Ok(id));
                prop_assert_eq!(id.agreement().owned_by(owner), id);
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC*|[RP0-9a-f-]{0,100}") {
            let _ = (text.parse::<SubscriptionId>(), text.parse::<ProposalId>(), text.parse::<AgreementId>());
        }
    }
}
