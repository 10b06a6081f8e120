//! `yagna consent` (spec 22b §9). It needs no daemon.

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::Settings;
use crate::consent::{Consent, INFO, QUESTION};
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what was agreed to
    Show,
    /// Agree to all
    AllowAll,
    /// Refuse all
    DenyAll,
    /// Forget all answers
    UnsetAll,
    /// Agree to one
    Allow { scope: Scope },
    /// Refuse one
    Deny { scope: Scope },
    /// Forget one answer
    Unset { scope: Scope },
    /// Where the answers are kept
    Path,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Scope {
    /// Statistics of this node
    Stats,
}

pub(super) fn run(command: &Command, settings: &Settings) -> Result<Output> {
    let consent = Consent::open(settings.datadir.as_deref())?;
    match command {
        Command::Show => show(&consent),
        Command::AllowAll | Command::Allow { scope: Scope::Stats } => consent.set(Some(true)).map(|()| Output::Nothing),
        Command::DenyAll | Command::Deny { scope: Scope::Stats } => consent.set(Some(false)).map(|()| Output::Nothing),
        Command::UnsetAll | Command::Unset { scope: Scope::Stats } => consent.set(None).map(|()| Output::Nothing),
        Command::Path => Ok(Output::Value(json!({ "path": consent.path() }))),
    }
}

fn show(consent: &Consent) -> Result<Output> {
    let (value, source) = consent.stats()?;
    let word = match value {
        Some(true) => "allow",
        Some(false) => "deny",
        None => "not set",
    };
    let json = json!({ "consents": [{
        "type": "Stats", "consent": word, "source": source.name(), "location": consent.location(source),
        "info": INFO, "question": QUESTION,
    }] });
    let row = [json!("Stats"), json!(word), json!(source.words()), json!(INFO)];
    let title = "Consents given to the Golem service, you can change them, run consent --help for more info\n\
                 See Terms https://golem.network/privacy for details of the information collected.";
    Ok(Output::table(["Scope", "Status", "Source", "Info"], vec![row]).titled(title).with_json(json))
}
