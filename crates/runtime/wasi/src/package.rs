//! Packages: a zip with `manifest.json` and the modules it names.
//!
//! Nothing is ever unpacked to disk: entries are looked up by their exact names and read into memory, up to a limit,
//! so names with `..`, absolute names and links have nowhere to lead to.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zip::ZipArchive;
use zip::result::ZipError;

const MANIFEST_NAME: &str = "manifest.json";
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Largest module, unpacked. Compiling needs several times as much memory.
pub const MODULE_BYTES_MAX: u64 = 256 << 20;
const ENTRY_POINTS_MAX: usize = 256;
const MOUNT_POINTS_MAX: usize = 64;
/// Longest id or path in a manifest, which end up in file names and messages.
const TEXT_LEN_MAX: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    #[error("cannot read package `{path}`")]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("package is not a zip archive")]
    Zip(#[source] ZipError),
    #[error("package has no `{0}`")]
    Missing(String),
    #[error("cannot unpack `{name}`")]
    Entry {
        name: String,
        #[source]
        source: ZipError,
    },
    #[error("cannot unpack `{name}`")]
    Unpack {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("`{0}` in the package is not a regular file")]
    NotAFile(String),
    #[error("`{name}` is larger than the limit of {max} bytes when unpacked")]
    TooLarge { name: String, max: u64 },
    #[error("`{MANIFEST_NAME}` is invalid")]
    Manifest(#[from] serde_json::Error),
    #[error("`{MANIFEST_NAME}` is invalid: {0}")]
    Content(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub entry_points: Vec<EntryPoint>,
    #[serde(default)]
    pub mount_points: Vec<MountPoint>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EntryPoint {
    pub id: String,
    pub wasm_path: String,
}

/// A folder that the program sees. Read-only and write-only are not enforced, as programs of the network expect.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountPoint {
    Ro(String),
    Rw(String),
    Wo(String),
    /// Not reachable by transfers.
    Private(String),
}

impl MountPoint {
    fn path(&self) -> &str {
        match self {
            Self::Ro(path) | Self::Rw(path) | Self::Wo(path) | Self::Private(path) => path,
        }
    }

    pub const fn is_private(&self) -> bool {
        matches!(self, Self::Private(_))
    }

    /// The path inside, absolute and without `.` and `..`.
    pub fn guest_path(&self) -> Result<String, PackageError> {
        guest_path(self.path())
    }
}

/// Makes a path of the guest absolute; refuses what could mean another place.
pub fn guest_path(path: &str) -> Result<String, PackageError> {
    let bad = |why: &str| PackageError::Content(format!("mount point `{path}` {why}"));
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return Err(bad("has a `.` or `..`"));
    }
    if path.is_empty() || path.len() > TEXT_LEN_MAX || path.contains(['\0', '\n']) {
        return Err(bad("is empty, too long or has characters that a path cannot have"));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// An opened package.
#[derive(Debug)]
pub struct Package<R> {
    zip: ZipArchive<R>,
    pub manifest: Manifest,
}

impl Package<File> {
    pub fn open(path: &Path) -> Result<Self, PackageError> {
        let fail = |source| PackageError::Open { path: path.into(), source };
        let file = File::open(path).map_err(fail)?;
        if !file.metadata().map_err(fail)?.is_file() {
            return Err(fail(io::Error::other("not a regular file")));
        }
        Self::read(file)
    }
}

impl<R: Read + Seek> Package<R> {
    pub fn read(reader: R) -> Result<Self, PackageError> {
        let mut zip = ZipArchive::new(reader).map_err(PackageError::Zip)?;
        let manifest = unpack(&mut zip, MANIFEST_NAME, MANIFEST_BYTES_MAX)?;
        let manifest: Manifest = serde_json::from_slice(&manifest)?;
        check(&manifest)?;
        Ok(Self { zip, manifest })
    }

    /// The bytes of a module.
    pub fn module(&mut self, wasm_path: &str) -> Result<Vec<u8>, PackageError> {
        unpack(&mut self.zip, wasm_path, MODULE_BYTES_MAX)
    }
}

fn check(manifest: &Manifest) -> Result<(), PackageError> {
    let bad = |why: String| Err(PackageError::Content(why));
    if manifest.entry_points.len() > ENTRY_POINTS_MAX {
        return bad(format!("more than {ENTRY_POINTS_MAX} entry points"));
    }
    if manifest.mount_points.len() > MOUNT_POINTS_MAX {
        return bad(format!("more than {MOUNT_POINTS_MAX} mount points"));
    }
    let texts = manifest.entry_points.iter().flat_map(|entry| [&entry.id, &entry.wasm_path]);
    if texts.chain([&manifest.id, &manifest.name]).any(|text| text.len() > TEXT_LEN_MAX) {
        return bad(format!("a name is longer than {TEXT_LEN_MAX} bytes"));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = manifest.entry_points.iter().find(|entry| !seen.insert(&entry.id)) {
        return bad(format!("entry point `{}` stands twice", twice.id));
    }
    let mut seen = HashSet::new();
    for mount in &manifest.mount_points {
        let path = mount.guest_path()?;
        if !seen.insert(path.clone()) {
            return bad(format!("mount point `{path}` stands twice"));
        }
    }
    Ok(())
}

fn unpack<R: Read + Seek>(zip: &mut ZipArchive<R>, name: &str, max: u64) -> Result<Vec<u8>, PackageError> {
    let entry = match zip.by_name(name) {
        Ok(entry) => entry,
        Err(ZipError::FileNotFound) => return Err(PackageError::Missing(name.into())),
        Err(source) => return Err(PackageError::Entry { name: name.into(), source }),
    };
    if !entry.is_file() || entry.is_symlink() {
        return Err(PackageError::NotAFile(name.into()));
    }
    // The size that the archive announces is not believed: the buffer grows with what really comes out.
    let mut bytes = Vec::new();
    entry.take(max + 1).read_to_end(&mut bytes).map_err(|source| PackageError::Unpack { name: name.into(), source })?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > max) {
        return Err(PackageError::TooLarge { name: name.into(), max });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use proptest::prelude::*;
    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::*;

    fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in entries {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn read(manifest: &str) -> Result<Package<Cursor<Vec<u8>>>, PackageError> {
        Package::read(Cursor::new(zip(&[("manifest.json", manifest.as_bytes()), ("a.wasm", b"x")])))
    }

    #[test]
    fn the_official_example_is_understood() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/exe/tiny-wasi.zip");
        let mut package = Package::open(Path::new(path)).unwrap();
        let mounts: Vec<_> = package.manifest.mount_points.iter().map(|m| m.guest_path().unwrap()).collect();
        assert_eq!(mounts, ["/in", "/out", "/tmp"]);
        assert_eq!(package.manifest.entry_points.len(), 3);
        assert_eq!(package.module("bin/hello.wasm").unwrap().len(), 138);
    }

    #[test]
    fn bad_manifests_are_refused_with_a_reason() {
        read(r#"{"id":"a","name":"b","unknown":[1]}"#).unwrap();
        for (manifest, reason) in [
            ("", "invalid"),
            ("{}", "invalid"),
            (r#"{"id":"a"}"#, "invalid"),
            (r#"{"id":"a","name":"b","mount-points":[{"rw":"../etc"}]}"#, "`..`"),
            (r#"{"id":"a","name":"b","mount-points":[{"rw":"/a/./b"}]}"#, "`.`"),
            (r#"{"id":"a","name":"b","mount-points":[{"rw":""}]}"#, "is empty"),
            (r#"{"id":"a","name":"b","mount-points":[{"rw":"a\u0000b"}]}"#, "characters"),
            (r#"{"id":"a","name":"b","mount-points":[{"rw":"a"},{"ro":"/a/"}]}"#, "twice"),
            (r#"{"id":"a","name":"b","mount-points":[{"exec":"a"}]}"#, "invalid"),
            (
                r#"{"id":"a","name":"b","entry-points":[{"id":"x","wasm-path":"a"},{"id":"x","wasm-path":"a"}]}"#,
                "twice",
            ),
        ] {
            let error = read(manifest).unwrap_err();
            assert!(error.to_string().contains(reason), "{manifest}: {error}");
        }
        let many = format!(r#"{{"id":"a","name":"b","mount-points":[{}]}}"#, vec![r#"{"rw":"a"}"#; 65].join(","));
        assert!(read(&many).unwrap_err().to_string().contains("more than 64"));
    }

    #[test]
    fn bombs_links_and_absent_entries_are_refused() {
        let bomb = zip(&[("manifest.json", &vec![b' '; 2 << 20])]);
        assert!(bomb.len() < 10_000, "it is small when packed");
        assert!(matches!(Package::read(Cursor::new(bomb)), Err(PackageError::TooLarge { .. })));

        let mut links = ZipWriter::new(Cursor::new(Vec::new()));
        links.add_symlink("manifest.json", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        let links = links.finish().unwrap();
        assert!(matches!(Package::read(links), Err(PackageError::NotAFile(_))));

        assert!(matches!(Package::read(Cursor::new(zip(&[]))), Err(PackageError::Missing(_))));
        let mut package = read(r#"{"id":"a","name":"b"}"#).unwrap();
        for name in ["nope", "../a.wasm", "/etc/passwd", "./a.wasm"] {
            assert!(matches!(package.module(name), Err(PackageError::Missing(_))), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            drop(Package::read(Cursor::new(bytes)));
        }

        #[test]
        fn a_broken_package_is_read_or_refused(at in 0usize..800, byte: u8) {
            let mut bytes = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/exe/tiny-wasi.zip")).to_vec();
            bytes[at] = byte;
            if let Ok(mut package) = Package::read(Cursor::new(bytes)) {
                drop(package.module("ok.wasm"));
            }
        }
    }
}
