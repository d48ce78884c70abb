//! What the ring of turns says about their ends, and about turns that lost their worker in the middle.

mod support;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use openwork::config::Preemption;
use openwork::snapshot::{AbsenceRecord, HandOff, Source, TurnEnd, TurnRecord};
use openwork::{
    Handle, RoutineId, Runtime, Turn, WorkerId, channel, checkpoint, spawn_turns, yield_now,
};
use support::{Watchdog, until};

const SLICE: Duration = Duration::from_millis(1);

/// Whether this build can stop a thread.
const STOPS: bool = cfg!(all(not(portable), feature = "preemption"));

fn turns(handle: &Handle, worker: u32) -> Vec<TurnRecord> {
    let mut turns = Vec::new();
    let read = handle.turns(WorkerId::new(worker), 0, &mut turns);
    assert_eq!(read.lost, 0);
    turns
}

fn absences(handle: &Handle, worker: u32) -> Vec<AbsenceRecord> {
    let mut absences = Vec::new();
    let read = handle.absences(WorkerId::new(worker), 0, &mut absences);
    assert_eq!(read.lost, 0);
    absences
}

/// The ends of the routine's turns on worker 0, once it has ended and that is written down.
fn ends(rt: &Runtime, routine: RoutineId) -> Vec<TurnEnd> {
    let handle = rt.handle();
    let mut ends = Vec::new();
    until("the end is written down", || {
        let turns = turns(&handle, 0);
        let of_it = turns.iter().filter(|turn| turn.routine == routine);
        ends = of_it.map(|turn| turn.end).collect();
        ends.last() == Some(&TurnEnd::Ended)
    });
    ends
}

fn recording() -> openwork::RuntimeBuilder {
    Runtime::builder().workers(1).record_turns(true)
}

/// What is counted of turns' lengths is what the records say.
#[test]
fn lengths_are_those_of_the_records() {
    let rt = recording().build().unwrap();
    for n in 0..20u64 {
        rt.spawn(move || {
            let sum: u64 = (0..n * 1000).map(std::hint::black_box).sum();
            yield_now();
            sum
        })
        .join()
        .unwrap();
    }
    let (mut records, mut counted) = (Vec::new(), None);
    until("the last one is counted", || {
        records = turns(&rt.handle(), 0);
        let lengths = rt.snapshot().workers[0].turn_lengths;
        counted = Some(lengths);
        lengths.count == records.len() as u64 && records.len() >= 40
    });
    let counted = counted.unwrap();
    let lengths = records.iter().map(|record| record.length_ns);
    assert_eq!(counted.sum_ns, lengths.clone().sum::<u64>());
    assert_eq!(counted.max_ns, lengths.max().unwrap());
}

#[test]
fn each_turn_says_why_it_was_over() {
    use TurnEnd::{Blocked, Ended, Yielded};
    let rt = recording().build().unwrap();
    let (tx, rx) = channel::rendezvous();
    let waits = rt.spawn(move || {
        yield_now();
        rx.recv().unwrap();
        yield_now();
    });
    let id = waits.id();
    until("it waits", || rt.snapshot().routines.blocked > 0);
    tx.send(()).unwrap();
    waits.join().unwrap();
    assert_eq!(ends(&rt, id), [Yielded, Blocked, Yielded, Ended]);

    let mut left = 3;
    let again = rt.spawn_turns((), move |()| {
        left -= 1;
        match left {
            2 => Turn::Again,
            1 => Turn::Sleep(Duration::from_nanos(1)),
            _ => Turn::Done(()),
        }
    });
    let id = again.id();
    again.join().unwrap();
    let seen = ends(&rt, id);
    // A sleep may be over before it begins.
    assert!(
        seen == [Yielded, Blocked, Ended] || seen == [Yielded, Ended],
        "{seen:?}"
    );

    let panics = rt.spawn(|| std::panic::resume_unwind(Box::new(())));
    let id = panics.id();
    panics.join().unwrap_err();
    assert_eq!(ends(&rt, id), [Ended]);
}

