//! What does watching cost?
//!
//! Runs two workers idle and busy, with and without a viewer, and prints the part of one processor
//! that the sampler's thread used, and the whole process. Busy means turn routines that do nothing
//! but begin and end turns: millions of records a second, the worst case for the sampler. It does
//! not say what sending samples to a browser costs; that is the web service's share, nor what the
//! workers pay for writing their rings.
//!
//! `cargo bench -p openwork-observatory --bench watching`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use openwork::{Runtime, Turn};
use openwork_observatory::{Extra, Observatory};

const SECONDS: u64 = 6;
const WORKERS: usize = 2;

fn main() {
    println!("{WORKERS} workers, {SECONDS} s each; parts of one processor");
    println!(
        "{:<30}{:>10}{:>10}{:>14}{:>14}",
        "", "sampler", "process", "turns/s", "lost/s"
    );
    for situation in [
        Situation {
            name: "idle",
            ..IDLE
        },
        Situation {
            name: "idle, viewer",
            watched: true,
            ..IDLE
        },
        Situation {
            name: "idle after a million, viewer",
            watched: true,
            crowd: 1_000_000,
            ..IDLE
        },
        Situation {
            name: "10,000 asleep, viewer",
            watched: true,
            sleepers: 10_000,
            ..IDLE
        },
        Situation {
            name: "busy",
            busy: true,
            ..IDLE
        },
        Situation {
            name: "busy, viewer",
            busy: true,
            watched: true,
            ..IDLE
        },
    ] {
        measure(&situation);
    }
}

struct Situation {
    name: &'static str,
    busy: bool,
    watched: bool,
    /// Routines that have come and gone before.
    crowd: usize,
    /// Routines that sleep meanwhile.
    sleepers: usize,
}

const IDLE: Situation = Situation {
    name: "",
    busy: false,
    watched: false,
    crowd: 0,
    sleepers: 0,
};

fn measure(situation: &Situation) {
    let &Situation {
        name,
        busy,
        watched,
        crowd,
        sleepers,
    } = situation;
    let runtime = Runtime::builder()
        .workers(WORKERS)
        .record_turns(true)
        .build()
        .expect("a runtime");
    let observatory = Observatory::start(runtime.handle(), Extra::default).expect("a thread");
    let _viewer = watched.then(|| observatory.viewer());
    runtime.block_on(|| {
        let crowd: Vec<_> = (0..crowd).map(|_| openwork::spawn(|| ())).collect();
        for routine in crowd {
            routine.join().expect("no panic");
        }
    });
    let stop = Arc::new(AtomicBool::new(false));
    if busy {
        for _ in 0..8 {
            let stop = stop.clone();
            drop(runtime.spawn_turns((), move |()| {
                if stop.load(Relaxed) {
                    Turn::Done(())
                } else {
                    Turn::Again
                }
            }));
        }
    }
    for _ in 0..sleepers {
        drop(runtime.spawn(|| openwork::time::sleep(Duration::from_secs(60))));
    }
    thread::sleep(Duration::from_secs(2)); // Start-up is not the question.

    let before = observatory.latest();
    let mut ratios = Vec::new();
    for _ in 0..SECONDS {
        thread::sleep(Duration::from_secs(1));
        ratios.extend(observatory.latest().watching.sampler_cpu_ratio);
    }
    let after = observatory.latest();
    stop.store(true, Relaxed);

    let seconds = (after.at_ns - before.at_ns) as f64 / 1e9;
    let turns = |sample: &openwork_observatory::Sample| {
        sample
            .snapshot
            .workers
            .iter()
            .map(|worker| worker.turns())
            .sum::<u64>()
    };
    let share =
        |part: Option<f64>| part.map_or("-".to_owned(), |part| format!("{:.2} %", part * 100.0));
    let sampler = (!ratios.is_empty()).then(|| ratios.iter().sum::<f64>() / ratios.len() as f64);
    let process = after.process_cpu_ns.zip(before.process_cpu_ns);
    let process = process.map(|(after, before)| (after - before) as f64 / 1e9 / seconds);
    println!(
        "{name:<30}{:>10}{:>10}{:>14.0}{:>14.0}",
        share(sampler),
        share(process),
        (turns(&after) - turns(&before)) as f64 / seconds,
        (after.watching.turns_lost - before.watching.turns_lost) as f64 / seconds,
    );
    drop(observatory);
    let remaining = runtime.shutdown(Duration::from_secs(5));
    assert!(remaining.is_ok(), "{remaining:?}");
}
