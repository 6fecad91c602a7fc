//! The standard task `eyot/text`: renders a template over values.
//!
//! ```yaml
//! uses: eyot/text@1
//! with:
//!   template: "{% for line in lines %}{{ line.text }}\n{% endfor %}"
//!   values: {lines: "${{ tasks.read.outputs }}"}
//! ```
//!
//! Templates are those of minijinja, which are Jinja's. A name that is not there is an error, never empty text. What is
//! rendered is plain text: nothing is escaped, and no file is included. A line that holds nothing but a block (`{% … %}`)
//! leaves no empty line behind. Where the text is large it travels as a blob, which
//! is the agent's doing.

use eyot_task::prelude::*;
use eyot_task::serde_json::Value;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use std::collections::BTreeMap;

#[eyot_task::data]
pub struct Rendered {
    pub text: String,
}

/// Renders a template over values.
#[eyot_task::task(name = "eyot/text", version = "1.0.0", deterministic)]
pub fn text(
    /// A Jinja template.
    template: String,
    /// What its names stand for.
    #[default]
    values: BTreeMap<String, Value>,
) -> Result<Rendered, Failure> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let syntax = SyntaxConfig::builder()
        .keep_trailing_newline(true)
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .or_permanent("the syntax of templates")?;
    environment.set_syntax(syntax);
    let compiled = environment.template_from_str(&template).map_err(|e| explained(&e))?;
    let text = compiled.render(Serde(values)).map_err(|e| explained(&e))?;
    Ok(Rendered { text })
}

fn explained(error: &minijinja::Error) -> Failure {
    let place = error
        .line()
        .map(|line| format!(" in line {line} of the template"))
        .unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    Failure::invalid_input(format!("{}{place}{detail}", error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use eyot_task::testing::Host;
    use serde_json::json;

    #[test]
    fn values_are_filled_in() {
        let host = Host::new();
        for (template, values, text) in [
            ("hello, {{ name }}\n", json!({"name": "<eyot>"}), "hello, <eyot>\n"),
            (
                "{% for n in list %}\n{{ loop.index }}: {{ n }}\n{% endfor %}\n",
                json!({"list": ["a", "b"]}),
                "1: a\n2: b\n",
            ),
            (
                "{{ x | tojson }}",
                json!({"x": {"deep": [1, 2.5, null]}}),
                r#"{"deep": [1, 2.5, null]}"#,
            ),
            ("{{ x | default('none') }}", json!({}), "none"),
            ("{{ list | length }} {{ list | join(', ') }}", json!({"list": [1, 2]}), "2 1, 2"),
        ] {
            let outputs = host.run::<TextTask>(json!({"template": template, "values": values})).unwrap();
            assert_eq!(outputs["text"], text, "{template}");
        }
        assert_eq!(host.run::<TextTask>(json!({"template": "plain"})).unwrap()["text"], "plain");
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let host = Host::new();
        for (template, message) in [
            ("a\n{{ missing }}", "undefined value in line 2 of the template"),
            ("{% for x in %}", "syntax error in line 1 of the template"),
            ("{{ 1 | nothing }}", "unknown filter"),
            ("{% include 'other' %}", "unknown statement"),
        ] {
            let failure = host.run::<TextTask>(json!({"template": template})).unwrap_err();
            assert!(failure.message().contains(message), "{template}: {failure}");
            assert_eq!(failure.kind(), eyot_task::FailureKind::InvalidInput);
        }
    }
}
