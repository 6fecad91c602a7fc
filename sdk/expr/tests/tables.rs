//! What expressions mean, and what they say when they fail.
#![allow(clippy::unwrap_used)]

use eyot_expr::{CompiledTemplate, EvaluateErrorKind, Folded, Program, Scope, fold_known};
use eyot_model::{BlobForm, BlobRef, Digest, Expr, Template, TextPart, Value};

fn json(text: &str) -> Value {
    Value::from_json(serde_json::from_str(text).unwrap()).unwrap()
}

fn blob(n: u8, size: u64) -> Value {
    Value::Blob(BlobRef {
        digest: Digest::of(&[n]),
        size,
        form: BlobForm::Raw,
    })
}

fn scope() -> Scope<'static> {
    let mut tasks = json(
        r#"{"resize": {"state": "succeeded", "outputs": {"width": 224, "mean": 0.5, "name": "cat", "tiles": [1, 2, 3]}},
            "find-text": {"state": "failed", "outputs": {"boxes": [[1, 2], [3]]}}}"#,
    );
    if let Value::Map(map) = &mut tasks {
        let image = |n| Value::Map([("image".to_owned(), blob(n, 1000))].into());
        let decode = Value::Map([("outputs".to_owned(), Value::List(vec![image(1), Value::Null, image(2)]))].into());
        map.insert("decode".to_owned(), decode);
    }
    let mut scope = Scope::new();
    scope.bind(
        "inputs",
        json(r#"{"site": "north", "n": 3, "half": 0.5, "nothing": null, "names": ["a", "b"], "é": "ü"}"#),
    );
    scope.bind("tasks", tasks);
    scope.bind("item", blob(9, 2_000_000));
    scope
}

