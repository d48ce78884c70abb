//! Waiting for one of several channels: what `select!` expands to.
//!
//! First each arm is tried in a random order, under its own lock alone: where something is ready, that
//! is all. Otherwise the arms are entered into their queues as one `Group`, and whoever completes one
//! of them ends the wait.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::cancel::{self, Cancelled};
use crate::channel::op::{RecvOp, SendOp};
use crate::channel::{Receiver, RecvError, SendError, Sender, deadline_in, report_cancel};
use crate::scheduler::explore;
use crate::scheduler::timers::NEVER;
use crate::scheduler::worker;
use crate::snapshot::WaitReason;
use crate::sync::wait::{self, Arm, Attempt, Group, Wait, Woken};
pub use crate::token::wait::{CancelledArm, cancelled};

/// Waits until one of several channel operations is done, and does that one alone.
///
/// ```
/// use openwork::{Runtime, channel, select, spawn};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(2).build().unwrap();
/// rt.block_on(|| {
///     let (numbers, rx) = channel::bounded(1);
///     let (tx, words) = channel::rendezvous();
///     spawn(move || numbers.send(7).unwrap());
///     spawn(move || words.recv());
///     for _ in 0..2 {
///         select! {
///             number = rx.recv() => assert!(matches!(number, Ok(7) | Err(_))),
///             sent = tx.send("word") => drop(sent),
///             after(Duration::from_secs(10)) => panic!("nobody came"),
///         }
///     }
/// });
/// ```
///
/// Arms are `pattern = receiver.recv() => body`, `pattern = sender.send(value) => body` and
/// `pattern = token.cancelled() => body`, where the pattern is irrefutable and gets the operation's
/// `Result`; that of a token is the one of [`CancelToken::wait`](crate::CancelToken::wait). One more may say what happens otherwise:
/// `default => body` if no arm is ready now, `after(duration) => body` if none becomes ready in time.
/// All bodies have one type; a body that is a block needs no comma.
///
/// ```
/// use openwork::{channel, select};
///
/// let (tx, rx) = channel::bounded(1);
/// let mut seen = Vec::new();
/// for _ in 0..3 {
///     let what = select! {
///         value = rx.recv() => value.unwrap(),
///         default => { "nothing" }
///     };
///     seen.push(what);
///     select! {
///         _ = tx.send("something") => {}
///         default => panic!("there was room"),
///     }
/// }
/// assert_eq!(seen, ["nothing", "something", "something"]);
/// ```
///
/// - **Fair**: among arms that are ready, each is as likely as the others.
/// - **Ready** is an arm that would not wait; so is one whose channel is closed. Leave it out of the
///   next `select!`.
/// - **Exclusive**: all receivers, senders, values and durations are evaluated first, in the order of
///   the arms; then one operation is done. What the others would have sent is dropped.
/// - **Nobody polls**: a routine blocks with reason `channel`, a plain thread sleeps. Not for async
///   code: there, select over [`recv_async`](crate::channel::Receiver::recv_async) with the macro of
///   your executor.
/// - **Cancelling**: a routine that was asked to end is told so through the first arm, once; then it
///   unwinds. While panicking, a wait without `after` is refused, through the first arm as well.
///
/// As many arms as you like; for more than some twenty, raise the crate's `recursion_limit`.
///
/// # Panics
/// If it would have to wait in a destructor that the scheduler itself runs.
#[macro_export]
macro_rules! select {
    // The arms are collected as [variable, its number, pattern, body], each variable named in an
    // expansion of its own, so that all of them differ; then one of them is run.
    (@arms $n:tt [$($arms:tt)*] default => $body:block $(,)?) => {
        $crate::select!(@run [$($arms)*] ($crate::select::Limit::now()) $body)
    };
    (@arms $n:tt [$($arms:tt)*] default => $body:expr $(,)?) => {
        $crate::select!(@run [$($arms)*] ($crate::select::Limit::now()) $body)
    };
    (@arms $n:tt [$($arms:tt)*] after($limit:expr) => $body:block $(,)?) => {
        $crate::select!(@run [$($arms)*] ($crate::select::Limit::after($limit)) $body)
    };
    (@arms $n:tt [$($arms:tt)*] after($limit:expr) => $body:expr $(,)?) => {
        $crate::select!(@run [$($arms)*] ($crate::select::Limit::after($limit)) $body)
    };
    (@arms $n:tt [$($arms:tt)*]) => {
        $crate::select!(@run [$($arms)*] ($crate::select::Limit::none()) {
            ::core::unreachable!("without a limit an arm is done")
        })
    };
    (@arms $n:tt [$($arms:tt)*] $pattern:pat_param = $($rest:tt)+) => {
        $crate::select!(@operation $n [$($arms)*] $pattern, [] $($rest)+)
    };

    // An operation's tokens up to its method.
    (@operation $n:tt [$($arms:tt)*] $p:pat_param, [$($end:tt)+] .recv() => $($rest:tt)+) => {
        $crate::select!(@body $n [$($arms)*] $p, ($crate::select::recv(&$($end)+)) $($rest)+)
    };
    (@operation $n:tt [$($arms:tt)*] $p:pat_param, [$($end:tt)+] .send($value:expr) => $($rest:tt)+) => {
        $crate::select!(@body $n [$($arms)*] $p, ($crate::select::send(&$($end)+, $value)) $($rest)+)
    };
    (@operation $n:tt [$($arms:tt)*] $p:pat_param, [$($end:tt)+] .cancelled() => $($rest:tt)+) => {
        $crate::select!(@body $n [$($arms)*] $p, ($crate::select::cancelled(&$($end)+)) $($rest)+)
    };
    (@operation $n:tt [$($arms:tt)*] $p:pat_param, [$($end:tt)*] $next:tt $($rest:tt)+) => {
        $crate::select!(@operation $n [$($arms)*] $p, [$($end)* $next] $($rest)+)
    };

    (@body ($n:expr) [$($arms:tt)*] $p:pat_param, $op:tt $body:block , $($rest:tt)*) => {
        $crate::select!(@arms ($n + 1) [$($arms)* [arm ($n) $op ($p) $body]] $($rest)*)
    };
    (@body ($n:expr) [$($arms:tt)*] $p:pat_param, $op:tt $body:block $($rest:tt)*) => {
        $crate::select!(@arms ($n + 1) [$($arms)* [arm ($n) $op ($p) $body]] $($rest)*)
    };
    (@body ($n:expr) [$($arms:tt)*] $p:pat_param, $op:tt $body:expr) => {
        $crate::select!(@arms ($n + 1) [$($arms)* [arm ($n) $op ($p) $body]])
    };
    (@body ($n:expr) [$($arms:tt)*] $p:pat_param, $op:tt $body:expr , $($rest:tt)*) => {
        $crate::select!(@arms ($n + 1) [$($arms)* [arm ($n) $op ($p) $body]] $($rest)*)
    };

    (@run [$([$arm:ident ($n:expr) ($op:expr) ($pattern:pat_param) $body:expr])*] ($limit:expr) $else:expr) => {{
        $(let $arm = $op;)*
        #[allow(unused_variables, reason = "when there is no arm but the limit")]
        let outcome = $crate::select::select([$($arm.as_arm()),*], $limit);
        $(if outcome.is($n) {
            let $pattern = $arm.finish(outcome);
            $body
        } else)* {
            $else
        }
    }};

    () => {
        ::core::compile_error!("`select!` needs an arm")
    };
    ($($arms:tt)+) => {
        $crate::select!(@arms (0usize) [] $($arms)+)
    };
}

