//! Our evaluator against the crate `cel` as a reference: on what both know, both agree.
#![allow(clippy::unwrap_used)]

use eyot_expr::{Program, Scope};
use eyot_model::Value;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(b) => cel::Value::Bool(*b),
        Value::Int(n) => cel::Value::Int(*n),
        Value::Float(f) => cel::Value::Float(*f),
        Value::String(s) => cel::Value::String(Arc::new(s.clone())),
        Value::Bytes(b) => cel::Value::Bytes(Arc::new(b.clone())),
        Value::List(l) => cel::Value::List(Arc::new(l.iter().map(to_cel).collect())),
        Value::Map(m) => m.iter().map(|(k, v)| (k.clone(), to_cel(v))).collect::<HashMap<_, _>>().into(),
        Value::Blob(_) => panic!("the reference has no blobs"),
    }
}

fn from_cel(value: &cel::Value) -> Value {
    match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(b) => Value::Bool(*b),
        cel::Value::Int(n) => Value::Int(*n),
        cel::Value::UInt(n) => Value::Int(i64::try_from(*n).unwrap()),
        cel::Value::Float(f) => Value::Float(*f),
        cel::Value::String(s) => Value::String(s.to_string()),
        cel::Value::Bytes(b) => Value::Bytes(b.to_vec()),
        cel::Value::List(l) => Value::List(l.iter().map(from_cel).collect()),
        cel::Value::Map(m) => Value::Map(m.map.iter().map(|(k, v)| (k.to_string(), from_cel(v))).collect()),
        other => panic!("no value of ours: {other:?}"),
    }
}

/// The reference's result; None for an error or a panic of its own.
fn reference(source: &str, names: &BTreeMap<String, Value>) -> Option<Value> {
    let program = cel::Program::compile(source).ok()?;
    let mut context = cel::Context::default();
    for (name, value) in names {
        context.add_variable_from_value(name.clone(), to_cel(value));
    }
    program.execute(&context).ok().map(|v| from_cel(&v))
}

fn ours(source: &str, names: &BTreeMap<String, Value>) -> Option<Value> {
    let mut scope = Scope::new();
    for (name, value) in names {
        scope.bind_ref(name, value);
    }
    Program::parse(source)
        .unwrap_or_else(|e| panic!("{source}: {e}"))
        .evaluate(&scope)
        .ok()
}

fn names() -> BTreeMap<String, Value> {
    let list = |items: &[i64]| Value::List(items.iter().copied().map(Value::Int).collect());
    let map = Value::Map(
        [
            ("a".to_owned(), Value::Int(1)),
            ("b".to_owned(), Value::from("text")),
            ("c".to_owned(), list(&[1, 2, 3])),
            ("d".to_owned(), Value::Map([("e".to_owned(), Value::Bool(true))].into())),
        ]
        .into(),
    );
    [
        ("i".to_owned(), Value::Int(7)),
        ("j".to_owned(), Value::Int(-2)),
        ("f".to_owned(), Value::Float(2.5)),
        ("s".to_owned(), Value::from("héllo")),
        ("t".to_owned(), Value::Bool(true)),
        ("n".to_owned(), Value::Null),
        ("xs".to_owned(), list(&[3, 1, 2])),
        ("m".to_owned(), map),
    ]
    .into()
}

fn ints() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        (-20_i64..20).prop_map(|n| if n < 0 { format!("({n})") } else { n.to_string() }),
        Just("i".to_owned()),
        Just("j".to_owned()),
        Just("m.a".to_owned()),
        Just("m['c'][1]".to_owned()),
        Just("xs[0]".to_owned()),
        Just("size(xs)".to_owned()),
        Just("size(s)".to_owned()),
        Just("9223372036854775807".to_owned()),
    ];
    leaf.prop_recursive(3, 24, 2, |inner| {
        prop_oneof![
            (inner.clone(), prop_oneof!["[-+*/%]"], inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("(t ? {a} : {b})")),
            inner.clone().prop_map(|a| format!("-({a})")),
            inner.prop_map(|a| format!("[{a}, 5][0]")),
        ]
    })
    .boxed()
}

