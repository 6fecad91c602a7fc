//! Colour, where the reader has a terminal and wants it.

use clap::ValueEnum;

/// `--color`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    Always,
    Never,
}

impl ColorChoice {
    /// Decides for one stream. `NO_COLOR` and `TERM` come in as arguments.
    #[must_use]
    pub(crate) fn decide(self, terminal: bool, no_color: Option<&str>, term: Option<&str>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => terminal && no_color.is_none_or(str::is_empty) && term != Some("dumb"),
        }
    }
}

/// Wraps text in escape codes, or not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paint {
    pub(crate) on: bool,
}

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    #[must_use]
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }
    #[must_use]
    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }
    #[must_use]
    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }
    #[must_use]
    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }
    #[must_use]
    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }
    #[must_use]
    pub(crate) fn blue(self, text: &str) -> String {
        self.wrap("1;34", text)
    }
    #[must_use]
    pub(crate) fn cyan(self, text: &str) -> String {
        self.wrap("36", text)
    }

    /// The colour of a state's word, by what it means to an operator.
    #[must_use]
    pub(crate) fn state(self, word: &str) -> String {
        match word {
            "succeeded" | "connected" => self.green(word),
            "failed" | "upstream-failed" | "timed-out" | "revoked" | "disk full, paused" | "disk full, stuck" => self.red(word),
            "running" | "queued" => self.cyan(word),
            "retrying" | "disconnected" | "suspect" | "waiting" | "paused" | "cancelling" | "cancelled" | "cordoned"
            | "disk nearly full" => self.yellow(word),
            _ => self.dim(word),
        }
    }
}

/// Width of a text on a terminal: escape codes take no place.
#[must_use]
pub(crate) fn width(text: &str) -> usize {
    let mut width = 0;
    let mut escape = false;
    for c in text.chars() {
        match c {
            '\x1b' => escape = true,
            'm' if escape => escape = false,
            _ if escape => {}
            _ => width += 1,
        }
    }
    width
}

/// Text from elsewhere, made safe to print: no escape codes, no control characters but newline and tab.
#[must_use]
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        for (choice, terminal, no_color, term, want) in [
            (ColorChoice::Auto, true, None, Some("xterm"), true),
            (ColorChoice::Auto, false, None, Some("xterm"), false),
            (ColorChoice::Auto, true, Some("1"), Some("xterm"), false),
            (ColorChoice::Auto, true, Some(""), Some("xterm"), true),
            (ColorChoice::Auto, true, None, Some("dumb"), false),
            (ColorChoice::Always, false, Some("1"), None, true),
            (ColorChoice::Never, true, None, None, false),
        ] {
            assert_eq!(choice.decide(terminal, no_color, term), want, "{choice:?} {terminal} {no_color:?}");
        }
    }

    #[test]
    fn escape_codes_have_no_width_and_none_come_in_from_elsewhere() {
        let paint = Paint { on: true };
        assert_eq!(width(&paint.red("four")), 4);
        assert_eq!(clean("a\x1b[31mb\r\n\tc\x07"), "a\u{fffd}[31mb\u{fffd}\n\tc\u{fffd}");
    }
}
