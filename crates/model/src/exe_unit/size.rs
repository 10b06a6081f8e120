use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes: an integer on the bus, an integer or text such as `10g`, `1.5 GiB` in JSON (spec 51 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size: write bytes, or a number with one of k, m, g, t, ki, mi, gi, ti")]
pub struct ParseByteSizeError(String);

/// Longest text that can be a size; what is longer is not quoted back.
const TEXT_LEN_MAX: usize = 40;
/// Digits kept behind the point; more cannot change a whole number of bytes below a tebibyte.
const FRACTION_DIGITS_MAX: usize = 12;

impl FromStr for ByteSize {
    type Err = ParseByteSizeError;

    fn from_str(text: &str) -> Result<Self, ParseByteSizeError> {
        let fail = || ParseByteSizeError(text.chars().take(TEXT_LEN_MAX).collect());
        if text.len() > TEXT_LEN_MAX {
            return Err(fail());
        }
        let lower = text.trim().to_ascii_lowercase();
        let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
        let (number, unit) = lower.split_at(end);
        let unit = match unit.trim() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "t" | "tb" => 1_000_000_000_000,
            "ki" | "kib" => 1 << 10,
            "mi" | "mib" => 1 << 20,
            "gi" | "gib" => 1 << 30,
            "ti" | "tib" => 1 << 40,
            _ => return Err(fail()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: u128 =
            if whole.is_empty() && !fraction.is_empty() { 0 } else { whole.parse().map_err(|_| fail())? };
        let fraction = fraction.get(..FRACTION_DIGITS_MAX).unwrap_or(fraction);
        let parts: u128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| fail())? };
        let scale = fraction.bytes().fold(1u128, |scale, _| scale * 10);
        let bytes =
            whole.checked_mul(unit).and_then(|bytes| bytes.checked_add(parts * unit / scale)).ok_or_else(fail)?;
        u64::try_from(bytes).map(Self).map_err(|_| fail())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;
        impl Visitor<'_> for Size {
            type Value = ByteSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes or text such as `10 GiB`")
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(value))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<ByteSize, E> {
                u64::try_from(value).map(ByteSize).map_err(|_| E::custom("a size is not negative"))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Size)
    }
}
