//! Routines without stacks or threads, as on WebAssembly: what needs none runs as everywhere, and the thread that waits
//! runs it; what would wait in the middle of a turn is refused. `runtime/tests/wasm.sh` runs these under Node.
//!
//! A panic ends the program there. So what must panic is ignored here, and the script runs each alone.

#![cfg(stackless)]

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use openwork::{
    JoinError, RoutineId, Runtime, Switch, Turn, channel, spawn, spawn_future, sync, time,
};

const LONG: Duration = Duration::from_secs(3600);

fn runtime() -> Runtime {
    Runtime::builder().build().unwrap()
}

/// Every routine has ended, and every one that was spawned has begun.
#[track_caller]
fn check_books(rt: &Runtime, spawned: u64) {
    let snapshot = rt.snapshot();
    let routines = &snapshot.routines;
    let ended: u64 = snapshot.workers.iter().map(|worker| worker.ended).sum();
    assert_eq!(
        (routines.spawned, ended),
        (spawned, spawned),
        "{routines:?}"
    );
    assert_eq!(snapshot.stacks.in_use, 0);
    let mut live = 0;
    rt.handle().routines(&mut |_| live += 1);
    assert_eq!(live, 0);
}

#[test]
fn the_build_says_what_it_is() {
    assert_eq!(openwork::build_info().switch, Switch::Turns);
    let rt = runtime();
    assert_eq!((rt.handle().workers(), rt.handle().max_workers()), (1, 1));
    let refused = Runtime::builder().workers(2).build().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "workers: 2 is out of range, from 1 to 1 are possible"
    );
    assert!(rt.handle().set_workers(2).is_err());
}

/// Where a machine word has 32.
#[test]
fn numbers_have_64_bits() {
    assert_eq!(usize::BITS, 32);
    let id = RoutineId::new((1 << 40) + 7);
    assert_eq!(
        (id.get(), id.to_string()),
        ((1 << 40) + 7, "1099511627783".to_owned())
    );
    let rt = runtime();
    let mut last = 0;
    for _ in 0..1_000 {
        let id = rt.spawn(|| ()).id().get();
        assert!(id > last);
        last = id;
    }
    rt.shutdown(LONG).unwrap();
}

#[test]
fn futures_turn_loops_and_closures_end_with_their_values() {
    const EACH: u64 = 500;
    let rt = runtime();
    let handles: Vec<_> = (0..EACH)
        .flat_map(|n| {
            let future = rt.spawn_future(async move {
                time::after(Duration::from_micros(n % 7)).await;
                n
            });
            let turns = rt.spawn_turns(0, move |done| {
                *done += 1;
                match *done {
                    1 => Turn::Again,
                    2 => Turn::Sleep(Duration::from_micros(n % 5)),
                    3 => Turn::Wait(Box::pin(time::after(Duration::from_micros(n % 3)))),
                    _ => Turn::Done(n),
                }
            });
            [future, turns, rt.spawn(move || n)]
        })
        .collect();
    let sum: u64 = handles
        .into_iter()
        .map(|handle| handle.join().unwrap())
        .sum();
    assert_eq!(sum, 3 * EACH * (EACH - 1) / 2);
    check_books(&rt, 3 * EACH);
}

#[test]
fn tasks_spawn_tasks_and_await_them() {
    let rt = runtime();
    let sum = rt.spawn_future(async {
        let mut sum = 0;
        for n in 0..10 {
            let child = spawn_future(async move { spawn(move || n).await.unwrap() });
            sum += child.await.unwrap();
        }
        sum
    });
    assert_eq!(sum.join().unwrap(), 45);
    check_books(&rt, 21);
}

#[test]
fn messages_arrive_once_and_in_each_senders_order() {
    const SENDERS: u32 = 8;
    const EACH: u32 = 200;
    for capacity in [0, 1, 3] {
        let rt = runtime();
        let (tx, rx) = match capacity {
            0 => channel::rendezvous(),
            capacity => channel::bounded(capacity),
        };
        for sender in 0..SENDERS {
            let tx = tx.clone();
            rt.spawn_future(async move {
                for n in 0..EACH {
                    tx.send_async((sender, n)).await.unwrap();
                }
            })
            .detach();
        }
        drop(tx);
        let seen = rt.spawn_future(async move {
            let mut next = [0; SENDERS as usize];
            while let Ok((sender, n)) = rx.recv_async().await {
                assert_eq!(n, next[sender as usize]);
                next[sender as usize] += 1;
            }
            next
        });
        assert_eq!(seen.join().unwrap(), [EACH; SENDERS as usize]);
        rt.shutdown(LONG).unwrap();
    }
}

