//! Do routines mine as fast as bare threads, and do two workers mine twice as fast as one?
//!
//! Says nothing about luck: rates are attempts per second, and the expected time to a block is its
//! expected attempts divided by the rate. Each figure is the median of rounds in which all
//! contestants take turns, so that a machine whose speed drifts drifts for all of them. Plain
//! threads are the yardstick: what two threads do not reach, two workers cannot.
//!
//! Two kinds of rate, because other load on the machine takes time from some contestants and not
//! from others. *per CPU second*: attempts by the CPU time of the threads that made them, which
//! other load hardly changes. *per second*: by the clock; on a busy machine compare it with the
//! threads' figure only.
//!
//! Run: `cargo bench -p openwork-blockchain --bench scaling`

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use openwork::{Runtime, Workload};
use openwork_blockchain::{
    Candidate, Chain, ChainOptions, Difficulty, HashMeter, MineRequest, mine,
};

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(600);

/// Attempts per second, by the clock and by CPU time.
#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    per_cpu_second: f64,
}

fn main() {
    let chain = chain();
    let one = Runtime::builder()
        .workers(1)
        .build()
        .expect("a runtime of one worker");
    let two = Runtime::builder()
        .workers(2)
        .build()
        .expect("a runtime of two workers");
    println!("{ROUNDS} rounds of {ROUND:?}, {} CPUs", cpus());

    let mut rounds: [Vec<Rate>; 6] = Default::default();
    for _ in 0..ROUNDS {
        let contestants: [&dyn Fn() -> Rate; 6] = [
            &|| on_threads(&chain, 1),
            &|| on_threads(&chain, 2),
            &|| on_routines(&one, &chain, MineRequest::race("race", 8, Difficulty::MAX)),
            &|| on_routines(&two, &chain, MineRequest::race("race", 8, Difficulty::MAX)),
            &|| {
                on_routines(
                    &one,
                    &chain,
                    MineRequest::chain("chain", 64, Difficulty::MAX),
                )
            },
            &|| {
                on_routines(
                    &two,
                    &chain,
                    MineRequest::chain("chain", 64, Difficulty::MAX),
                )
            },
        ];
        for (rates, contestant) in rounds.iter_mut().zip(contestants) {
            rates.push(contestant());
        }
    }
    let names = [
        "1 thread",
        "2 threads",
        "race of 8, 1 worker",
        "race of 8, 2 workers",
        "chain of 64, 1 worker",
        "chain of 64, 2 workers",
    ];
    println!(
        "{:<24}{:>14}{:>14}{:>16}",
        "million attempts", "per second", "spread", "per CPU second"
    );
    for (name, rates) in names.iter().zip(&rounds) {
        let clock = sorted(rates, |rate| rate.per_second);
        println!(
            "{name:<24}{:>14.2}{:>14}{:>16.2}",
            clock[ROUNDS / 2] / 1e6,
            format!("{:.1}-{:.1}", clock[0] / 1e6, clock[ROUNDS - 1] / 1e6),
            median(rates, |rate| rate.per_cpu_second) / 1e6,
        );
    }
    let clock = |contestant: usize| median(&rounds[contestant], |rate| rate.per_second);
    let cpu = |contestant: usize| median(&rounds[contestant], |rate| rate.per_cpu_second);
    println!(
        "worker / bare thread, per CPU second: race {:.3}, chain {:.3} (to hold: 0.95)",
        cpu(3) / cpu(1),
        cpu(5) / cpu(1)
    );
    println!(
        "speed-up by the second worker: race {:.2}, chain {:.2} (to hold: 1.8); by the second thread: {:.2}",
        clock(3) / clock(2),
        clock(5) / clock(4),
        clock(1) / clock(0)
    );

    let (before, after) = (
        blocks_per_second(&one, &chain),
        blocks_per_second(&two, &chain),
    );
    println!(
        "whole runs of 64 blocks at 16 bits, million attempts that counted per second: 1 worker {before:.2}, 2 workers {after:.2}, speed-up {:.2}",
        after / before
    );
}

