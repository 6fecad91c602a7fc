//! What expressions are known to be before any run: conditions that never hold, expressions that always fail.

use super::Checker;
use super::contract::of_program;
use super::kinds::Kinds;
use crate::draft::{Expression, Pattern};
use crate::report::code;
use eyot_expr::{Folded, Scope, fold_known};
use eyot_model::{Template, Value};

impl Checker<'_> {
    /// A condition: boolean, and not false from the start.
    pub(crate) fn condition(&mut self, condition: &Expression<'_>, never: &str, message: &str) {
        let place = self.place(condition, 0);
        match fold_known(&condition.program, &Scope::new()) {
            Folded::Known(Value::Bool(false)) => {
                self.report.error(place, never, message);
            }
            Folded::Known(Value::Bool(true)) => {
                self.report
                    .warning(place, code::ALWAYS_RUNS, "this is always true", "leave the condition out");
            }
            Folded::Known(other) => self.not_a_condition(condition, Kinds::of_value(&other)),
            Folded::Error(_) => self.always_fails(condition),
            Folded::Unknown => {
                let kinds = of_program(&condition.program, &self.names);
                if !kinds.meets(Kinds::BOOL) {
                    self.not_a_condition(condition, kinds);
                }
            }
        }
    }

    fn not_a_condition(&mut self, condition: &Expression<'_>, kinds: Kinds) {
        let place = self.place(condition, 0);
        let message = format!("a condition must be true or false, this is {}", kinds.words());
        self.report.error_with(
            place,
            code::WRONG_TYPE,
            message,
            "compare it with something, such as `inputs.count > 3`",
        );
    }

    pub(crate) fn always_fails(&mut self, expression: &Expression<'_>) {
        if let Folded::Error(error) = fold_known(&expression.program, &Scope::new()) {
            let place = self.place(expression, error.offset);
            self.report
                .error(place, code::EXPRESSION, format!("this always fails: {}", error.kind));
        }
    }

    /// The items of a `forEach` are a list.
    pub(crate) fn items(&mut self, items: &Pattern<'_>) {
        let (Template::Expr(_), Some(expression)) = (&items.template, items.expressions.first()) else {
            return;
        };
        let kinds = match fold_known(&expression.program, &Scope::new()) {
            Folded::Known(value) => Kinds::of_value(&value),
            Folded::Unknown => of_program(&expression.program, &self.names),
            Folded::Error(_) => return,
        };
        if !kinds.meets(Kinds::LIST) {
            let place = self.place(expression, 0);
            let message = format!("`items` must be a list, this is {}", kinds.words());
            self.report.error(place, code::WRONG_TYPE, message);
        }
    }
}
