//! Where a command's words go: results to standard output, everything else to standard error.

use crate::exit::{Exit, Fault, Outcome};
use crate::paint::{ColorChoice, Paint, clean};
use clap::ValueEnum;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// `-o`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document on standard output.
    Json,
}

/// The two streams and how to write to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) quiet: bool,
    /// For standard output.
    pub(crate) paint: Paint,
    /// For standard error.
    pub(crate) note_paint: Paint,
    /// Whether standard error is a terminal, so that lines can be redrawn.
    pub(crate) live: bool,
}

impl Output {
    #[must_use]
    pub(crate) fn new(format: Format, quiet: bool, color: ColorChoice) -> Self {
        let no_color = std::env::var("NO_COLOR").ok();
        let term = std::env::var("TERM").ok();
        let decide = |terminal| Paint {
            on: color.decide(terminal, no_color.as_deref(), term.as_deref()),
        };
        let live = io::stderr().is_terminal() && term.as_deref() != Some("dumb");
        Self {
            format,
            quiet,
            paint: decide(io::stdout().is_terminal()),
            note_paint: decide(io::stderr().is_terminal()),
            live,
        }
    }

    /// Width of the terminal that results go to; None where they go elsewhere.
    #[must_use]
    pub(crate) fn columns(&self) -> Option<usize> {
        let stdout = io::stdout();
        let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout))?.ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }

    #[must_use]
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// A line of the result.
    ///
    /// # Errors
    /// When standard output cannot be written; a reader that went away (`| head`) ends the command quietly.
    pub(crate) fn line(&self, text: impl AsRef<str>) -> Outcome {
        write_out(&format!("{}\n", text.as_ref()))
    }

    /// Text of the result as it is.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn text(&self, text: impl AsRef<str>) -> Outcome {
        write_out(text.as_ref())
    }

    /// The result as one JSON document.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn json(&self, value: &impl Serialize) -> Outcome {
        let text = serde_json::to_string_pretty(value).map_err(anyhow::Error::new)?;
        self.line(text)
    }

    /// JSON, or what `text` makes for people.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn show<T: Serialize>(&self, value: &T, text: impl FnOnce(&T, Paint) -> String) -> Outcome {
        if self.is_json() {
            self.json(value)
        } else {
            self.text(text(value, self.paint))
        }
    }

    /// Something that people may want to know meanwhile.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.warn(text);
        }
    }

    /// Something that people must know.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        // There is nobody left to tell when standard error is gone.
        drop(writeln!(io::stderr().lock(), "{}", text.as_ref()));
    }

    /// Tells why a command failed.
    pub(crate) fn fault(&self, fault: &Fault, source: Option<(&str, &str)>) {
        if fault.silent {
            return;
        }
        if self.is_json() {
            let causes: Vec<String> = fault.error.chain().skip(1).map(|e| clean(&e.to_string())).collect();
            let body = serde_json::json!({"error": {
                "code": fault.code, "message": fault.error.to_string(), "causes": causes,
                "help": fault.help, "diagnostics": fault.diagnostics, "exit": fault.exit as u8,
            }});
            self.warn(body.to_string());
            return;
        }
        let paint = self.note_paint;
        if let Some((name, text)) = source
            && !fault.diagnostics.is_empty()
        {
            self.warn(crate::diagnostics::render(&fault.diagnostics, name, text, paint).trim_end());
            // The places have been shown: what is left to say is how many.
            self.warn(format!(
                "{} {}: {}",
                paint.red("✗"),
                clean(name),
                crate::diagnostics::summary(&fault.diagnostics)
            ));
            return;
        }
        let mut message = clean(&fault.error.to_string());
        for cause in fault.error.chain().skip(1) {
            let cause = clean(&cause.to_string());
            if !message.ends_with(&cause) {
                message.push_str(": ");
                message.push_str(&cause);
            }
        }
        self.warn(format!("{} {message}", paint.red("error:")));
        if let Some(help) = &fault.help {
            self.warn(format!("{} {help}", paint.cyan("help:")));
        }
    }
}

fn write_out(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Fault::silent(Exit::Success)),
        Err(error) => Err(Fault::local(format!("cannot write to standard output: {error}"))),
    }
}
