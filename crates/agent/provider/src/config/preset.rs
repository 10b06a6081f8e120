//! `presets.json`: what is offered for which price (spec 60 §2.2).

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::{self, FileError};

pub(crate) const FILE: &str = "presets.json";
/// Presets in one file, each of which is an offer on the market.
const PRESETS_MAX: usize = 256;

/// One offer in the making: a runtime and its prices in GLM per unit of each counter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Preset {
    pub(crate) name: String,
    #[serde(rename = "exeunit-name")]
    pub(crate) exe_unit_name: String,
    #[serde(default = "linear")]
    pub(crate) pricing_model: String,
    #[serde(default)]
    pub(crate) initial_price: f64,
    #[serde(default)]
    pub(crate) usage_coeffs: BTreeMap<String, f64>,
}

pub(crate) const LINEAR: &str = "linear";

fn linear() -> String {
    LINEAR.to_owned()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Form", into = "FormV1")]
pub(crate) struct Presets {
    pub(crate) active: Vec<String>,
    pub(crate) presets: Vec<Preset>,
}

#[derive(Clone, Serialize, Deserialize)]
enum Version {
    V1,
}

#[derive(Clone, Serialize, Deserialize)]
struct FormV1 {
    ver: Version,
    #[serde(default)]
    active: Vec<String>,
    presets: Vec<Preset>,
}

/// A file without a version calls its prices `initial`, `duration` and `cpu`.
#[derive(Deserialize)]
struct FormV0 {
    #[serde(default)]
    active: Vec<String>,
    presets: Vec<Preset>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    V1(FormV1),
    V0(FormV0),
}

impl From<Form> for Presets {
    fn from(form: Form) -> Self {
        match form {
            Form::V1(FormV1 { ver: Version::V1, active, presets }) => Self { active, presets },
            Form::V0(FormV0 { active, presets }) => {
                Self { active, presets: presets.into_iter().map(Preset::upgraded_from_v0).collect() }
            }
        }
    }
}

impl From<Presets> for FormV1 {
    fn from(Presets { active, presets }: Presets) -> Self {
        Self { ver: Version::V1, active, presets }
    }
}

impl Preset {
    fn upgraded_from_v0(mut self) -> Self {
        let mut coeffs = BTreeMap::new();
        for (name, price) in std::mem::take(&mut self.usage_coeffs) {
            match name.as_str() {
                "initial" => self.initial_price = price,
                "duration" => drop(coeffs.insert("golem.usage.duration_sec".to_owned(), price)),
                "cpu" => drop(coeffs.insert("golem.usage.cpu_sec".to_owned(), price)),
                _ => drop(coeffs.insert(name, price)),
            }
        }
        self.usage_coeffs = coeffs;
        self
    }

    /// What is wrong with the preset, if anything.
    pub(crate) fn check(&self) -> Result<(), PresetError> {
        if self.pricing_model != LINEAR {
            return Err(PresetError::Model { name: self.name.clone(), model: self.pricing_model.clone() });
        }
        let prices = self.usage_coeffs.iter().map(|(counter, price)| (counter.as_str(), *price));
        match prices.chain([("initial", self.initial_price)]).find(|(_, price)| !price.is_finite() || *price < 0.0) {
            Some((counter, price)) => {
                Err(PresetError::Price { name: self.name.clone(), counter: counter.to_owned(), price })
            }
            None => Ok(()),
        }
    }
}

/// Why a change of the presets is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PresetError {
    // The misspelling is the official text (spec 60 §1.2).
    #[error("Preset [{0}] doesn't exists.")]
    Unknown(String),
    #[error("preset `{0}` exists already\nhint: `ya-provider preset update --name {0} …` changes it")]
    Exists(String),
    #[error("preset `{name}` has the pricing model `{model}`; the only one is `{LINEAR}`")]
    Model { name: String, model: String },
    #[error("preset `{name}` has the price {price} for `{counter}`; a price is a number from 0 up")]
    Price { name: String, counter: String, price: f64 },
    #[error("there are {PRESETS_MAX} presets already")]
    TooMany,
}

impl Default for Presets {
    /// The state of a fresh installation.
    fn default() -> Self {
        let preset = Preset {
            name: "default".to_owned(),
            exe_unit_name: "wasmtime".to_owned(),
            pricing_model: linear(),
            initial_price: 0.0,
            usage_coeffs: BTreeMap::new(),
        };
        Self { active: vec![preset.name.clone()], presets: vec![preset] }
    }
}

