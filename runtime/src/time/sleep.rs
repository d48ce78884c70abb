//! Sleeping in async code.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::scheduler::threads;
use crate::scheduler::timers::{self, Registration};
use crate::snapshot::WaitReason;
use crate::time;

/// A future that is ready at a moment; made by [`after`] and [`until`].
///
/// ```
/// use openwork::{Runtime, time::{self, Sleep}};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let nap: Sleep = time::after(Duration::from_millis(1));
/// rt.spawn_future(nap).join().unwrap();
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    at: u64,
    registration: Option<Registration>,
}

/// A future that is ready after `duration`, on any executor.
///
/// ```
/// use openwork::{Runtime, spawn_future, time};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// rt.spawn_future(async {
///     time::after(Duration::from_millis(1)).await;
/// })
/// .join()
/// .unwrap();
/// ```
pub fn after(duration: Duration) -> Sleep {
    Sleep::to(time::deadline(duration))
}

/// A future that is ready when `at` has come, on any executor.
///
/// ```
/// use openwork::{Runtime, time};
/// use std::time::{Duration, Instant};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let at = Instant::now() + Duration::from_millis(1);
/// rt.spawn_future(time::until(at)).join().unwrap();
/// assert!(Instant::now() >= at);
/// ```
pub fn until(at: Instant) -> Sleep {
    Sleep::to(time::ns_of(at))
}

impl Sleep {
    /// Until so many nanoseconds after process start.
    pub(super) fn to(at: u64) -> Sleep {
        Sleep {
            at,
            registration: None,
        }
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The moment at which it is ready.
    ///
    /// ```
    /// use openwork::time;
    /// use std::time::{Duration, Instant};
    ///
    /// let at = Instant::now() + Duration::from_secs(1);
    /// assert_eq!(time::until(at).deadline(), at);
    /// ```
    pub fn deadline(&self) -> Instant {
        time::instant_of(self.at)
    }

    /// Whether the moment has come.
    ///
    /// ```
    /// use openwork::time;
    ///
    /// assert!(time::until(std::time::Instant::now()).is_elapsed());
    /// ```
    pub fn is_elapsed(&self) -> bool {
        time::now_ns() >= self.at
    }

    /// Chooses another moment, also after this one has come. A task that waits need not poll again to be
    /// woken then.
    ///
    /// ```
    /// use openwork::{Runtime, time};
    /// use std::time::{Duration, Instant};
    ///
    /// let mut idle = time::after(Duration::from_secs(3600));
    /// idle.reset(Instant::now() + Duration::from_millis(1));
    /// Runtime::builder().workers(1).build().unwrap().spawn_future(idle).join().unwrap();
    /// ```
    pub fn reset(&mut self, at: Instant) {
        self.reset_to(time::ns_of(at));
    }

    pub(super) fn reset_to(&mut self, at: u64) {
        self.at = at;
        if let Some(registration) = self.registration.take() {
            self.registration = Some(timers::register(at, registration.waker()));
        }
    }
}

impl Future for Sleep {
    type Output = ();

    /// # Panics
    /// If the deadline must be kept outside workers, and the system refuses the process the thread for
    /// it.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_elapsed() {
            self.registration = None;
            return Poll::Ready(());
        }
        let known = self.registration.as_ref();
        if !known.is_some_and(|registration| registration.wakes(cx.waker())) {
            self.registration = Some(timers::register(self.at, cx.waker()));
        }
        threads::poll_waits(WaitReason::Sleep);
        Poll::Pending
    }
}
