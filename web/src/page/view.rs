//! What the template shows: plain values, and what a visitor can start with one click.

use askama::Template;
use openwork_bench::{Bench, short};

use crate::limits::{self, Limit};

/// The page as it is sent. Every text is escaped by askama.
#[derive(Debug, Template)]
#[template(path = "page.html")]
pub(super) struct Page {
    pub(super) version: &'static str,
    pub(super) commit: Option<&'static str>,
    /// Names of the script modules, announced so that the browser need not find them one behind the other.
    pub(super) modules: Vec<&'static str>,
    pub(super) launchers: Vec<Launcher>,
    pub(super) benches: Vec<BenchGroup>,
    pub(super) bench_rounds: Field,
    pub(super) workers: usize,
    pub(super) workers_source: String,
    pub(super) sentence: String,
    pub(super) worker_rows: Vec<WorkerRow>,
    pub(super) queue_rows: Vec<Row>,
    pub(super) waiting_rows: Vec<Row>,
    pub(super) rate_rows: Vec<Row>,
    pub(super) memory_rows: Vec<Row>,
    pub(super) stack_rows: Vec<Row>,
    pub(super) io_rows: Vec<Row>,
    pub(super) thread_rows: Vec<Row>,
    pub(super) timer_rows: Vec<Row>,
    pub(super) config_rows: Vec<Row>,
    pub(super) about_rows: Vec<Row>,
    pub(super) settings: Vec<Field>,
}

/// A named figure of a table twin.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) now: String,
}

/// A worker's line in the lanes' table twin: its cells in the order of the header.
#[derive(Debug)]
pub(super) struct WorkerRow {
    pub(super) worker: u32,
    pub(super) cells: Vec<String>,
}

/// A button that starts a run, and the form behind it.
#[derive(Debug)]
pub(super) struct Launcher {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) about: &'static str,
    pub(super) verb: &'static str,
    pub(super) path: &'static str,
    pub(super) fields: Vec<Field>,
}

/// One input of a form. Its bounds come from the table that also checks the request.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) kind: &'static str,
    pub(super) value: String,
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) hint: String,
    /// Of a choice: each value, what it says, and whether it is the one taken.
    pub(super) options: Vec<(&'static str, &'static str, bool)>,
}

/// Benches with something in common.
#[derive(Debug)]
pub(super) struct BenchGroup {
    pub(super) name: &'static str,
    pub(super) benches: Vec<&'static Bench>,
}

/// The benches that the page can run.
pub(super) fn benches() -> Vec<BenchGroup> {
    let mut groups: Vec<BenchGroup> = Vec::new();
    for bench in short::benches() {
        match groups.last_mut().filter(|group| group.name == bench.group) {
            Some(group) => group.benches.push(bench),
            None => groups.push(BenchGroup {
                name: bench.group,
                benches: vec![bench],
            }),
        }
    }
    groups
}

/// How often each takes its turn.
pub(super) fn bench_rounds() -> Field {
    let limit = &limits::BENCH_ROUNDS;
    number(
        "rounds",
        "Rounds",
        limit.default.unwrap_or(limit.min),
        limit,
    )
}

fn text(name: &'static str, label: &'static str, value: &str, limit: &Limit) -> Field {
    Field {
        name,
        label,
        kind: "text",
        value: value.to_owned(),
        min: limit.min,
        max: limit.max,
        hint: format!("up to {} KiB", limit.max >> 10),
        options: Vec::new(),
    }
}

fn number(name: &'static str, label: &'static str, value: u64, limit: &Limit) -> Field {
    Field {
        name,
        label,
        kind: "number",
        value: value.to_string(),
        min: limit.least(),
        max: limit.max,
        hint: format!(
            "{}{} to {} {}",
            if limit.least() == limit.min {
                ""
            } else {
                "0: never; "
            },
            grouped(limit.min),
            grouped(limit.max),
            limit.unit
        ),
        options: Vec::new(),
    }
}

fn choice(
    name: &'static str,
    label: &'static str,
    hint: &str,
    options: Vec<(&'static str, &'static str, bool)>,
) -> Field {
    Field {
        name,
        label,
        kind: "choice",
        value: String::new(),
        min: 0,
        max: 0,
        hint: hint.to_owned(),
        options,
    }
}

