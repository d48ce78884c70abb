//! What is known about a run: one value that is stored, listed, sent as an event and answered, in the same shape.

use std::fmt;
use std::sync::Arc;

use openwork::WorkloadCounters;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::progress::Progress;

/// A result longer than this, in bytes of JSON, is cut in the record. The synchronous answer never is.
pub(super) const RESULT_BYTES_MAX: usize = 64 << 10;
/// A string in a stored request longer than this, in bytes, is cut. A record is sent ten times a second while its run
/// makes progress; the 64 KiB that `data` may hold would be most of that traffic.
const REQUEST_STRING_BYTES_MAX: usize = 1 << 10;
/// What is left of a long string in a result that is too long.
const RESULT_STRING_BYTES_MAX: usize = 256;

/// Names a run; counts up from 1 across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for RunId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<RunId, Self::Err> {
        text.parse().map(RunId)
    }
}

// A string on the wire, like every id.
impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RunId, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// `POST /blocks`
    Block,
    /// `POST /mine`
    Mine,
    /// `POST /stress`
    Stress,
    /// `POST /gc/benchmark`
    GcBenchmark,
    /// `POST /gc/finalizers`
    GcFinalizers,
    /// `POST /api/v1/crowd`
    Crowd,
    /// `POST /api/v1/labs`
    Lab,
    /// `POST /api/v1/bench`
    Bench,
    /// A timed profile.
    Profile,
}

impl RunKind {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            RunKind::Block => "block",
            RunKind::Mine => "mine",
            RunKind::Stress => "stress",
            RunKind::GcBenchmark => "gc_benchmark",
            RunKind::GcFinalizers => "gc_finalizers",
            RunKind::Crowd => "crowd",
            RunKind::Lab => "lab",
            RunKind::Bench => "bench",
            RunKind::Profile => "profile",
        }
    }
}

/// Where a run is in its life. It moves down this list and never back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Accepted; its record is on the way to the disk.
    Queued,
    /// Its routines were spawned.
    Running,
    /// Ended with a result.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended because somebody asked, its client went away, or the service stopped.
    Cancelled,
    /// Ended because it took longer than a run may.
    TimedOut,
    /// Was under way when the process ended.
    Interrupted,
}

impl RunState {
    /// Every state, in order.
    pub const ALL: [RunState; 7] = [
        RunState::Queued,
        RunState::Running,
        RunState::Succeeded,
        RunState::Failed,
        RunState::Cancelled,
        RunState::TimedOut,
        RunState::Interrupted,
    ];

    /// Whether nothing more will happen to the run.
    pub fn is_final(self) -> bool {
        !matches!(self, RunState::Queued | RunState::Running)
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            RunState::Queued => "queued",
            RunState::Running => "running",
            RunState::Succeeded => "succeeded",
            RunState::Failed => "failed",
            RunState::Cancelled => "cancelled",
            RunState::TimedOut => "timed_out",
            RunState::Interrupted => "interrupted",
        }
    }
}

/// Who started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunSource {
    /// Anybody with an HTTP client.
    #[default]
    Api,
    /// The dashboard, which marks its requests with `Openwork-Source: page`.
    Page,
}

/// Everything known about one run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RunRecord {
    /// Names the run.
    #[schema(value_type = String)]
    pub id: RunId,
    /// What was asked for.
    pub kind: RunKind,
    /// Where it is in its life.
    pub state: RunState,
    /// Who asked.
    pub source: RunSource,
    /// The request with its defaults filled in.
    #[schema(value_type = Object)]
    pub request: Json,
    /// How far it is.
    pub progress: Progress,
    /// What its routines did so far.
    pub counters: Counters,
    /// The synchronous answer. After a cancel or time-out: what stayed, where something did.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Json>,
    /// Why it did not succeed, in one sentence.
    pub error: Option<String>,
    /// Whether `request` or `result` was cut to keep the record small.
    pub truncated: bool,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; `null` while queued.
    pub started_at: Option<String>,
    /// RFC 3339; `null` until it has ended, and for ever if the process ended first.
    pub ended_at: Option<String>,
    /// Id of the set of routines that worked for it, as lanes and routines name it. Of the process it ran in.
    pub workload: String,
}

/// What the routines of a run did, from birth of the first to now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counters {
    /// Routines spawned.
    pub spawned: u64,
    /// Routines ended.
    pub ended: u64,
    /// Ended by a panic.
    pub panicked: u64,
    /// Ended by a cancel.
    pub cancelled: u64,
    /// Turns run.
    pub turns: u64,
    /// Times they gave way.
    pub yields: u64,
    /// Times one of them was moved to another worker by a steal.
    pub stolen: u64,
    /// Bytes allocated; `null` without a counting allocator.
    pub allocated_bytes: Option<u64>,
    /// Bytes freed; `null` without a counting allocator.
    pub freed_bytes: Option<u64>,
}

impl Counters {
    /// The runtime's counters of one workload; bytes only where `counting`.
    pub fn new(counters: &WorkloadCounters, counting: bool) -> Counters {
        Counters {
            spawned: counters.spawned,
            ended: counters.ended,
            panicked: counters.panicked,
            cancelled: counters.cancelled,
            turns: counters.turns,
            yields: counters.yields,
            stolen: counters.stolen,
            allocated_bytes: counting.then_some(counters.allocated_bytes),
            freed_bytes: counting.then_some(counters.freed_bytes),
        }
    }
}

