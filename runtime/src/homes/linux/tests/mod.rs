//! What breaks travelling homes if one of their rules is left out: a test each.
//!
//! Homes are mounted by hand here, without a scheduler. What could hang or end a process happens in a child.

mod debugger;
mod ends;
mod forks;
mod identity;
mod processors;
mod setxid;
mod signals;
mod starved;

use std::time::{Duration, Instant};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::{Carrier, Donor};

/// A coroutine with a home of its own; returns `T`.
struct Routine<T> {
    coroutine: Coroutine<(), (), T, DefaultStack>,
    donor: Donor,
}

// SAFETY: whatever it holds is bound to its home, which goes with it; that is what is tested.
unsafe impl<T> Send for Routine<T> {}

impl<T> Routine<T> {
    fn new(body: impl FnOnce(&Yielder<(), ()>) -> T + 'static) -> Routine<T>
    where
        T: 'static,
    {
        super::prepare().unwrap();
        let stack = DefaultStack::new(256 << 10).unwrap();
        Routine {
            coroutine: Coroutine::with_stack(stack, move |yielder, ()| body(yielder)),
            donor: Donor::start().unwrap(),
        }
    }

    /// Runs it until it suspends or ends.
    fn resume(&mut self, carrier: &Carrier) -> Option<T> {
        let coroutine = &mut self.coroutine;
        // SAFETY: 1: the donor sleeps; 2: a routine is resumed by one thread; 3: a switch of stacks, and no
        // thread-local.
        match unsafe { carrier.run_under(self.donor.base(), || coroutine.resume(())) } {
            CoroutineResult::Yield(()) => None,
            CoroutineResult::Return(value) => Some(value),
        }
    }

    /// To its end, on this carrier.
    fn finish(mut self, carrier: &Carrier) -> T {
        loop {
            if let Some(value) = self.resume(carrier) {
                return value;
            }
        }
    }
}

/// A line of what the kernel says of a thread of this process.
fn status(thread_id: u32, field: &str) -> String {
    let path = format!("/proc/self/task/{thread_id}/status");
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap().trim().to_owned()
}

fn exists(thread_id: u32) -> bool {
    std::path::Path::new(&format!("/proc/self/task/{thread_id}")).exists()
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::yield_now();
    }
}

/// Ends a child process that hangs: by a signal, so that its parent's test fails. Long: an emulated machine
/// beside others that compute gets little done in a minute.
fn end_if_it_hangs() {
    // SAFETY: no memory is involved.
    unsafe { libc::alarm(240) };
}
