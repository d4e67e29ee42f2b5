//! Medians, paired ratios and how far they can be trusted.
//!
//! Pure: same input, same output. Means are never used: one preempted run would move them.

/// A figure that is estimated from a sample, with a 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// What is shown of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The middle value.
    pub median: f64,
    /// The smallest value: the least disturbed run.
    pub min: f64,
    /// Nine of ten runs were at most this.
    pub p90: f64,
}

/// Resamples of a bootstrap: enough for a steady second digit of the interval's ends.
const RESAMPLES: usize = 2000;
/// Fixed, so that the same measurements give the same report.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Median, minimum and 90th percentile; nothing of nothing.
#[must_use]
pub fn summarise(values: &[f64]) -> Option<Summary> {
    let sorted = sorted(values);
    Some(Summary {
        median: middle(&sorted)?,
        min: *sorted.first()?,
        p90: *sorted.get((sorted.len() * 9 / 10).min(sorted.len() - 1))?,
    })
}

/// The median of `numerator[i] / denominator[i]`: both of one iteration, so that what slowed the
/// machine at that moment slowed both. Nothing when there is no complete pair.
#[must_use]
pub fn paired_ratio(numerator: &[Option<f64>], denominator: &[Option<f64>]) -> Option<Estimate> {
    let ratios: Vec<f64> = numerator
        .iter()
        .zip(denominator)
        .filter_map(|(top, bottom)| Some((*top)? / bottom.filter(|value| *value > 0.0)?))
        .collect();
    let value = middle(&sorted(&ratios))?;
    let mut random = Random::new(SEED);
    let resampled: Vec<f64> =
        (0..RESAMPLES).filter_map(|_| middle(&random.resample(&ratios))).collect();
    Some(interval(value, &resampled))
}

/// The ratio of two medians whose samples were not taken side by side. Nothing of nothing.
#[must_use]
pub fn ratio_of_medians(
    numerator: &[Option<f64>],
    denominator: &[Option<f64>],
) -> Option<Estimate> {
    let top: Vec<f64> = numerator.iter().flatten().copied().collect();
    let bottom: Vec<f64> = denominator.iter().flatten().copied().collect();
    let ratio = |top: &[f64], bottom: &[f64]| {
        let below = middle(bottom).filter(|value| *value > 0.0)?;
        Some(middle(top)? / below)
    };
    let value = ratio(&sorted(&top), &sorted(&bottom))?;
    let mut random = Random::new(SEED);
    let resampled: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| ratio(&random.resample(&top), &random.resample(&bottom)))
        .collect();
    Some(interval(value, &resampled))
}

fn interval(value: f64, resampled: &[f64]) -> Estimate {
    let resampled = sorted(resampled);
    let at = |share: usize| resampled.get(resampled.len() * share / 1000).copied().unwrap_or(value);
    Estimate { value, low: at(25), high: at(975) }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The middle of sorted values, or the mean of the two in the middle.
fn middle(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => sorted.get(half).copied(),
        _ => Some(f64::midpoint(*sorted.get(half - 1)?, *sorted.get(half)?)),
    }
}

/// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators", 2016).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A generator; `seed` must not be 0, which is taken as 1.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// A number below `bound`; 0 when that is 0. The bias is below 2⁻³² for the sizes used here.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from((high * bound as u64) >> 32).unwrap_or(0)
    }

    /// Puts `items` in a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// As many values as there are, drawn with replacement, sorted.
    fn resample(&mut self, values: &[f64]) -> Vec<f64> {
        let drawn: Vec<f64> = (0..values.len())
            .filter_map(|_| values.get(self.below(values.len())).copied())
            .collect();
        sorted(&drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(values: &[f64]) -> Vec<Option<f64>> {
        values.iter().copied().map(Some).collect()
    }

    #[test]
    fn a_summary_is_of_the_sorted_values() {
        let values: Vec<f64> = (1..=10).rev().map(f64::from).collect();
        assert_eq!(summarise(&values), Some(Summary { median: 5.5, min: 1.0, p90: 10.0 }));
        assert_eq!(summarise(&[]), None);
    }

    #[test]
    fn pairing_cancels_what_disturbed_both() {
        // The machine is ten times slower in every second iteration; the ratio stays 2.
        let base: Vec<f64> = (0..50).map(|i| if i % 2 == 0 { 1.0 } else { 10.0 }).collect();
        let double: Vec<f64> = base.iter().map(|value| value * 2.0).collect();
        let ratio = paired_ratio(&some(&double), &some(&base));
        assert_eq!(ratio, Some(Estimate { value: 2.0, low: 2.0, high: 2.0 }));
    }

    #[test]
    fn an_iteration_in_which_either_failed_does_not_count() {
        let ratio = paired_ratio(&[Some(4.0), None, Some(9.0)], &[Some(2.0), Some(1.0), None]);
        assert_eq!(ratio.map(|estimate| estimate.value), Some(2.0));
        assert_eq!(paired_ratio(&[None], &[Some(1.0)]), None);
    }

    #[test]
    fn the_interval_holds_the_estimate_and_narrows_with_more_samples() {
        let mut random = Random::new(7);
        let mut noisy = |count: usize| -> Vec<f64> {
            (0..count).map(|_| 1.0 + random.below(1000) as f64 / 1000.0).collect()
        };
        let width = |top: &[f64], bottom: &[f64]| {
            let estimate = ratio_of_medians(&some(top), &some(bottom)).expect("samples");
            assert!(estimate.low <= estimate.value && estimate.value <= estimate.high);
            estimate.high - estimate.low
        };
        let few = width(&noisy(12), &noisy(12));
        let many = width(&noisy(600), &noisy(600));
        assert!(many < few, "{many} against {few}");
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<usize> = (0..20).collect();
        Random::new(3).shuffle(&mut items);
        assert_ne!(items, (0..20).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..20).collect::<Vec<_>>());
    }
}
