//! Negotiation as a pure function of (policy, facts of now, demand, own last proposal), spec 60 §7 and 33 §5.
//!
//! What can change on our side of a negotiation are the four values of a [`Bargain`]; all else in an offer stands.
//! The components run in a fixed order, the cheap ones first, and the first rejection decides.
//! Deliberately absent: rules over identities and certificates, and manifests.

mod components;
mod memory;

use chrono::{DateTime, TimeDelta, Utc};
pub(crate) use golem_model::payment::CHOSEN_PLATFORM;
use golem_model::payment::PaymentPlatform;
use golem_model::reason::Reason;
use serde_json::{Value, json};

pub(crate) use components::expiration_of;
pub(crate) use memory::{Memory, Rejected};

use crate::properties::Properties;

pub(crate) const EXPIRATION: &str = "golem.srv.comp.expiration";
pub(crate) const ACCEPT_TIMEOUT: &str = "golem.com.payment.debit-notes.accept-timeout?";
pub(crate) const DEBIT_NOTE_INTERVAL: &str = "golem.com.scheme.payu.debit-note.interval-sec?";
pub(crate) const PAYMENT_TIMEOUT: &str = "golem.com.scheme.payu.payment-timeout-sec?";
pub(crate) const COEFFS: &str = "golem.com.pricing.model.linear.coeffs";

/// A negotiable number of seconds: what we offer and which values of others we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) min: u32,
    pub(crate) max: u32,
    pub(crate) own: u32,
}

/// What the operator wants, set by the options of `run` (spec 60 §1.3).
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// JSON pointers that a demand must have.
    pub(crate) required_fields: Vec<String>,
    pub(crate) agreements_max: usize,
    pub(crate) expiration_min: TimeDelta,
    pub(crate) expiration_max: TimeDelta,
    /// The same for demands without a deadline to accept debit notes.
    pub(crate) expiration_max_without_deadline: TimeDelta,
    /// Seconds within which a requestor accepts a debit note.
    pub(crate) accept_timeout: u32,
    pub(crate) debit_note_interval: Range,
    pub(crate) payment_timeout: Range,
    /// A demand that runs at least this long must pay in between.
    pub(crate) payment_timeout_required: TimeDelta,
    /// Take every demand as it is (`--negotiator-type` other than `Composite`).
    pub(crate) accept_all: bool,
}

impl Default for Policy {
    fn default() -> Self {
        let day = 24 * 60 * 60;
        Self {
            required_fields: vec!["/golem/com/payment/chosen-platform".to_owned()],
            agreements_max: 1,
            expiration_min: TimeDelta::minutes(5),
            expiration_max: TimeDelta::days(365 * 100),
            expiration_max_without_deadline: TimeDelta::minutes(30),
            accept_timeout: 240,
            debit_note_interval: Range { min: 1, max: day, own: 120 },
            payment_timeout: Range { min: 1, max: day, own: 120 },
            payment_timeout_required: TimeDelta::hours(10),
            accept_all: false,
        }
    }
}

/// What matters of this moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) now: DateTime<Utc>,
    pub(crate) agreements_open: usize,
    pub(crate) platforms: &'a [PaymentPlatform],
}

/// The negotiable part of our proposal.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bargain {
    pub(crate) accept_timeout: Option<u32>,
    pub(crate) debit_note_interval: Option<u32>,
    pub(crate) payment_timeout: Option<u32>,
    pub(crate) coeffs: Vec<f64>,
}

impl Bargain {
    /// Reads our own side of a proposal or agreement.
    pub(crate) fn read(offer: &Properties) -> Result<Self, Rejection> {
        Ok(Self {
            accept_timeout: seconds(offer, ACCEPT_TIMEOUT)?,
            debit_note_interval: seconds(offer, DEBIT_NOTE_INTERVAL)?,
            payment_timeout: seconds(offer, PAYMENT_TIMEOUT)?,
            coeffs: coeffs(offer)?.unwrap_or_default(),
        })
    }

