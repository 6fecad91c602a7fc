//! Bounds on workflow texts.

/// Longest text, in bytes.
pub const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;
/// Most tasks of one workflow.
pub const MAX_TASKS: usize = 100_000;
/// Deepest nesting of lists and maps.
pub const MAX_NESTING: usize = 48;
/// Most nodes of a text, those that aliases repeat counted each time.
pub const MAX_NODES: usize = 2_000_000;
/// Most nodes that aliases may add to what is written.
pub const MAX_ALIAS_NODES: usize = 50_000;
/// Most bytes of text that aliases may add to what is written.
pub const MAX_ALIAS_BYTES: usize = MAX_TEXT_BYTES;
/// Most mistakes reported at once.
pub const MAX_DIAGNOSTICS: usize = 50;
/// Longest name of a workflow, namespace, task, input or output, in characters.
pub const MAX_NAME: usize = 63;
/// Most triggers of one workflow.
pub const MAX_TRIGGERS: usize = 100;
