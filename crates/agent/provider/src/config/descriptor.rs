//! Exe-unit descriptors, `ya-*.json`: which runtimes are installed (spec 60 §4, 51 §2.1).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::files::{self, FileError};

/// Descriptors of one installation.
const DESCRIPTORS_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Descriptor {
    pub(crate) name: String,
    pub(crate) version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    pub(crate) supervisor_path: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) runtime_path: Option<PathBuf>,
    #[serde(default)]
    pub(crate) extra_args: Vec<String>,
    #[serde(default)]
    pub(crate) properties: Map<String, Value>,
    #[serde(default)]
    pub(crate) config: Config,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    #[serde(default = "default_counters")]
    pub(crate) counters: BTreeMap<String, Counter>,
}

/// Something that a runtime counts; `price` means that it may have one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) price: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { counters: default_counters() }
    }
}

fn default_counters() -> BTreeMap<String, Counter> {
    [
        ("golem.usage.duration_sec", "duration", "Duration", true),
        ("golem.usage.cpu_sec", "cpu", "CPU", true),
        ("golem.usage.storage_gib", "storage_gib", "Storage", false),
    ]
    .into_iter()
    .map(|(property, name, description, price)| {
        (property.to_owned(), Counter { name: name.to_owned(), description: description.to_owned(), price })
    })
    .collect()
}

/// Why the descriptors cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DescriptorError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot list `{path}`")]
    List { path: PathBuf, source: std::io::Error },
    #[error("`{pattern}` has a `*` outside its last part, or more than one")]
    Pattern { pattern: PathBuf },
    #[error(
        "no runtime is installed: nothing matches `{pattern}`\n\
         hint: `--exe-unit-path` (or EXE_UNIT_PATH) names the descriptor files, e.g. `/opt/golem/plugins/ya-*.json`"
    )]
    None { pattern: PathBuf },
    #[error("more than {DESCRIPTORS_MAX} runtimes match `{pattern}`")]
    TooMany { pattern: PathBuf },
    #[error("runtime `{name}` needs `{path}`, which is not there")]
    Missing { name: String, path: PathBuf },
}

impl Descriptor {
    fn resolve(mut self, folder: &Path) -> Self {
        self.supervisor_path = folder.join(&self.supervisor_path);
        self.runtime_path = self.runtime_path.map(|path| folder.join(path));
        self
    }

    /// Whether the programs are where the descriptor says.
    pub(crate) fn check(&self) -> Result<(), DescriptorError> {
        match [Some(&self.supervisor_path), self.runtime_path.as_ref()]
            .into_iter()
            .flatten()
            .find(|path| !path.exists())
        {
            Some(path) => Err(DescriptorError::Missing { name: self.name.clone(), path: path.clone() }),
            None => Ok(()),
        }
    }

    /// The counter that an operator means by `key`: the property, or the short name in any case (spec 60 §1.2).
    pub(crate) fn counter(&self, key: &str) -> Option<&str> {
        let counters = &self.config.counters;
        let by_name = || counters.iter().find(|(_, counter)| counter.name.eq_ignore_ascii_case(key));
        counters.get_key_value(key).or_else(by_name).map(|(property, _)| property.as_str())
    }

    /// The arguments that stand before the verb of every call of the supervisor.
    pub(crate) fn leading_args(&self) -> impl Iterator<Item = &OsStr> {
        let runtime = self.runtime_path.iter().flat_map(|path| [OsStr::new("-b"), path.as_os_str()]);
        runtime.chain(self.extra_args.iter().map(OsStr::new))
    }
}

/// All descriptors whose files match `pattern` (at most one `*`, in the last part). A later runtime of the same name
/// and version replaces an earlier one; files are taken in the order of their names.
pub(crate) fn find(pattern: &Path) -> Result<Vec<Descriptor>, DescriptorError> {
    let mut found: Vec<Descriptor> = Vec::new();
    for path in matching_files(pattern)? {
        let folder = std::path::absolute(path.parent().unwrap_or_else(|| Path::new("")))
            .map_err(|source| DescriptorError::List { path: path.clone(), source })?;
        for descriptor in files::load::<Vec<Descriptor>>(&path)?.unwrap_or_default() {
            let descriptor = descriptor.resolve(&folder);
            found.retain(|known| (&known.name, &known.version) != (&descriptor.name, &descriptor.version));
            found.push(descriptor);
            if found.len() > DESCRIPTORS_MAX {
                return Err(DescriptorError::TooMany { pattern: pattern.to_owned() });
            }
        }
    }
    if found.is_empty() { Err(DescriptorError::None { pattern: pattern.to_owned() }) } else { Ok(found) }
}

