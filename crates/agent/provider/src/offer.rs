//! What an offer says (spec 60 §5): a pure function of node, machine, runtime, preset and policy.

use chrono::{DateTime, Utc};
use golem_model::NodeId;
use golem_model::payment::{PaymentPlatform, address_property};
use serde_json::{Value, json};

use crate::config::descriptor::Descriptor;
use crate::config::hardware::{Machine, Resources};
use crate::config::preset::{LINEAR, Preset};
use crate::negotiation::{ACCEPT_TIMEOUT, COEFFS, DEBIT_NOTE_INTERVAL, PAYMENT_TIMEOUT, Policy};
use crate::properties::{Properties, flatten};

pub(crate) const USAGE_VECTOR: &str = "golem.com.usage.vector";
const CAPABILITIES: &str = "golem.runtime.capabilities";

/// Who offers.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: Option<String>,
    pub(crate) subnet: String,
    pub(crate) is_public: bool,
    pub(crate) account: NodeId,
    pub(crate) platforms: Vec<PaymentPlatform>,
}

/// What the exe-unit says about itself (`offer-template`).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Template {
    pub(crate) properties: Properties,
    pub(crate) constraints: String,
}

/// An offer without its date.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draft {
    pub(crate) properties: Properties,
    subnet: String,
    /// What the runtime wants of demands.
    runtime_constraints: String,
}

impl Draft {
    /// The constraints of an offer that is published at `now`.
    pub(crate) fn constraints_at(&self, now: DateTime<Utc>) -> String {
        let own = format!(
            "(&\n  (golem.srv.comp.expiration>{})\n  (golem.node.debug.subnet={})\n)",
            now.timestamp_millis(),
            self.subnet
        );
        match self.runtime_constraints.trim() {
            "" | "()" | "(&)" => own,
            theirs => format!("(& {own} {theirs})"),
        }
    }
}

/// Why a preset gives no offer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum OfferError {
    #[error("runtime `{runtime}` names no counters in its template")]
    NoVector { runtime: String },
    #[error(
        "preset `{preset}` has no price for anything that runtime `{runtime}` counts\n\
         hint: `ya-provider preset update --name {preset} --price Duration=… CPU=…`"
    )]
    NoPrice { preset: String, runtime: String },
    #[error("the template of runtime `{runtime}` is not JSON with `properties`")]
    Template { runtime: String },
}

impl Template {
    /// Reads the output of the exe-unit; properties may be flat or nested.
    pub(crate) fn parse(runtime: &str, output: &[u8]) -> Result<Self, OfferError> {
        let bad = || OfferError::Template { runtime: runtime.to_owned() };
        let parsed: Value = serde_json::from_slice(output).map_err(|_| bad())?;
        let properties = parsed.get("properties").filter(|properties| properties.is_object()).ok_or_else(bad)?;
        let constraints = parsed.get("constraints").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self { properties: flatten(properties), constraints })
    }

    fn counters(&self) -> Vec<&str> {
        let vector = self.properties.get(USAGE_VECTOR).and_then(Value::as_array);
        vector.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn has_capability(&self, name: &str) -> bool {
        let list = self.properties.get(CAPABILITIES).and_then(Value::as_array);
        list.into_iter().flatten().any(|capability| capability == name)
    }
}

/// Builds the offer of one preset.
pub(crate) fn build(
    node: &Node,
    machine: &Machine,
    resources: Resources,
    descriptor: &Descriptor,
    template: &Template,
    preset: &Preset,
    policy: &Policy,
) -> Result<Draft, OfferError> {
    let (vector, coeffs) = prices(descriptor, template, preset)?;
    let mut all = Properties::new();
    let mut set = |key: &str, value: Value| drop(all.insert(key.to_owned(), value));
    if let Some(name) = &node.name {
        set("golem.node.id.name", json!(name));
    }
    set("golem.node.debug.subnet", json!(node.subnet));
    set("golem.node.net.is-public", json!(node.is_public));
    set("golem.inf.cpu.architecture", json!(std::env::consts::ARCH));
    set("golem.inf.cpu.cores", json!(machine.cpu_cores));
    set("golem.inf.cpu.threads", json!(resources.cpu_threads));
    set("golem.inf.mem.gib", json!(resources.mem_gib));
    set("golem.inf.storage.gib", json!(resources.storage_gib));
    set("golem.runtime.name", json!(descriptor.name));
    set("golem.runtime.version", json!(descriptor.version));
    for (key, value) in &descriptor.properties {
        set(&format!("golem.runtime.{key}"), value.clone());
    }
    set("golem.srv.caps.multi-activity", json!(true));
    set("golem.srv.caps.payload-manifest", json!(template.has_capability("manifest-support")));
    set("golem.com.scheme", json!("payu"));
    set(DEBIT_NOTE_INTERVAL, json!(policy.debit_note_interval.own));
    set(PAYMENT_TIMEOUT, json!(policy.payment_timeout.own));
    set(ACCEPT_TIMEOUT, json!(policy.accept_timeout));
    set("golem.com.pricing.model", json!(LINEAR));
    set("golem.com.payment.protocol.version", json!(3));
    for platform in &node.platforms {
        set(&address_property(platform.as_str()), json!(node.account));
    }
    // The runtime knows best, except what it costs and which of its counters are priced.
    all.extend(template.properties.clone());
    all.insert(COEFFS.to_owned(), json!(coeffs));
    all.insert(USAGE_VECTOR.to_owned(), json!(vector));
    all.sort_keys();
    Ok(Draft { properties: all, subnet: node.subnet.clone(), runtime_constraints: template.constraints.clone() })
}

/// Priced counters in the order of their names, and one coefficient for each, then the start price.
fn prices<'a>(
    descriptor: &Descriptor,
    template: &Template,
    preset: &'a Preset,
) -> Result<(Vec<&'a str>, Vec<f64>), OfferError> {
    let announced = template.counters();
    if announced.is_empty() {
        return Err(OfferError::NoVector { runtime: descriptor.name.clone() });
    }
    let may_be_priced = |counter: &str| {
        announced.contains(&counter) || descriptor.config.counters.get(counter).is_some_and(|counter| counter.price)
    };
    let priced = preset.usage_coeffs.iter().filter(|(counter, _)| may_be_priced(counter));
    let (vector, mut coeffs): (Vec<&str>, Vec<f64>) = priced.map(|(counter, price)| (counter.as_str(), *price)).unzip();
    if vector.is_empty() {
        return Err(OfferError::NoPrice { preset: preset.name.clone(), runtime: descriptor.name.clone() });
    }
    coeffs.push(preset.initial_price);
    Ok((vector, coeffs))
}
