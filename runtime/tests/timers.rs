//! Deadlines: served in order and not before their time, taken back when a wait ends early, kept for
//! tasks on any executor. Where the order of events matters, the clock is virtual.

mod support;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use openwork::deterministic;
use openwork::snapshot::TimerFigures;
use openwork::time::{self, Elapsed, MissedTickBehavior};
use openwork::{
    Cancelled, Handle, Runtime, Turn, channel, scope, select, spawn, spawn_future, spawn_turns,
};
use support::{Gate, Ledger, Random, Watchdog, in_time, poll_once, run_here, runtime, until};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(1);

/// The deadlines of all workers together.
fn figures(handle: &Handle) -> TimerFigures {
    let workers = handle.snapshot().workers;
    let mut sum = TimerFigures::default();
    for worker in workers {
        sum.pending += worker.timers.pending;
        sum.served += worker.timers.served;
        sum.cancelled += worker.timers.cancelled;
        sum.late_max_ns = sum.late_max_ns.max(worker.timers.late_max_ns);
    }
    sum
}

/// Counts how often a task was woken.
#[derive(Default)]
struct Woken(AtomicU64);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Woken {
    fn count(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Each wait with a deadline that ends early takes its entry back. Breaks if one of the ways out of a
/// wait forgets it.
#[test]
fn waits_that_end_early_leave_nothing() {
    const WAITS: u64 = 1000;
    let watchdog = Watchdog::new("waits_that_end_early_leave_nothing");
    let rt = runtime(2);
    let handle = rt.handle();
    watchdog.watch("answers", &handle);
    rt.block_on(|| {
        let (ask, asked) = channel::rendezvous();
        let (answer, answered) = channel::rendezvous();
        spawn(move || asked.iter().for_each(|i: u64| answer.send(i).unwrap())).detach();
        for i in 0..WAITS {
            ask.send(i).unwrap();
            assert_eq!(answered.recv_timeout(LONG), Ok(i));
        }
        for i in 0..WAITS {
            ask.send(i).unwrap();
            select! {
                value = answered.recv() => assert_eq!(value, Ok(i)),
                after(LONG) => panic!("an hour"),
            }
        }
    });
    assert_eq!(figures(&handle).pending, 0);

    watchdog.watch("aborts", &handle);
    rt.block_on(|| {
        let (_tx, rx) = channel::bounded::<()>(1);
        for kind in 0..100 {
            let rx = rx.clone();
            let doomed = match kind % 4 {
                0 => spawn(|| time::sleep(LONG)),
                1 => spawn(move || assert!(rx.recv_timeout(LONG).is_err())),
                2 => spawn_future(time::after(LONG)),
                _ => spawn_turns((), |()| Turn::Sleep(LONG)),
            };
            openwork::yield_now();
            doomed.abort();
            assert!(doomed.join().is_err());
        }
    });
    until("no deadline is left", || figures(&handle).pending == 0);

    watchdog.watch("futures that are dropped", &handle);
    let (_tx, rx) = channel::bounded::<()>(1);
    let dropped = rt.spawn_future(async move {
        for _ in 0..100 {
            assert!(poll_once(&mut time::after(LONG)).is_pending());
            let mut limited = time::timeout(LONG, Box::pin(rx.recv_async()));
            assert!(poll_once(&mut limited).is_pending());
            let tick = channel::tick(LONG);
            assert!(poll_once(&mut Box::pin(tick.recv_async())).is_pending());
        }
    });
    dropped.join().unwrap();
    assert_eq!(figures(&handle).pending, 0);
    assert!(figures(&handle).cancelled > 0);
    rt.shutdown(LONG).unwrap();
}

/// At rest, what was added was served or taken back.
#[test]
fn each_deadline_is_served_or_taken_back() {
    const SLEEPERS: u64 = 2000;
    let watchdog = Watchdog::new("each_deadline_is_served_or_taken_back");
    let mut random = Random::new("each_deadline_is_served_or_taken_back");
    let rt = runtime(2);
    let handle = rt.handle();
    watchdog.watch("sleepers", &handle);
    let early = AtomicU64::new(0);
    rt.block_on(|| {
        scope(|s| {
            for _ in 0..SLEEPERS {
                let pause = Duration::from_nanos(random.below(20_000_000));
                let early = &early;
                s.spawn(move || {
                    let began = Instant::now();
                    time::sleep(pause);
                    if began.elapsed() < pause {
                        early.fetch_add(1, SeqCst);
                    }
                });
            }
        });
    });
    assert_eq!(early.load(SeqCst), 0, "woken before their time");
    let figures = figures(&handle);
    assert_eq!((figures.pending, figures.cancelled), (0, 0));
    // A few may have found their time over before they blocked.
    assert!(figures.served <= SLEEPERS && figures.served > 0);
    assert!(figures.late_max_ns > 0);
}

/// In virtual time sleepers wake in the order of their deadlines, whatever the schedule.
#[test]
fn sleepers_wake_in_order_of_deadline() {
    let _watchdog = Watchdog::new("sleepers_wake_in_order_of_deadline");
    deterministic::explore(200, || {
        let woken = Arc::new(Mutex::new(Vec::new()));
        let start = time::now();
        let sleepers: Vec<_> = [7u32, 3, 9, 1, 3, 8, 2]
            .into_iter()
            .map(|hours| {
                let (woken, at) = (woken.clone(), start + hours * LONG);
                spawn(move || {
                    match hours % 3 {
                        0 => time::sleep_until(at),
                        1 => time::try_sleep_until(at).unwrap(),
                        _ => spawn_future(time::until(at)).join().unwrap(),
                    }
                    assert!(time::now() >= at);
                    woken.lock().unwrap().push(hours);
                })
            })
            .collect();
        sleepers.into_iter().for_each(|s| s.join().unwrap());
        assert_eq!(*woken.lock().unwrap(), [1, 2, 3, 3, 7, 8, 9]);
    });
}

/// A deadline that was taken back does not make the clock jump to it, nor end a later wait.
#[test]
fn a_deadline_taken_back_ends_no_other_wait() {
    let _watchdog = Watchdog::new("a_deadline_taken_back_ends_no_other_wait");
    deterministic::explore(300, || {
        let (tx, rx) = channel::bounded(1);
        let start = time::now();
        spawn(move || {
            for i in 0..5 {
                time::sleep(LONG / 2);
                tx.send(i).unwrap();
            }
            time::sleep(10 * LONG);
        })
        .detach();
        for i in 0..5 {
            assert_eq!(rx.recv_timeout(LONG), Ok(i));
        }
        let before = time::now();
        assert!(before < start + 3 * LONG);
        assert!(rx.recv_timeout(2 * LONG).is_err());
        assert!(time::now() >= before + 2 * LONG);
    });
}

/// The three answers to missed ticks, in a program.
#[test]
fn an_interval_keeps_its_rhythm() {
    let _watchdog = Watchdog::new("an_interval_keeps_its_rhythm");
    for (missed, expected) in [
        (MissedTickBehavior::Burst, [0, 1, 2, 3, 4, 5]),
        (MissedTickBehavior::Delay, [0, 1, 4, 5, 6, 7]),
        (MissedTickBehavior::Skip, [0, 1, 4, 5, 6, 7]),
    ] {
        deterministic::explore(20, move || {
            let start = time::now() + LONG;
            let mut rhythm = time::interval_at(start, LONG);
            rhythm.set_missed_tick_behavior(missed);
            let hour = |at: Instant| at.duration_since(start).as_secs() / LONG.as_secs();
            let mut hours = vec![hour(rhythm.tick())];
            time::sleep_until(start + 3 * LONG + LONG / 2);
            hours.extend((0..5).map(|_| hour(rhythm.try_tick().unwrap())));
            assert_eq!(hours, expected, "{missed:?}");
        });
    }
}

/// A tick that a cancel kept from being taken is still there.
#[test]
fn a_cancelled_tick_is_not_lost() {
    let _watchdog = Watchdog::new("a_cancelled_tick_is_not_lost");
    deterministic::explore(100, || {
        let start = time::now() + LONG;
        let (begun, begins) = channel::rendezvous();
        let ticker = spawn(move || {
            let mut rhythm = time::interval_at(start, LONG);
            begun.send(()).unwrap();
            assert_eq!(rhythm.try_tick(), Err(Cancelled));
            rhythm
        });
        begins.recv().unwrap();
        ticker.cancel(10 * LONG);
        assert_eq!(ticker.join().unwrap().tick(), start);
    });
}

/// Timers in async code, on an executor that knows nothing of the runtime, without any runtime.
#[test]
fn async_timers_do_their_work_anywhere() {
    let _watchdog = Watchdog::new("async_timers_do_their_work_anywhere");
    let began = Instant::now();
    run_here(time::after(SHORT));
    run_here(time::until(began + 2 * SHORT));
    assert!(began.elapsed() >= 2 * SHORT);
    let never = || std::future::pending::<()>();
    assert_eq!(run_here(time::timeout(SHORT, never())), Err(Elapsed));
    assert_eq!(run_here(time::timeout_at(began, async { 5 })), Ok(5));
    let (tx, rx) = channel::bounded(1);
    assert_eq!(
        run_here(time::timeout(SHORT, rx.recv_async())),
        Err(Elapsed)
    );
    tx.send(1).unwrap();
    assert_eq!(run_here(time::timeout(LONG, rx.recv_async())), Ok(Ok(1)));

    let due = run_here(channel::after(SHORT).recv_async()).unwrap();
    assert!(due <= Instant::now());
    let ticks = channel::tick(SHORT);
    let first = run_here(ticks.recv_async()).unwrap();
    assert!(run_here(ticks.recv_async()).unwrap() > first);
    let mut rhythm = time::interval(SHORT);
    let first = run_here(rhythm.tick_async());
    assert_eq!(run_here(rhythm.tick_async()), first + SHORT);
    assert_eq!(rhythm.tick(), first + 2 * SHORT, "from a thread as well");
}

/// Many threads wait by the clock thread at once: for each the time comes, and not too early.
#[test]
fn the_clock_thread_serves_many_threads() {
    let _watchdog = Watchdog::new("the_clock_thread_serves_many_threads");
    let mut random = Random::new("the_clock_thread_serves_many_threads");
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let mut random = Random::from(random.next());
            thread::spawn(move || {
                for _ in 0..50 {
                    let pause = Duration::from_nanos(random.below(2_000_000));
                    let began = Instant::now();
                    // One that is dropped while it waits, before or after the other is due.
                    let mut other = time::after(Duration::from_nanos(random.below(3_000_000)));
                    let _ = poll_once(&mut other);
                    run_here(time::after(pause));
                    assert!(began.elapsed() >= pause);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}

/// A task that waits is woken at the new time without polling again; the old one wakes nobody.
#[test]
fn a_sleep_can_be_reset() {
    let _watchdog = Watchdog::new("a_sleep_can_be_reset");
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut sleep = time::after(LONG);
    assert!(poll_with(&mut sleep, &waker).is_pending());
    sleep.reset(Instant::now() + SHORT);
    until("the earlier time has come", || woken.count() == 1);
    assert!(sleep.is_elapsed() && poll_with(&mut sleep, &waker).is_ready());

    // After it was ready, and to a later time. Polled before that time, if the machine lets us.
    until("it is polled in time", || {
        sleep.reset(Instant::now() + SHORT);
        poll_with(&mut sleep, &waker).is_pending()
    });
    sleep.reset(Instant::now() + LONG);
    assert!(!sleep.is_elapsed());
    run_here(time::after(5 * SHORT));
    assert!(poll_with(&mut sleep, &waker).is_pending());
    assert!(
        woken.count() <= 2,
        "at most once by the time that was given up"
    );
}

/// A future that begins to wait in one place and goes on in another is woken there.
#[test]
fn a_sleep_can_change_its_executor() {
    let watchdog = Watchdog::new("a_sleep_can_change_its_executor");
    let rt = runtime(2);
    watchdog.watch("from a routine to a thread", &rt.handle());
    let sleep = in_time(20 * SHORT, |horizon| {
        let mut sleep = time::after(horizon);
        let begun = rt.spawn_future(async move {
            let polled = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut sleep).poll(cx)));
            (polled.await.is_pending(), sleep)
        });
        let (waits, sleep) = begun.join().unwrap();
        waits.then_some(sleep)
    });
    run_here(sleep);

    watchdog.watch("from a thread to a routine", &rt.handle());
    let sleep = in_time(20 * SHORT, |horizon| {
        let mut sleep = time::after(horizon);
        poll_once(&mut sleep).is_pending().then_some(sleep)
    });
    rt.spawn_future(sleep).join().unwrap();
}

/// A foreign task whose deadline a worker keeps is woken when that runtime ends, so that it can wait
/// elsewhere. Breaks if `Timers::close` drops its waker, or a future takes a closed wheel's word.
#[test]
fn the_end_of_a_runtime_loses_no_task() {
    let watchdog = Watchdog::new("the_end_of_a_runtime_loses_no_task");
    let (mut sleep, woken, waker) = in_time(50 * SHORT, |horizon| {
        let rt = runtime(1);
        watchdog.watch("shutdown", &rt.handle());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut sleep = time::after(horizon);
        let polled = waker.clone();
        let begun = rt.spawn(move || (poll_with(&mut sleep, &polled).is_pending(), sleep));
        let (waits, sleep) = begun.join().unwrap();
        rt.shutdown(Duration::ZERO).unwrap();
        waits.then_some((sleep, woken, waker))
    });
    assert_eq!(woken.count(), 1);
    while poll_with(&mut sleep, &waker).is_pending() {
        let before = woken.count();
        until("woken at the time", || {
            woken.count() > before || sleep.is_elapsed()
        });
    }
    assert!(sleep.is_elapsed());
}

/// It falls due when everything is being cancelled, and so is the routine that would wake the task: it is woken all
/// the same. Breaks if that routine's closure is dropped without a wake.
#[test]
fn a_deadline_that_falls_due_while_the_runtime_ends_wakes_its_task() {
    let watchdog = Watchdog::new("due_at_the_end");
    let rt = runtime(1);
    watchdog.watch("due at the end", &rt.handle());
    let woken = Arc::new(Woken::default());
    let (seen, polled) = (woken.clone(), Waker::from(woken.clone()));
    let begun = Gate::new();
    let at = begun.clone();
    // Keeps the end in its middle until then, or as long as that is waited for.
    let stubborn = rt.spawn(move || {
        let mut sleep = time::after(100 * SHORT);
        let _ = poll_with(&mut sleep, &polled);
        at.open();
        while seen.count() == 0 && !sleep.is_elapsed() {
            let _ = std::panic::catch_unwind(openwork::yield_now);
        }
        // Its turn is over, and others have theirs.
        for _ in 0..1000 {
            let _ = std::panic::catch_unwind(openwork::yield_now);
        }
        sleep
    });
    begun.spin();
    let ending = thread::spawn(move || rt.shutdown(Duration::ZERO));
    until("the task is woken", || woken.count() == 1);
    drop(ending.join().unwrap());
    drop(stubborn);
}

/// Wakers of a combinator inside a routine are not the routine's own.
#[test]
fn foreign_wakers_are_served_inside_a_runtime() {
    let watchdog = Watchdog::new("foreign_wakers_are_served_inside_a_runtime");
    let rt = runtime(2);
    watchdog.watch("combinator", &rt.handle());
    /// Polls its future with a waker of its own, which passes the wake on.
    struct Wrapped<F>(F);
    struct Passes(Waker);
    impl Wake for Passes {
        fn wake(self: Arc<Self>) {
            self.0.wake_by_ref();
        }
    }
    impl<F: Future + Unpin> Future for Wrapped<F> {
        type Output = F::Output;
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
            let waker = Waker::from(Arc::new(Passes(cx.waker().clone())));
            Pin::new(&mut self.0).poll(&mut Context::from_waker(&waker))
        }
    }
    let tasks: Vec<_> = (0..100u32)
        .map(|i| rt.spawn_future(Wrapped(time::after(i * SHORT / 20))))
        .collect();
    tasks.into_iter().for_each(|t| t.join().unwrap());
}

/// A limit drops neither future nor value twice, nor forgets one.
#[test]
fn a_timeout_drops_everything_once() {
    let watchdog = Watchdog::new("a_timeout_drops_everything_once");
    let rt = runtime(2);
    watchdog.watch("timeouts", &rt.handle());
    let ledger = Ledger::new();
    let gate = Gate::new();
    for i in 0..100u32 {
        let (token, held) = (ledger.token(), ledger.token());
        let future = gate.future();
        let limited = time::timeout(i * SHORT / 50, async move {
            let _held = held;
            future.await;
            token
        });
        let task = rt.spawn_future(limited);
        match i % 3 {
            0 => assert!(matches!(task.join().unwrap(), Err(Elapsed))),
            1 => task.detach(),
            _ => task.abort(),
        }
    }
    gate.open();
    rt.shutdown(LONG).unwrap();
    ledger.check("after the shutdown");
}

/// The grace times of cancels do not pile up when their routines end before. Breaks without the sweep.
#[test]
fn grace_times_of_the_ended_are_swept() {
    let watchdog = Watchdog::new("grace_times_of_the_ended_are_swept");
    let rt = runtime(1);
    let handle = rt.handle();
    watchdog.watch("cancels", &handle);
    rt.block_on(|| {
        for _ in 0..5000 {
            let doomed = spawn(|| time::try_sleep(LONG));
            openwork::yield_now();
            doomed.cancel(LONG);
            // Cancelled before it began, or told so in its sleep.
            assert!(matches!(doomed.join(), Err(_) | Ok(Err(Cancelled))));
        }
    });
    assert!(
        figures(&handle).pending <= 2 * 1024,
        "{:?}",
        figures(&handle)
    );
}

/// A burst of sleepers that are due at once is served without waiting for its own end: the first of them
/// run before the last are served. Breaks without `SERVE_MAX`.
#[test]
fn a_burst_does_not_hold_the_worker() {
    let watchdog = Watchdog::new("a_burst_does_not_hold_the_worker");
    let rt = runtime(1);
    let handle = rt.handle();
    watchdog.watch("burst", &handle);
    // All must be asleep before the time comes: on a loaded machine that takes a while.
    let pending_at_first = in_time(10 * SHORT, |horizon| burst(&rt, horizon));
    assert!(
        pending_at_first > 0,
        "the first one ran after the last one was served"
    );
}

/// What is pending when the first of a burst of sleepers runs; `None` if they were not all asleep in time.
fn burst(rt: &Runtime, horizon: Duration) -> Option<u64> {
    const BURST: u64 = 3000;
    let handle = rt.handle();
    rt.block_on(|| {
        let (tx, rx) = mpsc::channel();
        let at = Instant::now() + horizon;
        let sleepers: Vec<_> = (0..BURST)
            .map(|_| {
                let (tx, handle) = (tx.clone(), handle.clone());
                spawn(move || {
                    time::sleep_until(at);
                    tx.send(figures(&handle).pending).unwrap();
                })
            })
            .collect();
        while figures(&handle).pending < BURST && Instant::now() < at {
            openwork::yield_now();
        }
        let asleep = figures(&handle).pending == BURST;
        // All of them are due when the worker looks again.
        while Instant::now() < at {
            std::hint::spin_loop();
        }
        sleepers.into_iter().for_each(|s| s.join().unwrap());
        let first = rx.recv().unwrap();
        asleep.then_some(first)
    })
}

/// A routine that is alone with its worker goes on at once when it yields. Those who sleep there are woken in
/// time all the same: their deadlines are looked at when time has passed, not after so many yields.
#[test]
fn who_yields_alone_does_not_delay_sleepers() {
    // Longer than the kernel's tick takes, together; much less than yields between two look rounds.
    const MOST: u32 = 30;
    let rt = runtime(1);
    let yields = rt.block_on(|| {
        let awake = Arc::new(AtomicBool::new(false));
        let sleeper = {
            let awake = awake.clone();
            spawn(move || {
                time::sleep(SHORT);
                awake.store(true, Relaxed);
            })
        };
        openwork::yield_now(); // it begins
        let mut yields = 0;
        while !awake.load(Relaxed) {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(2) {
                std::hint::spin_loop();
            }
            openwork::yield_now();
            yields += 1;
        }
        sleeper.join().unwrap();
        yields
    });
    assert!(yields <= MOST, "{yields} yields");
}