/// A receive of a `select!`.
#[derive(Debug)]
pub struct RecvArm<'a, T>(RecvOp<'a, T>);

/// A send of a `select!`.
#[derive(Debug)]
pub struct SendArm<'a, T>(SendOp<'a, T>);

/// An arm, of any type of values.
pub struct AnyArm<'a>(&'a dyn Arm);

/// How long a `select!` waits.
#[derive(Clone, Copy, Debug)]
pub struct Limit(Until);

#[derive(Clone, Copy, Debug)]
enum Until {
    Now,
    /// Nanoseconds since process start, or [`NEVER`].
    At(u64),
}

/// Which arm of a `select!` it is to be, and why.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// `None` for what happens otherwise.
    arm: Option<usize>,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Done,
    Cancelled,
    Refused,
}

impl Limit {
    /// `default`.
    pub fn now() -> Limit {
        Limit(Until::Now)
    }

    /// `after(duration)`.
    pub fn after(duration: Duration) -> Limit {
        Limit(Until::At(deadline_in(duration)))
    }

    /// Neither.
    pub fn none() -> Limit {
        Limit(Until::At(NEVER))
    }
}

impl Outcome {
    /// Whether it is this arm.
    pub fn is(self, arm: usize) -> bool {
        self.arm == Some(arm)
    }
}

