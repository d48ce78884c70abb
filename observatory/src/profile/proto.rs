//! A report in pprof's format: `profile.proto`, gzipped.
//!
//! The messages are those of <https://github.com/google/pprof/blob/main/proto/profile.proto>,
//! written out here so that the build needs no protobuf compiler. Every text is an index into one
//! table whose first entry is empty.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::Write;
use std::time::UNIX_EPOCH;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use super::fold::{Frame, Report, ValueKind};
use super::mappings;
use super::symbol::{Function, Symbols};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Profile {
    #[prost(message, repeated, tag = "1")]
    pub(crate) sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) function: Vec<FunctionEntry>,
    #[prost(string, repeated, tag = "6")]
    pub(crate) string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    pub(crate) time_nanos: i64,
    #[prost(int64, tag = "10")]
    pub(crate) duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    pub(crate) period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    pub(crate) period: i64,
    #[prost(int64, repeated, tag = "13")]
    pub(crate) comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    pub(crate) default_sample_type: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct ValueType {
    #[prost(int64, tag = "1")]
    pub(crate) r#type: i64,
    #[prost(int64, tag = "2")]
    pub(crate) unit: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    pub(crate) location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    pub(crate) value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Label {
    #[prost(int64, tag = "1")]
    pub(crate) key: i64,
    #[prost(int64, tag = "2")]
    pub(crate) str: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Mapping {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) memory_start: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) memory_limit: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) file_offset: u64,
    #[prost(int64, tag = "5")]
    pub(crate) filename: i64,
    #[prost(bool, tag = "7")]
    pub(crate) has_functions: bool,
    #[prost(bool, tag = "8")]
    pub(crate) has_filenames: bool,
    #[prost(bool, tag = "9")]
    pub(crate) has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    pub(crate) has_inline_frames: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Location {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) mapping_id: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) address: u64,
    #[prost(message, repeated, tag = "4")]
    pub(crate) line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Line {
    #[prost(uint64, tag = "1")]
    pub(crate) function_id: u64,
    #[prost(int64, tag = "2")]
    pub(crate) line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct FunctionEntry {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(int64, tag = "2")]
    pub(crate) name: i64,
    #[prost(int64, tag = "3")]
    pub(crate) system_name: i64,
    #[prost(int64, tag = "4")]
    pub(crate) filename: i64,
}

impl Report {
    /// The report as a gzipped pprof profile, for `go tool pprof` and what reads its format. Looks
    /// up every address in it: milliseconds to seconds the first time.
    pub fn pprof(&self, symbols: &Symbols) -> Vec<u8> {
        let message = Encoder::new(symbols).encode(self).encode_to_vec();
        symbols.release();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&message)
            .and_then(|()| gzip.finish())
            .expect("writing to memory does not fail")
    }
}

/// Numbers values in the order of their first appearance.
struct Numbered<T> {
    numbers: HashMap<T, u64>,
}

impl<T: Eq + Hash> Numbered<T> {
    fn new() -> Self {
        Numbered {
            numbers: HashMap::new(),
        }
    }

    /// The value's number from `first` on, and whether it is new.
    fn number(&mut self, value: T, first: u64) -> (u64, bool) {
        let next = first + self.numbers.len() as u64;
        let number = *self.numbers.entry(value).or_insert(next);
        (number, number == next)
    }
}

/// Fills the tables of a profile.
struct Encoder<'a> {
    symbols: &'a Symbols,
    profile: Profile,
    texts: Numbered<String>,
    /// A function is one entry whatever the line, as pprof wants it.
    functions: Numbered<(String, Option<String>)>,
    locations: Numbered<Frame>,
}

impl<'a> Encoder<'a> {
    fn new(symbols: &'a Symbols) -> Self {
        Encoder {
            symbols,
            profile: Profile::default(),
            texts: Numbered::new(),
            functions: Numbered::new(),
            locations: Numbered::new(),
        }
    }

