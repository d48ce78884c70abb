//! Futures awaited by routines and threads: nothing is polled without a wake, and no wake is lost.

mod support;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use openwork::snapshot::{RoutineState, WaitReason};
use openwork::{JoinError, block_on, blocking, channel, spawn, spawn_future, time, yield_now};
use support::{Gate, Ledger, Random, Watchdog, runtime, until};

const LONG: Duration = Duration::from_secs(100);

/// Ready once `open` was called `n` times; counts its polls.
#[derive(Default)]
struct Counter {
    opened: u32,
    polls: u32,
    waker: Option<Waker>,
}

fn counted(counter: &Arc<Mutex<Counter>>, n: u32) -> impl Future<Output = u32> {
    let counter = counter.clone();
    poll_fn(move |cx| {
        let mut counter = counter.lock().unwrap();
        counter.polls += 1;
        if counter.opened >= n {
            return Poll::Ready(counter.polls);
        }
        counter.waker = Some(cx.waker().clone());
        Poll::Pending
    })
}

/// The routine spins, keeps its worker, or sleeps through its wake.
#[test]
fn a_routine_is_polled_once_a_wake() {
    let watchdog = Watchdog::new("polls");
    let rt = runtime(1);
    let handle = rt.handle();
    watchdog.watch("polls", &handle);
    let counter = Arc::new(Mutex::new(Counter::default()));
    let with = counter.clone();
    let routine = rt.spawn(move || {
        let mine = Rc::new(1); // not `Send`
        block_on(async { counted(&with, 100).await + *mine })
    });
    for _ in 0..100 {
        until("it waits", || {
            let state = handle.routine(routine.id()).unwrap().state;
            state == RoutineState::Blocked(WaitReason::Future)
        });
        rt.block_on(yield_now); // The worker is free.
        let waker = {
            let mut counter = counter.lock().unwrap();
            counter.opened += 1;
            counter.waker.take().unwrap()
        };
        waker.wake();
        until("it has been polled", || {
            let counter = counter.lock().unwrap();
            counter.waker.is_some() || counter.opened == 100
        });
    }
    // Once at first, then once for each wake; and one from inside.
    assert_eq!(routine.join().unwrap(), 101 + 1);
    rt.shutdown(LONG).unwrap();
}

/// A call that blocks within a poll takes the wake of the future around it.
#[test]
fn calls_nest() {
    let watchdog = Watchdog::new("nested");
    let rt = runtime(2);
    watchdog.watch("nested", &rt.handle());
    for _ in 0..200 {
        let sum = rt.block_on(|| {
            let gate = Gate::new();
            let opener = gate.clone();
            block_on(async {
                let mut wait = gate.future();
                let mut first = true;
                poll_fn(|cx| {
                    let polled = Pin::new(&mut wait).poll(cx);
                    if std::mem::take(&mut first) {
                        assert!(polled.is_pending());
                        // Wakes the outer future while the inner call sleeps.
                        let opener = opener.clone();
                        let opened = spawn(move || opener.open());
                        block_on(opened).unwrap();
                        blocking(|| ());
                        time::sleep(Duration::from_micros(10));
                    }
                    polled
                })
                .await;
                block_on(async { 1 }) + block_on(spawn_future(async { 2 })).unwrap()
            })
        });
        assert_eq!(sum, 3);
    }
    rt.shutdown(LONG).unwrap();
}

#[test]
fn a_plain_thread_sleeps() {
    let counter = Arc::new(Mutex::new(Counter::default()));
    let with = counter.clone();
    let waker = thread::spawn(move || {
        for _ in 0..10 {
            let mut waker = None;
            until("it waits", || {
                waker = with.lock().unwrap().waker.take();
                waker.is_some()
            });
            with.lock().unwrap().opened += 1;
            waker.unwrap().wake();
        }
    });
    let polls = block_on(async {
        // A park within the poll takes the token of the one around it.
        block_on(async {});
        counted(&counter, 10).await
    });
    assert_eq!(polls, 11);
    waker.join().unwrap();
}

