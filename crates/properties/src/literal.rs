//! Values as they are written behind the `=` of a flat property (spec 30 §3, §4).

use chrono::{DateTime, Utc};
use semver::Version;
use serde_json::Value;

use crate::decimal::Decimal;

/// Deepest nesting of lists in a literal.
const DEPTH_MAX: usize = 64;

/// A typed property value. Strings keep their escapes: `\"` and `\\` are two characters each.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    String(String),
    Bool(bool),
    Number(f64),
    /// Kept as text; compared as a decimal of any precision.
    Decimal(String),
    DateTime(DateTime<Utc>),
    Version(Version),
    List(Vec<Self>),
}

impl Literal {
    /// Parses the whole of `text`; none if it is no literal, which drops its property.
    pub fn parse(text: &str) -> Option<Self> {
        match literal(text, 0)? {
            (value, "") => Some(value),
            _ => None,
        }
    }

    /// The value that the compact JSON text of `value` parses to, without writing that text.
    pub fn from_json(value: &Value) -> Option<Self> {
        Self::from_json_at(value, 0)
    }

    fn from_json_at(value: &Value, depth: usize) -> Option<Self> {
        match value {
            Value::Null | Value::Object(_) => None,
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Number(value) => value.as_f64().map(Self::Number),
            Value::String(text) => escaped(text).map(Self::String),
            Value::Array(_) if depth >= DEPTH_MAX => None,
            Value::Array(items) => {
                items.iter().map(|item| Self::from_json_at(item, depth + 1)).collect::<Option<_>>().map(Self::List)
            }
        }
    }
}

/// The raw JSON text of a string; none when it needs an escape that literals do not know.
fn escaped(text: &str) -> Option<String> {
    let mut raw = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' => raw.push_str("\\\""),
            '\\' => raw.push_str("\\\\"),
            '\n' => raw.push_str("\\n"),
            '\t' => raw.push_str("\\t"),
            '\0'..='\x1f' => return None,
            char => raw.push(char),
        }
    }
    Some(raw)
}

type Parsed<'t> = Option<(Literal, &'t str)>;

fn skip_blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\r', '\n'])
}

fn literal(text: &str, depth: usize) -> Parsed<'_> {
    if let Some((value, rest)) = token(skip_blank(text), depth) {
        return Some((value, skip_blank(rest)));
    }
    number(text)
}

fn token(text: &str, depth: usize) -> Parsed<'_> {
    if let Some(text) = text.strip_prefix('"') {
        return string(text);
    }
    if let Some(text) = text.strip_prefix("v\"") {
        let (content, rest) = text.split_once('"')?;
        return Some((Literal::Version(Version::parse(content).ok()?), rest));
    }
    if let Some(text) = text.strip_prefix("t\"") {
        let (content, rest) = text.split_once('"')?;
        return Some((Literal::DateTime(parse_datetime(content)?), rest));
    }
    for (name, value) in
        [("true", true), ("True", true), ("TRUE", true), ("false", false), ("False", false), ("FALSE", false)]
    {
        if let Some(rest) = text.strip_prefix(name) {
            return Some((Literal::Bool(value), rest));
        }
    }
    if let Some(text) = text.strip_prefix("d\"") {
        let (content, rest) = text.split_once('"')?;
        content.parse::<Decimal>().ok()?;
        return Some((Literal::Decimal(content.to_owned()), rest));
    }
    match text.strip_prefix('[') {
        Some(text) if depth < DEPTH_MAX => list(text, depth),
        _ => None,
    }
}

fn string(text: &str) -> Parsed<'_> {
    let mut escape = false;
    for (at, char) in text.char_indices() {
        match char {
            '"' | 'n' | 't' | '0' | '\\' if escape => escape = false,
            _ if escape => return None,
            '\\' => escape = true,
            '"' => return Some((Literal::String(text.get(..at)?.to_owned()), text.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

fn number(text: &str) -> Parsed<'_> {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let sign = usize::from(text.starts_with(['+', '-']));
    let whole = digits(text.get(sign..)?);
    if whole == 0 {
        return None;
    }
    let mut end = sign + whole;
    if let Some(rest) = text.get(end..)?.strip_prefix('.') {
        let fraction = digits(rest);
        if fraction > 0 {
            end += 1 + fraction;
        }
    }
    if let Some(rest) = text.get(end..)?.strip_prefix(['e', 'E']) {
        let sign = usize::from(rest.starts_with(['+', '-']));
        let exponent = digits(rest.get(sign..)?);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    Some((Literal::Number(text.get(..end)?.parse().ok()?), text.get(end..)?))
}

/// Behind the `[`.
fn list(text: &str, depth: usize) -> Parsed<'_> {
    if let Some(rest) = skip_blank(text).strip_prefix(']') {
        return Some((Literal::List(Vec::new()), rest));
    }
    let mut items = Vec::new();
    let mut rest = text;
    loop {
        let (item, behind) = literal(rest, depth + 1)?;
        items.push(item);
        match behind.strip_prefix(',') {
            Some(behind) => rest = behind,
            None => return behind.strip_prefix(']').map(|behind| (Literal::List(items), behind)),
        }
    }
}

/// RFC 3339 with an offset.
pub(crate) fn parse_datetime(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    pub(crate) fn as_json(literal: &Literal) -> Value {
        match literal {
            Literal::String(text) => json!({ "string": text }),
            Literal::Bool(value) => json!({ "bool": value }),
            Literal::Number(value) => json!({ "number": value }),
            Literal::Decimal(text) => json!({ "decimal": text.parse::<Decimal>().unwrap().plain() }),
            Literal::DateTime(time) => json!({ "datetime": time.to_rfc3339() }),
            Literal::Version(version) => json!({ "version": version.to_string() }),
            Literal::List(items) => json!({ "list": items.iter().map(as_json).collect::<Vec<_>>() }),
        }
    }

    impl Decimal {
        /// Without an exponent, as the vectors write decimals.
        fn plain(&self) -> String {
            let text = format!("{self:?}");
            let digits = text.split('"').nth(1).unwrap().to_owned();
            let exponent: usize = text.rsplit(' ').nth(1).unwrap().parse().unwrap();
            if digits.len() <= exponent {
                format!("{digits:0<exponent$}")
            } else {
                format!("{}.{}", &digits[..exponent], &digits[exponent..])
            }
        }
    }

    pub(crate) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e300..1e300).prop_map(Value::from),
            "[a-c\"\\\\ \n\t\r\u{1}é]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-b.@]{0,3}|@tag", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn literal_vectors() {
        let vectors =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/market/property-literals.json"));
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let got = Literal::parse(case["literal"].as_str().unwrap());
            match &case["expect"] {
                expect if expect["error"] == true => assert_eq!(got, None, "{case}"),
                expect => {
                    assert_eq!(as_json(&got.unwrap_or_else(|| panic!("{case}"))), expect["value"], "{case}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_short_way_from_json_agrees_with_its_text(json in any_json()) {
            prop_assert_eq!(Literal::from_json(&json), Literal::parse(&json.to_string()));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC*|[\\[\\]\",dvt0-9.eE+\\\\ -]{0,24}") {
            let _ = Literal::parse(&text);
        }
    }
}
