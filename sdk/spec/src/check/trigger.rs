//! Triggers against the rest of the workflow: names in expressions, and the inputs that a run needs.

use super::Checker;
use super::names::Site;
use crate::draft::WorkflowDraft;
use crate::report::code;
use crate::suggest::did_you_mean;
use eyot_model::Template;
use std::collections::BTreeMap;

impl Checker<'_> {
    pub(super) fn triggers(&mut self, draft: &WorkflowDraft<'_>) {
        for trigger in &draft.triggers {
            let site = Site::Trigger(&trigger.source);
            if let Some(filter) = &trigger.filter {
                self.references(filter, site, &mut BTreeMap::new());
                self.condition(filter, code::NEVER_RUNS, "this is never true: the trigger would never fire");
            }
            for (name, value) in &trigger.inputs {
                self.pattern(&value.value, site, &mut BTreeMap::new());
                let Some(declared) = draft.inputs.get(name) else {
                    let known = draft.inputs.keys().map(String::as_str);
                    let help = did_you_mean(name, known).unwrap_or_else(|| "declare it under `inputs` of the workflow".to_owned());
                    let message = format!("there is no input `{name}`");
                    self.report.error_with(value.place, code::UNKNOWN_INPUT, message, help);
                    continue;
                };
                if let Template::Literal(literal) = &value.value.template
                    && !declared.value_type.admits(literal)
                {
                    let message = format!(
                        "input `{name}` must be of type {}, found {}",
                        declared.value_type.as_str(),
                        literal.type_name()
                    );
                    self.report.error(value.value.place, code::WRONG_TYPE, message);
                }
            }
            let missing = draft
                .inputs
                .iter()
                .find(|(name, decl)| decl.default.is_none() && !trigger.inputs.contains_key(*name));
            if let Some((name, _)) = missing {
                let message = format!("trigger `{}` gives no input `{name}`, which has no default", trigger.name);
                let help = format!("add `inputs: {{{name}: ${{{{ event.… }}}}}}` to the trigger, or a default to the input");
                self.report.error_with(trigger.place, code::MISSING_INPUT, message, help);
            }
        }
    }
}