/// Makes a receive an arm.
pub fn recv<T>(rx: &Receiver<T>) -> RecvArm<'_, T> {
    RecvArm(RecvOp::new(rx.chan()))
}

/// Makes a send an arm.
pub fn send<T>(tx: &Sender<T>, value: T) -> SendArm<'_, T> {
    SendArm(SendOp::new(tx.chan(), value))
}

impl<T> RecvArm<'_, T> {
    /// For [`select`].
    pub fn as_arm(&self) -> AnyArm<'_> {
        AnyArm(&self.0)
    }

    /// The operation's result, if this is the arm of the outcome.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    pub fn finish(mut self, outcome: Outcome) -> Result<T, RecvError> {
        match outcome.verdict {
            Verdict::Done => self.0.finish(),
            Verdict::Cancelled => Err(RecvError::Cancelled),
            Verdict::Refused => Err(RecvError::Refused),
        }
    }
}

impl<T> SendArm<'_, T> {
    /// For [`select`].
    pub fn as_arm(&self) -> AnyArm<'_> {
        AnyArm(&self.0)
    }

    /// The operation's result, if this is the arm of the outcome.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn finish(mut self, outcome: Outcome) -> Result<(), SendError<T>> {
        if outcome.verdict == Verdict::Done {
            return self.0.finish();
        }
        let value = self.0.take().expect("not sent");
        Err(match outcome.verdict {
            Verdict::Refused => SendError::Refused(value),
            _ => SendError::Cancelled(value),
        })
    }
}

impl std::fmt::Debug for AnyArm<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnyArm").finish_non_exhaustive()
    }
}

/// Does one of the arms.
pub fn select<const N: usize>(arms: [AnyArm<'_>; N], limit: Limit) -> Outcome {
    explore::point();
    let arms = arms.map(|arm| arm.0);
    if let Err(Cancelled) = report_cancel() {
        return told::<N>(Verdict::Cancelled);
    }
    let preference = shuffled::<N>();
    for &number in &preference {
        if try_alone(arms[number]) {
            return Outcome {
                arm: Some(number),
                verdict: Verdict::Done,
            };
        }
    }
    let Until::At(deadline) = limit.0 else {
        return Outcome {
            arm: None,
            verdict: Verdict::Done,
        };
    };
    let wait = Wait::new();
    let group = Group::new(arms, &wait, preference);
    let arm = match wait::sleep(&group, WaitReason::Channel, deadline, "select!") {
        Woken::Done(number) => Some(number),
        Woken::TimedOut => None,
        Woken::Cancelled => return told::<N>(Verdict::Cancelled),
        Woken::Refused => return told::<N>(Verdict::Refused),
    };
    Outcome {
        arm,
        verdict: Verdict::Done,
    }
}

/// The first arm says why there is nothing. Without one, a cancel unwinds.
fn told<const N: usize>(verdict: Verdict) -> Outcome {
    if N == 0 {
        cancel::raise_if_asked();
    }
    Outcome {
        arm: (N > 0).then_some(0),
        verdict,
    }
}

fn try_alone(arm: &dyn Arm) -> bool {
    arm.lock().acquire();
    // SAFETY: 1: the lock is ours between these lines, and no arm is entered yet.
    let attempt = unsafe {
        let attempt = arm.attempt();
        arm.lock().release();
        attempt
    };
    match attempt {
        Attempt::Done(rouse) => {
            if let Some(rouse) = rouse {
                rouse.rouse();
            }
            true
        }
        Attempt::Wait => false,
    }
}

/// The numbers below `N`, each order as likely as the others (Fisher and Yates). Where several arms are
/// ready, the first one of such an order is each of them with the same chance; a mere rotation would
/// favour those that come after one that is not ready.
fn shuffled<const N: usize>() -> [usize; N] {
    let mut order: [usize; N] = std::array::from_fn(|i| i);
    if N > 1 {
        let mut bits = random();
        for last in (1..N).rev() {
            // The high half of the product: a bias of at most N in 2^32.
            let pick = ((bits >> 32) * (last as u64 + 1)) >> 32;
            order.swap(last, pick as usize);
            bits = mix(bits);
        }
    }
    order
}

/// From the worker's own generator; plain threads share one.
fn random() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    let of_worker = worker::with_core(|core| core.map(|core| core.next_random()));
    mix(of_worker.unwrap_or_else(|| THREADS.fetch_add(1, Relaxed)))
}

/// The output function of splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
/// Generators, 2014).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
