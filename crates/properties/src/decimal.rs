use std::cmp::Ordering;
use std::str::FromStr;

/// Decimal of any precision, for comparison only: `0.<digits> × 10^exponent`, without zeros at either end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    digits: Box<str>,
    exponent: i64,
}

#[derive(Debug)]
pub(crate) struct NoDecimal;

impl FromStr for Decimal {
    type Err = NoDecimal;

    fn from_str(text: &str) -> Result<Self, NoDecimal> {
        let (base, exponent) = match text.split_once(['e', 'E']) {
            Some((base, exponent)) => (base, exponent.parse::<i64>().map_err(|_| NoDecimal)?),
            None => (text, 0),
        };
        let (negative, base) = match base.strip_prefix('-') {
            Some(base) => (true, base),
            None => (false, base.strip_prefix('+').unwrap_or(base)),
        };
        let (whole, fraction) = base.split_once('.').unwrap_or((base, ""));
        let digits = [whole, fraction].concat();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NoDecimal);
        }
        let significant = digits.trim_start_matches('0');
        let leading = digits.len() - significant.len();
        let significant = significant.trim_end_matches('0');
        if significant.is_empty() {
            return Ok(Self { negative: false, digits: "".into(), exponent: 0 });
        }
        let shift = |n: usize| i64::try_from(n).map_err(|_| NoDecimal);
        let exponent = exponent
            .checked_add(shift(whole.len())?)
            .and_then(|sum| sum.checked_sub(shift(leading).ok()?))
            .ok_or(NoDecimal)?;
        Ok(Self { negative, digits: significant.into(), exponent })
    }
}

impl Decimal {
    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        // Digits have no trailing zeros, so a longer text with the same beginning is the larger magnitude.
        let magnitude =
            || self.exponent.cmp(&other.exponent).then_with(|| self.digits.as_bytes().cmp(other.digits.as_bytes()));
        self.sign().cmp(&other.sign()).then_with(|| if self.negative { magnitude().reverse() } else { magnitude() })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn equal_values_have_one_form() {
        for (a, b) in [("1.50", "1.5"), ("1e3", "1000"), ("0.0", "-0"), ("+.5", "0.5e0"), ("5.", "5"), ("00100", "1e2")]
        {
            assert_eq!(decimal(a), decimal(b), "{a} {b}");
        }
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for text in ["", ".", "-", "x", "1e", "1.2.3", "--1", "1e99999999999999999999", "1_0", " 1"] {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn order_is_that_of_integers(a: i64, b: i64, shift in -40i64..40) {
            let text = |n: i64| format!("{n}e{shift}");
            prop_assert_eq!(decimal(&text(a)).cmp(&decimal(&text(b))), a.cmp(&b));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC*|[-+0-9.e]{0,12}") {
            let _ = text.parse::<Decimal>();
        }
    }
}
