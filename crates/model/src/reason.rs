//! Why somebody rejected, cancelled or terminated (spec 31 §7.6, 32 §1.2).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A text for people and any further keys for programs. On the wire one flat map.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    pub message: String,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Reason {
    pub const REQUESTOR_CODE: &'static str = "golem.requestor.code";
    pub const PROVIDER_CODE: &'static str = "golem.provider.code";
    /// `false`: the side that rejects may counter again later.
    pub const IS_FINAL: &'static str = "golem.proposal.rejection.is-final";

    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), extra: Map::new() }
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    /// The code of whichever side gave one; none when both or neither did.
    pub fn code(&self) -> Option<&str> {
        let text = |key| self.extra.get(key).and_then(Value::as_str);
        match (text(Self::REQUESTOR_CODE), text(Self::PROVIDER_CODE)) {
            (Some(code), None) | (None, Some(code)) => Some(code),
            _ => None,
        }
    }

    /// Whether a rejected proposal is dead for good; that is the case unless the reason says otherwise.
    pub fn is_final(&self) -> bool {
        self.extra.get(Self::IS_FINAL).and_then(Value::as_bool).unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_flat_map() {
        let text = r#"{"message":"Finished","extra":{"n":1},"golem.requestor.code":"Success"}"#;
        let reason: Reason = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&reason).unwrap(), text);
        assert_eq!(reason.code(), Some("Success"));
        assert!(serde_json::from_str::<Reason>(r#"{"x":1}"#).is_err());
    }

    #[test]
    fn only_an_explicit_false_keeps_a_rejected_proposal_alive() {
        assert!(Reason::new("no").is_final());
        assert!(!Reason::new("no").with(Reason::IS_FINAL, false).is_final());
    }
}
