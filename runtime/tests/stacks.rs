//! What a dump of all stacks promises: blocked routines are walked without being run, and what
//! cannot be walked says why.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use openwork::profile::{NoStack, RoutineStack, stacks};
use openwork::snapshot::RoutineState;
use openwork::{Handle, RoutineId, Runtime, Turn};

const LONG: Duration = Duration::from_secs(3600);

#[cfg(not(portable))]
fn mentions(frames: &[usize], name: &str) -> bool {
    frames.iter().any(|&frame| {
        let mut found = false;
        backtrace::resolve(frame as *mut _, |symbol| {
            found |= symbol
                .name()
                .is_some_and(|known| known.to_string().contains(name));
        });
        found
    })
}

/// Waits until the routine is blocked or running, whichever is asked for.
#[track_caller]
fn wait_until(handle: &Handle, id: RoutineId, state: fn(RoutineState) -> bool) {
    let began = Instant::now();
    while !handle.routine(id).is_some_and(|view| state(view.state)) {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{:?}",
            handle.routine(id)
        );
        std::thread::yield_now();
    }
}

fn is_blocked(state: RoutineState) -> bool {
    matches!(state, RoutineState::Blocked(_))
}

fn is_running(state: RoutineState) -> bool {
    state == RoutineState::Running
}

fn of(handle: &Handle, id: RoutineId) -> RoutineStack {
    let mut all = stacks(handle);
    all.retain(|stack| stack.view.id == id);
    all.pop().unwrap()
}

#[cfg(not(portable))]
#[inline(never)]
fn marked_wait(depth: usize) -> usize {
    if depth == 0 {
        openwork::time::sleep(LONG);
        return 0;
    }
    black_box(marked_wait(depth - 1)) + 1
}

/// Not in portable builds, where it is on a thread that is not walked.
#[cfg(not(portable))]
#[test]
fn a_blocked_routine_is_walked_to_its_root() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    let routine = runtime.spawn(|| marked_wait(10));
    wait_until(&handle, routine.id(), is_blocked);
    let frames = of(&handle, routine.id()).frames.unwrap();
    let marked = frames
        .iter()
        .filter(|&&frame| mentions(&[frame], "marked_wait"))
        .count();
    assert_eq!(marked, 11, "{frames:#x?}");
    assert!(!mentions(&frames, "WorkerCore"), "past the root");
    // Looking did not wake it, and it can still be ended.
    assert!(is_blocked(handle.routine(routine.id()).unwrap().state));
    routine.abort();
    assert!(routine.join().is_err());
}

#[test]
fn what_cannot_be_walked_says_why() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let handle = runtime.handle();
    let turns = runtime.spawn_turns((), |()| -> Turn<()> { Turn::Sleep(LONG) });
    wait_until(&handle, turns.id(), is_blocked);
    let go = Arc::new(AtomicBool::new(true));
    let busy = {
        let go = go.clone();
        runtime.spawn(move || {
            while go.load(Relaxed) {
                std::hint::spin_loop();
            }
        })
    };
    wait_until(&handle, busy.id(), is_running);
    // The only worker is busy, so this one does not begin.
    let waiting = runtime.spawn(|| ());
    let reason = |id| of(&handle, id).frames.unwrap_err();
    assert_eq!(reason(turns.id()), NoStack::BetweenTurns);
    assert_eq!(reason(busy.id()), NoStack::Running);
    assert_eq!(reason(waiting.id()), NoStack::NotStarted);
    go.store(false, Relaxed);
    busy.join().unwrap();
    waiting.join().unwrap();
    turns.abort();
}

/// Dumps taken all the time while routines sleep, wake and end: each wake is carried out, so that
/// all of them end.
#[test]
fn no_wake_is_lost_to_a_dump() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    let walked_some = Arc::new(AtomicBool::new(false));
    let routines: Vec<_> = (0..16)
        .map(|i| {
            let walked_some = walked_some.clone();
            runtime.spawn(move || {
                let mut rounds = 0_u64..;
                while let Some(round) = rounds.next()
                    && (round < 300 || !walked_some.load(Relaxed))
                {
                    openwork::time::sleep(Duration::from_micros(round % 7 * 10));
                    let child = openwork::spawn(move || black_box(round));
                    assert_eq!(child.join().unwrap(), round);
                }
                i
            })
        })
        .collect();
    let mut walked = 0;
    while routines.iter().any(|routine| !routine.is_finished()) {
        let looked_at = |s: &&RoutineStack| matches!(s.frames, Ok(_) | Err(NoStack::Elsewhere));
        walked += stacks(&handle).iter().filter(looked_at).count();
        walked_some.store(walked > 0, Relaxed);
    }
    for (i, routine) in routines.into_iter().enumerate() {
        assert_eq!(routine.join().unwrap(), i);
    }
}
