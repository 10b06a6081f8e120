use std::sync::Arc;

use chrono::{NaiveDateTime, TimeDelta};
use golem_model::NodeId;
use golem_model::market::{SubscriptionId, peer};

use crate::hash::subscription_hash;

/// Most bytes of properties and constraints together, of an offer as of a proposal.
pub const TEXT_BYTES_MAX: usize = 2 << 20;

/// Longest remaining life of a foreign offer; everybody publishes for one hour.
const LIFETIME_MAX: TimeDelta = TimeDelta::hours(24);

/// An offer or a demand. Texts are kept byte for byte, because they are hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub owner: NodeId,
    pub properties: Arc<str>,
    pub constraints: Arc<str>,
    pub created: NaiveDateTime,
    pub expires: NaiveDateTime,
}

/// Why a foreign offer is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOffer {
    #[error("its id is not the hash of its content")]
    Hash,
    #[error("it expired")]
    Expired,
    #[error("it lives longer than {} h", LIFETIME_MAX.num_hours())]
    Lifetime,
    #[error("its texts have more than {TEXT_BYTES_MAX} bytes")]
    Size,
}

impl Subscription {
    /// A new one of our own. `random` is the first part of its id.
    pub fn new(
        random: u128,
        owner: NodeId,
        properties: &str,
        constraints: &str,
        created: NaiveDateTime,
        ttl: TimeDelta,
    ) -> Self {
        let expires = created.checked_add_signed(ttl).unwrap_or(NaiveDateTime::MAX);
        let hash = subscription_hash(properties, constraints, owner, created, expires);
        Self {
            id: SubscriptionId::new(random, &hash),
            owner,
            properties: properties.into(),
            constraints: constraints.into(),
            created,
            expires,
        }
    }

    /// An offer that a peer handed over.
    pub fn from_peer(offer: peer::Offer, now: NaiveDateTime) -> Result<Self, BadOffer> {
        if offer.properties.len().saturating_add(offer.constraints.len()) > TEXT_BYTES_MAX {
            return Err(BadOffer::Size);
        }
        if offer.expiration_ts <= now {
            return Err(BadOffer::Expired);
        }
        if offer.expiration_ts.signed_duration_since(now) > LIFETIME_MAX {
            return Err(BadOffer::Lifetime);
        }
        let hash = subscription_hash(
            &offer.properties,
            &offer.constraints,
            offer.node_id,
            offer.creation_ts,
            offer.expiration_ts,
        );
        if !offer.id.has_hash(&hash) {
            return Err(BadOffer::Hash);
        }
        Ok(Self {
            id: offer.id,
            owner: offer.node_id,
            properties: offer.properties.into(),
            constraints: offer.constraints.into(),
            created: offer.creation_ts,
            expires: offer.expiration_ts,
        })
    }

    pub fn to_peer(&self, inserted: NaiveDateTime) -> peer::Offer {
        peer::Offer {
            id: self.id,
            properties: self.properties.to_string(),
            constraints: self.constraints.to_string(),
            node_id: self.owner,
            creation_ts: self.created,
            insertion_ts: Some(inserted),
            expiration_ts: self.expires,
        }
    }

    pub fn bytes(&self) -> usize {
        self.properties.len() + self.constraints.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_offers_are_checked() {
        let now: NaiveDateTime = "2026-11-23T05:46:12".parse().unwrap();
        let own = Subscription::new(7, NodeId::from([1; 20]), "{}", "()", now, TimeDelta::hours(1));
        let good = own.to_peer(now);
        assert_eq!(Subscription::from_peer(good.clone(), now).as_ref(), Ok(&own));
        let check = |offer: peer::Offer, now, error| assert_eq!(Subscription::from_peer(offer, now), Err(error));
        check(peer::Offer { properties: "{\"a\":1}".into(), ..good.clone() }, now, BadOffer::Hash);
        check(good.clone(), own.expires, BadOffer::Expired);
        check(good.clone(), now - TimeDelta::hours(24), BadOffer::Lifetime);
        check(peer::Offer { properties: " ".repeat(TEXT_BYTES_MAX), ..good }, now, BadOffer::Size);
    }
}
