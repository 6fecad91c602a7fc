//! Names that an expression uses.

use std::fmt;

/// A name and the constant fields selected from it: `tasks.resize.outputs["image"][0]` is
/// `["tasks", "resize", "outputs", "image"]`. Variables of comprehensions are not references.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    pub path: Vec<String>,
}

impl Reference {
    /// The first name: `inputs`, `tasks`, `item`.
    #[must_use]
    pub fn root(&self) -> &str {
        self.path.first().map_or("", String::as_str)
    }

    /// The part of the path after the root, as far as it is constant.
    #[must_use]
    pub fn field(&self, n: usize) -> Option<&str> {
        self.path.get(n + 1).map(String::as_str)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.path.iter().enumerate() {
            if i == 0 {
                f.write_str(part)?;
            } else if is_identifier(part) {
                write!(f, ".{part}")?;
            } else {
                write!(f, "[{}]", serde_json::Value::from(part.as_str()))?;
            }
        }
        Ok(())
    }
}

pub(crate) fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_') && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
