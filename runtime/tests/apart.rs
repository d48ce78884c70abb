//! A routine that may hold its thread starts on one to which nothing is bound: so nobody is its hostage.
//!
//! Not in portable builds, where each routine has a thread of its own.
#![cfg(not(portable))]

mod support;

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use openwork::channel::{self, Sender};
use openwork::config::Preemption;
use openwork::snapshot::{HandOff, RoutineState, Snapshot};
use openwork::{JoinHandle, RoutineId, Runtime, RuntimeBuilder, spawn_turns, yield_now};
use openwork::{Turn, time};
use support::{Ledger, Random, Watchdog, until};

const LONG: Duration = Duration::from_secs(60);

fn builder(preemption: Preemption) -> RuntimeBuilder {
    Runtime::builder()
        .workers(1)
        // With homes that travel nothing is bound to a thread.
        .travelling_homes(0)
        .hand_off(true)
        .preemption(preemption)
        .slice(Duration::from_millis(1))
}

fn apart(snapshot: &Snapshot) -> u64 {
    snapshot.threads.handed_off_by[HandOff::Apart as usize]
}

fn home(rt: &Runtime, id: RoutineId) -> Option<u32> {
    let mut home = None;
    rt.handle().routines(&mut |view| {
        if view.id == id {
            home = view.home;
        }
    });
    home
}

fn flag() -> Arc<AtomicBool> {
    Arc::default()
}

fn spin_until(so: &AtomicBool) {
    while !so.load(SeqCst) {
        std::hint::spin_loop();
    }
}

/// A routine that is bound to its thread before anybody else comes, waits there, and counts what it is sent.
struct Bound {
    tx: Sender<()>,
    seen: Arc<AtomicU64>,
    routine: JoinHandle<()>,
}

impl Bound {
    fn new(rt: &Runtime) -> Bound {
        let (tx, rx) = channel::unbounded::<()>();
        let seen = Arc::new(AtomicU64::new(0));
        let counted = seen.clone();
        let routine = rt.spawn(move || {
            while rx.recv().is_ok() {
                counted.fetch_add(1, SeqCst);
            }
        });
        until_blocked(rt, routine.id());
        Bound { tx, seen, routine }
    }

    /// Gives it something to do.
    fn ready(&self) -> u64 {
        let before = self.seen.load(SeqCst);
        self.tx.send(()).unwrap();
        before
    }

    /// It does something.
    fn gets_on(&self) {
        let before = self.ready();
        until("what was bound before gets on", || {
            self.seen.load(SeqCst) > before
        });
    }

    fn end(self) {
        drop(self.tx);
        self.routine.join().unwrap();
    }
}

/// A routine that waits at one of our channels until the other end is dropped. It is told when it has begun.
fn parked(rt: &Runtime) -> (JoinHandle<()>, Sender<()>) {
    let (tx, rx) = channel::bounded::<()>(1);
    let routine = rt.spawn(move || assert!(rx.recv().is_err(), "nothing is sent"));
    until_blocked(rt, routine.id());
    (routine, tx)
}

fn until_blocked(rt: &Runtime, id: RoutineId) {
    until("it waits", || {
        let mut waits = false;
        rt.handle().routines(&mut |view| {
            waits |= view.id == id && matches!(view.state, RoutineState::Blocked(_));
        });
        waits
    });
}

/// A routine that reads from a pipe, always of the same place in this program. It is seen to be there when
/// this returns.
fn reader(rt: &Runtime) -> (JoinHandle<()>, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let (begun_tx, begun_rx) = mpsc::channel();
    let routine = spawn_reader(rt, reader, begun_tx, None);
    begun_rx.recv().unwrap();
    (routine, writer)
}

fn spawn_reader(
    rt: &Runtime,
    mut reader: PipeReader,
    begun: mpsc::Sender<()>,
    waits_at: Option<channel::Receiver<()>>,
) -> JoinHandle<()> {
    rt.spawn(move || {
        begun.send(()).unwrap();
        match waits_at {
            Some(channel) => assert!(channel.recv().is_err(), "nothing is sent"),
            None => reader.read_exact(&mut [0]).unwrap(),
        }
    })
}

/// A routine of the same place that waits at one of our channels, until the other end is dropped.
fn parked_reader(rt: &Runtime) -> (JoinHandle<()>, Sender<()>) {
    let (begun_tx, begun_rx) = mpsc::channel();
    let (tx, rx) = channel::bounded::<()>(1);
    let (pipe, _) = std::io::pipe().unwrap();
    let routine = spawn_reader(rt, pipe, begun_tx, Some(rx));
    begun_rx.recv().unwrap();
    until_blocked(rt, routine.id());
    (routine, tx)
}

/// Has the place of the readers known for holding its thread.
fn make_suspect(rt: &Runtime) {
    let before = rt.snapshot();
    let (routine, mut writer) = reader(rt);
    until("its worker was taken", || {
        rt.snapshot().monitor.retaken > before.monitor.retaken
    });
    writer.write_all(&[1]).unwrap();
    routine.join().unwrap();
    // Its thread wants a worker once more, for the end of the turn.
    until("it is gone", || {
        let now = rt.snapshot();
        now.routines.running + now.threads.away + now.threads.wanting == 0
    });
    assert_eq!(rt.snapshot().threads.suspect_sites, 1);
}

