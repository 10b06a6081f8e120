//! Settings of the payment service and the environment they come from (spec 22c, 40 §6.1, §7.6).

use std::time::Duration;

use golem_model::Amount;
use golem_payment_core::cycle::Defaults;
use golem_payment_core::sync::Backoff;

/// When what was accepted is paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Settle {
    /// At the end of a cycle, so that one transfer pays for many documents.
    #[default]
    Cycle,
    /// As soon as it is accepted. For development networks, where nobody waits for a cheaper block.
    AtOnce,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub settle: Settle,
    pub cycle: Defaults,
    /// Sums to one payee that are not above this wait for more.
    pub smallest_payment: Amount,
    pub sync: Backoff,
    /// Pause after an error of this node itself while peers are told.
    pub sync_error_pause: Duration,
    /// Allocations without a deposit are granted unseen.
    pub skip_allocation_validation: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            settle: Settle::default(),
            cycle: Defaults::default(),
            smallest_payment: Amount::ZERO,
            sync: Backoff::default(),
            sync_error_pause: Duration::from_secs(600),
            skip_allocation_validation: false,
        }
    }
}

/// A variable that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("environment variable `{name}` has the unreadable value `{value}`; hint: {hint}")]
pub struct ConfigError {
    name: &'static str,
    value: String,
    hint: &'static str,
}

const SPAN: &str = "write a time span like `5m`, `24h` or `1h 30m`";
const NUMBER: &str = "write a number";

impl Config {
    /// Reads the environment through `var`:
    ///
    /// | variable | default | meaning |
    /// |---|---|---|
    /// | `PAYMENT_CYCLE_DEFAULT_INTERVAL` | 24h, test networks 5m | how often is paid |
    /// | `PAYMENT_CYCLE_DEFAULT_EXTRA_PAY_TIME` | 1h, test networks 4m | how long before a due date |
    /// | `GOLEM_PAYMENT_SETTLE` | `cycle` | `at-once`: pay what is accepted at once |
    /// | `MIN_PAYMENT_AMOUNT_GLM` | 0 | sums to one payee up to this wait for more |
    /// | `YA_PAYMENT_SYNC_NOTIF_BACKOFF_INITIAL_DELAY` | 30s | first repetition of a lost message |
    /// | `YA_PAYMENT_SYNC_NOTIF_BACKOFF_EXPONENT` | 6 | growth of the delay |
    /// | `YA_PAYMENT_SYNC_NOTIF_BACKOFF_CAP` | 1day | longest delay |
    /// | `YA_PAYMENT_SYNC_NOTIF_BACKOFF_MAX_RETRIES` | none | repetitions before giving up |
    /// | `YA_PAYMENT_SYNC_NOTIF_BACKOFF_ERROR_DELAY` | 10m | pause after an own error |
    /// | `YAGNA_DEV_SKIP_ALLOCATION_VALIDATION` | off | `1`: allocations are not checked against the balance |
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let text = |name: &'static str| var(name).map(|value| value.trim().to_owned()).filter(|text| !text.is_empty());
        let span = |name| parse(name, text(name), SPAN, |value| humantime::parse_duration(value).ok());
        let number =
            |name| parse(name, text(name), NUMBER, |value| value.parse::<f64>().ok().filter(|n| n.is_finite()));
        let defaults = Self::default();
        let settle =
            parse("GOLEM_PAYMENT_SETTLE", text("GOLEM_PAYMENT_SETTLE"), "`cycle` or `at-once`", |value| match value {
                "cycle" => Some(Settle::Cycle),
                "at-once" => Some(Settle::AtOnce),
                _ => None,
            })?;
        let smallest = parse("MIN_PAYMENT_AMOUNT_GLM", text("MIN_PAYMENT_AMOUNT_GLM"), NUMBER, |value| {
            value.parse::<Amount>().ok()?.money().ok()
        })?;
        let retries_max = parse(
            "YA_PAYMENT_SYNC_NOTIF_BACKOFF_MAX_RETRIES",
            text("YA_PAYMENT_SYNC_NOTIF_BACKOFF_MAX_RETRIES"),
            NUMBER,
            |value| value.parse().ok(),
        )?;
        Ok(Self {
            settle: settle.unwrap_or_default(),
            cycle: Defaults {
                interval: span("PAYMENT_CYCLE_DEFAULT_INTERVAL")?,
                extra: span("PAYMENT_CYCLE_DEFAULT_EXTRA_PAY_TIME")?,
            },
            smallest_payment: smallest.unwrap_or_default(),
            sync: Backoff {
                initial: span("YA_PAYMENT_SYNC_NOTIF_BACKOFF_INITIAL_DELAY")?.unwrap_or(defaults.sync.initial),
                exponent: number("YA_PAYMENT_SYNC_NOTIF_BACKOFF_EXPONENT")?.unwrap_or(defaults.sync.exponent),
                cap: span("YA_PAYMENT_SYNC_NOTIF_BACKOFF_CAP")?.unwrap_or(defaults.sync.cap),
                retries_max,
            },
            sync_error_pause: span("YA_PAYMENT_SYNC_NOTIF_BACKOFF_ERROR_DELAY")?.unwrap_or(defaults.sync_error_pause),
            skip_allocation_validation: text("YAGNA_DEV_SKIP_ALLOCATION_VALIDATION")
                .is_some_and(|value| value == "1" || value == "true"),
        })
    }
}

fn parse<T>(
    name: &'static str,
    value: Option<String>,
    hint: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ConfigError> {
    match value {
        None => Ok(None),
        Some(value) => match read(&value) {
            Some(read) => Ok(Some(read)),
            None => Err(ConfigError { name, value, hint }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read_or_refused() {
        let with = |name: &'static str, value: &'static str| {
            Config::from_env(move |asked| (asked == name).then(|| value.to_owned()))
        };
        let config = with("PAYMENT_CYCLE_DEFAULT_INTERVAL", "1h 30m").unwrap();
        assert_eq!(config.cycle.interval, Some(Duration::from_secs(5400)));
        assert_eq!(with("GOLEM_PAYMENT_SETTLE", "at-once").unwrap().settle, Settle::AtOnce);
        assert_eq!(with("MIN_PAYMENT_AMOUNT_GLM", "0.5").unwrap().smallest_payment.to_string(), "0.5");
        assert!(with("PAYMENT_CYCLE_DEFAULT_INTERVAL", "soon").unwrap_err().to_string().contains("`soon`"));
        assert!(with("MIN_PAYMENT_AMOUNT_GLM", "-1").is_err());
        assert_eq!(Config::from_env(|_| None).unwrap().sync, Backoff::default());
    }
}
