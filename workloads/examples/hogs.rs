//! Soaks forced preemption: `hogs [SECONDS] [SLICE_MS] [WORKERS] [HOMES]`, by default 10 seconds, 1 ms, 2 workers
//! and no travelling homes.
//!
//! Routines that never give way compute in vector registers, allocate, print, use thread-locals, channels and
//! locks of both kinds, sleep in the kernel and start children, while a sleeper beside them is timed. Each checks
//! what it does against what it must be; the first wrong byte ends the soak.
//!
//! They do so in a process of their own, whose number is told, so that a debugger can be attached to it and
//! every line that it prints is read and checked here. To have the compiler use the longest vector registers
//! there are, build with `-C target-cpu=native`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
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

/// How long a routine goes on before another one takes its place. Where a home is a thread, those that wait share
/// theirs with one that computes, and get on when that has ended.
const LIFE: Duration = Duration::from_millis(300);

/// A deed that is not done once in so long stands still.
const PATIENCE: Duration = Duration::from_secs(120);

/// The first argument of the process that is watched.
const WATCHED: &str = "watched";

/// How a line of a routine's begins; other lines are for the reader.
const PRINTED: &str = "routine ";

fn main() -> ExitCode {
    let mut texts: Vec<String> = std::env::args().skip(1).collect();
    let is_watched = texts.first().is_some_and(|text| text == WATCHED);
    if !is_watched {
        return watch(&texts);
    }
    texts.remove(0);
    let mut numbers = texts.iter().map(|text| text.parse::<u64>());
    let mut next = |default: u64| numbers.next().unwrap_or(Ok(default));
    match (next(10), next(1), next(2), next(0)) {
        (Ok(seconds), Ok(slice_ms), Ok(workers), Ok(homes)) => {
            soak(seconds, slice_ms, workers as usize, homes as usize)
        }
        _ => {
            eprintln!("usage: hogs [SECONDS] [SLICE_MS] [WORKERS] [HOMES]");
            ExitCode::from(2)
        }
    }
}

