//! `config get` and `config set`.

use clap::{Subcommand, ValueEnum};

use super::{Global, NodeArgs, print, print_json};
use crate::config::globals::Globals;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Show all settings or one of them
    Get { name: Option<Name> },
    /// Change the settings that are given; the others stay
    Set(NodeArgs),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Name {
    #[value(name = "node_name")]
    Node,
    Subnet,
    Account,
}

pub(super) fn run(global: &Global, command: ConfigCommand) -> anyhow::Result<()> {
    let data_dir = global.data_dir()?;
    let mut globals = Globals::load(&data_dir)?;
    match command {
        ConfigCommand::Get { name: None } => {
            if global.json {
                return print_json(&globals);
            }
            for (name, value) in [("node_name", globals.node_name), ("subnet", globals.subnet)] {
                print(format_args!("{name}: {}", value.as_deref().unwrap_or("null")));
            }
            print(format_args!("account: {}", globals.account.map_or_else(|| "null".to_owned(), |id| id.to_string())));
            Ok(())
        }
        ConfigCommand::Get { name: Some(name) } => {
            let value = match name {
                Name::Node => globals.node_name,
                Name::Subnet => globals.subnet,
                Name::Account => globals.account.map(|account| account.to_string()),
            };
            if global.json {
                print_json(&value)
            } else {
                print(value.as_deref().unwrap_or("null"));
                Ok(())
            }
        }
        ConfigCommand::Set(args) => {
            for network in &args.payment_network {
                crate::platform::parse(network)?;
            }
            globals.update(args.globals());
            Ok(globals.save(&data_dir)?)
        }
    }
}
