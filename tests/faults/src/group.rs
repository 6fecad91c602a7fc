//! The groups of faults, and what each is given.

use crate::Figure;
use anyhow::Result;
use std::pin::Pin;

/// What a group is given.
#[derive(Clone, Debug)]
pub struct Setting {
    /// All random choices of the group come from it.
    pub seed: u64,
    /// A selection that takes seconds, for every change; else as many as the promise names.
    pub short: bool,
    name: &'static str,
}

impl Setting {
    #[must_use]
    pub fn new(group: &Group, seed: u64, short: bool) -> Self {
        Self {
            seed,
            short,
            name: group.name,
        }
    }

    /// A source of choices; each `salt` gives another one.
    #[must_use]
    pub fn random(&self, salt: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed ^ salt.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// `long` times, or `short` times in the short form.
    #[must_use]
    pub fn times<T>(&self, short: T, long: T) -> T {
        if self.short { short } else { long }
    }

    /// A line of progress.
    pub fn say(&self, line: &str) {
        eprintln!("{:<11} {line}", self.name);
    }

    /// A figure of this group.
    #[must_use]
    pub fn figure(&self, name: &str, value: f64, unit: &'static str, n: usize) -> Figure {
        Figure::new(&format!("{}.{name}", self.name), value, unit, n)
    }

    /// A number of things of this group.
    #[must_use]
    pub fn count(&self, name: &str, count: usize) -> Figure {
        Figure::count(&format!("{}.{name}", self.name), count)
    }
}

/// What a group comes to: its figures, or what did not hold.
pub type Outcome<'a> = Pin<Box<dyn Future<Output = Result<Vec<Figure>>> + 'a>>;

/// One kind of fault.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    pub name: &'static str,
    /// What is done and what must hold, in a line.
    pub about: &'static str,
    /// It needs network namespaces and mounts of its own, which only root may make.
    pub needs_root: bool,
    /// It may run at the same time as the one before it, because it measures nothing that this disturbs.
    pub beside: bool,
    pub run: for<'a> fn(&'a Setting) -> Outcome<'a>,
}

/// All groups, in the order in which they run.
pub const GROUPS: &[Group] = &[
    Group {
        name: "kill-agent",
        about: "kill -9 of agents at random moments under load",
        needs_root: false,
        beside: false,
        run: |setting| Box::pin(crate::kill::agents(setting)),
    },
    Group {
        name: "kill-cloud",
        about: "kill -9 of the control plane at random moments under load",
        needs_root: false,
        beside: true,
        run: |setting| Box::pin(crate::kill::clouds(setting)),
    },
    Group {
        name: "cut",
        about: "the link of two agents is cut in the middle of a run of 200 tasks",
        needs_root: true,
        beside: false,
        run: |setting| Box::pin(crate::cut::run(setting)),
    },
    Group {
        name: "reboot",
        about: "an agent is killed and started again while the link is down",
        needs_root: false,
        beside: true,
        run: |setting| Box::pin(crate::reboot::run(setting)),
    },
    Group {
        name: "relay",
        about: "loss, delay, reordering and duplicates on the link, and a change of address",
        needs_root: false,
        beside: false,
        run: |setting| Box::pin(crate::weather::run(setting)),
    },
    Group {
        name: "power",
        about: "power loss of an agent and of the control plane: files as they were last synced, plus any later pages",
        needs_root: false,
        beside: false,
        run: |setting| Box::pin(crate::power::run(setting)),
    },
    Group {
        name: "full-disk",
        about: "the disk of an agent and that of the control plane are full for a while",
        needs_root: true,
        beside: false,
        run: |setting| Box::pin(crate::full_disk::run(setting)),
    },
    Group {
        name: "flip",
        about: "a bit is flipped in each kind of file of an agent and of the control plane",
        needs_root: false,
        beside: false,
        run: |setting| Box::pin(crate::flip::run(setting)),
    },
    Group {
        name: "checkpoint",
        about: "a long task that saves its state is killed close to its end",
        needs_root: false,
        beside: true,
        run: |setting| Box::pin(crate::checkpoint::run(setting)),
    },
    Group {
        name: "sleep",
        about: "an agent is stopped past the grace time of its work",
        needs_root: false,
        beside: true,
        run: |setting| Box::pin(crate::sleep::run(setting)),
    },
    Group {
        name: "triggers",
        about: "a schedule and an MQTT trigger on an agent that sees no control plane",
        needs_root: false,
        beside: true,
        run: |setting| Box::pin(crate::triggers::run(setting)),
    },
    Group {
        name: "storm",
        about: "many agents come back to one control plane at once",
        needs_root: false,
        beside: false,
        run: |setting| Box::pin(crate::storm::run(setting)),
    },
];

/// The group of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name)
}
