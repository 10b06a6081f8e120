//! Constraint texts (spec 30 §6): a recursive descent with the choices of a parsing expression grammar.

use crate::operand::Operand;
use crate::reference::PropertyRef;
use crate::set::name_hash;

/// Longest constraint text. Real filters have a few hundred bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Deepest nesting of filters.
const DEPTH_MAX: usize = 64;

/// Most equality terms whose operand is a pattern; each may cost the memory of a compiled expression.
const PATTERNS_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseConstraintsError {
    #[error("expected {expected} at byte {at}")]
    Syntax { expected: &'static str, at: usize },
    #[error("`{0}` is no property reference (`name`, `name$d`, `name$v`, `name$t` or `name[aspect]`)")]
    Reference(String),
    #[error("constraints are longer than {TEXT_BYTES_MAX} bytes")]
    TooLong,
    #[error("constraints are nested deeper than {DEPTH_MAX}")]
    TooDeep,
    #[error("constraints have more than {PATTERNS_MAX} patterns")]
    TooManyPatterns,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Lt,
    Le,
    Gt,
    Ge,
}

/// Compiled constraints.
#[derive(Debug)]
pub struct Constraints {
    root: Expression,
}

/// Tree of compiled constraints.
#[derive(Debug)]
pub enum Expression {
    Constant(bool),
    And(Box<[Self]>),
    Or(Box<[Self]>),
    Not(Box<Self>),
    Present(Box<Reference>),
    Compare(Box<Reference>, Comparison, Box<Operand>),
}

/// A property reference with what finds it quickly.
#[derive(Debug)]
pub struct Reference {
    pub property: PropertyRef,
    pub(crate) hash: u64,
}

impl Constraints {
    pub fn parse(text: &str) -> Result<Self, ParseConstraintsError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ParseConstraintsError::TooLong);
        }
        let mut parser = Parser { text, at: 0, depth: 0, furthest: (0, "`(`"), too_deep: false };
        let tree = parser.filter();
        if parser.too_deep {
            return Err(ParseConstraintsError::TooDeep);
        }
        let (at, expected) = parser.furthest;
        let tree = tree.ok_or(ParseConstraintsError::Syntax { expected, at })?;
        let mut patterns = 0;
        let root = compile(tree, &mut patterns)?;
        Ok(Self { root })
    }

    pub const fn root(&self) -> &Expression {
        &self.root
    }
}

/// Tree of pieces of the text. Whether a name is a proper reference is asked only of what the grammar kept.
enum Tree<'t> {
    Constant,
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    Present(&'t str),
    Compare(&'t str, Comparison, &'t str),
}

fn compile(tree: Tree<'_>, patterns: &mut usize) -> Result<Expression, ParseConstraintsError> {
    type All = Result<Box<[Expression]>, ParseConstraintsError>;
    let mut all = |trees: Vec<Tree<'_>>| -> All { trees.into_iter().map(|tree| compile(tree, patterns)).collect() };
    Ok(match tree {
        Tree::Constant => Expression::Constant(true),
        Tree::And(trees) => Expression::And(all(trees)?),
        Tree::Or(trees) => Expression::Or(all(trees)?),
        Tree::Not(tree) => Expression::Not(Box::new(compile(*tree, patterns)?)),
        Tree::Present(name) => Expression::Present(reference(name)?),
        Tree::Compare(name, comparison, operand) => {
            if comparison == Comparison::Eq && operand.contains('*') {
                *patterns += 1;
                if *patterns > PATTERNS_MAX {
                    return Err(ParseConstraintsError::TooManyPatterns);
                }
            }
            Expression::Compare(reference(name)?, comparison, Box::new(Operand::new(operand)))
        }
    })
}

