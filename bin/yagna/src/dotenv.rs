//! The `.env` file of the working directory or a parent of it (spec 22 §1).
//!
//! A process with threads cannot set its own environment soundly, so the program starts itself again, in the same
//! process, with what the file adds. Existing variables win.

use std::path::{Path, PathBuf};

/// A larger file is not ours.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Set for the second start, so that there is no third.
const APPLIED: &str = "YAGNA_DOTENV_APPLIED";

pub(crate) fn apply() -> anyhow::Result<()> {
    if std::env::var_os(APPLIED).is_some() {
        return Ok(());
    }
    let Some(path) = find() else { return Ok(()) };
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
    let added: Vec<_> = parse(&text).into_iter().filter(|(name, _)| std::env::var_os(name).is_none()).collect();
    if added.is_empty() { Ok(()) } else { again(added) }
}

fn find() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors()
        .map(|dir| dir.join(".env"))
        .find(|path: &PathBuf| Path::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= FILE_BYTES_MAX))
}

#[cfg(unix)]
fn again(added: Vec<(String, String)>) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let error =
        std::process::Command::new(std::env::current_exe()?).arg0(name).args(args).envs(added).env(APPLIED, "1").exec();
    Err(anyhow::Error::new(error).context("cannot start again with the variables of `.env`"))
}

#[cfg(not(unix))]
fn again(_: Vec<(String, String)>) -> anyhow::Result<()> {
    anyhow::bail!("`.env` files are read on unix only; hint: set the variables themselves")
}

/// Lines `NAME=value`, optionally after `export`, with `#` comments and quotes around values.
fn parse(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(valid) {
        return None;
    }
    let value = value.trim();
    let value = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value.get(1..)?.split(quote).next()?.to_owned(),
        _ => value.split(" #").next().unwrap_or_default().trim_end().to_owned(),
    };
    Some((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_names_and_values() {
        let text = "# comment\nA=1\nexport B=\"two # words\"\nC='x'y\nD=plain # note\n=no\n1A=no\nE=\nbad line\n";
        let expected = [("A", "1"), ("B", "two # words"), ("C", "x"), ("D", "plain"), ("E", "")];
        let expected: Vec<_> = expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(parse(text), expected);
    }
}
