//! Both runtimes as one value, and their end.

use std::io;
use std::thread;
use std::time::Duration;

use openwork::channel::{self, Sender};
use openwork::{Remaining, Runtime};

use crate::Bridge;

/// A runtime of routines and one of tokio that live and end together.
///
/// **The end has an order.** First the routines: they drain and are cancelled while tokio still drives its
/// timers and sockets, because a routine that waits for one would otherwise never be woken. A task that
/// awaits a routine gets its result, or learns that it was cancelled. Then tokio: its tasks are dropped. What
/// brings in new work (an accepting task, say) is yours to stop before: a routine spawned after
/// [`shutdown`](Self::shutdown) has begun is cancelled at birth.
///
/// Dropping it does the same without time to drain.
#[derive(Debug)]
pub struct Pair {
    bridge: Bridge,
    // In this order, which is that of their drop.
    routines: Option<Runtime>,
    driver: Driver,
}

/// The thread that drives tokio: one of the `current_thread` kind runs only there.
#[derive(Debug)]
struct Driver {
    stop: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<tokio::runtime::Runtime>>,
}

impl Pair {
    /// Takes both and starts the thread that drives tokio's.
    ///
    /// # Errors
    /// If the system refuses the thread. Both runtimes have ended then.
    pub fn new(routines: Runtime, tokio: tokio::runtime::Runtime) -> io::Result<Pair> {
        let bridge = Bridge::new(routines.handle(), tokio.handle().clone());
        let (stop, stopped) = channel::bounded::<()>(1);
        let thread = thread::Builder::new()
            .name("openwork-tokio".to_owned())
            .spawn(move || {
                // Over when the sender is dropped.
                let _ = tokio.block_on(stopped.recv_async());
                tokio
            })?;
        Ok(Pair {
            bridge,
            routines: Some(routines),
            driver: Driver {
                stop: Some(stop),
                thread: Some(thread),
            },
        })
    }

    /// Both handles, to be cloned.
    pub fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// Ends the routines as [`Runtime::shutdown`] does, then tokio. Calls on tokio's blocking threads are
    /// waited for no longer than `deadline`.
    ///
    /// # Errors
    /// As [`Runtime::shutdown`]. Tokio has ended nevertheless.
    ///
    /// # Panics
    /// If called by a routine of this runtime, or by a task.
    pub fn shutdown(mut self, deadline: Duration) -> Result<(), Remaining> {
        let routines = self.routines.take().expect("taken here alone");
        let ended = routines.shutdown(deadline);
        if let Some(tokio) = self.driver.end() {
            tokio.shutdown_timeout(deadline);
        }
        ended
    }
}

impl Driver {
    /// Stops the thread, and gives back what it drove.
    fn end(&mut self) -> Option<tokio::runtime::Runtime> {
        self.stop = None;
        // A panic of tokio's own loop has been reported by its hook.
        self.thread.take()?.join().ok()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(tokio) = self.end() {
            tokio.shutdown_background();
        }
    }
}
