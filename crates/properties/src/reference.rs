use std::fmt;

/// Type that a reference asks its property to be read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The natural type of the property.
    Any,
    Decimal,
    Version,
    DateTime,
}

/// Left side of a term: `name`, `name$d`, `name[aspect]` and so on (spec 30 §7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PropertyRef {
    pub name: Box<str>,
    pub aspect: Option<Box<str>>,
    pub kind: Kind,
}

impl PropertyRef {
    /// Parses the whole of `text`.
    pub fn parse(text: &str) -> Option<Self> {
        let is_syntax = |char| matches!(char, '[' | ']' | '$');
        let name_len = text.find(is_syntax).unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(name_len)?;
        let (aspect, rest) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (aspect, rest) = rest.split_once(']')?;
                if aspect.contains(is_syntax) {
                    return None;
                }
                (Some(aspect), rest)
            }
            None => (None, rest),
        };
        let kind = match rest {
            "" => Kind::Any,
            "$d" => Kind::Decimal,
            "$v" => Kind::Version,
            "$t" => Kind::DateTime,
            _ => return None,
        };
        Some(Self { name: name.into(), aspect: aspect.map(Into::into), kind })
    }
}

/// As results name it: without the type.
impl fmt::Display for PropertyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.aspect {
            Some(aspect) => write!(f, "{}[{aspect}]", self.name),
            None => f.write_str(&self.name),
        }
    }
}
