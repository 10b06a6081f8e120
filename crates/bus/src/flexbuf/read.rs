//! Checked access to the bytes of a buffer: slots, offsets, vectors, maps.

use std::cell::Cell;

use super::kind;

/// Vectors and maps inside one another.
pub const DEPTH_MAX: usize = 64;

/// A value takes at least one byte of a buffer that shares nothing; this much more is granted.
const VALUES_SPARE: usize = 64;

/// Writers may store equal texts once and point at them often; so much text is read per byte of the buffer.
const TEXT_PER_BYTE: usize = 8;
const TEXT_SPARE: usize = 1 << 20;

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("the buffer is shorter than it says")]
    OutOfBounds,
    #[error("unknown type {0}")]
    UnknownType(u8),
    #[error("a slot of this type cannot have this width")]
    BadWidth,
    #[error("a text is not UTF-8")]
    NotUtf8,
    #[error("the keys of a map are not as many as its values")]
    BadMap,
    #[error("nested deeper than {DEPTH_MAX}")]
    TooDeep,
    #[error("more values than bytes")]
    TooManyValues,
    #[error("more text than bytes")]
    TooMuchText,
}

/// What reading one buffer may still cost.
#[derive(Debug)]
pub(super) struct Budget {
    values: Cell<usize>,
    text: Cell<usize>,
}

impl Budget {
    pub(super) fn for_buffer(bytes: usize) -> Self {
        Self {
            values: Cell::new(bytes.saturating_add(VALUES_SPARE)),
            text: Cell::new(bytes.saturating_mul(TEXT_PER_BYTE).saturating_add(TEXT_SPARE)),
        }
    }

    fn take_value(&self) -> Result<(), ReadError> {
        self.values.set(self.values.get().checked_sub(1).ok_or(ReadError::TooManyValues)?);
        Ok(())
    }

    fn take_text(&self, bytes: usize) -> Result<(), ReadError> {
        self.text.set(self.text.get().checked_sub(bytes).ok_or(ReadError::TooMuchText)?);
        Ok(())
    }
}

/// One value: its slot and what the type byte says about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<'de> {
    buffer: &'de [u8],
    at: usize,
    /// Bytes of the slot.
    width: usize,
    pub(super) kind: u8,
    /// Bytes of the slots inside the object that this one points to.
    inner: usize,
}

/// Elements of a vector, or values of a map, that were checked to lie inside the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements<'de> {
    buffer: &'de [u8],
    at: usize,
    width: usize,
    pub(super) len: usize,
    /// Type of every element; without it, a type byte per element follows the elements.
    kind: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entries<'de> {
    pub(super) keys: Elements<'de>,
    pub(super) values: Elements<'de>,
}

impl<'de> Slot<'de> {
    pub(super) fn root(buffer: &'de [u8], budget: &Budget) -> Result<Self, ReadError> {
        let [slots @ .., packed, width] = buffer else { return Err(ReadError::OutOfBounds) };
        let width = usize::from(*width);
        if !matches!(width, 1 | 2 | 4 | 8) {
            return Err(ReadError::BadWidth);
        }
        let at = slots.len().checked_sub(width).ok_or(ReadError::OutOfBounds)?;
        budget.take_value()?;
        Ok(Self { buffer, at, width, kind: packed >> 2, inner: 1 << (packed & 3) })
    }

    pub(super) fn is_vector(self) -> bool {
        matches!(self.kind, kind::VECTOR..=kind::VECTOR_KEY | kind::FIXED_FIRST..=kind::FIXED_LAST | kind::VECTOR_BOOL)
    }

    pub(super) fn unsigned(self) -> Result<u64, ReadError> {
        if self.kind == kind::INDIRECT_UINT { self.indirect() } else { number(self.buffer, self.at, self.width) }
    }

    pub(super) fn signed(self) -> Result<i64, ReadError> {
        let (value, width) = if self.kind == kind::INDIRECT_INT {
            (self.indirect()?, self.inner)
        } else {
            (number(self.buffer, self.at, self.width)?, self.width)
        };
        let spare_bits = 64 - 8 * width.min(8);
        Ok((value << spare_bits).cast_signed() >> spare_bits)
    }

    pub(super) fn float(self) -> Result<f64, ReadError> {
        let (value, width) = if self.kind == kind::INDIRECT_FLOAT {
            (self.indirect()?, self.inner)
        } else {
            (number(self.buffer, self.at, self.width)?, self.width)
        };
        match width {
            4 => Ok(f32::from_bits(u32::try_from(value).map_err(|_| ReadError::BadWidth)?).into()),
            8 => Ok(f64::from_bits(value)),
            _ => Err(ReadError::BadWidth),
        }
    }

    pub(super) fn bool(self) -> Result<bool, ReadError> {
        Ok(self.unsigned()? != 0)
    }

