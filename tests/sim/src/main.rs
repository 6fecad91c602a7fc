//! `cargo xtask sim`: many seeds, or one again.

#![allow(clippy::print_stdout)]

use clap::Parser;
use eyot_sim::World;

#[derive(Parser)]
#[command(about = "Simulate one cloud and several agents under faults, seed by seed")]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Tell everything that happens, on standard error.
    #[arg(long)]
    trace: bool,
    /// The last line is a result as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let (mut steps, mut attempts, mut failed, mut hash) = (0, 0, Vec::new(), 0u64);
    for seed in arguments.from..arguments.from + arguments.seeds {
        let mut world = World::new(seed);
        world.trace = arguments.trace;
        let report = world.run(seed);
        steps += report.steps;
        attempts += report.attempts;
        hash = hash.rotate_left(1) ^ report.state_hash;
        if let Err(why) = report.result {
            println!("seed {seed}: {why}");
            failed.push(seed);
            if failed.len() >= 10 {
                break;
            }
        }
    }
    println!(
        "{} seeds, {steps} steps, {attempts} attempts, state hash {hash:016x}, {} failed",
        arguments.seeds,
        failed.len()
    );
    if arguments.json {
        println!(
            "{}",
            serde_json::json!({ "ok": failed.is_empty(), "seeds": arguments.seeds, "steps": steps, "hash": format!("{hash:016x}"), "failed": failed })
        );
    }
    if failed.is_empty() {
        std::process::ExitCode::SUCCESS
    } else {
        std::process::ExitCode::FAILURE
    }
}
