//! What the owner agreed to share (spec 22 §8). The one thing there is: statistics of this node.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::env;

pub(crate) const INFO: &str = "Consent to augment stats.golem.network\nportal with data collected from your node.";
pub(crate) const QUESTION: &str = "Do you agree to augment stats.golem.network with data collected from your node (you can check the full range of information transferred in Terms)[allow/deny]?";

/// A larger file is not read.
const FILE_BYTES_MAX: u64 = 100_000;

#[derive(Clone, Debug)]
pub(crate) struct Consent(PathBuf);

/// Where an answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Env,
    Config,
}

impl Source {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Env => "Env",
            Self::Config => "Config",
        }
    }

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Env => "env variable",
            Self::Config => "config file",
        }
    }
}

impl Consent {
    /// The file that the environment names, else the one in the data directory.
    pub(crate) fn open(data_dir: Option<&Path>) -> Result<Self> {
        if let Some(path) = env::CONSENT_PATH.get() {
            return Ok(Self(path.into()));
        }
        let dir = data_dir.map(Path::to_owned).or_else(env::data_dir_default);
        Ok(Self(dir.context("no data directory is known; hint: set `YAGNA_DATADIR`")?.join("CONSENT")))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn location(&self, source: Source) -> String {
        match source {
            Source::Env => format!("${}", env::CONSENT_STATS.name),
            Source::Config => self.0.display().to_string(),
        }
    }

    pub(crate) fn stats(&self) -> Result<(Option<bool>, Source)> {
        match env::CONSENT_STATS.get() {
            Some(word) => match value(&word) {
                Some(value) => Ok((Some(value), Source::Env)),
                None => bail!("`{}` is `{word}`; hint: `allow` or `deny`", env::CONSENT_STATS.name),
            },
            None => Ok((self.read()?, Source::Config)),
        }
    }

    fn read(&self) -> Result<Option<bool>> {
        let failed = || format!("cannot read `{}`", self.0.display());
        match self.0.metadata() {
            Ok(meta) if meta.len() > FILE_BYTES_MAX => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(failed),
        }
        Ok(parse(&std::fs::read_to_string(&self.0).with_context(failed)?))
    }

    pub(crate) fn set(&self, stats: Option<bool>) -> Result<()> {
        if let Some(dir) = self.0.parent() {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
        }
        std::fs::write(&self.0, text(stats)).with_context(|| format!("cannot write `{}`", self.0.display()))
    }
}

fn value(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "allow" => Some(true),
        "deny" => Some(false),
        _ => None,
    }
}

fn parse(text: &str) -> Option<bool> {
    let mut lines = text.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        words.next()?.eq_ignore_ascii_case("stats").then(|| value(words.next()?))?
    });
    lines.next_back()
}

fn text(stats: Option<bool>) -> String {
    let head = "# This file contains consent settings\n# Format: <consent_scope> <allow|deny>\n\
                # Restart golem service (golemsp or yagna) to make sure changes are applied\n";
    let line = match stats {
        None => return head.to_owned(),
        Some(true) => "Stats allow \n",
        Some(false) => "Stats deny \n",
    };
    let words: String = INFO.lines().map(|line| format!("# {line}\n")).collect();
    format!("{head}\n{words}{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_as_it_is_written() {
        for stats in [None, Some(true), Some(false)] {
            assert_eq!(parse(&text(stats)), stats);
        }
        assert_eq!(parse("# Stats deny\n sTaTs ALLOW # yes\nother deny\n"), Some(true));
        assert_eq!(parse("Stats maybe\nStats"), None);
    }
}
