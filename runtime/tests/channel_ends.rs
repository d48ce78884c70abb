//! How channels end, how waits end before their time, and what becomes of the values.

mod channel_support;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use channel_support::{Counted, Ledger, blocked, runtime, until_blocked, within};
use openwork::channel::{
    self, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError,
};
use openwork::{JoinError, spawn};

const LIMIT: Duration = Duration::from_secs(240);

#[test]
fn drained_then_disconnected() {
    let (tx, rx) = channel::bounded(3);
    (0..3).for_each(|i| tx.send(i).unwrap());
    drop(tx);
    assert_eq!((rx.len(), rx.is_closed()), (3, true));
    assert_eq!(rx.iter().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(rx.recv(), Err(RecvError::Disconnected));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(
        rx.recv_timeout(Duration::ZERO),
        Err(RecvTimeoutError::Disconnected)
    );
}

/// Every waiter is told, on both sides, whoever it is. Breaks if `close` stops at the first waiter.
#[test]
fn a_close_wakes_all_who_wait() {
    within(LIMIT, "close", || {
        for workers in [1, 2, 8] {
            let rt = runtime(workers);
            let (tx, rx) = channel::rendezvous::<u32>();
            let waiting: Vec<_> = (0..5)
                .map(|_| {
                    let rx = rx.clone();
                    rt.spawn(move || rx.recv())
                })
                .collect();
            let future = {
                let rx = rx.clone();
                rt.spawn_future(async move { rx.recv_async().await })
            };
            until_blocked(&rt.handle(), 6);
            tx.close();
            for routine in waiting {
                assert_eq!(routine.join().unwrap(), Err(RecvError::Disconnected));
            }
            assert_eq!(future.join().unwrap(), Err(RecvError::Disconnected));

            let (tx, rx) = channel::rendezvous();
            let waiting: Vec<_> = (0..5)
                .map(|i| {
                    let tx = tx.clone();
                    rt.spawn(move || tx.send(i))
                })
                .collect();
            until_blocked(&rt.handle(), 5);
            drop(rx);
            for (i, routine) in waiting.into_iter().enumerate() {
                let told = routine.join().unwrap();
                assert_eq!(told, Err(SendError::Disconnected(i)));
            }
        }
    });
}

/// Waiting receivers are served in the order in which they came, and a value goes to the one that
/// waits, not to one that comes by.
#[test]
fn waiters_are_served_in_order() {
    within(LIMIT, "order", || {
        let rt = runtime(1);
        let handle = rt.handle();
        rt.block_on(|| {
            let (tx, rx) = channel::bounded(8);
            let waiting: Vec<_> = (0..4)
                .map(|before| {
                    let rx = rx.clone();
                    let waiter = spawn(move || rx.recv().unwrap());
                    while blocked(&handle) == before {
                        openwork::yield_now();
                    }
                    waiter
                })
                .collect();
            (0..4).for_each(|i| tx.send(i).unwrap());
            assert_eq!(rx.try_recv(), Err(TryRecvError::Empty), "all handed over");
            for (i, waiter) in waiting.into_iter().enumerate() {
                assert_eq!(waiter.join().unwrap(), i);
            }
        });
    });
}

#[test]
fn what_nobody_can_receive_is_dropped() {
    let ledger = Ledger::default();
    let (tx, rx) = channel::unbounded();
    (0..1000).for_each(|i| assert!(tx.send(ledger.make(i)).is_ok()));
    let kept = rx.recv().unwrap();
    drop(rx);
    assert_eq!(ledger.alive(), 1);
    assert_eq!(kept.number, 0);
    drop(kept);
    drop(tx.send(ledger.make(7)));
    assert_eq!(ledger.alive(), 0);
}

#[test]
fn the_high_water_mark_stays() {
    let (tx, rx) = channel::bounded(5);
    (0..4).for_each(|i| tx.send(i).unwrap());
    assert_eq!(rx.try_iter().count(), 4);
    assert_eq!((rx.high_water(), rx.len(), rx.capacity()), (4, 0, Some(5)));
}

/// Deadlines end waits of routines and threads, and the value comes back.
#[test]
fn deadlines_end_waits() {
    within(LIMIT, "deadlines", || {
        let wait = Duration::from_millis(3);
        let try_both = move || {
            let (tx, rx) = channel::rendezvous();
            let began = Instant::now();
            let sent = tx.send_timeout(5, wait);
            assert_eq!(sent, Err(SendTimeoutError::Timeout(5)));
            assert!(began.elapsed() >= wait);
            let began = Instant::now();
            let received = rx.recv_deadline(began + wait);
            assert_eq!(received, Err(RecvTimeoutError::Timeout));
            assert!(began.elapsed() >= wait);
            // Nothing of the ended waits is left in the queues.
            assert!(tx.try_send(6).is_err() && rx.try_recv().is_err());
        };
        try_both();
        runtime(1).block_on(try_both);
    });
}

/// The first call after a cancel says so, and gives the value back; the next one unwinds and drops it.
#[test]
fn a_cancel_is_told_once_and_then_unwinds() {
    within(LIMIT, "cancel", || {
        for workers in [1, 2] {
            let rt = runtime(workers);
            let ledger = Ledger::default();
            let (tx, rx) = channel::rendezvous();
            let told = Arc::new(AtomicUsize::new(0));
            let sender = {
                let (told, ledger) = (told.clone(), ledger.clone());
                rt.spawn(move || {
                    match tx.send(ledger.make(1)) {
                        Err(SendError::Cancelled(value)) => assert_eq!(value.number, 1),
                        other => panic!("{other:?}"),
                    }
                    told.fetch_add(1, Relaxed);
                    let _ = tx.send(ledger.make(2));
                    told.fetch_add(10, Relaxed);
                })
            };
            until_blocked(&rt.handle(), 1);
            sender.cancel(Duration::from_secs(3600));
            assert!(matches!(sender.join(), Err(JoinError::Cancelled)));
            assert_eq!((told.load(Relaxed), ledger.alive()), (1, 0));

            let (_tx, empty) = channel::bounded::<u32>(1);
            let receiver = rt.spawn(move || {
                assert_eq!(empty.recv(), Err(RecvError::Cancelled));
                let _ = empty.recv_timeout(Duration::from_secs(3600));
                unreachable!("it unwinds");
            });
            until_blocked(&rt.handle(), 1);
            receiver.cancel(Duration::from_secs(3600));
            assert!(matches!(receiver.join(), Err(JoinError::Cancelled)));
            assert!(rx.recv().is_err());
        }
    });
}

/// An abort unwinds from the wait, and leaves nothing in the queue.
#[test]
fn an_abort_takes_the_waiter_out() {
    within(LIMIT, "abort", || {
        for workers in [1, 2] {
            let rt = runtime(workers);
            let ledger = Ledger::default();
            let (tx, rx) = channel::rendezvous();
            for i in 0..50 {
                let (tx, value) = (tx.clone(), ledger.make(i));
                let sender = rt.spawn(move || drop(tx.send(value)));
                until_blocked(&rt.handle(), 1);
                sender.abort();
                assert!(matches!(sender.join(), Err(JoinError::Cancelled)));
                assert_eq!(ledger.alive(), 0);
            }
            assert_eq!(rx.try_recv().err(), Some(TryRecvError::Empty));
        }
    });
}

/// Cancels race with hand-overs: a value is received, or is its sender's again and dropped there.
#[test]
fn a_cancel_at_any_moment_loses_nothing() {
    within(LIMIT, "cancel races", || {
        let rt = runtime(2);
        for round in 0..500u32 {
            let ledger = Ledger::default();
            let (tx, rx) = channel::bounded::<Counted>((round % 3) as usize);
            let received = Arc::new(AtomicUsize::new(0));
            let receiver = {
                let (rx, received) = (rx.clone(), received.clone());
                rt.spawn(move || {
                    while rx.recv().is_ok() {
                        received.fetch_add(1, Relaxed);
                    }
                })
            };
            let sent = {
                let ledger = ledger.clone();
                rt.spawn(move || {
                    (0..10)
                        .filter(|i| {
                            tx.send_timeout(ledger.make(*i), Duration::from_micros(20))
                                .is_ok()
                        })
                        .count()
                })
            };
            for _ in 0..round {
                std::hint::spin_loop();
            }
            receiver.abort();
            let _ = receiver.join();
            let sent = sent.join().unwrap();
            let left = rx.try_iter().count();
            assert_eq!(sent, received.load(Relaxed) + left, "round {round}");
            assert_eq!(ledger.alive(), 0);
        }
    });
}

struct Bells(AtomicUsize);

impl Wake for Bells {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A future that was given a value and is dropped unread gives it back: first to another that waits,
/// else to the front of the channel.
#[test]
fn a_dropped_future_gives_back() {
    let bells = Arc::new(Bells(AtomicUsize::new(0)));
    let waker = Waker::from(bells.clone());
    let mut cx = Context::from_waker(&waker);
    let ledger = Ledger::default();
    let (tx, rx) = channel::rendezvous();
    let mut first = Box::pin(rx.recv_async());
    let mut second = pin!(rx.recv_async());
    assert!(first.as_mut().poll(&mut cx).is_pending());
    assert!(second.as_mut().poll(&mut cx).is_pending());
    assert!(tx.try_send(ledger.make(1)).is_ok(), "the first one waits");
    assert_eq!(bells.0.load(Relaxed), 1);
    drop(first);
    assert_eq!(bells.0.load(Relaxed), 2);
    match second.poll(&mut cx) {
        Poll::Ready(Ok(value)) => assert_eq!(value.number, 1),
        other => panic!("{:?}", other.is_ready()),
    }
    let mut third = Box::pin(rx.recv_async());
    assert!(third.as_mut().poll(&mut cx).is_pending());
    assert!(tx.try_send(ledger.make(2)).is_ok());
    drop(third);
    assert_eq!(rx.try_recv().unwrap().number, 2);
    assert_eq!(ledger.alive(), 0);
}

/// A future that is polled again by another task wakes that one; one dropped while it waits leaves
/// nothing behind.
#[test]
fn a_future_wakes_who_polled_last() {
    let bells: [_; 2] = std::array::from_fn(|_| Arc::new(Bells(AtomicUsize::new(0))));
    let wakers = bells.each_ref().map(|bell| Waker::from(bell.clone()));
    let (tx, rx) = channel::bounded(1);
    let mut future = Box::pin(rx.recv_async());
    for waker in &wakers {
        assert!(
            future
                .as_mut()
                .poll(&mut Context::from_waker(waker))
                .is_pending()
        );
    }
    tx.send(3).unwrap();
    assert_eq!(bells.each_ref().map(|bell| bell.0.load(Relaxed)), [0, 1]);
    let ready = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(3))));
    drop(future);

    tx.send(4).unwrap();
    let mut sending = Box::pin(tx.send_async(5));
    assert!(
        sending
            .as_mut()
            .poll(&mut Context::from_waker(&wakers[0]))
            .is_pending()
    );
    drop(sending);
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [4]);
}

