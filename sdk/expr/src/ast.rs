//! The tree of an expression.

use crate::functions::Function;
use eyot_model::Value;

/// A node, where it stands in the source, and how high the tree below it is.
#[derive(Debug)]
pub(crate) struct Node {
    /// Byte offset.
    pub(crate) at: u32,
    pub(crate) height: u16,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Literal(Value),
    /// A name and constant steps from it.
    Path(Path),
    Select(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    /// `has(operand.field)`
    Has(Box<Node>, String),
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    /// Two or more.
    And(Vec<Node>),
    /// Two or more.
    Or(Vec<Node>),
    /// Condition, then, otherwise.
    Conditional(Box<[Node; 3]>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// The receiver of a method is the first argument.
    Call(&'static Function, Vec<Node>),
    Comprehension(Box<Comprehension>),
}

#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) root: String,
    /// Whether the root is a variable of a comprehension.
    pub(crate) local: bool,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug)]
pub(crate) enum Step {
    Field(String),
    Item(i64),
}

#[derive(Debug)]
pub(crate) struct Comprehension {
    pub(crate) kind: Macro,
    pub(crate) range: Node,
    pub(crate) variable: String,
    /// Only for `map` with three arguments.
    pub(crate) filter: Option<Node>,
    pub(crate) body: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Macro {
    Exists,
    All,
    ExistsOne,
    Filter,
    Map,
}

impl Macro {
    pub(crate) const NAMES: [(&'static str, Self); 6] = [
        ("exists", Self::Exists),
        ("all", Self::All),
        ("exists_one", Self::ExistsOne),
        ("existsOne", Self::ExistsOne),
        ("filter", Self::Filter),
        ("map", Self::Map),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(n, _)| *n == name).map(|(_, m)| *m)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

impl Kind {
    /// The nodes directly below.
    pub(crate) fn children(&self) -> Box<dyn Iterator<Item = &Node> + '_> {
        match self {
            Self::Literal(_) | Self::Path(_) => Box::new(std::iter::empty()),
            Self::Select(a, _) | Self::Has(a, _) | Self::Not(a) | Self::Negate(a) => Box::new(std::iter::once(&**a)),
            Self::Index(a, b) | Self::Binary(_, a, b) => Box::new([&**a, &**b].into_iter()),
            Self::And(terms) | Self::Or(terms) | Self::List(terms) | Self::Call(_, terms) => Box::new(terms.iter()),
            Self::Conditional(three) => Box::new(three.iter()),
            Self::Map(entries) => Box::new(entries.iter().flat_map(|(k, v)| [k, v])),
            Self::Comprehension(c) => Box::new([&c.range, &c.body].into_iter().chain(c.filter.as_ref())),
        }
    }
}
