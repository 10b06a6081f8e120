//! `hardware.json`: how much of the machine is offered (spec 60 §2.3, §3).

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::{self, FileError};

pub(crate) const FILE: &str = "hardware.json";
const PROFILES_MAX: usize = 256;
/// Share of the machine in the first profile.
const DEFAULT_MEM_SHARE: f64 = 0.7;
const DEFAULT_STORAGE_SHARE: f64 = 0.8;
/// Less than this is not worth offering.
const GIB_MIN: f64 = 0.1;

/// An amount of machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Resources {
    pub(crate) cpu_threads: u32,
    pub(crate) mem_gib: f64,
    pub(crate) storage_gib: f64,
}

/// The caps that an operator sets for one run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Caps {
    pub(crate) cpu_threads: Option<u32>,
    pub(crate) mem_gib: Option<f64>,
    pub(crate) storage_gib: Option<f64>,
}

/// What the machine has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Machine {
    /// Physical cores: a fact, not for sale by the piece, so no profile caps it (spec 60 §3).
    pub(crate) cpu_cores: u32,
    pub(crate) resources: Resources,
}

impl Resources {
    /// The smaller of both in each component, at least the lower bounds. Numbers that are none count as the bound.
    fn cap(self, caps: Caps) -> Self {
        let gib = |own: f64, cap: Option<f64>| {
            let capped = cap.map_or(own, |cap| own.min(cap));
            if capped.is_finite() { capped.max(GIB_MIN) } else { GIB_MIN }
        };
        Self {
            cpu_threads: caps.cpu_threads.map_or(self.cpu_threads, |cap| self.cpu_threads.min(cap)).max(1),
            mem_gib: gib(self.mem_gib, caps.mem_gib),
            storage_gib: gib(self.storage_gib, caps.storage_gib),
        }
    }

    /// One of `parts` equal parts, so that several agreements at once do not promise the same memory twice.
    pub(crate) fn share(self, parts: u32) -> Self {
        let parts = parts.max(1);
        let caps = Caps {
            cpu_threads: Some(self.cpu_threads / parts),
            mem_gib: Some(self.mem_gib / f64::from(parts)),
            storage_gib: Some(self.storage_gib / f64::from(parts)),
        };
        self.cap(caps)
    }
}

