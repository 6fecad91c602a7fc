//! The names that an expression is evaluated with.

use eyot_model::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Named values. Binding by reference copies nothing: only what an expression selects is ever copied.
#[derive(Clone, Debug, Default)]
pub struct Scope<'a> {
    names: BTreeMap<String, Binding<'a>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Binding<'a> {
    pub(crate) value: Cow<'a, Value>,
    /// Fields that are not there may exist all the same.
    pub(crate) partial: bool,
}

impl<'a> Scope<'a> {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds a name; an earlier binding of it is replaced.
    pub fn bind(&mut self, name: &str, value: Value) -> &mut Self {
        self.insert(name, Cow::Owned(value), false)
    }

    /// Binds a name to a value held elsewhere.
    pub fn bind_ref(&mut self, name: &str, value: &'a Value) -> &mut Self {
        self.insert(name, Cow::Borrowed(value), false)
    }

    /// Binds a name of which only some fields are known, for [`crate::fold_known`]: a field that is missing, and a map
    /// taken as a whole, are unknown rather than errors.
    pub fn bind_partial(&mut self, name: &str, value: Value) -> &mut Self {
        self.insert(name, Cow::Owned(value), true)
    }

    fn insert(&mut self, name: &str, value: Cow<'a, Value>, partial: bool) -> &mut Self {
        self.names.insert(name.to_owned(), Binding { value, partial });
        self
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.names.get(name).map(|b| &*b.value)
    }

    pub(crate) fn binding(&self, name: &str) -> Option<&Binding<'a>> {
        self.names.get(name)
    }
}
