//! The short form of `cargo xtask sim`.

use eyot_sim::World;

#[test]
fn the_invariant_holds_for_a_thousand_seeds() {
    let failed: Vec<(u64, String)> = (0..1_000)
        .filter_map(|seed| World::new(seed).run(seed).result.err().map(|why| (seed, why)))
        .collect();
    assert!(
        failed.is_empty(),
        "replay with `cargo xtask sim --seeds 1 --from SEED --trace`: {failed:?}"
    );
}

#[test]
fn the_same_seed_gives_the_same_world() {
    for seed in 0..50 {
        let (first, again) = (World::new(seed).run(seed), World::new(seed).run(seed));
        assert_eq!((first.state_hash, first.steps), (again.state_hash, again.steps), "seed {seed}");
    }
}