/// At a checkpoint after its slice: with the monitor's ask, or by its own clock.
#[test]
fn who_gives_way_after_a_slice_has_not_yielded() {
    let watchdog = Watchdog::new("giving way");
    for preemption in [Preemption::Cooperative, Preemption::Forced] {
        if !STOPS && preemption == Preemption::Forced {
            // No threads are stopped there.
            continue;
        }
        let rt = recording()
            .preemption(preemption)
            .slice(SLICE)
            .build()
            .unwrap();
        watchdog.watch("giving way", &rt.handle());
        let handle = rt.handle();
        let polite = rt.spawn(move || {
            // Somebody to give way to, each time.
            let other = spawn_turns((), |()| Turn::<()>::Again);
            let me = openwork::current().unwrap().routine;
            let gave_way = |turn: &TurnRecord| turn.routine == me && turn.end == TurnEnd::GaveWay;
            while !turns_now(&handle).iter().any(gave_way) {
                let until = openwork::time::now_ns() + SLICE.as_nanos() as u64 / 2;
                while openwork::time::now_ns() < until {}
                checkpoint();
            }
            other.abort();
            yield_now();
        });
        let id = polite.id();
        polite.join().unwrap();
        let ends = ends(&rt, id);
        assert!(ends.contains(&TurnEnd::GaveWay), "{ends:?}");
        assert!(ends.contains(&TurnEnd::Yielded), "{ends:?}");
    }
}

/// Turns of worker 0, whether or not older ones are lost.
fn turns_now(handle: &Handle) -> Vec<TurnRecord> {
    let mut turns = Vec::new();
    handle.turns(WorkerId::new(0), 0, &mut turns);
    turns
}

/// Conservation: what was taken is given again, once for each absence, and the times meet.
fn check_absence(handle: &Handle, routine: RoutineId, why: HandOff) {
    let absences = absences(handle, 0);
    let turns = turns(handle, 0);
    let end = match why {
        HandOff::Frozen => TurnEnd::Frozen,
        _ => TurnEnd::InKernel,
    };
    let of_it: Vec<_> = turns.iter().filter(|t| t.routine == routine).collect();
    let cut: Vec<_> = of_it.iter().filter(|turn| turn.end == end).collect();
    let rest: Vec<_> = of_it
        .iter()
        .filter(|turn| turn.source == Source::Wanting)
        .collect();
    let away: Vec<_> = absences.iter().filter(|a| a.routine == routine).collect();
    assert!(!away.is_empty());
    assert_eq!((cut.len(), rest.len()), (away.len(), away.len()));
    for ((cut, rest), away) in cut.iter().zip(&rest).zip(&away) {
        assert_eq!((away.why, away.from, away.to), (why, away.to, away.from));
        assert_eq!(away.site, cut.site);
        assert_eq!(away.start_ns, cut.start_ns + cut.length_ns);
        assert_eq!(rest.start_ns, away.start_ns + away.length_ns);
        assert!(away.wanting_ns <= away.length_ns);
    }
}

#[test]
fn a_turn_that_sleeps_in_the_kernel_is_cut_there_and_goes_on() {
    if cfg!(portable) {
        // No workers are taken there.
        return;
    }
    let watchdog = Watchdog::new("in the kernel");
    let rt = recording().hand_off(true).build().unwrap();
    if !rt.handle().config().hand_off {
        eprintln!("skipped: no hand-off here");
        return;
    }
    watchdog.watch("in the kernel", &rt.handle());
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let reads = rt.spawn(move || reader.read_exact(&mut [0]).unwrap());
    let id = reads.id();
    until("its thread is absent", || !rt.snapshot().absent.is_empty());
    let absent = rt.snapshot().absent;
    assert_eq!((absent[0].routine, absent[0].why), (id, HandOff::Blocked));
    assert_eq!(absent[0].wanting_since_ns, None, "it sleeps still");
    writer.write_all(&[1]).unwrap();
    reads.join().unwrap();
    assert_eq!(ends(&rt, id), [TurnEnd::InKernel, TurnEnd::Ended]);
    assert_eq!(rt.snapshot().absent, []);
    check_absence(&rt.handle(), id, HandOff::Blocked);
}

#[test]
fn a_turn_that_is_stopped_is_cut_there_and_goes_on() {
    if !STOPS {
        // No threads are stopped there.
        return;
    }
    let watchdog = Watchdog::new("frozen");
    let rt = recording()
        .preemption(Preemption::Forced)
        .slice(SLICE)
        .build()
        .unwrap();
    if rt.handle().config().preemption != Preemption::Forced {
        eprintln!("skipped: no forced preemption here");
        return;
    }
    watchdog.watch("frozen", &rt.handle());
    let stop = Arc::new(AtomicBool::new(false));
    let hog = {
        let stop = stop.clone();
        rt.spawn(move || {
            while !stop.load(Relaxed) {
                std::hint::spin_loop();
            }
        })
    };
    // Nothing else lets it run on the one worker.
    rt.spawn(|| ()).join().unwrap();
    stop.store(true, Relaxed);
    let id = hog.id();
    hog.join().unwrap();
    let ends = ends(&rt, id);
    assert!(ends.contains(&TurnEnd::Frozen), "{ends:?}");
    assert_eq!(rt.snapshot().absent, []);
    check_absence(&rt.handle(), id, HandOff::Frozen);
}
