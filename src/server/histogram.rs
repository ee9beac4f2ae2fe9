//! Counts by size, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::exposition::Text;

/// Counts of what was observed, below bounds that are chosen beforehand.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// Not above a bound and above the one before; the last, above all.
    counts: Vec<AtomicU64>,
    /// In millionths.
    sum: AtomicU64,
}

const MICRO: f64 = 1e6;
/// Half a millisecond to ten seconds.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const COUNTS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Of seconds.
impl Default for Histogram {
    fn default() -> Self {
        Self::of(&SECONDS)
    }
}

impl Histogram {
    pub fn of_counts() -> Self {
        Self::of(&COUNTS)
    }

    fn of(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    pub fn observe(&self, value: f64) {
        let at = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.counts[at].fetch_add(1, Relaxed);
        self.sum.fetch_add((value * MICRO) as u64, Relaxed);
    }

    /// The samples of one histogram of a family.
    pub fn render(&self, text: &mut Text, name: &str, labels: &[(&str, &str)]) {
        let (bucket, mut below) = (format!("{name}_bucket"), 0);
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            below += count.load(Relaxed);
            let bound = bound.to_string();
            text.sample(&bucket, &[labels, &[("le", &bound)]].concat(), below);
        }
        let count = below + self.counts[self.bounds.len()].load(Relaxed);
        text.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), count);
        text.sample(&format!("{name}_sum"), labels, self.sum.load(Relaxed) as f64 / MICRO);
        text.sample(&format!("{name}_count"), labels, count);
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rendered() {
        let histogram = Histogram::of(&[1.0, 2.5]);
        [0.5, 1.0, 2.0, 9.0].iter().for_each(|value| histogram.observe(*value));
        let mut text = Text::default();
        histogram.render(&mut text, "h", &[("x", "y")]);
        assert_eq!(
            text.0.lines().collect::<Vec<_>>(),
            [
                r#"h_bucket{x="y",le="1"} 2"#,
                r#"h_bucket{x="y",le="2.5"} 3"#,
                r#"h_bucket{x="y",le="+Inf"} 4"#,
                r#"h_sum{x="y"} 12.5"#,
                r#"h_count{x="y"} 4"#
            ]
        );
    }
}
