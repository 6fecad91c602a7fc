//! The `eyot` program against a control plane made of canned answers.

mod fake;
mod looking;
mod running;
mod setup;