    fn encode(mut self, report: &Report) -> Profile {
        self.text("");
        self.profile.sample_type = report
            .values
            .iter()
            .map(|kind| self.value_type(*kind))
            .collect();
        self.profile.default_sample_type = self.text(report.values[report.default_value].name);
        for (mapping, id) in mappings::read().into_iter().zip(1..) {
            let filename = self.text(&mapping.file);
            self.profile.mapping.push(Mapping {
                id,
                memory_start: mapping.start,
                memory_limit: mapping.end,
                file_offset: mapping.file_offset,
                filename,
                // So that a reader does not try to look names up itself.
                has_functions: true,
                has_filenames: true,
                has_line_numbers: true,
                has_inline_frames: true,
            });
        }
        for stack in &report.stacks {
            let sample = Sample {
                location_id: stack
                    .frames
                    .iter()
                    .map(|frame| self.location(frame))
                    .collect(),
                value: stack.values.clone(),
                label: stack
                    .labels
                    .iter()
                    .map(|label| Label {
                        key: self.text(label.key),
                        str: self.text(&label.value),
                    })
                    .collect(),
            };
            self.profile.sample.push(sample);
        }
        let since_epoch = report.taken.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.profile.time_nanos = since_epoch.as_nanos() as i64;
        self.profile.duration_nanos = report.duration.unwrap_or_default().as_nanos() as i64;
        if let Some((kind, period)) = report.period {
            self.profile.period_type = Some(self.value_type(kind));
            self.profile.period = period;
        }
        self.profile.comment = report
            .remarks
            .iter()
            .map(|remark| self.text(remark))
            .collect();
        self.profile
    }

    fn text(&mut self, text: &str) -> i64 {
        let (number, new) = self.texts.number(text.to_owned(), 0);
        if new {
            self.profile.string_table.push(text.to_owned());
        }
        number as i64
    }

    fn value_type(&mut self, kind: ValueKind) -> ValueType {
        ValueType {
            r#type: self.text(kind.name),
            unit: self.text(kind.unit),
        }
    }

    fn location(&mut self, frame: &Frame) -> u64 {
        let (id, new) = self.locations.number(frame.clone(), 1);
        if new {
            let functions = frame.functions(self.symbols);
            let line = functions
                .iter()
                .map(|function| self.line(function))
                .collect();
            let address = match frame {
                Frame::Code(address) => *address as u64,
                Frame::Note(..) => 0,
            };
            let mapping =
                self.profile.mapping.iter().find(|mapping| {
                    (mapping.memory_start..mapping.memory_limit).contains(&address)
                });
            self.profile.location.push(Location {
                id,
                mapping_id: mapping.map_or(0, |mapping| mapping.id),
                address,
                line,
            });
        }
        id
    }

