//! Splitting a source into tokens, by CEL's lexical grammar.

use crate::error::ParseError;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Name(String),
    /// Beyond `i64` only after a minus sign.
    Int(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Operators, brackets, and the words `true`, `false`, `null`, `in`.
    Symbol(&'static str),
    End,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spanned {
    pub(crate) token: Token,
    pub(crate) at: usize,
    pub(crate) end: usize,
}

const SYMBOLS: [&str; 25] = [
    "==", "!=", "<=", ">=", "&&", "||", "(", ")", "[", "]", "{", "}", ".", ",", "-", "+", "*", "/", "%", "?", ":", "!", "<", ">", "`",
];
const WORDS: [&str; 4] = ["true", "false", "null", "in"];

/// All tokens of a source, `End` last.
pub(crate) fn tokens(source: &str) -> Result<Vec<Spanned>, ParseError> {
    let mut lexer = Lexer { source, at: 0 };
    let mut out = Vec::new();
    loop {
        let next = lexer.next()?;
        let end = next.token == Token::End;
        out.push(next);
        if end {
            return Ok(out);
        }
    }
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.source.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn error(&self, at: usize, message: impl Into<String>) -> ParseError {
        ParseError::new(self.source, at, message)
    }

    fn next(&mut self) -> Result<Spanned, ParseError> {
        self.skip_blank();
        let at = self.at;
        let token = self.token()?;
        Ok(Spanned { token, at, end: self.at })
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']).len();
            self.at += blank;
            if !self.rest().starts_with("//") {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn token(&mut self) -> Result<Token, ParseError> {
        let Some(first) = self.rest().chars().next() else {
            return Ok(Token::End);
        };
        if first.is_ascii_digit() || (first == '.' && self.byte(1).is_ascii_digit()) {
            return self.number();
        }
        if let Some((prefix, raw, bytes)) = self.string_prefix() {
            self.at += prefix;
            return self.string(raw, bytes);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let len = self.rest().bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
            let word = self.rest()[..len].to_owned();
            self.at += len;
            return Ok(WORDS.iter().find(|w| **w == word).map_or(Token::Name(word), |w| Token::Symbol(w)));
        }
        if let Some(symbol) = SYMBOLS.iter().find(|s| self.rest().starts_with(**s)) {
            self.at += symbol.len();
            return Ok(Token::Symbol(symbol));
        }
        let error = self.error(self.at, format!("unexpected `{first}`"));
        Err(match first {
            '=' => error.with_help("equality is `==`"),
            '&' => error.with_help("both conditions: `&&`"),
            '|' => error.with_help("either condition: `||`"),
            '$' => error.with_help("an expression stands without `${{ }}` here"),
            _ => error,
        })
    }

    /// Length of the prefix before the quote, whether raw, whether bytes.
    fn string_prefix(&self) -> Option<(usize, bool, bool)> {
        let quote = |b: u8| b == b'"' || b == b'\'';
        let (a, b, c) = (self.byte(0).to_ascii_lowercase(), self.byte(1), self.byte(2));
        if quote(a) {
            return Some((0, false, false));
        }
        match (a, b.to_ascii_lowercase()) {
            (b'r', _) if quote(b) => Some((1, true, false)),
            (b'b', _) if quote(b) => Some((1, false, true)),
            (b'r', b'b') | (b'b', b'r') if quote(c) => Some((2, true, true)),
            _ => None,
        }
    }

    fn number(&mut self) -> Result<Token, ParseError> {
        let at = self.at;
        if self.byte(0) == b'0' && self.byte(1).eq_ignore_ascii_case(&b'x') {
            let digits = self.source[at + 2..].bytes().take_while(u8::is_ascii_hexdigit).count();
            self.at += 2 + digits;
            let value = u64::from_str_radix(&self.source[at + 2..self.at], 16).map_err(|_| self.error(at, "not a 64-bit integer"))?;
            return self.end_of_number(at, Token::Int(value));
        }
        let digits = |lexer: &mut Self| {
            while lexer.byte(0).is_ascii_digit() {
                lexer.at += 1;
            }
        };
        digits(self);
        let mut float = false;
        if self.byte(0) == b'.' && self.byte(1).is_ascii_digit() {
            float = true;
            self.at += 1;
            digits(self);
        }
        let signed = usize::from(matches!(self.byte(1), b'+' | b'-'));
        if self.byte(0).eq_ignore_ascii_case(&b'e') && self.byte(1 + signed).is_ascii_digit() {
            float = true;
            self.at += 1 + signed;
            digits(self);
        }
        let text = &self.source[at..self.at];
        let token = if float {
            let value = text.parse::<f64>().ok().filter(|f| f.is_finite());
            Token::Float(value.ok_or_else(|| self.error(at, "not a finite number"))?)
        } else {
            Token::Int(text.parse().map_err(|_| self.error(at, "not a 64-bit integer"))?)
        };
        self.end_of_number(at, token)
    }

    fn end_of_number(&self, at: usize, token: Token) -> Result<Token, ParseError> {
        let next = self.byte(0);
        if next.eq_ignore_ascii_case(&b'u') && !self.byte(1).is_ascii_alphanumeric() {
            return Err(self.error(at, "there are no unsigned integers here").with_help("leave the `u` out"));
        }
        if next.is_ascii_alphabetic() || next == b'_' {
            let word: String = self.source[at..].chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
            return Err(self
                .error(at, format!("`{word}` is not a number"))
                .with_help(format!("sizes are written `quantity('{word}')`, times `duration_ms('{word}')`")));
        }
        Ok(token)
    }

    fn string(&mut self, raw: bool, bytes: bool) -> Result<Token, ParseError> {
        let at = self.at;
        let quote = self.byte(0);
        let triple = self.byte(1) == quote && self.byte(2) == quote;
        self.at += if triple { 3 } else { 1 };
        let mut out = Vec::new();
        loop {
            let Some(c) = self.rest().chars().next() else {
                return Err(self.error(at, "this text has no closing quote"));
            };
            if c as u32 == u32::from(quote) {
                let closes = !triple || (self.byte(1) == quote && self.byte(2) == quote);
                if closes {
                    self.at += if triple { 3 } else { 1 };
                    break;
                }
            }
            if (c == '\n' || c == '\r') && !triple {
                return Err(self.error(at, "this text has no closing quote on its line"));
            }
            if c == '\\' && !raw {
                self.escape(bytes, &mut out)?;
            } else {
                self.at += c.len_utf8();
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        if bytes {
            return Ok(Token::Bytes(out));
        }
        String::from_utf8(out)
            .map(Token::Text)
            .map_err(|_| self.error(at, "this text is not UTF-8"))
    }

    fn escape(&mut self, bytes: bool, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let at = self.at;
        let kind = self.byte(1);
        self.at += 2;
        let simple = match kind {
            b'a' => Some(7),
            b'b' => Some(8),
            b'f' => Some(12),
            b'n' => Some(b'\n'),
            b'r' => Some(b'\r'),
            b't' => Some(b'\t'),
            b'v' => Some(11),
            b'\\' | b'\'' | b'"' | b'`' | b'?' => Some(kind),
            _ => None,
        };
        if let Some(byte) = simple {
            out.push(byte);
            return Ok(());
        }
        let unknown = || {
            ParseError::new(self.source, at, "unknown escape in a text").with_help("a backslash itself is `\\\\`, or use a raw text: r'…'")
        };
        let (start, digits, radix) = match kind {
            b'x' | b'X' => (self.at, 2, 16),
            b'u' => (self.at, 4, 16),
            b'U' => (self.at, 8, 16),
            b'0'..=b'3' => (self.at - 1, 3, 8),
            _ => return Err(unknown()),
        };
        let code = self
            .source
            .get(start..start + digits)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|d| u32::from_str_radix(d, radix).ok())
            .ok_or_else(unknown)?;
        self.at = start + digits;
        if bytes && !matches!(kind, b'u' | b'U') {
            out.push(u8::try_from(code).map_err(|_| unknown())?);
        } else {
            let c = char::from_u32(code).ok_or_else(unknown)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Ok(())
    }
}
