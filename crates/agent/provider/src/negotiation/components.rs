//! The steps of [`negotiate`](super::negotiate), one function each (spec 60 §7.2, §7.3).

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    ACCEPT_TIMEOUT, Agreed, Bargain, CHOSEN_PLATFORM, DEBIT_NOTE_INTERVAL, EXPIRATION, Facts, PAYMENT_TIMEOUT, Policy,
    Range, Rejection, coeffs, seconds, shown,
};
use crate::properties::{Properties, has_pointer};

/// Nobody can be asked to accept a debit note faster than this.
const ACCEPT_TIMEOUT_MIN: u32 = 5;

pub(super) fn required_fields(policy: &Policy, demand: &Properties) -> Result<(), Rejection> {
    let missing: Vec<&str> =
        policy.required_fields.iter().map(String::as_str).filter(|pointer| !has_pointer(demand, pointer)).collect();
    if missing.is_empty() { Ok(()) } else { Err(Rejection::for_now(format!("Missing fields: {}", missing.join(",")))) }
}

/// The requestor pays where we can be paid.
pub(super) fn platform(facts: Facts<'_>, demand: &Properties) -> Result<(), Rejection> {
    let Some(chosen) = demand.get(CHOSEN_PLATFORM) else { return Ok(()) };
    if facts.platforms.iter().any(|platform| chosen == platform.as_str()) {
        return Ok(());
    }
    let ours: Vec<&str> = facts.platforms.iter().map(|platform| platform.as_str()).collect();
    Err(Rejection::last(format!("`{CHOSEN_PLATFORM}` is {}, we take {}", shown(chosen), ours.join(", "))))
}

pub(super) fn agreements_limit(policy: &Policy, facts: Facts<'_>) -> Result<(), Rejection> {
    if facts.agreements_open < policy.agreements_max {
        return Ok(());
    }
    let max = policy.agreements_max;
    Err(Rejection::for_now(format!("No capacity available. Reached Agreements limit: {max}")))
}

/// Returns when the demand expires.
pub(super) fn expiration(policy: &Policy, facts: Facts<'_>, demand: &Properties) -> Result<DateTime<Utc>, Rejection> {
    let expires = expiration_of(demand)?;
    let left = expires - facts.now;
    if left < policy.expiration_min {
        return Err(Rejection::last(format!(
            "Proposal expires at: {expires} which is less than {} s from now",
            policy.expiration_min.num_seconds()
        )));
    }
    let has_deadline = demand.contains_key(ACCEPT_TIMEOUT);
    let max = if has_deadline { policy.expiration_max } else { policy.expiration_max_without_deadline };
    if left > max {
        let why = if has_deadline { "" } else { " for a demand without a deadline to accept debit notes" };
        return Err(Rejection::for_now(format!(
            "Proposal expires at: {expires} which is more than {} s from now{why}",
            max.num_seconds()
        )));
    }
    Ok(expires)
}

/// The expiration that a demand names, in any whole number of milliseconds that is a time.
pub(crate) fn expiration_of(demand: &Properties) -> Result<DateTime<Utc>, Rejection> {
    let value = demand.get(EXPIRATION).ok_or_else(|| Rejection::last(format!("`{EXPIRATION}` is missing")))?;
    let whole = |value: &Value| match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            number.as_f64().filter(|float| float.fract() == 0.0).and_then(|float| format!("{float}").parse().ok())
        }),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    whole(value).and_then(DateTime::from_timestamp_millis).ok_or_else(|| {
        Rejection::last(format!("`{EXPIRATION}` should be milliseconds since 1970, it is {}", shown(value)))
    })
}

pub(super) fn accept_timeout(demand: &Properties, bargain: &mut Bargain) -> Result<Agreed, Rejection> {
    let theirs = seconds(demand, ACCEPT_TIMEOUT)?;
    match (theirs, bargain.accept_timeout) {
        (Some(theirs), Some(ours)) if theirs > ours => Err(Rejection::last(format!(
            "DebitNote acceptance deadline should be less than {ours} s, it is {theirs} s"
        ))),
        (Some(theirs), Some(ours)) if theirs == ours => Ok(Agreed::Ready),
        (Some(theirs), Some(_)) if theirs < ACCEPT_TIMEOUT_MIN => Err(Rejection::last(format!(
            "DebitNote acceptance deadline should be at least {ACCEPT_TIMEOUT_MIN} s, it is {theirs} s"
        ))),
        (theirs, ours) => adopt(ACCEPT_TIMEOUT, theirs, ours, &mut bargain.accept_timeout),
    }
}

pub(super) fn debit_note_interval(
    policy: &Policy,
    demand: &Properties,
    bargain: &mut Bargain,
) -> Result<Agreed, Rejection> {
    let theirs = seconds(demand, DEBIT_NOTE_INTERVAL)?;
    within(DEBIT_NOTE_INTERVAL, policy.debit_note_interval, theirs)?;
    adopt(DEBIT_NOTE_INTERVAL, theirs, bargain.debit_note_interval, &mut bargain.debit_note_interval)
}

pub(super) fn payment_timeout(
    policy: &Policy,
    facts: Facts<'_>,
    expires: DateTime<Utc>,
    demand: &Properties,
    bargain: &mut Bargain,
) -> Result<Agreed, Rejection> {
    let left = expires - facts.now;
    if left <= TimeDelta::zero() {
        return Err(Rejection::last(format!("Proposal expires at: {expires} which is in the past")));
    }
    let theirs = seconds(demand, PAYMENT_TIMEOUT)?;
    if theirs.is_none() && left >= policy.payment_timeout_required {
        return Err(Rejection::last(format!(
            "`{PAYMENT_TIMEOUT}` is required for demands of {} s or more",
            policy.payment_timeout_required.num_seconds()
        )));
    }
    within(PAYMENT_TIMEOUT, policy.payment_timeout, theirs)?;
    adopt(PAYMENT_TIMEOUT, theirs, bargain.payment_timeout, &mut bargain.payment_timeout)
}

fn within(key: &str, Range { min, max, .. }: Range, theirs: Option<u32>) -> Result<(), Rejection> {
    match theirs {
        Some(seconds) if !(min..=max).contains(&seconds) => {
            Err(Rejection::last(format!("`{key}` should be from {min} to {max} s, it is {seconds} s")))
        }
        _ => Ok(()),
    }
}

/// Takes their value, or lack of one, over. What we removed once does not come back.
fn adopt(key: &str, theirs: Option<u32>, ours: Option<u32>, slot: &mut Option<u32>) -> Result<Agreed, Rejection> {
    match (theirs, ours) {
        (Some(_), None) => Err(Rejection::last(format!("`{key}` was left out before and cannot come back"))),
        (theirs, ours) if theirs == ours => Ok(Agreed::Ready),
        (theirs, _) => {
            *slot = theirs;
            Ok(Agreed::Negotiating)
        }
    }
}

/// A demand may raise our prices, never lower them.
pub(super) fn price(demand: &Properties, bargain: &mut Bargain) -> Result<Agreed, Rejection> {
    let Some(theirs) = coeffs(demand)? else { return Ok(Agreed::Ready) };
    if theirs.len() != bargain.coeffs.len() {
        return Err(Rejection::for_now("invalid price vector"));
    }
    if theirs == bargain.coeffs {
        return Ok(Agreed::Ready);
    }
    if theirs.iter().zip(&bargain.coeffs).any(|(theirs, ours)| theirs < ours) {
        return Err(Rejection::last(format!("price is too low, we ask {:?}", bargain.coeffs)));
    }
    bargain.coeffs = theirs;
    Ok(Agreed::Negotiating)
}