#[test]
fn the_thread_runs_what_it_waits_for() {
    let rt = runtime();
    let (tx, rx) = channel::bounded(1);
    let sender = rt.spawn_future(async move {
        for n in 0..100 {
            tx.send_async(n).await.unwrap();
        }
    });
    assert!((0..100).all(|n| rx.recv() == Ok(n)));
    assert!(rx.recv().is_err());
    sender.join().unwrap();

    let began = Instant::now();
    assert_eq!(rx.recv_timeout(Duration::from_millis(5)).ok(), None::<i32>);
    openwork::block_on(time::after(Duration::from_millis(5)));
    assert!(began.elapsed() >= Duration::from_millis(5));
    assert_eq!(rt.block_on(|| 6 * 7), 42);
    check_books(&rt, 2);
}

/// Five sleepers, in which order they woke; `None` if the first was due before all slept.
fn order_of_sleepers(rt: &Runtime, first_in: Duration) -> Option<Vec<u32>> {
    let order = Arc::new(Mutex::new(Vec::new()));
    let first = Instant::now() + first_in;
    let sleepers: Vec<_> = [5, 1, 4, 2, 3]
        .into_iter()
        .map(|n| {
            let order = order.clone();
            rt.spawn_future(async move {
                let at = first + Duration::from_millis(u64::from(n));
                time::until(at).await;
                assert!(Instant::now() >= at);
                order.lock().unwrap().push(n);
            })
        })
        .collect();
    rt.run_until_stalled();
    let all_slept = Instant::now() < first;
    sleepers.into_iter().for_each(|it| it.join().unwrap());
    let order = order.lock().unwrap().clone();
    all_slept.then_some(order)
}

#[test]
fn deadlines_are_served_in_their_order() {
    let rt = runtime();
    let mut first_in = Duration::from_millis(20);
    let order = loop {
        first_in *= 2;
        if let Some(order) = order_of_sleepers(&rt, first_in) {
            break order;
        }
    };
    assert_eq!(order, [1, 2, 3, 4, 5]);
    let late = rt.spawn_future(time::timeout(
        Duration::from_millis(1),
        std::future::pending::<()>(),
    ));
    assert!(late.join().unwrap().is_err());
}

