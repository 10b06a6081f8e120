//! How ids are computed (spec 31 §2).

use chrono::NaiveDateTime;
use golem_model::NodeId;
use golem_model::market::SubscriptionId;
use sha3::{Digest, Sha3_256};

/// The time as it is hashed: the seconds are missing, the last field is their fraction.
fn hashed(time: NaiveDateTime) -> String {
    time.format("%Y-%m-%d %H:%M:%f").to_string()
}

/// Second part of a subscription id.
pub fn subscription_hash(
    properties: &str,
    constraints: &str,
    owner: NodeId,
    created: NaiveDateTime,
    expires: NaiveDateTime,
) -> [u8; 32] {
    Sha3_256::new()
        .chain_update(properties)
        .chain_update(constraints)
        .chain_update(owner.as_bytes())
        .chain_update(hashed(created))
        .chain_update(hashed(expires))
        .finalize()
        .into()
}

/// Hash in the id of a proposal, and in that of an agreement.
pub fn proposal_hash(offer: &SubscriptionId, demand: &SubscriptionId, created: NaiveDateTime) -> [u8; 32] {
    Sha3_256::new()
        .chain_update(offer.as_str())
        .chain_update(demand.as_str())
        .chain_update(hashed(created))
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use golem_model::market::{ProposalId, Role};
    use serde_json::Value;

    use super::*;

    #[test]
    fn ids_are_those_of_the_vectors() {
        let vectors =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/market/ids-and-hashes.json"));
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let text = |key: &str| case[key].as_str().unwrap();
            let time = |key: &str| text(key).parse::<NaiveDateTime>().unwrap();
            let created = time("creation_ts");
            assert_eq!(hashed(created), text("hashed_creation"));
            if text("kind") == "subscription" {
                let hash = subscription_hash(
                    text("properties"),
                    text("constraints"),
                    text("node_id").parse().unwrap(),
                    created,
                    time("expiration_ts"),
                );
                assert_eq!(SubscriptionId::new(0, &hash).hash(), text("hash"), "{case}");
            } else {
                let hash =
                    proposal_hash(&text("offer_id").parse().unwrap(), &text("demand_id").parse().unwrap(), created);
                let id: ProposalId = text("full_id").parse().unwrap();
                assert_eq!(ProposalId::new(id.owner(), &hash), id, "{case}");
                assert_eq!(ProposalId::new(Role::Provider, &hash).hash(), text("hash"));
            }
        }
    }
}
