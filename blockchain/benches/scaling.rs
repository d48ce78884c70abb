//! Do routines mine as fast as bare threads, and do two workers mine twice as fast as one?
//!
//! Says nothing about luck: rates are attempts per second, and the expected time to a block is its
//! expected attempts divided by the rate. Each figure is the median of rounds in which all
//! contestants take turns, so that a machine whose speed drifts drifts for all of them. Plain
//! threads are the yardstick: what two threads do not reach, two workers cannot.
//!
//! Other load on the machine takes time from some contestants and not from others, so three figures
//! are given, from the kernel's accounts of the threads that did the work:
//!
//! - *by the clock*: attempts per second. On a busy machine worth little.
//! - *per CPU second*: attempts by the time on a CPU. Other load hardly changes it.
//! - *CPUs wanted*: time on a CPU and time waiting for one, by the clock. A worker that parks,
//!   sleeps or blocks wants less than one CPU; a busy machine makes it wait, not want less.
//!
//! The product of the last two is the rate that the same threads would have had on an idle machine.
//!
//! Run: `cargo bench -p openwork-blockchain --bench scaling`
//!
//! On 2 cores of an AMD EPYC under a load of 10: a bare thread makes 23.1 million attempts per CPU
//! second, a worker 0.998 of that in a race and in chain mode; two workers make 1.99 times as many
//! as one in a race (two threads 1.98), and 1.96 times in whole runs of 256 blocks. By the clock
//! nothing could be said that day.

use std::fs;
use std::ops::Sub;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use openwork::{Runtime, Workload};
use openwork_blockchain::{
    Candidate, Chain, ChainOptions, Difficulty, HashMeter, MineRequest, mine,
};

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(600);

/// What one contestant did in one round.
#[derive(Clone, Copy)]
struct Rate {
    by_clock: f64,
    per_cpu_second: f64,
    cpus_wanted: f64,
}

impl Rate {
    fn new(attempts: u64, elapsed: Duration, cpu: Cpu) -> Rate {
        let seconds = elapsed.as_secs_f64();
        Rate {
            by_clock: attempts as f64 / seconds,
            per_cpu_second: attempts as f64 / cpu.on,
            cpus_wanted: (cpu.on + cpu.waiting) / seconds,
        }
    }

    fn on_idle_machine(&self) -> f64 {
        self.per_cpu_second * self.cpus_wanted
    }
}

fn main() {
    let options = ChainOptions {
        genesis_difficulty: Difficulty::MIN,
        ..ChainOptions::default()
    };
    let chain = Chain::in_memory(options).expect("a chain in memory opens");
    let workers = |count| {
        Runtime::builder()
            .workers(count)
            .build()
            .expect("a runtime")
    };
    let (one, two) = (workers(1), workers(2));

    let race = || MineRequest::race("race", 8, Difficulty::MAX);
    let search = || MineRequest::chain("search", 64, Difficulty::MAX);
    let blocks = || MineRequest::chain("blocks", 256, Difficulty::DEFAULT);
    type Contestant<'a> = (&'static str, Box<dyn Fn() -> Rate + 'a>);
    let contestants: [Contestant<'_>; 8] = [
        ("1 thread", Box::new(|| on_threads(&chain, 1))),
        ("2 threads", Box::new(|| on_threads(&chain, 2))),
        (
            "race of 8, 1 worker",
            Box::new(|| cancelled(&one, &chain, race())),
        ),
        (
            "race of 8, 2 workers",
            Box::new(|| cancelled(&two, &chain, race())),
        ),
        (
            "chain of 64, 1 worker",
            Box::new(|| cancelled(&one, &chain, search())),
        ),
        (
            "chain of 64, 2 workers",
            Box::new(|| cancelled(&two, &chain, search())),
        ),
        (
            "256 blocks, 1 worker",
            Box::new(|| to_the_end(&one, &chain, blocks())),
        ),
        (
            "256 blocks, 2 workers",
            Box::new(|| to_the_end(&two, &chain, blocks())),
        ),
    ];
    let mut rounds: [Vec<Rate>; 8] = Default::default();
    for _ in 0..ROUNDS {
        for (rates, (_, contestant)) in rounds.iter_mut().zip(&contestants) {
            rates.push(contestant());
        }
    }

    let cpus = thread::available_parallelism().map_or(1, |cpus| cpus.get());
    println!("median of {ROUNDS} rounds of {ROUND:?}, {cpus} CPUs; rates in million attempts");
    println!(
        "{:<24}{:>10}{:>14}{:>16}{:>13}",
        "", "by clock", "spread", "per CPU second", "CPUs wanted"
    );
    for (rates, (name, _)) in rounds.iter().zip(&contestants) {
        let clock = sorted(rates, |rate| rate.by_clock / 1e6);
        println!(
            "{name:<24}{:>10.2}{:>14}{:>16.2}{:>13.2}",
            clock[ROUNDS / 2],
            format!("{:.1}-{:.1}", clock[0], clock[ROUNDS - 1]),
            median(rates, |rate| rate.per_cpu_second / 1e6),
            median(rates, |rate| rate.cpus_wanted),
        );
    }
    let ratio = |contestant: usize, to: usize, figure: fn(&Rate) -> f64| {
        median(&rounds[contestant], figure) / median(&rounds[to], figure)
    };
    println!("\na worker by a bare thread, per CPU second (to hold: 0.95)");
    for (name, contestant, thread) in [("race", 3, 1), ("chain", 5, 1)] {
        println!(
            "  {name:<8}{:.3}",
            ratio(contestant, thread, |rate| rate.per_cpu_second)
        );
    }
    println!("two by one (to hold in the race: 1.8)     by clock   on an idle machine");
    for (name, two) in [("threads", 1), ("race", 3), ("chain", 5), ("blocks", 7)] {
        let clock = ratio(two, two - 1, |rate| rate.by_clock);
        println!(
            "  {name:<40}{clock:>8.2}{:>21.2}",
            ratio(two, two - 1, Rate::on_idle_machine)
        );
    }
}

