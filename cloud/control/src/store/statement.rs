//! Statements as plain data: what a guard asks and what a change writes, before any database sees it.
//!
//! Guards and changes only say what they want here, so a whole transaction is known before it begins and runs in one go
//! on the writer's thread. Texts keep to what SQLite and PostgreSQL both take, with `?` for each value in order.

/// A value of a statement.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&String> for Cell {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<u8>> for Cell {
    fn from(value: Vec<u8>) -> Self {
        Self::Blob(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One statement and its values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statement {
    pub(super) sql: &'static str,
    pub(super) values: Vec<Cell>,
}

impl Statement {
    pub(super) fn new(sql: &'static str) -> Self {
        Self { sql, values: Vec::new() }
    }

    /// The value of the next `?`.
    pub(super) fn bind(mut self, value: impl Into<Cell>) -> Self {
        self.values.push(value.into());
        self
    }
}
