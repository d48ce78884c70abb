//! One run from its first turn to its last.

use std::sync::Arc;
use std::time::Duration;

use crate::builder::Purpose;
use crate::deterministic::failure::{self, Deadlock, Failure, FailureKind};
use crate::deterministic::strategy::Chooser;
use crate::deterministic::{Config, Run, Schedule};
use crate::join::{JoinError, JoinHandle};
use crate::runtime::Runtime;
use crate::scheduler::Shared;
use crate::scheduler::worker::explored::{Explored, Inside, Next};
use crate::spawn::Builder;
use crate::stack::StackPool;

/// Turns that the routines of a run that is over have for unwinding.
const ENDING_TURNS_MAX: u64 = 1_000_000;

/// What one run leaves to the next: stacks, whose memory is there already.
#[derive(Debug, Default)]
pub(crate) struct Stock(Option<StackPool>);

/// A deterministic runtime before, in and after its run.
pub(crate) struct Machine {
    explored: Explored,
    seed: u64,
    cancel_rest: bool,
}

impl Machine {
    pub(crate) fn new(config: &Config, stock: Stock, seed: u64, chooser: Chooser) -> Machine {
        let builder = Runtime::builder()
            .workers(1)
            .stack_size(config.stack_bytes)
            // A worker that records looks at its clock after every turn, not only when some real time
            // has passed.
            .record_turns(true);
        let arena = stock.0.as_ref().map(StackPool::arena);
        let (shared, mut queues) = builder
            .prepare(Purpose::Exploration(arena))
            .unwrap_or_else(|why| panic!("{why}"));
        let local = queues.pop().expect("one worker");
        Machine {
            explored: Explored::new(shared, local, stock.0, seed, chooser),
            seed,
            cancel_rest: config.cancel_rest,
        }
    }

    pub(crate) fn enter(&self) -> Inside<'_> {
        self.explored.enter()
    }

    /// Spawns the first routine.
    #[track_caller]
    pub(crate) fn start<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let _inside = self.enter();
        let first = Builder::new().name("first").spawn(f);
        first.unwrap_or_else(|why| panic!("{why}"))
    }

    /// Runs everything to its end. Gives the stacks back for another run, if this one went well.
    pub(crate) fn run<T>(self, first: JoinHandle<T>) -> (Result<Run<T>, Failure>, Stock) {
        // Dropped when the thread is its own again: what a program returns may do anything then.
        let mut value = None;
        let inside = self.enter();
        let result = self.drive(&inside, first, &mut value);
        let took = Duration::from_nanos(self.explored.exploration().clock.get());
        let (steps, decisions) = {
            let mut chooser = self.explored.exploration().chooser.borrow_mut();
            (chooser.steps(), chooser.take_decisions())
        };
        // A run that has failed is left as it is. To cancel its routines would run their destructors and
        // whatever error paths the end of each opens to the others, and bury the report in panics.
        let left = match result {
            Ok(()) => self.end(&inside),
            Err(_) => self.explored.shared().live(),
        };
        let schedule = Schedule {
            seed: self.seed,
            decisions,
        };
        drop(inside);
        let kind = match (result, value) {
            (Ok(()), Some(value)) if left == 0 => {
                let run = Run {
                    value,
                    schedule,
                    steps,
                    took,
                };
                return (Ok(run), Stock(Some(self.explored.into_stacks())));
            }
            (Ok(()), _) => FailureKind::Remaining,
            (Err(kind), _) => kind,
        };
        let failure = failure::new(kind, schedule, steps, took, left);
        (Err(failure), Stock::default())
    }

    fn drive<T>(
        &self,
        inside: &Inside<'_>,
        first: JoinHandle<T>,
        value: &mut Option<T>,
    ) -> Result<(), FailureKind> {
        let chooser = &self.explored.exploration().chooser;
        let mut first = Some(first);
        loop {
            match inside.look() {
                Next::Runnable => {}
                Next::Ended => break,
                Next::Deadlock => return Err(FailureKind::Deadlock(Deadlock::of(inside))),
                Next::Disturbed => return Err(FailureKind::Disturbed),
            }
            if chooser.borrow().steps_are_used_up() {
                return Err(FailureKind::Steps);
            }
            inside.step();
            if let Some(divergence) = chooser.borrow().divergence(false) {
                return Err(FailureKind::Diverged(divergence));
            }
            if let Some(ended) = first.take_if(|first| first.is_finished()) {
                match ended.join() {
                    Ok(returned) => *value = Some(returned),
                    Err(JoinError::Cancelled) => return Err(FailureKind::Cancelled),
                    Err(why) => return Err(FailureKind::Panicked(why.message())),
                }
                if self.cancel_rest {
                    break;
                }
            }
        }
        match chooser.borrow().divergence(true) {
            Some(divergence) => Err(FailureKind::Diverged(divergence)),
            None => Ok(()),
        }
    }

    /// Cancels what is left and lets it unwind. Returns how many routines do not end even so: their
    /// memory lives on.
    pub(crate) fn end(&self, inside: &Inside<'_>) -> u64 {
        let shared = self.explored.shared();
        inside.begin_to_end();
        shared.close();
        if shared.live() > 0 {
            shared.cancel_all();
        }
        let mut turns = 0;
        while inside.look() == Next::Runnable && turns < ENDING_TURNS_MAX {
            inside.step();
            turns += 1;
        }
        close(shared)
    }
}

/// Frees the memory of a runtime, unless routines are left.
fn close(shared: &Arc<Shared>) -> u64 {
    let left = shared.live();
    if left == 0 {
        for worker in &shared.workers {
            worker.timers.close();
        }
        shared.slabs.close();
    }
    left
}
