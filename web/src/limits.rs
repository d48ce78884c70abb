//! Every bound of the service, once.
//!
//! The same rows are what requests are checked against, what `openapi.yaml` states as minimum, maximum and default
//! ([`crate::routes::docs`]), what `GET /api/v1/runtime` lists under `limits`, and what the page's forms take their
//! `min` and `max` from. A bound that is not here does not exist.

use std::time::Duration;

use openwork_bench::short::ROUNDS;
use openwork_workloads::limits::{Bound, MAX_ALLOCATED_BYTES, MAX_KEPT_BYTES};
use openwork_workloads::{benchmark, crowd, finalizers, labs, stress};
use serde::Serialize;
use utoipa::ToSchema;

use crate::body::Int;
use crate::error::{ApiError, Code};

/// What a zero means in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// The default, as in every field that the first version of the service had.
    IsDefault,
    /// Zero.
    IsLiteral,
    /// Never: allowed beside the range, which does not hold it.
    IsNever,
}

/// Where the bounded value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A member of the JSON body.
    Body,
    /// A parameter of the query.
    Query,
    /// A product of fields, computed by the service.
    Product,
    /// A bound of the service as a whole.
    Service,
}

/// One bound.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Method and path that it holds for, or `*` for all.
    pub route: &'static str,
    /// Name of the field, parameter or quantity.
    pub field: &'static str,
    /// Where the value stands.
    pub place: Place,
    /// Smallest value allowed.
    pub min: u64,
    /// Largest value allowed.
    pub max: u64,
    /// Value taken when none is given; `None` where the value is required or absence has a meaning of its own.
    pub default: Option<u64>,
    /// Unit of min, max and default.
    pub unit: &'static str,
    /// What zero means.
    pub zero: Zero,
}

const fn old(
    route: &'static str,
    field: &'static str,
    min: u64,
    max: u64,
    default: u64,
    unit: &'static str,
) -> Limit {
    Limit {
        route,
        field,
        place: Place::Body,
        min,
        max,
        default: Some(default),
        unit,
        zero: Zero::IsDefault,
    }
}

const fn new(
    route: &'static str,
    field: &'static str,
    min: u64,
    max: u64,
    default: u64,
    unit: &'static str,
) -> Limit {
    Limit {
        zero: Zero::IsLiteral,
        ..old(route, field, min, max, default, unit)
    }
}

/// A field that changes nothing when it is absent.
const fn optional(limit: Limit) -> Limit {
    Limit {
        default: None,
        ..limit
    }
}

const fn or_never(limit: Limit) -> Limit {
    Limit {
        zero: Zero::IsNever,
        ..limit
    }
}

/// A bound that the crate which does the work has already stated.
const fn of(route: &'static str, bound: Bound, zero: Zero) -> Limit {
    Limit {
        zero,
        ..old(
            route,
            bound.field,
            bound.min,
            bound.max,
            bound.default,
            bound.unit,
        )
    }
}

const fn query(
    route: &'static str,
    field: &'static str,
    min: u64,
    max: u64,
    default: Option<u64>,
    unit: &'static str,
) -> Limit {
    Limit {
        place: Place::Query,
        default,
        ..new(route, field, min, max, 0, unit)
    }
}

const fn product(route: &'static str, field: &'static str, max: u64, unit: &'static str) -> Limit {
    Limit {
        place: Place::Product,
        default: None,
        ..new(route, field, 0, max, 0, unit)
    }
}

const fn service(field: &'static str, max: u64, unit: &'static str) -> Limit {
    Limit {
        place: Place::Service,
        default: None,
        ..new("*", field, 0, max, 0, unit)
    }
}

const fn text(route: &'static str, field: &'static str, max: u64) -> Limit {
    Limit {
        default: None,
        ..new(route, field, 1, max, 0, "bytes")
    }
}

