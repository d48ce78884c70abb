//! Whatever is off, the rest works: the same small program under all sixteen ways of switching four areas on
//! and off.
//!
//! 1. *Stacks*: how overflows are guarded against and memory is given back: light guards and trimming of parked
//!    stacks, or `mprotect` and none. (The switch itself is the other half of this area and is chosen when the
//!    library is built: `.ci/run` has this file run in one build, `.ci/nightly` in the other.)
//! 2. *Preemption*: as strong as this build and machine have it, with the shortest slice, or off.
//! 3. *Balance*: work placed, stolen and moved by strategies other than the defaults, or by the defaults with
//!    one routine at a time.
//! 4. *Hand-off*: workers are taken from threads that block in the kernel, or not.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use openwork::config::{ConfigChange, Placement, Preemption, StealAmount, VictimOrder};
use openwork::snapshot::GuardMode;
use openwork::sync::Mutex;
use openwork::{
    Builder, Handle, JoinError, Runtime, Turn, blocking, channel, checkpoint, scope, select, spawn,
    spawn_future, spawn_turns, time, yield_now,
};
use support::{Ledger, Watchdog, until};

const LONG: Duration = Duration::from_secs(100);

#[derive(Clone, Copy, Debug)]
struct Areas {
    stacks: bool,
    preemption: bool,
    balance: bool,
    hand_off: bool,
}

impl Areas {
    fn all() -> impl Iterator<Item = Areas> {
        (0..16).map(|bits| Areas {
            stacks: bits & 1 != 0,
            preemption: bits & 2 != 0,
            balance: bits & 4 != 0,
            hand_off: bits & 8 != 0,
        })
    }

    /// What can be set while a runtime runs.
    fn change(self, strongest: &Strongest) -> ConfigChange {
        let mut change = ConfigChange::default();
        change.preemption = Some(Preemption::Off);
        change.hand_off = Some(self.hand_off && strongest.hand_off);
        change.placement = Some(Placement::Local);
        change.victims = Some(VictimOrder::Random);
        change.steal = Some(StealAmount::One);
        change.rebalance = Some(false);
        if self.preemption {
            change.preemption = Some(strongest.preemption);
            change.slice = Some(Duration::from_millis(1));
        }
        if self.balance {
            if cfg!(feature = "balance") {
                change.placement = Some(Placement::LeastLoaded);
                change.rebalance = Some(true);
            }
            change.victims = Some(VictimOrder::MostLoaded);
            change.steal = Some(StealAmount::Adaptive);
            change.rebalance_period = Some(Duration::from_millis(1));
        }
        change
    }
}

/// The most of two areas that this build and machine have.
struct Strongest {
    preemption: Preemption,
    hand_off: bool,
}

impl Strongest {
    fn here() -> Strongest {
        let rt = support::runtime(1);
        let accepts = |set: &dyn Fn(&mut ConfigChange)| {
            let mut change = ConfigChange::default();
            set(&mut change);
            let answer = rt.handle().reconfigure(change);
            answer.map_err(|why| println!("left out: {why}")).is_ok()
        };
        Strongest {
            preemption: match accepts(&|c| c.preemption = Some(Preemption::Forced)) {
                true => Preemption::Forced,
                false => Preemption::Cooperative,
            },
            hand_off: accepts(&|c| c.hand_off = Some(true)),
        }
    }
}

fn runtime(areas: Areas, guard: GuardMode) -> Runtime {
    let guard = match (areas.stacks, guard) {
        // Each routine has a thread, whose stack is the system's: there is one way only.
        (_, GuardMode::System) | (true, _) => GuardMode::Auto,
        (false, _) => GuardMode::Mprotect,
    };
    Runtime::builder().workers(2).guard(guard).build().unwrap()
}

/// Routines that the program spawns.
const ROUTINES: u64 = 50;

