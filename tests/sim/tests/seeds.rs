//! The short form of `cargo xtask sim`.

use eyot_sim::{Mutant, Seeds, campaign};

#[test]
fn the_invariant_holds_for_a_thousand_seeds() {
    let seeds = Seeds {
        from: 0,
        count: 1_000,
        mutant: None,
        most_failures: 10,
    };
    let failed = seeds.run(|_| {}).failed;
    assert!(
        failed.is_empty(),
        "replay with `cargo xtask sim --seeds 1 --from SEED --trace`: {failed:?}"
    );
}

#[test]
fn the_same_seed_gives_the_same_world() {
    for seed in 0..50 {
        let (first, again) = (campaign::one(seed, None), campaign::one(seed, None));
        assert_eq!((first.state_hash, first.steps), (again.state_hash, again.steps), "seed {seed}");
    }
}

/// `docs/verification.md` tells the seed that catches each, and how.
#[test]
fn each_mutant_is_caught() {
    for mutant in Mutant::ALL {
        let seeds = Seeds {
            from: 0,
            count: 10_000,
            mutant: Some(mutant),
            most_failures: 1,
        };
        assert!(!seeds.run(|_| {}).failed.is_empty(), "{mutant} is not caught");
    }
}
