//! The elastic pool: threads that run what blocks in the kernel, one job each.
//!
//! **Growth.** A job goes to an idle thread if there is one: the one that has been idle for the
//! shortest time, so that the others can retire. Otherwise it is queued, and *one* thread is started,
//! up to the limit. That thread, when it begins, starts the next one if jobs are still queued. So
//! short jobs that come in a burst are run by few threads, and while any job waits, a thread is on its
//! way or the limit is reached. No clock is asked.
//!
//! **Retirement.** A thread that had nothing to do for the keep-alive time ends. Nobody else wakes
//! for it.
//!
//! A thread that the system refuses is counted. The job waits for another one; with no thread at all
//! the caller runs it itself, which is slower for its neighbours but right.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, Thread};
use std::time::Duration;

use super::job::{Run, lock};
use crate::snapshot::BlockingFigures;
use crate::time;

/// Most threads unless said otherwise, as tokio's pool. Each may wait in the kernel, which costs no
/// processor but some 20 KiB: so the bound is there to stop a leak, not to schedule.
pub(crate) const THREADS_MAX: usize = 512;

/// How long an idle thread stays unless said otherwise.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How many threads a pool may have, and how long idle ones stay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolConfig {
    pub(crate) limit: usize,
    pub(crate) keep_alive: Duration,
    /// `None` for what std gives its threads.
    pub(crate) stack_bytes: Option<usize>,
}

/// See the module's text.
pub(crate) struct Pool {
    config: PoolConfig,
    crew: Mutex<Crew>,
    /// Rung when a job ends or a thread leaves after the end was asked for.
    bell: Condvar,
}

/// Names a queued job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

struct Queued {
    job: Arc<dyn Run>,
    /// In nanoseconds since process start.
    since: u64,
}

/// Jobs and threads, under one lock. Idle threads and queued jobs never stand side by side.
struct Crew {
    /// By the order of submission, which is the order of starting.
    queue: BTreeMap<Place, Queued>,
    /// The last one has been idle for the shortest time.
    idle: Vec<Arc<Bench>>,
    /// A thread was started that has not begun.
    starting: bool,
    closed: bool,
    /// By number; without its handle until whoever started it has stored that.
    threads: BTreeMap<u64, Option<thread::JoinHandle<()>>>,
    /// The thread that left last: the next one to leave joins it, or the end does.
    left: Option<thread::JoinHandle<()>>,
    figures: BlockingFigures,
}

/// Where one idle thread waits.
struct Bench {
    thread: Thread,
    number: u64,
    order: Mutex<Order>,
}

/// What an idle thread is to do.
enum Order {
    Wait,
    Run(Queued),
    Leave,
}

impl Pool {
    pub(crate) fn new(config: PoolConfig) -> Arc<Pool> {
        Arc::new(Pool {
            config,
            crew: Mutex::new(Crew {
                queue: BTreeMap::new(),
                idle: Vec::new(),
                starting: false,
                closed: false,
                threads: BTreeMap::new(),
                left: None,
                figures: BlockingFigures {
                    limit: config.limit as u64,
                    ..BlockingFigures::default()
                },
            }),
            bell: Condvar::new(),
        })
    }

    /// One for a single job, where no runtime is known: its thread ends with the job.
    pub(super) fn of_one() -> Arc<Pool> {
        Pool::new(PoolConfig {
            limit: 1,
            keep_alive: Duration::ZERO,
            stack_bytes: None,
        })
    }

