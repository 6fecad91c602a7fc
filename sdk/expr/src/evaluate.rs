//! Evaluation of the tree, on borrowed values wherever nothing new is made.

use crate::ast::{Comprehension, Kind, Macro, Node, Operator, Path, Step};
use crate::error::{EvaluateErrorKind, Fault};
use crate::meter::Meter;
use crate::operators;
use crate::program::article;
use crate::reference::Reference;
use crate::scope::Scope;
use eyot_model::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Why there is no value.
#[derive(Debug)]
pub(crate) enum Stop {
    Fault(Fault),
    /// It depends on something that is not known yet.
    Unknown,
}

type Result<T> = std::result::Result<T, Stop>;

/// A variable of a comprehension, and those around it.
#[derive(Clone, Copy)]
pub(crate) struct Local<'l> {
    name: &'l str,
    value: &'l Value,
    outer: Option<&'l Local<'l>>,
}

pub(crate) struct Evaluation<'v, 's> {
    scope: &'v Scope<'s>,
    /// Whether a name without a value is unknown rather than an error.
    fold: bool,
    meter: Meter,
}

/// Where a path leads.
enum Found<'l> {
    Value(&'l Value),
    Missing { parent: &'l Value, steps: usize, partial: bool },
}

impl<'v, 's> Evaluation<'v, 's> {
    pub(crate) fn new(scope: &'v Scope<'s>, fold: bool) -> Self {
        Self {
            scope,
            fold,
            meter: Meter::new(),
        }
    }

    pub(crate) fn node<'l>(&self, node: &'l Node, locals: Option<&'l Local<'l>>) -> Result<Cow<'l, Value>>
    where
        'v: 'l,
    {
        let fail = |kind: EvaluateErrorKind| Stop::Fault(kind.at(node.at));
        self.meter.charge(1).map_err(fail)?;
        Ok(match &node.kind {
            Kind::Literal(value) => Cow::Borrowed(value),
            Kind::Path(path) => Cow::Borrowed(self.path(path, node.at, locals)?),
            Kind::Select(operand, field) => {
                let value = self.node(operand, locals)?;
                self.select(value, field).map_err(fail)?
            }
            Kind::Index(operand, index) => {
                let value = self.node(operand, locals)?;
                let index = self.node(index, locals)?;
                self.index(value, &index).map_err(fail)?
            }
            Kind::Has(operand, field) => Cow::Owned(Value::Bool(self.has(operand, field, node.at, locals)?)),
            Kind::Not(inner) => match &*self.node(inner, locals)? {
                Value::Bool(b) => Cow::Owned(Value::Bool(!b)),
                other => return Err(fail(type_error("!", other))),
            },
            Kind::Negate(inner) => Cow::Owned(operators::negate(&*self.node(inner, locals)?).map_err(fail)?),
            Kind::Binary(operator, left, right) => {
                let left = self.node(left, locals)?;
                let right = self.node(right, locals)?;
                Cow::Owned(self.binary(*operator, left, right).map_err(fail)?)
            }
            Kind::And(terms) => Cow::Owned(Value::Bool(self.logic(terms, false, locals)?)),
            Kind::Or(terms) => Cow::Owned(Value::Bool(self.logic(terms, true, locals)?)),
            Kind::Conditional(three) => {
                let [condition, then, otherwise] = &**three;
                match &*self.node(condition, locals)? {
                    Value::Bool(true) => self.node(then, locals)?,
                    Value::Bool(false) => self.node(otherwise, locals)?,
                    other => return Err(fail(type_error("? :", other))),
                }
            }
            Kind::List(elements) => {
                let mut list = Vec::with_capacity(elements.len());
                for element in elements {
                    list.push(self.owned(self.node(element, locals)?, node.at)?);
                }
                Cow::Owned(Value::List(list))
            }
            Kind::Map(entries) => Cow::Owned(Value::Map(self.map(entries, locals)?)),
            Kind::Call(function, arguments) => {
                let values = arguments.iter().map(|a| self.node(a, locals)).collect::<Result<Vec<_>>>()?;
                Cow::Owned((function.run)(values, &self.meter).map_err(fail)?)
            }
            Kind::Comprehension(comprehension) => self.comprehension(comprehension, node.at, locals)?,
        })
    }

    fn owned(&self, value: Cow<'_, Value>, at: u32) -> Result<Value> {
        if let Cow::Borrowed(borrowed) = &value {
            self.meter.charge_value(borrowed).map_err(|kind| Stop::Fault(kind.at(at)))?;
        }
        Ok(value.into_owned())
    }

    fn path<'l>(&self, path: &'l Path, at: u32, locals: Option<&'l Local<'l>>) -> Result<&'l Value>
    where
        'v: 'l,
    {
        match self.find(path, at, locals)? {
            Found::Value(value) => Ok(value),
            Found::Missing { partial: true, .. } => Err(Stop::Unknown),
            Found::Missing { parent, steps, .. } => Err(Stop::Fault(missing(path, parent, steps).at(at))),
        }
    }

    fn find<'l>(&self, path: &'l Path, at: u32, locals: Option<&'l Local<'l>>) -> Result<Found<'l>>
    where
        'v: 'l,
    {
        let (mut value, partial) = self.root(path, at, locals)?;
        for (n, step) in path.steps.iter().enumerate() {
            let next = match (step, value) {
                (Step::Field(field), Value::Map(map)) => map.get(field),
                (Step::Item(index), Value::List(list)) => usize::try_from(*index).ok().and_then(|i| list.get(i)),
                _ => None,
            };
            match next {
                Some(next) => value = next,
                None => {
                    return Ok(Found::Missing {
                        parent: value,
                        steps: n,
                        partial: partial && matches!(value, Value::Map(_)),
                    });
                }
            }
        }
        if partial && matches!(value, Value::Map(_)) {
            return Err(Stop::Unknown);
        }
        Ok(Found::Value(value))
    }

    /// The value of the first name, and whether it is known only in part.
    fn root<'l>(&self, path: &'l Path, at: u32, locals: Option<&'l Local<'l>>) -> Result<(&'l Value, bool)>
    where
        'v: 'l,
    {
        if path.local {
            let mut local = locals;
            while let Some(l) = local {
                if l.name == path.root {
                    return Ok((l.value, false));
                }
                local = l.outer;
            }
        }
        match self.scope.binding(&path.root) {
            Some(binding) => Ok((&binding.value, binding.partial)),
            None if self.fold => Err(Stop::Unknown),
            None => Err(Stop::Fault(EvaluateErrorKind::UnknownName(path.root.clone()).at(at))),
        }
    }

    fn has<'l>(&self, operand: &'l Node, field: &str, at: u32, locals: Option<&'l Local<'l>>) -> Result<bool>
    where
        'v: 'l,
    {
        if let Kind::Path(path) = &operand.kind {
            let (_, partial) = self.root(path, operand.at, locals)?;
            if partial {
                return self.has_partial(path, field, operand.at, locals);
            }
        }
        match &*self.node(operand, locals)? {
            Value::Map(map) => Ok(map.contains_key(field)),
            other => {
                let message = format!("`has` looks for a field of a map, not of {}", article(other.type_name()));
                Err(Stop::Fault(EvaluateErrorKind::Type(message).at(at)))
            }
        }
    }

    /// A field that is there is known to be there; one that is not may come.
    fn has_partial<'l>(&self, path: &'l Path, field: &str, at: u32, locals: Option<&'l Local<'l>>) -> Result<bool>
    where
        'v: 'l,
    {
        let (mut value, _) = self.root(path, at, locals)?;
        for step in &path.steps {
            value = match (step, value) {
                (Step::Field(name), Value::Map(map)) => map.get(name).ok_or(Stop::Unknown)?,
                _ => return Err(Stop::Unknown),
            };
        }
        match value {
            Value::Map(map) if map.contains_key(field) => Ok(true),
            _ => Err(Stop::Unknown),
        }
    }

    fn select<'l>(&self, value: Cow<'l, Value>, field: &str) -> std::result::Result<Cow<'l, Value>, EvaluateErrorKind>
    where
        'v: 'l,
    {
        let missing = |map: &BTreeMap<String, Value>| EvaluateErrorKind::MissingField {
            path: "it".to_owned(),
            field: field.to_owned(),
            fields: map.keys().take(12).cloned().collect(),
        };
        match value {
            Cow::Borrowed(Value::Map(map)) => map.get(field).map(Cow::Borrowed).ok_or_else(|| missing(map)),
            Cow::Owned(Value::Map(mut map)) => match map.remove(field) {
                Some(value) => Ok(Cow::Owned(value)),
                None => Err(missing(&map)),
            },
            other => Err(EvaluateErrorKind::Type(format!(
                "{} has no field `{field}`",
                article(other.type_name())
            ))),
        }
    }

    fn index<'l>(&self, value: Cow<'l, Value>, index: &Value) -> std::result::Result<Cow<'l, Value>, EvaluateErrorKind>
    where
        'v: 'l,
    {
        if let Value::String(field) = index {
            return self.select(value, field);
        }
        let n = match index {
            Value::Int(n) => *n,
            #[allow(clippy::cast_possible_truncation)] // whole and within the range of any list
            Value::Float(f) if f.fract() == 0.0 && f.abs() < 9e15 => *f as i64,
            other => {
                return Err(EvaluateErrorKind::Type(format!(
                    "{} is no index of {}",
                    article(other.type_name()),
                    article(value.type_name())
                )));
            }
        };
        let outside = |len| EvaluateErrorKind::OutOfBounds { index: n, len };
        let at = usize::try_from(n).ok();
        match value {
            Cow::Borrowed(Value::List(list)) => at.and_then(|i| list.get(i)).map(Cow::Borrowed).ok_or_else(|| outside(list.len())),
            Cow::Owned(Value::List(mut list)) => match at {
                Some(i) if i < list.len() => Ok(Cow::Owned(list.swap_remove(i))),
                _ => Err(outside(list.len())),
            },
            other => Err(EvaluateErrorKind::Type(format!("{} has no elements", article(other.type_name())))),
        }
    }

    /// `&&` where `decides` is false, `||` where it is true. By CEL, a term that decides wins over an error or an
    /// unknown beside it, whichever side it is on.
    fn logic<'l>(&self, terms: &'l [Node], decides: bool, locals: Option<&'l Local<'l>>) -> Result<bool>
    where
        'v: 'l,
    {
        let mut stopped: Option<Stop> = None;
        for term in terms {
            match self.node(term, locals) {
                Ok(value) => match &*value {
                    Value::Bool(b) if *b == decides => return Ok(decides),
                    Value::Bool(_) => {}
                    other => {
                        let symbol = if decides { "||" } else { "&&" };
                        prefer(&mut stopped, Stop::Fault(type_error(symbol, other).at(term.at)));
                    }
                },
                Err(stop) => {
                    let spent = matches!(&stop, Stop::Fault(f) if f.kind == EvaluateErrorKind::TooCostly);
                    if spent {
                        return Err(stop);
                    }
                    prefer(&mut stopped, stop);
                }
            }
        }
        stopped.map_or(Ok(!decides), Err)
    }

    fn map<'l>(&self, entries: &'l [(Node, Node)], locals: Option<&'l Local<'l>>) -> Result<BTreeMap<String, Value>>
    where
        'v: 'l,
    {
        let mut map = BTreeMap::new();
        for (key, value) in entries {
            let fail = |kind: EvaluateErrorKind| Stop::Fault(kind.at(key.at));
            let name = match self.node(key, locals)?.into_owned() {
                Value::String(name) => name,
                other => {
                    let message = format!("the key of a map must be a string, not {}", article(other.type_name()));
                    return Err(fail(EvaluateErrorKind::Type(message)));
                }
            };
            self.meter.charge_bytes(name.len()).map_err(fail)?;
            let value = self.owned(self.node(value, locals)?, key.at)?;
            if map.contains_key(&name) {
                return Err(fail(EvaluateErrorKind::Argument(format!("the key `{name}` comes twice"))));
            }
            map.insert(name, value);
        }
        Ok(map)
    }

    fn binary(&self, operator: Operator, left: Cow<'_, Value>, right: Cow<'_, Value>) -> std::result::Result<Value, EvaluateErrorKind> {
        match operator {
            Operator::Equal => Ok(Value::Bool(operators::equal(&left, &right, &self.meter)?)),
            Operator::NotEqual => Ok(Value::Bool(!operators::equal(&left, &right, &self.meter)?)),
            Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual => {
                operators::ordered(operator, &left, &right, &self.meter).map(Value::Bool)
            }
            Operator::In => operators::contains(&left, &right, &self.meter).map(Value::Bool),
            Operator::Add => operators::add(left, right, &self.meter),
            Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
                operators::arithmetic(operator, &left, &right)
            }
        }
    }

    fn comprehension<'l>(&self, c: &'l Comprehension, at: u32, locals: Option<&'l Local<'l>>) -> Result<Cow<'l, Value>>
    where
        'v: 'l,
    {
        let range = self.node(&c.range, locals)?;
        let keys: Vec<Value>;
        let items: &[Value] = match &*range {
            Value::List(list) => list,
            // CEL goes over the keys of a map.
            Value::Map(map) => {
                self.meter.charge_len(map.len()).map_err(|kind| Stop::Fault(kind.at(at)))?;
                keys = map.keys().map(|k| Value::String(k.clone())).collect();
                &keys
            }
            other => {
                let message = format!("expected a list to go over, found {}", article(other.type_name()));
                return Err(Stop::Fault(EvaluateErrorKind::Type(message).at(at)));
            }
        };
        let mut list = Vec::new();
        let mut count = 0_usize;
        let mut stopped: Option<Stop> = None;
        for item in items {
            let local = Local {
                name: &c.variable,
                value: item,
                outer: locals,
            };
            match c.kind {
                Macro::Exists | Macro::All => match self.condition(&c.body, &local) {
                    Ok(met) if met == (c.kind == Macro::Exists) => return Ok(Cow::Owned(Value::Bool(met))),
                    Ok(_) => {}
                    Err(Stop::Fault(fault)) if fault.kind == EvaluateErrorKind::TooCostly => return Err(Stop::Fault(fault)),
                    Err(stop) => prefer(&mut stopped, stop),
                },
                Macro::ExistsOne => count += usize::from(self.condition(&c.body, &local)?),
                Macro::Filter => {
                    if self.condition(&c.body, &local)? {
                        list.push(self.owned(Cow::Borrowed(item), at)?);
                    }
                }
                Macro::Map => {
                    let wanted = match &c.filter {
                        Some(filter) => self.condition(filter, &local)?,
                        None => true,
                    };
                    if wanted {
                        list.push(self.owned(self.node(&c.body, Some(&local))?, at)?);
                    }
                }
            }
        }
        if let Some(stop) = stopped {
            return Err(stop);
        }
        Ok(Cow::Owned(match c.kind {
            Macro::Exists => Value::Bool(false),
            Macro::All => Value::Bool(true),
            Macro::ExistsOne => Value::Bool(count == 1),
            Macro::Filter | Macro::Map => Value::List(list),
        }))
    }

    fn condition<'l>(&self, node: &'l Node, local: &'l Local<'l>) -> Result<bool>
    where
        'v: 'l,
    {
        match &*self.node(node, Some(local))? {
            Value::Bool(b) => Ok(*b),
            other => {
                let message = format!("a condition must be true or false, not {}", article(other.type_name()));
                Err(Stop::Fault(EvaluateErrorKind::Type(message).at(node.at)))
            }
        }
    }
}

