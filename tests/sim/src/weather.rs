//! What goes wrong: drawn from a seed, or written down by a named scenario.

use crate::random::Random;

/// One thing that goes wrong, and for how long. Times are in microseconds; machines count from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The link breaks; `late` of what was on its way to the cloud still arrives, in order, after that.
    Cut {
        machine: usize,
        lasts: u64,
        late: u64,
    },
    /// The process is killed; what it wrote stays.
    Kill {
        machine: usize,
        lasts: u64,
    },
    /// The machine loses its power, and with it some of what was not synced.
    PowerCut {
        machine: usize,
        lasts: u64,
    },
    /// The process stands still, with its link up until the cloud misses its heart-beats.
    Freeze {
        machine: usize,
        lasts: u64,
    },
    /// The disk has no room.
    FullDisk {
        machine: usize,
        lasts: u64,
    },
    /// The next syncs fail, and so do the next writes.
    FailSyncs {
        machine: usize,
        count: u32,
    },
    FailWrites {
        machine: usize,
        count: u32,
    },
    /// A bit of the journal turns over while the machine is off.
    FlipBit {
        machine: usize,
        lasts: u64,
    },
    /// The control plane is killed.
    KillCloud {
        lasts: u64,
    },
    /// The machine of the control plane loses its power, and its clock is off by so much when it is back.
    RebootCloud {
        lasts: u64,
        micros: i64,
    },
    /// The machine's clock is off by so much from now on. What runs goes by steady time; the next boot begins with it.
    SetClock {
        machine: usize,
        micros: i64,
    },
    /// An operator has everything of a machine go on elsewhere, for so long.
    Drain {
        machine: usize,
        lasts: u64,
    },
    /// The machine never comes back; an operator takes everything away from it.
    Lose {
        machine: usize,
    },
    /// An operator stops a run (counted from 1).
    Cancel {
        run: u128,
    },
}

/// When what goes wrong, in microseconds from the beginning.
pub type Weather = Vec<(u64, Trouble)>;

/// Weather over `machines` and `runs`, until `end`. Disks are damaged only where every task is `repeatable`: what a damaged
/// disk said of an attempt is not to be had any more.
#[must_use]
pub fn random(r: &mut Random, machines: u64, runs: u64, end: u64, repeatable: bool) -> Weather {
    let mut weather = Weather::new();
    for _ in 0..r.below(14) {
        let at = r.below(end);
        let machine = usize::try_from(r.below(machines)).unwrap_or(0);
        let lasts = r.between(1_000, 900_000);
        match r.below(29) {
            0..=4 => weather.push((
                at,
                Trouble::Cut {
                    machine,
                    lasts,
                    late: r.below(4),
                },
            )),
            // Flapping.
            5 => (0..r.between(3, 6)).for_each(|n| {
                let cut = Trouble::Cut {
                    machine,
                    lasts: 1_000 + lasts / 40,
                    late: n,
                };
                weather.push((at + n * (30_000 + lasts / 20), cut));
            }),
            // Partition.
            6 => (0..machines.div_ceil(2)).for_each(|m| {
                let machine = usize::try_from(m).unwrap_or(0);
                weather.push((at, Trouble::Cut { machine, lasts, late: 0 }));
            }),
            7..=9 => weather.push((at, Trouble::Kill { machine, lasts })),
            10..=13 => weather.push((at, Trouble::PowerCut { machine, lasts })),
            14 => weather.push((at, Trouble::Freeze { machine, lasts })),
            15 => weather.push((at, Trouble::FullDisk { machine, lasts })),
            16 => weather.push((
                at,
                Trouble::FailSyncs {
                    machine,
                    count: u32::try_from(r.between(1, 4)).unwrap_or(1),
                },
            )),
            17 => weather.push((
                at,
                Trouble::FailWrites {
                    machine,
                    count: u32::try_from(r.between(1, 2)).unwrap_or(1),
                },
            )),
            25 => weather.push((
                at,
                Trouble::RebootCloud {
                    lasts: lasts / 2,
                    micros: wrong_clock(r),
                },
            )),
            // Where it boots soon, that is seen.
            26 | 27 => {
                let micros = wrong_clock(r);
                weather.push((at, Trouble::SetClock { machine, micros }));
                if r.chance(70) {
                    weather.push((at + r.below(50_000), Trouble::PowerCut { machine, lasts }));
                }
            }
            28 if repeatable => weather.push((at, Trouble::FlipBit { machine, lasts })),
            22 | 23 => weather.push((at, Trouble::Drain { machine, lasts })),
            18 | 19 if r.chance(30) => weather.push((
                at,
                Trouble::Cancel {
                    run: u128::from(r.between(1, runs)),
                },
            )),
            _ => weather.push((at, Trouble::KillCloud { lasts: lasts / 2 })),
        }
    }
    weather.sort_by_key(|(at, _)| *at);
    weather
}

/// By how much a clock may be wrong, in microseconds: by seconds, by a day, or because there is no battery and it begins in
/// 1970.
fn wrong_clock(r: &mut Random) -> i64 {
    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;
    let any = |r: &mut Random, most: i64| i64::try_from(r.below(2 * most.unsigned_abs())).unwrap_or(0) - most;
    match r.below(4) {
        0 => any(r, 20 * SECOND),
        1 => any(r, 2 * DAY),
        2 => -20_800 * DAY,
        _ => 0,
    }
}
