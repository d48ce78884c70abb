//! What the tests that try to break the runtime share: values that count their drops, gates to wait
//! at, a watchdog that dumps all routines, random numbers from a printed seed.

#![allow(dead_code)]

use std::future::Future;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, Once};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use openwork::config::{Placement, Preemption, StealAmount, VictimOrder};
use openwork::snapshot::{GuardMode, HomeVersion, IoBackend, RoutineState};
use openwork::{Handle, RoutineId, Runtime, RuntimeBuilder, spawn_future};

/// A runtime that is not seen by the watchdog.
pub(crate) fn runtime(workers: usize) -> Runtime {
    runtime_with(workers, io_backends()[0])
}

/// As [`runtime`], with a back end for sockets.
pub(crate) fn runtime_with(workers: usize, io: IoBackend) -> Runtime {
    let builder = Runtime::builder().workers(workers).io_backend(io);
    switched(builder).build().unwrap()
}

/// As `OPENWORK_TEST_SWITCH` has it, with which `runtime/tests/switches.sh` runs the suite once for each of these.
pub(crate) fn switched(builder: RuntimeBuilder) -> RuntimeBuilder {
    let Ok(switch) = std::env::var("OPENWORK_TEST_SWITCH") else {
        return builder;
    };
    match &*switch {
        "hand_off" => builder.hand_off(true),
        "forced" => builder
            .preemption(Preemption::Forced)
            .slice(Duration::from_millis(1)),
        "mprotect" => builder.guard(GuardMode::Mprotect),
        "balance" => builder
            .placement(Placement::LeastLoaded)
            .victims(VictimOrder::MostLoaded)
            .steal(StealAmount::Adaptive)
            .rebalance(true),
        _ => panic!("OPENWORK_TEST_SWITCH: there is no switch {switch}"),
    }
}

/// What tests of sockets try, the default first. `OPENWORK_TEST_IO` is `epoll` or `io_uring`, to try
/// all of them with that one.
pub(crate) fn io_backends() -> Vec<IoBackend> {
    let all = [IoBackend::Epoll, IoBackend::Uring];
    match std::env::var("OPENWORK_TEST_IO") {
        Err(_) => all.to_vec(),
        Ok(asked) => {
            let one = all.into_iter().find(|backend| backend.name() == asked);
            vec![one.expect("OPENWORK_TEST_IO names a back end")]
        }
    }
}

/// Panics on workers' threads are on purpose here and say nothing.
pub(crate) fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let on_purpose = thread::current()
                .name()
                .is_some_and(|name| name.starts_with("openwork-"));
            if !on_purpose || std::env::var_os("OPENWORK_TEST_LOUD").is_some() {
                usual(info);
            }
        }));
    });
}

/// A runtime with travelling homes; `None`, and a word, where there are none.
pub(crate) fn travelling(test: &str, workers: usize, homes: usize) -> Option<(Watchdog, Runtime)> {
    let builder = Runtime::builder().workers(workers);
    travelling_with(test, builder.travelling_homes(homes))
}

/// As [`travelling`], with what else the test needs.
pub(crate) fn travelling_with(test: &str, builder: RuntimeBuilder) -> Option<(Watchdog, Runtime)> {
    let rt = builder.build().unwrap();
    let figures = rt.snapshot().homes;
    if figures.version != HomeVersion::Travelling {
        eprintln!("skipped: {}", figures.reason);
        return None;
    }
    let watchdog = Watchdog::new(test);
    watchdog.watch(test, &rt.handle());
    Some((watchdog, rt))
}

/// The signals that the calling thread blocks.
pub(crate) fn blocked_signals() -> Vec<libc::c_int> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is written before it is read.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr());
        (1..=64)
            .filter(|&signal| libc::sigismember(set.as_ptr(), signal) == 1)
            .collect()
    }
}

/// Ends the process with a dump of all routines when a test does not get on: a lost wake-up shows as
/// a hang, and a hang should say who waits for what.
pub(crate) struct Watchdog {
    watched: Arc<Mutex<(String, Option<Handle>)>>,
    alive: mpsc::Sender<()>,
}

impl Watchdog {
    /// Far more than any test here needs on a loaded machine from one [`watch`](Self::watch) to the next.
    const PATIENCE: Duration = Duration::from_secs(240);

    pub(crate) fn new(test: &str) -> Watchdog {
        quiet_panics();
        let watched = Arc::new(Mutex::new((test.to_owned(), None::<Handle>)));
        let (alive, dead) = mpsc::channel::<()>();
        let seen = watched.clone();
        thread::spawn(move || {
            loop {
                match dead.recv_timeout(Self::PATIENCE) {
                    Ok(()) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                    Err(mpsc::RecvTimeoutError::Timeout) => break,
                }
            }
            let watched = seen.lock().unwrap();
            eprintln!("watchdog: {} does not end", watched.0);
            if let Some(handle) = &watched.1 {
                eprintln!("{:#?}", handle.snapshot());
                handle.routines(&mut |view| eprintln!("{view:?}"));
            }
            std::process::abort();
        });
        Watchdog { watched, alive }
    }