/// Keeps the first reason, but an unknown rather than an error: what is not known yet may still decide.
fn prefer(kept: &mut Option<Stop>, new: Stop) {
    let better = match (&kept, &new) {
        (None, _) => true,
        (Some(Stop::Fault(_)), Stop::Unknown) => true,
        (Some(_), _) => false,
    };
    if better {
        *kept = Some(new);
    }
}

fn type_error(symbol: &str, value: &Value) -> EvaluateErrorKind {
    EvaluateErrorKind::Type(format!("`{symbol}` needs true or false, not {}", article(value.type_name())))
}

fn missing(path: &Path, parent: &Value, steps: usize) -> EvaluateErrorKind {
    let walked = Reference {
        path: std::iter::once(path.root.clone())
            .chain(path.steps.iter().take(steps).map(|s| match s {
                Step::Field(field) => field.clone(),
                Step::Item(n) => n.to_string(),
            }))
            .collect(),
    };
    match (path.steps.get(steps), parent) {
        (Some(Step::Field(field)), Value::Map(map)) => EvaluateErrorKind::MissingField {
            path: walked.to_string(),
            field: field.clone(),
            fields: map.keys().take(12).cloned().collect(),
        },
        (Some(Step::Item(index)), Value::List(list)) => EvaluateErrorKind::OutOfBounds {
            index: *index,
            len: list.len(),
        },
        (Some(Step::Field(field)), other) => {
            EvaluateErrorKind::Type(format!("`{walked}` is {} and has no field `{field}`", article(other.type_name())))
        }
        (_, other) => EvaluateErrorKind::Type(format!("`{walked}` is {} and has no elements", article(other.type_name()))),
    }
}
