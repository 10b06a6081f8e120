//! `profile …`: how much of the machine is offered.

use clap::Subcommand;

use super::{Global, print_json};
use crate::config::hardware::{Caps, Profiles, Resources};

#[derive(Debug, Subcommand)]
pub(super) enum ProfileCommand {
    /// Show all profiles (always JSON)
    List,
    /// Show the name of the active profile (always JSON)
    Active,
    /// Add a profile
    Create {
        name: String,
        #[arg(long)]
        cpu_threads: u32,
        #[arg(long)]
        mem_gib: f64,
        #[arg(long)]
        storage_gib: f64,
    },
    /// Change profiles; what is not given stays
    Update {
        /// Change all profiles
        #[arg(long, conflicts_with = "name", required_unless_present = "name")]
        all: bool,
        #[arg(long, num_args = 1..)]
        name: Vec<String>,
        #[arg(long)]
        cpu_threads: Option<u32>,
        #[arg(long)]
        mem_gib: Option<f64>,
        #[arg(long)]
        storage_gib: Option<f64>,
    },
    /// Remove a profile
    Remove { name: String },
    /// Offer what a profile says
    Activate { name: String },
}

pub(super) fn run(global: &Global, command: ProfileCommand) -> anyhow::Result<()> {
    let data_dir = global.data_dir()?;
    let mut profiles = Profiles::load_or_create(&data_dir, &global.machine()?)?;
    match command {
        ProfileCommand::List => return print_json(&profiles.profiles),
        ProfileCommand::Active => return print_json(&profiles.active),
        ProfileCommand::Create { name, cpu_threads, mem_gib, storage_gib } => {
            profiles.create(&name, Resources { cpu_threads, mem_gib, storage_gib })?;
        }
        ProfileCommand::Update { all, name, cpu_threads, mem_gib, storage_gib } => {
            let names = if all { profiles.profiles.keys().cloned().collect() } else { name };
            for name in names {
                profiles.update(&name, Caps { cpu_threads, mem_gib, storage_gib })?;
            }
        }
        ProfileCommand::Remove { name } => profiles.remove(&name)?,
        ProfileCommand::Activate { name } => profiles.activate(&name)?,
    }
    Ok(profiles.save(&data_dir)?)
}
