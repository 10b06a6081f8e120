//! The agreement file (spec 51 §2.2): what the supervisor reads of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use golem_model::NodeId;
use serde_json::{Map, Value};

/// A property that is both a leaf and a node keeps its own value under this key.
const LEAF_KEY: &str = "@tag";
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Segments of one property name.
const DEPTH_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum AgreementError {
    #[error("cannot read agreement file `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("agreement file `{path}` is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge { path: PathBuf },
    #[error("agreement file is not JSON")]
    Json(#[from] serde_json::Error),
    #[error("agreement file has no {0}")]
    Missing(&'static str),
}

#[derive(Clone, Debug, PartialEq, Default)]
pub struct Agreement {
    pub id: String,
    /// Who may give orders; absent in files of some test programs.
    pub requestor: Option<NodeId>,
    pub task_package: Option<String>,
    /// Counters in the order of usage reports.
    pub usage_vector: Vec<String>,
    /// Numeric properties below `golem.inf`.
    pub infrastructure: BTreeMap<String, f64>,
    pub capabilities: Vec<String>,
}

impl Agreement {
    pub fn load(path: &Path) -> Result<Self, AgreementError> {
        let fail = |source| AgreementError::Read { path: path.into(), source };
        let mut text = String::new();
        File::open(path).map_err(fail)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(fail)?;
        if u64::try_from(text.len()).is_ok_and(|len| len > FILE_BYTES_MAX) {
            return Err(AgreementError::TooLarge { path: path.into() });
        }
        Self::parse(&text)
    }

    /// Property names may be nested objects or stand with their dots.
    pub fn parse(text: &str) -> Result<Self, AgreementError> {
        let file: Value = serde_json::from_str(text)?;
        let properties = |side: &str| {
            let mut nested = Value::Object(Map::new());
            if let Some(properties) = file.get(side).and_then(|side| side.get("properties")) {
                expand(&mut nested, properties, 0);
            }
            nested
        };
        let (demand, offer) = (properties("demand"), properties("offer"));
        let texts = |value: &Value| -> Option<Vec<String>> {
            Some(value.as_array()?.iter().filter_map(|item| item.as_str().map(Into::into)).collect())
        };
        let text = |value: Option<&Value>| value.map(leaf).and_then(Value::as_str).map(String::from);
        let vector = offer.pointer("/golem/com/usage/vector").map(leaf).and_then(texts);
        let infrastructure = offer.pointer("/golem/inf").and_then(Value::as_object);
        let mut numbers = BTreeMap::new();
        flatten(
            "",
            infrastructure.ok_or(AgreementError::Missing("`golem.inf` properties in its offer"))?,
            &mut numbers,
        );
        Ok(Self {
            id: text(file.get("agreementId")).unwrap_or_default(),
            requestor: text(file.pointer("/demand/requestorId")).and_then(|id| id.parse().ok()),
            task_package: text(demand.pointer("/golem/srv/comp/task_package")),
            usage_vector: vector.ok_or(AgreementError::Missing("`golem.com.usage.vector` in its offer"))?,
            infrastructure: numbers,
            capabilities: offer.pointer("/golem/runtime/capabilities").map(leaf).and_then(texts).unwrap_or_default(),
        })
    }

    pub fn inf(&self, name: &str) -> Option<f64> {
        self.infrastructure.get(name).copied()
    }
}

fn leaf(value: &Value) -> &Value {
    value.get(LEAF_KEY).unwrap_or(value)
}

/// Adds `from` to `into`, splitting dotted keys.
fn expand(into: &mut Value, from: &Value, depth: usize) {
    let Value::Object(from) = from else {
        match into {
            Value::Object(node) if !node.is_empty() => drop(node.insert(LEAF_KEY.into(), from.clone())),
            _ => *into = from.clone(),
        }
        return;
    };
    if depth > DEPTH_MAX {
        return;
    }
    for (key, value) in from {
        let mut place = &mut *into;
        for part in key.splitn(DEPTH_MAX, '.') {
            if !place.is_object() {
                let old = place.take();
                let mut node = Map::new();
                if !old.is_null() {
                    node.insert(LEAF_KEY.into(), old);
                }
                *place = Value::Object(node);
            }
            let Value::Object(node) = place else { return };
            place = node.entry(part).or_insert(Value::Null);
        }
        expand(place, value, depth + 1);
    }
}

fn flatten(prefix: &str, node: &Map<String, Value>, into: &mut BTreeMap<String, f64>) {
    for (key, value) in node {
        let name = match (prefix, key.as_str()) {
            (prefix, LEAF_KEY) => prefix.to_owned(),
            ("", key) => key.to_owned(),
            (prefix, key) => format!("{prefix}.{key}"),
        };
        match value {
            Value::Object(node) => flatten(&name, node, into),
            value => into.extend(value.as_f64().map(|number| (name, number))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn dotted_and_nested_properties_mean_the_same() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/exe/capture-exec.json"));
        let capture: Value = serde_json::from_str(text).unwrap();
        let dotted = Agreement::parse(&capture["agreement_file"].to_string()).unwrap();
        assert_eq!(dotted.requestor.unwrap().to_string(), "0x1111111111111111111111111111111111111111");
        assert_eq!(dotted.usage_vector, ["golem.usage.duration_sec", "golem.usage.cpu_sec", "my.counter"]);
        assert_eq!((dotted.inf("mem.gib"), dotted.inf("cpu.threads")), (Some(1.5), Some(2.0)));
        assert!(dotted.task_package.as_ref().unwrap().starts_with("hash:sha3:3a76c8"));
        assert_eq!(dotted.capabilities, ["vpn"]);

        let nested = json!({
            "agreementId": "0a",
            "demand": {"requestorId": "0x1111111111111111111111111111111111111111",
                "properties": {"golem": {"srv": {"comp": {"task_package": {"@tag": dotted.task_package, "x": 1}}}}}},
            "offer": {"properties": {"golem": {
                "com": {"usage": {"vector": dotted.usage_vector}},
                "inf": {"cpu": {"threads": 2, "cores": 2}, "mem": {"gib": 1.5}, "storage": {"gib": 10.0}},
                "runtime": {"name": "x", "capabilities": ["vpn"]}}}},
        });
        assert_eq!(Agreement::parse(&nested.to_string()).unwrap(), dotted);
    }

    #[test]
    fn files_without_what_is_needed_are_refused() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"offer":{"properties":{"golem.com.usage.vector":[]}}}"#,
            r#"{"offer":{"properties":{"golem.inf.mem.gib":1}}}"#,
        ] {
            assert!(Agreement::parse(bad).is_err(), "{bad}");
        }
        let deep = format!(r#"{{"offer":{{"properties":{{"{}":1}}}}}}"#, "a.".repeat(10_000));
        assert!(Agreement::parse(&deep).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,300}") {
            drop(Agreement::parse(&text));
        }
    }
}