    /// Hands a job to a thread, or queues it. If there is no thread and none can be had, or the pool
    /// is closed, it has run when this returns.
    pub(super) fn submit(self: &Arc<Pool>, job: Arc<dyn Run>) -> Place {
        let mut crew = lock(&self.crew);
        let place = Place(crew.figures.submitted);
        crew.figures.submitted += 1;
        let queued = Queued {
            job,
            since: time::now_ns(),
        };
        if crew.closed {
            crew.figures.running += 1;
            drop(crew);
            self.run_here(queued);
            return place;
        }
        if let Some(bench) = crew.idle.pop() {
            crew.start(&queued);
            *lock(&bench.order) = Order::Run(queued);
            drop(crew);
            bench.thread.unpark();
            return place;
        }
        crew.queue.insert(place, queued);
        let number = crew.want_thread(self.config.limit);
        drop(crew);
        if let Some(number) = number {
            self.start_thread(number);
        }
        place
    }

    /// Takes a job out of the queue. False if it has begun.
    pub(super) fn withdraw(&self, place: Place) -> bool {
        let mut crew = lock(&self.crew);
        let Some(queued) = crew.queue.remove(&place) else {
            return false;
        };
        crew.figures.withdrawn += 1;
        drop(crew);
        drop(queued);
        true
    }

    pub(crate) fn figures(&self) -> BlockingFigures {
        let crew = lock(&self.crew);
        BlockingFigures {
            threads: crew.threads.len() as u64,
            idle: crew.idle.len() as u64,
            queued: crew.queue.len() as u64,
            longest_wait_ns: crew
                .queue
                .first_key_value()
                .map_or(0, |(_, oldest)| time::now_ns().saturating_sub(oldest.since))
                .max(crew.figures.longest_wait_ns),
            ..crew.figures
        }
    }

    /// Sends idle threads away and waits for the jobs that run: for `time`, and then as long as within
    /// each `grace` one of them ends. Returns how many threads are left that do not come back from theirs.
    ///
    /// No routine may wait for a job any more, so none is queued.
    pub(crate) fn close(&self, time: Duration, grace: Duration) -> usize {
        let until = time::deadline(time);
        let mut crew = lock(&self.crew);
        crew.closed = true;
        for bench in std::mem::take(&mut crew.idle) {
            *lock(&bench.order) = Order::Leave;
            bench.thread.unpark();
        }
        while !crew.threads.is_empty() {
            let before = (crew.threads.len(), crew.figures.done);
            let left = Duration::from_nanos(until.saturating_sub(time::now_ns()));
            let (now, waited) = self
                .bell
                .wait_timeout_while(crew, left.max(grace), |crew| {
                    before == (crew.threads.len(), crew.figures.done)
                })
                .unwrap_or_else(|e| e.into_inner());
            crew = now;
            if waited.timed_out() {
                break;
            }
        }
        let remaining = crew.threads.len();
        let left = crew.left.take();
        drop(crew);
        join(left);
        remaining
    }

    fn start_thread(self: &Arc<Pool>, number: u64) {
        let mut builder = thread::Builder::new().name(format!("openwork-io-{number}"));
        if let Some(bytes) = self.config.stack_bytes {
            builder = builder.stack_size(bytes);
        }
        let pool = self.clone();
        match builder.spawn(move || pool.serve(number)) {
            Ok(handle) => {
                // One that is gone already is not waited for.
                if let Some(place) = lock(&self.crew).threads.get_mut(&number) {
                    *place = Some(handle);
                }
            }
            Err(_) => self.do_without(number),
        }
    }

    /// The system refuses a thread. With no other one this thread runs what is queued.
    fn do_without(self: &Arc<Pool>, number: u64) {
        let mut crew = lock(&self.crew);
        crew.threads.remove(&number);
        crew.starting = false;
        crew.figures.refused += 1;
        if crew.closed {
            self.bell.notify_all();
        }
        while crew.threads.is_empty()
            && let Some((_, queued)) = crew.queue.pop_first()
        {
            crew.start(&queued);
            drop(crew);
            self.run_here(queued);
            crew = lock(&self.crew);
        }
    }

    /// Runs a job, which counts as running, on the calling thread.
    fn run_here(&self, queued: Queued) {
        queued.job.run(&mut || {
            let mut crew = lock(&self.crew);
            crew.finish();
            if crew.closed {
                self.bell.notify_all();
            }
        });
    }

