//! What an agreement says, as far as the agent acts on it (spec 33 §6).

use chrono::{DateTime, TimeDelta, Utc};
use golem_model::NodeId;
use golem_model::market::{Agreement, AgreementId};
use serde::{Deserialize, Serialize};

use crate::negotiation::{
    ACCEPT_TIMEOUT, DEBIT_NOTE_INTERVAL, PAYMENT_TIMEOUT, Rejection, coeffs, expiration_of, seconds,
};
use crate::properties::{flatten, text};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Terms {
    pub(crate) agreement: AgreementId,
    pub(crate) requestor: NodeId,
    /// The beat of debit notes counts from here.
    pub(crate) made_at: DateTime<Utc>,
    pub(crate) expires: DateTime<Utc>,
    pub(crate) multi_activity: bool,
    /// One price per counter and the start price.
    pub(crate) coeffs: Vec<f64>,
    pub(crate) debit_note_interval: TimeDeltaSeconds,
    pub(crate) accept_timeout: Option<TimeDeltaSeconds>,
    pub(crate) payment_timeout: Option<TimeDeltaSeconds>,
    pub(crate) runtime: String,
    pub(crate) runtime_version: String,
}

/// Whole seconds, as agreements have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct TimeDeltaSeconds(pub(crate) u32);

impl TimeDeltaSeconds {
    pub(crate) fn delta(self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.0))
    }
}

impl std::fmt::Display for TimeDeltaSeconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}s", self.0)
    }
}

impl Terms {
    /// Reads an agreement. `interval` is the beat of debit notes when none was agreed (spec 60 §10.2).
    pub(crate) fn read(agreement: &Agreement, interval: u32) -> Result<Self, Rejection> {
        let demand = flatten(&agreement.demand.properties);
        let offer = flatten(&agreement.offer.properties);
        let coeffs = coeffs(&offer)?.filter(|coeffs| !coeffs.is_empty());
        let named = |key| text(&offer, key).map(str::to_owned).ok_or_else(|| missing(key));
        Ok(Self {
            agreement: agreement.agreement_id,
            requestor: agreement.demand.requestor_id,
            made_at: agreement.timestamp,
            expires: expiration_of(&demand)?,
            multi_activity: demand
                .get("golem.srv.caps.multi-activity")
                .and_then(|value| value.as_bool())
                .unwrap_or(false),
            coeffs: coeffs.ok_or_else(|| missing(crate::negotiation::COEFFS))?,
            debit_note_interval: TimeDeltaSeconds(seconds(&offer, DEBIT_NOTE_INTERVAL)?.unwrap_or(interval).max(1)),
            accept_timeout: seconds(&offer, ACCEPT_TIMEOUT)?.map(TimeDeltaSeconds),
            payment_timeout: seconds(&offer, PAYMENT_TIMEOUT)?.map(TimeDeltaSeconds),
            runtime: named("golem.runtime.name")?,
            runtime_version: named("golem.runtime.version").unwrap_or_default(),
        })
    }

    /// The first beat of debit notes after `now`.
    pub(crate) fn next_note(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let interval = i64::from(self.debit_note_interval.0) * 1_000_000;
        let passed = (now - self.made_at).num_microseconds().unwrap_or(0).max(0);
        self.made_at + TimeDelta::microseconds((passed / interval + 1) * interval)
    }
}

fn missing(key: &str) -> Rejection {
    Rejection { message: format!("`{key}` is missing"), is_final: true }
}
