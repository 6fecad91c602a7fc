//! How a command ended: exit codes that scripts can use, and errors with advice. `docs/cli.md` lists the codes.

use eyot_model::api::Diagnostic;
use std::fmt;

/// Exit code of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It worked; of a run that was waited for: it succeeded.
    Success = 0,
    /// The run failed.
    RunFailed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The control plane cannot be reached, or the connection was lost for good.
    Unreachable = 3,
    /// The workflow or its inputs are invalid, or no agent can run it.
    Invalid = 4,
    /// The run was cancelled.
    Cancelled = 5,
    /// The token is missing or wrong, or may not do that.
    Denied = 6,
    /// The control plane refused: no such thing, or it is in the wrong state.
    Refused = 7,
    /// Something on this machine failed: a file, a program that is not installed, a build.
    Local = 8,
    /// `--timeout` passed before the run ended. The run goes on.
    TimedOut = 9,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) exit: Exit,
    /// Stable code, for `-o json`.
    pub(crate) code: String,
    /// What failed, with its causes.
    pub(crate) error: anyhow::Error,
    /// What to do about it.
    pub(crate) help: Option<String>,
    /// Where in the workflow.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Already told in full: only the exit code is left to give.
    pub(crate) silent: bool,
}

impl Fault {
    pub(crate) fn new(exit: Exit, code: &str, error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            code: code.to_owned(),
            error: error.into(),
            help: None,
            diagnostics: Vec::new(),
            silent: false,
        }
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, "cli.usage", anyhow::anyhow!("{message}"))
    }

    pub(crate) fn local(message: impl fmt::Display) -> Self {
        Self::new(Exit::Local, "cli.local", anyhow::anyhow!("{message}"))
    }

    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(Exit::Invalid, "cli.invalid", anyhow::anyhow!("{message}"))
    }

    /// Only an exit code: everything has been said.
    pub(crate) fn silent(exit: Exit) -> Self {
        let mut fault = Self::new(exit, "cli.ended", anyhow::anyhow!("ended"));
        fault.silent = true;
        fault
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<eyot_client::Error> for Fault {
    fn from(error: eyot_client::Error) -> Self {
        use eyot_client::Error as E;
        let exit = match &error {
            E::Unreachable { .. } | E::Lost { .. } | E::NotEyot { .. } => Exit::Unreachable,
            E::BadAddress { .. } | E::ClearText { .. } | E::BadCa { .. } => Exit::Usage,
            E::Refused { status: 401 | 403, .. } => Exit::Denied,
            E::Refused { status: 422, problem } if !problem.code.starts_with("agent.") => Exit::Invalid,
            E::Refused { .. } => Exit::Refused,
            _ => Exit::Local,
        };
        let diagnostics = match &error {
            E::Refused { problem, .. } => problem.diagnostics.clone(),
            _ => Vec::new(),
        };
        Self {
            exit,
            code: error.code().to_owned(),
            help: error.advice().map(str::to_owned),
            // The reason of a connection that did not come about is in the message already.
            error: match &error {
                E::Unreachable { .. } | E::Lost { .. } => anyhow::anyhow!("{error}"),
                _ => anyhow::Error::new(error),
            },
            diagnostics,
            silent: false,
        }
    }
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Local, "cli.local", error)
    }
}

/// What every command gives back.
pub(crate) type Outcome<T = ()> = Result<T, Fault>;
