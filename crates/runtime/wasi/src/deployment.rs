//! What `deploy` leaves in the work dir for `start` and `run`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use golem_model::exe_unit::VolumeMount;
use golem_runtime_api::deploy::{ContainerVolume, DeployResult, StartMode};
use serde::{Deserialize, Serialize};

use crate::cache::{Cache, CacheError};
use crate::package::{Package, PackageError, guest_path};

const FILE_NAME: &str = "deploy.json";

#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("cannot write to the work dir at `{path}`")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("volume `{0}` is of a kind that this runtime does not have; hint: only `host` volumes work here")]
    Volume(String),
    #[error("`--volume-override` is invalid")]
    VolumeOverride(#[source] serde_json::Error),
    #[error("cannot read `{path}`; hint: `deploy` comes first")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` is not what `deploy` wrote")]
    Content {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("Entrypoint {0} not found.")]
    NoEntryPoint(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    pub image_path: PathBuf,
    pub vols: Vec<ContainerVolume>,
    pub entry_points: Vec<Prepared>,
}

/// An entry point and the key of its compiled module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    pub id: String,
    pub wasm_path: String,
    pub key: String,
}

impl Deployment {
    /// Checks the package, makes the volumes and compiles what is not in the cache yet.
    pub fn create(
        work_dir: &Path,
        package: &Path,
        volume_override: Option<&str>,
        cache: &Cache,
    ) -> Result<DeployResult, DeployError> {
        let image_path =
            fs::canonicalize(package).map_err(|source| PackageError::Open { path: package.into(), source })?;
        let mut package = Package::open(&image_path)?;
        let manifest = package.manifest.clone();

        let mut entry_points = Vec::new();
        for entry in manifest.entry_points {
            let key = cache.prepare(&package.module(&entry.wasm_path)?, &entry.wasm_path)?;
            entry_points.push(Prepared { id: entry.id, wasm_path: entry.wasm_path, key });
        }

        let mut mounts = BTreeMap::new();
        for mount in &manifest.mount_points {
            mounts.insert(mount.guest_path()?, mount.is_private());
        }
        let extra: BTreeMap<String, VolumeMount> =
            volume_override.map_or(Ok(BTreeMap::new()), serde_json::from_str).map_err(DeployError::VolumeOverride)?;
        for (path, kind) in extra {
            if kind != (VolumeMount::Host {}) {
                return Err(DeployError::Volume(path));
            }
            mounts.insert(guest_path(&path)?, false);
        }

        let mut vols = Vec::new();
        let mut public = Vec::new();
        for (path, is_private) in mounts {
            let name = format!("vol-{}", uuid::Uuid::new_v4());
            let dir = work_dir.join(&name);
            fs::create_dir_all(&dir).map_err(|source| DeployError::Write { path: dir, source })?;
            let volume = ContainerVolume { name, path };
            public.extend((!is_private).then(|| volume.clone()));
            vols.push(volume);
        }
        Self { image_path, vols, entry_points }.save(work_dir)?;
        Ok(DeployResult { valid: Ok(String::new()), vols: public, start_mode: StartMode::Empty })
    }

    fn save(&self, work_dir: &Path) -> Result<(), DeployError> {
        let (path, temporary) = (work_dir.join(FILE_NAME), work_dir.join(".deploy.json.new"));
        let json = serde_json::to_vec(self).map_err(|source| DeployError::Content { path: path.clone(), source })?;
        let written = fs::write(&temporary, json).and_then(|()| fs::rename(&temporary, &path));
        written.map_err(|source| DeployError::Write { path, source })
    }

    pub fn load(work_dir: &Path) -> Result<Self, DeployError> {
        let path = work_dir.join(FILE_NAME);
        let json = fs::read(&path).map_err(|source| DeployError::Read { path: path.clone(), source })?;
        serde_json::from_slice(&json).map_err(|source| DeployError::Content { path, source })
    }

    pub fn entry_point(&self, id: &str) -> Result<&Prepared, DeployError> {
        self.entry_points.iter().find(|entry| entry.id == id).ok_or_else(|| DeployError::NoEntryPoint(id.into()))
    }

    /// The compiled module of an entry point; compiled again when the cache has lost it.
    pub fn module(&self, entry: &Prepared, cache: &Cache) -> Result<wasmtime::Module, DeployError> {
        if let Some(module) = cache.load(&entry.key) {
            return Ok(module);
        }
        let bytes = Package::open(&self.image_path)?.module(&entry.wasm_path)?;
        Ok(cache.compile(&bytes, &entry.wasm_path)?)
    }
}
