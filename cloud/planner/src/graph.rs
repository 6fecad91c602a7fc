//! The graph of tasks in flat arrays, checked: every index is one, and there is no cycle.

use crate::error::Error;
use eyot_model::{TaskIx, Workflow};

/// Index of a task; [`TaskIx`] without its wrapper.
pub(crate) type Node = u32;

/// Lists of neighbours, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Lists<T> {
    ends: Vec<u32>,
    items: Vec<T>,
}

impl<T> Lists<T> {
    pub(crate) fn with_capacity(lists: usize, items: usize) -> Self {
        Self {
            ends: Vec::with_capacity(lists),
            items: Vec::with_capacity(items),
        }
    }

    pub(crate) fn push_item(&mut self, item: T) {
        self.items.push(item);
    }

    /// The items since the last list ended are the next list.
    pub(crate) fn end_list(&mut self) {
        self.ends.push(u32::try_from(self.items.len()).unwrap_or(u32::MAX));
    }

    #[inline]
    pub(crate) fn get(&self, list: Node) -> &[T] {
        let list = list as usize;
        let start = if list == 0 { 0 } else { self.ends[list - 1] };
        &self.items[start as usize..self.ends[list] as usize]
    }

    pub(crate) fn total(&self) -> usize {
        self.items.len()
    }
}

#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) before: Lists<Node>,
    /// All tasks, each after those that it needs; among equals in order of declaration.
    pub(crate) order: Vec<Node>,
}

impl Graph {
    /// # Errors
    /// When a task needs one that does not exist, or the tasks form a cycle.
    pub(crate) fn new(workflow: &Workflow) -> Result<Self, Error> {
        let count = u32::try_from(workflow.tasks.len()).map_err(|_| Error::TooManyTasks(workflow.tasks.len()))?;
        let edges: usize = workflow.tasks.iter().map(|t| t.needs.len()).sum();
        if u32::try_from(edges).is_err() {
            return Err(Error::TooManyTasks(edges));
        }
        let mut before = Lists::with_capacity(count as usize, edges);
        for task in &workflow.tasks {
            for &TaskIx(need) in &task.needs {
                if need >= count {
                    return Err(Error::UnknownTask {
                        task: task.name.clone(),
                        needs: need,
                        count,
                    });
                }
                before.push_item(need);
            }
            before.end_list();
        }
        let order = sorted(&before, count);
        if order.len() < count as usize {
            let mut placed = vec![false; count as usize];
            order.iter().for_each(|&n| placed[n as usize] = true);
            let first = placed.iter().position(|p| !p).unwrap_or(0);
            return Err(Error::Cycle {
                task: workflow.tasks[first].name.clone(),
            });
        }
        Ok(Self { before, order })
    }
}

/// The lists turned round: for each node those whose list names it.
pub(crate) fn reversed<T: Copy, U: Copy + Default>(lists: &Lists<T>, count: u32, turn: impl Fn(Node, T) -> (Node, U)) -> Lists<U> {
    let mut starts = vec![0u32; count as usize + 1];
    for node in 0..count {
        for &item in lists.get(node) {
            starts[turn(node, item).0 as usize + 1] += 1;
        }
    }
    for i in 1..starts.len() {
        starts[i] += starts[i - 1];
    }
    let ends = starts[1..].to_vec();
    let mut items = vec![U::default(); lists.total()];
    for node in 0..count {
        for &item in lists.get(node) {
            let (to, value) = turn(node, item);
            let slot = &mut starts[to as usize];
            items[*slot as usize] = value;
            *slot += 1;
        }
    }
    Lists { ends, items }
}

/// Kahn's algorithm. Shorter than `count` where there is a cycle.
fn sorted(before: &Lists<Node>, count: u32) -> Vec<Node> {
    let after: Lists<Node> = reversed(before, count, |node, need| (need, node));
    let mut waits: Vec<u32> = (0..count).map(|n| u32::try_from(before.get(n).len()).unwrap_or(u32::MAX)).collect();
    let mut order: Vec<Node> = (0..count).filter(|&n| waits[n as usize] == 0).collect();
    let mut next = 0;
    while let Some(&node) = order.get(next) {
        next += 1;
        for &n in after.get(node) {
            waits[n as usize] -= 1;
            if waits[n as usize] == 0 {
                order.push(n);
            }
        }
    }
    order
}