    /// The offer with these values; those that are none are left out.
    pub(crate) fn write(&self, offer: &Properties) -> Properties {
        let mut out = offer.clone();
        for (key, value) in [
            (ACCEPT_TIMEOUT, self.accept_timeout),
            (DEBIT_NOTE_INTERVAL, self.debit_note_interval),
            (PAYMENT_TIMEOUT, self.payment_timeout),
        ] {
            match value {
                Some(seconds) => drop(out.insert(key.to_owned(), json!(seconds))),
                None => drop(out.shift_remove(key)),
            }
        }
        out.insert(COEFFS.to_owned(), json!(self.coeffs));
        out
    }
}

/// Why a proposal or agreement is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) message: String,
    pub(crate) is_final: bool,
}

impl Rejection {
    fn last(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_final: true }
    }

    fn for_now(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_final: false }
    }

    /// The shape of spec 60 §7.4.
    pub(crate) fn reason(&self) -> Reason {
        Reason::new(self.message.clone()).with(Reason::IS_FINAL, self.is_final)
    }
}

/// How a component or all of them see a demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Agreed {
    /// Both sides say the same.
    Ready,
    /// We changed our side; the other one has to agree to that.
    Negotiating,
}

/// Judges a demand and moves `bargain` towards it where the policy allows.
pub(crate) fn negotiate(
    policy: &Policy,
    facts: Facts<'_>,
    demand: &Properties,
    bargain: &mut Bargain,
) -> Result<Agreed, Rejection> {
    if policy.accept_all {
        return Ok(Agreed::Ready);
    }
    components::required_fields(policy, demand)?;
    components::platform(facts, demand)?;
    components::agreements_limit(policy, facts)?;
    let expires = components::expiration(policy, facts, demand)?;
    let steps = [
        components::accept_timeout(demand, bargain)?,
        components::debit_note_interval(policy, demand, bargain)?,
        components::payment_timeout(policy, facts, expires, demand, bargain)?,
        components::price(demand, bargain)?,
    ];
    Ok(steps.into_iter().max().unwrap_or(Agreed::Ready))
}

/// Judges an agreement, whose offer holds the negotiated values: everything must be agreed by now (spec 60 §7.6).
pub(crate) fn examine(
    policy: &Policy,
    facts: Facts<'_>,
    demand: &Properties,
    offer: &Properties,
) -> Result<(), Rejection> {
    let mut bargain = Bargain::read(offer)?;
    match negotiate(policy, facts, demand, &mut bargain)? {
        Agreed::Ready => Ok(()),
        Agreed::Negotiating => Err(Rejection::for_now("Negotiations aren't finished.")),
    }
}

/// A number of seconds. Integral floats and digits in a text count, too (spec 33 §7); anything else is refused by name,
/// where the official agent falls silent.
pub(crate) fn seconds(properties: &Properties, key: &str) -> Result<Option<u32>, Rejection> {
    let number = |value: &Value| match value {
        Value::Number(number) => match number.as_u64() {
            Some(whole) => u32::try_from(whole).ok(),
            None => {
                number.as_f64().filter(|float| float.fract() == 0.0).and_then(|float| format!("{float}").parse().ok())
            }
        },
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    match properties.get(key) {
        None => Ok(None),
        Some(value) => match number(value) {
            Some(seconds) => Ok(Some(seconds)),
            None => {
                Err(Rejection::last(format!("`{key}` should be a whole number of seconds, it is {}", shown(value))))
            }
        },
    }
}

pub(crate) fn coeffs(properties: &Properties) -> Result<Option<Vec<f64>>, Rejection> {
    let Some(value) = properties.get(COEFFS) else { return Ok(None) };
    let list = value.as_array().and_then(|list| list.iter().map(Value::as_f64).collect());
    list.map(Some)
        .ok_or_else(|| Rejection::last(format!("`{COEFFS}` should be a list of numbers, it is {}", shown(value))))
}

/// A value of somebody else in a text of ours.
fn shown(value: &Value) -> String {
    const SHOWN_MAX: usize = 80;
    let text = value.to_string();
    if text.chars().count() > SHOWN_MAX { text.chars().take(SHOWN_MAX).chain(['…']).collect() } else { text }
}

#[cfg(test)]
mod tests;
