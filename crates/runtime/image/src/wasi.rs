//! Packages of the WASM runtime (spec 52 §6): a zip with `manifest.json` and the modules that it names.

use std::io::{Cursor, Write};

use serde::{Deserialize, Serialize};
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, DateTime};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub entry_points: Vec<EntryPoint>,
    #[serde(default)]
    pub mount_points: Vec<MountPoint>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EntryPoint {
    pub id: String,
    pub wasm_path: String,
}

/// A folder that the program sees; transfers reach all but the private ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountPoint {
    Ro(String),
    Rw(String),
    Wo(String),
    Private(String),
}

impl Manifest {
    /// A package of one program `name`, with the folders `/in` and `/out` for transfers.
    pub fn of_program(name: &str) -> Self {
        Self {
            id: name.into(),
            name: name.into(),
            entry_points: vec![EntryPoint { id: name.into(), wasm_path: format!("{name}.wasm") }],
            mount_points: vec![MountPoint::Rw("in".into()), MountPoint::Rw("out".into())],
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("`{0}` is named by the manifest, but not among the modules")]
    Missing(String),
    #[error("`{0}` is not a WASM module; hint: build it with `cargo build --release --target wasm32-wasip1`")]
    NotWasm(String),
    #[error("cannot write the package")]
    Write(#[from] zip::result::ZipError),
    #[error("cannot write the manifest")]
    Manifest(#[from] serde_json::Error),
}

/// First bytes of every module.
const WASM_MAGIC: &[u8] = b"\0asm";

/// Builds a package. The same input gives the same bytes, and so the same hash.
pub fn pack(manifest: &Manifest, modules: &[(&str, &[u8])]) -> Result<Vec<u8>, PackError> {
    if let Some(entry) =
        manifest.entry_points.iter().find(|entry| modules.iter().all(|(path, _)| *path != entry.wasm_path))
    {
        return Err(PackError::Missing(entry.wasm_path.clone()));
    }
    if let Some((path, _)) = modules.iter().find(|(_, bytes)| !bytes.starts_with(WASM_MAGIC)) {
        return Err(PackError::NotWasm((*path).into()));
    }
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let manifest = serde_json::to_vec(manifest)?;
    for (path, bytes) in std::iter::once(("manifest.json", manifest.as_slice())).chain(modules.iter().copied()) {
        zip.start_file(path, options)?;
        zip.write_all(bytes).map_err(zip::result::ZipError::Io)?;
    }
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_the_same_each_time() {
        let manifest = Manifest::of_program("x");
        let module = b"\0asm\x01\0\0\0".as_slice();
        let package = pack(&manifest, &[("x.wasm", module)]).unwrap();
        assert_eq!(pack(&manifest, &[("x.wasm", module)]).unwrap(), package);
        let mut zip = zip::ZipArchive::new(Cursor::new(package)).unwrap();
        let read: Manifest = serde_json::from_reader(zip.by_name("manifest.json").unwrap()).unwrap();
        assert_eq!(read, manifest);
        assert!(matches!(pack(&manifest, &[]), Err(PackError::Missing(path)) if path == "x.wasm"));
        assert!(matches!(pack(&manifest, &[("x.wasm", b"(module)")]), Err(PackError::NotWasm(_))));
    }
}
