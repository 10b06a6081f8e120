//! Finds the counterparts of an artifact among many without looking at most of them.
//!
//! A match needs every required term of both sides. So each entry is filed under what its properties can answer
//! ([`Index::answers`]) and under one thing that its constraints require ([`Index::requires`]); a question takes the
//! shortest list that must hold all results and evaluates that. Keys are hashes: a collision only adds a candidate.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::artifact::Artifact;
use crate::constraints::{Comparison, Constraints, Expression, Reference};
use crate::operand::Operand;
use crate::reference::Kind;
use crate::resolve::Truth;
use crate::set::{PropertySet, Value};

/// Removed entries stay in the lists until they outnumber the live ones and this.
const GARBAGE_MIN: usize = 1024;

/// Most alternatives of an `or` that the index follows.
const ALTERNATIVES_MAX: usize = 32;

type Key = u64;
type Slot = u32;
type Lists = HashMap<Key, Vec<Slot>, BuildHasherDefault<DefaultHasher>>;

/// Artifacts by id.
#[derive(Debug)]
pub struct Index<K> {
    slots: Vec<Option<(K, Arc<Artifact>)>>,
    places: HashMap<K, Slot>,
    /// What properties can answer, to the entries that have them.
    answers: Lists,
    /// One requirement of each entry's constraints.
    requires: Lists,
    /// Entries that require nothing the index understands.
    undemanding: Vec<Slot>,
}

/// What a question found and what it cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<K> {
    /// In the order of insertion.
    pub ids: Vec<K>,
    /// Number of artifacts that were evaluated.
    pub examined: usize,
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            places: HashMap::new(),
            answers: Lists::default(),
            requires: Lists::default(),
            undemanding: Vec::new(),
        }
    }
}

impl<K: Copy + Eq + Hash> Index<K> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub fn get(&self, id: &K) -> Option<&Arc<Artifact>> {
        let slot = self.places.get(id)?;
        self.slots.get(*slot as usize)?.as_ref().map(|(_, artifact)| artifact)
    }

    /// Adds an artifact; one of the same id is replaced.
    pub fn insert(&mut self, id: K, artifact: Arc<Artifact>) {
        self.remove(&id);
        let Ok(slot) = Slot::try_from(self.slots.len()) else { return };
        for key in answered(&artifact.properties) {
            self.answers.entry(key).or_default().push(slot);
        }
        let mut shortest: Option<(usize, Vec<Key>)> = None;
        for keys in required(&artifact.constraints) {
            let len = keys.iter().map(|key| self.requires.get(key).map_or(0, Vec::len)).sum();
            if shortest.as_ref().is_none_or(|(best, _)| len < *best) {
                shortest = Some((len, keys));
            }
        }
        match shortest {
            Some((_, keys)) => keys.into_iter().for_each(|key| self.requires.entry(key).or_default().push(slot)),
            None => self.undemanding.push(slot),
        }
        self.slots.push(Some((id, artifact)));
        self.places.insert(id, slot);
    }

    pub fn remove(&mut self, id: &K) {
        let Some(slot) = self.places.remove(id) else { return };
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            *entry = None;
        }
        let garbage = self.slots.len() - self.places.len();
        if garbage > GARBAGE_MIN && garbage > self.places.len() {
            let live = std::mem::take(self);
            for (id, artifact) in live.slots.into_iter().flatten() {
                self.insert(id, artifact);
            }
        }
    }

    /// Entries that match `artifact` in both directions.
    pub fn matches(&self, artifact: &Artifact) -> Found<K> {
        let by_answers = self.shortest_answers(&artifact.constraints);
        let mut by_requires: Vec<&[Slot]> = vec![&self.undemanding];
        by_requires.extend(answered(&artifact.properties).iter().filter_map(|key| self.list(&self.requires, *key)));
        let lists = match by_answers {
            Some(lists) if total(&lists) <= total(&by_requires) => lists,
            _ => by_requires,
        };
        self.examine(&lists, |entry| entry.matches(artifact))
    }

    /// Entries whose properties satisfy `constraints`, whatever they require themselves.
    pub fn satisfying(&self, constraints: &Constraints) -> Found<K> {
        let satisfies = |entry: &Artifact| constraints.evaluate(&entry.properties) == Truth::True;
        match self.shortest_answers(constraints) {
            Some(lists) => self.examine(&lists, satisfies),
            None => {
                let live = self.slots.iter().flatten();
                let ids = live.filter(|(_, entry)| satisfies(entry)).map(|(id, _)| *id).collect();
                Found { ids, examined: self.places.len() }
            }
        }
    }

    fn list<'i>(&'i self, lists: &'i Lists, key: Key) -> Option<&'i [Slot]> {
        lists.get(&key).map(Vec::as_slice)
    }

    /// The shortest lists that together hold everything that can satisfy `constraints`; none if nothing is required.
    fn shortest_answers(&self, constraints: &Constraints) -> Option<Vec<&[Slot]>> {
        let lists = |keys: Vec<Key>| keys.iter().filter_map(|key| self.list(&self.answers, *key)).collect::<Vec<_>>();
        required(constraints).into_iter().map(lists).min_by_key(|lists| total(lists))
    }

    fn examine(&self, lists: &[&[Slot]], fits: impl Fn(&Artifact) -> bool) -> Found<K> {
        let merged: Vec<Slot>;
        let slots: &[Slot] = match lists {
            [] => &[],
            [one] => one,
            many => {
                let mut all = many.concat();
                all.sort_unstable();
                all.dedup();
                merged = all;
                &merged
            }
        };
        let mut found = Found { ids: Vec::new(), examined: 0 };
        for slot in slots {
            if let Some((id, artifact)) = self.slots.get(*slot as usize).and_then(Option::as_ref) {
                found.examined += 1;
                if fits(artifact) {
                    found.ids.push(*id);
                }
            }
        }
        found
    }
}