    /// Text of a Key or a String.
    pub(super) fn text(self, budget: &Budget) -> Result<&'de str, ReadError> {
        let bytes = if self.kind == kind::KEY {
            let tail = self.buffer.get(self.target()?..).ok_or(ReadError::OutOfBounds)?;
            let len = tail.iter().position(|byte| *byte == 0).ok_or(ReadError::OutOfBounds)?;
            tail.get(..len).ok_or(ReadError::OutOfBounds)?
        } else {
            self.sized_bytes()?
        };
        budget.take_text(bytes.len())?;
        str::from_utf8(bytes).map_err(|_| ReadError::NotUtf8)
    }

    pub(super) fn blob(self, budget: &Budget) -> Result<&'de [u8], ReadError> {
        let bytes = self.sized_bytes()?;
        budget.take_text(bytes.len())?;
        Ok(bytes)
    }

    pub(super) fn elements(self) -> Result<Elements<'de>, ReadError> {
        let at = self.target()?;
        let (len, kind) = match self.kind {
            kind::FIXED_FIRST..=kind::FIXED_LAST => {
                let nth = self.kind - kind::FIXED_FIRST;
                (usize::from(nth / 3) + 2, Some(kind::INT + nth % 3))
            }
            kind::VECTOR | kind::MAP => (self.length_before(at)?, None),
            kind::VECTOR_INT..=kind::VECTOR_KEY => (self.length_before(at)?, Some(self.kind - kind::VECTOR)),
            kind::VECTOR_BOOL => (self.length_before(at)?, Some(kind::BOOL)),
            other => return Err(ReadError::UnknownType(other)),
        };
        Elements { buffer: self.buffer, at, width: self.inner, len, kind }.checked()
    }

    pub(super) fn entries(self) -> Result<Entries<'de>, ReadError> {
        let values = self.elements()?;
        let before = |slots: usize| values.at.checked_sub(slots * values.width).ok_or(ReadError::OutOfBounds);
        let offset_at = before(3)?;
        let offset = size(number(self.buffer, offset_at, values.width)?)?;
        let width = size(number(self.buffer, before(2)?, values.width)?)?;
        if !matches!(width, 1 | 2 | 4 | 8) {
            return Err(ReadError::BadWidth);
        }
        let at = offset_at.checked_sub(offset).ok_or(ReadError::OutOfBounds)?;
        let len_at = at.checked_sub(width).ok_or(ReadError::OutOfBounds)?;
        let len = size(number(self.buffer, len_at, width)?)?;
        if len != values.len {
            return Err(ReadError::BadMap);
        }
        let keys = Elements { buffer: self.buffer, at, width, len, kind: Some(kind::KEY) }.checked()?;
        Ok(Entries { keys, values })
    }

    /// Walks everything below, for what the reader's type ignores.
    pub(super) fn check(self, budget: &Budget, depth: usize) -> Result<(), ReadError> {
        if depth > DEPTH_MAX {
            return Err(ReadError::TooDeep);
        }
        match self.kind {
            kind::NULL | kind::BOOL => {}
            kind::INT | kind::INDIRECT_INT => drop(self.signed()?),
            kind::UINT | kind::INDIRECT_UINT => drop(self.unsigned()?),
            kind::FLOAT | kind::INDIRECT_FLOAT => drop(self.float()?),
            kind::KEY | kind::STRING => drop(self.text(budget)?),
            kind::BLOB => drop(self.blob(budget)?),
            kind::MAP => {
                let entries = self.entries()?;
                for index in 0..entries.values.len {
                    entries.keys.get(index, budget)?.check(budget, depth + 1)?;
                    entries.values.get(index, budget)?.check(budget, depth + 1)?;
                }
            }
            _ => {
                let elements = self.elements()?;
                for index in 0..elements.len {
                    elements.get(index, budget)?.check(budget, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn target(self) -> Result<usize, ReadError> {
        let offset = size(number(self.buffer, self.at, self.width)?)?;
        self.at.checked_sub(offset).ok_or(ReadError::OutOfBounds)
    }

    fn indirect(self) -> Result<u64, ReadError> {
        number(self.buffer, self.target()?, self.inner)
    }

    fn length_before(self, at: usize) -> Result<usize, ReadError> {
        let at = at.checked_sub(self.inner).ok_or(ReadError::OutOfBounds)?;
        size(number(self.buffer, at, self.inner)?)
    }

    fn sized_bytes(self) -> Result<&'de [u8], ReadError> {
        let at = self.target()?;
        let len = self.length_before(at)?;
        let end = at.checked_add(len).ok_or(ReadError::OutOfBounds)?;
        self.buffer.get(at..end).ok_or(ReadError::OutOfBounds)
    }
}

impl<'de> Elements<'de> {
    fn checked(self) -> Result<Self, ReadError> {
        let per_element = self.width + usize::from(self.kind.is_none());
        let bytes = self.len.checked_mul(per_element).ok_or(ReadError::OutOfBounds)?;
        let end = self.at.checked_add(bytes).ok_or(ReadError::OutOfBounds)?;
        if end > self.buffer.len() { Err(ReadError::OutOfBounds) } else { Ok(self) }
    }

    pub(super) fn get(self, index: usize, budget: &Budget) -> Result<Slot<'de>, ReadError> {
        budget.take_value()?;
        let (kind, inner) = match self.kind {
            Some(kind) => (kind, 1),
            None => {
                let packed = self.buffer.get(self.at + self.len * self.width + index).ok_or(ReadError::OutOfBounds)?;
                (packed >> 2, 1 << (packed & 3))
            }
        };
        Ok(Slot { buffer: self.buffer, at: self.at + index * self.width, width: self.width, kind, inner })
    }
}

fn number(buffer: &[u8], at: usize, width: usize) -> Result<u64, ReadError> {
    let bytes = at.checked_add(width).and_then(|end| buffer.get(at..end)).ok_or(ReadError::OutOfBounds)?;
    let mut all = [0; 8];
    all.get_mut(..width).ok_or(ReadError::BadWidth)?.copy_from_slice(bytes);
    Ok(u64::from_le_bytes(all))
}

fn size(value: u64) -> Result<usize, ReadError> {
    usize::try_from(value).map_err(|_| ReadError::OutOfBounds)
}
