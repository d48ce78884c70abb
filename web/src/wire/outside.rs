//! What routines wait for outside the runtime: sockets, the pool of threads for blocking calls, deadlines.

use openwork::snapshot::{BlockingFigures, IoFigures, Snapshot, TimerFigures};
use serde::Serialize;
use utoipa::ToSchema;

/// The poller: how the kernel tells that sockets have something.
#[derive(Debug, Serialize, ToSchema)]
pub struct Io {
    /// `epoll` or `io_uring`.
    pub backend: &'static str,
    /// Why this one.
    pub reason: String,
    /// Sockets watched now.
    pub sockets: u64,
    /// Times a worker slept in the poller.
    pub waits: u64,
    /// Times a worker looked into it without sleeping.
    pub looks: u64,
    /// Events taken from the kernel.
    pub events: u64,
    /// Waiters that events have woken.
    pub readied: u64,
    /// Events that came when their socket had gone.
    pub late: u64,
}

/// The pool of threads for calls that block in the kernel. `submitted` = `queued` + `running` + `done` + `withdrawn`.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlockingPool {
    /// Most threads there may be.
    pub limit: u64,
    /// Threads there are.
    pub threads: u64,
    /// Of these, the ones without a job.
    pub idle: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that wait for a thread.
    pub queued: u64,
    /// Jobs since process start.
    pub submitted: u64,
    /// Jobs that have returned or panicked.
    pub done: u64,
    /// Jobs taken back before they began.
    pub withdrawn: u64,
    /// Threads started.
    pub started: u64,
    /// Threads that ended because they had nothing to do.
    pub retired: u64,
    /// Threads that the system would not start.
    pub refused: u64,
    /// The longest that a job has waited for a thread, or waits now, in nanoseconds.
    pub longest_wait_ns: u64,
}

/// Deadlines of one worker, or of all. Added since process start: `pending` + `served` + `cancelled`.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Timers {
    /// Not yet due, or not yet served.
    pub pending: u64,
    /// Served at or after their time.
    pub served: u64,
    /// Taken back, because the wait ended early.
    pub cancelled: u64,
    /// The longest time by which one was served late, in nanoseconds.
    pub late_max_ns: u64,
}

impl From<&IoFigures> for Io {
    fn from(io: &IoFigures) -> Io {
        Io {
            backend: io.backend.name(),
            reason: io.reason.to_string(),
            sockets: io.sockets,
            waits: io.waits,
            looks: io.looks,
            events: io.events,
            readied: io.readied,
            late: io.late,
        }
    }
}

impl From<&BlockingFigures> for BlockingPool {
    fn from(pool: &BlockingFigures) -> BlockingPool {
        BlockingPool {
            limit: pool.limit,
            threads: pool.threads,
            idle: pool.idle,
            running: pool.running,
            queued: pool.queued,
            submitted: pool.submitted,
            done: pool.done,
            withdrawn: pool.withdrawn,
            started: pool.started,
            retired: pool.retired,
            refused: pool.refused,
            longest_wait_ns: pool.longest_wait_ns,
        }
    }
}

impl From<&TimerFigures> for Timers {
    fn from(timers: &TimerFigures) -> Timers {
        Timers {
            pending: timers.pending,
            served: timers.served,
            cancelled: timers.cancelled,
            late_max_ns: timers.late_max_ns,
        }
    }
}

impl Timers {
    /// Those of all workers.
    pub fn of_all(snapshot: &Snapshot) -> Timers {
        let mut all = Timers::default();
        for worker in &snapshot.workers {
            all.pending += worker.timers.pending;
            all.served += worker.timers.served;
            all.cancelled += worker.timers.cancelled;
            all.late_max_ns = all.late_max_ns.max(worker.timers.late_max_ns);
        }
        all
    }
}
