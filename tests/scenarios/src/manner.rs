//! How a program is started: plainly, or by another program that becomes it.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// Words before the program, such as `ip netns exec left`. Whatever they run must become the program by `exec`, so that
/// it keeps the process id; `strace -D` does too.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    pub before: Vec<OsString>,
    /// Set for the program.
    pub variables: Vec<(OsString, OsString)>,
}

impl Manner {
    /// With these words before the program.
    #[must_use]
    pub fn by<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Self {
        Self {
            before: words.into_iter().map(Into::into).collect(),
            variables: Vec::new(),
        }
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = match self.before.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}
