//! Usage to money (spec 60 §10.1): exact, in one function.

use alloy_primitives::Uint;
use golem_model::{Amount, DECIMALS};

/// Wide enough for the product of two 16-digit numbers at [`SCALE`] and a whole part of 60 digits.
type Wide = Uint<512, 8>;

/// Places at which products are summed. What lies below is 10⁻⁷² of a token's smallest unit.
const SCALE: i32 = 90;

/// Why usage cannot be billed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CostError {
    #[error("{usage} counters for {coeffs} coefficients")]
    Length { usage: usize, coeffs: usize },
    #[error("`{0}` is no amount of usage or price")]
    Number(String),
    #[error("the cost is larger than all tokens there are")]
    TooLarge,
}

/// Σ coefficient · usage + start price. Each number counts with 16 significant digits, the sum is exact and rounded once,
/// to whole units of the token, half up. `coeffs` has one element more than `usage`: the start price.
pub(crate) fn cost(coeffs: &[f64], usage: &[f64]) -> Result<Amount, CostError> {
    let length = || CostError::Length { usage: usage.len(), coeffs: coeffs.len() };
    let (start, coeffs) = coeffs.split_last().ok_or_else(length)?;
    if coeffs.len() != usage.len() {
        return Err(length());
    }
    let mut sum = Decimal::read(*start)?.at_scale()?;
    for (coefficient, counter) in coeffs.iter().zip(usage) {
        let product = Decimal::read(*coefficient)?.times(Decimal::read(*counter)?);
        sum = sum.checked_add(product.at_scale()?).ok_or(CostError::TooLarge)?;
    }
    let unit = power(SCALE.unsigned_abs() - DECIMALS);
    let (mut units, rest) = sum.div_rem(unit);
    if rest >= unit / Wide::from(2) {
        units = units.checked_add(Wide::ONE).ok_or(CostError::TooLarge)?;
    }
    let units = alloy_primitives::U256::checked_from_limbs_slice(units.as_limbs()).ok_or(CostError::TooLarge)?;
    let amount = Amount::from_wei(units);
    amount.money().map_err(|_| CostError::TooLarge)
}

/// `digits` · 10^`exponent`.
#[derive(Clone, Copy)]
struct Decimal {
    digits: u128,
    exponent: i32,
}

impl Decimal {
    /// Sixteen significant digits of a float that is a number and not negative.
    fn read(value: f64) -> Result<Self, CostError> {
        let bad = || CostError::Number(value.to_string());
        if !value.is_finite() || value < 0.0 {
            return Err(bad());
        }
        let text = format!("{:.15e}", value.abs());
        let (mantissa, exponent) = text.split_once('e').ok_or_else(bad)?;
        let digits = mantissa.replace('.', "").parse().map_err(|_| bad())?;
        let exponent: i32 = exponent.parse().map_err(|_| bad())?;
        Ok(Self { digits, exponent: exponent - 15 })
    }

    /// Both have 16 digits, so the product has 32.
    const fn times(self, other: Self) -> Self {
        Self { digits: self.digits.saturating_mul(other.digits), exponent: self.exponent + other.exponent }
    }

    fn at_scale(self) -> Result<Wide, CostError> {
        let digits = Wide::from(self.digits);
        if digits.is_zero() {
            return Ok(digits);
        }
        let shift = self.exponent + SCALE;
        let factor = Wide::from(10).checked_pow(Wide::from(shift.unsigned_abs()));
        match (factor, shift >= 0) {
            (Some(factor), true) => digits.checked_mul(factor).ok_or(CostError::TooLarge),
            (None, true) => Err(CostError::TooLarge),
            (Some(factor), false) => Ok(digits / factor),
            (None, false) => Ok(Wide::ZERO),
        }
    }
}

fn power(exponent: u32) -> Wide {
    Wide::from(10).saturating_pow(Wide::from(exponent))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(coeffs: &[f64], usage: &[f64], expected: &str) {
        assert_eq!(cost(coeffs, usage).unwrap().to_string(), expected, "{coeffs:?} {usage:?}");
    }

    #[test]
    fn recorded_bills_come_out_to_the_last_digit() {
        let coeffs = [0.0001, 0.0001, 0.01];
        check(&coeffs, &[0.215919, 19.008988245], "0.011922490724500000");
        check(&coeffs, &[0.25997, 39.006088587], "0.013926605858700000");
        check(&coeffs, &[0.282398, 49.00643058], "0.014928882858000000");
    }

    #[test]
    fn rounding_happens_once_and_half_goes_up() {
        check(&[0.0], &[], "0.000000000000000000");
        check(&[1.0, 0.0], &[5e-19], "0.000000000000000001");
        check(&[1.0, 0.0], &[4.999e-19], "0.000000000000000000");
        check(&[1.0, 1.0, 0.0], &[3e-19, 3e-19], "0.000000000000000001");
        check(&[1e300, 0.0], &[1e-300], "1.000000000000000000");
        check(&[1e-300, 0.5], &[1e-300], "0.500000000000000000");
        // Sixteen digits, not the seventeen that would tell all floats apart.
        check(&[1.0, 0.0], &[0.1 + 0.2], "0.300000000000000000");
    }

    #[test]
    fn what_cannot_be_billed_is_refused() {
        assert_eq!(cost(&[], &[]), Err(CostError::Length { usage: 0, coeffs: 0 }));
        assert_eq!(cost(&[1.0, 0.0], &[]), Err(CostError::Length { usage: 0, coeffs: 2 }));
        assert!(matches!(cost(&[1.0, 0.0], &[f64::NAN]), Err(CostError::Number(_))));
        assert!(matches!(cost(&[1.0, 0.0], &[-1.0]), Err(CostError::Number(_))));
        assert_eq!(cost(&[1e200, 0.0], &[1e200]), Err(CostError::TooLarge));
        assert_eq!(cost(&[1e50, 0.0], &[1.0]), Err(CostError::TooLarge));
    }

    proptest! {
        #[test]
        fn any_numbers_are_billed_or_refused(coeffs in proptest::collection::vec(any::<f64>(), 0..4),
                                             usage in proptest::collection::vec(any::<f64>(), 0..4)) {
            let _ = cost(&coeffs, &usage);
        }

        #[test]
        fn more_usage_never_costs_less(price in 0.0..1.0f64, start in 0.0..1.0f64, usage in 0.0..1e9f64, more in 0.0..1e6f64) {
            let of = |usage| cost(&[price, start], &[usage]).unwrap();
            prop_assert!(of(usage + more) >= of(usage));
        }
    }
}
