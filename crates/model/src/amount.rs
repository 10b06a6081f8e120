//! Amounts of GLM as they stand in documents (spec 40 §2.3).
//!
//! An [`Amount`] is an exact decimal that remembers how many places it was written with, because peers sign and echo
//! that text. Comparison is numeric. What is paid is whole units of the token (10⁻¹⁸): [`Amount::money`] is the check
//! at every entrance, [`Amount::wei`] the number of units.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use alloy_primitives::U256;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// Places of the token's smallest unit.
pub const DECIMALS: u32 = 18;

/// Largest exponent and number of places that are read; beyond it a short text would become a huge number.
const PLACES_MAX: u32 = 60;

/// Places that an amount can have: a float has 16 digits of its own before its exponent moves the point.
const SCALE_MAX: u32 = PLACES_MAX + 16;

/// Largest amount that enters the books, in whole GLM: far above all tokens there are, and low enough that sums of
/// billions of such amounts fit the integer behind.
const WHOLE_MAX_EXPONENT: u32 = 40;

/// An exact decimal with the scale it was written with.
#[derive(Clone, Copy)]
pub struct Amount {
    negative: bool,
    digits: U256,
    /// Places after the point, at most [`SCALE_MAX`].
    scale: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAmountError {
    #[error("Failed to parse empty string")]
    Empty,
    #[error("invalid digit found in string")]
    Digit,
    #[error("the amount has more than {SCALE_MAX} places or too many digits")]
    TooLong,
}

/// Why an amount does not enter the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("the amount is negative")]
    Negative,
    #[error("the amount has more than {DECIMALS} decimal places")]
    TooPrecise,
    #[error("the amount is larger than all tokens there are")]
    TooLarge,
}

impl Amount {
    /// Prints as `0`.
    pub const ZERO: Self = Self { negative: false, digits: U256::ZERO, scale: 0 };

    /// Whole GLM.
    pub fn whole(glm: u64) -> Self {
        Self { negative: false, digits: U256::from(glm), scale: 0 }
    }

    /// An amount of the chain, with all 18 places.
    pub const fn from_wei(wei: U256) -> Self {
        Self { negative: false, digits: wei, scale: DECIMALS }
    }

    /// The same number without zeros at its end, as balances are shown.
    #[must_use]
    pub fn trimmed(self) -> Self {
        let ten = U256::from(10);
        let Self { negative, mut digits, mut scale } = self;
        while scale > 0 && (digits % ten).is_zero() {
            digits /= ten;
            scale -= 1;
        }
        Self { negative, digits, scale }
    }

    /// Units of the token, cut toward zero. A negative amount has none, one beyond 256 bits all of them.
    pub fn wei(&self) -> U256 {
        if self.negative {
            return U256::ZERO;
        }
        match self.scale.checked_sub(DECIMALS) {
            Some(over) => self.digits.checked_div(power(over)).unwrap_or_default(),
            None => self.digits.saturating_mul(power(DECIMALS - self.scale)),
        }
    }

    /// The amount as it may enter the books: not negative, whole units, at most 18 places.
    pub fn money(&self) -> Result<Self, AmountError> {
        if self.negative {
            return Err(AmountError::Negative);
        }
        let cut = if self.scale > DECIMALS { self.cut_to_units()? } else { *self };
        if cut.digits.checked_div(power(cut.scale)).unwrap_or_default() > power(WHOLE_MAX_EXPONENT) {
            return Err(AmountError::TooLarge);
        }
        Ok(cut)
    }

    fn cut_to_units(&self) -> Result<Self, AmountError> {
        let divisor = power(self.scale - DECIMALS);
        let (digits, rest) = self.digits.div_rem(divisor);
        if rest.is_zero() {
            Ok(Self { negative: self.negative, digits, scale: DECIMALS })
        } else {
            Err(AmountError::TooPrecise)
        }
    }

    pub fn is_zero(&self) -> bool {
        self.digits.is_zero()
    }

    pub const fn is_negative(&self) -> bool {
        self.negative
    }

    /// Places after the point.
    pub const fn scale(&self) -> u32 {
        self.scale
    }