fn value(source: &str) -> Value {
    let scope = scope();
    let program = Program::parse(source).unwrap_or_else(|e| panic!("{source}: {e} at {}", e.column));
    program.evaluate(&scope).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn expressions_have_these_values() {
    for (source, expected) in [
        ("inputs.site", r#""north""#),
        (" inputs.site ", r#""north""#),
        ("inputs[\"site\"]", r#""north""#),
        ("inputs.names[1]", r#""b""#),
        ("tasks[\"find-text\"].outputs.boxes[0][1]", "2"),
        ("inputs.names[inputs.n - 2]", r#""b""#),
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("7 / 2", "3"),
        ("-7 % 3", "-1"),
        ("7 / 2.0", "3.5"),
        ("inputs.n * inputs.half", "1.5"),
        ("1 == 1.0", "true"),
        ("1 == '1'", "false"),
        ("0.1 + 0.2 < 0.4", "true"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("0x1F", "31"),
        ("1e3", "1000.0"),
        ("!true || inputs.n > 2 && inputs.n <= 3", "true"),
        ("inputs.n > 2 ? 'many' : 'few'", r#""many""#),
        ("'a' + \"b\" + r'\\n' + '\\u00e9\\x41\\101'", r#""ab\\néAA""#),
        ("'''it's''' + \"\"\"a\"b\"\"\"", r#""it'sa\"b""#),
        ("[1, 2] + [3,]", "[1, 2, 3]"),
        ("{'a': 1, 'b': [2],}.b[0]", "2"),
        ("2 in [1, 2]", "true"),
        ("'site' in inputs", "true"),
        ("'x' in inputs", "false"),
        ("has(inputs.site) && !has(inputs.other)", "true"),
        ("inputs.names.exists(n, n == 'b')", "true"),
        ("inputs.names.all(n, size(n) == 1)", "true"),
        ("[1, 2, 2].exists_one(x, x == 1)", "true"),
        ("[1, 2, 3].filter(x, x > 1)", "[2, 3]"),
        ("[1, 2, 3].map(x, x * x)", "[1, 4, 9]"),
        ("[1, 2, 3].map(x, x > 1, x * x)", "[4, 9]"),
        ("[1, 2].map(x, [3, 4].map(y, x * y))", "[[3, 4], [6, 8]]"),
        ("[[1], [2]].map(x, x.map(x, x + 1))", "[[2], [3]]"),
        ("{'b': 1, 'a': 2}.map(k, k)", r#"["a", "b"]"#),
        ("size(inputs.names) + inputs.site.size() + size({})", "7"),
        ("size('é')", "1"),
        ("size(item)", "2000000"),
        ("size(item) > quantity('1MB')", "true"),
        ("size(b'abc')", "3"),
        ("quantity('500m') + quantity('1Ki')", "1024.5"),
        ("duration_ms('1h30m')", "5400000"),
        ("flatten(tasks[\"find-text\"].outputs.boxes)", "[1, 2, 3]"),
        ("default(inputs.nothing, 5) + default(inputs.n, 5)", "8"),
        ("range(3)", "[0, 1, 2]"),
        ("zip(['a', 'b'], [1, 2])", r#"[["a", 1], ["b", 2]]"#),
        ("'A-b'.lowerAscii().upperAscii()", r#""A-B""#),
        ("'a,b,,c'.split(',')", r#"["a", "b", "", "c"]"#),
        ("'aé'.split('')", r#"["a", "é"]"#),
        ("['a', 'b'].join('-')", r#""a-b""#),
        ("'banana'.replace('an', 'o')", r#""booa""#),
        ("' x '.trim()", r#""x""#),
        ("'héllo'.substring(1, 3) + 'abc'.substring(2)", r#""élc""#),
        ("'héllo'.indexOf('l')", "2"),
        ("fixed(2.0 / 3.0, 3) + fixed(2, 1)", r#""0.6672.0""#),
        ("'line-7'.matches('^line-[0-9]+$')", "true"),
        ("'abc'.startsWith('ab') && 'abc'.endsWith('bc') && 'abc'.contains('b')", "true"),
        (
            "string(1) + string(1.0) + string(true) + string([1, 'a'])",
            r#""11.0true[1,\"a\"]""#,
        ),
        ("int('42') + int(2.9) + int(-2.9)", "42"),
        ("double('2.5')", "2.5"),
        ("min(3, 1.5, 2) + max([1, 4])", "5.5"),
        ("sum([1, 2, 0.5])", "3.5"),
        ("abs(-2) + floor(2.7) + ceil(2.1) + round(2.5)", "10"),
        ("[3, 1, 2].sort()", "[1, 2, 3]"),
        ("['b', 'a', 'b'].distinct().reverse()", r#"["a", "b"]"#),
        ("[1, 2, 3, 4].slice(1, 3)", "[2, 3]"),
        ("keys({'b': 1, 'a': 2}) == ['a', 'b'] && values({'b': 1, 'a': 2}) == [2, 1]", "true"),
        ("false && inputs.missing", "false"),
        ("inputs.missing == 1 || true", "true"),
        ("1 // a comment", "1"),
        ("true\n  && // and\n  true", "true"),
        ("inputs[\"é\"]", r#""ü""#),
    ] {
        assert_eq!(value(source), json(expected), "{source}");
    }
}

#[test]
fn blobs_come_out_as_blobs() {
    let images = Value::List(vec![blob(1, 1000), blob(2, 1000)]);
    assert_eq!(value("tasks.decode.outputs.filter(o, o != null).map(o, o.image)"), images);
    assert_eq!(value("tasks.decode.outputs.map(o, o != null, o.image)"), images);
    assert_eq!(value("[item, item][0] == item"), Value::Bool(true));
    assert_eq!(value("b'a\\x00' + bytes('é')"), Value::Bytes(vec![b'a', 0, 0xc3, 0xa9]));
}

#[test]
fn failures_say_what_where_and_why() {
    for (source, message) in [
        ("missing", "nothing is called `missing` in `missing`"),
        (
            "tasks.resize.outputs.widht + 1",
            "`tasks.resize.outputs` has no field `widht` (it has mean, name, tiles, width) in `tasks.resize.outputs.widht + 1`",
        ),
        (
            "tasks[\"find-text\"].outputs.text",
            "`tasks[\"find-text\"].outputs` has no field `text` (it has boxes) in `tasks[\"find-text\"].outputs.text`",
        ),
        (
            "inputs.nothing.x",
            "`inputs.nothing` is null and has no field `x` in `inputs.nothing.x`",
        ),
        ("inputs.names[2]", "index 2 is outside a list of 2 in `inputs.names[2]`"),
        ("inputs.names[-1]", "index -1 is outside a list of 2 in `inputs.names[-1]`"),
        (
            "inputs.site[0]",
            "`inputs.site` is a string and has no elements in `inputs.site[0]`",
        ),
        ("1 / 0", "division by zero in `1 / 0`"),
        ("1.0 / 0", "division by zero in `1.0 / 0`"),
        (
            "9223372036854775807 + 1",
            "the result does not fit a 64-bit integer in `9223372036854775807 + 1`",
        ),
        ("1e308 * 10", "the result is not a finite number in `1e308 * 10`"),
        ("1 + 'a'", "`+` does not fit an integer and a string in `1 + 'a'`"),
        ("1 < 'a'", "`<` does not fit an integer and a string in `1 < 'a'`"),
        ("1 && true", "`&&` needs true or false, not an integer in `1 && true`"),
        ("!1", "`!` needs true or false, not an integer in `!1`"),
        (
            "[1].filter(x, x)",
            "a condition must be true or false, not an integer in `[1].filter(x, x)`",
        ),
        ("'a'.map(x, x)", "expected a list to go over, found a string in `'a'.map(x, x)`"),
        (
            "size(1)",
            "`size` takes a blob, list, map, string or bytes, not an integer in `size(1)`",
        ),
        (
            "quantity('1 MB')",
            "`1 MB` is not a quantity such as `500m`, `1.5`, `1MB` or `256Mi` in `quantity('1 MB')`",
        ),
        ("{'a': 1, 'a': 2}", "the key `a` comes twice in `{'a': 1, 'a': 2}`"),
        (
            "has(inputs.site.x)",
            "`has` looks for a field of a map, not of a string in `has(inputs.site.x)`",
        ),
        ("range(1000000)", "`range` goes from 0 to 100000, not 1000000 in `range(1000000)`"),
    ] {
        let error = Program::parse(source).unwrap().evaluate(&scope()).unwrap_err();
        assert_eq!(error.to_string(), message, "{source}");
    }
    let not_a_condition = Program::parse("inputs.n").unwrap().evaluate_bool(&scope()).unwrap_err();
    assert_eq!(
        not_a_condition.to_string(),
        "a condition must be true or false, not an integer in `inputs.n`"
    );
}

#[test]
fn mistakes_are_found_where_they_are() {
    for (source, column, message, help) in [
        ("", 1, "an expression is missing", None),
        ("1 +", 4, "expected a value, found the end", None),
        (
            "a.b.",
            5,
            "expected the name of a field after `.`, found the end",
            Some("a field of any name is written `a[\"name\"]`"),
        ),
        ("(1 + 2", 7, "expected `)` to close the bracket, found the end", None),
        ("a = 1", 3, "unexpected `=`", Some("equality is `==`")),
        (
            "a and b",
            3,
            "expected the end of the expression, found `and`",
            Some("both conditions: `&&`"),
        ),
        ("not a", 5, "expected the end of the expression, found `a`", None),
        ("'abc", 1, "this text has no closing quote", None),
        ("é", 1, "unexpected `é`", None),
        ("'é' + ü", 7, "unexpected `ü`", None),
        ("sise(a)", 1, "there is no function `sise`", Some("did you mean `size`?")),
        ("a.exist(x, x)", 3, "there is no function `exist`", Some("did you mean `exists`?")),
        ("len(a)", 1, "there is no function `len`", Some("did you mean `size`?")),
        (
            "size(a) > 1MB",
            11,
            "`1MB` is not a number",
            Some("sizes are written `quantity('1MB')`, times `duration_ms('1MB')`"),
        ),
        (
            "quantity()",
            1,
            "wrong number of arguments for `quantity`",
            Some("it is used as `quantity('256Mi')`"),
        ),
        (
            "join(a, ',')",
            1,
            "`join` is a method",
            Some("it is used as `list.join(separator)`"),
        ),
        (
            "a.quantity()",
            3,
            "`quantity` is not a method",
            Some("it is used as `quantity('256Mi')`"),
        ),
        (
            "a.map(1, 2)",
            7,
            "expected a name for the element, found `1`",
            Some("it is used as `list.map(x, …)`, with a name of your own for the element"),
        ),
        ("has(a)", 1, "`has` takes one field, such as `has(a.b)`", None),
        ("{1: 2}", 2, "the key of a map must be a string", None),
        ("3u", 1, "there are no unsigned integers here", Some("leave the `u` out")),
        ("for", 1, "`for` is a reserved word of CEL", None),
        (
            "'\\q'",
            2,
            "unknown escape in a text",
            Some("a backslash itself is `\\\\`, or use a raw text: r'…'"),
        ),
        ("${{ a }}", 1, "unexpected `$`", Some("an expression stands without `${{ }}` here")),
        ("a ? b", 6, "expected `:` between the two results of `? :`, found the end", None),
        ("99999999999999999999", 1, "not a 64-bit integer", None),
        ("9223372036854775808", 1, "not a 64-bit integer", None),
    ] {
        let error = Program::parse(source).unwrap_err();
        assert_eq!(
            (error.column, error.message.as_str(), error.help.as_deref()),
            (column, message, help),
            "{source}"
        );
    }
}

#[test]
fn references_are_the_names_outside() {
    for (source, expected) in [
        ("inputs.site", &["inputs.site"][..]),
        ("run.namespace", &["run.namespace"]),
        ("tasks[\"find-text\"].outputs.boxes[0].x", &["tasks[\"find-text\"].outputs.boxes"]),
        (
            "tasks.a.outputs.map(o, o.x + inputs.k).exists(p, p in item)",
            &["inputs.k", "item", "tasks.a.outputs"],
        ),
        ("item.map(item, item.x)", &["item"]),
        ("has(tasks.a.outputs.x) && has(tasks.b[0].x)", &["tasks.a.outputs.x", "tasks.b"]),
        ("inputs[index]", &["index", "inputs"]),
        ("{'a': x}[y] ? [z] : -w", &["w", "x", "y", "z"]),
        ("'inputs.site'", &[]),
    ] {
        let program = Program::parse(source).unwrap();
        let found: Vec<String> = program.references().iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{source}");
    }
    let program = Program::parse("1 + inputs.b + tasks.a.outputs").unwrap();
    let placed: Vec<_> = program.placed_references().iter().map(|(r, at)| (r.to_string(), *at)).collect();
    assert_eq!(placed, [("inputs.b".to_owned(), 4), ("tasks.a.outputs".to_owned(), 15)]);
}

#[test]
fn what_is_known_decides_where_it_can() {
    let mut scope = Scope::new();
    scope.bind("inputs", json(r#"{"no": false, "yes": true, "n": 3}"#));
    scope.bind_partial("tasks", json(r#"{"a": {"state": "skipped"}}"#));
    for (source, expected) in [
        ("inputs.no && later", Some("false")),
        ("later && inputs.no", Some("false")),
        ("later.x > 3 || inputs.yes", Some("true")),
        ("inputs.yes && later", None),
        ("inputs.n > 2", Some("true")),
        ("inputs.n > later", None),
        ("inputs.yes ? 1 : later", Some("1")),
        ("later ? 1 : 1", None),
        ("[later == 1, true].exists(x, x)", None),
        ("[1, 2].exists(x, x == 2 || later)", Some("true")),
        ("[1, 2].all(x, x == 1 && later)", Some("false")),
        ("tasks.a.state == 'skipped'", Some("true")),
        ("tasks.b.state == 'skipped'", None),
        ("tasks.a.outputs.x", None),
        ("size(tasks)", None),
        ("has(tasks.a.state)", Some("true")),
        ("has(tasks.a.outputs)", None),
        ("has(tasks.b.outputs)", None),
        ("tasks[\"a\"].state in ['failed', 'skipped']", Some("true")),
    ] {
        let folded = fold_known(&Program::parse(source).unwrap(), &scope);
        match expected {
            Some(expected) => assert_eq!(folded, Folded::Known(json(expected)), "{source}"),
            None => assert_eq!(folded, Folded::Unknown, "{source}"),
        }
    }
    let failing = fold_known(&Program::parse("inputs.missing > 1").unwrap(), &scope);
    assert!(matches!(failing, Folded::Error(e) if matches!(e.kind, EvaluateErrorKind::MissingField { .. })));
    // What is unknown may still decide over what fails.
    assert_eq!(
        fold_known(&Program::parse("inputs.missing > 1 || later").unwrap(), &scope),
        Folded::Unknown
    );
}

#[test]
fn templates_fill_their_holes() {
    let expr = |source: &str| Expr { source: source.to_owned() };
    let text = |parts: Vec<TextPart>| CompiledTemplate::compile(&Template::Text(parts)).unwrap();
    let holes = text(vec![
        TextPart::Text("at ".to_owned()),
        TextPart::Expr(expr("inputs.site")),
        TextPart::Text(": ".to_owned()),
        TextPart::Expr(expr("[inputs.n, inputs.half, null, {'k': 'v'}]")),
    ]);
    assert_eq!(holes.render(&scope()).unwrap(), Value::from(r#"at north: [3,0.5,null,{"k":"v"}]"#));
    assert!(!holes.is_literal());
    let names: Vec<_> = holes.references().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["inputs.half", "inputs.n", "inputs.site"]);

    let map = Template::Map(
        [
            ("n".to_owned(), Template::Expr(expr("inputs.n"))),
            (
                "l".to_owned(),
                Template::List(vec![Template::Literal(Value::Int(1)), Template::Expr(expr("item"))]),
            ),
        ]
        .into(),
    );
    let map = CompiledTemplate::compile(&map).unwrap();
    let expected = Value::Map(
        [
            ("n".to_owned(), Value::Int(3)),
            ("l".to_owned(), Value::List(vec![Value::Int(1), blob(9, 2_000_000)])),
        ]
        .into(),
    );
    assert_eq!(map.render(&scope()).unwrap(), expected);

    let literal = Template::List(vec![Template::Map([("a".to_owned(), Template::Literal(Value::Int(1)))].into())]);
    let literal = CompiledTemplate::compile(&literal).unwrap();
    assert!(literal.is_literal());
    assert_eq!(literal.as_literal(), Some(&json(r#"[{"a": 1}]"#)));

    let mut known = Scope::new();
    known.bind("inputs", json(r#"{"n": 3}"#));
    assert_eq!(map.fold(&known), Folded::Unknown);
    known.bind("item", Value::Null);
    assert_eq!(map.fold(&known), Folded::Known(json(r#"{"n": 3, "l": [1, null]}"#)));
}
