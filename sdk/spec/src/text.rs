//! From text to a tree of nodes that know their place.

mod node;
mod source;
mod yaml;

pub(crate) use node::{Entry, Kind, Node, Resolved, Scalar, Style};
pub(crate) use source::Source;
pub(crate) use yaml::read;
