//! Between the nested form that clients post and the flat form that is stored, hashed and matched (spec 30 §2).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Key that holds the value of a node that has children too.
const TAG: &str = "@tag";

/// Most bytes of keys in a flat object. Deep nesting under long keys would otherwise multiply a small text.
const FLAT_KEYS_BYTES_MAX: usize = 4 << 20;

/// Most parts of a flat key that [`expand`] nests.
const EXPAND_DEPTH_MAX: usize = 100;

#[derive(Debug, thiserror::Error)]
pub enum FlattenError {
    #[error("JSON error: {0}")]
    Json(#[from] serde_json::Error),
    #[error("properties are too large: their flat names have more than {FLAT_KEYS_BYTES_MAX} bytes")]
    TooLarge,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    #[error("a property name has more than {EXPAND_DEPTH_MAX} parts")]
    TooDeep,
}

/// The flat object, keys in ascending byte order. What is no object ends up under the empty key.
pub fn flatten(properties: &Value) -> Result<Value, FlattenError> {
    let mut flat = Flat { entries: BTreeMap::new(), bytes: 0 };
    flat.walk("", properties)?;
    Ok(Value::Object(flat.entries.into_iter().map(|(key, value)| (key, value.clone())).collect()))
}

/// The stored text of posted properties: compact JSON of the flat object.
pub fn flatten_text(properties: &Value) -> Result<String, FlattenError> {
    Ok(serde_json::to_string(&flatten(properties)?)?)
}

struct Flat<'v> {
    entries: BTreeMap<String, &'v Value>,
    bytes: usize,
}

impl<'v> Flat<'v> {
    fn walk(&mut self, path: &str, value: &'v Value) -> Result<(), FlattenError> {
        match value {
            Value::Object(children) if !children.is_empty() => {
                let mut children: Vec<_> = children.iter().collect();
                children.sort_unstable_by_key(|(key, _)| *key);
                for (key, child) in children {
                    if key == TAG {
                        self.put(path.to_owned(), child)?;
                    } else if path.is_empty() {
                        self.walk(key, child)?;
                    } else {
                        self.walk(&format!("{path}.{key}"), child)?;
                    }
                }
                Ok(())
            }
            leaf => self.put(path.to_owned(), leaf),
        }
    }

    fn put(&mut self, key: String, value: &'v Value) -> Result<(), FlattenError> {
        self.bytes = self.bytes.saturating_add(key.len());
        if self.bytes > FLAT_KEYS_BYTES_MAX {
            return Err(FlattenError::TooLarge);
        }
        self.entries.insert(key, value);
        Ok(())
    }
}

/// The nested form. A node with both a value and children keeps its value under `@tag`.
pub fn expand(properties: &Value) -> Result<Value, ExpandError> {
    expand_at(properties, 0)
}

fn expand_at(value: &Value, depth: usize) -> Result<Value, ExpandError> {
    match value {
        Value::Object(flat) => {
            let mut root = Map::new();
            for (key, value) in flat {
                insert(&mut root, key, expand_at(value, depth + 1)?, depth)?;
            }
            Ok(Value::Object(root))
        }
        Value::Array(items) => items.iter().map(|item| expand_at(item, depth + 1)).collect(),
        leaf => Ok(leaf.clone()),
    }
}

fn insert(node: &mut Map<String, Value>, key: &str, value: Value, depth: usize) -> Result<(), ExpandError> {
    if depth > EXPAND_DEPTH_MAX {
        return Err(ExpandError::TooDeep);
    }
    // A leading dot leaves an empty first part, a trailing one an empty last part.
    let (part, value) = match key.split_once('.') {
        Some((part, rest)) => {
            let mut child = Map::new();
            insert(&mut child, rest, value, depth + 1)?;
            (part, Value::Object(child))
        }
        None => (key, value),
    };
    match node.remove(part) {
        Some(old) => node.insert(part.to_owned(), merge(old, value)),
        None => node.insert(part.to_owned(), value),
    };
    Ok(())
}

fn merge(old: Value, new: Value) -> Value {
    match (old, new) {
        (Value::Object(mut old), Value::Object(new)) => {
            for (key, value) in new {
                let merged = match old.remove(&key) {
                    Some(before) => merge(before, value),
                    None => value,
                };
                old.insert(key, merged);
            }
            Value::Object(old)
        }
        (Value::Object(children), Value::Null) | (Value::Null, Value::Object(children)) => Value::Object(children),
        (Value::Object(mut children), leaf) | (leaf, Value::Object(mut children)) => {
            children.insert(TAG.to_owned(), leaf);
            Value::Object(children)
        }
        (_, new) => new,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::literal::tests::any_json;

    fn vectors(text: &str) -> Vec<Value> {
        let vectors: Value = serde_json::from_str(text).unwrap();
        vectors["cases"].as_array().unwrap().clone()
    }

    #[test]
    fn flatten_vectors() {
        for case in
            vectors(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/market/flatten.json")))
        {
            let flat = flatten(&case["input"]).unwrap();
            assert_eq!(flat, case["expect"], "{case}");
            let keys: Vec<_> = flat.as_object().unwrap().keys().collect();
            assert!(keys.is_sorted(), "{case}");
        }
    }

    #[test]
    fn expand_vectors() {
        for case in
            vectors(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/market/expand.json")))
        {
            assert_eq!(expand(&case["input"]).unwrap(), case["expect"], "{case}");
        }
    }

    #[test]
    fn numbers_keep_their_form() {
        let posted: Value =
            serde_json::from_str(r#"{"c":[0.0,1.0,1e3],"b":1.0,"a":123456789012345678901234567890,"i":120}"#).unwrap();
        assert_eq!(
            flatten_text(&posted).unwrap(),
            r#"{"a":1.2345678901234568e+29,"b":1.0,"c":[0.0,1.0,1000.0],"i":120}"#
        );
    }

    #[test]
    fn long_names_over_many_children_are_refused() {
        let children: Map<_, _> = (0..100).map(|n| (n.to_string(), Value::from(n))).collect();
        let properties = serde_json::json!({ "k".repeat(100_000): children });
        assert!(matches!(flatten(&properties), Err(FlattenError::TooLarge)));
    }

    #[test]
    fn names_of_many_parts_are_refused() {
        let properties = serde_json::json!({ ".".repeat(100_000): 1 });
        assert_eq!(expand(&properties), Err(ExpandError::TooDeep));
    }

    proptest! {
        #[test]
        fn flatten_is_idempotent_and_expand_undoes_it(json in any_json()) {
            let flat = flatten(&json).unwrap();
            let again = flatten(&flat).unwrap();
            // Objects that came from `@tag` are flattened only the second time.
            prop_assert_eq!(flatten(&again).unwrap(), again.clone());
            let _ = expand(&flat);
        }
    }
}
