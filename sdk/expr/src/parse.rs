//! From tokens to the tree: CEL's grammar, by recursive descent, bounded in depth and height.

use crate::ast::{Comprehension, Kind, Macro, Node, Operator, Path, Step};
use crate::error::ParseError;
use crate::functions;
use crate::limits;
use crate::reference::{Reference, is_identifier};
use crate::token::{Spanned, Token, tokens};
use eyot_model::Value;
use std::collections::BTreeMap;

pub(crate) struct Parsed {
    pub(crate) root: Node,
    /// Each reference with the byte offset of its first use.
    pub(crate) references: Vec<(Reference, usize)>,
}

/// # Errors
/// At the first place that is not CEL, names an unknown function, or goes over a limit.
pub(crate) fn parse(source: &str) -> Result<Parsed, ParseError> {
    if source.len() > limits::MAX_SOURCE_BYTES {
        return Err(ParseError::new(
            source,
            0,
            format!("an expression is at most {} bytes long", limits::MAX_SOURCE_BYTES),
        ));
    }
    let mut parser = Parser {
        source,
        tokens: tokens(source)?,
        next: 0,
        depth: 0,
        variables: Vec::new(),
        references: BTreeMap::new(),
    };
    if *parser.peek() == Token::End {
        return Err(parser.error("an expression is missing"));
    }
    let root = parser.expression()?;
    if *parser.peek() != Token::End {
        return Err(parser.unexpected("the end of the expression"));
    }
    note_references(&root, &mut parser.references);
    let mut references: Vec<_> = parser.references.into_iter().collect();
    references.sort_by_key(|(_, at)| *at);
    Ok(Parsed { root, references })
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Spanned>,
    next: usize,
    depth: usize,
    /// Variables of the comprehensions around this place.
    variables: Vec<String>,
    references: BTreeMap<Reference, usize>,
}

type Parse = Result<Node, ParseError>;

