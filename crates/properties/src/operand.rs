//! Right side of a comparison, parsed for every type it may meet (spec 30 §8 to §10).

use std::cmp::Ordering;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use regex::{Regex, RegexBuilder};
use semver::Version;

use crate::constraints::Comparison;
use crate::decimal::Decimal;
use crate::literal::{Literal, parse_datetime};
use crate::reference::Kind;
use crate::set::{PropertySet, Value};

/// Bounds the memory of one compiled pattern; a larger pattern matches nothing.
const REGEX_BYTES_MAX: usize = 256 << 10;

/// Text to compare with.
#[derive(Debug)]
pub struct Operand {
    text: Box<str>,
    number: Option<f64>,
    rare: OnceLock<Box<Rare>>,
    pattern: Option<Box<Pattern>>,
    /// Items when the text is a list.
    items: Option<Box<[Self]>>,
}

/// Readings that only a reference with `$d`, `$v` or `$t` needs.
#[derive(Debug)]
struct Rare {
    decimal: Option<Decimal>,
    version: Option<Version>,
    datetime: Option<DateTime<Utc>>,
}

#[derive(Debug)]
struct Pattern {
    /// The pieces between the stars, when none has a character that means something in a regular expression.
    pieces: Option<Box<[Box<str>]>>,
    regex: OnceLock<Option<Regex>>,
}

impl Operand {
    pub fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            number: text.parse().ok(),
            rare: OnceLock::new(),
            pattern: text.contains('*').then(|| Box::new(Pattern::new(text))),
            items: list_items(text).map(|items| items.into_iter().map(Self::new).collect()),
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Compares a value given by itself.
    pub fn compare(&self, value: &Literal, comparison: Comparison) -> bool {
        let mut set = PropertySet::default();
        let value = set.single(value);
        self.holds(&set, &value, comparison)
    }

    pub(crate) fn number(&self) -> Option<f64> {
        self.number
    }

    /// A plain text: neither a pattern nor a list.
    pub(crate) fn is_plain(&self) -> bool {
        self.pattern.is_none() && self.items.is_none()
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(|| {
            Box::new(Rare {
                decimal: self.text.parse().ok(),
                version: Version::parse(&self.text).ok(),
                datetime: parse_datetime(&self.text),
            })
        })
    }

    pub(crate) fn holds(&self, set: &PropertySet, value: &Value, comparison: Comparison) -> bool {
        match value {
            Value::String(span) => self.holds_string(set.text(*span), comparison),
            Value::Number(value) => self
                .number
                .and_then(|operand| value.partial_cmp(&operand))
                .is_some_and(|order| comparison.admits(order)),
            Value::Bool(value) => comparison == Comparison::Eq && &*self.text == if *value { "true" } else { "false" },
            Value::Decimal(value) => self.holds_decimal(value, comparison),
            Value::Version(value) => self.holds_version(value, comparison),
            Value::DateTime(value) => self.holds_datetime(value, comparison),
            Value::List(items) => comparison == Comparison::Eq && self.equals_list(set, items),
        }
    }

    /// Compares `value` read as `kind`; none when it cannot be.
    pub(crate) fn holds_as(
        &self,
        set: &PropertySet,
        value: &Value,
        kind: Kind,
        comparison: Comparison,
    ) -> Option<bool> {
        let text = || match value {
            Value::String(span) => Some(set.text(*span)),
            _ => None,
        };
        match (kind, value) {
            (Kind::Any, value) => Some(self.holds(set, value, comparison)),
            (Kind::Decimal, Value::Decimal(value)) => Some(self.holds_decimal(value, comparison)),
            (Kind::Decimal, _) => Some(self.holds_decimal(&text()?.parse().ok()?, comparison)),
            (Kind::Version, Value::Version(value)) => Some(self.holds_version(value, comparison)),
            (Kind::Version, _) => Some(self.holds_version(&Version::parse(text()?).ok()?, comparison)),
            (Kind::DateTime, Value::DateTime(value)) => Some(self.holds_datetime(value, comparison)),
            (Kind::DateTime, _) => Some(self.holds_datetime(&parse_datetime(text()?)?, comparison)),
        }
    }

    fn holds_string(&self, value: &str, comparison: Comparison) -> bool {
        match &self.pattern {
            Some(pattern) if comparison == Comparison::Eq => pattern.matches(&self.text, value),
            _ => comparison.admits(value.cmp(&self.text)),
        }
    }

    fn holds_decimal(&self, value: &Decimal, comparison: Comparison) -> bool {
        self.rare().decimal.as_ref().is_some_and(|operand| comparison.admits(value.cmp(operand)))
    }