#[test]
fn one_task_at_a_time_has_the_lock() {
    let rt = runtime();
    let shared = Arc::new(sync::Mutex::new(0));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let shared = shared.clone();
            rt.spawn_future(async move {
                for _ in 0..10 {
                    let mut guard = shared.lock_async().await.unwrap();
                    let before = *guard;
                    spawn(|| ()).await.unwrap();
                    *guard = before + 1;
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(|task| task.join().unwrap());
    assert_eq!(*shared.lock().unwrap(), 500);
    check_books(&rt, 50 + 500);
}

/// Counts its drops.
struct Token(Arc<AtomicU32>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_cancelled_task_ends_between_two_turns() {
    let rt = runtime();
    let dropped = Arc::new(AtomicU32::new(0));
    let waits_for_ever = |token: Token| async move {
        let _token = token;
        std::future::pending::<()>().await;
    };
    let told = rt.spawn_future(waits_for_ever(Token(dropped.clone())));
    let asked = rt.spawn_future(waits_for_ever(Token(dropped.clone())));
    let fresh = rt.spawn_future(waits_for_ever(Token(dropped.clone())));
    fresh.abort();
    assert_eq!(rt.run_until_stalled(), None);
    assert_eq!(dropped.load(SeqCst), 1);
    told.abort();
    asked.cancel(Duration::from_millis(1));
    for ended in [fresh, told, asked] {
        assert!(matches!(ended.join(), Err(JoinError::Cancelled)));
    }
    assert_eq!(dropped.load(SeqCst), 3);
    check_books(&rt, 3);
}

#[test]
fn a_hosts_loop_is_told_when_to_come_again() {
    let rt = runtime();
    assert_eq!(rt.run_until_stalled(), None);
    let (tx, rx) = channel::unbounded();
    let task = rt.spawn_future(async move {
        let first: u32 = rx.recv_async().await.unwrap();
        time::after(Duration::from_millis(5)).await;
        first + rx.recv_async().await.unwrap()
    });
    assert_eq!(rt.run_until_stalled(), None);
    tx.send(1).unwrap();
    while let Some(again) = rt.run_until_stalled() {
        assert!(again <= Duration::from_millis(5));
        std::thread::sleep(again);
    }
    assert!(!task.is_finished());
    tx.send(2).unwrap();
    assert_eq!(rt.run_until_stalled(), None);
    assert!(task.is_finished());
    assert_eq!(task.join().unwrap(), 3);

    let sleeper = rt.spawn_future(time::after(LONG));
    let again = rt.run_until_stalled().unwrap();
    assert!(again <= LONG && again > LONG / 2);
    sleeper.abort();
    assert_eq!(rt.run_until_stalled(), None);
    assert!(sleeper.is_finished());
}

#[test]
fn a_shutdown_lets_end_and_cancels_what_waits() {
    let rt = runtime();
    let dropped = Arc::new(AtomicU32::new(0));
    let finished = Arc::new(AtomicU32::new(0));
    for n in 0..20 {
        let (token, finished) = (Token(dropped.clone()), finished.clone());
        rt.spawn_future(async move {
            let _token = token;
            match n % 2 {
                0 => time::after(Duration::from_millis(n)).await,
                _ => std::future::pending().await,
            }
            finished.fetch_add(1, SeqCst);
        })
        .detach();
    }
    rt.shutdown(LONG).unwrap();
    assert_eq!((finished.load(SeqCst), dropped.load(SeqCst)), (10, 20));

    // Nothing ran before it is dropped.
    let rt = runtime();
    rt.spawn_future(std::future::pending::<()>()).detach();
    let token = Token(dropped.clone());
    rt.spawn(move || drop(token)).detach();
    drop(rt);
    assert_eq!(dropped.load(SeqCst), 21);
}

#[test]
fn two_runtimes_take_turns() {
    let (one, two) = (runtime(), runtime());
    let (there, back) = (channel::rendezvous(), channel::rendezvous());
    let echo = two.spawn_future(async move {
        while let Ok(n) = there.1.recv_async().await {
            back.0.send_async(n + 1).await.unwrap();
        }
    });
    let asks = one.spawn_future(async move {
        let mut n = 0;
        for _ in 0..50 {
            there.0.send_async(n).await.unwrap();
            n = back.1.recv_async().await.unwrap();
        }
        n
    });
    assert_eq!(asks.join().unwrap(), 50);
    echo.join().unwrap();
    check_books(&one, 1);
    check_books(&two, 1);
}

#[test]
fn who_always_wants_another_turn_keeps_nobody() {
    let rt = runtime();
    let turns = Arc::new(AtomicU32::new(0));
    let counted = turns.clone();
    let endless = rt.spawn_turns((), move |()| -> Turn<()> {
        counted.fetch_add(1, SeqCst);
        Turn::Again
    });
    let other = rt.spawn_future(async {
        time::after(Duration::from_millis(2)).await;
        5
    });
    assert_eq!(other.join().unwrap(), 5);
    assert!(turns.load(SeqCst) > 0);
    assert!(
        rt.shutdown(Duration::from_millis(2)).is_ok(),
        "it is cancelled"
    );
    assert!(endless.is_finished());
}

#[test]
fn what_blocks_in_the_system_runs_in_place() {
    let rt = runtime();
    let task = rt.spawn_future(async { openwork::spawn_blocking(|| 5).await.unwrap() });
    assert_eq!(task.join().unwrap(), 5);
}

#[test]
fn a_checkpoint_stops_nobody() {
    let rt = runtime();
    let turns = Arc::new(AtomicU32::new(0));
    for _ in 0..2 {
        let turns = turns.clone();
        rt.spawn(move || {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(30) {
                openwork::checkpoint();
            }
            turns.fetch_add(1, SeqCst);
        })
        .detach();
    }
    rt.run_until_stalled();
    assert_eq!(turns.load(SeqCst), 2);
}

#[test]
#[ignore = "ends the program: `wasm.sh` runs it alone"]
fn refused_a_wait_within_a_turn() {
    let rt = runtime();
    let (_tx, rx) = channel::bounded::<()>(1);
    rt.spawn(move || rx.recv()).join().unwrap().unwrap();
    unreachable!("the receive was refused");
}

#[test]
#[ignore = "ends the program: `wasm.sh` runs it alone"]
fn refused_a_sleep_within_a_turn() {
    let rt = runtime();
    rt.spawn_future(async { time::sleep(Duration::from_millis(1)) })
        .join()
        .unwrap();
    unreachable!("the sleep was refused");
}

#[test]
#[ignore = "ends the program: `wasm.sh` runs it alone"]
fn refused_a_wait_without_end() {
    let rt = runtime();
    let _ = rt.spawn_future(std::future::pending::<()>()).join();
    unreachable!("the wait was refused");
}

#[test]
#[ignore = "ends the program: `wasm.sh` runs it alone"]
fn refused_turns_within_a_turn() {
    let rt = Arc::new(runtime());
    let inner = rt.clone();
    let _ = rt.spawn(move || inner.run_until_stalled()).join();
    unreachable!("it was refused");
}
