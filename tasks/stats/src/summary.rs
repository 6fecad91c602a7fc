//! What can be said of a series of numbers.

use std::collections::BTreeMap;

#[eyot_task::data]
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Numbers.
    pub count: u64,
    /// Records without a number in this field.
    pub missing: u64,
    pub sum: f64,
    pub mean: f64,
    /// Standard deviation of these numbers, as a whole and not as a sample.
    pub std: f64,
    pub min: f64,
    pub max: f64,
    /// By name (`p50`, `p99.9`), by linear interpolation between neighbours.
    pub percentiles: BTreeMap<String, f64>,
}

/// Numbers in ascending order.
pub(crate) struct Series(Vec<f64>);

impl From<Vec<f64>> for Series {
    fn from(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        Self(numbers)
    }
}

impl Series {
    /// None where there are no numbers.
    pub(crate) fn summary(&self, percentiles: &[f64], missing: u64) -> Option<Summary> {
        let (min, max) = (*self.0.first()?, *self.0.last()?);
        let count = self.0.len() as f64;
        let sum: f64 = self.0.iter().sum();
        // Each divided first: the mean of large numbers is a number where their sum overflows.
        let mean = self.0.iter().map(|v| v / count).sum::<f64>();
        let variance = self.0.iter().map(|v| (v - mean).powi(2) / count).sum::<f64>();
        Some(Summary {
            count: self.0.len() as u64,
            missing,
            sum,
            mean,
            std: variance.sqrt(),
            min,
            max,
            percentiles: percentiles.iter().map(|p| (format!("p{p}"), self.percentile(*p))).collect(),
        })
    }

    /// Hyndman and Fan, Sample quantiles in statistical packages (1996), definition 7. There is a number.
    fn percentile(&self, percent: f64) -> f64 {
        let last = self.0.len() - 1;
        let place = percent / 100.0 * last as f64;
        let below = (place.floor() as usize).min(last);
        let above = (below + 1).min(last);
        self.0[below] + (self.0[above] - self.0[below]) * (place - below as f64)
    }
}
