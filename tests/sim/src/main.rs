//! `cargo xtask sim`: many seeds, one again, or the mutants.

#![allow(clippy::print_stdout)]

use clap::Parser;
use eyot_sim::campaign::shrink;
use eyot_sim::{Mutant, Seeds, Setup, World};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Simulate one cloud and several agents under faults, seed by seed")]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Tell everything that happens, on standard error
    #[arg(long)]
    trace: bool,
    /// With `--trace`: under the smallest weather found that still fails
    #[arg(long, requires = "trace")]
    smallest: bool,
    /// Replace an adapter by a broken one, and look for the first seed that shows it
    #[arg(long, conflicts_with = "mutants")]
    mutant: Option<Mutant>,
    /// Look for each mutant; fail if one is not caught
    #[arg(long)]
    mutants: bool,
    /// The last line is a result as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic is a failed seed; what it says is in the report.
    std::panic::set_hook(Box::new(|_| {}));
    let ok = if arguments.trace {
        trace(&arguments)
    } else if arguments.mutants {
        mutants(&arguments, &Mutant::ALL)
    } else if let Some(mutant) = arguments.mutant {
        mutants(&arguments, &[mutant])
    } else {
        seeds(&arguments)
    };
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn trace(arguments: &Arguments) -> bool {
    let mut ok = true;
    for seed in arguments.from..arguments.from + arguments.seeds {
        let mut setup = Setup {
            mutant: arguments.mutant,
            ..Setup::random(seed)
        };
        if let Some((weather, _)) = arguments.smallest.then(|| shrink(seed, arguments.mutant)).flatten() {
            setup.weather = weather;
        }
        let mut world = World::new(setup);
        world.trace = true;
        let report = world.run();
        println!("seed {seed}: {:?}, state hash {:016x}", report.result, report.state_hash);
        ok &= report.result.is_ok();
    }
    ok
}

fn seeds(arguments: &Arguments) -> bool {
    let began = std::time::Instant::now();
    let run = Seeds {
        from: arguments.from,
        count: arguments.seeds,
        mutant: None,
        most_failures: 10,
    };
    let found = run.run(|done| eprintln!("{done} of {} seeds, {} s", arguments.seeds, began.elapsed().as_secs()));
    for (seed, why) in &found.failed {
        println!("seed {seed}: {why}");
    }
    if let Some((seed, _)) = found.failed.first() {
        tell_smaller(*seed, None);
    }
    println!(
        "{} seeds, {} steps, {} attempts, state hash {:016x}, {} failed, {} s",
        found.seeds,
        found.steps,
        found.attempts,
        found.hash,
        found.failed.len(),
        began.elapsed().as_secs()
    );
    if arguments.json {
        let failed: Vec<u64> = found.failed.iter().map(|(seed, _)| *seed).collect();
        println!(
            "{}",
            serde_json::json!({ "ok": failed.is_empty(), "seeds": found.seeds, "steps": found.steps, "attempts": found.attempts, "hash": format!("{:016x}", found.hash), "failed": failed })
        );
    }
    found.failed.is_empty()
}

fn tell_smaller(seed: u64, mutant: Option<Mutant>) {
    if let Some((weather, why)) = shrink(seed, mutant) {
        println!("  seed {seed} fails already ({why}) under");
        for (at, trouble) in weather {
            println!("    {at} us: {trouble:?}");
        }
    }
}

fn mutants(arguments: &Arguments, mutants: &[Mutant]) -> bool {
    let mut results = Vec::new();
    for mutant in mutants {
        let run = Seeds {
            from: arguments.from,
            count: arguments.seeds,
            mutant: Some(*mutant),
            most_failures: 1,
        };
        let found = run.run(|done| eprintln!("{mutant}: {done} of {} seeds", arguments.seeds));
        match found.failed.first() {
            Some((seed, why)) => {
                println!("{mutant}: caught by seed {seed}: {why}");
                println!("  replay with --seeds 1 --from {seed} --mutant {mutant} --trace");
                tell_smaller(*seed, Some(*mutant));
            }
            None => println!("{mutant}: not caught by {} seeds from {}", arguments.seeds, arguments.from),
        }
        results.push((mutant.as_str(), found.failed.first().map(|(seed, _)| *seed)));
    }
    let ok = results.iter().all(|(_, seed)| seed.is_some());
    if arguments.json {
        println!(
            "{}",
            serde_json::json!({ "ok": ok, "mutants": results.iter().copied().collect::<std::collections::BTreeMap<_, _>>() })
        );
    }
    ok
}