/// The runtime that a preset means: of several versions the newest.
pub(crate) fn by_name<'a>(descriptors: &'a [Descriptor], name: &str) -> Option<&'a Descriptor> {
    let version = |descriptor: &&Descriptor| semver::Version::parse(&descriptor.version).ok();
    descriptors.iter().filter(|descriptor| descriptor.name == name).max_by_key(version)
}

fn matching_files(pattern: &Path) -> Result<Vec<PathBuf>, DescriptorError> {
    let bad = || DescriptorError::Pattern { pattern: pattern.to_owned() };
    let name = pattern.file_name().and_then(OsStr::to_str).ok_or_else(bad)?;
    let folder = pattern.parent().unwrap_or_else(|| Path::new(""));
    if folder.as_os_str().as_encoded_bytes().contains(&b'*') {
        return Err(bad());
    }
    let Some((prefix, suffix)) = name.split_once('*') else {
        return Ok(if pattern.exists() { vec![pattern.to_owned()] } else { vec![] });
    };
    if suffix.contains('*') {
        return Err(bad());
    }
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let list = |source| DescriptorError::List { path: listed.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(listed).map_err(list)? {
        let file_name = entry.map_err(list)?.file_name();
        let fits = file_name.to_str().is_some_and(|name| {
            name.len() >= prefix.len() + suffix.len() && name.starts_with(prefix) && name.ends_with(suffix)
        });
        if fits {
            files.push(listed.join(file_name));
        }
    }
    files.sort();
    Ok(files)
}

/// Where descriptors are when nobody says: beside the program, then the user's, then the system's (spec 60 §1.1).
pub(crate) fn default_pattern() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("plugins")));
    let home = std::env::home_dir().map(|home| home.join(".local/lib/yagna/plugins"));
    let folder = [beside, home].into_iter().flatten().find(|folder| folder.is_dir());
    folder.unwrap_or_else(|| PathBuf::from("/usr/lib/yagna/plugins")).join("ya-*.json")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = r#"[{"name":"wasmtime","version":"0.2.1","supervisor-path":"exe-unit",
        "runtime-path":"ya-runtime-wasi","properties":{"wasm.wasi.version@v":"0.9.0"}}]"#;

    #[test]
    fn paths_are_relative_to_the_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ya-wasi.json"), FILE).unwrap();
        std::fs::write(folder.path().join("other.json"), "broken").unwrap();
        let found = find(&folder.path().join("ya-*.json")).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].supervisor_path, folder.path().join("exe-unit"));
        assert!(matches!(found[0].check(), Err(DescriptorError::Missing { .. })));
        let args: Vec<_> = found[0].leading_args().collect();
        assert_eq!(args, [OsStr::new("-b"), folder.path().join("ya-runtime-wasi").as_os_str()]);
    }

    #[test]
    fn counters_are_found_by_property_and_name() {
        let [wasi]: [Descriptor; 1] = serde_json::from_str(FILE).unwrap();
        for (key, expected) in [
            ("golem.usage.cpu_sec", Some("golem.usage.cpu_sec")),
            ("CPU", Some("golem.usage.cpu_sec")),
            ("Duration", Some("golem.usage.duration_sec")),
            ("golem.usage.gib", None),
        ] {
            assert_eq!(wasi.counter(key), expected, "{key}");
        }
    }

    #[test]
    fn only_the_last_part_has_a_star() {
        for pattern in ["/tmp/*/ya.json", "/tmp/*-*.json"] {
            assert!(matches!(find(Path::new(pattern)), Err(DescriptorError::Pattern { .. })), "{pattern}");
        }
        assert!(matches!(find(Path::new("/nowhere/ya.json")), Err(DescriptorError::None { .. })));
    }

    #[test]
    fn the_newest_version_is_taken() {
        let mut all: Vec<Descriptor> = serde_json::from_str(FILE).unwrap();
        all.push(Descriptor { version: "0.10.0".into(), ..all[0].clone() });
        assert_eq!(by_name(&all, "wasmtime").unwrap().version, "0.10.0");
        assert!(by_name(&all, "vm").is_none());
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(cut in 0..FILE.len(), junk in "[{}\\[\\]\":,0-9a-z]{0,6}") {
            let mut broken = FILE.to_owned();
            broken.replace_range(cut..cut, &junk);
            let _ = serde_json::from_str::<Vec<Descriptor>>(&broken);
        }
    }
}
