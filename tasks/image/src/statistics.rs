//! Measures of a picture.

use eyot_raster::RgbImage;

/// Measures of each channel.
#[eyot_task::data]
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    pub red: Channel,
    pub green: Channel,
    pub blue: Channel,
    /// Of brightness as people see it (ITU-R BT.601: 0.299 red, 0.587 green, 0.114 blue).
    pub luma: Channel,
}

/// Measures over all pixels; values are 0 to 255.
#[eyot_task::data]
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    pub mean: f64,
    /// Standard deviation over all pixels.
    pub std: f64,
    pub min: u8,
    pub max: u8,
    /// Pixels of each of the 256 values.
    pub histogram: Vec<u64>,
}

impl Statistics {
    pub(crate) fn of(picture: &RgbImage) -> Self {
        let mut counts = vec![[0u64; 256]; 4];
        for pixel in picture.pixels() {
            let [r, g, b] = pixel.0;
            let luma = (299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b) + 500) / 1000;
            for (count, value) in counts.iter_mut().zip([r, g, b, luma as u8]) {
                count[usize::from(value)] += 1;
            }
        }
        let [red, green, blue, luma] = [0, 1, 2, 3].map(|i| Channel::of(&counts[i]));
        Self { red, green, blue, luma }
    }
}

impl Channel {
    fn of(histogram: &[u64; 256]) -> Self {
        let values = || (0u8..=255).zip(histogram).filter(|(_, count)| **count > 0);
        let total = (histogram.iter().sum::<u64>() as f64).max(1.0);
        let mean = values().map(|(value, count)| f64::from(value) * *count as f64).sum::<f64>() / total;
        let variance = values()
            .map(|(value, count)| (f64::from(value) - mean).powi(2) * *count as f64)
            .sum::<f64>()
            / total;
        Self {
            mean,
            std: variance.sqrt(),
            min: values().next().map_or(0, |(value, _)| value),
            max: values().next_back().map_or(0, |(value, _)| value),
            histogram: histogram.to_vec(),
        }
    }
}
