//! Extensions: programs named `yagna-<name>` (spec 22 §11).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::env;

const PREFIX: &str = "yagna-";

/// Files of one directory that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// How an extension is started, as kept beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Conf {
    #[serde(default)]
    pub(crate) args: Vec<String>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) autostart: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Extension {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) conf: Conf,
}

/// All extensions by name; of several with one name the first found.
pub(crate) fn all(data_dir: Option<&Path>) -> BTreeMap<String, Extension> {
    let mut found = BTreeMap::new();
    for dir in dirs(data_dir) {
        for path in entries(&dir) {
            let Some(name) = name_of(&path) else { continue };
            let path = if path.is_dir() { path.join(path.file_name().unwrap_or_default()) } else { path };
            if is_program(&path) {
                let conf = read_conf(&path);
                found.entry(name.clone()).or_insert(Extension { name, path, conf });
            }
        }
    }
    found
}

pub(crate) fn find(name: &str, data_dir: Option<&Path>) -> Option<Extension> {
    let file = format!("{PREFIX}{name}{}", std::env::consts::EXE_SUFFIX);
    dirs(data_dir)
        .into_iter()
        .flat_map(|dir| [dir.join(&file), dir.join(format!("{PREFIX}{name}")).join(&file)])
        .find(|path| is_program(path))
        .map(|path| Extension { name: name.to_owned(), conf: read_conf(&path), path })
}

pub(crate) fn write_conf(name: &str, data_dir: Option<&Path>, conf: &Conf) -> Result<()> {
    let Some(extension) = find(name, data_dir) else {
        bail!("extension `{name}` not found; hint: put `{PREFIX}{name}` into a directory of `PATH`");
    };
    let path = conf_path(&extension.path);
    let text = serde_json::to_string(conf)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

fn dirs(data_dir: Option<&Path>) -> Vec<PathBuf> {
    let list = |value: Option<std::ffi::OsString>| -> Vec<PathBuf> {
        value.map(|value| std::env::split_paths(&value).collect()).unwrap_or_default()
    };
    let mut dirs = list(env::EXTENSIONS_DIR.os());
    if cfg!(windows) {
        dirs.extend(data_dir.map(|dir| dir.join("extensions")));
    } else {
        dirs.extend(std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/lib/yagna/extensions")));
    }
    dirs.extend(list(std::env::var_os("PATH")));
    dirs
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.take(ENTRIES_MAX).filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

fn name_of(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let file = file.strip_suffix(std::env::consts::EXE_SUFFIX)?;
    let name = file.strip_prefix(PREFIX)?;
    (!name.is_empty() && !name.contains('.')).then(|| name.to_owned())
}

fn is_program(path: &Path) -> bool {
    let Ok(meta) = path.metadata() else { return false };
    #[cfg(unix)]
    let executable = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o111 != 0;
    #[cfg(not(unix))]
    let executable = true;
    meta.is_file() && executable
}

fn conf_path(program: &Path) -> PathBuf {
    program.with_extension("json")
}

/// What cannot be read counts as not there.
fn read_conf(program: &Path) -> Conf {
    let text = std::fs::read_to_string(conf_path(program)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}
