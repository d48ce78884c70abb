//! Bounds of every number that a request may hold, as data.
//!
//! The same values feed the checks here, the service's table of limits and its forms.

use thiserror::Error;

/// Most bytes that one run may allocate in all, freed ones included: 64 GiB.
pub const MAX_ALLOCATED_BYTES: u64 = 64 << 30;

/// Most bytes that one run may hold at once: 2 GiB, or half of what the machine has available when
/// that is less.
pub const MAX_KEPT_BYTES: u64 = 2 << 30;

/// The range of one number of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Name of the field, as requests spell it.
    pub field: &'static str,
    /// Least value allowed.
    pub min: u64,
    /// Greatest value allowed.
    pub max: u64,
    /// Value used when the request does not name one.
    pub default: u64,
    /// What is counted.
    pub unit: &'static str,
}

/// A number of a request, or a product of its numbers, is outside its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} must be between {min} and {max} {unit}, not {value}")]
pub struct LimitExceeded {
    /// The field, or the name of the product: `allocated_bytes`, `kept_bytes`, `resident_bytes`, `total_ms`.
    pub field: &'static str,
    /// Least value allowed.
    pub min: u64,
    /// Greatest value allowed, on this machine at this moment.
    pub max: u64,
    /// The value asked for. A product that does not fit reads `u64::MAX`.
    pub value: u64,
    /// What is counted.
    pub unit: &'static str,
}

impl LimitExceeded {
    /// The bound that was crossed: `min` when the value is too small, `max` otherwise.
    pub fn limit(&self) -> u64 {
        if self.value < self.min {
            self.min
        } else {
            self.max
        }
    }
}

impl Bound {
    /// `value` when it is inside the bounds.
    ///
    /// # Errors
    /// [`LimitExceeded`] naming this field otherwise.
    pub fn check(&self, value: u64) -> Result<u64, LimitExceeded> {
        if (self.min..=self.max).contains(&value) {
            return Ok(value);
        }
        Err(LimitExceeded {
            field: self.field,
            min: self.min,
            max: self.max,
            value,
            unit: self.unit,
        })
    }
}

/// Most bytes that a run may hold at once on a machine with this much memory to give.
pub(crate) fn kept_bytes_limit(available: Option<u64>) -> u64 {
    available.map_or(MAX_KEPT_BYTES, |bytes| MAX_KEPT_BYTES.min(bytes / 2))
}

/// Refuses a product of fields above `max` bytes.
pub(crate) fn check_bytes(field: &'static str, value: u64, max: u64) -> Result<u64, LimitExceeded> {
    check_product(field, value, max, "bytes")
}

/// Refuses a product of fields above `max`.
pub(crate) fn check_product(
    field: &'static str,
    value: u64,
    max: u64,
    unit: &'static str,
) -> Result<u64, LimitExceeded> {
    Bound {
        field,
        min: 0,
        max,
        default: 0,
        unit,
    }
    .check(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: Bound = Bound {
        field: "count",
        min: 1,
        max: 10,
        default: 1,
        unit: "objects",
    };

    #[test]
    fn both_ends_of_a_bound_are_inside() {
        assert_eq!(COUNT.check(1), Ok(1));
        assert_eq!(COUNT.check(10), Ok(10));
    }

    #[test]
    fn a_refusal_names_the_field_and_the_bound_that_was_crossed() {
        let low = COUNT.check(0).unwrap_err();
        assert_eq!((low.field, low.limit()), ("count", 1));
        let high = COUNT.check(11).unwrap_err();
        assert_eq!((high.field, high.limit()), ("count", 10));
        assert_eq!(
            high.to_string(),
            "count must be between 1 and 10 objects, not 11"
        );
    }

    #[test]
    fn half_of_the_available_memory_is_the_limit_when_it_is_less() {
        assert_eq!(kept_bytes_limit(None), MAX_KEPT_BYTES);
        assert_eq!(kept_bytes_limit(Some(64 << 30)), MAX_KEPT_BYTES);
        assert_eq!(kept_bytes_limit(Some(1 << 30)), 512 << 20);
    }
}