fn booleans() -> BoxedStrategy<String> {
    let comparison = prop_oneof![Just("=="), Just("!="), Just("<"), Just("<="), Just(">"), Just(">=")];
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("t".to_owned()),
        Just("m.d.e".to_owned()),
        Just("m.missing".to_owned()),
        Just("has(m.a)".to_owned()),
        Just("has(m.zz)".to_owned()),
        Just("n == null".to_owned()),
        Just("s.startsWith('h')".to_owned()),
        Just("s.contains('ll')".to_owned()),
        Just("s.matches('h.*o')".to_owned()),
        Just("'b' in m".to_owned()),
        (ints(), comparison, ints()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        ints().prop_map(|a| format!("({a} in xs)")),
        ints().prop_map(|a| format!("xs.exists(x, x == {a})")),
        ints().prop_map(|a| format!("xs.all(x, x < {a})")),
        ints().prop_map(|a| format!("xs.exists_one(x, x == {a})")),
        ints().prop_map(|a| format!("xs.all(x, 10 / x > {a})")),
    ];
    leaf.prop_recursive(3, 24, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
    .boxed()
}

fn lists() -> BoxedStrategy<String> {
    prop_oneof![
        ints().prop_map(|a| format!("xs.map(x, x + {a})")),
        booleans().prop_map(|a| format!("xs.filter(x, {a})")),
        ints().prop_map(|a| format!("xs.map(x, x > 1, x * {a})")),
        ints().prop_map(|a| format!("xs.map(x, [x].map(y, y * {a}))")),
        (ints(), booleans()).prop_map(|(a, b)| format!("[{a}] + [{b} ? 1 : 2]")),
        (ints(), booleans()).prop_map(|(a, b)| format!("{{'k': {a}, 'l': {b}}}")),
        Just("m".to_owned()),
        Just("s + 'x' + m.b".to_owned()),
        Just("f * 2.0".to_owned()),
        Just("string(i) + s".to_owned()),
        Just("int('12') + int(f)".to_owned()),
    ]
    .boxed()
}

/// Paths into a value, some of which lead nowhere.
fn paths() -> BoxedStrategy<String> {
    let step = prop_oneof![
        Just(".a".to_owned()),
        Just(".b".to_owned()),
        Just(".c".to_owned()),
        Just(".d".to_owned()),
        Just(".e".to_owned()),
        Just("['c']".to_owned()),
        Just("[\"d\"]".to_owned()),
        Just("[0]".to_owned()),
        Just("[2]".to_owned()),
        Just("[7]".to_owned()),
    ];
    (
        prop_oneof![Just("m"), Just("xs"), Just("s"), Just("n"), Just("nowhere")],
        proptest::collection::vec(step, 0..4),
    )
        .prop_map(|(root, steps)| format!("{root}{}", steps.concat()))
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn values_and_failures_are_the_same(source in prop_oneof![ints(), booleans(), lists()]) {
        let names = names();
        prop_assert_eq!(ours(&source, &names), reference(&source, &names), "{}", source);
    }

    #[test]
    fn a_path_leads_where_the_reference_s_path_leads(source in paths()) {
        let names = names();
        prop_assert!(Program::parse(&source).unwrap().is_path());
        prop_assert_eq!(ours(&source, &names), reference(&source, &names), "{}", source);
    }
}

#[test]
fn literals_are_read_the_same() {
    for source in [
        "'\\a\\b\\f\\n\\r\\t\\v\\\\\\'\\\"\\`\\?'",
        "'\\x41\\u00e9\\U0001F600\\101'",
        "b'\\xff\\377a'",
        "r'\\n' + R\"\\t\"",
        "'''a\nb'''",
        "br'\\x'",
        "1.5e-3",
        "0x7f",
        "-0x10",
        ".5",
        "[1,2,]",
        "{'a':1,}",
        "1 < 2 == true",
        "2 - 1 - 1",
        "8 / 4 / 2",
        "!!true",
        "- -5",
    ] {
        assert_eq!(ours(source, &names()), reference(source, &names()), "{source}");
    }
}
