//! FlexBuffers to serde's shapes. What fits what: spec 20 §5.3 "Reader rules".

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::read::{Budget, DEPTH_MAX, Elements, Entries, ReadError, Slot};
use super::{Error, kind};

#[derive(Clone, Copy)]
pub(super) struct Reader<'de, 'b> {
    slot: Slot<'de>,
    budget: &'b Budget,
    depth: usize,
}

impl<'de, 'b> Reader<'de, 'b> {
    pub(super) fn root(buffer: &'de [u8], budget: &'b Budget) -> Result<Self, Error> {
        Ok(Self { slot: Slot::root(buffer, budget)?, budget, depth: 0 })
    }

    fn inside(&self) -> Result<usize, ReadError> {
        if self.depth >= DEPTH_MAX { Err(ReadError::TooDeep) } else { Ok(self.depth + 1) }
    }

    fn seq(&self) -> Result<Seq<'de, 'b>, Error> {
        Ok(Seq { elements: self.slot.elements()?, next: 0, budget: self.budget, depth: self.inside()? })
    }

    fn map(&self) -> Result<Map<'de, 'b>, Error> {
        Ok(Map { entries: self.slot.entries()?, next: 0, budget: self.budget, depth: self.inside()? })
    }

    fn mismatch(&self, expected: &str) -> Error {
        Error::Serde(format!("invalid type: {}, expected {expected}", kind_name(self.slot.kind)))
    }
}

fn kind_name(kind: u8) -> &'static str {
    match kind {
        kind::NULL => "null",
        kind::INT | kind::UINT | kind::INDIRECT_INT | kind::INDIRECT_UINT => "an integer",
        kind::FLOAT | kind::INDIRECT_FLOAT => "a float",
        kind::KEY | kind::STRING => "a string",
        kind::MAP => "a map",
        kind::BLOB => "bytes",
        kind::BOOL => "a boolean",
        _ => "a sequence",
    }
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.slot.kind {
            kind::NULL => visitor.visit_unit(),
            kind::INT | kind::INDIRECT_INT => visitor.visit_i64(self.slot.signed()?),
            kind::UINT | kind::INDIRECT_UINT => visitor.visit_u64(self.slot.unsigned()?),
            kind::FLOAT | kind::INDIRECT_FLOAT => visitor.visit_f64(self.slot.float()?),
            kind::BOOL => visitor.visit_bool(self.slot.bool()?),
            kind::KEY | kind::STRING => visitor.visit_borrowed_str(self.slot.text(self.budget)?),
            kind::BLOB => visitor.visit_borrowed_bytes(self.slot.blob(self.budget)?),
            kind::MAP => visitor.visit_map(self.map()?),
            _ if self.slot.is_vector() => visitor.visit_seq(self.seq()?),
            other => Err(ReadError::UnknownType(other).into()),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.slot.kind {
            kind::UINT => {
                let code = u32::try_from(self.slot.unsigned()?).ok().and_then(char::from_u32);
                visitor.visit_char(code.ok_or_else(|| self.mismatch("a character"))?)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.slot.kind == kind::NULL { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.slot.kind {
            kind::STRING => visitor.visit_enum(Variant { name: self.slot.text(self.budget)?, value: None }),
            kind::MAP => {
                let map = self.map()?;
                if map.entries.values.len == 0 {
                    return Err(self.mismatch("a map of one variant"));
                }
                let name = map.entries.keys.get(0, map.budget)?.text(map.budget)?;
                let slot = map.entries.values.get(0, map.budget)?;
                visitor.visit_enum(Variant { name, value: Some(Reader { slot, depth: map.depth, ..self }) })
            }
            _ => Err(self.mismatch("the name of a variant or a map of one variant")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.slot.check(self.budget, self.depth)?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

struct Seq<'de, 'b> {
    elements: Elements<'de>,
    next: usize,
    budget: &'b Budget,
    depth: usize,
}

impl<'de> de::SeqAccess<'de> for Seq<'de, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if self.next >= self.elements.len {
            return Ok(None);
        }
        let slot = self.elements.get(self.next, self.budget)?;
        self.next += 1;
        seed.deserialize(Reader { slot, budget: self.budget, depth: self.depth }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.elements.len - self.next)
    }
}

struct Map<'de, 'b> {
    entries: Entries<'de>,
    next: usize,
    budget: &'b Budget,
    depth: usize,
}

impl<'de> de::MapAccess<'de> for Map<'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if self.next >= self.entries.keys.len {
            return Ok(None);
        }
        let slot = self.entries.keys.get(self.next, self.budget)?;
        seed.deserialize(Key(slot.text(self.budget)?)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let slot = self.entries.values.get(self.next, self.budget)?;
        self.next += 1;
        seed.deserialize(Reader { slot, budget: self.budget, depth: self.depth })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.values.len - self.next)
    }
}

/// Key of a map or name of a variant.
struct Key<'de>(&'de str);

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(IntoDeserializer::<Error>::into_deserializer(self.0))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

struct Variant<'de, 'b> {
    name: &'de str,
    value: Option<Reader<'de, 'b>>,
}

impl<'de, 'b> de::EnumAccess<'de> for Variant<'de, 'b> {
    type Error = Error;
    type Variant = VariantValue<'de, 'b>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), Error> {
        Ok((seed.deserialize(Key(self.name))?, VariantValue(self.value)))
    }
}

struct VariantValue<'de, 'b>(Option<Reader<'de, 'b>>);

impl<'de, 'b> VariantValue<'de, 'b> {
    fn value(self) -> Result<Reader<'de, 'b>, Error> {
        self.0.ok_or_else(|| Error::Serde("a variant without its value".into()))
    }
}

impl<'de> de::VariantAccess<'de> for VariantValue<'de, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.0 {
            Some(value) => Ok(value.slot.check(value.budget, value.depth)?),
            None => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.value()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self.value()?.seq()?)
    }

    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(self.value()?.map()?)
    }
}