#[test]
fn a_cancel_drops_the_future() {
    let watchdog = Watchdog::new("cancel");
    let ledger = Ledger::new();
    let rt = runtime(1);
    let handle = rt.handle();
    watchdog.watch("cancel", &handle);
    let token = ledger.token();
    let routine = rt.spawn(move || {
        block_on(async move {
            let _token = token;
            std::future::pending::<()>().await;
        });
    });
    until("it waits", || {
        handle.routine(routine.id()).unwrap().state == RoutineState::Blocked(WaitReason::Future)
    });
    routine.abort();
    assert!(matches!(routine.join(), Err(JoinError::Cancelled)));
    ledger.check("the future");
    rt.shutdown(LONG).unwrap();
}

#[test]
fn a_panic_of_the_future_is_the_callers() {
    let _watchdog = Watchdog::new("panic");
    let rt = runtime(1);
    let joined = rt
        .spawn(|| block_on(async { panic!("in the future") }))
        .join();
    assert_eq!(joined.unwrap_err().message(), "in the future");
    rt.shutdown(LONG).unwrap();
}

/// A destructor that waits while panicking stops its thread, and with it whom it waits for.
#[test]
fn while_panicking_only_what_is_ready() {
    struct Waits(Arc<AtomicU32>);
    impl Drop for Waits {
        fn drop(&mut self) {
            assert!(thread::panicking());
            self.0.fetch_add(block_on(async { 1 }), SeqCst);
            let never = AssertUnwindSafe(std::future::pending::<()>());
            let refused = catch_unwind(|| block_on(never)).unwrap_err();
            let said = refused.downcast_ref::<String>().unwrap();
            assert!(said.contains("panicking routine"));
            self.0.fetch_add(1, SeqCst);
        }
    }
    let _watchdog = Watchdog::new("panicking");
    let rt = runtime(1);
    let seen = Arc::new(AtomicU32::new(0));
    let with = seen.clone();
    let joined = rt.spawn(move || {
        let _waits = Waits(with);
        panic!("on purpose");
    });
    assert!(joined.join().unwrap_err().is_panic());
    assert_eq!(seen.load(SeqCst), 2);
    rt.shutdown(LONG).unwrap();
}

/// A wake that comes while the future is being polled, or while the routine goes to sleep, is lost.
#[test]
fn many_routines_await_many() {
    const ROUTINES: u64 = 50;
    const EACH: u64 = 200;
    let watchdog = Watchdog::new("many");
    let mut random = Random::new("many routines");
    for workers in [1, 2] {
        let rt = runtime(workers);
        watchdog.watch("many", &rt.handle());
        let sum = Arc::new(AtomicU64::new(0));
        let (tx, rx) = channel::bounded(8);
        let readers: Vec<_> = (0..ROUTINES)
            .map(|_| {
                let (rx, sum) = (rx.clone(), sum.clone());
                rt.spawn(move || {
                    let got = Cell::new(0);
                    while let Ok(n) = block_on(rx.recv_async()) {
                        got.set(got.get() + 1);
                        sum.fetch_add(n, SeqCst);
                    }
                    got.get()
                })
            })
            .collect();
        drop(rx);
        let writers: Vec<_> = (0..ROUTINES)
            .map(|_| {
                let (tx, pause) = (tx.clone(), random.below(10));
                rt.spawn(move || {
                    for n in 0..EACH {
                        block_on(tx.send_async(n)).unwrap();
                        if n % 10 == pause {
                            yield_now();
                        }
                    }
                })
            })
            .collect();
        drop(tx);
        for writer in writers {
            writer.join().unwrap();
        }
        let got: u64 = readers.into_iter().map(|r| r.join().unwrap()).sum();
        assert_eq!(got, ROUTINES * EACH);
        assert_eq!(sum.load(SeqCst), ROUTINES * (EACH * (EACH - 1) / 2));
        rt.shutdown(LONG).unwrap();
    }
}

/// A future that wakes itself has its worker to itself.
#[test]
fn a_future_that_wakes_itself_gives_way() {
    struct Again(u32);
    impl Future for Again {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            if self.0 == 0 {
                return Poll::Ready(());
            }
            self.0 -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
    let watchdog = Watchdog::new("self-waking");
    let rt = runtime(1);
    watchdog.watch("self-waking", &rt.handle());
    let gate = Gate::new();
    let with = gate.clone();
    let busy = rt.spawn(move || {
        while !with.is_open() {
            block_on(Again(100));
        }
    });
    rt.spawn(move || gate.open()).join().unwrap();
    busy.join().unwrap();
    rt.shutdown(LONG).unwrap();
}
