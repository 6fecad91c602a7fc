//! Finding `${{ }}` in a text.

/// A part of a text, by byte offsets in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    /// The expression within the braces, and where it begins.
    Hole {
        source: String,
        at: usize,
    },
}

/// A hole without an end: where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unclosed(pub(crate) usize);

/// Splits a text at its holes. `$${{` stands for `${{` itself.
///
/// # Errors
/// Where a hole has no end.
pub(crate) fn split(text: &str) -> Result<Vec<Piece>, Unclosed> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("${{") {
        let start = at + found;
        if text[at..start].ends_with('$') {
            literal.push_str(&text[at..start - 1]);
            literal.push_str("${{");
            at = start + 3;
            continue;
        }
        literal.push_str(&text[at..start]);
        let inner = start + 3;
        let end = end_of_hole(&text[inner..]).ok_or(Unclosed(start))? + inner;
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Hole {
            source: text[inner..end].to_owned(),
            at: inner,
        });
        at = end + 2;
    }
    literal.push_str(&text[at..]);
    if !literal.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

/// Where `}}` ends the hole: not within a text of the expression, and not where it closes its maps.
fn end_of_hole(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut braces = 0_usize;
    let mut skip = false;
    for (at, c) in text.char_indices() {
        if std::mem::take(&mut skip) {
            continue;
        }
        match (quote, c) {
            (Some(_), '\\') => skip = true,
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '{') => braces += 1,
            (None, '}') if braces > 0 => braces -= 1,
            (None, '}') if text[at..].starts_with("}}") => return Some(at),
            (None, _) => {}
        }
    }
    // An unbalanced expression: the parser of expressions says what is wrong with it.
    text.find("}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match split(text) {
            Ok(pieces) => pieces
                .iter()
                .map(|p| match p {
                    Piece::Text(t) => format!("[{t}]"),
                    Piece::Hole { source, at } => {
                        assert!(text[*at..].starts_with(source.as_str()));
                        format!("<{source}>")
                    }
                })
                .collect(),
            Err(Unclosed(at)) => format!("!{at}"),
        }
    }

    #[test]
    fn texts_split_at_their_holes() {
        for (text, expected) in [
            ("", "[]"),
            ("abc", "[abc]"),
            ("${{ a }}", "< a >"),
            ("x ${{a}} y ${{b}}", "[x ]<a>[ y ]<b>"),
            ("${{a}}${{b}}", "<a><b>"),
            ("$${{ a }}", "[${{ a }}]"),
            ("a $${{ ${{ b }}", "[a ${{ ]< b >"),
            ("${{ {'a': {'b': 1}} }}", "< {'a': {'b': 1}} >"),
            ("${{ '}}' }}", "< '}}' >"),
            ("${{ '\\'}}' }}", "< '\\'}}' >"),
            ("${{ 'a }} b", "< 'a >[ b]"),
            ("é ${{ a", "!3"),
            ("$ {{ a }}", "[$ {{ a }}]"),
        ] {
            assert_eq!(show(text), expected, "{text}");
        }
    }
}
