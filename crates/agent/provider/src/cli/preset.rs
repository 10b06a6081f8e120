//! `preset …`: list, create, change and activate presets.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Global, print, print_json};
use crate::config::descriptor::{self, Descriptor};
use crate::config::preset::{LINEAR, Preset, Presets};

#[derive(Debug, Subcommand)]
pub(super) enum PresetCommand {
    /// Show all presets
    List,
    /// Show the names of the active presets
    Active,
    /// Add a preset
    Create {
        #[arg(long)]
        preset_name: String,
        #[arg(long)]
        exe_unit: String,
        #[command(flatten)]
        terms: TermsArgs,
    },
    /// Change presets; what is not given stays
    Update {
        /// Change all presets
        #[arg(long, conflicts_with = "name", required_unless_present = "name")]
        all: bool,
        #[arg(long, num_args = 1..)]
        name: Vec<String>,
        #[arg(long)]
        exe_unit: Option<String>,
        #[command(flatten)]
        terms: TermsArgs,
    },
    /// Remove a preset
    Remove { name: String },
    /// Offer a preset
    Activate { name: String },
    /// Stop offering a preset
    Deactivate { name: String },
    /// Show what can be priced, for each runtime
    ListMetrics,
}

#[derive(Debug, Args)]
pub(super) struct TermsArgs {
    /// Accepted for the sake of scripts; there is nothing interactive
    #[arg(long)]
    no_interactive: bool,
    #[arg(long, default_value = LINEAR)]
    pricing: String,
    /// Prices in GLM per unit: a counter (`CPU`, `Duration`, `golem.usage.cpu_sec`) or `initial`
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    price: Vec<String>,
}

pub(super) fn run(global: &Global, command: PresetCommand) -> anyhow::Result<()> {
    let data_dir = global.data_dir()?;
    let mut presets = Presets::load(&data_dir)?;
    match command {
        PresetCommand::List => return list(global, &presets),
        PresetCommand::Active if global.json => return print_json(&presets.active),
        PresetCommand::Active => {
            presets.active.iter().for_each(print);
            return Ok(());
        }
        PresetCommand::ListMetrics => return list_metrics(global),
        PresetCommand::Create { preset_name, exe_unit, terms } => {
            let mut preset = Preset {
                name: preset_name.clone(),
                exe_unit_name: exe_unit,
                pricing_model: terms.pricing.clone(),
                initial_price: 0.0,
                usage_coeffs: BTreeMap::new(),
            };
            let descriptor = runtime(global, &preset.exe_unit_name)?;
            for counter in descriptor.config.counters.iter().filter(|(_, counter)| counter.price) {
                preset.usage_coeffs.insert(counter.0.clone(), 0.0);
            }
            set_prices(&mut preset, &descriptor, &terms.price)?;
            presets.create(preset)?;
            show(global, "Preset created:", presets.find(&preset_name).into_iter())?;
        }
        PresetCommand::Update { all, name, exe_unit, terms } => {
            let names: Vec<String> =
                if all { presets.presets.iter().map(|preset| preset.name.clone()).collect() } else { name };
            for name in &names {
                let mut changed =
                    presets.find(name).cloned().with_context(|| format!("Preset [{name}] doesn't exists."))?;
                if let Some(exe_unit) = &exe_unit {
                    changed.exe_unit_name.clone_from(exe_unit);
                }
                changed.pricing_model.clone_from(&terms.pricing);
                let descriptor = runtime(global, &changed.exe_unit_name)?;
                set_prices(&mut changed, &descriptor, &terms.price)?;
                presets.update(name, |preset| *preset = changed)?;
            }
            let changed = names.iter().filter_map(|name| presets.find(name));
            show(global, "Preset updated:", changed)?;
        }
        PresetCommand::Remove { name } => presets.remove(&name)?,
        PresetCommand::Activate { name } => presets.activate(&name)?,
        PresetCommand::Deactivate { name } => presets.deactivate(&name)?,
    }
    Ok(presets.save(&data_dir)?)
}

fn runtime(global: &Global, name: &str) -> anyhow::Result<Descriptor> {
    let descriptors = global.descriptors()?;
    let known = || descriptors.iter().map(|known| known.name.as_str()).collect::<Vec<_>>().join(", ");
    descriptor::by_name(&descriptors, name)
        .cloned()
        .with_context(|| format!("no runtime `{name}` is installed\nhint: those installed are {}", known()))
}

fn set_prices(preset: &mut Preset, descriptor: &Descriptor, prices: &[String]) -> anyhow::Result<()> {
    for entry in prices {
        let (key, value) = entry.split_once('=').with_context(|| format!("`{entry}` is no KEY=VALUE"))?;
        let price: f64 = value.trim().parse().with_context(|| format!("`{value}` is no price"))?;
        if key.eq_ignore_ascii_case("initial") || key == "Init price" {
            preset.initial_price = price;
        } else if let Some(counter) = descriptor.counter(key) {
            preset.usage_coeffs.insert(counter.to_owned(), price);
        } else {
            let known: Vec<&str> = descriptor.config.counters.values().map(|counter| counter.name.as_str()).collect();
            bail!(
                "runtime `{}` does not count `{key}`\nhint: it counts {}; the start price is `initial`",
                descriptor.name,
                known.join(", ")
            );
        }
    }
    Ok(())
}

fn list(global: &Global, presets: &Presets) -> anyhow::Result<()> {
    if global.json {
        return print_json(&presets.presets);
    }
    print(format_args!("Available Presets:\n"));
    presets.presets.iter().for_each(|preset| print(block(preset)));
    Ok(())
}

fn show<'a>(global: &Global, title: &str, presets: impl Iterator<Item = &'a Preset>) -> anyhow::Result<()> {
    if global.json {
        return print_json(&presets.collect::<Vec<_>>());
    }
    print(title);
    presets.for_each(|preset| print(block(preset)));
    Ok(())
}

fn block(preset: &Preset) -> String {
    let mut text = format!(
        "Name:          {}\nExeUnit:       {}\nPricing model: {}\nCoefficients:\n",
        preset.name, preset.exe_unit_name, preset.pricing_model
    );
    for (counter, price) in &preset.usage_coeffs {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    {counter:<30} {price} GLM");
    }
    let _ = writeln!(text, "    {:<30} {} GLM", "Init price", preset.initial_price);
    text
}

fn list_metrics(global: &Global) -> anyhow::Result<()> {
    let descriptors = global.descriptors()?;
    if global.json {
        let all: Vec<_> = descriptors
            .iter()
            .map(|descriptor| json!({"exe-unit": descriptor.name, "counters": descriptor.config.counters}))
            .collect();
        return print_json(&all);
    }
    for descriptor in &descriptors {
        print(format_args!("{} {}", descriptor.name, descriptor.version));
        for (property, counter) in descriptor.config.counters.iter().filter(|(_, counter)| counter.price) {
            print(format_args!("    {:<15} {property}", counter.name));
        }
    }
    Ok(())
}