    /// Sum with the larger scale of the two; none when it leaves 256 bits.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let (a, b, scale) = aligned(&self, &other)?;
        let (negative, digits) = if self.negative == other.negative {
            (self.negative, a.checked_add(b)?)
        } else if a >= b {
            (self.negative, a - b)
        } else {
            (other.negative, b - a)
        };
        Some(Self { negative: negative && !digits.is_zero(), digits, scale })
    }

    /// Difference with the larger scale of the two.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(Self { negative: !other.negative && !other.digits.is_zero(), ..other })
    }

    /// `self − other`, or zero with the larger scale when `other` is larger.
    #[must_use]
    pub fn minus_or_zero(self, other: Self) -> Self {
        match self.checked_sub(other) {
            Some(rest) if !rest.negative => rest,
            _ => Self { negative: false, digits: U256::ZERO, scale: self.scale.max(other.scale) },
        }
    }

    /// Sum of amounts that have passed [`Self::money`]; none on overflow.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    fn parse(text: &str) -> Result<Self, ParseAmountError> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (text, 0),
        };
        let (negative, mantissa) = match mantissa.as_bytes().first() {
            None => return Err(ParseAmountError::Empty),
            Some(b'-') => (true, mantissa.get(1..).unwrap_or_default()),
            Some(b'+') => (false, mantissa.get(1..).unwrap_or_default()),
            Some(_) => (false, mantissa),
        };
        let (mut digits, mut places, mut seen, mut point) = (U256::ZERO, 0_u32, false, false);
        for byte in mantissa.bytes() {
            match byte {
                b'0'..=b'9' => {
                    digits = push_digit(digits, byte - b'0').ok_or(ParseAmountError::TooLong)?;
                    places += u32::from(point);
                    seen = true;
                    if places > SCALE_MAX {
                        return Err(ParseAmountError::TooLong);
                    }
                }
                b'_' if seen => {}
                b'.' if !point => point = true,
                _ => return Err(ParseAmountError::Digit),
            }
        }
        if !seen {
            return Err(ParseAmountError::Digit);
        }
        Self::scaled(negative, digits, places, exponent)
    }

    /// `digits` · 10^(`exponent` − `places`).
    fn scaled(negative: bool, digits: U256, places: u32, exponent: i32) -> Result<Self, ParseAmountError> {
        let negative = negative && !digits.is_zero();
        let shift = i64::from(exponent) - i64::from(places);
        let size = u32::try_from(shift.unsigned_abs()).map_err(|_| ParseAmountError::TooLong)?;
        if shift <= 0 {
            return if size <= SCALE_MAX {
                Ok(Self { negative, digits, scale: size })
            } else {
                Err(ParseAmountError::TooLong)
            };
        }
        let digits = digits.checked_mul(power(size)).ok_or(ParseAmountError::TooLong)?;
        Ok(Self { negative, digits, scale: 0 })
    }

    /// A JSON fraction: 16 significant digits of the 64-bit float (spec 40 §2.3).
    fn from_float(value: f64) -> Result<Self, ParseAmountError> {
        if !value.is_finite() {
            return Err(ParseAmountError::Digit);
        }
        Self::parse(&format!("{value:.15e}"))
    }
}

fn parse_exponent(text: &str) -> Result<i32, ParseAmountError> {
    let exponent: i32 = text.parse().map_err(|_| ParseAmountError::Digit)?;
    if exponent.unsigned_abs() > PLACES_MAX { Err(ParseAmountError::TooLong) } else { Ok(exponent) }
}

fn push_digit(digits: U256, digit: u8) -> Option<U256> {
    digits.checked_mul(U256::from(10))?.checked_add(U256::from(digit))
}

/// 10^`exponent`, saturating.
fn power(exponent: u32) -> U256 {
    U256::from(10).checked_pow(U256::from(exponent)).unwrap_or(U256::MAX)
}

/// Digits of both at the larger scale.
fn aligned(a: &Amount, b: &Amount) -> Option<(U256, U256, u32)> {
    let scale = a.scale.max(b.scale);
    let at = |amount: &Amount| amount.digits.checked_mul(power(scale - amount.scale));
    Some((at(a)?, at(b)?, scale))
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> Ordering {
        let magnitude = || match aligned(self, other) {
            Some((a, b, _)) => a.cmp(&b),
            // One of them does not fit at the scale of the other: whole parts differ by far.
            None => {
                let whole = |amount: &Self| amount.digits.checked_div(power(amount.scale)).unwrap_or_default();
                whole(self).cmp(&whole(other)).then_with(|| other.scale.cmp(&self.scale))
            }
        };
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => magnitude(),
            (true, true) => magnitude().reverse(),
        }
    }
}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Amount {}