fn reference(text: &str) -> Result<Box<Reference>, ParseConstraintsError> {
    let property =
        PropertyRef::parse(text).ok_or_else(|| ParseConstraintsError::Reference(text.chars().take(100).collect()))?;
    Ok(Box::new(Reference { hash: name_hash(&property.name), property }))
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    /// Where the parse came to a halt, for the error.
    furthest: (usize, &'static str),
    too_deep: bool,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blank(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn token(&mut self, token: &str, expected: &'static str) -> Option<()> {
        if self.rest().starts_with(token) {
            self.at += token.len();
            return Some(());
        }
        if self.at >= self.furthest.0 {
            self.furthest = (self.at, expected);
        }
        None
    }

    fn filter(&mut self) -> Option<Tree<'t>> {
        if self.rest().starts_with("()") {
            self.at += 2;
            return Some(Tree::Constant);
        }
        let start = self.at;
        self.depth += 1;
        let tree = self.bracketed();
        self.depth -= 1;
        if tree.is_none() {
            self.at = start;
        }
        tree
    }

    fn bracketed(&mut self) -> Option<Tree<'t>> {
        if self.depth > DEPTH_MAX {
            self.too_deep = true;
        }
        if self.too_deep {
            return None;
        }
        self.blank();
        self.token("(", "`(`")?;
        self.blank();
        let tree = self.content()?;
        self.blank();
        self.token(")", "`)`")?;
        self.blank();
        Some(tree)
    }

    fn content(&mut self) -> Option<Tree<'t>> {
        if self.operator("&") {
            return Some(Tree::And(self.filters()));
        }
        if self.operator("|") {
            return Some(Tree::Or(self.filters()));
        }
        let start = self.at;
        if self.operator("!") {
            if let Some(tree) = self.filter() {
                return Some(Tree::Not(Box::new(tree)));
            }
            self.at = start;
        }
        self.term()
    }

    fn operator(&mut self, operator: &str) -> bool {
        let start = self.at;
        self.blank();
        if self.rest().starts_with(operator) {
            self.at += operator.len();
            self.blank();
            return true;
        }
        self.at = start;
        false
    }

    fn filters(&mut self) -> Vec<Tree<'t>> {
        std::iter::from_fn(|| self.filter()).collect()
    }

    fn term(&mut self) -> Option<Tree<'t>> {
        let rest = self.rest();
        let name_len = rest.find(['=', '<', '>', '~']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at_checked(name_len)?;
        self.at += name_len;
        if rest.starts_with("=*") {
            self.at += 2;
            return Some(Tree::Present(name));
        }
        for (sign, comparison) in [
            ("=", Comparison::Eq),
            ("<=", Comparison::Le),
            ("<", Comparison::Lt),
            (">=", Comparison::Ge),
            (">", Comparison::Gt),
        ] {
            if let Some(rest) = rest.strip_prefix(sign) {
                let value = rest.split(')').next().unwrap_or_default();
                self.at += sign.len() + value.len();
                return Some(Tree::Compare(name, comparison, value));
            }
        }
        self.token("=", "one of `=`, `<`, `<=`, `>`, `>=`")?;
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::reference::Kind;

    fn property(reference: &Reference) -> Value {
        let kind = match reference.property.kind {
            Kind::Any => "any",
            Kind::Decimal => "decimal",
            Kind::Version => "version",
            Kind::DateTime => "datetime",
        };
        let mut json = json!({ "name": &*reference.property.name, "type": kind });
        if let Some(aspect) = &reference.property.aspect {
            json["aspect"] = json!(&**aspect);
        }
        json
    }

    fn as_json(expression: &Expression) -> Value {
        let all = |op, args: &[Expression]| json!({ "op": op, "args": args.iter().map(as_json).collect::<Vec<_>>() });
        match expression {
            Expression::Constant(value) => json!({ "op": "const", "value": value }),
            Expression::And(args) => all("and", args),
            Expression::Or(args) => all("or", args),
            Expression::Not(arg) => json!({ "op": "not", "arg": as_json(arg) }),
            Expression::Present(reference) => json!({ "op": "present", "prop": property(reference) }),
            Expression::Compare(reference, comparison, operand) => {
                let op = format!("{comparison:?}").to_lowercase();
                json!({ "op": op, "prop": property(reference), "value": operand.text() })
            }
        }
    }

    #[test]
    fn parse_vectors() {
        let vectors =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/market/constraints-parse.json"));
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let parsed = Constraints::parse(case["constraint"].as_str().unwrap());
            if case["expect"]["error"] == true {
                assert!(parsed.is_err(), "{case}");
            } else {
                let parsed = parsed.unwrap_or_else(|error| panic!("{error} in {case}"));
                assert_eq!(as_json(parsed.root()), case["expect"]["ast"], "{case}");
            }
        }
    }

    #[test]
    fn syntax_vectors() {
        let vectors =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/market/property-syntax.json"));
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let input = case["input"].as_str().unwrap();
            let got = match case["kind"].as_str().unwrap() {
                "flat-property" => Some(match input.split_once('=') {
                    Some((name, value)) => json!({ "name": name, "value": value }),
                    None => json!({ "name": input, "value": null }),
                }),
                "property-reference" => PropertyRef::parse(input).map(|reference| {
                    let kind = match reference.kind {
                        Kind::Any => None,
                        Kind::Decimal => Some("d"),
                        Kind::Version => Some("v"),
                        Kind::DateTime => Some("t"),
                    };
                    json!({ "name": &*reference.name, "aspect": reference.aspect.as_deref(), "type": kind })
                }),
                "list-operand" => crate::list_items(input).map(|items| json!({ "items": items })),
                kind => panic!("unknown kind {kind}"),
            };
            assert_eq!(got.unwrap_or_else(|| json!({ "error": true })), case["expect"], "{case}");
        }
    }

    #[test]
    fn errors_say_where() {
        for (text, error) in [
            ("", "expected `(` at byte 0"),
            ("(a=b", "expected `)` at byte 4"),
            ("(a)", "expected one of `=`, `<`, `<=`, `>`, `>=` at byte 3"),
            ("(a=*b)", "expected `)` at byte 4"),
            ("(a$x=1)", "`a$x` is no property reference (`name`, `name$d`, `name$v`, `name$t` or `name[aspect]`)"),
        ] {
            assert_eq!(Constraints::parse(text).unwrap_err().to_string(), error, "{text}");
        }
    }

    #[test]
    fn limits_are_parse_errors() {
        let deep = |depth: usize| format!("{}(a=b){}", "(!".repeat(depth), ")".repeat(depth));
        assert!(Constraints::parse(&deep(DEPTH_MAX - 1)).is_ok());
        assert_eq!(Constraints::parse(&deep(DEPTH_MAX)).unwrap_err(), ParseConstraintsError::TooDeep);
        assert_eq!(Constraints::parse(&deep(10_000)).unwrap_err(), ParseConstraintsError::TooDeep);
        let long = format!("(a={})", "b".repeat(TEXT_BYTES_MAX));
        assert_eq!(Constraints::parse(&long).unwrap_err(), ParseConstraintsError::TooLong);
        let many = format!("(&{})", "(a=b*)".repeat(PATTERNS_MAX + 1));
        assert_eq!(Constraints::parse(&many).unwrap_err(), ParseConstraintsError::TooManyPatterns);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC*|[()&|!=<>~*\\[\\],$dvtab1. ]{0,32}") {
            let _ = Constraints::parse(&text);
        }
    }
}