/// In a destructor that an unwinding called, an operation is done if it can be done at once, holds the
/// thread until its deadline, and is refused without one.
#[test]
fn a_panicking_routine_does_not_wait_for_ever() {
    struct AtTheEnd(channel::Sender<&'static str>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            self.0.send("at once").unwrap();
            assert_eq!(self.0.send("full"), Err(SendError::Refused("full")));
            let late = self.0.send_timeout("late", Duration::from_millis(1));
            assert_eq!(late, Err(SendTimeoutError::Timeout("late")));
        }
    }
    within(LIMIT, "panicking", || {
        let rt = runtime(1);
        let (tx, rx) = channel::bounded(1);
        let bad = rt.spawn(move || {
            let _at_the_end = AtTheEnd(tx);
            panic!("on purpose");
        });
        assert!(bad.join().unwrap_err().is_panic());
        assert_eq!(rx.iter().collect::<Vec<_>>(), ["at once"]);
    });
}

/// A routine that blocks within a poll can be woken by its future's waker, for nothing: it goes on
/// waiting, in its place. Breaks if the sleeper's ticket is not renewed (the value wakes nobody) or if
/// the routine goes to the end of the queue.
#[test]
fn a_wake_for_no_reason_keeps_the_place() {
    within(LIMIT, "spurious wakes", || {
        // One worker: a routine counts as blocked a moment before it stands in the queue, and the second
        // must not overtake the first in that moment.
        let rt = runtime(1);
        for _ in 0..50 {
            let (tx, rx) = channel::rendezvous();
            let (lend, lent) = channel::bounded::<Waker>(1);
            let first = {
                let rx = rx.clone();
                rt.spawn_future(std::future::poll_fn(move |cx| {
                    lend.send(cx.waker().clone()).unwrap();
                    Poll::Ready(rx.recv())
                }))
            };
            let waker = lent.recv().unwrap();
            until_blocked(&rt.handle(), 1);
            let second = rt.spawn(move || rx.recv());
            until_blocked(&rt.handle(), 2);
            (0..20).for_each(|_| waker.wake_by_ref());
            tx.send(1).unwrap();
            tx.send(2).unwrap();
            assert_eq!(first.join().unwrap(), Ok(1));
            assert_eq!(second.join().unwrap(), Ok(2));
        }
    });
}

