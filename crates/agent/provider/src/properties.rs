//! Properties in their two forms: flat (`"a.b": 1`) on the wire and nested (`{"a": {"b": 1}}`) in files (spec 30 §2).

use serde_json::{Map, Value};

pub(crate) type Properties = Map<String, Value>;

/// Flat properties of `value` in either form. What is no object, or is too large to be one, has none.
pub(crate) fn flatten(value: &Value) -> Properties {
    match golem_properties::flatten(value) {
        Ok(Value::Object(flat)) if value.is_object() => flat,
        _ => Properties::new(),
    }
}

/// Whether something stands at the JSON pointer of the nested form (`/golem/com/payment/chosen-platform`).
pub(crate) fn has_pointer(flat: &Properties, pointer: &str) -> bool {
    let path = pointer.trim_start_matches('/').replace('/', ".");
    flat.contains_key(&path) || flat.keys().any(|key| key.strip_prefix(&path).is_some_and(|rest| rest.starts_with('.')))
}

/// A text property.
pub(crate) fn text<'a>(flat: &'a Properties, key: &str) -> Option<&'a str> {
    flat.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_see_scalars_and_branches() {
        let flat = flatten(&json!({"golem": {"com.payment.chosen-platform": "x"}}));
        assert!(has_pointer(&flat, "/golem/com/payment/chosen-platform"));
        assert!(has_pointer(&flat, "/golem/com"));
        assert!(!has_pointer(&flat, "/golem/co"));
        assert!(flatten(&json!([1])).is_empty());
    }
}
