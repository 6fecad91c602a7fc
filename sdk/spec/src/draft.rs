//! A workflow as it was written: every part well-formed by itself, nothing yet checked against anything else.

use crate::Place;
use crate::text::Scalar;
use eyot_expr::Program;
use eyot_model::{
    Grant, InputDecl, ItemFailure, Millis, OnDisconnect, OnFailure, Resources, Retention, RetryPolicy, Template, TriggerRule, TriggerSource,
};
use std::collections::{BTreeMap, BTreeSet};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// An expression, and where its source stands in which string of the text.
#[derive(Clone, Debug)]
pub(crate) struct Expression<'t> {
    pub(crate) program: Program,
    pub(crate) origin: Origin<'t>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'t> {
    /// From this byte of the string's value on.
    Within(&'t Scalar, usize),
    /// Not a string: `when: true`.
    At(Place),
}

/// A value with holes, and the expressions in them.
#[derive(Clone, Debug)]
pub(crate) struct Pattern<'t> {
    pub(crate) template: Template,
    pub(crate) place: Place,
    pub(crate) expressions: Vec<Expression<'t>>,
}

#[derive(Debug)]
pub(crate) struct WorkflowDraft<'t> {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) inputs: BTreeMap<String, InputDecl>,
    pub(crate) tasks: Vec<TaskDraft<'t>>,
    pub(crate) outputs: BTreeMap<String, Pattern<'t>>,
    pub(crate) on_disconnect: OnDisconnect,
    /// Where `reassignAfter` stands.
    pub(crate) reassign_place: Option<Place>,
    pub(crate) on_failure: OnFailure,
    pub(crate) max_parallel: Option<u32>,
    pub(crate) deadline: Option<Millis>,
    pub(crate) retention: Retention,
    pub(crate) triggers: Vec<TriggerDraft<'t>>,
}

#[derive(Debug)]
pub(crate) struct TriggerDraft<'t> {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) source: TriggerSource,
    pub(crate) filter: Option<Expression<'t>>,
    pub(crate) inputs: BTreeMap<String, Placed<Pattern<'t>>>,
}

#[derive(Debug)]
pub(crate) struct TaskDraft<'t> {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) uses: Option<Placed<String>>,
    pub(crate) needs: Vec<Placed<String>>,
    pub(crate) when: Option<Expression<'t>>,
    pub(crate) with: BTreeMap<String, Placed<Pattern<'t>>>,
    /// Where `with` stands, else the task.
    pub(crate) with_place: Place,
    pub(crate) for_each: Option<ForEachDraft<'t>>,
    pub(crate) retry: RetryPolicy,
    pub(crate) retry_when: Option<Expression<'t>>,
    pub(crate) timeout: Option<Millis>,
    pub(crate) cpu_limit: Option<Millis>,
    pub(crate) queue_timeout: Option<Millis>,
    pub(crate) trigger_rule: TriggerRule,
    pub(crate) resources: Resources,
    pub(crate) require: Option<Expression<'t>>,
    pub(crate) prefer: Option<Expression<'t>>,
    pub(crate) grants: BTreeSet<Grant>,
    pub(crate) idempotent: Option<bool>,
}

#[derive(Debug)]
pub(crate) struct ForEachDraft<'t> {
    pub(crate) items: Option<Pattern<'t>>,
    pub(crate) name: String,
    pub(crate) max_parallel: Option<u32>,
    pub(crate) item_failure: ItemFailure,
}
