//! The `timeout` of long polls and actions (spec 32 §1.3, 41 §1, 50 §2.2).

use std::time::Duration;

use axum::http::StatusCode;

use crate::ApiError;

pub const POLL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Longest wait that is granted; a client that wants more asks again.
pub const POLL_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// The wait for `seconds` as a client wrote them: negative and `nan` do not wait, huge values are cut.
pub fn poll_timeout(seconds: Option<f64>, default: Duration) -> Duration {
    let Some(seconds) = seconds else { return default };
    if seconds.is_nan() || seconds <= 0.0 {
        return Duration::ZERO;
    }
    Duration::try_from_secs_f64(seconds).unwrap_or(POLL_TIMEOUT_MAX).min(POLL_TIMEOUT_MAX)
}

/// The same, but a negative or `nan` value is refused with 400.
pub fn checked_timeout(seconds: Option<f64>, default: Duration) -> Result<Duration, ApiError> {
    match seconds {
        Some(seconds) if seconds < 0.0 || seconds.is_nan() => Err(ApiError::text(
            StatusCode::BAD_REQUEST,
            "Query deserialize error: timeout must be a number of seconds, 0 or more",
        )),
        _ => Ok(poll_timeout(seconds, default)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_becomes_a_wait_within_bounds() {
        let check = |input, expected| assert_eq!(poll_timeout(input, POLL_TIMEOUT_DEFAULT), expected, "{input:?}");
        check(None, Duration::from_secs(5));
        check(Some(0.5), Duration::from_millis(500));
        check(Some(0.0), Duration::ZERO);
        check(Some(-1.0), Duration::ZERO);
        check(Some(f64::NAN), Duration::ZERO);
        check(Some(f64::INFINITY), POLL_TIMEOUT_MAX);
        check(Some(1e300), POLL_TIMEOUT_MAX);
        check(Some(f64::NEG_INFINITY), Duration::ZERO);
    }

    #[test]
    fn a_checked_timeout_refuses_what_is_no_wait() {
        for bad in [-0.1, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(checked_timeout(Some(bad), POLL_TIMEOUT_DEFAULT).unwrap_err().status(), 400);
        }
        assert_eq!(checked_timeout(Some(2.0), POLL_TIMEOUT_DEFAULT), Ok(Duration::from_secs(2)));
    }
}