const DATA_MAX: u64 = openwork_blockchain::DATA_BYTES_MAX as u64;

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident = $limit:expr;)*) => {
        $($(#[$doc])* pub static $name: Limit = $limit;)*
        /// Every bound, in the order of the routes.
        pub static TABLE: &[&Limit] = &[$(&$name),*];
    };
}

table! {
    /// Text of a block.
    BLOCK_DATA = text("POST /blocks", "data", DATA_MAX);
    /// Leading zero bits that a block's hash must have.
    BLOCK_DIFFICULTY = new("POST /blocks", "difficulty", 1, 32, 16, "bits");
    /// Nonces tried between two turns.
    BLOCK_YIELD_EVERY = new("POST /blocks", "yield_every", 1_000, 10_000_000, 100_000, "nonces");
    /// Text of the blocks.
    MINE_DATA = text("POST /mine", "data", DATA_MAX);
    /// Routines that mine.
    MINE_ROUTINES = old("POST /mine", "goroutines", 1, 10_000, 1, "routines");
    /// Leading zero bits that a block's hash must have.
    MINE_DIFFICULTY = new("POST /mine", "difficulty", 1, 32, 16, "bits");
    /// Nonces tried between two turns; 0: a routine never gives way.
    MINE_YIELD_EVERY = or_never(new("POST /mine", "yield_every", 1_000, 10_000_000, 100_000, "nonces"));
    /// Routines that allocate.
    STRESS_ROUTINES = of("POST /stress", stress::ROUTINES, Zero::IsDefault);
    /// Allocations of each routine.
    STRESS_ALLOCATIONS = of("POST /stress", stress::ALLOCATIONS, Zero::IsDefault);
    /// Size of an allocation.
    STRESS_BLOCK_KB = of("POST /stress", stress::BLOCK_KB, Zero::IsLiteral);
    /// How long kept blocks are held after the last allocation.
    STRESS_HOLD_MS = of("POST /stress", stress::HOLD_MS, Zero::IsLiteral);
    /// Allocations between two turns; 0: a routine never gives way.
    STRESS_YIELD_EVERY = of("POST /stress", stress::YIELD_EVERY, Zero::IsNever);
    /// Bytes allocated in all.
    STRESS_ALLOCATED = product("POST /stress", "allocated_bytes", MAX_ALLOCATED_BYTES, "bytes");
    /// Bytes kept at once; half of the available memory where that is less.
    STRESS_KEPT = product("POST /stress", "kept_bytes", MAX_KEPT_BYTES, "bytes");
    /// Allocations of the benchmark.
    BENCHMARK_ALLOCATIONS = of("POST /gc/benchmark", benchmark::ALLOCATIONS, Zero::IsDefault);
    /// Size of an allocation of the benchmark.
    BENCHMARK_SIZE_KB = of("POST /gc/benchmark", benchmark::SIZE_KB, Zero::IsDefault);
    /// Bytes allocated in all.
    BENCHMARK_ALLOCATED = product("POST /gc/benchmark", "allocated_bytes", MAX_ALLOCATED_BYTES, "bytes");
    /// Bytes kept at once; half of the available memory where that is less.
    BENCHMARK_KEPT = product("POST /gc/benchmark", "kept_bytes", MAX_KEPT_BYTES, "bytes");
    /// Objects made and released.
    FINALIZERS_COUNT = of("POST /gc/finalizers", finalizers::COUNT, Zero::IsDefault);
    /// Length of a CPU profile taken by the old route.
    GC_PROFILE_SECONDS = old("POST /gc/profile", "duration_seconds", 1, 60, 5, "s");
    /// Length of a profile or dhat session.
    PROFILE_SECONDS = new("POST /api/v1/profiles", "seconds", 1, 60, 5, "s");
    /// Length of a CPU profile taken by `go tool pprof`.
    PPROF_SECONDS = query("GET /debug/pprof/profile", "seconds", 1, 60, Some(30), "s");
    /// Form of the routine profile: 0 protobuf, 1 grouped text, 2 one text a routine.
    PPROF_GOROUTINE_DEBUG = query("GET /debug/pprof/goroutine", "debug", 0, 2, Some(0), "form");
    /// Form of the routine profile: 0 protobuf, 1 grouped text, 2 one text a routine.
    PPROF_ROUTINE_DEBUG = query("GET /debug/pprof/routine", "debug", 0, 2, Some(0), "form");
    /// Form of the heap profile: 0 protobuf, otherwise text.
    PPROF_HEAP_DEBUG = query("GET /debug/pprof/heap", "debug", 0, 2, Some(0), "form");
    /// Form of the allocation profile: 0 protobuf, otherwise text.
    PPROF_ALLOCS_DEBUG = query("GET /debug/pprof/allocs", "debug", 0, 2, Some(0), "form");
    /// Time whose changes the profile shows; without it the state now.
    PPROF_GOROUTINE_SECONDS = query("GET /debug/pprof/goroutine", "seconds", 1, 60, None, "s");
    /// Time whose changes the profile shows; without it the state now.
    PPROF_ROUTINE_SECONDS = query("GET /debug/pprof/routine", "seconds", 1, 60, None, "s");
    /// Time whose changes the profile shows; without it the state now.
    PPROF_HEAP_SECONDS = query("GET /debug/pprof/heap", "seconds", 1, 60, None, "s");
    /// Time whose changes the profile shows; without it the state now.
    PPROF_ALLOCS_SECONDS = query("GET /debug/pprof/allocs", "seconds", 1, 60, None, "s");
    /// First block listed.
    BLOCKS_OFFSET = query("GET /blocks", "offset", 0, u32::MAX as u64, Some(0), "blocks");
    /// Blocks listed; without it all.
    BLOCKS_LIMIT = query("GET /blocks", "limit", 1, 1_000_000, None, "blocks");
    /// Routines of the crowd.
    CROWD_ROUTINES = of("POST /api/v1/crowd", crowd::ROUTINES, Zero::IsLiteral);
    /// How long each sleeps; 0 ends at once.
    CROWD_SLEEP_MS = of("POST /api/v1/crowd", crowd::SLEEP_MS, Zero::IsLiteral);
    /// Routines of a lab.
    LAB_ROUTINES = of("POST /api/v1/labs", labs::ROUTINES, Zero::IsLiteral);
    /// How long each does what the lab is about.
    LAB_MS = of("POST /api/v1/labs", labs::MS, Zero::IsLiteral);
    /// Milliseconds of all routines of a lab together.
    LAB_TOTAL_MS = product("POST /api/v1/labs", "total_ms", labs::MAX_TOTAL_MS, "ms");
    /// Workers in use. The most that this process may have is in `GET /api/v1/config`.
    CONFIG_WORKERS = optional(new("PATCH /api/v1/config", "workers", 1, 256, 0, "workers"));
    /// How long a routine may run while others wait.
    CONFIG_SLICE_MS = optional(new("PATCH /api/v1/config", "slice_ms", 1, 100, 0, "ms"));
    /// How often it is looked at whether work is spread unevenly.
    CONFIG_REBALANCE_PERIOD_MS = optional(new("PATCH /api/v1/config", "rebalance_period_ms", 1, 10_000, 0, "ms"));
    /// Most threads that may hold workers or have been stopped while they did.
    CONFIG_MAX_THREADS = optional(new("PATCH /api/v1/config", "max_threads", 2, 4_096, 0, "threads"));
    /// Turns that each runtime gets in a bench.
    BENCH_ROUNDS = new("POST /api/v1/bench", "rounds", ROUNDS[0], ROUNDS[2], ROUNDS[1], "rounds");
    /// Runs of a bench listed.
    BENCH_HISTORY_LIMIT = query("GET /api/v1/bench/history", "limit", 1, 1_000, Some(30), "runs");
    /// Routines listed.
    ROUTINES_LIMIT = query("GET /api/v1/routines", "limit", 1, 10_000, Some(100), "routines");
    /// Only routines that have been in their state for at least this long.
    ROUTINES_MIN_WAIT_MS = query("GET /api/v1/routines", "min_wait_ms", 0, 86_400_000, Some(0), "ms");
    /// Spawn sites listed.
    STACKS_LIMIT = query("GET /api/v1/stacks", "limit", 1, 1_000, Some(100), "sites");
    /// Runs listed.
    RUNS_LIMIT = query("GET /api/v1/runs", "limit", 1, 1_000, Some(20), "runs");
    /// Width of the picture that the cells are merged for.
    TIMELINE_PX = query("GET /api/v1/timeline", "px", 1, 10_000, Some(1_200), "px");
    /// Size of a body.
    BODY = service("body", 1 << 20, "bytes");
    /// Time in which the header must arrive, and again the body.
    ARRIVAL = service("arrival", 10, "s");
    /// Connections at once.
    CONNECTIONS = service("connections", 256, "connections");
    /// Open event streams.
    VIEWERS = service("viewers", 64, "streams");
    /// Changes of the configuration remembered.
    CONFIG_CHANGES_KEPT = service("config_changes_kept", 100, "changes");
    /// Runs remembered.
    RUNS_KEPT = service("runs_kept", 1_000, "runs");
    /// Benches remembered, apart from the other runs.
    BENCHES_KEPT = service("benches_kept", 1_000, "runs");
    /// Size of a stored result; a longer one is cut and marked `truncated`.
    RESULT = service("result", 64 << 10, "bytes");
    /// Profiles kept.
    PROFILES_KEPT = service("profiles_kept", 50, "profiles");
    /// Size of all profiles kept.
    PROFILES_BYTES = service("profiles_bytes", 256 << 20, "bytes");
}

/// Time in which the header must arrive, and again the body.
pub const ARRIVAL_TIME: Duration = Duration::from_secs(10);

impl Limit {
    /// Checks a number of a JSON body and returns the value to use.
    ///
    /// # Errors
    /// 422 `out_of_range` outside min and max (a negative number always), 400 `missing_value` where there is no default.
    pub fn check(&self, value: Option<Int>) -> Result<u64, ApiError> {
        match value.map(|Int(value)| value) {
            None => self.default.ok_or_else(|| ApiError::missing(self.field)),
            Some(0) if self.zero == Zero::IsDefault => {
                self.default.ok_or_else(|| ApiError::missing(self.field))
            }
            Some(0) if self.zero == Zero::IsNever => Ok(0),
            Some(value) => self.in_range(value),
        }
    }

    /// Checks a number that may be absent, as [`check`](Self::check) does.
    ///
    /// # Errors
    /// 422 `out_of_range` outside min and max.
    pub fn check_given(&self, value: Option<Int>) -> Result<Option<u64>, ApiError> {
        value.map(|value| self.check(Some(value))).transpose()
    }

    /// The least number that a form may send.
    pub fn least(&self) -> u64 {
        match self.zero {
            Zero::IsNever => 0,
            Zero::IsDefault | Zero::IsLiteral => self.min,
        }
    }

    /// Checks a number of the query and returns the value to use, or `None` if it is absent and has no default.
    ///
    /// # Errors
    /// 400 `wrong_type` if it is no whole number, 422 `out_of_range` outside min and max.
    pub fn query(&self, value: Option<&str>) -> Result<Option<u64>, ApiError> {
        let Some(value) = value.filter(|v| !v.is_empty()) else {
            return Ok(self.default);
        };
        let digits = value.strip_prefix('-').unwrap_or(value);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            let detail = format!("{} is {value:?}, but must be a whole number", self.field);
            return Err(ApiError::new(Code::WrongType, detail).field(self.field));
        }
        // What overflows is a whole number all the same: out of range, not malformed.
        let number = value.parse().unwrap_or(if value.starts_with('-') {
            i128::MIN
        } else {
            i128::MAX
        });
        self.in_range(number).map(Some)
    }

    /// Checks a required text, whose length in bytes is what is bounded.
    ///
    /// # Errors
    /// 400 `missing_value` if it is absent or empty, 422 `out_of_range` if it is too long.
    pub fn text(&self, value: Option<String>) -> Result<String, ApiError> {
        let value = value
            .filter(|v| !v.is_empty())
            .ok_or_else(|| ApiError::missing(self.field))?;
        if value.len() as u64 > self.max {
            let detail = format!(
                "{} is {} bytes long, but at most {} are allowed",
                self.field,
                value.len(),
                self.max
            );
            return Err(ApiError::new(Code::OutOfRange, detail)
                .field(self.field)
                .limit(self.max));
        }
        Ok(value)
    }

    /// The refusal of a product of fields that came out as `value`; `max` where the bound in force is a lower one
    /// than the table's (memory is short).
    pub fn product_too_large(&self, value: u64, max: u64) -> ApiError {
        let detail = format!(
            "{} would be {value} {unit}, but at most {max} {unit} are allowed",
            self.field,
            unit = self.unit
        );
        ApiError::new(Code::ProductTooLarge, detail)
            .field(self.field)
            .limit(max)
    }

    fn in_range(&self, value: i128) -> Result<u64, ApiError> {
        if value < i128::from(self.min) || value > i128::from(self.max) {
            let never = match self.zero {
                Zero::IsNever => ", or 0 for never",
                Zero::IsDefault | Zero::IsLiteral => "",
            };
            let detail = match value {
                // The number a client sent may not fit; naming the bound is enough.
                i128::MIN | i128::MAX => format!(
                    "{} must be between {} and {} {}{never}",
                    self.field, self.min, self.max, self.unit
                ),
                _ => format!(
                    "{} is {value}, but must be between {} and {} {}{never}",
                    self.field, self.min, self.max, self.unit
                ),
            };
            let limit = if value < i128::from(self.min) {
                self.min
            } else {
                self.max
            };
            return Err(ApiError::new(Code::OutOfRange, detail)
                .field(self.field)
                .limit(limit));
        }
        Ok(value as u64)
    }
}

