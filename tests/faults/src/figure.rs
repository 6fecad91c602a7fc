//! What a group measured.

use serde::Serialize;

/// One figure, with the most that is wanted where the promise names one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// `kill-agent.recovery-p50`
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// The value must be at most this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// Whether a value beyond `at_most` fails the group: false for times, which a busy machine stretches.
    #[serde(skip)]
    pub strict: bool,
    /// What it was taken from.
    pub n: usize,
}

impl Figure {
    #[must_use]
    pub fn new(name: &str, value: f64, unit: &'static str, n: usize) -> Self {
        Self {
            name: name.to_owned(),
            value,
            unit,
            at_most: None,
            strict: false,
            n,
        }
    }

    /// A number of things.
    #[must_use]
    pub fn count(name: &str, count: usize) -> Self {
        #[allow(clippy::cast_precision_loss)]
        Self::new(name, count as f64, "", count)
    }

    /// The promise; missing it is told and fails nothing.
    #[must_use]
    pub fn wanted(mut self, at_most: f64) -> Self {
        self.at_most = Some(at_most);
        self
    }

    /// The promise; missing it fails the group.
    #[must_use]
    pub fn required(mut self, at_most: f64) -> Self {
        self.at_most = Some(at_most);
        self.strict = true;
        self
    }

    /// Whether the promise was kept.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.at_most.is_none_or(|most| self.value <= most)
    }
}

/// A row of the table at the end.
impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = if self.value.fract() == 0.0 {
            format!("{:.0}", self.value)
        } else {
            format!("{:.1}", self.value)
        };
        write!(f, "{:<36} {value:>9} {:<3}", self.name, self.unit)?;
        match self.at_most {
            Some(most) if self.kept() => write!(f, "  at most {most}"),
            Some(most) => write!(f, "  at most {most}: MISSED"),
            None => Ok(()),
        }
    }
}

/// The value that `share` of the sorted values do not exceed; zero of none.
#[must_use]
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let at = ((values.len() as f64 * share).ceil() as usize).saturating_sub(1);
    values.get(at).or(values.last()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut values = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert!((percentile(&mut values, 0.5) - 3.0).abs() < f64::EPSILON);
        assert!((percentile(&mut values, 0.99) - 5.0).abs() < f64::EPSILON);
        assert!(percentile(&mut [], 0.5).abs() < f64::EPSILON);
    }
}
