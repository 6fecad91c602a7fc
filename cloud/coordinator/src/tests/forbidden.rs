//! What no agent may say, whoever it is.

use super::*;

#[test]
fn what_no_agent_may_say_begins_its_fragment_anew_and_the_second_time_elsewhere() {
    let rewound = |task: u32| Event::Rewound {
        task: TaskIx(task),
        generation: u32::MAX,
        at: at(1),
    };
    let over = Event::RunEnded {
        outcome: RunOutcome {
            state: RunState::Succeeded,
            outputs: BTreeMap::new(),
            failure: None,
        },
        at: at(1),
    };
    for event in [rewound(0), rewound(1), over, started(1, u32::MAX, 1), ended(1, 100_000, 1, 7)] {
        let mut cloud = Cloud::new(OnDisconnect::default());
        cloud.reports(A, 1, vec![started(0, 1, 1), ended(0, 1, 1, 7), event.clone()]);
        assert_eq!(cloud.state(0), State::Succeeded, "{event:?} takes back nothing");
        assert_eq!((cloud.alarms, cloud.owner()), (1, Some((Some(A), 2))), "{event:?}");
        assert_eq!(cloud.state(1), State::Pending);
        cloud.reports(A, 2, vec![event.clone()]);
        assert_eq!((cloud.alarms, cloud.owner()), (2, Some((None, 3))), "{event:?}");
        cloud.found(B, 3);
        cloud.reports(B, 4, vec![started(1, 1, 4), ended(1, 1, 4, 8)]);
        assert_eq!(cloud.ended(), Some(RunState::Succeeded));
    }
}

#[test]
fn an_event_of_anothers_task_is_not_the_agents_to_tell() {
    let mut cloud = Cloud::new(OnDisconnect::default());
    cloud.two_fragments(OnDisconnect::default());
    cloud.reports(A, 1, vec![started(1, 1, 1), ended(1, 1, 1, 7)]);
    assert_eq!((cloud.state(1), cloud.owner()), (State::Pending, Some((Some(A), 2))));
}
