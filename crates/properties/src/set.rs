use std::hash::Hasher;

use chrono::{DateTime, Utc};
use semver::Version;
use serde_json::Value as Json;

use crate::decimal::Decimal;
use crate::flatten::{FlattenError, flatten};
use crate::literal::Literal;

#[derive(Debug, thiserror::Error)]
#[error("Properties preprocessing error: {0}")]
pub struct PropertiesError(#[from] FlattenError);

/// Properties ready to be asked: names are found by hash, texts lie together in one piece of memory.
#[derive(Clone, Debug, Default)]
pub struct PropertySet {
    /// By hash of the name, then by name.
    entries: Box<[Entry]>,
    texts: Box<str>,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    hash: u64,
    name: Span,
    /// None for a property without a value.
    pub(crate) value: Option<Value>,
    aspects: Vec<(Box<str>, Box<str>)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Escaped, as in JSON text.
    String(Span),
    Bool(bool),
    Number(f64),
    Decimal(Box<Decimal>),
    DateTime(Box<DateTime<Utc>>),
    Version(Box<Version>),
    List(Box<[Self]>),
}

/// Stable hash of a name. A set that collides on purpose only makes its own look-ups slower, and those stay binary.
pub(crate) fn name_hash(name: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(name.as_bytes());
    hasher.finish()
}

impl PropertySet {
    /// From the text that is stored with an offer or a demand, or came from a peer.
    pub fn from_json_text(text: &str) -> Result<Self, PropertiesError> {
        let json: Json = serde_json::from_str(text).map_err(FlattenError::Json)?;
        Self::from_json(&json)
    }

    pub fn from_json(properties: &Json) -> Result<Self, PropertiesError> {
        let flat = flatten(properties)?;
        let mut builder = Builder::default();
        for (name, value) in flat.as_object().into_iter().flatten() {
            // The evaluator sees `name=value` texts and cuts at the first `=`; what is left of such a name never parses.
            if !name.contains('=')
                && let Some(literal) = Literal::from_json(value)
            {
                builder.put(name, Some(&literal));
            }
        }
        Ok(builder.build())
    }

    /// From `name=value` texts; a value that is no literal drops its property.
    pub fn from_flat<'t>(properties: impl IntoIterator<Item = &'t str>) -> Self {
        let mut builder = Builder::default();
        for text in properties {
            match text.split_once('=') {
                Some((name, value)) => {
                    if let Some(literal) = Literal::parse(value) {
                        builder.put(name, Some(&literal));
                    }
                }
                None => builder.put(text, None),
            }
        }
        builder.build()
    }

    /// Gives a property an aspect. No artifact on the wire has any.
    pub fn set_aspect(&mut self, name: &str, aspect: &str, value: &str) {
        if let Ok(at) = self.position(name_hash(name), name)
            && let Some(entry) = self.entries.get_mut(at)
        {
            entry.aspects.push((aspect.into(), value.into()));
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn get(&self, hash: u64, name: &str) -> Option<&Entry> {
        self.entries.get(self.position(hash, name).ok()?)
    }

    fn position(&self, hash: u64, name: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.hash.cmp(&hash).then_with(|| self.text(entry.name).cmp(name)))
    }

    pub(crate) fn text(&self, span: Span) -> &str {
        let start = span.start as usize;
        self.texts.get(start..start + span.len as usize).unwrap_or_default()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.entries.iter().map(|entry| (entry.hash, entry))
    }
}

impl Entry {
    pub(crate) fn aspect(&self, aspect: &str) -> Option<&str> {
        self.aspects.iter().rev().find(|(name, _)| &**name == aspect).map(|(_, value)| &**value)
    }
}

#[derive(Default)]
struct Builder {
    entries: Vec<Entry>,
    texts: String,
}

impl Builder {
    fn put(&mut self, name: &str, literal: Option<&Literal>) {
        let value = literal.map(|literal| self.value(literal));
        let entry = Entry { hash: name_hash(name), name: self.span(name), value, aspects: Vec::new() };
        self.entries.push(entry);
    }

    fn span(&mut self, text: &str) -> Span {
        let start = self.texts.len();
        self.texts.push_str(text);
        // Artifacts are far below 4 GiB; beyond that texts would read as empty.
        let short = |n: usize| u32::try_from(n).unwrap_or_default();
        Span { start: short(start), len: short(text.len()) }
    }

    fn value(&mut self, literal: &Literal) -> Value {
        match literal {
            Literal::String(text) => Value::String(self.span(text)),
            Literal::Bool(value) => Value::Bool(*value),
            Literal::Number(value) => Value::Number(*value),
            Literal::Decimal(text) => match text.parse() {
                Ok(decimal) => Value::Decimal(Box::new(decimal)),
                Err(_) => Value::String(self.span(text)),
            },
            Literal::DateTime(time) => Value::DateTime(Box::new(*time)),
            Literal::Version(version) => Value::Version(Box::new(version.clone())),
            Literal::List(items) => Value::List(items.iter().map(|item| self.value(item)).collect()),
        }
    }

    fn build(mut self) -> PropertySet {
        let texts = self.texts.into_boxed_str();
        let mut set = PropertySet { entries: Box::default(), texts };
        // Stable, so that of several entries with one name the last stays last.
        self.entries.sort_by(|a, b| a.hash.cmp(&b.hash).then_with(|| set.text(a.name).cmp(set.text(b.name))));
        let mut kept: Vec<Entry> = Vec::with_capacity(self.entries.len());
        for entry in self.entries {
            match kept.last_mut() {
                Some(last) if last.hash == entry.hash && set.text(last.name) == set.text(entry.name) => *last = entry,
                _ => kept.push(entry),
            }
        }
        set.entries = kept.into_boxed_slice();
        set
    }
}

impl PropertySet {
    /// Puts the texts of one value into an empty set, to compare it by itself.
    pub(crate) fn single(&mut self, literal: &Literal) -> Value {
        let mut builder = Builder::default();
        let value = builder.value(literal);
        self.texts = builder.texts.into_boxed_str();
        value
    }
}