/// JSON text that was checked once and is passed on as it is.
#[derive(Debug, Clone)]
pub struct Json(Arc<RawValue>);

impl Json {
    /// Renders `value`.
    ///
    /// # Panics
    /// If `value` cannot be JSON (a map with keys that are no strings): no type of this crate is like that.
    pub fn new(value: &impl Serialize) -> Json {
        let text = serde_json::value::to_raw_value(value).expect("wire types are JSON");
        Json(Arc::from(text))
    }

    /// The text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Whether a record keeps it whole as a result.
    pub(super) fn is_short(&self) -> bool {
        self.get().len() <= RESULT_BYTES_MAX
    }

    /// This request as a record keeps it, and whether anything was cut.
    pub(super) fn cut_request(self) -> (Json, bool) {
        if self.get().len() <= REQUEST_STRING_BYTES_MAX {
            return (self, false);
        }
        let mut value = self.parse();
        let cut = cut_strings(&mut value, REQUEST_STRING_BYTES_MAX);
        (Json::new(&value), cut)
    }

    /// This result as a record keeps it, and whether anything was cut.
    ///
    /// The tail of the longest list goes first, since that is where the bytes are; long strings only if that was not
    /// enough. A cut result says so itself, in a field `truncated`.
    pub(super) fn cut_result(self) -> (Json, bool) {
        if self.is_short() {
            return (self, false);
        }
        let mut value = self.parse();
        if let Value::Object(fields) = &mut value {
            fields.insert("truncated".to_owned(), Value::Bool(true));
        }
        cut_longest_list(&mut value);
        if length(&value) > RESULT_BYTES_MAX {
            cut_strings(&mut value, RESULT_STRING_BYTES_MAX);
            cut_longest_list(&mut value);
        }
        (Json::new(&value), true)
    }

    fn parse(&self) -> Value {
        serde_json::from_str(self.get()).expect("a RawValue is JSON")
    }
}

impl AsRef<[u8]> for Json {
    fn as_ref(&self) -> &[u8] {
        self.get().as_bytes()
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|text| Json(Arc::from(text)))
    }
}

/// The present time as records hold it: RFC 3339.
pub(super) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Bytes of `value` as JSON.
fn length(value: &Value) -> usize {
    value.to_string().len()
}

/// Drops entries from the end of the longest list among the fields of `value`, until the whole fits or it is empty.
fn cut_longest_list(value: &mut Value) {
    let mut excess = length(value).saturating_sub(RESULT_BYTES_MAX);
    let Value::Object(fields) = value else { return };
    let Some(list) = fields
        .values_mut()
        .filter_map(Value::as_array_mut)
        .max_by_key(|list| list.iter().map(length).sum::<usize>())
    else {
        return;
    };
    while excess > 0
        && let Some(last) = list.pop()
    {
        // One more for the comma before it.
        excess = excess.saturating_sub(length(&last) + 1);
    }
}

/// Cuts every string over `bytes_max`, and says whether there was one.
fn cut_strings(value: &mut Value, bytes_max: usize) -> bool {
    match value {
        Value::String(text) if text.len() > bytes_max => {
            text.truncate(text.floor_char_boundary(bytes_max));
            text.push('…');
            true
        }
        Value::Array(list) => list
            .iter_mut()
            .fold(false, |cut, entry| cut_strings(entry, bytes_max) | cut),
        Value::Object(fields) => fields
            .values_mut()
            .fold(false, |cut, field| cut_strings(field, bytes_max) | cut),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_short_result_is_kept_letter_by_letter() {
        let (kept, cut) = Json::new(&json!({"blocks": [1, 2]})).cut_result();
        assert_eq!((kept.get(), cut), (r#"{"blocks":[1,2]}"#, false));
    }

    #[test]
    fn a_long_result_loses_the_tail_of_its_list_and_says_so() {
        let blocks: Vec<String> = (0..10_000).map(|i| format!("block {i}")).collect();
        let (kept, cut) = Json::new(&json!({"attempts": 7, "blocks": blocks})).cut_result();
        let value = kept.parse();
        assert!(cut && kept.get().len() <= RESULT_BYTES_MAX);
        assert_eq!(
            (&value["attempts"], &value["truncated"]),
            (&json!(7), &json!(true))
        );
        assert_eq!(value["blocks"][0], "block 0");
        assert!(value["blocks"].as_array().unwrap().len() > 4_000);
    }

    /// One block whose `data` alone is over the limit: there is no tail to drop, so the string is cut.
    #[test]
    fn a_result_of_one_long_string_is_cut_too() {
        let (kept, cut) = Json::new(&json!({"block": {"data": "é".repeat(60_000)}})).cut_result();
        let value = kept.parse();
        assert!(cut && kept.get().len() <= RESULT_BYTES_MAX);
        assert!(value["block"]["data"].as_str().unwrap().ends_with('…'));
    }

    #[test]
    fn ids_are_strings() {
        assert_eq!(serde_json::to_string(&RunId(12)).unwrap(), "\"12\"");
        assert_eq!(serde_json::from_str::<RunId>("\"12\"").unwrap(), RunId(12));
    }
}