impl Parser<'_> {
    fn peek(&self) -> &Token {
        // `tokens` ends with `End`, which is never passed.
        &self.tokens[self.next].token
    }

    fn at(&self) -> usize {
        self.tokens[self.next].at
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.next].token.clone();
        if self.next + 1 < self.tokens.len() {
            self.next += 1;
        }
        token
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(s) if *s == symbol)
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let is = self.is(symbol);
        if is {
            self.advance();
        }
        is
    }

    fn expect(&mut self, symbol: &str, place: &str) -> Result<(), ParseError> {
        if self.accept(symbol) {
            return Ok(());
        }
        Err(self.unexpected(&format!("`{symbol}` {place}")))
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError::new(self.source, self.at(), message)
    }

    fn unexpected(&self, expected: &str) -> ParseError {
        let found = &self.tokens[self.next];
        let text = match &found.token {
            Token::End => "the end".to_owned(),
            Token::Name(_) | Token::Int(_) | Token::Float(_) | Token::Text(_) | Token::Bytes(_) | Token::Symbol(_) => {
                format!("`{}`", &self.source[found.at..found.end])
            }
        };
        let error = self.error(format!("expected {expected}, found {text}"));
        match &found.token {
            Token::Name(word) if word.eq_ignore_ascii_case("and") => error.with_help("both conditions: `&&`"),
            Token::Name(word) if word.eq_ignore_ascii_case("or") => error.with_help("either condition: `||`"),
            Token::Name(word) if word.eq_ignore_ascii_case("not") => error.with_help("the opposite of a condition: `!`"),
            _ => error,
        }
    }

    fn node(&self, at: usize, kind: Kind) -> Parse {
        let below = kind.children().map(|c| c.height).max().unwrap_or(0);
        if below >= limits::MAX_HEIGHT {
            return Err(ParseError::new(self.source, at, "the expression has too many operators in a row")
                .with_help("lists have `join`, `sum`, `exists` and `all`"));
        }
        Ok(Node {
            at: u32::try_from(at).unwrap_or(u32::MAX),
            height: below + 1,
            kind,
        })
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, ParseError>) -> Result<T, ParseError> {
        if self.depth >= limits::MAX_NESTING {
            return Err(self.error(format!("nested deeper than {} levels", limits::MAX_NESTING)));
        }
        self.depth += 1;
        let out = inner(self);
        self.depth -= 1;
        out
    }

    fn expression(&mut self) -> Parse {
        self.nested(|p| {
            let at = p.at();
            let condition = p.either()?;
            if !p.accept("?") {
                return Ok(condition);
            }
            let then = p.either()?;
            p.expect(":", "between the two results of `? :`")?;
            let otherwise = p.expression()?;
            p.node(at, Kind::Conditional(Box::new([condition, then, otherwise])))
        })
    }

    fn either(&mut self) -> Parse {
        self.chain("||", Self::both, Kind::Or)
    }

    fn both(&mut self) -> Parse {
        self.chain("&&", Self::relation, Kind::And)
    }

    fn chain(&mut self, symbol: &str, inner: fn(&mut Self) -> Parse, make: fn(Vec<Node>) -> Kind) -> Parse {
        let at = self.at();
        let first = inner(self)?;
        if !self.is(symbol) {
            return Ok(first);
        }
        let mut terms = vec![first];
        while self.accept(symbol) {
            terms.push(inner(self)?);
        }
        self.node(at, make(terms))
    }

    fn relation(&mut self) -> Parse {
        self.binary(
            &[
                Operator::Equal,
                Operator::NotEqual,
                Operator::LessEqual,
                Operator::Less,
                Operator::GreaterEqual,
                Operator::Greater,
                Operator::In,
            ],
            Self::sum,
        )
    }

    fn sum(&mut self) -> Parse {
        self.binary(&[Operator::Add, Operator::Subtract], Self::product)
    }

    fn product(&mut self) -> Parse {
        self.binary(&[Operator::Multiply, Operator::Divide, Operator::Remainder], Self::unary)
    }

    fn binary(&mut self, operators: &[Operator], inner: fn(&mut Self) -> Parse) -> Parse {
        let mut left = inner(self)?;
        while let Some(operator) = operators.iter().copied().find(|o| self.is(o.symbol())) {
            let at = self.at();
            self.advance();
            let right = inner(self)?;
            left = self.node(at, Kind::Binary(operator, Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parse {
        let at = self.at();
        if self.accept("!") {
            let inner = self.nested(Self::unary)?;
            return self.node(at, Kind::Not(Box::new(inner)));
        }
        if self.is("-") {
            self.advance();
            // The least integer has no positive counterpart, so the sign belongs to the literal.
            if let Token::Int(n) = *self.peek() {
                let Some(value) = 0_i64.checked_sub_unsigned(n) else {
                    return Err(self.error("not a 64-bit integer"));
                };
                self.advance();
                let literal = self.node(at, Kind::Literal(Value::Int(value)))?;
                return self.members(literal);
            }
            let inner = self.nested(Self::unary)?;
            return self.node(at, Kind::Negate(Box::new(inner)));
        }
        let primary = self.primary()?;
        self.members(primary)
    }

    fn primary(&mut self) -> Parse {
        let at = self.at();
        match self.peek().clone() {
            Token::Int(n) => {
                let value = i64::try_from(n).map_err(|_| self.error("not a 64-bit integer"))?;
                self.literal(at, Value::Int(value))
            }
            Token::Float(f) => self.literal(at, Value::Float(f)),
            Token::Text(text) => self.literal(at, Value::String(text)),
            Token::Bytes(bytes) => self.literal(at, Value::Bytes(bytes)),
            Token::Symbol("true") => self.literal(at, Value::Bool(true)),
            Token::Symbol("false") => self.literal(at, Value::Bool(false)),
            Token::Symbol("null") => self.literal(at, Value::Null),
            Token::Symbol("(") => {
                self.advance();
                let inner = self.expression()?;
                self.expect(")", "to close the bracket")?;
                Ok(inner)
            }
            Token::Symbol("[") => {
                self.advance();
                let elements = self.list_until("]")?;
                self.node(at, Kind::List(elements))
            }
            Token::Symbol("{") => self.map(at),
            Token::Symbol(".") => {
                // A leading dot names a root variable, as in CEL.
                self.advance();
                let Token::Name(name) = self.peek().clone() else {
                    return Err(self.unexpected("a name"));
                };
                self.advance();
                self.root(at, name, false)
            }
            Token::Name(name) => {
                self.advance();
                if self.is("(") {
                    return self.call(at, &name, None);
                }
                if self.is("{") {
                    return Err(ParseError::new(self.source, at, "there are no message types here").with_help("a map is `{'key': value}`"));
                }
                if RESERVED.contains(&name.as_str()) {
                    return Err(ParseError::new(self.source, at, format!("`{name}` is a reserved word of CEL")));
                }
                let local = self.variables.contains(&name);
                self.root(at, name, local)
            }
            Token::Symbol(_) | Token::End => Err(self.unexpected("a value")),
        }
    }

    fn literal(&mut self, at: usize, value: Value) -> Parse {
        self.advance();
        self.node(at, Kind::Literal(value))
    }

    fn root(&self, at: usize, root: String, local: bool) -> Parse {
        self.node(
            at,
            Kind::Path(Path {
                root,
                local,
                steps: Vec::new(),
            }),
        )
    }

    fn list_until(&mut self, close: &str) -> Result<Vec<Node>, ParseError> {
        let mut elements = Vec::new();
        loop {
            if self.accept(close) {
                return Ok(elements);
            }
            elements.push(self.expression()?);
            if !self.accept(",") {
                self.expect(close, "or `,` after an element")?;
                return Ok(elements);
            }
        }
    }

    fn map(&mut self, at: usize) -> Parse {
        self.advance();
        let mut entries = Vec::new();
        loop {
            if self.accept("}") {
                break;
            }
            let key = self.expression()?;
            if let Kind::Literal(value) = &key.kind
                && !matches!(value, Value::String(_))
            {
                return Err(ParseError::new(self.source, key.at as usize, "the key of a map must be a string"));
            }
            self.expect(":", "after the key of a map")?;
            entries.push((key, self.expression()?));
            if !self.accept(",") {
                self.expect("}", "or `,` after an entry of a map")?;
                break;
            }
        }
        self.node(at, Kind::Map(entries))
    }

    /// Selections, indices and methods that follow a value.
    fn members(&mut self, mut node: Node) -> Parse {
        loop {
            let at = self.at();
            if self.accept(".") {
                if self.is("?") {
                    return Err(self
                        .error("optional fields (`.?`) are not part of this language")
                        .with_help("test with `has(a.b)`"));
                }
                let Token::Name(name) = self.peek().clone() else {
                    return Err(self
                        .unexpected("the name of a field after `.`")
                        .with_help("a field of any name is written `a[\"name\"]`"));
                };
                let name_at = self.at();
                self.advance();
                node = if self.is("(") {
                    self.call(name_at, &name, Some(node))?
                } else {
                    self.select(node, name_at, name)?
                };
            } else if self.accept("[") {
                let index = self.expression()?;
                self.expect("]", "to close the index")?;
                node = self.index(node, at, index)?;
            } else {
                return Ok(node);
            }
        }
    }

    fn select(&self, node: Node, at: usize, field: String) -> Parse {
        match node.kind {
            Kind::Path(mut path) => {
                path.steps.push(Step::Field(field));
                self.node(node.at as usize, Kind::Path(path))
            }
            _ => self.node(at, Kind::Select(Box::new(node), field)),
        }
    }

    fn index(&self, node: Node, at: usize, index: Node) -> Parse {
        match (node.kind, index.kind) {
            (Kind::Path(mut path), Kind::Literal(Value::String(field))) => {
                path.steps.push(Step::Field(field));
                self.node(node.at as usize, Kind::Path(path))
            }
            (Kind::Path(mut path), Kind::Literal(Value::Int(n))) => {
                path.steps.push(Step::Item(n));
                self.node(node.at as usize, Kind::Path(path))
            }
            (operand, index_kind) => self.node(
                at,
                Kind::Index(
                    Box::new(Node { kind: operand, ..node }),
                    Box::new(Node { kind: index_kind, ..index }),
                ),
            ),
        }
    }

    fn call(&mut self, at: usize, name: &str, receiver: Option<Node>) -> Parse {
        self.advance();
        let receiver = match (Macro::named(name), receiver) {
            (Some(kind), Some(range)) => return self.comprehension(at, kind, name, range),
            (_, receiver) => receiver,
        };
        let method = receiver.is_some();
        let mut arguments: Vec<Node> = receiver.into_iter().collect();
        arguments.extend(self.list_until(")")?);
        if name == "has" && !method {
            return self.has(at, arguments);
        }
        let function = functions::find(name, method).map_err(|(message, help)| {
            let error = ParseError::new(self.source, at, message);
            match help {
                Some(help) => error.with_help(help),
                None => error,
            }
        })?;
        if !function.arguments.contains(&arguments.len()) {
            return Err(ParseError::new(self.source, at, format!("wrong number of arguments for `{name}`"))
                .with_help(format!("it is used as `{}`", function.usage)));
        }
        self.node(at, Kind::Call(function, arguments))
    }

    fn has(&mut self, at: usize, mut arguments: Vec<Node>) -> Parse {
        let wrong = || ParseError::new(self.source, at, "`has` takes one field, such as `has(a.b)`");
        let (Some(argument), true) = (arguments.pop(), arguments.is_empty()) else {
            return Err(wrong());
        };
        match argument.kind {
            Kind::Select(operand, field) => self.node(at, Kind::Has(operand, field)),
            Kind::Path(mut path) => match path.steps.pop() {
                Some(Step::Field(field)) => {
                    let mut whole = reference_of(&path);
                    if !path.local
                        && let Some(reference) = whole.as_mut().filter(|r| r.path.len() == path.steps.len() + 1)
                    {
                        reference.path.push(field.clone());
                        self.references.entry(reference.clone()).or_insert(argument.at as usize);
                    }
                    let operand = self.node(argument.at as usize, Kind::Path(path))?;
                    self.node(at, Kind::Has(Box::new(operand), field))
                }
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }

    fn comprehension(&mut self, at: usize, kind: Macro, name: &str, range: Node) -> Parse {
        let usage = format!("it is used as `list.{name}(x, …)`, with a name of your own for the element");
        let Token::Name(variable) = self.peek().clone() else {
            return Err(self.unexpected("a name for the element").with_help(usage));
        };
        if RESERVED.contains(&variable.as_str()) {
            return Err(self.error(format!("`{variable}` is a reserved word of CEL")));
        }
        self.advance();
        self.expect(",", &format!("after the name of the element in `{name}`"))
            .map_err(|e| e.with_help(usage.clone()))?;
        self.variables.push(variable.clone());
        let parts = self.list_until(")");
        self.variables.pop();
        let mut parts = parts?;
        let most = if kind == Macro::Map { 2 } else { 1 };
        if parts.len() > most {
            return Err(ParseError::new(self.source, at, format!("wrong number of arguments for `{name}`")).with_help(usage));
        }
        let Some(body) = parts.pop() else {
            return Err(ParseError::new(self.source, at, format!("wrong number of arguments for `{name}`")).with_help(usage));
        };
        let filter = parts.pop();
        self.node(
            at,
            Kind::Comprehension(Box::new(Comprehension {
                kind,
                range,
                variable,
                filter,
                body,
            })),
        )
    }
}

const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

fn reference_of(path: &Path) -> Option<Reference> {
    if path.local {
        return None;
    }
    let mut names = vec![path.root.clone()];
    for step in &path.steps {
        match step {
            Step::Field(field) => names.push(field.clone()),
            Step::Item(_) => break,
        }
    }
    Some(Reference { path: names })
}

fn note_references(node: &Node, into: &mut BTreeMap<Reference, usize>) {
    if let Kind::Path(path) = &node.kind
        && let Some(reference) = reference_of(path)
    {
        let at = into.entry(reference).or_insert(node.at as usize);
        *at = (*at).min(node.at as usize);
    }
    // The path inside `has` was noted with its field.
    if let Kind::Has(operand, _) = &node.kind
        && matches!(operand.kind, Kind::Path(_))
    {
        if let Kind::Path(path) = &operand.kind
            && path.steps.iter().any(|s| matches!(s, Step::Item(_)))
        {
            note_references(operand, into);
        }
        return;
    }
    for child in node.kind.children() {
        note_references(child, into);
    }
}

/// A path without anything around it, read without the machinery above: most expressions of a workflow are one.
pub(crate) fn plain_path(source: &str) -> Option<Parsed> {
    let text = source.trim();
    let mut parts = text.split('.');
    let root = parts.next()?;
    if text.len() > limits::MAX_SOURCE_BYTES
        || !is_identifier(root)
        || RESERVED.contains(&root)
        || matches!(root, "true" | "false" | "null" | "in")
    {
        return None;
    }
    let mut steps = Vec::new();
    for part in parts {
        if !is_identifier(part) || matches!(part, "true" | "false" | "null" | "in") {
            return None;
        }
        steps.push(Step::Field(part.to_owned()));
    }
    let at = source.len() - source.trim_start().len();
    let path = Path {
        root: root.to_owned(),
        local: false,
        steps,
    };
    let references = reference_of(&path).map(|r| (r, at)).into_iter().collect();
    Some(Parsed {
        root: Node {
            at: u32::try_from(at).ok()?,
            height: 1,
            kind: Kind::Path(path),
        },
        references,
    })
}
