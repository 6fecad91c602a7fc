//! One figure: how it is measured, and what came out.

use anyhow::Result;
use serde::Serialize;

/// What one run of a figure gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) value: f64,
    /// What the machine itself takes for the least of it, measured in the same run; none where there is no floor.
    pub(crate) floor: Option<f64>,
}

/// Whether less or more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    /// A time or a size.
    Less,
    /// A rate.
    More,
}

/// What the target bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// The ratio to the floor.
    Ratio(f64),
    /// The value itself.
    Value(f64),
    /// For comparison only.
    None,
}

/// A figure that can be measured.
pub(crate) struct Figure {
    /// `group.name`
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    pub(crate) target: Target,
    pub(crate) run: Box<dyn FnMut() -> Result<Sample>>,
}

/// A figure that was measured. The line of `--json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) floor: Option<f64>,
    /// How many times worse than the floor.
    pub(crate) ratio: Option<f64>,
    /// The most that the ratio may be; of a figure without a floor, that the value may be.
    pub(crate) target: Option<f64>,
    pub(crate) n: u32,
}

impl Figure {
    /// Runs it once to warm up and then `runs` times.
    pub(crate) fn measure(mut self, runs: u32) -> Result<Measured> {
        (self.run)()?;
        let samples = (0..runs).map(|_| (self.run)()).collect::<Result<Vec<_>>>()?;
        let value = median(samples.iter().map(|s| s.value).collect());
        let floors: Option<Vec<f64>> = samples.iter().map(|s| s.floor).collect();
        let floor = floors.map(median);
        let ratio = floor.map(|floor| match self.better {
            Better::Less => value / floor,
            Better::More => floor / value,
        });
        let target = match self.target {
            Target::Ratio(most) | Target::Value(most) => Some(most),
            Target::None => None,
        };
        Ok(Measured {
            name: self.name,
            value,
            unit: self.unit,
            floor,
            ratio,
            target,
            n: runs,
        })
    }
}

impl Measured {
    pub(crate) fn met(&self) -> bool {
        self.target.is_none_or(|target| self.ratio.unwrap_or(self.value) <= target)
    }
}

/// NaN of no values.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(better: Better, samples: &[(f64, Option<f64>)]) -> Measured {
        let mut left = samples.to_vec().into_iter().cycle();
        let figure = Figure {
            name: "test.figure",
            what: "",
            unit: "s",
            better,
            target: Target::Ratio(2.0),
            run: Box::new(move || {
                let (value, floor) = left.next().unwrap_or((0.0, None));
                Ok(Sample { value, floor })
            }),
        };
        figure.measure(u32::try_from(samples.len()).unwrap()).unwrap()
    }

    #[test]
    fn the_ratio_says_how_many_times_worse() {
        let time = figure(Better::Less, &[(3.0, Some(1.0)), (1.0, Some(1.0)), (100.0, Some(1.0))]);
        assert_eq!((time.value, time.ratio, time.met()), (3.0, Some(3.0), false));
        let rate = figure(Better::More, &[(50.0, Some(100.0)), (50.0, Some(100.0))]);
        assert_eq!((rate.ratio, rate.met()), (Some(2.0), true));
        let bare = figure(Better::Less, &[(1.5, None)]);
        assert_eq!((bare.ratio, bare.met()), (None, true));
    }
}
