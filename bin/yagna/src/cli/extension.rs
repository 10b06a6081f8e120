//! `yagna extension` and `yagna <name of an extension>` (spec 22 §11).

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::{Settings, failed, print_help};
use crate::extension::{self, Conf};
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List extensions
    List,
    /// Start an extension with the daemon
    Register {
        name: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Do not start it any more
    Unregister { name: String },
}

pub(super) fn run(command: Command, settings: &Settings) -> Result<Output> {
    let dir = settings.data_dir().ok();
    match command {
        Command::List => Ok(list(settings)),
        Command::Register { name, args } => {
            let conf = Conf { args, autostart: true, ..Conf::default() };
            extension::write_conf(&name, dir.as_deref(), &conf).map(|()| Output::Nothing)
        }
        Command::Unregister { name } => {
            extension::write_conf(&name, dir.as_deref(), &Conf::default()).map(|()| Output::Nothing)
        }
    }
}

fn list(settings: &Settings) -> Output {
    let (mut map, mut rows) = (Map::new(), Vec::new());
    for (name, found) in extension::all(settings.data_dir().ok().as_deref()) {
        let Conf { args, env, autostart } = found.conf;
        let path = found.path.display().to_string();
        let mark = if autostart { "X" } else { "" };
        rows.push([json!(name), json!(mark), json!(path), json!(args.join(" "))]);
        let mut entry = json!({ "path": path, "env": env, "autostart": autostart });
        if let (Some(entry), false) = (entry.as_object_mut(), args.is_empty()) {
            entry.insert("args".to_owned(), json!(args));
        }
        map.insert(name, entry);
    }
    Output::table(["name", "autostart", "path", "args"], rows).with_json(Value::Object(map))
}

/// Runs an extension in the place of a command; its exit status is ours.
pub(super) fn exec(args: &[OsString], settings: &Settings) -> ExitCode {
    let Some((name, args)) = args.split_first() else { return ExitCode::FAILURE };
    let name = name.to_string_lossy();
    let dir = settings.data_dir().ok();
    let Some(found) = extension::find(&name, dir.as_deref()) else {
        if !settings.quiet {
            print_help();
        }
        return ExitCode::FAILURE;
    };
    let mut program = std::process::Command::new(&found.path);
    program
        .args(args)
        .env("YAGNA_GSB_URL", settings.gsb_url.to_string())
        .env("YAGNA_JSON_OUTPUT", settings.json.to_string());
    if let Some(dir) = dir {
        program.env("YAGNA_DATA_DIR", dir);
    }
    match program.status().with_context(|| format!("cannot run `{}`", found.path.display())) {
        // Killed by a signal has no code and counts as done.
        Ok(status) => ExitCode::from(status.code().map_or(0, |code| u8::try_from(code).unwrap_or(1))),
        Err(error) => failed(&error),
    }
}