    /// The life of a thread.
    fn serve(self: Arc<Pool>, number: u64) {
        let bench = Arc::new(Bench {
            thread: thread::current(),
            number,
            order: Mutex::new(Order::Wait),
        });
        let mut crew = lock(&self.crew);
        crew.starting = false;
        crew.figures.started += 1;
        let mut next = crew.take_queued();
        let another = if crew.queue.is_empty() {
            None
        } else {
            crew.want_thread(self.config.limit)
        };
        if next.is_none() {
            crew.rest(&bench);
        }
        drop(crew);
        if let Some(another) = another {
            self.start_thread(another);
        }
        while let Some(queued) = next.take().or_else(|| self.wait_for_job(&bench)) {
            queued.job.run(&mut || {
                let mut crew = lock(&self.crew);
                crew.finish();
                next = crew.take_queued();
                if next.is_none() {
                    crew.rest(&bench);
                }
                if crew.closed {
                    self.bell.notify_all();
                }
            });
        }
    }

    /// On the bench, until there is a job; or `None`, and the thread is counted no more.
    fn wait_for_job(&self, bench: &Arc<Bench>) -> Option<Queued> {
        let until = time::deadline(self.config.keep_alive);
        loop {
            let order = std::mem::replace(&mut *lock(&bench.order), Order::Wait);
            match order {
                Order::Run(queued) => return Some(queued),
                Order::Leave => {
                    self.leave(lock(&self.crew), bench);
                    return None;
                }
                Order::Wait => {}
            }
            let left = until.saturating_sub(time::now_ns());
            if left > 0 {
                thread::park_timeout(Duration::from_nanos(left));
                continue;
            }
            let mut crew = lock(&self.crew);
            let at = crew.idle.iter().position(|idle| Arc::ptr_eq(idle, bench));
            // Off the bench, an order is there.
            if let Some(at) = at {
                crew.idle.remove(at);
                crew.figures.retired += 1;
                self.leave(crew, bench);
                return None;
            }
        }
    }

    fn leave(&self, mut crew: MutexGuard<'_, Crew>, bench: &Bench) {
        let own = crew.threads.remove(&bench.number).flatten();
        let before = std::mem::replace(&mut crew.left, own);
        if crew.closed {
            self.bell.notify_all();
        }
        drop(crew);
        join(before);
    }
}

fn join(thread: Option<thread::JoinHandle<()>>) {
    if let Some(thread) = thread {
        // Jobs are run under a catch, and nothing else of a thread's life panics.
        let _ = thread.join();
    }
}

impl Crew {
    /// Whether a thread is to be started for what is queued; then this is its number.
    fn want_thread(&mut self, limit: usize) -> Option<u64> {
        if self.starting || self.threads.len() >= limit {
            return None;
        }
        self.starting = true;
        // The lowest number that is free: names stay short, and a profile shows few.
        let mut number = 0;
        for &taken in self.threads.keys() {
            if taken != number {
                break;
            }
            number += 1;
        }
        self.threads.insert(number, None);
        Some(number)
    }

    fn take_queued(&mut self) -> Option<Queued> {
        let (_, queued) = self.queue.pop_first()?;
        self.start(&queued);
        Some(queued)
    }

    fn start(&mut self, queued: &Queued) {
        let waited = time::now_ns().saturating_sub(queued.since);
        self.figures.running += 1;
        self.figures.longest_wait_ns = self.figures.longest_wait_ns.max(waited);
    }

    fn finish(&mut self) {
        self.figures.running -= 1;
        self.figures.done += 1;
    }

    /// Sits down on the bench, or is told to leave.
    fn rest(&mut self, bench: &Arc<Bench>) {
        if self.closed {
            *lock(&bench.order) = Order::Leave;
        } else {
            self.idle.push(bench.clone());
        }
    }
}
