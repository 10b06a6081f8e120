//! `exe-unit list`: which runtimes are installed.

use clap::Subcommand;

use super::{Global, print, print_json};

#[derive(Debug, Subcommand)]
pub(super) enum ExeUnitCommand {
    /// Show the installed runtimes
    List,
}

pub(super) fn run(global: &Global, command: &ExeUnitCommand) -> anyhow::Result<()> {
    match command {
        ExeUnitCommand::List => {
            let descriptors = global.descriptors()?;
            if global.json {
                return print_json(&descriptors);
            }
            print("Available ExeUnits:");
            for descriptor in &descriptors {
                print(format_args!("\nName:        {}\nVersion:     {}", descriptor.name, descriptor.version));
                print(format_args!("Supervisor:  {}", descriptor.supervisor_path.display()));
                if let Some(runtime) = &descriptor.runtime_path {
                    print(format_args!("Runtime:     {}", runtime.display()));
                }
                if let Some(description) = &descriptor.description {
                    print(format_args!("Description: {description}"));
                }
                if let Err(error) = descriptor.check() {
                    print(format_args!("Trouble:     {error}"));
                }
            }
            Ok(())
        }
    }
}