/// The settings that can be changed while everything runs, in the order of the form. What they are now, and the words of
/// the choices, the page asks for.
pub(super) fn settings() -> Vec<Field> {
    let one_of = |name, label, hint| choice(name, label, hint, Vec::new());
    let switch = |name, label, hint: &str| Field {
        kind: "switch",
        ..choice(name, label, hint, Vec::new())
    };
    let bounded = |name, label, limit: &Limit| Field {
        value: String::new(),
        ..number(name, label, limit.min, limit)
    };
    vec![
        one_of(
            "preemption",
            "Preemption",
            "of what runs on while others wait",
        ),
        bounded("slice_ms", "Slice", &limits::CONFIG_SLICE_MS),
        switch(
            "hand_off",
            "Hand-off",
            "of the worker of a thread blocked in the kernel",
        ),
        bounded("workers", "Workers", &limits::CONFIG_WORKERS),
        bounded(
            "max_threads",
            "Threads at most",
            &limits::CONFIG_MAX_THREADS,
        ),
        one_of("placement", "Placement", "where fresh routines are queued"),
        one_of("victims", "Victims", "whom idle workers steal from first"),
        one_of("steal", "Steal", "how much they take"),
        switch(
            "rebalance",
            "Rebalance",
            "move work from those with too much",
        ),
        Field {
            kind: "ratio",
            hint: "1.1 to 100 times the mean is too much".to_owned(),
            ..choice("rebalance_ratio", "Too much is", "", Vec::new())
        },
        bounded(
            "rebalance_period_ms",
            "Looked at every",
            &limits::CONFIG_REBALANCE_PERIOD_MS,
        ),
    ]
}

/// The starts. Their values are safe on a small machine; a difficulty the page may raise to what takes a few
/// seconds at the rate this machine was measured to hash.
pub(super) fn launchers() -> Vec<Launcher> {
    vec![
        Launcher {
            id: "mine",
            title: "Mine 4 blocks",
            about: "4 routines, difficulty 22",
            verb: "Mine",
            path: "/mine",
            fields: vec![
                text(
                    "data",
                    "Data of the blocks",
                    "from the page",
                    &limits::MINE_DATA,
                ),
                number(
                    "goroutines",
                    "Routines, one block each",
                    4,
                    &limits::MINE_ROUTINES,
                ),
                number("difficulty", "Difficulty", 22, &limits::MINE_DIFFICULTY),
                number(
                    "yield_every",
                    "Gives way every",
                    100_000,
                    &limits::MINE_YIELD_EVERY,
                ),
            ],
        },
        Launcher {
            id: "race",
            title: "Race for one block",
            about: "16 routines, difficulty 24",
            verb: "Race",
            path: "/mine",
            fields: vec![
                text(
                    "data",
                    "Data of the block",
                    "won by one of sixteen",
                    &limits::MINE_DATA,
                ),
                number(
                    "goroutines",
                    "Routines in the race",
                    16,
                    &limits::MINE_ROUTINES,
                ),
                number("difficulty", "Difficulty", 24, &limits::MINE_DIFFICULTY),
                number(
                    "yield_every",
                    "Gives way every",
                    100_000,
                    &limits::MINE_YIELD_EVERY,
                ),
            ],
        },
        Launcher {
            id: "stress",
            title: "Allocate 200 MB",
            about: "8 routines, held for 4 s",
            verb: "Allocate",
            path: "/stress",
            fields: vec![
                number("goroutines", "Routines", 8, &limits::STRESS_ROUTINES),
                number(
                    "allocations",
                    "Allocations of each",
                    25,
                    &limits::STRESS_ALLOCATIONS,
                ),
                number(
                    "block_kb",
                    "Size of an allocation",
                    1024,
                    &limits::STRESS_BLOCK_KB,
                ),
                number(
                    "hold_ms",
                    "Kept ones are held for",
                    4000,
                    &limits::STRESS_HOLD_MS,
                ),
                number(
                    "yield_every",
                    "Gives way every",
                    10,
                    &limits::STRESS_YIELD_EVERY,
                ),
                choice(
                    "pattern",
                    "Pattern",
                    "what happens to a block",
                    vec![
                        ("short-lived", "short-lived: hash and drop", false),
                        ("long-lived", "long-lived: keep to the end", true),
                        ("mixed", "mixed: keep every other one", false),
                    ],
                ),
            ],
        },
        Launcher {
            id: "crowd",
            title: "100,000 sleepers",
            about: "asleep for 5 s, each with a stack",
            verb: "Spawn",
            path: "/api/v1/crowd",
            fields: vec![
                number("routines", "Routines", 100_000, &limits::CROWD_ROUTINES),
                number("sleep_ms", "Each sleeps for", 5000, &limits::CROWD_SLEEP_MS),
            ],
        },
        Launcher {
            id: "lab",
            title: "16 hogs",
            about: "loops that never give way",
            verb: "Suffer",
            path: "/api/v1/labs",
            fields: vec![
                choice(
                    "kind",
                    "What they do",
                    "beside them a witness sleeps 10 ms again and again",
                    vec![
                        ("spin", "spin: compute, never call the runtime", true),
                        ("blocking-call", "blocking-call: sleep in the kernel", false),
                        (
                            "blocking-pool",
                            "blocking-pool: the same on the pool",
                            false,
                        ),
                        (
                            "imbalance",
                            "imbalance: a tenth has ten times the work",
                            false,
                        ),
                    ],
                ),
                number("routines", "Routines", 16, &limits::LAB_ROUTINES),
                number("ms", "Each for", 400, &limits::LAB_MS),
            ],
        },
    ]
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
