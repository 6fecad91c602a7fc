//! What the reader says of texts with mistakes: place, code, message, help.
#![allow(clippy::unwrap_used)]

mod support;

use support::{document, errors, errors_at};

/// Cases of a `spec` and all that is wrong with it.
fn check(cases: &[(&str, &[&str])]) {
    let mut wrong = Vec::new();
    for (spec, expected) in cases {
        let found = errors_at(&document(spec));
        if found != *expected {
            wrong.push(format!("{spec}\n  expected {expected:#?}\n  found {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn texts_that_are_no_yaml() {
    for (text, expected) in [
        (
            "",
            "1:1 syntax the text is empty | a workflow begins with `apiVersion: eyot.dev/v1`",
        ),
        ("a: [1, 2", "2:1 syntax while parsing a flow sequence, expected ',' or ']'"),
        (
            "a: 1\na: 2",
            "2:1 duplicate-key `a` is given twice | the first one is in line 1; keep one of them",
        ),
        (
            "a: !!binary x",
            "1:4 syntax tags such as `tag:yaml.org,2002:!binary` are not read | leave the tag out",
        ),
        (
            "a: 1\n---\nb: 2",
            "2:1 syntax the text holds more than one document | one text is one workflow",
        ),
        ("a: .nan", "1:4 invalid-value `.nan` is not a number that can be used here"),
        (
            "a: 99999999999999999999",
            "1:4 invalid-value `99999999999999999999` does not fit a 64-bit integer",
        ),
        (
            "[1]: 2",
            "1:1 syntax the key of a map must be a word, not a list or map | a value that begins with `{` or `[` is put in quotes to be a string",
        ),
        (
            "just text",
            "1:1 wrong-type expected a map for a workflow, found the string `just text` | its fields are apiVersion, kind, metadata, spec",
        ),
    ] {
        let found = errors(text);
        assert!(found.iter().any(|f| f == expected), "{text}: expected {expected}, found {found:#?}");
    }
    let tabs = errors("a:\n\t- b");
    assert!(
        tabs[0].starts_with("2:") && tabs[0].ends_with("YAML is indented with spaces"),
        "{tabs:?}"
    );
}

#[test]
fn the_frame_of_the_document() {
    let text = "apiVersion: eyot.dev/v2\nkind: workflow\nmetadata: {name: My_Flow, version: a/b}\nspecs: {}\n";
    assert_eq!(
        errors(text),
        [
            "1:1 missing-field a workflow needs `spec` | `spec`: what it does.",
            "1:13 wrong-type expected `eyot.dev/v1`, found the string `eyot.dev/v2`",
            "2:7 wrong-type expected `Workflow`, found the string `workflow`",
            "3:18 invalid-name `My_Flow` is no name for a workflow | a name begins with a letter, has lower-case letters, digits and `-` only, and at most 63 characters: `my-flow`",
            "3:36 invalid-value the string `a/b` is no version | a version has letters, digits, `.`, `-`, `_` and `+` only, and at most 63 characters",
            "4:1 unknown-field unknown field `specs` of a workflow | did you mean `spec`?",
        ]
    );
}

#[test]
fn fields_that_are_not_known_or_not_there() {
    check(&[
        (
            "tasks:\n  a: {uses: eyot/pay@2, need: [b], if: x, onFailure: finish, wibble: 1}",
            &[
                "6:27 <need: [b], i> unknown-field unknown field `need` of a task | did you mean `needs`?",
                "6:38 <if: x, onFai> unknown-field unknown field `if` of a task | did you mean `when`?",
                "6:45 <onFailure: f> unknown-field unknown field `onFailure` of a task | it is a field of `spec`",
                "6:64 <wibble: 1}> unknown-field unknown field `wibble` of a task",
            ],
        ),
        (
            "tasks:\n  a:\n    timeout: 5m",
            &[
                "6:5 <a:> missing-field a task needs `uses` | `uses`: the component: `name@version` of the registry, a file path, or `name@b3:…`.",
            ],
        ),
        ("tasks: {}", &["5:3 <tasks: {}> missing-field a workflow needs at least one task"]),
        (
            "tasks:\n  - a",
            &[
                "6:5 <- a> wrong-type expected a map of tasks, found the list `[a]` | each task has its name before it: `resize: {uses: eyot/image@1}`",
            ],
        ),
        (
            "tasks:\n  a: eyot/pay@2",
            &[
                "6:8 <eyot/pay@2> wrong-type expected a map for a task, found the string `eyot/pay@2` | its fields are uses, needs, when, with, forEach, retry, timeout, queueTimeout, cpuLimit, triggerRule, resources, placement, grants, idempotent",
            ],
        ),
        (
            "inputs: {a-b: {type: string}, c: string, d: {type: text}, e: {type: integer, default: x}}\ntasks:\n  a: {uses: eyot/pay@2}",
            &[
                "5:12 <a-b: {type: > invalid-name `a-b` is no name for an input | a name begins with a letter, has letters, digits and `_` only, and at most 63 characters: `a_b`",
                "5:36 <string, d: {> wrong-type expected a map for an input, found the string `string` | write `c: {type: string}`",
                "5:54 <text}, e: {t> invalid-value expected `string`, `integer`, `number`, `boolean`, `blob`, `list`, `object` or `any`, found the string `text`",
                "5:89 <x}}> wrong-type the default of `e` must be of type integer, found the string `x`",
            ],
        ),
        (
            "tasks:\n  Find Text: {uses: eyot/pay@2}",
            &[
                "6:5 <Find Text: {> invalid-name `Find Text` is no name for a task | a name begins with a letter, has lower-case letters, digits, `-` and `_` only, and at most 63 characters: `find-text`",
            ],
        ),
    ]);
}

#[test]
fn values_of_the_wrong_type() {
    check(&[
        (
            "deadline: [1, 2]\nmaxParallel: many\nonFailure: stop\ntasks:\n  a:\n    uses: eyot/pay@2\n    timeout: 300\n    queueTimeout: 5 minutes\n    cpuLimit: 0s\n    idempotent: yes\n    needs: b",
            &[
                "5:13 <[1, 2]> wrong-type expected a duration such as `5m`, found the list `[1, 2]`",
                "6:16 <many> wrong-type expected a whole number from 1 to 100000, found the string `many`",
                "7:14 <stop> invalid-value expected `terminate`, `finish` or `ignore`, found the string `stop`",
                "11:16 <300> wrong-type expected a duration such as `5m`, found the number `300` | a duration has a unit: `300s` is seconds, `300m` minutes, `300ms` milliseconds",
                "12:21 <5 minutes> wrong-type expected a duration such as `5m`, found the string `5 minutes` | units are ms, s, m, h, d and w: `250ms`, `1.5s`, `5m`, `1h30m`, `7d`",
                "13:17 <0s> invalid-value the duration must be longer than nothing",
                "14:19 <yes> wrong-type expected `true` or `false`, found the string `yes` | YAML 1.2 reads `yes` as a string: write `true`",
                "15:14 <b> wrong-type expected a list of task names, found the string `b` | a list is written `[b]`",
            ],
        ),
        (
            "tasks:\n  a:\n    uses: eyot/pay@2\n    resources: {cpu: lots, memory: 256 MB, gpu: yes}\n    retry: {maxAttempts: \"3\", factor: 0.5, jitter: half, maxInterval: 1s}\n    triggerRule: all_sucess\n    forEach: {items: 5, as: inputs, itemFailure: skip}",
            &[
                "8:24 <lots, memory> wrong-type expected a number of cores such as `500m`, found the string `lots` | `500m` is half a core, `2` is two",
                "8:38 <256 MB, gpu:> wrong-type expected a size such as `256Mi`, found the string `256 MB` | units are B, k, M, G and Ki, Mi, Gi: `256Mi`, `1GB`",
                "8:51 <yes}> invalid-value expected `none`, `preferred` or `required`, found the string `yes`",
                "9:28 <\"3\", factor:> wrong-type expected a whole number from 1 to 1000, found the string `3` | leave the quotes out: `3`",
                "9:41 <0.5, jitter:> invalid-value expected a number from 1 to 100, found 0.5",
                "9:54 <half, maxInt> invalid-value expected `none` or `full`, found the string `half`",
                "9:73 <1s}> invalid-value `maxInterval` (1s) is shorter than `initialInterval` (10s)",
                "10:20 <all_sucess> invalid-value expected `all_success`, `all_failed`, `all_done`, `all_skipped`, `one_success`, `one_failed`, `one_done`, `none_failed`, `none_skipped`, `none_failed_min_one_success` or `always`, found the string `all_sucess` | did you mean `all_success`?",
                "11:24 <5, as: input> wrong-type expected a list, or an expression that gives one, found the number `5` | such as `tasks.detect.outputs.boxes`, `range(10)` or `[a, b]`",
                "11:31 <inputs, item> invalid-name `inputs` already means something in expressions | choose another name, such as `item`",
                "11:52 <skip}> invalid-value expected `fail` or `continue`, found the string `skip`",
            ],
        ),
    ]);
}

#[test]
fn words_that_are_not_built_yet() {
    check(&[(
        "priority: high\nsecrets: [token]\nonFailure: rollback\ntasks:\n  a: {uses: eyot/pay@2, cache: {}, grants: [secrets, infrence, scratch], with: {t: \"${{ secrets.token }}\"}}",
        &[
            "5:3 <priority: hi> not-supported-yet `priority` is not supported yet | it is part of the language, and refused until it is built: leave it out",
            "6:3 <secrets: [to> not-supported-yet `secrets` is not supported yet | a workflow that asks for secrets is refused until they are kept safely",
            "7:14 <rollback> not-supported-yet `onFailure: rollback` is not supported yet | `terminate`, `finish` and `ignore` are",
            "9:27 <cache: {}, g> not-supported-yet `cache` is not supported yet | it is part of the language, and refused until it is built: leave it out",
            "9:47 <secrets, inf> not-supported-yet the grant `secrets` is not supported yet | a workflow that asks for it is refused until it is built",
            "9:56 <infrence, sc> invalid-value unknown grant `infrence` | did you mean `inference`?",
            "9:91 <secrets.toke> not-supported-yet secrets are not supported yet | a workflow that asks for secrets is refused until they are kept safely",
        ],
    )]);
}

#[test]
fn triggers_and_what_they_give() {
    check(&[(
        "inputs: {batch: {type: integer}, site: {type: string, default: x}}\ntriggers:\n  - schedule: {cron: \"0 25 * * *\"}\n  - schedule: {cron: \"0 2 * * *\", timeZone: Shanghai}\n  - event: {source: mqtt, topic: \"line/#/x\"}\n  - file: {path: in/*.jpg}\n  - {schedule: {cron: \"@daily\"}, file: {path: /in/*}}\n  - {event: {source: mqtt, topic: t, filter: event.count > 3}, inputs: {bach: 1, batch: a}}\n  - schedule: {cron: \"0 2 * * *\"}\ntasks:\n  a: {uses: eyot/pay@2, when: event.payload == 1}",
        &[
            "7:24 <\"0 25 * * *\"> invalid-value `0 25 * * *` is no cron expression: Component error: Number out of bounds. | minute, hour, day of month, month, day of week: `30 2 * * MON-FRI`; seconds may come first",
            "8:47 <Shanghai}> invalid-value there is no time zone `Shanghai` | did you mean `Asia/Shanghai`?",
            "9:36 <\"line/#/x\"}> invalid-value `line/#/x` is no topic: `#` is the last level or none | `+` stands for one level and `#` for all that follow, each between slashes: `line/+/batch`, `line/#`",
            "10:20 <in/*.jpg}> invalid-value `in/*.jpg` is no absolute path | begin with `/`: an agent has no folder of the author's",
            "11:36 <file: {path:> invalid-value a trigger has one of `schedule`, `event` and `file` | such as `- schedule: {cron: \"0 2 * * *\", timeZone: Europe/Berlin}`",
            "12:48 <event.count > unknown-reference `event` has no field `count` | did you mean `event.payload.count`?",
            "12:75 <bach: 1, bat> unknown-input there is no input `bach` | did you mean `batch`?",
            "12:91 <a}}> wrong-type input `batch` must be of type integer, found string",
            "13:7 <schedule: {c> missing-input trigger `schedule-1` gives no input `batch`, which has no default | add `inputs: {batch: ${{ event.… }}}` to the trigger, or a default to the input",
            "15:33 <event.payloa> unknown-reference nothing is called `event` in `when` | events are known in `triggers`; a run gets what it needs as `inputs` of the trigger",
        ],
    )]);
}

#[test]
fn expressions_and_the_names_in_them() {
    check(&[
        (
            "inputs: {site: {type: string}}\ntasks:\n  resize: {uses: eyot/image@1, with: {image: \"${{ inputs.batch }}\"}}\n  b:\n    uses: eyot/pay@2\n    when: tasks.resiz.outputs.width > 3 && inputs.site = 'x'\n    with:\n      x: \"at ${{ tasks.resiz.outputs.image }} and ${{ site }}\"\n      y: \"${{ tasks.b.outputs }}\"\n      z: \"${{ tasks.resize.width }}\"\n      w: \"${{ item }}\"\n      v: \"${{ 1 +\"",
            &[
                "7:53 <inputs.batch> unknown-reference there is no input `batch` | its inputs are `site`",
                "10:58 <= 'x'> expression unexpected `=` | equality is `==`",
                "12:20 <tasks.resiz.> unknown-reference there is no task `resiz` | did you mean `resize`?",
                "12:57 <site }}\"> unknown-reference nothing is called `site` in `with` | did you mean `inputs.site`?",
                "13:17 <tasks.b.outp> cycle `b` refers to itself | a task sees the tasks before it only",
                "14:17 <tasks.resize> unknown-reference a task has `outputs`, `state` and `error`, not `width` | an output is `tasks.resize.outputs.width`",
                "15:17 <item }}\"> unknown-reference nothing is called `item` in `with` | items are known in a task with `forEach`",
                "16:13 <${{ 1 +\"> expression this `${{` has no `}}` | close it, or write `$${{` for the characters themselves",
            ],
        ),
        (
            "tasks:\n  a: {uses: eyot/pay@2}\n  b: {uses: eyot/pay@2, when: \"tasks.a.error.kind == 'x' || tasks.a.error.code == 'x' || size(tasks.a.errors) > 0\"}",
            &[
                "7:34 <tasks.a.erro> unknown-reference `tasks.a.error` has no field `kind` | there is `message`, `code`",
                "7:97 <tasks.a.erro> unknown-reference `a` has no items, so it has no `errors` | its own is `tasks.a.error`",
            ],
        ),
        (
            "tasks:\n  find-text: {uses: eyot/pay@2}\n  b: {uses: eyot/pay@2, with: {x: \"${{ tasks.find-text.outputs.boxes }}\"}}",
            &["7:42 <tasks.find-t> unknown-reference `tasks.find-text` reads as a subtraction | write `tasks[\"find-text\"]`"],
        ),
        (
            "inputs: {tiles: {type: list}}\ntasks:\n  a:\n    uses: eyot/pay@2\n    when: size(tile) > 3\n    forEach: {items: \"inputs.tiles.filter(t, tile)\", as: tile}\n    placement: {where: inputs.tiles.size() > 1 && tasks.b.state == 'x', prefer: agent.labls.camera}\n    retry: {when: error.retriable && inputs.tiles}\n  b: {uses: eyot/pay@2, with: {x: \"${{ tasks.a.outputs.x }}\", y: \"${{ tasks.a }}\", z: \"${{ tasks }}\"}}\noutputs: {x: \"${{ tile }}\", y: \"${{ run.name }}\"}",
            &[
                "9:18 <tile) > 3> unknown-reference `tile` is not known in `when`: it is decided once, before there are items | leave items out in the list itself: `items: list.filter(tile, …)`",
                "10:48 <tile)\", as: > unknown-reference `tile` is not known in `items`: it is decided once, before there are items | leave items out in the list itself: `items: list.filter(tile, …)`",
                "11:53 <tasks.b.stat> unknown-reference nothing is called `tasks` in `placement` | known here: `agent` or `inputs`",
                "11:83 <agent.labls.> unknown-reference `agent` has no field `labls` | did you mean `labels`?",
                "12:21 <error.retria> unknown-reference `error` has no field `retriable` | did you mean `retryable`?",
                "12:40 <inputs.tiles> unknown-reference nothing is called `inputs` in `retry.when` | known here: `error` or `attempt`",
                "13:42 <tasks.a.outp> wrong-type `tasks.a.outputs` is a list, one element for each item of the `forEach` | the `x` of all items: `tasks.a.outputs.map(o, o.x)`",
                "13:73 <tasks.a }}\",> unknown-reference `tasks.a` needs `outputs` or `state` | `tasks.a.outputs` or `tasks.a.state`",
                "13:94 <tasks }}\"}}> unknown-reference `tasks` needs the name of one task | such as `tasks.resize.outputs.image`",
                "14:21 <tile }}\", y:> unknown-reference nothing is called `tile` in `outputs` | known here: `inputs`, `tasks` or `run`",
                "14:39 <run.name }}\"> unknown-reference `run` has no field `name` | there is `id`, `namespace`",
            ],
        ),
    ]);
}

#[test]
fn places_are_found_in_every_style_of_string() {
    check(&[(
        "tasks:\n  a:\n    uses: eyot/pay@2\n    when: |\n      true &&\n        nope.a\n    with:\n      b: >\n        folded ${{ nope.b }}\n        and ${{ nope.c }}\n      c: 'it''s ${{ nope.d }}'\n      d: \"a\\tb\\u00e9 ${{ nope.e }}\"\n      é: é ${{ nope.f }}\n      f: several lines\n        of ${{ nope.g }}",
        &[
            "10:11 <nope.a> unknown-reference nothing is called `nope` in `when` | known here: `inputs`, `tasks` or `run`",
            "13:22 <nope.b }}> unknown-reference nothing is called `nope` in `with` | known here: `inputs`, `tasks` or `run`",
            "14:19 <nope.c }}> unknown-reference nothing is called `nope` in `with` | known here: `inputs`, `tasks` or `run`",
            "15:23 <nope.d }}'> unknown-reference nothing is called `nope` in `with` | known here: `inputs`, `tasks` or `run`",
            "16:28 <nope.e }}\"> unknown-reference nothing is called `nope` in `with` | known here: `inputs`, `tasks` or `run`",
            "17:18 <nope.f }}> unknown-reference nothing is called `nope` in `with` | known here: `inputs`, `tasks` or `run`",
            "19:18 <nope.g }}> unknown-reference nothing is called `nope` in `with` | known here: `inputs`, `tasks` or `run`",
        ],
    )]);
}

#[test]
fn graphs_that_cannot_run() {
    check(&[
        (
            "tasks:\n  a: {uses: eyot/pay@2, needs: [c]}\n  b: {uses: eyot/pay@2, with: {x: \"${{ tasks.a.outputs }}\"}}\n  c: {uses: eyot/pay@2, when: tasks.b.state == 'failed'}\n  d: {uses: eyot/pay@2, needs: [d, e, a]}",
            &[
                "6:35 <c]}> cycle these tasks wait for each other: a -> c -> b -> a | each needs the next; take one of these needs away",
                "9:35 <d, e, a]}> cycle `d` needs itself",
                "9:38 <e, a]}> unknown-reference there is no task `e`",
            ],
        ),
        (
            "inputs: {n: {type: integer}}\ntasks:\n  a: {uses: eyot/pay@2, when: 1 > 2}\n  b: {uses: eyot/pay@2, when: false && inputs.n > 3}\n  c: {uses: eyot/pay@2, when: inputs.n}\n  d: {uses: eyot/pay@2, when: \"'yes'\", placement: {where: false}}\n  e: {uses: eyot/pay@2, with: {x: \"${{ 1 / 0 }}\"}, forEach: {items: inputs.n}}",
            &[
                "7:33 <1 > 2}> never-runs this is never true: the task would never run",
                "8:33 <false && inp> never-runs this is never true: the task would never run",
                "9:33 <inputs.n}> wrong-type a condition must be true or false, this is an integer | compare it with something, such as `inputs.count > 3`",
                "10:34 <'yes'\", plac> wrong-type a condition must be true or false, this is a string | compare it with something, such as `inputs.count > 3`",
                "10:61 <false}}> never-runs this is never true: no agent could run the task",
                "11:44 </ 0 }}\"}, fo> expression this always fails: division by zero",
                "11:71 <inputs.n}}> wrong-type `items` must be a list, this is an integer",
            ],
        ),
        (
            "onDisconnect: {reassignAfter: 5m}\ntasks:\n  a: {uses: eyot/image@1, with: {image: \"${{ tasks.b.outputs.image }}\"}}\n  b: {uses: eyot/pay@2}",
            &[
                "5:18 <reassignAfte> unsafe-reassign `reassignAfter` alone could run `b` twice, which is not idempotent | add a shorter `pauseAfter`, so that the agent stops before its work is given away",
            ],
        ),
        (
            "onDisconnect: {pauseAfter: 5m, reassignAfter: 5m}\ntasks:\n  a: {uses: eyot/pay@2}",
            &[
                "5:30 <5m, reassign> invalid-value `pauseAfter` (5m) must be shorter than `reassignAfter` (5m) | the agent has to stop before its work is given away: with 1% for clocks that differ and 1s for stopping, `reassignAfter` must be longer than 304s",
            ],
        ),
        (
            "onDisconnect: {pauseAfter: 100s, reassignAfter: 102s}\ntasks:\n  a: {uses: eyot/pay@2}",
            &[
                "5:30 <100s, reassi> invalid-value `pauseAfter` (100s) must be shorter than `reassignAfter` (102s) | the agent has to stop before its work is given away: with 1% for clocks that differ and 1s for stopping, `reassignAfter` must be longer than 102s",
            ],
        ),
    ]);
}

#[test]
fn components_and_what_they_take() {
    check(&[
        (
            "tasks:\n  a: {uses: eyot/imge@1}\n  b: {uses: eyot/image}\n  c: {uses: ./x.wasm}\n  d: {uses: eyot/infer@1}",
            &[
                "6:15 <eyot/imge@1}> unknown-component unknown component `eyot/imge@1` | did you mean `eyot/image@1`?",
                "7:15 <eyot/image}> unknown-component `eyot/image` is no name of a component | it needs a version: `eyot/image@1`",
                "8:15 <./x.wasm}> unknown-component component file `./x.wasm` was not given with the workflow | the path counts from the workflow's own folder",
                "9:15 <eyot/infer@1> missing-grant `eyot/infer@1` cannot do without the grant `inference` | add `grants: [inference]` to the task",
            ],
        ),
        (
            "inputs: {site: {type: string}, batch: {type: blob}, n: {type: number}}\ntasks:\n  a:\n    uses: eyot/image@1\n    with:\n      imgae: \"${{ inputs.batch }}\"\n      width: wide\n      filter: cubic\n      crop: {y: 1}\n  b: {uses: eyot/image@1, with: {image: \"${{ inputs.site }}\", width: \"${{ inputs.n }}\", sharpen: \"true\"}}\n  c: {uses: eyot/image@1, with: {image: inputs.batch, width: 0, crop: {x: 1.5}}}\n  d: {uses: eyot/image@1, with: {image: \"${{ tasks.b.outputs.image }}\", width: \"w ${{ inputs.n }}\"}}\n  e: {uses: eyot/text@1, with: {x: \"${{ tasks.d.outputs.imge }}\", y: \"${{ tasks.d.outputs.stats.meen }}\"}}\n  f: {uses: eyot/image@1, with: {image: \"${{ tasks.e.outputs.text }}\", width: null}}",
            &[
                "9:7 <with:> missing-input `eyot/image@1` needs the input `image` (a blob) | add `image` under `with`",
                "10:9 <imgae: \"${{ > unknown-input `eyot/image@1` has no input `imgae` | did you mean `image`?",
                "11:16 <wide> wrong-type `width` of `eyot/image@1` must be an integer or null, found the string `wide`",
                "12:17 <cubic> wrong-type `filter` of `eyot/image@1` must be one of `nearest`, `linear`, found the string `cubic`",
                "13:15 <{y: 1}> wrong-type `crop` of `eyot/image@1` has no field `y`",
                "14:43 <\"${{ inputs.> wrong-type `image` of `eyot/image@1` must be a blob, this is a string",
                "14:100 <\"true\"}}> wrong-type `sharpen` of `eyot/image@1` must be a boolean, found the string `true` | leave the quotes out: `true`",
                "15:43 <inputs.batch> wrong-type `image` of `eyot/image@1` must be a blob, found the string `inputs.batch` | an expression is written `${{ inputs.batch }}`",
                "15:64 <0, crop: {x:> wrong-type `width` of `eyot/image@1` must be at least 1, found the number `0`",
                "15:73 <{x: 1.5}}}> wrong-type `crop.x` of `eyot/image@1` must be an integer, found the number `1.5`",
                "16:82 <\"w ${{ input> wrong-type `width` of `eyot/image@1` must be an integer or null, this is a string",
                "17:43 <tasks.d.outp> unknown-output `eyot/image@1` has no output `imge` | did you mean `image`?",
                "17:77 <tasks.d.outp> unknown-output output `stats` of `eyot/image@1` has no field `meen` | did you mean `mean`?",
                "18:43 <\"${{ tasks.e> wrong-type `image` of `eyot/image@1` must be a blob, this is a string",
            ],
        ),
    ]);
}

#[test]
fn only_so_many_mistakes_are_told() {
    let tasks: String = (0..200).map(|n| format!("  t{n}: {{uses: nope}}\n")).collect();
    assert_eq!(errors(&document(&format!("tasks:\n{tasks}"))).len(), 50);
}
