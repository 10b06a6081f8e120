//! Three-valued evaluation (spec 30 §11, §12).

use crate::constraints::{Constraints, Expression, Reference};
use crate::reference::PropertyRef;
use crate::set::PropertySet;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    True,
    False,
    Undefined,
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

impl Constraints {
    /// Whether the properties satisfy the constraints.
    pub fn evaluate(&self, set: &PropertySet) -> Truth {
        evaluate(self.root(), set)
    }

    /// The same, with the references that the properties could not answer, as error texts name them.
    pub fn resolve<'c>(&'c self, set: &PropertySet) -> (Truth, Vec<&'c PropertyRef>) {
        resolve(self.root(), set)
    }
}

fn evaluate(expression: &Expression, set: &PropertySet) -> Truth {
    match expression {
        Expression::Constant(value) => (*value).into(),
        Expression::And(operands) => {
            let mut truth = Truth::True;
            for operand in operands {
                match evaluate(operand, set) {
                    Truth::False => return Truth::False,
                    Truth::Undefined => truth = Truth::Undefined,
                    Truth::True => {}
                }
            }
            truth
        }
        Expression::Or(operands) => {
            let mut truth = Truth::False;
            for operand in operands {
                match evaluate(operand, set) {
                    Truth::True => return Truth::True,
                    Truth::Undefined => truth = Truth::Undefined,
                    Truth::False => {}
                }
            }
            truth
        }
        Expression::Not(operand) => match evaluate(operand, set) {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Undefined => Truth::Undefined,
        },
        term => evaluate_term(term, set).0,
    }
}

/// The value of a term and the reference it could not resolve.
fn evaluate_term<'c>(term: &'c Expression, set: &PropertySet) -> (Truth, Option<&'c PropertyRef>) {
    let find = |reference: &Reference| set.get(reference.hash, &reference.property.name);
    match term {
        Expression::Present(reference) => {
            let present = find(reference).is_some_and(|entry| match &reference.property.aspect {
                Some(aspect) => entry.value.is_some() && entry.aspect(aspect).is_some(),
                None => true,
            });
            (present.into(), (!present).then_some(&reference.property))
        }
        Expression::Compare(reference, comparison, operand) => {
            let Some(entry) = find(reference) else { return (Truth::Undefined, Some(&reference.property)) };
            let Some(value) = &entry.value else { return (Truth::Undefined, Some(&reference.property)) };
            match &reference.property.aspect {
                // Whatever the operator: aspects know equality only.
                Some(aspect) => match entry.aspect(aspect) {
                    Some(aspect) => ((aspect == operand.text()).into(), None),
                    None => (Truth::Undefined, Some(&reference.property)),
                },
                None => match operand.holds_as(set, value, reference.property.kind, *comparison) {
                    Some(holds) => (holds.into(), None),
                    None => (Truth::Undefined, None),
                },
            }
        }
        Expression::Constant(_) | Expression::And(_) | Expression::Or(_) | Expression::Not(_) => {
            (Truth::Undefined, None)
        }
    }
}

fn resolve<'c>(expression: &'c Expression, set: &PropertySet) -> (Truth, Vec<&'c PropertyRef>) {
    let mut unresolved = Vec::new();
    match expression {
        Expression::Constant(value) => ((*value).into(), unresolved),
        Expression::And(operands) => {
            let mut truth = Truth::True;
            for operand in operands {
                match resolve(operand, set) {
                    (Truth::False, _) => return (Truth::False, Vec::new()),
                    (Truth::Undefined, references) => {
                        truth = Truth::Undefined;
                        unresolved.extend(references);
                    }
                    (Truth::True, _) => {}
                }
            }
            (truth, unresolved)
        }
        Expression::Or(operands) => {
            let mut truth = Truth::False;
            for operand in operands {
                match resolve(operand, set) {
                    (Truth::True, _) => return (Truth::True, Vec::new()),
                    (Truth::Undefined, references) => {
                        truth = Truth::Undefined;
                        unresolved.extend(references);
                    }
                    (Truth::False, references) => unresolved.extend(references),
                }
            }
            (truth, unresolved)
        }
        Expression::Not(operand) => match resolve(operand, set) {
            (Truth::True, _) => (Truth::False, unresolved),
            (Truth::False, _) => (Truth::True, unresolved),
            (Truth::Undefined, references) => (Truth::Undefined, references),
        },
        term => {
            let (truth, reference) = evaluate_term(term, set);
            unresolved.extend(reference);
            (truth, unresolved)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::literal::tests::any_json;

    #[test]
    fn resolve_vectors() {
        let vectors = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/market/resolve.json"));
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let mut set = match case["flat_properties"].as_array() {
                Some(flat) => PropertySet::from_flat(flat.iter().map(|text| text.as_str().unwrap())),
                None => PropertySet::from_json(&case["json_properties"]).unwrap(),
            };
            for aspect in case["aspects"].as_array().into_iter().flatten() {
                let text = |at: usize| aspect[at].as_str().unwrap();
                set.set_aspect(text(0), text(1), text(2));
            }
            let constraints = Constraints::parse(case["constraint"].as_str().unwrap()).unwrap();
            let (truth, unresolved) = constraints.resolve(&set);
            assert_eq!(format!("{truth:?}").to_lowercase(), case["expect"]["result"], "{case}");
            assert_eq!(constraints.evaluate(&set), truth, "{case}");
            if let Some(expected) = case["expect"]["unresolved"].as_array() {
                let expected: Vec<_> = expected.iter().map(|reference| reference["name"].as_str().unwrap()).collect();
                let names: Vec<_> = unresolved.iter().map(|reference| &*reference.name).collect();
                assert_eq!(names, expected, "{case}");
            }
        }
    }

    proptest! {
        #[test]
        fn both_ways_of_evaluation_agree(json in any_json(), text in "[(&|!]{0,3}\\([ab](=|<|>)[*ab1]{0,2}\\)\\){0,3}") {
            let set = PropertySet::from_json(&json).unwrap();
            if let Ok(constraints) = Constraints::parse(&text) {
                prop_assert_eq!(constraints.evaluate(&set), constraints.resolve(&set).0);
            }
        }
    }
}