impl From<Resources> for Caps {
    fn from(resources: Resources) -> Self {
        Self {
            cpu_threads: Some(resources.cpu_threads),
            mem_gib: Some(resources.mem_gib),
            storage_gib: Some(resources.storage_gib),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Profiles {
    pub(crate) active: String,
    pub(crate) profiles: BTreeMap<String, Resources>,
}

/// Why a change of the profiles is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    #[error("profile `{0}` does not exist\nhint: `ya-provider profile list` shows those that do")]
    Unknown(String),
    #[error("profile `{0}` exists already\nhint: `ya-provider profile update --name {0} …` changes it")]
    Exists(String),
    #[error("profile `{0}` is active\nhint: activate another one first, `ya-provider profile activate …`")]
    Active(String),
    #[error("a profile has at least 1 thread and {GIB_MIN} GiB of memory and storage")]
    TooSmall,
    #[error("there are {PROFILES_MAX} profiles already")]
    TooMany,
}

impl Profiles {
    /// The state of a fresh installation on this machine.
    pub(crate) fn first(machine: &Machine) -> Self {
        let Resources { cpu_threads, mem_gib, storage_gib } = machine.resources;
        let default = Resources {
            cpu_threads: cpu_threads.saturating_sub(1).max(1),
            mem_gib: DEFAULT_MEM_SHARE * mem_gib,
            storage_gib: DEFAULT_STORAGE_SHARE * storage_gib,
        };
        Self { active: "default".to_owned(), profiles: BTreeMap::from([("default".to_owned(), default)]) }
    }

    /// The profiles of `data_dir`; when there is no file, those of a fresh installation, which are written.
    pub(crate) fn load_or_create(data_dir: &Path, machine: &Machine) -> Result<Self, FileError> {
        let path = data_dir.join(FILE);
        if let Some(profiles) = files::load(&path)? {
            return Ok(profiles);
        }
        let profiles = Self::first(machine);
        files::save(&path, &profiles)?;
        Ok(profiles)
    }

    pub(crate) fn save(&self, data_dir: &Path) -> Result<(), FileError> {
        files::save(&data_dir.join(FILE), self)
    }

    /// What may be offered: the active profile, never more than the machine and the caps.
    pub(crate) fn offered(&self, machine: &Machine, caps: Caps) -> Result<Resources, ProfileError> {
        let profile = self.profiles.get(&self.active).ok_or_else(|| unknown(&self.active))?;
        Ok(profile.cap(machine.resources.into()).cap(caps))
    }

    pub(crate) fn create(&mut self, name: &str, resources: Resources) -> Result<(), ProfileError> {
        check(resources)?;
        if self.profiles.contains_key(name) {
            return Err(ProfileError::Exists(name.to_owned()));
        }
        if self.profiles.len() >= PROFILES_MAX {
            return Err(ProfileError::TooMany);
        }
        self.profiles.insert(name.to_owned(), resources);
        Ok(())
    }

    pub(crate) fn update(&mut self, name: &str, caps: Caps) -> Result<(), ProfileError> {
        let profile = self.profiles.get_mut(name).ok_or_else(|| unknown(name))?;
        let changed = Resources {
            cpu_threads: caps.cpu_threads.unwrap_or(profile.cpu_threads),
            mem_gib: caps.mem_gib.unwrap_or(profile.mem_gib),
            storage_gib: caps.storage_gib.unwrap_or(profile.storage_gib),
        };
        check(changed)?;
        *profile = changed;
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<(), ProfileError> {
        if self.active == name {
            return Err(ProfileError::Active(name.to_owned()));
        }
        self.profiles.remove(name).map(drop).ok_or_else(|| unknown(name))
    }

    pub(crate) fn activate(&mut self, name: &str) -> Result<(), ProfileError> {
        if !self.profiles.contains_key(name) {
            return Err(unknown(name));
        }
        name.clone_into(&mut self.active);
        Ok(())
    }
}

fn check(resources: Resources) -> Result<(), ProfileError> {
    let enough = |gib: f64| gib.is_finite() && gib >= GIB_MIN;
    if resources.cpu_threads >= 1 && enough(resources.mem_gib) && enough(resources.storage_gib) {
        Ok(())
    } else {
        Err(ProfileError::TooSmall)
    }
}

fn unknown(name: &str) -> ProfileError {
    ProfileError::Unknown(name.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MACHINE: Machine =
        Machine { cpu_cores: 2, resources: Resources { cpu_threads: 4, mem_gib: 16.0, storage_gib: 100.0 } };

    #[test]
    fn first_profile_leaves_room() {
        let offered = Profiles::first(&MACHINE).offered(&MACHINE, Caps::default()).unwrap();
        assert_eq!(offered, Resources { cpu_threads: 3, mem_gib: 11.2, storage_gib: 80.0 });
    }

    #[test]
    fn caps_hold_in_each_component() {
        let mut profiles = Profiles::first(&MACHINE);
        profiles.create("big", Resources { cpu_threads: 99, mem_gib: 1e9, storage_gib: 0.2 }).unwrap();
        profiles.activate("big").unwrap();
        let caps = Caps { cpu_threads: Some(0), mem_gib: Some(8.0), storage_gib: None };
        let offered = profiles.offered(&MACHINE, caps).unwrap();
        assert_eq!(offered, Resources { cpu_threads: 1, mem_gib: 8.0, storage_gib: 0.2 });
    }

    #[test]
    fn agreements_share_the_machine() {
        let share = MACHINE.resources.share(8);
        assert_eq!(share, Resources { cpu_threads: 1, mem_gib: 2.0, storage_gib: 12.5 });
        assert_eq!(MACHINE.resources.share(1), MACHINE.resources);
    }

    #[test]
    fn the_active_profile_stays() {
        let mut profiles = Profiles::first(&MACHINE);
        assert!(matches!(profiles.remove("default"), Err(ProfileError::Active(_))));
        let tiny = Resources { cpu_threads: 0, mem_gib: 1.0, storage_gib: 1.0 };
        assert!(matches!(profiles.create("tiny", tiny), Err(ProfileError::TooSmall)));
    }

    proptest! {
        #[test]
        fn what_is_offered_is_always_sane(threads: u32, mem: f64, storage: f64, cap_mem: Option<f64>) {
            let profiles = Profiles { active: "p".into(), profiles: BTreeMap::from([("p".into(),
                Resources { cpu_threads: threads, mem_gib: mem, storage_gib: storage })]) };
            let offered = profiles.offered(&MACHINE, Caps { mem_gib: cap_mem, ..Caps::default() }).unwrap();
            prop_assert!((1..=4).contains(&offered.cpu_threads));
            prop_assert!(offered.mem_gib >= GIB_MIN && offered.mem_gib <= 16.0);
            prop_assert!(offered.storage_gib >= GIB_MIN && offered.storage_gib <= 100.0);
        }

        #[test]
        fn any_file_is_read_or_refused(text in ".{0,200}") {
            let _ = serde_json::from_str::<Profiles>(&text);
        }
    }
}