/// There is a thread to which nothing is bound, so the next one that is to start apart does.
fn until_there_is_room(rt: &Runtime) {
    until("a thread is free", || rt.snapshot().threads.unbound >= 1);
}

fn check_end(rt: Runtime) {
    let routines = rt.snapshot().routines;
    assert_eq!((routines.live(), routines.ended), (0, routines.spawned));
    rt.shutdown(LONG).unwrap();
}

/// A loop, always of the same place in this program. It runs when this returns.
fn looping(rt: &Runtime, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (begun, theirs) = (flag(), stop.clone());
    let told = begun.clone();
    let routine = rt.spawn(move || {
        told.store(true, SeqCst);
        spin_until(&theirs);
    });
    until("the loop runs", || begun.load(SeqCst));
    routine
}

/// What is bound to the first loop's thread waits for it; the others have nobody wait.
#[test]
fn a_loop_has_hostages_once() {
    let watchdog = Watchdog::new("a loop");
    let rt = builder(Preemption::Forced).build().unwrap();
    watchdog.watch("a loop", &rt.handle());
    let bound = Bound::new(&rt);
    let stop = flag();
    let first = looping(&rt, &stop);
    bound.ready();
    until("it has a hostage", || {
        // For what is bound to its own thread alone a loop is not stopped.
        rt.spawn(|| ()).join().unwrap();
        let now = rt.snapshot();
        now.monitor.hostage_episodes > 0 && now.threads.suspect_sites >= 1
    });
    stop.store(true, SeqCst);
    first.join().unwrap();
    bound.gets_on();
    until("none is left", || rt.snapshot().monitor.hostages == 0);
    let before = rt.snapshot();
    let stop = flag();
    let mut loops = Vec::new();
    for n in 1..=4 {
        until_there_is_room(&rt);
        loops.push(looping(&rt, &stop));
        let forced = rt.snapshot().monitor.forced;
        bound.gets_on();
        until("one is stopped", || {
            rt.spawn(|| ()).join().unwrap();
            rt.snapshot().monitor.forced > forced
        });
        assert_eq!(rt.snapshot().threads.beside, 0, "{n}");
    }
    let now = rt.snapshot();
    assert!(apart(&now) > apart(&before), "{now:?}");
    let episodes = before.monitor.hostage_episodes;
    assert_eq!(now.monitor.hostage_episodes, episodes);
    assert_eq!(loops.iter().filter(|one| one.is_finished()).count(), 0);
    stop.store(true, SeqCst);
    loops.into_iter().for_each(|one| one.join().unwrap());
    bound.end();
    check_end(rt);
}

/// The first one that sleeps in the kernel has what is bound to its thread wait; those after it have not.
#[test]
fn a_sleeper_has_hostages_once() {
    let watchdog = Watchdog::new("a sleeper");
    let rt = builder(Preemption::Cooperative).build().unwrap();
    watchdog.watch("a sleeper", &rt.handle());
    let bound = Bound::new(&rt);
    let (first, mut writer) = reader(&rt);
    bound.ready();
    until("it has a hostage, and its worker was taken", || {
        let now = rt.snapshot();
        (now.monitor.hostages, now.threads.suspect_sites) == (1, 1)
    });
    writer.write_all(&[1]).unwrap();
    first.join().unwrap();
    until("none is left", || rt.snapshot().monitor.hostages == 0);
    bound.gets_on();
    let before = rt.snapshot();
    assert_eq!((before.threads.suspect_sites, apart(&before)), (1, 0));
    for n in 1..=3 {
        until_there_is_room(&rt);
        let (sleeper, mut writer) = reader(&rt);
        bound.gets_on();
        assert!(!sleeper.is_finished());
        let now = rt.snapshot();
        assert!(apart(&now) >= 1, "{n}: {now:?}");
        assert_eq!((now.monitor.hostages, now.threads.beside), (0, 0), "{n}");
        writer.write_all(&[1]).unwrap();
        sleeper.join().unwrap();
    }
    let now = rt.snapshot();
    let episodes = before.monitor.hostage_episodes;
    assert_eq!(now.monitor.hostage_episodes, episodes);
    bound.end();
    check_end(rt);
}

/// Nobody starts beside a routine that may hold its thread, though it waits at a channel now.
#[test]
fn others_start_where_none_is_suspect() {
    let watchdog = Watchdog::new("others");
    let rt = builder(Preemption::Cooperative).build().unwrap();
    watchdog.watch("others", &rt.handle());
    make_suspect(&rt);
    let (usual, end_usual) = parked(&rt);
    until_there_is_room(&rt);
    let (suspect, end_suspect) = parked_reader(&rt);
    let at = home(&rt, suspect.id());
    assert_ne!(at, home(&rt, usual.id()));
    let (other, end_other) = parked(&rt);
    assert_eq!(home(&rt, other.id()), home(&rt, usual.id()));
    assert_eq!(rt.snapshot().threads.beside, 0);
    // When it has gone, its thread is as any other.
    drop(end_suspect);
    suspect.join().unwrap();
    drop((end_usual, end_other));
    usual.join().unwrap();
    other.join().unwrap();
    check_end(rt);
}

