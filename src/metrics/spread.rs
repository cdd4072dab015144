//! How values are spread, in a few kilobytes however many there are: exact up to 16, then sixteen steps to each doubling,
//! so that a percentile is known to within 4 %.

/// Bits of a value that tell its step within a doubling.
const STEP_BITS: u32 = 4;
const STEPS: u64 = 1 << STEP_BITS;
/// Larger values count as this one: in microseconds, 71 minutes.
const LARGEST: u64 = u32::MAX as u64;
const BUCKETS: usize = bucket(LARGEST) + 1;

/// Counts of values, by size.
#[derive(Debug)]
pub(super) struct Spread {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
    most: u64,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            total: 0,
            most: 0,
        }
    }
}

impl Spread {
    pub(super) fn add(&mut self, value: u64) {
        let value = value.min(LARGEST);
        self.counts[bucket(value)] += 1;
        self.total += 1;
        self.most = self.most.max(value);
    }

    /// The value that a `share` of all values does not exceed; 0 when there are none.
    pub(super) fn at(&self, share: f64) -> u64 {
        let rank = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return middle(bucket).min(self.most);
            }
        }
        0
    }

    pub(super) fn most(&self) -> u64 {
        self.most
    }
}

const fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    // The bits below the highest one, cut to a step.
    let step = (value >> shift) - STEPS;
    ((shift as u64 + 1) * STEPS + step) as usize
}

/// The value in the middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let (doubling, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    if doubling == 0 {
        return step;
    }
    let shift = doubling - 1;
    ((STEPS + step) << shift) + ((1 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap_and_hold_their_middle() {
        for value in 1..100_000 {
            let step = bucket(value) - bucket(value - 1);
            assert!(step <= 1, "{value}");
            let error = middle(bucket(value)).abs_diff(value) as f64 / value as f64;
            assert!(error <= 0.04, "{value}: {error}");
        }
        assert_eq!(bucket(LARGEST), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut spread = Spread::default();
        assert_eq!((spread.at(0.5), spread.most()), (0, 0));
        (1..=1000).for_each(|value| spread.add(value));
        for (share, exact) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = spread.at(share) as f64;
            assert!((found - exact).abs() <= exact * 0.04, "{share}: {found}");
        }
        spread.add(u64::MAX);
        assert_eq!(spread.most(), LARGEST);
        assert!(spread.at(1.0) <= LARGEST);
    }
}
