//! Writes tiny ONNX models, so that tests need no model from elsewhere.

/// A protobuf message in the making.
#[derive(Clone, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    fn number(mut self, field: u64, n: u64) -> Self {
        self.varint(field << 3);
        self.varint(n);
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }
}

const FLOAT: u64 = 1;

/// `y = 2 x + 1` over `f32[1, n]`, for any n, with an entry `words` in its metadata.
pub(crate) fn doubling() -> Vec<u8> {
    let graph = Message::default()
        .message(1, &node("Mul", &["x", "two"], "double"))
        .message(1, &node("Add", &["double", "one"], "y"))
        .text(2, "doubling")
        .message(5, &scalar("two", 2.0))
        .message(5, &scalar("one", 1.0))
        .message(11, &value("x"))
        .message(12, &value("y"));
    let metadata = Message::default().text(1, "words").text(2, "one two three");
    model(&graph).message(14, &metadata).0
}

/// `less = a < b`, element by element: two inputs, and an output of a type that does not travel as it is.
#[allow(dead_code, reason = "not every test that includes this file needs it")]
pub(crate) fn less() -> Vec<u8> {
    let graph = Message::default()
        .message(1, &node("Less", &["a", "b"], "less"))
        .text(2, "less")
        .message(11, &value("a"))
        .message(11, &value("b"))
        .message(12, &value("less"));
    model(&graph).0
}

/// A model whose weight lies in another file.
#[allow(dead_code, reason = "not every test that includes this file needs it")]
pub(crate) fn with_external_data(path: &str) -> Vec<u8> {
    let location = Message::default().text(1, "location").text(2, path);
    let weight = Message::default()
        .number(2, FLOAT)
        .text(8, "w")
        .message(13, &location)
        .number(14, 1);
    let graph = Message::default()
        .message(1, &node("Add", &["x", "w"], "y"))
        .text(2, "external")
        .message(5, &weight)
        .message(11, &value("x"))
        .message(12, &value("y"));
    model(&graph).0
}

fn model(graph: &Message) -> Message {
    let operators = Message::default().text(1, "").number(2, 13);
    Message::default().number(1, 8).message(7, graph).message(8, &operators)
}

fn node(operator: &str, inputs: &[&str], output: &str) -> Message {
    let node = inputs.iter().fold(Message::default(), |node, input| node.text(1, input));
    node.text(2, output).text(3, output).text(4, operator)
}

fn scalar(name: &str, value: f32) -> Message {
    Message::default().number(2, FLOAT).text(8, name).bytes(9, &value.to_le_bytes())
}

/// `f32[1, n]`
fn value(name: &str) -> Message {
    let shape = Message::default()
        .message(1, &Message::default().number(1, 1))
        .message(1, &Message::default().text(2, "n"));
    let tensor = Message::default().number(1, FLOAT).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}