/// One row of `limits` in `GET /api/v1/runtime`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LimitRow {
    /// Method and path that it holds for, or `*` for all.
    pub route: &'static str,
    /// Name of the field, parameter or quantity.
    pub field: &'static str,
    /// Where the value stands.
    pub place: Place,
    /// Smallest value allowed.
    pub min: u64,
    /// Largest value allowed.
    pub max: u64,
    /// Value taken when none is given.
    pub default: Option<u64>,
    /// Unit of min, max and default.
    pub unit: &'static str,
    /// What 0 means where the range does not hold it: `default` or `never`; otherwise `literal`.
    pub zero: &'static str,
}

/// The table as `GET /api/v1/runtime` shows it, with the bounds that were set at start.
pub fn rows(config: &crate::Config) -> Vec<LimitRow> {
    let row = |l: &Limit| LimitRow {
        route: l.route,
        field: l.field,
        place: l.place,
        min: l.min,
        max: l.max,
        default: l.default,
        unit: l.unit,
        zero: match l.zero {
            Zero::IsDefault => "default",
            Zero::IsLiteral => "literal",
            Zero::IsNever => "never",
        },
    };
    let set_at_start = [
        service("max_runs", config.max_runs.value as u64, "runs"),
        service("run_timeout", config.run_timeout.value.as_secs(), "s"),
        service("max_chain_bytes", config.max_chain_bytes.value, "bytes"),
    ];
    TABLE
        .iter()
        .map(|l| row(l))
        .chain(set_at_start.iter().map(row))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(limit: &Limit, value: Option<i128>, expected: Result<u64, Code>) {
        let got = limit.check(value.map(Int)).map_err(|e| e.code());
        assert_eq!(got, expected, "{} {} = {value:?}", limit.route, limit.field);
    }

    /// Breaks if zero stops meaning the default in an old field, or starts to in a new one.
    #[test]
    fn zero_is_the_default_in_old_fields_and_literal_in_new_ones() {
        check(&MINE_ROUTINES, None, Ok(1));
        check(&MINE_ROUTINES, Some(0), Ok(1));
        check(&MINE_ROUTINES, Some(-1), Err(Code::OutOfRange));
        check(&MINE_ROUTINES, Some(10_000), Ok(10_000));
        check(&MINE_ROUTINES, Some(10_001), Err(Code::OutOfRange));
        check(&STRESS_HOLD_MS, Some(0), Ok(0));
        check(&MINE_DIFFICULTY, Some(0), Err(Code::OutOfRange));
        check(&MINE_DIFFICULTY, None, Ok(16));
        check(&MINE_YIELD_EVERY, Some(0), Ok(0));
        check(&MINE_YIELD_EVERY, Some(1), Err(Code::OutOfRange));
        check(&MINE_YIELD_EVERY, None, Ok(100_000));
    }

    /// Breaks if a default lies outside its own range, or two rows bound the same field.
    #[test]
    fn the_table_does_not_contradict_itself() {
        for limit in TABLE {
            assert!(limit.min <= limit.max, "{limit:?}");
            if let Some(default) = limit.default {
                assert!((limit.min..=limit.max).contains(&default), "{limit:?}");
            }
            let same = TABLE
                .iter()
                .filter(|l| l.route == limit.route && l.field == limit.field)
                .count();
            assert_eq!(same, 1, "{limit:?} twice");
        }
        assert_eq!(ARRIVAL.max, ARRIVAL_TIME.as_secs());
    }

    #[test]
    fn a_query_number_that_overflows_is_out_of_range_not_malformed() {
        assert_eq!(
            PPROF_SECONDS.query(None).map_err(|e| e.code()),
            Ok(Some(30))
        );
        assert_eq!(
            PPROF_SECONDS.query(Some("5")).map_err(|e| e.code()),
            Ok(Some(5))
        );
        let huge = "9".repeat(60);
        assert_eq!(
            PPROF_SECONDS.query(Some(&huge)).map_err(|e| e.code()),
            Err(Code::OutOfRange)
        );
        assert_eq!(
            PPROF_SECONDS.query(Some("1.5")).map_err(|e| e.code()),
            Err(Code::WrongType)
        );
        assert_eq!(
            PPROF_SECONDS.query(Some("-1")).map_err(|e| e.code()),
            Err(Code::OutOfRange)
        );
    }
}
