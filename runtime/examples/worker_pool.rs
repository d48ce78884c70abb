//! A pool of workers that shares a rate limit.
//!
//! Jobs come through a channel, so a worker that is free takes the next one. Before it begins it takes a
//! permit. Permits lie in a channel, too: a routine adds one at each tick, as long as there is room, so
//! work that has paused may catch up with a small burst, and no more.
//!
//! ```text
//! cargo run -p openwork --example worker_pool
//! ```

use std::time::Duration;

use openwork::channel::{self, Receiver};
use openwork::{Builder, CancelToken, Runtime, scope, time};

/// How fast the pool may begin with jobs.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// Time between two permits.
    every: Duration,
    /// Most permits that wait to be taken.
    burst: usize,
}

/// A job that was done.
#[derive(Debug)]
struct Done {
    job: u32,
    worker: usize,
    /// Since the pool began.
    began: Duration,
}

/// Permits at a rate, until the token is cancelled. The first burst is there at once.
fn permits(rate: Rate, stop: &CancelToken) -> Receiver<()> {
    let (permit, permits) = channel::bounded(rate.burst);
    (0..rate.burst).for_each(|_| permit.send(()).expect("there is room"));
    let ticks = channel::tick(rate.every);
    let refill = Builder::new().name("refill").cancel_with(stop);
    let refill = refill.spawn(move || {
        // Ends when the token is cancelled: then `recv` says so.
        while ticks.recv().is_ok() {
            let _ = permit.try_send(()); // nobody needed the last ones
        }
    });
    refill.expect("called by a routine").detach();
    permits
}

/// Does all jobs with so many workers and returns them in the order in which they began.
fn work_off(jobs: &[u32], workers: usize, rate: Rate, job: impl Fn(u32) + Sync) -> Vec<Done> {
    let start = time::now();
    let stop = CancelToken::new();
    let permits = permits(rate, &stop);
    let (queue, waiting) = channel::bounded(workers);
    let (done, results) = channel::unbounded();
    scope(|s| {
        for worker in 0..workers {
            let (waiting, permits, done) = (waiting.clone(), permits.clone(), done.clone());
            let job = &job;
            s.spawn(move || {
                for number in waiting {
                    permits.recv().expect("refilled until the pool is done");
                    let began = time::now() - start;
                    job(number);
                    let report = Done {
                        job: number,
                        worker,
                        began,
                    };
                    done.send(report).expect("the pool takes the reports");
                }
            });
        }
        for number in jobs {
            queue.send(*number).expect("workers wait");
        }
        drop(queue); // no more jobs: the workers end
    });
    stop.cancel();
    drop(done);
    let mut results: Vec<Done> = results.into_iter().collect();
    results.sort_by_key(|done| (done.began, done.job));
    results
}

fn main() {
    let rate = Rate {
        every: Duration::from_millis(10),
        burst: 5,
    };
    let jobs: Vec<u32> = (1..=20).collect();
    let rt = Runtime::builder().build().expect("a runtime");
    let results =
        rt.block_on(|| work_off(&jobs, 4, rate, |_| time::sleep(Duration::from_millis(15))));
    for done in results {
        println!(
            "{:>4} ms: job {:>2} by worker {}",
            done.began.as_millis(),
            done.job,
            done.worker
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openwork::deterministic::Config;

    const RATE: Rate = Rate {
        every: Duration::from_millis(10),
        burst: 5,
    };

    /// On a virtual clock, in many orders: every job is done once, none begins before its permit, and the
    /// pool is as fast as the rate allows.
    #[test]
    fn the_rate_is_kept_and_used() {
        let run = || {
            let jobs: Vec<u32> = (0..40).collect();
            work_off(&jobs, 4, RATE, |job| {
                time::sleep(Duration::from_millis(u64::from(job % 5)))
            })
        };
        for seed in 0..100 {
            let run = Config::new()
                .run(seed, run)
                .unwrap_or_else(|failure| panic!("{failure}"));
            let done = run.value;
            let mut jobs: Vec<u32> = done.iter().map(|done| done.job).collect();
            jobs.sort_unstable();
            assert!(jobs.into_iter().eq(0..40), "seed {seed}");
            for (n, done) in done.iter().enumerate() {
                let permitted = RATE.every * n.saturating_sub(RATE.burst - 1) as u32;
                assert!(
                    done.began >= permitted,
                    "seed {seed}: {done:?} began before {permitted:?}"
                );
            }
            let last = done.last().expect("there are jobs").began;
            assert!(last < RATE.every * 42, "seed {seed}: took {last:?}");
        }
    }

    /// In real time, with workers that share what there is.
    #[test]
    fn all_workers_help() {
        let rt = Runtime::builder().workers(2).build().unwrap();
        let jobs: Vec<u32> = (0..12).collect();
        let rate = Rate {
            every: Duration::from_millis(1),
            burst: 3,
        };
        let all_in = openwork::sync::Mutex::new(0);
        let done = rt.block_on(|| {
            work_off(&jobs, 3, rate, |_| {
                // The first three wait for each other.
                *all_in.lock().unwrap() += 1;
                while *all_in.lock().unwrap() < 3 {
                    time::sleep(Duration::from_millis(1));
                }
            })
        });
        for worker in 0..3 {
            assert!(done.iter().any(|done| done.worker == worker), "{done:?}");
        }
    }
}
