//! The writer: values are collected on a stack and stored, children first, when their vector or map ends.

use super::{Error, kind};

/// Bytes of a slot, as the power of two that stands in a packed type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Width {
    W1,
    W2,
    W4,
    W8,
}

impl Width {
    const fn bytes(self) -> usize {
        1 << self as u8
    }

    const fn of_unsigned(value: u64) -> Self {
        match value {
            0..=0xff => Self::W1,
            0x100..=0xffff => Self::W2,
            0x1_0000..=0xffff_ffff => Self::W4,
            _ => Self::W8,
        }
    }

    const fn of_signed(value: i64) -> Self {
        match value {
            -0x80..=0x7f => Self::W1,
            -0x8000..=0x7fff => Self::W2,
            -0x8000_0000..=0x7fff_ffff => Self::W4,
            _ => Self::W8,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the question is whether the short form is exact")]
    #[expect(clippy::float_cmp, reason = "exactness is meant")]
    fn of_float(value: f64) -> Self {
        if f64::from(value as f32) == value { Self::W4 } else { Self::W8 }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    Null,
    Int(i64),
    UInt(u64),
    Float(f64),
    Bool(bool),
    /// Text without its NUL at `at`.
    Key {
        at: usize,
        len: usize,
    },
    /// Anything behind an offset.
    Stored {
        at: usize,
        width: Width,
        kind: u8,
    },
}

impl Item {
    const fn kind(self) -> u8 {
        match self {
            Self::Null => kind::NULL,
            Self::Int(_) => kind::INT,
            Self::UInt(_) => kind::UINT,
            Self::Float(_) => kind::FLOAT,
            Self::Bool(_) => kind::BOOL,
            Self::Key { .. } => kind::KEY,
            Self::Stored { kind, .. } => kind,
        }
    }

    /// Width of a scalar, or inside the object that an offset points to.
    fn own_width(self) -> Width {
        match self {
            Self::Int(value) => Width::of_signed(value),
            Self::UInt(value) => Width::of_unsigned(value),
            Self::Float(value) => Width::of_float(value),
            Self::Null | Self::Bool(_) | Self::Key { .. } => Width::W1,
            Self::Stored { width, .. } => width,
        }
    }

    /// Smallest slot that holds this as the element `index` of a vector whose storing begins at `start`.
    fn slot_width(self, start: usize, index: usize) -> Width {
        let (Self::Key { at, .. } | Self::Stored { at, .. }) = self else { return self.own_width() };
        for width in [Width::W1, Width::W2, Width::W4] {
            let slot = start.next_multiple_of(width.bytes()) + index * width.bytes();
            if Width::of_unsigned(unsigned(slot - at)) <= width {
                return width;
            }
        }
        Width::W8
    }

    fn packed(self, slot: Width) -> u8 {
        let width = match self {
            Self::Key { .. } | Self::Stored { .. } => self.own_width(),
            _ => slot.max(self.own_width()),
        };
        self.kind() << 2 | width as u8
    }
}

/// A buffer in the making.
#[derive(Debug, Default)]
pub(super) struct Writer {
    out: Vec<u8>,
    items: Vec<Item>,
    /// Keys written so far in the order of their bytes; equal keys are stored once.
    keys: Vec<(usize, usize)>,
}

impl Writer {
    pub(super) fn push(&mut self, item: Item) {
        self.items.push(item);
    }

    pub(super) fn push_text(&mut self, text: &str) {
        let item = self.store_bytes(text.as_bytes(), kind::STRING);
        self.out.push(0);
        self.items.push(item);
    }

    pub(super) fn push_blob(&mut self, bytes: &[u8]) {
        let item = self.store_bytes(bytes, kind::BLOB);
        self.items.push(item);
    }

    pub(super) fn push_key(&mut self, key: &str) -> Result<(), Error> {
        let found = self.keys.binary_search_by(|&(at, len)| text_at(&self.out, at, len).cmp(key.as_bytes()));
        let (at, len) = match found {
            Ok(index) => self.keys.get(index).copied().ok_or(Error::Key)?,
            Err(index) => {
                if key.as_bytes().contains(&0) {
                    return Err(Error::Key);
                }
                let entry = (self.out.len(), key.len());
                self.out.extend_from_slice(key.as_bytes());
                self.out.push(0);
                self.keys.insert(index, entry);
                entry
            }
        };
        self.items.push(Item::Key { at, len });
        Ok(())
    }

    /// Where the next vector or map begins on the stack; to be given to [`Self::end_vector`] or [`Self::end_map`].
    pub(super) fn start(&self) -> usize {
        self.items.len()
    }

    pub(super) fn end_vector(&mut self, start: usize) {
        let items = self.items.split_off(start.min(self.items.len()));
        let vector = self.store_vector(&items, vector_kind(&items), None);
        self.items.push(vector);
    }

    /// The items since `start` are keys and values in turn.
    pub(super) fn end_map(&mut self, start: usize) {
        let items = self.items.split_off(start.min(self.items.len()));
        let mut entries: Vec<(Item, Item)> = items
            .chunks_exact(2)
            .filter_map(|entry| match entry {
                [key, value] => Some((*key, *value)),
                _ => None,
            })
            .collect();
        entries.sort_by(|(a, _), (b, _)| self.key_text(*a).cmp(self.key_text(*b)));
        let (keys, values): (Vec<Item>, Vec<Item>) = entries.into_iter().unzip();
        let keys = self.store_vector(&keys, vector_kind(&keys), None);
        let map = self.store_vector(&values, kind::MAP, Some(keys));
        self.items.push(map);
    }

    /// Closes the buffer with its root.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let root = self.items.pop().unwrap_or(Item::Null);
        let width = root.slot_width(self.out.len(), 0);
        self.align(width);
        self.store(root, width);
        self.out.push(root.packed(width));
        self.out.push(1 << width as u8);
        self.out
    }

    fn key_text(&self, key: Item) -> &[u8] {
        match key {
            Item::Key { at, len } => text_at(&self.out, at, len),
            _ => &[],
        }
    }

    fn store_bytes(&mut self, bytes: &[u8], kind: u8) -> Item {
        let len = Item::UInt(unsigned(bytes.len()));
        let width = len.own_width();
        self.align(width);
        self.store(len, width);
        let at = self.out.len();
        self.out.extend_from_slice(bytes);
        Item::Stored { at, width, kind }
    }

    /// `keys` is the stored vector of keys when this is the vector of values of a map.
    fn store_vector(&mut self, items: &[Item], kind: u8, keys: Option<Item>) -> Item {
        let len = match kind {
            kind::FIXED_FIRST..=kind::FIXED_LAST => None,
            _ => Some(Item::UInt(unsigned(items.len()))),
        };
        let prefix = usize::from(len.is_some()) + if keys.is_some() { 2 } else { 0 };
        let start = self.out.len();
        let width = (items.iter().enumerate().map(|(index, item)| item.slot_width(start, index + prefix)))
            .chain(keys.map(|keys| keys.slot_width(start, 0)))
            .chain(len.map(Item::own_width))
            .max()
            .unwrap_or(Width::W1);
        self.align(width);
        if let Some(keys) = keys {
            self.store(keys, width);
            self.store(Item::UInt(unsigned(keys.own_width().bytes())), width);
        }
        if let Some(len) = len {
            self.store(len, width);
        }
        let at = self.out.len();
        for item in items {
            self.store(*item, width);
        }
        if matches!(kind, kind::MAP | kind::VECTOR) {
            self.out.extend(items.iter().map(|item| item.packed(width)));
        }
        Item::Stored { at, width, kind }
    }

    fn align(&mut self, width: Width) {
        self.out.resize(self.out.len().next_multiple_of(width.bytes()), 0);
    }

    fn store(&mut self, item: Item, width: Width) {
        let bytes = match item {
            Item::Null => [0; 8],
            Item::Int(value) => value.to_le_bytes(),
            Item::UInt(value) => value.to_le_bytes(),
            Item::Bool(value) => u64::from(value).to_le_bytes(),
            Item::Key { at, .. } | Item::Stored { at, .. } => unsigned(self.out.len() - at).to_le_bytes(),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "this width was chosen because the short form is exact"
            )]
            Item::Float(value) if width == Width::W4 => u64::from((value as f32).to_bits()).to_le_bytes(),
            Item::Float(value) => value.to_le_bytes(),
        };
        self.out.extend(bytes.iter().take(width.bytes()));
    }
}

fn text_at(out: &[u8], at: usize, len: usize) -> &[u8] {
    out.get(at..at + len).unwrap_or_default()
}

fn unsigned(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// Elements of one scalar type make a typed vector, two to four numbers one of fixed length.
fn vector_kind(items: &[Item]) -> u8 {
    let Some(first) = items.first().map(|item| item.kind()) else { return kind::VECTOR };
    if items.iter().any(|item| item.kind() != first) {
        return kind::VECTOR;
    }
    let fixed = match items.len() {
        2 => Some(kind::FIXED_FIRST),
        3 => Some(kind::FIXED_FIRST + 3),
        4 => Some(kind::FIXED_FIRST + 6),
        _ => None,
    };
    match first {
        kind::INT => fixed.unwrap_or(kind::VECTOR_INT),
        kind::UINT => fixed.map_or(kind::VECTOR_UINT, |fixed| fixed + 1),
        kind::FLOAT => fixed.map_or(kind::VECTOR_FLOAT, |fixed| fixed + 2),
        kind::KEY => kind::VECTOR_KEY,
        kind::BOOL => kind::VECTOR_BOOL,
        _ => kind::VECTOR,
    }
}