    /// Says what is done now, and on which runtime. What was done before has come to its end.
    pub(crate) fn watch(&self, what: &str, handle: &Handle) {
        *self.watched.lock().unwrap() = (what.to_owned(), Some(handle.clone()));
        let _ = self.alive.send(());
    }
}

/// Waits until `so`, which some other thread is about to make true.
#[track_caller]
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(
            began.elapsed() < Watchdog::PATIENCE / 2,
            "still not so: {what}"
        );
        thread::yield_now();
    }
}

/// Waits until the routine is blocked. Snapshots count it as that a moment before its own state says so.
#[track_caller]
pub(crate) fn until_blocked(handle: &Handle, id: RoutineId) {
    until("it is blocked", || {
        let view = handle.routine(id);
        view.is_some_and(|view| matches!(view.state, RoutineState::Blocked(_)))
    });
}

/// Tries with more and more time, from `first` on, until what is tried has come in time: `None` says that it has not.
#[track_caller]
pub(crate) fn in_time<T>(first: Duration, mut attempt: impl FnMut(Duration) -> Option<T>) -> T {
    let times = (0..12).map(|doubled| first * (1 << doubled));
    times
        .into_iter()
        .find_map(&mut attempt)
        .expect("it comes in time when there is much of it")
}

/// Marsaglia's xorshift; the seed is printed and can be given as `OPENWORK_TEST_SEED`.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(test: &str) -> Random {
        let seed = match std::env::var("OPENWORK_TEST_SEED") {
            Ok(text) => text.parse().expect("a number"),
            Err(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_nanos() as u64,
        };
        println!("{test}: to repeat, set OPENWORK_TEST_SEED={seed}");
        Random(seed | 1)
    }

    pub(crate) fn from(seed: u64) -> Random {
        Random(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Who was made and who was dropped.
#[derive(Default)]
pub(crate) struct Ledger {
    drops: Mutex<Vec<Arc<AtomicU32>>>,
}

/// A value that must be dropped once.
pub(crate) struct Token {
    dropped: Arc<AtomicU32>,
    bad: bool,
}

impl Ledger {
    pub(crate) fn new() -> Arc<Ledger> {
        Arc::default()
    }

    pub(crate) fn token(&self) -> Token {
        self.make(false)
    }

    /// A token whose destructor panics, unless a panic is under way.
    pub(crate) fn bad_token(&self) -> Token {
        self.make(true)
    }

    fn make(&self, bad: bool) -> Token {
        let dropped = Arc::new(AtomicU32::new(0));
        self.drops.lock().unwrap().push(dropped.clone());
        Token { dropped, bad }
    }

    /// Every token was dropped, and none twice.
    #[track_caller]
    pub(crate) fn check(&self, what: &str) {
        for (index, drops) in self.drops.lock().unwrap().iter().enumerate() {
            assert_eq!(drops.load(SeqCst), 1, "drops of token {index}: {what}");
        }
    }

    /// As [`check`](Self::check), for what another thread is about to drop.
    #[track_caller]
    pub(crate) fn check_soon(&self, what: &str) {
        until(what, || {
            let drops = self.drops.lock().unwrap();
            drops.iter().all(|drops| drops.load(SeqCst) > 0)
        });
        self.check(what);
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, SeqCst);
        if self.bad && !thread::panicking() {
            std::panic::panic_any("a destructor's panic, on purpose");
        }
    }
}

/// Drops what may hold a bad token.
pub(crate) fn drop_quietly<T>(value: T) {
    let _ = catch_unwind(AssertUnwindSafe(move || drop(value)));
}

/// Something to wait for: from routines, futures and threads.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(AtomicBool, Mutex<Vec<Waker>>)>);

impl Gate {
    pub(crate) fn new() -> Gate {
        Gate::default()
    }

    pub(crate) fn open(&self) {
        let wakers = {
            let mut wakers = self.0.1.lock().unwrap();
            self.0.0.store(true, SeqCst);
            std::mem::take(&mut *wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.0.load(SeqCst)
    }

    pub(crate) fn future(&self) -> GateFuture {
        GateFuture(self.clone())
    }

    /// Blocks the calling routine.
    pub(crate) fn wait(&self) {
        while !self.is_open() {
            // Cancelled before we are, at a shutdown: then our own cancel ends the next join.
            let _ = spawn_future(self.future()).join();
        }
    }

    /// Keeps the calling thread, and so the worker, busy.
    pub(crate) fn spin(&self) {
        until("the gate is open", || self.is_open());
    }
}

pub(crate) struct GateFuture(Gate);

impl Future for GateFuture {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut wakers = self.0.0.1.lock().unwrap();
        if self.0.is_open() {
            return Poll::Ready(());
        }
        wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

/// Runs a future on this thread: somebody else's executor.
pub(crate) fn run_here<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Polls once with a waker that does nothing.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// This test's own program, to be run once more; by what `OPENWORK_TEST_RUNNER` names, an emulator and its
/// arguments, where this machine cannot run it.
pub(crate) fn this_binary() -> std::process::Command {
    let binary = std::env::current_exe().unwrap();
    let runner = std::env::var("OPENWORK_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(emulator) = words.next() else {
        return std::process::Command::new(binary);
    };
    let mut command = std::process::Command::new(emulator);
    command.args(words).arg(binary);
    command
}
