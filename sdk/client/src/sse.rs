//! Reading `text/event-stream`: bytes in, events out. Knows no network.

/// Longest event that is read, in bytes. A run's event is far below it.
pub(crate) const EVENT_LIMIT: usize = 1 << 20;

/// One event of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) event: String,
    pub(crate) data: String,
}

/// Why the stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Splits a byte stream into events, whatever the chunks it comes in.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    message: Message,
    has_data: bool,
}

impl Parser {
    /// Takes the next bytes and appends the events that they complete.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut Vec<Message>) -> Result<(), TooLong> {
        for &byte in bytes {
            let after_cr = std::mem::take(&mut self.after_cr);
            match byte {
                b'\n' if after_cr => {}
                b'\n' => self.end_line(out),
                b'\r' => {
                    self.after_cr = true;
                    self.end_line(out);
                }
                other => self.line.push(other),
            }
            if self.line.len() + self.message.data.len() > EVENT_LIMIT {
                return Err(TooLong);
            }
        }
        Ok(())
    }

    fn end_line(&mut self, out: &mut Vec<Message>) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            if std::mem::take(&mut self.has_data) {
                out.push(message);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.message.event),
            "data" => {
                if self.has_data {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
                self.has_data = true;
            }
            // A comment (an empty field) is a heart-beat; `id` is in the data itself; `retry` is our own decision.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        "\u{feff}: beat\r\n\r\nevent: run\r\nid: 1\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\n:\n\ndata:x\nretry: 5\n\nevent: lost\n\ndata: cut";

    #[test]
    fn reads_the_same_events_whatever_the_chunks() {
        let want = vec![
            Message {
                event: "run".into(),
                data: "{\"a\":\n1}".into(),
            },
            Message {
                event: String::new(),
                data: "x".into(),
            },
        ];
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            let mut out = Vec::new();
            for chunk in STREAM.as_bytes().chunks(size) {
                parser.feed(chunk, &mut out).unwrap();
            }
            assert_eq!(out, want, "chunks of {size}");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = Parser::default();
        let mut out = Vec::new();
        assert_eq!(parser.feed(&vec![b'x'; EVENT_LIMIT + 1], &mut out), Err(TooLong));
        let mut parser = Parser::default();
        let line = format!("data: {}\n", "y".repeat(1000));
        let many = line.repeat(EVENT_LIMIT / 1000 + 1);
        assert_eq!(parser.feed(many.as_bytes(), &mut out), Err(TooLong));
    }
}
