//! Who may depend on whom, read from cargo's own graph of dependencies.

use super::Findings;
use cargo_metadata::{DependencyKind, Metadata, Node, PackageId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Crates that know no runtime, no clock, no randomness, no disk and no network.
const PURE: [&str; 8] = [
    "eyot-model",
    "eyot-spec",
    "eyot-expr",
    "eyot-engine",
    "eyot-wire",
    "eyot-planner",
    "eyot-coordinator",
    "eyot-node",
];

/// What would let a pure crate reach the world.
const IMPURE: [&str; 16] = [
    "tokio",
    "quinn",
    "sled",
    "wasmtime",
    "axum",
    "hyper",
    "reqwest",
    "getrandom",
    "rand",
    "rustls",
    "sqlx",
    "mio",
    "async-std",
    "smol",
    "ureq",
    "socket2",
];

/// Dependencies that bring one of those with them and do not use it where a pure crate calls them: (crate, through).
const EXCUSED: [(&str, &str); 0] = [];

/// Our own crates by the layer of the design; a crate depends on lower layers and, below the shells, on nothing of its own.
const LAYERS: [(&str, u8); 8] = [
    ("eyot-model", 0),
    ("eyot-expr", 1),
    ("eyot-wire", 1),
    ("eyot-spec", 2),
    ("eyot-engine", 2),
    ("eyot-planner", 3),
    ("eyot-coordinator", 3),
    ("eyot-node", 3),
];

pub(super) fn check(metadata: &Metadata, findings: &mut Findings) {
    let graph = Graph::new(metadata);
    for name in PURE {
        graph.check_pure(name, findings);
    }
    graph.check_sides(findings);
    graph.check_layers(findings);
}

struct Graph<'a> {
    names: BTreeMap<&'a PackageId, &'a str>,
    nodes: BTreeMap<&'a PackageId, &'a Node>,
    /// Our own packages: name, id, and the first folder of their path.
    members: Vec<(&'a str, &'a PackageId, String)>,
}

impl<'a> Graph<'a> {
    fn new(metadata: &'a Metadata) -> Self {
        let names = metadata.packages.iter().map(|p| (&p.id, p.name.as_str())).collect();
        let nodes = metadata.resolve.iter().flat_map(|r| &r.nodes).map(|n| (&n.id, n)).collect();
        let members = metadata
            .workspace_packages()
            .into_iter()
            .map(|p| {
                let path = p.manifest_path.strip_prefix(&metadata.workspace_root).unwrap_or(&p.manifest_path);
                let side = path.components().next().map(|c| c.to_string()).unwrap_or_default();
                (p.name.as_str(), &p.id, side)
            })
            .collect();
        Self { names, nodes, members }
    }

    /// What a package is built with: neither tests nor build scripts count, nor what only other platforms need.
    fn normal(&self, id: &PackageId) -> impl Iterator<Item = &'a PackageId> + use<'a> {
        let deps: &'a [cargo_metadata::NodeDep] = self.nodes.get(id).map_or(&[], |node| node.deps.as_slice());
        deps.iter()
            .filter(|dep| {
                dep.dep_kinds
                    .iter()
                    .any(|k| k.kind == DependencyKind::Normal && k.target.as_ref().is_none_or(|t| is_ours(&t.to_string())))
            })
            .map(|dep| &dep.pkg)
    }

    /// All that a package is built with, each with the package that brought it.
    fn reach(&self, from: &'a PackageId) -> BTreeMap<&'a PackageId, &'a PackageId> {
        let mut found = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(id) = queue.pop_front() {
            for next in self.normal(id) {
                if next != from && !found.contains_key(next) {
                    found.insert(next, id);
                    queue.push_back(next);
                }
            }
        }
        found
    }

    fn name(&self, id: &PackageId) -> &'a str {
        self.names.get(id).copied().unwrap_or("?")
    }

    fn check_pure(&self, name: &str, findings: &mut Findings) {
        let Some((_, id, _)) = self.members.iter().find(|(member, ..)| *member == name) else {
            findings.errors.push(format!("the pure crate {name} is not in the workspace"));
            return;
        };
        let reach = self.reach(id);
        for found in reach.keys().filter(|id| IMPURE.contains(&self.name(id))) {
            let mut way = vec![self.name(found)];
            let mut at: &PackageId = found;
            while let Some(next) = reach.get(at) {
                way.push(self.name(next));
                at = next;
            }
            if way.windows(2).any(|pair| EXCUSED.contains(&(pair[0], pair[1]))) {
                continue;
            }
            way.reverse();
            findings
                .errors
                .push(format!("{name} is pure, but depends on {}: {}", self.name(found), way.join(" -> ")));
        }
    }

    /// The cloud and the edge know each other by messages alone.
    fn check_sides(&self, findings: &mut Findings) {
        let side: BTreeMap<&str, &str> = self.members.iter().map(|(name, _, side)| (*name, side.as_str())).collect();
        for (name, id, own) in &self.members {
            let other = match own.as_str() {
                "cloud" => "edge-agent",
                "edge-agent" => "cloud",
                _ => continue,
            };
            for found in self.reach(id).keys().map(|id| self.name(id)) {
                if side.get(found) == Some(&other) {
                    findings.errors.push(format!("{name} ({own}) depends on {found} ({other})"));
                }
            }
        }
    }

    fn check_layers(&self, findings: &mut Findings) {
        let layer: BTreeMap<&str, u8> = LAYERS.into_iter().collect();
        for (name, id, _) in &self.members {
            let Some(own) = layer.get(name) else { continue };
            let direct: BTreeSet<&str> = self.normal(id).map(|id| self.name(id)).collect();
            for found in direct.into_iter().filter(|n| n.starts_with("eyot-")) {
                if layer.get(found).is_none_or(|theirs| theirs >= own) {
                    findings
                        .errors
                        .push(format!("{name} depends on {found}, which stands on the same layer or above it"));
                }
            }
        }
    }
}

/// Whether a `cfg(…)` of a dependency can hold on Linux: what is for other systems alone is never built here.
fn is_ours(target: &str) -> bool {
    let foreign = [
        "windows",
        "target_arch = \"wasm32\"",
        "target_family = \"wasm\"",
        "target_os = \"wasi\"",
        "macos",
        "hermit",
        "redox",
        "vxworks",
    ];
    let native = ["unix", "linux", "not(", "any("];
    !foreign.iter().any(|word| target.contains(word)) || native.iter().any(|word| target.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_systems_need_does_not_count() {
        for (target, ours) in [
            ("cfg(windows)", false),
            ("cfg(unix)", true),
            ("cfg(target_os = \"linux\")", true),
            ("cfg(not(windows))", true),
            ("cfg(target_arch = \"wasm32\")", false),
            ("cfg(all(target_arch = \"wasm32\", target_os = \"unknown\"))", false),
            ("cfg(any(unix, target_os = \"wasi\"))", true),
        ] {
            assert_eq!(is_ours(target), ours, "{target}");
        }
    }

    #[test]
    fn pure_crates_stand_below_the_shells() {
        for name in PURE {
            assert!(LAYERS.iter().any(|(layered, _)| *layered == name), "{name}");
        }
    }
}