impl Default for Amount {
    fn default() -> Self {
        Self::ZERO
    }
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, ParseAmountError> {
        Self::parse(text)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits.to_string();
        let places = self.scale as usize;
        if self.negative {
            f.write_str("-")?;
        }
        if places == 0 {
            return f.write_str(&digits);
        }
        match digits.len().checked_sub(places).filter(|whole| *whole > 0) {
            Some(whole) => {
                let (whole, fraction) = digits.split_at_checked(whole).unwrap_or((&digits, ""));
                write!(f, "{whole}.{fraction}")
            }
            None => write!(f, "0.{digits:0>places$}"),
        }
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Decimal;
        impl Visitor<'_> for Decimal {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a decimal text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Amount, E> {
                Ok(Amount::whole(value))
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Amount, E> {
                Ok(Amount { negative: value < 0, ..Amount::whole(value.unsigned_abs()) })
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Amount, E> {
                Amount::from_float(value).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Decimal)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn amounts_are_read_printed_and_counted_as_the_vectors_say() {
        let vectors = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/payment/money.json"));
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let text = |key: &str| case[key].as_str().unwrap();
            let parsed = match text("kind") {
                "string" => serde_json::from_value::<Amount>(case["in"].clone()),
                "json" => serde_json::from_str(text("in_text")),
                "from_wei" => {
                    assert_eq!(Amount::from_wei(text("in").parse().unwrap()).to_string(), text("out"));
                    continue;
                }
                _ => {
                    check_arithmetic(case, text("a").parse().unwrap(), text("b").parse().unwrap());
                    continue;
                }
            };
            assert_eq!(parsed.is_ok(), case["ok"].as_bool().unwrap(), "{case}: {parsed:?}");
            let Ok(amount) = parsed else { continue };
            assert_eq!(amount.to_string(), text("out"), "{case}");
            if let Some(wei) = case["wei_truncated"].as_str() {
                assert_eq!(amount.wei().to_string(), wei, "{case}");
            }
        }
    }

    fn check_arithmetic(case: &Value, a: Amount, b: Amount) {
        match case["op"].as_str().unwrap() {
            "add" => assert_eq!(a.checked_add(b).unwrap().to_string(), case["out"]),
            "sub" => assert_eq!(a.checked_sub(b).unwrap().to_string(), case["out"]),
            "equal" => assert_eq!(a == b, case["out"]),
            op => panic!("unknown operation {op}"),
        }
    }

    #[test]
    fn only_whole_units_enter_the_books() {
        let check = |text: &str, expected| assert_eq!(text.parse::<Amount>().unwrap().money(), expected, "{text}");
        check("-1", Err(AmountError::Negative));
        check("1.9e-18", Err(AmountError::TooPrecise));
        check("1e60", Err(AmountError::TooLarge));
        check("0.0000001000000000000000", Ok("0.0000001".parse().unwrap()));
        check("1.50", Ok("1.5".parse().unwrap()));
        for refused in ["1e61", "1e400", "1e-400", "1e99999999999", &"9".repeat(90)] {
            assert!(refused.parse::<Amount>().is_err(), "{refused}");
        }
    }

    #[test]
    fn a_balance_is_shown_without_zeros_at_its_end() {
        let check = |wei: u128, text: &str| {
            assert_eq!(Amount::from_wei(U256::from(wei)).trimmed().to_string(), text);
        };
        check(999_999_671_649_218_700_000, "999.9996716492187");
        check(1000 * 10_u128.pow(18), "1000");
        check(0, "0");
    }

    fn money() -> impl Strategy<Value = Amount> {
        (any::<u64>(), 0..=DECIMALS).prop_map(|(digits, scale)| Amount {
            negative: false,
            digits: U256::from(digits),
            scale,
        })
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
            let _ = text.parse::<Amount>();
        }

        #[test]
        fn number_like_texts_survive_printing(text in "[-+]?[0-9_]{0,30}[.]?[0-9]{0,30}([eE]-?[0-9]{1,2})?") {
            if let Ok(amount) = text.parse::<Amount>() {
                let printed = amount.to_string();
                let again: Amount = printed.parse().unwrap();
                prop_assert_eq!(again, amount);
                prop_assert_eq!(again.to_string(), printed);
                let _ = amount.money();
                let _ = amount.wei();
            }
        }

        #[test]
        fn sums_are_undone_and_ordered(a in money(), b in money()) {
            let sum = a.checked_add(b).unwrap();
            prop_assert_eq!(sum.checked_sub(b).unwrap(), a);
            prop_assert_eq!(sum.minus_or_zero(a), b);
            prop_assert!(sum >= a && sum >= b);
            prop_assert_eq!(sum.wei(), a.wei() + b.wei());
            prop_assert_eq!(a.cmp(&b), a.wei().cmp(&b.wei()));
        }
    }
}
