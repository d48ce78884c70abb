//! Soaks forced preemption: `hogs [SECONDS] [SLICE_MS] [WORKERS]`, by default 10 seconds, 1 ms, 2 workers.
//!
//! Routines that never give way compute in vector registers, allocate, print, use thread-locals, channels and
//! locks of both kinds, sleep in the kernel and start children, while a sleeper beside them is timed. Each checks
//! what it does against what it must be; the first wrong byte ends the soak.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use openwork::config::Preemption;
use openwork::{Handle, JoinHandle, Runtime, Turn, blocking, channel, scope, sync, time};

/// What a routine does once in a round, given its number.
type Deed = fn(u64);

/// Every deed, with its name; each runs in two routines.
const DEEDS: [(&str, Deed); 9] = [
    ("vectors", vectors),
    ("allocator", allocator),
    ("printing", printing),
    ("thread-locals", thread_locals),
    ("std lock", std_lock),
    ("channels", channels),
    ("locks", locks),
    ("kernel", kernel),
    ("children", children),
];

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut next = |default: u64| numbers.next().unwrap_or(Ok(default));
    let (Ok(seconds), Ok(slice_ms), Ok(workers)) = (next(10), next(1), next(2)) else {
        eprintln!("usage: hogs [SECONDS] [SLICE_MS] [WORKERS]");
        return ExitCode::from(2);
    };
    let built = Runtime::builder()
        .workers(workers as usize)
        .preemption(Preemption::Forced)
        .slice(Duration::from_millis(slice_ms))
        .build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let stop = Arc::new(AtomicBool::new(false));
    let counts: Arc<[AtomicU64; DEEDS.len()]> = Arc::default();
    let hogs: Vec<JoinHandle<()>> = (0..2 * DEEDS.len())
        .map(|number| {
            let (stop, counts) = (stop.clone(), counts.clone());
            runtime.spawn(move || {
                let at = number % DEEDS.len();
                while !stop.load(Relaxed) {
                    DEEDS[at].1(number as u64);
                    counts[at].fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    let late = ticker(&runtime.handle(), &stop);
    let began = Instant::now();
    let mut before = [0; DEEDS.len()];
    let mut stuck = 0;
    while began.elapsed() < Duration::from_secs(seconds)
        && !hogs.iter().any(JoinHandle::is_finished)
    {
        thread::sleep(Duration::from_secs(10).min(Duration::from_secs(seconds)));
        let now = std::array::from_fn(|at| counts[at].load(Relaxed));
        println!("{:?}: {}", began.elapsed(), line(&now, &runtime.handle()));
        // Nothing at all in ten seconds, three times: it stands still.
        stuck = if now == before { stuck + 1 } else { 0 };
        before = now;
        if stuck == 3 {
            println!("{:#?}", runtime.snapshot());
            runtime.handle().routines(&mut |view| println!("{view:?}"));
            std::process::abort();
        }
    }
    stop.store(true, Relaxed);
    let broken = hogs
        .into_iter()
        .map(JoinHandle::join)
        .filter(Result::is_err)
        .count();
    let mut late = late.join().unwrap_or_default();
    late.sort_unstable();
    let at = |of: f64| {
        late.get(((late.len().max(1) - 1) as f64 * of) as usize)
            .map_or(0, |ns| ns / 1000)
    };
    println!(
        "a sleeper of 10 ms: {} times, late by p50 {} us, p99 {} us, at most {} us",
        late.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    println!("{:?}", runtime.snapshot().monitor);
    if broken > 0 {
        eprintln!("{broken} routines found something wrong");
        return ExitCode::FAILURE;
    }
    match runtime.shutdown(Duration::from_secs(60)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(remaining) => {
            eprintln!("{remaining}");
            ExitCode::FAILURE
        }
    }
}

fn line(counts: &[u64; DEEDS.len()], handle: &Handle) -> String {
    let done: Vec<_> = DEEDS
        .iter()
        .zip(counts)
        .map(|((name, _), n)| format!("{name} {n}"))
        .collect();
    let m = handle.snapshot().monitor;
    format!(
        "{}; forced {}, deferred {}, stale {}, honoured {}, retaken {}, released {}, at cap {}",
        done.join(", "),
        m.forced,
        m.deferred,
        m.stale,
        m.honoured,
        m.retaken,
        m.released,
        m.at_cap
    )
}

/// By how many nanoseconds a turn routine that sleeps 10 ms is late, each time.
fn ticker(handle: &Handle, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<u64>> {
    const TICK: Duration = Duration::from_millis(10);
    let stop = stop.clone();
    handle.spawn_turns((Vec::new(), 0u64), move |(late, due)| {
        let now = time::now_ns();
        if *due != 0 {
            late.push(now.saturating_sub(*due));
        }
        if stop.load(Relaxed) {
            return Turn::Done(std::mem::take(late));
        }
        *due = now + TICK.as_nanos() as u64;
        Turn::Sleep(TICK)
    })
}

fn vectors(number: u64) {
    let run = || {
        let mut lanes: [f64; 16] = std::array::from_fn(|i| black_box(number as f64) + i as f64);
        for _ in 0..5_000 {
            for lane in &mut lanes {
                *lane = (*lane * 1.000_1 + 0.25).sqrt() + 1.0;
            }
        }
        lanes.map(f64::to_bits)
    };
    assert_eq!(run(), run());
}

fn allocator(number: u64) {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for n in 0..500u64 {
        kept.push(vec![number as u8; 1 + (n * 37 % 5000) as usize]);
        if kept.len() > 100 {
            let gone = kept.swap_remove((n * 7 % 100) as usize);
            assert!(gone.iter().all(|&byte| byte == number as u8));
        }
    }
}

/// Into a stream with a lock of the standard library's. Only to standard error where that is not a terminal.
fn printing(number: u64) {
    static SINK: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    let mut sink = SINK.lock().expect("nobody panics with it");
    sink.clear();
    for n in 0..100 {
        writeln!(sink, "routine {number} line {n}").expect("memory does not fail");
    }
    let whole = sink
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty());
    let expected = format!("routine {number} line ");
    assert_eq!(
        whole
            .filter(|line| line.starts_with(expected.as_bytes()))
            .count(),
        100
    );
    drop(sink);
    eprint!("");
}

fn thread_locals(_: u64) {
    thread_local! {
        static DEPTH: Cell<u64> = const { Cell::new(0) };
        static SEEN: RefCell<BTreeMap<u64, u64>> = const { RefCell::new(BTreeMap::new()) };
    }
    let before = DEPTH.get();
    DEPTH.set(before + 1);
    SEEN.with_borrow_mut(|seen| {
        for n in 0..1000 {
            *seen.entry(n).or_default() += 1;
        }
        assert!(seen.values().all(|count| *count == seen[&0]));
    });
    assert_eq!(DEPTH.replace(before), before + 1);
}

fn std_lock(number: u64) {
    static PAIR: Mutex<(u64, u64)> = Mutex::new((0, 0));
    for _ in 0..100 {
        let mut pair = PAIR.lock().expect("nobody panics with it");
        assert_eq!(pair.0, pair.1);
        pair.0 += number;
        for _ in 0..200 {
            std::hint::spin_loop();
        }
        pair.1 += number;
    }
}

fn channels(number: u64) {
    let sum = scope(|s| {
        let (tx, rx) = channel::bounded(3);
        for part in 0..3 {
            let tx = tx.clone();
            s.spawn(move || {
                for n in 0..50 {
                    for _ in 0..500 {
                        std::hint::spin_loop();
                    }
                    tx.send(number + part * 50 + n)
                        .expect("the receiver is there");
                }
            });
        }
        drop(tx);
        rx.iter().sum::<u64>()
    });
    assert_eq!(sum, 150 * number + (0..150).sum::<u64>());
}

fn locks(_: u64) {
    let total = Arc::new(sync::Mutex::new(0u64));
    scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..50 {
                    let mut total = total.lock().expect("nobody panics with it");
                    let before = *total;
                    for _ in 0..300 {
                        std::hint::spin_loop();
                    }
                    *total = before + 1;
                }
            });
        }
    });
    assert_eq!(*total.lock().expect("nobody panics with it"), 200);
}

fn kernel(number: u64) {
    thread::sleep(Duration::from_micros(300 * (number % 7)));
    let read = blocking(|| std::fs::read_to_string("/proc/self/comm"));
    assert!(read.is_ok_and(|text| text.ends_with('\n')));
    time::sleep(Duration::from_micros(200));
}

fn children(_: u64) {
    let child = Command::new("true").stdin(Stdio::null()).status();
    assert!(child.is_ok_and(|status| status.success()));
    thread::sleep(Duration::from_millis(20));
}