#[test]
fn clocks_send() {
    within(LIMIT, "clocks", || {
        let try_clocks = || {
            let wait = Duration::from_millis(2);
            let began = Instant::now();
            let late = channel::after(LIMIT);
            assert_eq!((late.try_recv(), late.len()), (Err(TryRecvError::Empty), 0));
            let once = channel::after(wait);
            let due = once.recv().unwrap();
            assert!(due >= began + wait && began.elapsed() >= wait);
            assert_eq!(once.recv_timeout(wait), Err(RecvTimeoutError::Timeout));

            let ticks = channel::tick(wait);
            let moments: Vec<Instant> = ticks.iter().take(5).collect();
            assert!(moments.is_sorted() && began.elapsed() >= 5 * wait);
            ticks.close();
            assert_eq!(ticks.recv(), Err(RecvError::Disconnected));
        };
        try_clocks();
        let rt = runtime(1);
        rt.block_on(try_clocks);
        // Two that share one tick each get some of it.
        let ticks = channel::tick(Duration::from_micros(500));
        let shared: Vec<_> = (0..2)
            .map(|_| {
                let ticks = ticks.clone();
                rt.spawn_future(async move {
                    for _ in 0..5 {
                        ticks.recv_async().await.unwrap();
                    }
                })
            })
            .collect();
        for routine in shared {
            routine.join().unwrap();
        }
    });
}
