use super::*;
use eyot_model::{TaskIx, Workflow};

/// Times as given, one lane per agent: the model of the paper.
struct Table {
    durations: Vec<Vec<f64>>,
    eligible: Vec<Eligible>,
}

impl Cost for Table {
    fn eligible(&self, _: Node) -> &[Eligible] {
        &self.eligible
    }
    fn work(&self, _: Node) -> Work {
        Work { items: 1, most_at_once: 1 }
    }
    fn durations(&self, task: Node, on: &mut [f64]) {
        on.copy_from_slice(&self.durations[task as usize]);
    }
    fn arrivals(&self, _: Node, on: &mut [f64]) {
        on.fill(0.0);
    }
    fn transfer(&self, from: AgentIx, to: AgentIx, bytes: f64) -> f64 {
        if from == to { 0.0 } else { bytes }
    }
    fn mean_duration(&self, task: Node) -> f64 {
        self.durations[task as usize].iter().sum::<f64>() / 3.0
    }
    fn mean_transfer(&self, bytes: f64) -> f64 {
        bytes
    }
    fn tie(&self, agent: AgentIx) -> u32 {
        agent
    }
}

/// Figure 3 and table 2 of the paper: ten tasks, three processors.
const EDGES: [(u32, u32, f64); 15] = [
    (1, 2, 18.0),
    (1, 3, 12.0),
    (1, 4, 9.0),
    (1, 5, 11.0),
    (1, 6, 14.0),
    (2, 8, 19.0),
    (2, 9, 16.0),
    (3, 7, 23.0),
    (4, 8, 27.0),
    (4, 9, 23.0),
    (5, 9, 13.0),
    (6, 8, 15.0),
    (7, 10, 17.0),
    (8, 10, 11.0),
    (9, 10, 13.0),
];
const DURATIONS: [[f64; 3]; 10] = [
    [14.0, 16.0, 9.0],
    [13.0, 19.0, 18.0],
    [11.0, 13.0, 19.0],
    [13.0, 8.0, 17.0],
    [12.0, 13.0, 10.0],
    [13.0, 16.0, 9.0],
    [7.0, 15.0, 11.0],
    [5.0, 11.0, 14.0],
    [18.0, 12.0, 20.0],
    [21.0, 7.0, 16.0],
];

fn example() -> (Table, Graph, Lists<Edge>) {
    let mut workflow = crate::tests::workflow(10);
    let mut edges = Lists::with_capacity(10, EDGES.len());
    for to in 1..=10 {
        for &(before, _, bytes) in EDGES.iter().filter(|(_, t, _)| *t == to) {
            workflow.tasks[to as usize - 1].needs.insert(TaskIx(before - 1));
            edges.push_item(Edge { task: before - 1, bytes });
        }
        edges.end_list();
    }
    let table = Table {
        durations: DURATIONS.iter().map(|row| row.to_vec()).collect(),
        eligible: (0..3)
            .map(|agent| Eligible {
                agent,
                width: 1,
                preference: 0,
            })
            .collect(),
    };
    (table, graph(&workflow), edges)
}

fn graph(workflow: &Workflow) -> Graph {
    Graph::new(workflow).unwrap()
}

#[test]
fn the_ranks_are_those_of_the_paper() {
    let (table, graph, edges) = example();
    let ranks = by_rank(&table, &graph, &edges, &[Standing::Open; 10]);
    let shown: Vec<(u32, String)> = ranks.iter().map(|(n, r)| (n + 1, format!("{r:.3}"))).collect();
    let expected = [
        (1, "108.000"),
        (3, "80.000"),
        (4, "80.000"),
        (2, "77.000"),
        (5, "69.000"),
        (6, "63.333"),
        (9, "44.333"),
        (7, "42.667"),
        (8, "35.667"),
        (10, "14.667"),
    ];
    assert_eq!(shown, expected.map(|(n, r)| (n, r.to_owned())));
}

#[test]
fn the_schedule_is_that_of_the_paper() {
    let (table, graph, edges) = example();
    let placed = schedule(&table, &graph, &edges, &[Standing::Open; 10], vec![Lanes::new(vec![0.0]); 3]);
    let placed: Vec<Placed> = placed.into_iter().map(Option::unwrap).collect();
    // Processor, start and finish of each task in figure 4 a.
    let expected = [
        (3, 0, 9),
        (1, 27, 40),
        (3, 9, 28),
        (2, 18, 26),
        (3, 28, 38),
        (2, 26, 42),
        (3, 38, 49),
        (1, 57, 62),
        (2, 56, 68),
        (2, 73, 80),
    ];
    for (n, (task, (agent, start, finish))) in placed.iter().zip(expected).enumerate() {
        let found = (task.chosen.agent + 1, task.chosen.start, task.chosen.finish);
        assert_eq!(found, (agent, f64::from(start), f64::from(finish)), "task {}", n + 1);
    }
}

#[test]
fn a_preferred_agent_wins_up_to_a_quarter_more() {
    for (seconds, agent) in [(10.0, 1), (12.5, 1), (12.6, 0)] {
        let table = Table {
            durations: vec![vec![10.0, seconds]],
            eligible: vec![
                Eligible {
                    agent: 0,
                    width: 1,
                    preference: 0,
                },
                Eligible {
                    agent: 1,
                    width: 1,
                    preference: 1,
                },
            ],
        };
        let graph = graph(&crate::tests::workflow(1));
        let mut edges = Lists::with_capacity(1, 0);
        edges.end_list();
        let placed = schedule(&table, &graph, &edges, &[Standing::Open], vec![Lanes::new(vec![0.0]); 2]);
        let placed = placed[0].unwrap();
        assert_eq!(placed.chosen.agent, agent, "{seconds}");
        assert_eq!(placed.others()[0].agent, 1 - agent);
    }
}

#[test]
fn items_take_as_many_lanes_as_end_them_first() {
    let work = Work {
        items: 8,
        most_at_once: 16,
    };
    // Four lanes free now, four in a hundred.
    let lanes = Lanes::new(vec![0.0, 0.0, 0.0, 0.0, 100.0, 100.0, 100.0, 100.0]);
    assert_eq!(spread(work, 0.0, 10.0, 1, &lanes), (0.0, 20.0, 4));
    assert_eq!(spread(work, 0.0, 1_000.0, 1, &lanes), (100.0, 1_100.0, 8));
    assert_eq!(spread(work, 0.0, 10.0, 3, &lanes), (0.0, 80.0, 3));
    assert_eq!(spread(Work { most_at_once: 2, ..work }, 0.0, 10.0, 1, &lanes), (0.0, 40.0, 2));
    assert_eq!(spread(Work { items: 0, ..work }, 5.0, 10.0, 1, &lanes), (5.0, 5.0, 1));
}