/// Soaks in a child, and checks what that prints.
fn watch(arguments: &[String]) -> ExitCode {
    let child = std::env::current_exe().and_then(|program| {
        Command::new(program)
            .arg(WATCHED)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
    });
    let mut child = match child {
        Ok(child) => child,
        Err(why) => {
            eprintln!("the process to soak in does not start: {why}");
            return ExitCode::FAILURE;
        }
    };
    println!("process {}", child.id());
    let mut lines = [0u64; 2 * DEEDS.len()];
    let output = child.stdout.take().expect("it was asked for");
    let mut wrong = 0;
    for line in BufReader::new(output).split(b'\n') {
        let line = match line {
            Ok(line) => String::from_utf8_lossy(&line).into_owned(),
            Err(why) => {
                eprintln!("the output ends: {why}");
                wrong += 1;
                break;
            }
        };
        if !line.starts_with(PRINTED) {
            println!("{line}");
            continue;
        }
        let number = line.split(' ').nth(1).and_then(|text| text.parse().ok());
        let number: usize = number.unwrap_or(usize::MAX);
        let expected = lines
            .get(number)
            .map(|count| line_of(number as u64, *count));
        if expected.as_ref() != Some(&line) {
            eprintln!("printed {line:?}, expected {expected:?}");
            wrong += 1;
        }
        if let Some(count) = lines.get_mut(number) {
            *count += 1;
        }
    }
    println!("{} lines were printed", lines.iter().sum::<u64>());
    match child.wait() {
        Ok(status) if status.success() && wrong == 0 => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("{status}, {wrong} lines wrong");
            ExitCode::FAILURE
        }
        Err(why) => {
            eprintln!("the process that soaked is lost: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What a routine prints: its number, how many lines it has printed before, and bytes that follow from both.
fn line_of(number: u64, at: u64) -> String {
    let filler = char::from(b'a' + ((number + at) % 26) as u8);
    let filler = String::from(filler).repeat((at % 50) as usize);
    format!("{PRINTED}{number} line {at} {filler}.")
}

fn soak(seconds: u64, slice_ms: u64, workers: usize, homes: usize) -> ExitCode {
    let built = Runtime::builder()
        .workers(workers)
        .travelling_homes(homes)
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
    println!("homes: {:?}", runtime.snapshot().homes.version);
    let stop = Arc::new(AtomicBool::new(false));
    let counts: Arc<[AtomicU64; DEEDS.len()]> = Arc::default();
    let hog = |number: usize| {
        let (stop, counts) = (stop.clone(), counts.clone());
        runtime.spawn(move || {
            let at = number % DEEDS.len();
            let born = Instant::now();
            while !stop.load(Relaxed) && born.elapsed() < LIFE {
                DEEDS[at].1(number as u64);
                counts[at].fetch_add(1, Relaxed);
            }
        })
    };
    let mut hogs: Vec<JoinHandle<()>> = (0..2 * DEEDS.len()).map(hog).collect();
    let late = ticker(&runtime.handle(), &stop);
    let began = Instant::now();
    let mut told = began;
    let mut before = [(0, began); DEEDS.len()];
    let mut broken = 0;
    while began.elapsed() < Duration::from_secs(seconds) && broken == 0 {
        thread::sleep(Duration::from_millis(20));
        for (number, one) in hogs.iter_mut().enumerate() {
            if one.is_finished() {
                broken += usize::from(std::mem::replace(one, hog(number)).join().is_err());
            }
        }
        let now = Instant::now();
        for (at, (count, since)) in before.iter_mut().enumerate() {
            let done = counts[at].load(Relaxed);
            if done != *count {
                (*count, *since) = (done, now);
            } else if now - *since > PATIENCE {
                println!("nobody has done this for {PATIENCE:?}: {}", DEEDS[at].0);
                println!("{:#?}", runtime.snapshot());
                runtime.handle().routines(&mut |view| println!("{view:?}"));
                std::process::abort();
            }
        }
        if now - told > Duration::from_secs(10) {
            told = now;
            println!(
                "{:?}: {}",
                began.elapsed(),
                line(&counts, &runtime.handle())
            );
        }
    }
    println!(
        "{:?}: {}",
        began.elapsed(),
        line(&counts, &runtime.handle())
    );
    stop.store(true, Relaxed);
    broken += hogs
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

fn line(counts: &[AtomicU64; DEEDS.len()], handle: &Handle) -> String {
    let done: Vec<_> = DEEDS
        .iter()
        .zip(counts)
        .map(|((name, _), n)| format!("{name} {}", n.load(Relaxed)))
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

/// A map that forgets nothing: two runs that differ in one bit once differ in all of them soon.
fn vectors(number: u64) {
    let run = || {
        let mut lanes: [f64; 16] = std::array::from_fn(|i| {
            (black_box(number as f64) + 1.0 + i as f64) / (3 + 2 * DEEDS.len() + 16) as f64
        });
        let mut words: [u64; 16] = std::array::from_fn(|i| black_box(number) << 8 | i as u64);
        for _ in 0..5_000 {
            for (lane, word) in lanes.iter_mut().zip(&mut words) {
                *lane = 3.99 * *lane * (1.0 - *lane);
                *word = (*word ^ (*word >> 29)).wrapping_add(0x9e37_79b9_7f4a_7c15);
            }
        }
        (lanes.map(f64::to_bits), words)
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

/// Into a stream with a lock and a buffer of the standard library's. The other process checks each line.
fn printing(number: u64) {
    static PRINTED_BY: [AtomicU64; 2 * DEEDS.len()] =
        [const { AtomicU64::new(0) }; 2 * DEEDS.len()];
    for _ in 0..20 {
        let at = PRINTED_BY[number as usize].fetch_add(1, Relaxed);
        println!("{}", line_of(number, at));
    }
}

/// No sibling runs in between, so what was written is there.
fn thread_locals(number: u64) {
    thread_local! {
        static OWNER: Cell<u64> = const { Cell::new(0) };
        static SEEN: RefCell<BTreeMap<u64, u64>> = const { RefCell::new(BTreeMap::new()) };
    }
    let before = OWNER.replace(number);
    SEEN.with_borrow_mut(|seen| {
        for n in 0..1000 {
            *seen.entry(n).or_default() += 1;
            assert_eq!(OWNER.get(), number);
        }
        assert!(seen.values().all(|count| *count == seen[&0]));
    });
    assert_eq!(OWNER.replace(before), number);
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

/// One routine's children are made by `posix_spawn`, the other's by `fork` and `exec`: the standard library takes
/// that way where a user is asked for, here the one that it is already.
fn children(number: u64) {
    let mut command = Command::new("echo");
    command.arg("child").arg(number.to_string());
    if number >= DEEDS.len() as u64 {
        let own = std::fs::metadata("/proc/self").map(|own| own.uid());
        command.uid(own.expect("a process sees itself"));
    }
    let output = command.stdin(Stdio::null()).output();
    let output = output.expect("a child starts");
    assert!(output.status.success());
    assert_eq!(output.stdout, format!("child {number}\n").as_bytes());
    thread::sleep(Duration::from_millis(20));
}
