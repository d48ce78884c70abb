//! Cumulative counters to rates.

/// Growth of a cumulative counter a second. `None` when no time passed, or when the counter went
/// down: it began anew, and a made-up figure would be a lie in either direction.
pub fn per_second(before: u64, after: u64, elapsed_ns: u64) -> Option<f64> {
    let grown = after.checked_sub(before)?;
    (elapsed_ns > 0).then(|| grown as f64 * 1e9 / elapsed_ns as f64)
}

#[cfg(test)]
mod tests {
    use super::per_second;

    #[track_caller]
    fn check(before: u64, after: u64, elapsed_ns: u64, expected: Option<f64>) {
        assert_eq!(per_second(before, after, elapsed_ns), expected);
    }

    #[test]
    fn a_reset_is_a_case_and_not_a_negative_rate() {
        check(10, 30, 2_000_000_000, Some(10.0));
        check(10, 10, 100_000_000, Some(0.0));
        check(10, 3, 100_000_000, None);
        check(10, 30, 0, None);
    }
}