    fn holds_version(&self, value: &Version, comparison: Comparison) -> bool {
        self.rare().version.as_ref().is_some_and(|operand| comparison.admits(value.cmp_precedence(operand)))
    }

    fn holds_datetime(&self, value: &DateTime<Utc>, comparison: Comparison) -> bool {
        self.rare().datetime.as_ref().is_some_and(|operand| comparison.admits(value.cmp(operand)))
    }

    fn equals_list(&self, set: &PropertySet, values: &[Value]) -> bool {
        match &self.items {
            Some(items) => {
                items.len() == values.len()
                    && items.iter().all(|item| values.iter().any(|value| item.holds(set, value, Comparison::Eq)))
            }
            None => values.iter().any(|value| self.holds(set, value, Comparison::Eq)),
        }
    }
}

impl Comparison {
    const fn admits(self, order: Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
        }
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        let special =
            |char| matches!(char, '\\' | '.' | '+' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$');
        let pieces = (!text.contains(special)).then(|| text.split('*').map(Into::into).collect());
        Self { pieces, regex: OnceLock::new() }
    }

    fn matches(&self, text: &str, value: &str) -> bool {
        match &self.pieces {
            // A star does not cross a line break; values from JSON have none.
            Some(pieces) if !value.contains('\n') => glob(pieces, value),
            _ => self.regex(text).is_some_and(|regex| regex.is_match(value)),
        }
    }

    fn regex(&self, text: &str) -> Option<&Regex> {
        let build = || {
            RegexBuilder::new(&format!("^{}$", text.replace('*', ".*")))
                .size_limit(REGEX_BYTES_MAX)
                .dfa_size_limit(REGEX_BYTES_MAX)
                .build()
                .ok()
        };
        self.regex.get_or_init(build).as_ref()
    }
}

fn glob(pieces: &[Box<str>], value: &str) -> bool {
    let (Some((first, rest)), Some(value_len)) = (pieces.split_first(), Some(value.len())) else { return false };
    let Some((last, middle)) = rest.split_last() else { return &**first == value };
    if first.len() + last.len() > value_len {
        return false;
    }
    let Some(mut value) = value.strip_prefix(&**first).and_then(|value| value.strip_suffix(&**last)) else {
        return false;
    };
    for piece in middle {
        match value.split_once(&**piece) {
            Some((_, behind)) => value = behind,
            None => return false,
        }
    }
    true
}

/// The items of a list text `[a,b]`; none when it is no list text.
pub fn list_items(text: &str) -> Option<Vec<&str>> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    if inner.is_empty() {
        return Some(Vec::new());
    }
    let item = |text: &'_ str| -> Option<()> { (!text.is_empty() && !text.contains(['[', ']'])).then_some(()) };
    inner
        .split(',')
        .map(|text| {
            let text = text.trim_start_matches([' ', '\t', '\r', '\n']);
            item(text).map(|()| text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;

    #[test]
    fn compare_vectors() {
        let vectors = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/market/compare.json"));
        let vectors: Json = serde_json::from_str(vectors).unwrap();
        let names = [
            ("eq", Comparison::Eq),
            ("lt", Comparison::Lt),
            ("le", Comparison::Le),
            ("gt", Comparison::Gt),
            ("ge", Comparison::Ge),
        ];
        for case in vectors["cases"].as_array().unwrap() {
            let value = Literal::parse(case["property_value"].as_str().unwrap()).unwrap();
            let operand = Operand::new(case["operand"].as_str().unwrap());
            for (name, comparison) in names {
                let expected = case["true_operators"].as_array().unwrap().iter().any(|held| held == name);
                assert_eq!(operand.compare(&value, comparison), expected, "{name} in {case}");
            }
        }
    }

    proptest! {
        #[test]
        fn plain_globs_agree_with_regular_expressions(pattern in "[ab*]{0,6}\\*[ab*]{0,6}", value in "[ab]{0,8}") {
            let quick = Pattern::new(&pattern);
            prop_assert!(quick.pieces.is_some());
            let regex = quick.regex(&pattern).unwrap().is_match(&value);
            prop_assert_eq!(quick.matches(&pattern, &value), regex);
        }

        #[test]
        fn any_operand_meets_any_value(operand in "\\PC*|[a\\[\\],*.()0-9]{0,12}", value in "\\PC*|[a*.()0-9]{0,12}") {
            let operand = Operand::new(&operand);
            for value in [Literal::String(value.clone()), Literal::List(vec![Literal::String(value)])] {
                let _ = operand.compare(&value, Comparison::Eq);
            }
        }
    }
}
