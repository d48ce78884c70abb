//! Both runtimes' handles together.

use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::task::{Context, Poll};

use openwork::hold_thread;
use tokio::task;

use crate::io::{Async, Blocking, Ours};
use crate::{InTokio, Running};

/// Handles to a runtime of routines and to one of tokio; cheap to clone. Keeps neither running; see
/// [`Pair`](crate::Pair).
#[derive(Clone, Debug)]
pub struct Bridge {
    routines: openwork::Handle,
    tokio: tokio::runtime::Handle,
}

impl Bridge {
    /// Joins two runtimes that somebody else owns.
    ///
    /// A tokio runtime of the `current_thread` kind must be driven by a thread that is in its `block_on`:
    /// otherwise its timers and sockets wake nobody. [`Pair`](crate::Pair) sees to that.
    pub fn new(routines: openwork::Handle, tokio: tokio::runtime::Handle) -> Bridge {
        Bridge { routines, tokio }
    }

    /// The runtime of routines.
    pub fn routines(&self) -> &openwork::Handle {
        &self.routines
    }

    /// Tokio's runtime.
    pub fn tokio(&self) -> &tokio::runtime::Handle {
        &self.tokio
    }

    /// Waits for a future that needs tokio around it.
    ///
    /// A routine blocks, of whichever runtime, and the future is polled on its stack: it need not be `Send`,
    /// and may borrow. A poll that calls what blocks a routine keeps its thread meanwhile (see
    /// [`hold_thread`]): tokio's context is entered during it, and such entries must nest on a thread. On a
    /// plain thread this is [`Handle::block_on`](tokio::runtime::Handle::block_on).
    ///
    /// # Panics
    /// As [`openwork::block_on`]; and within a tokio task, where nothing may block.
    pub fn block_on<F: IntoFuture>(&self, future: F) -> F::Output {
        if openwork::current().is_some() {
            openwork::block_on(self.in_tokio(future))
        } else {
            self.tokio.block_on(future.into_future())
        }
    }

    /// As [`block_on`](Self::block_on), without a box.
    pub(crate) fn poll_on<T>(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        if openwork::current().is_some() {
            openwork::block_on(poll_fn(|cx| {
                hold_thread(|| {
                    let _entered = self.tokio.enter();
                    poll(cx)
                })
            }))
        } else {
            self.tokio.block_on(poll_fn(poll))
        }
    }

    /// The future, polled and dropped within tokio's context: for
    /// [`spawn_future`](openwork::spawn_future), or to be awaited together with others.
    ///
    /// ```
    /// # let routines = openwork::Runtime::builder().workers(1).build().unwrap();
    /// # let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # let pair = openwork_tokio::Pair::new(routines, tokio).unwrap();
    /// let bridge = pair.bridge();
    /// let sleep = bridge.in_tokio(async { tokio::time::sleep(std::time::Duration::from_millis(1)).await });
    /// bridge.routines().spawn_future(sleep).join().unwrap();
    /// ```
    pub fn in_tokio<F: IntoFuture>(&self, future: F) -> InTokio<F::IntoFuture> {
        InTokio::new(self.tokio.clone(), future.into_future())
    }

    /// Spawns a routine; see [`openwork::spawn`]. Its handle is a future: a task may await it. Dropping
    /// that lets the routine go on.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> openwork::JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.routines.spawn(f)
    }

    /// Runs `f` as a routine, to be awaited by a task. Dropping the future aborts the routine.
    #[track_caller]
    pub fn run<F, T>(&self, f: F) -> Running<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Running::new(self.routines.spawn(f))
    }

    /// Spawns a task on tokio. Its handle is a future: a routine awaits it by
    /// [`openwork::block_on`].
    pub fn spawn_task<F>(&self, future: F) -> task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tokio.spawn(future)
    }

    /// A socket or a pipe of ours, for tokio's tasks: it implements `AsyncRead` and `AsyncWrite`.
    ///
    /// # Errors
    /// If the poller cannot watch it.
    pub fn asynchronous<S: Ours>(&self, stream: S) -> io::Result<Async<S>> {
        Async::new(&self.routines, stream)
    }

    /// A stream of bytes of tokio's, for routines: it implements [`std::io::Read`] and
    /// [`Write`](std::io::Write).
    pub fn blocking<S>(&self, stream: S) -> Blocking<S> {
        Blocking::new(self.clone(), stream)
    }
}