impl Presets {
    pub(crate) fn load(data_dir: &Path) -> Result<Self, FileError> {
        Ok(files::load(&data_dir.join(FILE))?.unwrap_or_default())
    }

    pub(crate) fn save(&self, data_dir: &Path) -> Result<(), FileError> {
        files::save(&data_dir.join(FILE), self)
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Preset> {
        self.presets.iter().find(|preset| preset.name == name)
    }

    /// The presets that are offered, in the order of activation; an active name without a preset is left out.
    pub(crate) fn offered(&self) -> impl Iterator<Item = &Preset> {
        self.active.iter().filter_map(|name| self.find(name))
    }

    pub(crate) fn create(&mut self, preset: Preset) -> Result<(), PresetError> {
        preset.check()?;
        if self.find(&preset.name).is_some() {
            return Err(PresetError::Exists(preset.name));
        }
        if self.presets.len() >= PRESETS_MAX {
            return Err(PresetError::TooMany);
        }
        self.presets.push(preset);
        Ok(())
    }

    pub(crate) fn update(&mut self, name: &str, change: impl FnOnce(&mut Preset)) -> Result<&Preset, PresetError> {
        let preset = self.presets.iter_mut().find(|preset| preset.name == name).ok_or_else(|| unknown(name))?;
        let mut changed = preset.clone();
        change(&mut changed);
        changed.check()?;
        *preset = changed;
        Ok(preset)
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<(), PresetError> {
        self.find(name).ok_or_else(|| unknown(name))?;
        self.presets.retain(|preset| preset.name != name);
        self.active.retain(|active| active != name);
        Ok(())
    }

    pub(crate) fn activate(&mut self, name: &str) -> Result<(), PresetError> {
        self.find(name).ok_or_else(|| unknown(name))?;
        if !self.active.iter().any(|active| active == name) {
            self.active.push(name.to_owned());
        }
        Ok(())
    }

    pub(crate) fn deactivate(&mut self, name: &str) -> Result<(), PresetError> {
        let before = self.active.len();
        self.active.retain(|active| active != name);
        if self.active.len() == before { Err(unknown(name)) } else { Ok(()) }
    }
}

fn unknown(name: &str) -> PresetError {
    PresetError::Unknown(name.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V1: &str = r#"{ "ver": "V1", "active": ["vm"], "presets": [ { "name": "vm", "exeunit-name": "vm",
        "pricing-model": "linear", "initial-price": 0.5,
        "usage-coeffs": { "golem.usage.cpu_sec": 6.9e-6, "golem.usage.duration_sec": 1.4e-6 } } ] }"#;

    #[test]
    fn both_versions_load() {
        let v1: Presets = serde_json::from_str(V1).unwrap();
        let v0: Presets = serde_json::from_str(
            r#"{ "active": ["vm"], "presets": [ { "name": "vm", "exeunit-name": "vm", "pricing-model": "linear",
                 "usage-coeffs": { "initial": 0.5, "cpu": 6.9e-6, "duration": 1.4e-6 } } ] }"#,
        )
        .unwrap();
        assert_eq!(v0, v1);
        let written = serde_json::to_value(&v1).unwrap();
        assert_eq!(written["ver"], "V1");
        assert_eq!(written["presets"][0]["exeunit-name"], "vm");
        assert_eq!(serde_json::from_value::<Presets>(written).unwrap(), v1);
    }

    #[test]
    fn names_must_exist_and_be_unique() {
        let mut presets = Presets::default();
        assert_eq!(presets.activate("x").unwrap_err().to_string(), "Preset [x] doesn't exists.");
        let copy = presets.presets[0].clone();
        assert!(matches!(presets.create(copy), Err(PresetError::Exists(_))));
        presets.remove("default").unwrap();
        assert_eq!(presets.offered().count(), 0);
        assert!(presets.active.is_empty());
    }

    #[test]
    fn a_refused_update_changes_nothing() {
        let mut presets = Presets::default();
        assert!(presets.update("default", |preset| preset.initial_price = -1.0).is_err());
        assert_eq!(presets, Presets::default());
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(text in ".{0,200}", cut in 0..V1.len(), junk in "[{}\\[\\]\":,0-9a-z]{0,6}") {
            let _ = serde_json::from_str::<Presets>(&text);
            let mut broken = V1.to_owned();
            broken.replace_range(cut..cut, &junk);
            let _ = serde_json::from_str::<Presets>(&broken);
        }
    }
}
