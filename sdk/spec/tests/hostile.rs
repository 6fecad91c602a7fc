//! Texts made to hurt: refused or read, never a panic, and never slow out of proportion.
#![allow(clippy::unwrap_used)]

mod support;

use eyot_spec::{Unchecked, parse};
use proptest::prelude::*;
use support::{document, errors, parsed};

#[test]
fn a_billion_laughs_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let previous = n - 1;
        let aliases = vec![format!("*a{previous}"); 9].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
    }
    let found = errors(&text);
    assert!(
        found[0].contains("too-large anchors and aliases repeat more than 50000 values"),
        "{found:?}"
    );
}

#[test]
fn a_long_text_repeated_often_is_refused() {
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 10_000].join(", "));
    let found = errors(&text);
    assert!(
        found[0].contains("too-large anchors and aliases repeat more than 4194304 bytes"),
        "{found:?}"
    );
}

#[test]
fn depth_and_length_are_bounded() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(50_000),
        "- ".repeat(50_000),
        "a:\n".repeat(1).repeat(1) + &"[[".repeat(30),
    ] {
        assert!(!errors(&text).is_empty());
    }
    assert!(errors(&"x".repeat(5_000_000))[0].contains("too-large"));
    let deep = document(&format!(
        "tasks:\n  a: {{uses: eyot/pay@2, with: {{x: {}1{}}}}}",
        "[".repeat(60),
        "]".repeat(60)
    ));
    assert!(errors(&deep)[0].contains("nested deeper than 48 levels"));
    assert!(errors("&a [*a]")[0].contains("syntax"));
}

#[test]
fn long_chains_and_wide_graphs_are_read() {
    let chain: String = (0..10_000)
        .map(|n| {
            if n == 0 {
                "  t0: {uses: eyot/pay@2}\n".to_owned()
            } else {
                format!("  t{n}:\n    uses: eyot/pay@2\n    when: tasks.t{}.state == 'succeeded' && size('x') > 0\n    with: {{x: \"${{{{ tasks.t{}.outputs.y }}}}\"}}\n", n - 1, n - 1)
            }
        })
        .collect();
    let workflow = parsed(&document(&format!("tasks:\n{chain}"))).workflow;
    assert_eq!(workflow.tasks.len(), 10_000);
    assert_eq!(workflow.tasks[9_999].needs.len(), 1);

    let all: Vec<String> = (0..10_000).map(|n| format!("w{n}")).collect();
    let wide: String = all.iter().map(|n| format!("  {n}: {{uses: eyot/pay@2}}\n")).collect();
    let text = document(&format!("tasks:\n{wide}  last: {{uses: eyot/pay@2, needs: [{}]}}", all.join(", ")));
    assert_eq!(parsed(&text).workflow.tasks[10_000].needs.len(), 10_000);

    // A cycle through all of them, and ten thousand unknown names.
    let ring: String = (0..10_000)
        .map(|n| format!("  r{n}: {{uses: eyot/pay@2, needs: [r{}]}}\n", (n + 1) % 10_000))
        .collect();
    let found = errors(&document(&format!("tasks:\n{ring}")));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("r0 -> r1 -> r2") && found[0].contains("… -> r9999 -> r0"),
        "{found:?}"
    );
    let lost: String = (0..10_000)
        .map(|n| format!("  l{n}: {{uses: eyot/pay@2, needs: [m{n}]}}\n"))
        .collect();
    assert_eq!(errors(&document(&format!("tasks:\n{lost}"))).len(), 50);
}

fn yaml_pieces() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            Just("apiVersion: eyot.dev/v1\n".to_owned()),
            Just("spec:\n".to_owned()),
            Just("  tasks:\n".to_owned()),
            Just("    a: ".to_owned()),
            Just("{uses: eyot/pay@2, with: {x: ".to_owned()),
            Just("}}\n".to_owned()),
            Just("\"${{ tasks.a.outputs\"".to_owned()),
            Just("${{ inputs.é }}".to_owned()),
            Just("when: |\n      a +\n".to_owned()),
            Just("&a ".to_owned()),
            Just("*a ".to_owned()),
            Just("? ".to_owned()),
            Just("- ".to_owned()),
            Just("\t".to_owned()),
            Just("\r".to_owned()),
            Just("%YAML 1.1\n".to_owned()),
            Just("---\n".to_owned()),
            Just("'".to_owned()),
            Just("\"\\".to_owned()),
            Just(">-\n  ".to_owned()),
            Just("\u{feff}".to_owned()),
            Just("!t ".to_owned()),
            "[\\[\\]{},:#|>é ]{1,3}",
        ],
        0..30,
    )
    .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let _ = parse(&text, &Unchecked);
    }

    #[test]
    fn no_text_of_yaml_s_own_pieces_panics(text in yaml_pieces()) {
        let _ = parse(&text, &support::Registry);
    }

    #[test]
    fn no_broken_workflow_panics_and_every_place_is_in_the_text(cut in 0_usize..1_500, insert in "\\PC{0,3}", skip in 0_usize..4) {
        let text = document(
            "inputs: {a: {type: blob}}\ntasks:\n  a: {uses: eyot/image@1, with: {image: \"${{ inputs.a }}\"}}\n  b-c:\n    uses: eyot/pay@2\n    when: |\n      size(tasks.a.outputs.image) > quantity('1MB')\n    forEach: {items: \"tasks.a.outputs.tiles\", as: tile}\n    with: {x: 'é ${{ tile }}', y: >\n      folded ${{ index }}\n      }\n",
        );
        let mut chars: Vec<char> = text.chars().collect();
        let at = cut.min(chars.len());
        let end = (at + skip).min(chars.len());
        chars.splice(at..end, insert.chars());
        let broken: String = chars.into_iter().collect();
        if let Err(found) = parse(&broken, &support::Registry) {
            prop_assert!(!found.is_empty());
            let lines = broken.split(['\n', '\r']).count() + 1;
            for d in found {
                prop_assert!(d.line >= 1 && d.line as usize <= lines && d.column >= 1, "{:?}", d);
            }
        }
    }
}
