use crate::constraints::{Constraints, ParseConstraintsError};
use crate::reference::PropertyRef;
use crate::resolve::Truth;
use crate::set::{PropertiesError, PropertySet};

/// One side of a match, compiled.
#[derive(Debug)]
pub struct Artifact {
    pub properties: PropertySet,
    pub constraints: Constraints,
}

/// Why two texts cannot be matched at all.
#[derive(Debug, thiserror::Error)]
pub enum MatchError {
    #[error("{0}")]
    Properties(#[from] PropertiesError),
    #[error("Prepare error: Error parsing constraints: {0}")]
    Constraints(#[from] ParseConstraintsError),
}

/// Result of a match in both directions (spec 30 §13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Yes,
    No(Mismatch),
    Undefined(Mismatch),
}

/// References that the other side's properties could not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// Of the demand's constraints.
    pub offer: Vec<String>,
    /// Of the offer's constraints.
    pub demand: Vec<String>,
}

impl Artifact {
    /// From the stored texts.
    pub fn compile(properties: &str, constraints: &str) -> Result<Self, MatchError> {
        let properties = PropertySet::from_json_text(properties)?;
        Ok(Self { properties, constraints: Constraints::parse(constraints)? })
    }

    /// Whether each side satisfies the other's constraints; the relation is symmetric.
    pub fn matches(&self, other: &Self) -> bool {
        self.constraints.evaluate(&other.properties) == Truth::True
            && other.constraints.evaluate(&self.properties) == Truth::True
    }
}

/// The same as [`Artifact::matches`], with what is missing.
pub fn match_pair(demand: &Artifact, offer: &Artifact) -> Outcome {
    let (of_demand, missing_in_offer) = demand.constraints.resolve(&offer.properties);
    let (of_offer, missing_in_demand) = offer.constraints.resolve(&demand.properties);
    let names = |references: Vec<&PropertyRef>| references.into_iter().map(ToString::to_string).collect();
    let mismatch = || Mismatch { offer: names(missing_in_offer), demand: names(missing_in_demand) };
    match (of_demand, of_offer) {
        (Truth::True, Truth::True) => Outcome::Yes,
        (Truth::Undefined, _) | (_, Truth::Undefined) => Outcome::Undefined(mismatch()),
        _ => Outcome::No(mismatch()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn artifact(side: &Value) -> Result<Artifact, MatchError> {
        let properties = match &side["properties"] {
            // The empty string stands for an empty text, which is no JSON.
            Value::String(text) if text.is_empty() => String::new(),
            properties => properties.to_string(),
        };
        Artifact::compile(&properties, side["constraints"].as_str().unwrap())
    }

    #[test]
    fn match_vectors() {
        let vectors = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/market/match.json"));
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let expect = &case["expect"];
            let (demand, offer) = match (artifact(&case["demand"]), artifact(&case["offer"])) {
                (Ok(demand), Ok(offer)) => (demand, offer),
                _ => {
                    assert_eq!(expect["result"], "error", "{case}");
                    continue;
                }
            };
            let (result, mismatch) = match match_pair(&demand, &offer) {
                Outcome::Yes => ("yes", Mismatch::default()),
                Outcome::No(mismatch) => ("no", mismatch),
                Outcome::Undefined(mismatch) => ("undefined", mismatch),
            };
            assert_eq!(expect["result"], result, "{case}");
            assert_eq!(demand.matches(&offer), result == "yes", "{case}");
            assert_eq!(offer.matches(&demand), result == "yes", "{case}");
            for (key, names) in [("offer_mismatch", mismatch.offer), ("demand_mismatch", mismatch.demand)] {
                if let Some(expected) = expect[key].as_array() {
                    assert_eq!(names, expected.iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>(), "{case}");
                }
            }
        }
    }
}