/// A little of everything.
fn program(handle: &Handle, areas: Areas) {
    let ledger = Ledger::new();
    let token = ledger.token();
    let everything = {
        let ledger = ledger.clone();
        move || {
            let _token = token;
            let sum = Arc::new(Mutex::new(0));
            let (tx, rx) = channel::bounded(2);
            let receiver = spawn(move || rx.iter().sum::<u64>());
            let senders: Vec<_> = (0..20u64)
                .map(|n| {
                    let (tx, sum, token) = (tx.clone(), sum.clone(), ledger.token());
                    spawn(move || {
                        let _token = token;
                        if n % 3 == 0 {
                            time::sleep(Duration::from_micros(200));
                        }
                        tx.send(n).unwrap();
                        *sum.lock().unwrap() += n;
                    })
                })
                .collect();
            drop(tx);
            senders.into_iter().for_each(|one| one.join().unwrap());
            assert_eq!((receiver.join().unwrap(), *sum.lock().unwrap()), (190, 190));
            // Loops that give way at safe points only, and turns that may move.
            let loops: Vec<_> = (0..4u64)
                .map(|n| {
                    spawn(move || {
                        (0..30_000).fold(n, |sum, i| {
                            checkpoint();
                            sum.wrapping_mul(31).wrapping_add(i)
                        })
                    })
                })
                .collect();
            let turns: Vec<_> = (0..4)
                .map(|_| {
                    spawn_turns(0, |n| {
                        *n += 1;
                        if *n < 500 {
                            Turn::Again
                        } else {
                            Turn::Done(*n)
                        }
                    })
                })
                .collect();
            for (n, one) in loops.into_iter().enumerate() {
                let alone =
                    (0..30_000).fold(n as u64, |sum: u64, i| sum.wrapping_mul(31).wrapping_add(i));
                assert_eq!(one.join().unwrap(), alone);
            }
            assert!(turns.into_iter().all(|one| one.join().unwrap() == 500));
            // A thread in the kernel, with and without the pool.
            let in_kernel = spawn(|| std::thread::sleep(Duration::from_millis(5)));
            assert_eq!(blocking(|| 7), 7);
            in_kernel.join().unwrap();
            // Depth, borrowing, selecting, futures.
            assert_eq!(spawn(|| deep(60)).join().unwrap(), 60);
            let data = [1, 2, 3];
            let parts: i32 = scope(|s| {
                let all: Vec<_> = data.iter().map(|n| s.spawn(move || n * 2)).collect();
                all.into_iter().map(|one| one.join().unwrap()).sum()
            });
            assert_eq!(parts, 12);
            let (tx, rx) = channel::rendezvous();
            let sender = spawn(move || tx.send(5).unwrap());
            let got = select! {
                value = rx.recv() => value.unwrap(),
                after(LONG) => 0,
            };
            sender.join().unwrap();
            assert_eq!(got, 5);
            let future = spawn_future(async { spawn(|| 20).await.unwrap() + 22 });
            assert_eq!(future.join().unwrap(), 42);
            // Ends of other kinds.
            assert!(matches!(
                spawn(|| panic!("on purpose")).join(),
                Err(JoinError::Panicked(_))
            ));
            let token = ledger.token();
            let sleeper = spawn(move || {
                let _token = token;
                time::sleep(Duration::from_secs(3600));
            });
            sleeper.abort();
            assert!(sleeper.join().is_err());
            let keyed: Vec<_> = (0..10)
                .map(|n| Builder::new().affinity(n % 3).spawn(yield_now))
                .collect();
            keyed
                .into_iter()
                .for_each(|one| one.unwrap().join().unwrap());
        }
    };
    let root = Builder::new()
        .on(handle)
        .stack_size(256 << 10)
        .spawn(everything)
        .unwrap();
    if areas.stacks {
        handle.trim_parked_stacks(Duration::ZERO, usize::MAX);
    }
    root.join().unwrap();
    ledger.check_soon("everything was dropped once");
}

/// Calls itself so many times.
#[inline(never)]
fn deep(n: u64) -> u64 {
    let frame = std::hint::black_box([n; 16]);
    if n == 0 {
        0
    } else {
        1 + deep(n - 1) + (frame[3] - n)
    }
}

/// The program has run some times, and nothing else has.
fn check(rt: Runtime) {
    let handle = rt.handle();
    rt.shutdown(LONG).unwrap();
    let now = handle.snapshot();
    let spawned = now.routines.spawned;
    assert!(
        spawned > 0 && spawned.is_multiple_of(ROUTINES),
        "{spawned} routines"
    );
    assert_eq!(
        (now.routines.live(), now.routines.spawned),
        (0, now.routines.ended)
    );
}

/// Each runtime is made in its way.
#[test]
fn any_area_may_be_off_from_the_start() {
    let watchdog = Watchdog::new("sixteen combinations");
    let strongest = Strongest::here();
    let guard = support::runtime(1).snapshot().stacks.mode;
    for areas in Areas::all() {
        let rt = runtime(areas, guard);
        watchdog.watch(&format!("{areas:?}"), &rt.handle());
        let done = rt.handle().reconfigure(areas.change(&strongest)).unwrap();
        assert_eq!(done.new.hand_off, areas.hand_off && strongest.hand_off);
        assert_eq!(done.new.preemption == Preemption::Off, !areas.preemption);
        program(&rt.handle(), areas);
        check(rt);
    }
}

/// One runtime goes through all of them while the program runs on it, again and again.
#[test]
fn any_area_may_be_switched_while_running() {
    let watchdog = Watchdog::new("switching areas");
    let strongest = Strongest::here();
    let rt = support::runtime(2);
    let handle = rt.handle();
    watchdog.watch("switching areas", &handle);
    let ran = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicU64::new(0));
    let programs: Vec<_> = (0..2)
        .map(|_| {
            let (handle, ran, over) = (handle.clone(), ran.clone(), over.clone());
            std::thread::spawn(move || {
                let all = Areas::all().last().unwrap();
                while over.load(SeqCst) == 0 {
                    program(&handle, all);
                    ran.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for areas in Areas::all() {
        handle.reconfigure(areas.change(&strongest)).unwrap();
        let before = ran.load(SeqCst);
        until("the program has run under it", || {
            ran.load(SeqCst) > before + 1
        });
    }
    over.store(1, SeqCst);
    programs.into_iter().for_each(|one| one.join().unwrap());
    check(rt);
}
