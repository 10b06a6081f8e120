//! `yagna db`: work on the databases of a node that does not run (spec 22b §10).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use golem_store::rusqlite::Connection;
use nix::fcntl::{Flock, FlockArg};

use super::Settings;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Give free space of the databases back
    Vacuum {
        /// Even if a program uses the directory
        #[arg(long)]
        force: bool,
    },
}

pub(super) fn run(command: &Command, settings: &Settings) -> Result<Output> {
    let Command::Vacuum { force } = command;
    let dir = settings.data_dir()?;
    let files = files(&dir)?;
    if !force && files.iter().filter(|path| has_end(path, &["lock"])).any(|path| is_locked(path)) {
        bail!("Data directory '{}' is used by another application. Use '--force' to override.", dir.display());
    }
    let databases: Vec<_> = files.into_iter().filter(|path| has_end(path, &["db", "sqlite"])).collect();
    if databases.is_empty() {
        return Output::value("no databases found to vacuum");
    }
    for path in databases {
        let vacuum = || Connection::open(&path)?.execute_batch("VACUUM");
        vacuum().with_context(|| format!("cannot vacuum `{}`", path.display()))?;
    }
    Ok(Output::Nothing)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", dir.display())),
    };
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect())
}

fn has_end(path: &Path, ends: &[&str]) -> bool {
    path.extension().is_some_and(|end| ends.iter().any(|wanted| end == *wanted))
}

fn is_locked(path: &Path) -> bool {
    std::fs::File::open(path).is_ok_and(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err())
}