fn total(lists: &[&[Slot]]) -> usize {
    lists.iter().map(|list| list.len()).sum()
}

/// What a term can require of a property.
#[derive(Hash)]
enum Fact<'t> {
    /// There is a value.
    Present,
    String(&'t str),
    Number(u64),
    Bool(bool),
    /// A value of a type that never comes from JSON.
    Other,
}

fn key(name_hash: u64, fact: &Fact<'_>) -> Key {
    let mut hasher = DefaultHasher::new();
    name_hash.hash(&mut hasher);
    fact.hash(&mut hasher);
    hasher.finish()
}

/// Equal numbers have equal bits: there is one zero.
fn number_bits(value: f64) -> u64 {
    if value == 0.0 { 0 } else { value.to_bits() }
}

/// All keys that the properties can answer, each once.
fn answered(set: &PropertySet) -> Vec<Key> {
    fn of_value(set: &PropertySet, hash: u64, value: &Value, keys: &mut Vec<Key>) {
        let fact = match value {
            Value::String(span) => Fact::String(set.text(*span)),
            Value::Number(value) => Fact::Number(number_bits(*value)),
            Value::Bool(value) => Fact::Bool(*value),
            Value::Decimal(_) | Value::DateTime(_) | Value::Version(_) => Fact::Other,
            Value::List(items) => return items.iter().for_each(|item| of_value(set, hash, item, keys)),
        };
        keys.push(key(hash, &fact));
    }
    let mut keys = Vec::with_capacity(2 * set.len());
    for (hash, entry) in set.entries() {
        keys.push(key(hash, &Fact::Present));
        if let Some(value) = &entry.value {
            of_value(set, hash, value, &mut keys);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Requirements that must all be met; each is met by any of its keys.
fn required(constraints: &Constraints) -> Vec<Vec<Key>> {
    let mut all = Vec::new();
    collect(constraints.root(), &mut all);
    all
}

fn collect(expression: &Expression, all: &mut Vec<Vec<Key>>) {
    match expression {
        Expression::And(operands) => operands.iter().for_each(|operand| collect(operand, all)),
        Expression::Or(operands) => all.extend(alternatives(operands)),
        Expression::Constant(_) | Expression::Not(_) => {}
        Expression::Present(reference) => all.push(vec![key(reference.hash, &Fact::Present)]),
        Expression::Compare(reference, comparison, operand) => all.push(compared(reference, *comparison, operand)),
    }
}

/// One requirement out of an `or`: of each operand any one requirement.
fn alternatives(operands: &[Expression]) -> Option<Vec<Key>> {
    let mut keys = Vec::new();
    for operand in operands {
        let mut requirements = Vec::new();
        collect(operand, &mut requirements);
        keys.extend(requirements.into_iter().min_by_key(Vec::len)?);
        if keys.len() > ALTERNATIVES_MAX {
            return None;
        }
    }
    Some(keys)
}

fn compared(reference: &Reference, comparison: Comparison, operand: &Operand) -> Vec<Key> {
    let exact = comparison == Comparison::Eq
        && reference.property.kind == Kind::Any
        && reference.property.aspect.is_none()
        && operand.is_plain();
    if !exact {
        return vec![key(reference.hash, &Fact::Present)];
    }
    let mut keys = vec![key(reference.hash, &Fact::String(operand.text())), key(reference.hash, &Fact::Other)];
    keys.extend(operand.number().map(|value| key(reference.hash, &Fact::Number(number_bits(value)))));
    match operand.text() {
        "true" => keys.push(key(reference.hash, &Fact::Bool(true))),
        "false" => keys.push(key(reference.hash, &Fact::Bool(false))),
        _ => {}
    }
    keys
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn artifact(properties: serde_json::Value, constraints: &str) -> Arc<Artifact> {
        Arc::new(Artifact::compile(&properties.to_string(), constraints).unwrap())
    }

    fn offer(n: usize) -> Arc<Artifact> {
        let subnet = if n.is_multiple_of(10) { "test".to_owned() } else { format!("net-{}", n % 7) };
        let runtime = ["vm", "wasmtime", "http-auth"][n % 3];
        artifact(
            json!({"golem.node.debug.subnet": subnet, "golem.runtime.name": runtime, "golem.inf.mem.gib": n % 16,
                   "golem.node.id.name": format!("node-{n}")}),
            &format!("(&(golem.srv.comp.expiration>1)(golem.node.debug.subnet={subnet}))"),
        )
    }

    fn demand(subnet: &str) -> Arc<Artifact> {
        artifact(
            json!({"golem.srv.comp.expiration": 2, "golem.node.debug.subnet": subnet}),
            &format!("(&(golem.node.debug.subnet={subnet})(golem.runtime.name=vm)(golem.inf.mem.gib>=4))"),
        )
    }

    #[test]
    fn only_candidates_are_examined_in_both_directions() {
        let mut offers = Index::new();
        (0..3000).for_each(|n| offers.insert(n, offer(n)));
        let found = offers.matches(&demand("test"));
        let expected: Vec<_> = (0..3000).filter(|n| offer(*n).matches(&demand("test"))).collect();
        assert_eq!(found.ids, expected);
        assert_eq!(found.examined, 300, "those of the subnet");

        let mut demands = Index::new();
        (0..1000).for_each(|n| demands.insert(n, demand(&format!("net-{}", n % 100))));
        let found = demands.matches(&offer(9));
        assert_eq!(found.ids, (0..1000).filter(|n| n % 100 == 2 && 9 % 3 == 0).collect::<Vec<_>>());
        assert_eq!(found.examined, 10);
    }

    #[test]
    fn removed_entries_are_not_found_and_are_swept() {
        let mut offers = Index::new();
        (0..4000).for_each(|n| offers.insert(n, offer(n)));
        (0..3990).for_each(|n| offers.remove(&n));
        assert_eq!(offers.len(), 10);
        assert!(offers.slots.len() <= 2 * GARBAGE_MIN);
        let constraints = Constraints::parse("()").unwrap();
        assert_eq!(offers.satisfying(&constraints).ids, (3990..4000).collect::<Vec<_>>());
    }

    fn any_side() -> impl Strategy<Value = Arc<Artifact>> {
        let value = prop_oneof![
            "[xy1]{0,2}".prop_map(|text| json!(text)),
            (0..3).prop_map(|n| json!(n)),
            any::<bool>().prop_map(|b| json!(b)),
            prop::collection::vec("[xy]", 0..3).prop_map(|items| json!(items)),
        ];
        let properties = prop::collection::btree_map("[ab]", value, 0..3);
        let term = "\\([ab](=\\*|=[xy1]|=1|=0|=-0|=true|=x\\*|=\\[x,y\\]|>0|\\$d>0)\\)";
        let group = prop_oneof![
            term.prop_map(|text| text),
            prop::collection::vec(term, 0..3).prop_map(|terms| format!("(&{})", terms.concat())),
            prop::collection::vec(term, 0..3).prop_map(|terms| format!("(|{})", terms.concat())),
            term.prop_map(|text| format!("(!{text})")),
        ];
        let constraints = prop::collection::vec(group, 0..3).prop_map(|groups| format!("(&{})", groups.concat()));
        (properties, constraints).prop_map(|(properties, constraints)| artifact(json!(properties), &constraints))
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_full_search_finds(
            sides in prop::collection::vec(any_side(), 0..20), question in any_side(), removed: u8
        ) {
            let mut index = Index::new();
            for (id, side) in sides.iter().enumerate() {
                index.insert(id, Arc::clone(side));
            }
            let removed = usize::from(removed) % 20;
            index.remove(&removed);
            let all = |fits: &dyn Fn(&Artifact) -> bool| {
                (0..sides.len()).filter(|id| *id != removed && fits(&sides[*id])).collect::<Vec<_>>()
            };
            prop_assert_eq!(index.matches(&question).ids, all(&|side| side.matches(&question)));
            let satisfies = |side: &Artifact| question.constraints.evaluate(&side.properties) == Truth::True;
            prop_assert_eq!(index.satisfying(&question.constraints).ids, all(&satisfies));
        }
    }
}
