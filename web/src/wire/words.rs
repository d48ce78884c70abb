//! Times, durations, sizes and places in the words of the wire.

use std::panic::Location;
use std::time::{Duration, SystemTime};

/// `path:line` of a spawn site.
pub fn site(location: &Location<'_>) -> String {
    format!("{}:{}", location.file(), location.line())
}

/// A wall-clock time in RFC 3339, UTC.
pub fn rfc3339(at: SystemTime) -> String {
    match jiff::Timestamp::try_from(at) {
        Ok(at) => at.to_string(),
        // Out of jiff's ten thousand years: a clock that is that wrong has no better name.
        Err(_) => jiff::Timestamp::UNIX_EPOCH.to_string(),
    }
}

/// A duration as Go prints it: `1.5s`, `350.5ms`, `2m3.4s`, `1h0m0s`, `0s`.
pub fn go_duration(duration: Duration) -> String {
    let ns = duration.as_nanos();
    let whole_s = duration.as_secs();
    match ns {
        0 => "0s".to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => fraction(ns, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(ns, 1_000_000, "ms"),
        _ => {
            let seconds = fraction(ns % 60_000_000_000, 1_000_000_000, "s");
            match (whole_s / 3600, whole_s / 60 % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

/// `value / unit` with as many decimals as it has, none if it has none.
fn fraction(value: u128, unit: u128, name: &str) -> String {
    let digits = unit.ilog10() as usize;
    let decimals = format!("{:0digits$}", value % unit);
    match decimals.trim_end_matches('0') {
        "" => format!("{}{name}", value / unit),
        decimals => format!("{}.{decimals}{name}", value / unit),
    }
}

/// Milliseconds with their fraction, for the fields whose name ends in `_ms`.
pub fn ms(duration: Duration) -> f64 {
    // Not by way of seconds: 30 ns would become 0.000029999999999999997 ms.
    duration.as_nanos() as f64 / 1e6
}

/// Bytes as MB of 2^20, for the old fields whose name ends in `_mb`. Exact below 2^53 bytes.
pub fn mb(bytes: i64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Bytes a second as MB a second.
pub fn mb_per_sec(bytes_per_sec: f64) -> f64 {
    bytes_per_sec / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Go's `time.Duration.String` for the same values; a client of the old service parses these.
    #[test]
    fn durations_are_written_as_go_writes_them() {
        #[track_caller]
        fn check(ns: u64, expected: &str) {
            assert_eq!(go_duration(Duration::from_nanos(ns)), expected);
        }
        check(0, "0s");
        check(1, "1ns");
        check(1_100, "1.1µs");
        check(2_200_000, "2.2ms");
        check(350_500_000, "350.5ms");
        check(1_000_000_000, "1s");
        check(3_300_000_001, "3.300000001s");
        check(60_000_000_000, "1m0s");
        check(245_000_000_000, "4m5s");
        check(245_001_000_000, "4m5.001s");
        check(18_367_001_000_000, "5h6m7.001s");
    }
}
