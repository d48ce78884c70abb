//! Rounds to spreads and ratios.

/// The least, the middle and the greatest of some values, and the values in the order of their rounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// One a round; a round that failed has none.
    pub runs: Vec<f64>,
    /// The least.
    pub min: f64,
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Nothing of no values.
    pub(crate) fn of(runs: Vec<f64>) -> Option<Spread> {
        let mut sorted = runs.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Spread {
            runs,
            min,
            median: f64::midpoint(low, high),
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_taken_in_order_of_size() {
        let spread = Spread::of(vec![9.0, 1.0, 5.0]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 5.0, 9.0));
        assert_eq!(spread.runs, [9.0, 1.0, 5.0]);
        assert_eq!(Spread::of(vec![4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