/// Bare loops, as tight as they get.
fn on_threads(chain: &Chain, threads: usize) -> Rate {
    let stop = AtomicBool::new(false);
    let cpu = Mutex::new(Cpu::default());
    let started = Instant::now();
    let attempts: u64 = thread::scope(|scope| {
        let bare = || {
            let mut candidate = Candidate::new(chain, "bare", Difficulty::MAX);
            let mut next = 0;
            while !stop.load(Ordering::Relaxed) {
                std::hint::black_box(candidate.search(next..next + 10_000));
                next += 10_000;
            }
            cpu.lock()
                .expect("no bare loop panics")
                .add(Cpu::of("thread-self"));
            next
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(bare)).collect();
        thread::sleep(ROUND);
        stop.store(true, Ordering::Relaxed);
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a bare loop ends"))
            .sum()
    });
    Rate::new(
        attempts,
        started.elapsed(),
        cpu.into_inner().expect("no bare loop panics"),
    )
}

/// A run that finds nothing, cancelled after the round.
fn cancelled(runtime: &Runtime, chain: &Chain, request: MineRequest) -> Rate {
    let before = Cpu::of_workers(runtime);
    let run = start(runtime, chain, request);
    thread::sleep(ROUND);
    run.cancel();
    let outcome = run.wait().unwrap_or_else(|failure| failure.so_far);
    Rate::new(
        outcome.attempts,
        outcome.duration,
        Cpu::of_workers(runtime) - before,
    )
}

/// A whole run: start, commits and end included, attempts on old tips not counted.
fn to_the_end(runtime: &Runtime, chain: &Chain, request: MineRequest) -> Rate {
    let before = Cpu::of_workers(runtime);
    let outcome = start(runtime, chain, request)
        .wait()
        .expect("all blocks are found");
    let attempts = outcome.attempts - outcome.attempts_on_old_tips;
    Rate::new(
        attempts,
        outcome.duration,
        Cpu::of_workers(runtime) - before,
    )
}

fn start(runtime: &Runtime, chain: &Chain, request: MineRequest) -> openwork_blockchain::MineRun {
    let handle = runtime.handle();
    let meter = Arc::new(HashMeter::new(handle.workers()));
    mine(&handle, chain, &meter, request, &Workload::new("bench")).expect("the run starts")
}

/// Seconds that threads have spent on a CPU, and ready to run but waiting for one.
#[derive(Clone, Copy, Default)]
struct Cpu {
    on: f64,
    waiting: f64,
}

impl Cpu {
    /// From the first two figures of the thread's `schedstat`.
    fn of(thread: &str) -> Cpu {
        let text = fs::read_to_string(format!("/proc/{thread}/schedstat"));
        let text = text.expect("Linux with schedstat");
        let mut ns = text.split(' ').map(|figure| figure.parse::<f64>());
        let mut next = || {
            ns.next()
                .and_then(Result::ok)
                .expect("schedstat holds numbers")
                / 1e9
        };
        Cpu {
            on: next(),
            waiting: next(),
        }
    }

    fn of_workers(runtime: &Runtime) -> Cpu {
        let mut sum = Cpu::default();
        for worker in runtime.snapshot().workers {
            sum.add(Cpu::of(&format!("self/task/{}", worker.thread_id)));
        }
        sum
    }

    fn add(&mut self, other: Cpu) {
        self.on += other.on;
        self.waiting += other.waiting;
    }
}

impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, earlier: Cpu) -> Cpu {
        Cpu {
            on: self.on - earlier.on,
            waiting: self.waiting - earlier.waiting,
        }
    }
}

fn sorted(rates: &[Rate], figure: impl Fn(&Rate) -> f64) -> Vec<f64> {
    let mut figures: Vec<_> = rates.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures
}

fn median(rates: &[Rate], figure: impl Fn(&Rate) -> f64) -> f64 {
    sorted(rates, figure)[rates.len() / 2]
}
