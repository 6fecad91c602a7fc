//! Bounds on expressions. They are part of the language: changing one changes which workflows run.

/// Longest source of one expression, in bytes.
pub const MAX_SOURCE_BYTES: usize = 16 * 1024;
/// Deepest nesting of brackets, conditionals and unary operators.
pub const MAX_NESTING: usize = 32;
/// Greatest height of the tree of operators, which long chains (`a + b + c …`) reach too.
pub const MAX_HEIGHT: u16 = 256;
/// Most work of one evaluation. A unit is about one operation or one element or 64 bytes copied.
pub const MAX_WORK: u64 = 4_000_000;
/// Largest result, in units of the same measure (elements, and 64 bytes of text each).
pub const MAX_RESULT: u64 = 1_000_000;
/// Deepest nesting of a result: what the model can read back.
pub const MAX_RESULT_DEPTH: usize = 60;
/// Longest list that `range` makes.
pub const MAX_RANGE: i64 = 100_000;
/// Largest compiled regular expression, in bytes.
pub const MAX_REGEX_BYTES: usize = 64 * 1024;
