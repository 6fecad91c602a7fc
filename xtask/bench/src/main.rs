//! Figures of Eyot as ratios against floors that are measured in the same run on the same machine.
//!
//! A figure is a [`Figure`] in a group; `cargo xtask bench [GROUP]` runs them. Each is measured several times, and the
//! median counts. `ratio` says how many times worse than the floor we are: time by floor time, or floor rate by rate.

mod agent;
mod blob;
mod cloud;
mod disk;
mod engine;
mod figure;
mod footprint;
mod plan;
mod plane;
mod programs;

use anyhow::{Result, bail};
use clap::Parser;
use figure::{Figure, Measured};

/// Measure Eyot against floors of the same machine.
#[derive(Debug, Parser)]
struct Args {
    /// A group or the beginning of a figure's name
    group: Option<String>,
    /// Runs of each figure
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(5..))]
    runs: u32,
    /// A JSON line for each figure on standard output
    #[arg(long)]
    json: bool,
    /// List the figures and measure nothing
    #[arg(long)]
    list: bool,
}

/// All figures, in the order that they are measured in.
fn figures() -> Vec<Figure> {
    let mut figures = plan::figures();
    figures.extend(agent::figures());
    figures.extend(cloud::figures());
    figures.extend(footprint::figures());
    figures.extend(blob::figures());
    figures
}

fn main() -> Result<()> {
    let args = Args::parse();
    let wanted = |figure: &Figure| args.group.as_deref().is_none_or(|group| figure.name.starts_with(group));
    let chosen: Vec<Figure> = figures().into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        bail!(
            "there is no figure `{}`; --list shows them all",
            args.group.as_deref().unwrap_or_default()
        );
    }
    if args.list {
        chosen.iter().for_each(|figure| println!("{:<24} {}", figure.name, figure.what));
        return Ok(());
    }
    let mut measured = Vec::new();
    for figure in chosen {
        eprintln!("measuring {} …", figure.name);
        let result = figure.measure(args.runs)?;
        if args.json {
            println!("{}", serde_json::to_string(&result)?);
        }
        measured.push(result);
    }
    if !args.json {
        table(&measured);
    }
    Ok(())
}

fn table(measured: &[Measured]) {
    println!(
        "{:<24} {:>12} {:>12} {:>8} {:>8}  {:<6} n",
        "figure", "value", "floor", "ratio", "target", ""
    );
    for m in measured {
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.2}"));
        let missed = if m.met() { "" } else { "missed" };
        println!(
            "{:<24} {:>12} {:>12} {:>8} {:>8}  {:<6} {}",
            m.name,
            format!("{:.3} {}", m.value, m.unit),
            m.floor.map_or_else(|| "-".to_owned(), |f| format!("{f:.3} {}", m.unit)),
            shown(m.ratio),
            shown(m.target),
            missed,
            m.n
        );
    }
}