/// A reader that finds something at once, and ends.
fn short_reader(rt: &Runtime) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[1]).unwrap();
    let (begun, _heard) = mpsc::channel();
    spawn_reader(rt, reader, begun, None).join().unwrap();
}

/// A place whose routines do not hold their threads any more is suspect for some starts only.
#[test]
fn suspicion_goes() {
    let watchdog = Watchdog::new("suspicion");
    let rt = builder(Preemption::Cooperative).build().unwrap();
    watchdog.watch("suspicion", &rt.handle());
    let bound = Bound::new(&rt);
    make_suspect(&rt);
    let mut starts = 0;
    until("it is suspect no more", || {
        // So the worker is where that one is.
        bound.gets_on();
        until_there_is_room(&rt);
        short_reader(&rt);
        starts += 1;
        rt.snapshot().threads.suspect_sites == 0
    });
    let before = apart(&rt.snapshot());
    assert!((1..=starts).contains(&before), "{before} of {starts}");
    for _ in 0..20 {
        bound.gets_on();
        short_reader(&rt);
    }
    let now = rt.snapshot();
    if now.monitor.retaken == 1 {
        assert_eq!((apart(&now), now.threads.beside), (before, 0), "{now:?}");
    }
    bound.end();
    check_end(rt);
}

/// As many threads as there may be: the next one starts beside what is bound, which is counted, and all end.
#[test]
fn at_the_limit_of_threads_all_end() {
    let watchdog = Watchdog::new("at the limit");
    let rt = builder(Preemption::Cooperative)
        .max_threads(2)
        .build()
        .unwrap();
    watchdog.watch("at the limit", &rt.handle());
    make_suspect(&rt);
    let (usual, end_usual) = parked(&rt);
    until_there_is_room(&rt);
    let (first, end_first) = parked_reader(&rt);
    assert_eq!(rt.snapshot().threads.beside, 0);
    let (second, end_second) = parked_reader(&rt);
    assert_eq!(rt.snapshot().threads.beside, 1);
    assert_eq!(home(&rt, first.id()), home(&rt, second.id()));
    drop((end_usual, end_first, end_second));
    for routine in [usual, first, second] {
        routine.join().unwrap();
    }
    assert_eq!(rt.snapshot().threads.peak, 2);
    check_end(rt);
}

/// What a routine of the storm does: some hold their thread by computing, some in the kernel, some wait.
fn deed(which: u64) {
    match which {
        0 => {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(3) {
                std::hint::spin_loop();
            }
        }
        1 => std::thread::sleep(Duration::from_millis(2)),
        2 => time::sleep(Duration::from_millis(1)),
        _ => yield_now(),
    }
}

/// A storm of them from places of their own, while the number of workers changes: each runs once, and no value is
/// lost. `end` tells how many are joined before the runtime is shut down.
fn storm(what: &str, all: usize, end: usize) {
    let watchdog = Watchdog::new(what);
    let rt = builder(Preemption::Forced)
        .workers(2)
        .max_workers(3)
        .max_threads(12)
        .build()
        .unwrap();
    watchdog.watch(what, &rt.handle());
    let (ledger, mut random) = (Ledger::new(), Random::new(what));
    let ran = Arc::new(AtomicU64::new(0));
    let mut routines = Vec::new();
    for n in 0..all {
        let (token, ran) = (ledger.token(), ran.clone());
        let (which, again) = (random.below(4), random.below(4));
        let work = move || {
            let _token = token;
            deed(again);
            ran.fetch_add(1, SeqCst);
        };
        routines.push(match which {
            0 => rt.spawn(work),
            1 => rt.spawn(move || {
                yield_now();
                work();
            }),
            2 => rt.spawn(move || openwork::spawn(work).join().unwrap()),
            _ => rt.spawn(move || {
                let turns = spawn_turns(Some(work), |work| {
                    work.take().expect("one turn")();
                    Turn::Done(())
                });
                turns.join().unwrap();
            }),
        });
        if n % 32 == 0 {
            rt.handle().set_workers(1 + n / 32 % 3).unwrap();
        }
    }
    let rest = routines.split_off(end);
    routines.into_iter().for_each(|one| one.join().unwrap());
    if rest.is_empty() {
        assert_eq!(ran.load(SeqCst), all as u64);
        let now = rt.snapshot();
        assert_eq!(now.routines.ended, now.routines.spawned);
        assert!(now.threads.peak <= 12);
    }
    rt.shutdown(Duration::ZERO).unwrap();
    drop(rest);
    ledger.check_soon(what);
}

#[test]
fn nothing_is_lost_in_a_storm() {
    storm("a storm", 256, 256);
}

#[test]
fn nothing_is_lost_when_it_ends_in_the_middle() {
    for end in [0, 1, 40] {
        storm("the end in the middle", 96, end);
    }
}