/// Bare loops, as tight as they get.
fn on_threads(chain: &Chain, threads: usize) -> Rate {
    let stop = AtomicBool::new(false);
    let cpu_ns = AtomicU64::new(0);
    let started = Instant::now();
    let attempts: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut candidate = Candidate::new(chain, "bare", Difficulty::MAX);
                    let mut next = 0;
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::black_box(candidate.search(next..next + 10_000));
                        next += 10_000;
                    }
                    cpu_ns.fetch_add(on_cpu_ns("thread-self"), Ordering::Relaxed);
                    next
                })
            })
            .collect();
        thread::sleep(ROUND);
        stop.store(true, Ordering::Relaxed);
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a bare loop ends"))
            .sum()
    });
    rate(attempts, started.elapsed(), cpu_ns.into_inner())
}

/// A run as the service starts it, cancelled after the round.
fn on_routines(runtime: &Runtime, chain: &Chain, request: MineRequest) -> Rate {
    let handle = runtime.handle();
    let meter = Arc::new(HashMeter::new(handle.workers()));
    let before = workers_cpu_ns(runtime);
    let run =
        mine(&handle, chain, &meter, request, &Workload::new("bench")).expect("the run starts");
    thread::sleep(ROUND);
    run.cancel();
    let outcome = match run.wait() {
        Ok(outcome) => outcome,
        Err(failure) => failure.so_far,
    };
    rate(
        outcome.attempts,
        outcome.duration,
        workers_cpu_ns(runtime) - before,
    )
}

/// Whole runs, start and end and lost attempts included.
fn blocks_per_second(runtime: &Runtime, chain: &Chain) -> f64 {
    let handle = runtime.handle();
    let meter = Arc::new(HashMeter::new(handle.workers()));
    let mut attempts = 0;
    let mut time = Duration::ZERO;
    for _ in 0..10 {
        let request = MineRequest::chain("whole", 64, Difficulty::DEFAULT);
        let run = mine(&handle, chain, &meter, request, &Workload::new("bench"));
        let outcome = run
            .expect("the run starts")
            .wait()
            .expect("64 blocks are found");
        attempts += outcome.attempts - outcome.attempts_on_old_tips;
        time += outcome.duration;
    }
    attempts as f64 / time.as_secs_f64() / 1e6
}

fn rate(attempts: u64, elapsed: Duration, cpu_ns: u64) -> Rate {
    Rate {
        per_second: attempts as f64 / elapsed.as_secs_f64(),
        per_cpu_second: attempts as f64 / (cpu_ns as f64 / 1e9),
    }
}

fn workers_cpu_ns(runtime: &Runtime) -> u64 {
    let workers = runtime.snapshot().workers;
    workers
        .iter()
        .map(|worker| on_cpu_ns(&format!("self/task/{}", worker.thread_id)))
        .sum()
}

/// Time that a thread has spent on a CPU: the first figure of its `schedstat`.
fn on_cpu_ns(thread: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{thread}/schedstat")).expect("Linux schedstat");
    text.split(' ')
        .next()
        .and_then(|ns| ns.parse().ok())
        .expect("schedstat begins with a number")
}

fn sorted(rates: &[Rate], figure: fn(&Rate) -> f64) -> Vec<f64> {
    let mut figures: Vec<_> = rates.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures
}

fn median(rates: &[Rate], figure: fn(&Rate) -> f64) -> f64 {
    sorted(rates, figure)[rates.len() / 2]
}

fn cpus() -> usize {
    thread::available_parallelism().map_or(1, |cpus| cpus.get())
}

fn chain() -> Chain {
    let options = ChainOptions {
        genesis_difficulty: Difficulty::MIN,
        ..ChainOptions::default()
    };
    Chain::in_memory(options).expect("a chain in memory opens")
}