    fn line(&mut self, function: &Function) -> Line {
        let key = (function.mangled.clone(), function.file.clone());
        let (function_id, new) = self.functions.number(key, 1);
        if new {
            let entry = FunctionEntry {
                id: function_id,
                name: self.text(&function.name),
                system_name: self.text(&function.mangled),
                filename: self.text(function.file.as_deref().unwrap_or("")),
            };
            self.profile.function.push(entry);
        }
        Line {
            function_id,
            line: function.line.map_or(0, i64::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use flate2::read::GzDecoder;
    use openwork::WorkerId;

    use super::*;
    use crate::profile::cpu::{self, Account, Taken};

    #[inline(never)]
    fn known_function_for_the_profile() -> Vec<usize> {
        let mut addresses = Vec::new();
        backtrace::trace(|frame| {
            addresses.push((frame.ip() as usize).wrapping_sub(1));
            true
        });
        std::hint::black_box(addresses)
    }

    fn decode(gzipped: &[u8]) -> Profile {
        let mut message = Vec::new();
        GzDecoder::new(gzipped)
            .read_to_end(&mut message)
            .expect("gzip");
        Profile::decode(message.as_slice()).expect("a profile")
    }

    fn sampled(symbols: &Symbols) -> Report {
        // On a thread of its own: below the test there is then only the standard library.
        let frames = std::thread::spawn(known_function_for_the_profile)
            .join()
            .expect("no panic");
        let sample = |worker, routine: Option<&str>| Taken {
            frames: &frames,
            worker: Some(WorkerId::new(worker)),
            routine: routine.map(str::to_owned),
            workload: routine.map(|_| "run 3".to_owned()),
            cpu_ns: 4_000_000,
        };
        let samples = [
            sample(0, Some("miner")),
            sample(0, Some("miner")),
            sample(1, Some("8")),
            sample(1, None),
        ];
        let account = Account {
            asked_hz: 100,
            achieved_hz: Some(250.0),
            skipped_in_switch: 12,
            lost: 3,
            unwatched: 0,
            cpu: Duration::from_millis(124),
            duration: Duration::from_secs(5),
        };
        cpu::fold(samples.into_iter(), &account, symbols)
    }

    #[test]
    fn a_cpu_profile_says_who_ran_where_and_what_is_missing() {
        let symbols = Symbols::default();
        let report = sampled(&symbols);
        let decoded = decode(&report.pprof(&symbols));
        let text = |index: i64| decoded.string_table[index as usize].as_str();

        assert_eq!(text(0), "");
        let types: Vec<_> = decoded
            .sample_type
            .iter()
            .map(|t| (text(t.r#type), text(t.unit)))
            .collect();
        assert_eq!(types, [("samples", "count"), ("cpu", "nanoseconds")]);
        assert_eq!(text(decoded.default_sample_type), "cpu");
        assert_eq!(decoded.period, 4_000_000);
        assert_eq!(decoded.duration_nanos, 5_000_000_000);

        let mut samples: Vec<_> = decoded
            .sample
            .iter()
            .map(|sample| {
                let labels = sample
                    .label
                    .iter()
                    .map(|l| format!("{}={}", text(l.key), text(l.str)));
                (labels.collect::<Vec<_>>().join(" "), sample.value.clone())
            })
            .collect();
        samples.sort();
        let expected = [
            ("worker=0 routine=miner workload=run 3", [2, 8_000_000]),
            ("worker=1", [1, 4_000_000]),
            ("worker=1 routine=8 workload=run 3", [1, 4_000_000]),
        ];
        assert_eq!(
            samples,
            expected.map(|(labels, values)| (labels.to_owned(), values.to_vec()))
        );

        let comments: Vec<_> = decoded.comment.iter().map(|c| text(*c)).collect();
        assert_eq!(comments.len(), 4);
        assert!(
            comments[2].starts_with("12 samples fell into a stack switch"),
            "{comments:?}"
        );
        assert!(
            comments[3].starts_with("3 samples were lost"),
            "{comments:?}"
        );
    }

    #[test]
    fn every_number_in_a_profile_leads_somewhere() {
        let symbols = Symbols::default();
        let report = sampled(&symbols);
        let decoded = decode(&report.pprof(&symbols));
        let text = |index: i64| decoded.string_table[index as usize].as_str();
        let known = decoded
            .function
            .iter()
            .find(|f| text(f.name).ends_with("::known_function_for_the_profile"))
            .expect("the function that was sampled");
        assert!(text(known.filename).ends_with("proto.rs"));
        assert_ne!(known.name, known.system_name);

        let location = decoded
            .location
            .iter()
            .find(|l| l.line.iter().any(|line| line.function_id == known.id))
            .expect("its location");
        let line = location
            .line
            .iter()
            .find(|line| line.function_id == known.id)
            .expect("its line");
        assert!(line.line > 0);
        let mapping = &decoded.mapping[location.mapping_id as usize - 1];
        assert!((mapping.memory_start..mapping.memory_limit).contains(&location.address));

        for (id, location) in (1..).zip(&decoded.location) {
            assert_eq!(location.id, id);
            assert!(
                location
                    .line
                    .iter()
                    .all(|l| (1..=decoded.function.len() as u64).contains(&l.function_id))
            );
        }
        for sample in &decoded.sample {
            assert!(
                sample
                    .location_id
                    .iter()
                    .all(|id| (1..=decoded.location.len() as u64).contains(id))
            );
        }
    }

    #[test]
    fn a_stack_ends_where_the_programs_own_code_begins() {
        let symbols = Symbols::default();
        let report = sampled(&symbols);
        for stack in &report.stacks {
            let root = stack.frames.last().expect("a frame").functions(&symbols);
            let own = root
                .iter()
                .any(|function| function.package == "openwork_observatory");
            assert!(own, "{root:?}");
        }
    }
}
