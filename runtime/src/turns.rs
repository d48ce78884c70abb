//! Turn loops: futures written as a function from state to "what next".

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::scheduler::threads;
use crate::time::{self, Sleep};

/// What a turn loop wants next; returned by the function given to
/// [`spawn_turns`](crate::spawn_turns).
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// # rt.block_on(|| {
/// use openwork::{Turn, spawn_turns};
/// use std::time::Duration;
/// let rounds = spawn_turns(0, |rounds| {
///     *rounds += 1;
///     match *rounds {
///         1 => Turn::Again,
///         2 => Turn::Sleep(Duration::from_millis(1)),
///         3 => Turn::Wait(Box::pin(std::future::ready(()))),
///         _ => Turn::Done(*rounds),
///     }
/// });
/// assert_eq!(rounds.join().unwrap(), 4);
/// # });
/// ```
pub enum Turn<T> {
    /// Another turn. Others that wait come first.
    Again,
    /// This is the result.
    Done(T),
    /// Another turn after this time.
    Sleep(Duration),
    /// Another turn when this is ready.
    Wait(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl<T: fmt::Debug> fmt::Debug for Turn<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Turn::Again => f.write_str("Again"),
            Turn::Done(value) => f.debug_tuple("Done").field(value).finish(),
            Turn::Sleep(duration) => f.debug_tuple("Sleep").field(duration).finish(),
            Turn::Wait(_) => f.write_str("Wait(..)"),
        }
    }
}

/// What stands between two turns.
enum Between {
    Nothing,
    Sleep(Sleep),
    Wait(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// The future behind a turn loop.
pub(crate) struct TurnLoop<S, F> {
    state: S,
    step: F,
    between: Between,
}

impl<S, F> TurnLoop<S, F> {
    pub(crate) fn new(state: S, step: F) -> TurnLoop<S, F> {
        TurnLoop {
            state,
            step,
            between: Between::Nothing,
        }
    }
}

// Neither state nor function is ever pinned: the loop only borrows them for a call.
impl<S, F> Unpin for TurnLoop<S, F> {}

impl<S, T, F: FnMut(&mut S) -> Turn<T>> Future for TurnLoop<S, F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        loop {
            let waited = match &mut this.between {
                Between::Nothing => Poll::Ready(()),
                Between::Sleep(sleep) => Pin::new(sleep).poll(cx),
                Between::Wait(future) => future.as_mut().poll(cx),
            };
            if waited.is_pending() {
                return Poll::Pending;
            }
            this.between = Between::Nothing;
            match (this.step)(&mut this.state) {
                Turn::Again => {
                    threads::with_slot(|slot| {
                        slot.expect("a turn loop runs on a worker").set_again();
                    });
                    return Poll::Pending;
                }
                Turn::Done(value) => return Poll::Ready(value),
                Turn::Sleep(duration) => this.between = Between::Sleep(time::after(duration)),
                Turn::Wait(future) => this.between = Between::Wait(future),
            }
        }
    }
}
