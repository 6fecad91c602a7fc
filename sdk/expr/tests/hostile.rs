//! Texts and values made to hurt: refused or bounded, never a panic, a stack overflow or an endless evaluation.
#![allow(clippy::unwrap_used)]

use eyot_expr::{EvaluateErrorKind, Program, Scope};
use eyot_model::Value;
use proptest::prelude::*;

/// Runs on a stack as small as a thread of a runtime may have.
fn on_a_small_stack(test: fn()) {
    std::thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(test)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn deep_and_long_sources_are_refused_or_evaluated_within_the_stack() {
    on_a_small_stack(|| {
        for (open, close) in [
            ("(", ")"),
            ("[", "]"),
            ("{'a':", "}"),
            ("!", ""),
            ("-", ""),
            ("f(", ")"),
            ("a ? b : ", ""),
            ("a[", "]"),
        ] {
            for n in [10, 31, 32, 100, 3_000, 100_000] {
                let source = format!("{}a{}", open.repeat(n), close.repeat(n));
                if let Ok(program) = Program::parse(&source) {
                    let _ = program.evaluate(&Scope::new());
                }
            }
        }
        for link in [
            " + 1",
            ".a",
            "[0]",
            " && a",
            " || a",
            " == 1",
            ".size()",
            ".map(x, x)",
            " ? 1 : 2",
            "[b]",
        ] {
            for n in [100, 255, 256, 1_500, 50_000] {
                let source = format!("1{}", link.repeat(n));
                if let Ok(program) = Program::parse(&source) {
                    let _ = program.evaluate(&Scope::new());
                }
            }
        }
    });
    let too_deep = Program::parse(&"(".repeat(5_000)).unwrap_err();
    assert_eq!(too_deep.message, "nested deeper than 32 levels");
    let too_long = Program::parse(&"a".repeat(20_000)).unwrap_err();
    assert_eq!(too_long.message, "an expression is at most 16384 bytes long");
    let chain = Program::parse(&format!("1{}", " + 1".repeat(1_000))).unwrap_err();
    assert_eq!(chain.message, "the expression has too many operators in a row");
    // Long conditions are flat, so these are not.
    let long = Program::parse(&format!("true{}", " && true".repeat(1_500))).unwrap();
    assert_eq!(long.evaluate(&Scope::new()), Ok(Value::Bool(true)));
}

#[test]
fn work_is_bounded() {
    let mut scope = Scope::new();
    scope.bind("xs", Value::List((0..10_000).map(Value::Int).collect()));
    scope.bind("text", Value::String("ab".repeat(100_000)));
    for source in [
        "xs.map(a, xs.map(b, xs.map(c, a + b + c)))",
        "xs.all(a, xs.all(b, a + b >= 0))",
        "xs.exists(a, xs.exists(b, a < 0 || b < 0))",
        "range(100000).map(a, range(100000))",
        "xs.map(a, text)",
        "xs.map(a, text + text)",
        "xs.filter(a, text.contains('abb'))",
        "xs.map(a, text.split(''))",
        "xs.all(a, text.matches('(a|b)*c?'))",
        "xs.map(a, xs.map(b, b).distinct())",
        "text.replace('', text)",
        "xs.map(a, xs)",
        "xs.all(a, xs == xs)",
        "xs.map(x, text).join(text)",
    ] {
        let error = Program::parse(source).unwrap().evaluate(&scope).unwrap_err();
        assert!(
            matches!(error.kind, EvaluateErrorKind::TooCostly | EvaluateErrorKind::TooLarge),
            "{source}: {error}"
        );
    }
    let doubling = format!("[['a']]{}", ".map(x, x + x)".repeat(60));
    let error = Program::parse(&doubling).unwrap().evaluate(&scope).unwrap_err();
    assert!(matches!(error.kind, EvaluateErrorKind::TooCostly), "{error}");
}

#[test]
fn cost_that_runs_out_is_not_swallowed_by_a_condition() {
    let mut scope = Scope::new();
    scope.bind("xs", Value::List((0..10_000).map(Value::Int).collect()));
    let error = Program::parse("xs.all(a, xs.all(b, b >= 0)) || true")
        .unwrap()
        .evaluate(&scope)
        .unwrap_err();
    assert_eq!(error.kind, EvaluateErrorKind::TooCostly);
}

#[test]
fn results_are_no_deeper_than_what_can_be_read_back() {
    let mut value = Value::Int(1);
    for _ in 0..55 {
        value = Value::List(vec![value]);
    }
    let mut scope = Scope::new();
    scope.bind("v", value);
    assert!(Program::parse("[v]").unwrap().evaluate(&scope).is_ok());
    let error = Program::parse("[[[[[[[[v]]]]]]]]").unwrap().evaluate(&scope).unwrap_err();
    assert_eq!(error.kind, EvaluateErrorKind::TooDeep);
}

#[test]
fn regular_expressions_are_bounded() {
    for pattern in [
        "(",
        "[",
        "a{1000}{1000}",
        "((((((((((a{20}){20}){20}){20}){20}))))))",
        "\\\\p{Greek}{500}",
    ] {
        let program = Program::parse(&format!("'aaa'.matches('{pattern}')")).unwrap();
        assert!(program.evaluate(&Scope::new()).is_err(), "{pattern}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_panics(source in "\\PC{0,60}") {
        if let Ok(program) = Program::parse(&source) {
            let _ = program.evaluate(&Scope::new());
        }
    }

    #[test]
    fn no_text_of_the_language_s_own_pieces_panics(pieces in proptest::collection::vec(prop_oneof![
        "[ab]", Just("inputs".to_owned()), "[0-9]{1,20}", Just("'".to_owned()), Just("\"".to_owned()), Just("'é'".to_owned()),
        Just("b'\\".to_owned()), Just("r'\\".to_owned()), "[-+*/%?:!<>=&|.,(){}\\[\\]`\\\\]", Just(" in ".to_owned()),
        Just(".map(x,".to_owned()), Just("has(".to_owned()), Just("size(".to_owned()), Just("//".to_owned()), Just("\n".to_owned()),
        Just("\\x".to_owned()), Just("\\u12".to_owned()), Just("1e".to_owned()), Just("0x".to_owned()), Just("'''".to_owned()),
    ], 0..24)) {
        let source = pieces.concat();
        let mut scope = Scope::new();
        scope.bind("inputs", Value::List(vec![Value::Int(1), Value::from("a")]));
        match Program::parse(&source) {
            Ok(program) => { let _ = program.evaluate(&scope); }
            Err(error) => prop_assert!(error.offset <= source.len() && source.is_char_boundary(error.offset)),
        }
    }
}
