//! What a runtime prints on `deploy` and `offer-template` (spec 52 §2.2, §2.3; 51 §1.1).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How commands reach a deployed runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StartMode {
    /// One process for each command.
    #[default]
    Empty,
    /// `start` stays and speaks the blocking protocol.
    Blocking,
}

/// A volume: a folder below the work dir that stands at `path` inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerVolume {
    pub name: String,
    pub path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeployResult {
    pub valid: Result<String, String>,
    #[serde(default)]
    pub vols: Vec<ContainerVolume>,
    #[serde(default)]
    pub start_mode: StartMode,
}

impl Default for DeployResult {
    fn default() -> Self {
        Self { valid: Ok(String::new()), vols: Vec::new(), start_mode: StartMode::Empty }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ParseDeployError {
    #[error("invalid deploy response: {0}")]
    NoJson(String),
    #[error("invalid deploy response")]
    Json(#[from] serde_json::Error),
}

/// Text of a runtime that is quoted in an error.
const QUOTE_CHARS_MAX: usize = 200;

impl DeployResult {
    /// Reads the output of `deploy`; text before the first `{` is noise, no output at all means defaults.
    pub fn parse(stdout: &[u8]) -> Result<Self, ParseDeployError> {
        let text = String::from_utf8_lossy(stdout);
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let quote = || ParseDeployError::NoJson(text.chars().take(QUOTE_CHARS_MAX).collect());
        let json = text.find('{').and_then(|start| text.get(start..)).ok_or_else(quote)?;
        Ok(serde_json::from_str(json)?)
    }
}

/// Part of an offer that a runtime or supervisor asks the agent to publish.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OfferTemplate {
    #[serde(default)]
    pub properties: Map<String, Value>,
    #[serde(default)]
    pub constraints: String,
}

impl OfferTemplate {
    /// Reads the first JSON value of `stdout`; garbage after it is tolerated.
    pub fn parse(stdout: &[u8]) -> Result<Self, serde_json::Error> {
        let mut values = serde_json::Deserializer::from_slice(stdout).into_iter();
        values.next().unwrap_or_else(|| Ok(Self::default()))
    }

    /// Adds the template of a runtime: its keys win, constraints are joined.
    #[must_use]
    pub fn patched(mut self, by: Self) -> Self {
        merge(&mut self.properties, by.properties);
        self.constraints = match (self.constraints.trim(), by.constraints.trim()) {
            (ours, "" | "()") => ours.to_owned(),
            ("" | "()", theirs) => theirs.to_owned(),
            (ours, theirs) => format!("(& {ours} {theirs})"),
        };
        self
    }
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(ours)), Value::Object(theirs)) => merge(ours, theirs),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn deploy_output_is_read_with_noise_before_it() {
        let vols = vec![ContainerVolume { name: "vol-a".into(), path: "/golem/work".into() }];
        let text = "some noise first\n{\"startMode\": \"blocking\", \"valid\": {\"Ok\": \"\"}, \"vols\": [{\"name\": \"vol-a\", \"path\": \"/golem/work\"}]}\n";
        let expected = DeployResult { valid: Ok(String::new()), vols, start_mode: StartMode::Blocking };
        assert_eq!(DeployResult::parse(text.as_bytes()).unwrap(), expected);
        assert_eq!(DeployResult::parse(b" \n").unwrap(), DeployResult::default());
        let refused = DeployResult::parse(br#"{"valid":{"Err":"no room"}}"#).unwrap();
        assert_eq!(refused.valid, Err("no room".into()));
        for bad in ["hello", "{}", r#"{"valid":{"Ok":""}} tail"#, "{"] {
            assert!(DeployResult::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_runtime_patches_the_template() {
        let base: OfferTemplate =
            serde_json::from_value(json!({"properties": {"a": {"b": 1}, "v": [1, 2]}, "constraints": "(x=1)"}))
                .unwrap();
        let patch =
            OfferTemplate::parse(br#"{"properties": {"a": {"c": 2}, "v": [3]}, "constraints": "(y=2)"} and more"#)
                .unwrap();
        let joined = base.patched(patch);
        assert_eq!(serde_json::to_value(joined.properties).unwrap(), json!({"a": {"b": 1, "c": 2}, "v": [3]}));
        assert_eq!(joined.constraints, "(& (x=1) (y=2))");
    }

    proptest! {
        #[test]
        fn any_output_is_read_or_refused(bytes: Vec<u8>) {
            drop(DeployResult::parse(&bytes));
            drop(OfferTemplate::parse(&bytes));
        }
    }
}
