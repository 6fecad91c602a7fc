//! How much room an agent's disk has.

use serde::{Deserialize, Serialize};

/// How much room there is, from good to bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiskState {
    #[default]
    Normal,
    /// Take no new work.
    High,
    /// Start no attempts. The reserve may be in use.
    Critical,
    /// The last append found no room, the reserve included. Nothing was acknowledged; appends are worth trying again.
    Full,
}

impl DiskState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
            Self::Full => "full",
        }
    }

    /// Whether work that is not here yet is taken.
    #[must_use]
    pub fn takes_work(self) -> bool {
        self == Self::Normal
    }

    /// Whether attempts of the work that is here are started.
    #[must_use]
    pub fn starts_attempts(self) -> bool {
        self < Self::Critical
    }
}
