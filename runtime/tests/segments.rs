//! What `with_segment` promises: the call is a call like any other, on more stack; the segment goes with
//! it, whatever ends it; and whoever looks sees the whole chain.
#![cfg(all(not(portable), feature = "growth"))]

mod support;

use std::cell::Cell;
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::rc::Rc;
use std::time::{Duration, Instant};

use openwork::profile::{self, cpu};
use openwork::snapshot::GuardMode;
use openwork::{
    Builder, Handle, JoinError, RoutineId, Runtime, SegmentError, Turn, spawn, time, with_segment,
    yield_now,
};

use support::{Random, until_blocked};

const LONG: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(60);

/// Uses at least `kib` KiB of stack, every byte of which it checks afterwards, around `then`.
#[inline(never)]
fn deep(kib: usize, then: &mut dyn FnMut()) -> usize {
    let mut filler = [kib as u8; 1024];
    black_box(&mut filler);
    if kib == 0 {
        then();
        return 0;
    }
    let below = deep(kib - 1, then);
    assert!(black_box(&filler).iter().all(|&byte| byte == kib as u8));
    below + 1
}

#[track_caller]
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "waited for {what}");
        std::thread::yield_now();
    }
}

/// Stacks in use go when their routines are gone, which is a little after their joins.
fn wait_for_no_stacks(runtime: &Runtime) {
    wait_for("all stacks to come back", || {
        let stacks = runtime.snapshot().stacks;
        (stacks.in_use, stacks.segments) == (0, 0)
    });
}

#[test]
fn a_call_deeper_than_the_stack_returns_its_value() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let deepest = runtime.block_on(|| {
        let local = Rc::new(Cell::new(0)); // not `Send`: the call stays on its thread
        let found = with_segment(4 << 20, || {
            local.set(deep(1000, &mut || ()));
            deep(2000, &mut yield_now)
        });
        (local.get(), found.unwrap())
    });
    assert_eq!(deepest, (1000, 2000));
    wait_for_no_stacks(&runtime);
    assert_eq!(runtime.snapshot().stacks.segments_entered, 1);
}

#[test]
fn a_plain_thread_has_a_segment_too() {
    let thread = std::thread::Builder::new().stack_size(64 << 10);
    let deepest = thread.spawn(|| {
        let outer = with_segment(8 << 20, || {
            let inner = with_segment(8 << 20, || deep(5000, &mut || ())).unwrap();
            inner + deep(5000, &mut || ())
        });
        outer.unwrap()
    });
    assert_eq!(deepest.unwrap().join().unwrap(), 10_000);
    let caught = std::panic::catch_unwind(|| with_segment(1 << 20, || panic!("deep down")).ok());
    let payload = caught.unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"deep down"));
}

/// Whoever is let go as an error has dropped what it was given.
#[test]
fn what_cannot_be_had_is_an_error_that_says_so() {
    let runtime = Runtime::builder().workers(1).max_stacks(2).build().unwrap();
    runtime.block_on(|| {
        let given = Rc::new(());
        let kept = given.clone();
        let why = with_segment(usize::MAX, move || drop(kept)).unwrap_err();
        assert!(matches!(
            why,
            SegmentError::TooLarge {
                asked: usize::MAX,
                ..
            }
        ));
        assert_eq!(Rc::strong_count(&given), 1);
        with_segment(1, || {
            let kept = given.clone();
            let why = with_segment(1, move || drop(kept)).unwrap_err();
            assert!(matches!(why, SegmentError::Limit), "{why}");
            assert_eq!(Rc::strong_count(&given), 1);
        })
        .unwrap();
        with_segment(1, || ()).expect("the one before went");
    });
}

#[test]
fn a_panic_crosses_the_segment_and_leaves_nothing_of_it() {
    support::quiet_panics();
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let routine = runtime.spawn(|| {
        struct Late(Rc<Cell<usize>>);
        impl Drop for Late {
            fn drop(&mut self) {
                // While it unwinds, too.
                let reached = with_segment(1 << 20, || deep(100, &mut || ())).unwrap();
                self.0.set(self.0.get() + reached);
            }
        }
        let reached = Rc::new(Cell::new(0));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _outer = Late(reached.clone());
            let _ = with_segment(1 << 20, || {
                let _inner = Late(reached.clone());
                deep(200, &mut || panic!("from below"));
            });
        }));
        let payload = caught.unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"from below"));
        assert!(!std::thread::panicking());
        yield_now();
        let again = with_segment(1 << 20, || deep(300, &mut yield_now)).unwrap();
        reached.get() + again
    });
    assert_eq!(routine.join().unwrap(), 500);
    let routine = runtime.spawn(|| with_segment(1 << 20, || panic!("uncaught")).unwrap());
    assert!(matches!(routine.join(), Err(JoinError::Panicked(_))));
    wait_for_no_stacks(&runtime);
    assert_eq!(runtime.snapshot().stacks.segments_entered, 5);
}

#[test]
fn a_cancel_unwinds_the_whole_chain() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    for told in [false, true] {
        let dropped = std::sync::Arc::new(());
        let held = dropped.clone();
        let routine = runtime.spawn(move || {
            let _outer = held.clone();
            with_segment(1 << 20, || {
                let _inner = held.clone();
                with_segment(1 << 20, || {
                    let _innermost = held.clone();
                    deep(100, &mut || time::sleep(LONG));
                })
                .unwrap();
                unreachable!("it is cancelled while it sleeps");
            })
            .unwrap();
        });
        wait_for("the sleep", || runtime.snapshot().routines.blocked == 1);
        if told {
            routine.abort();
        } else {
            routine.cancel(LONG);
        }
        assert!(matches!(routine.join(), Err(JoinError::Cancelled)));
        assert_eq!(std::sync::Arc::strong_count(&dropped), 1);
        wait_for_no_stacks(&runtime);
    }
}

/// A future's poll may be deep, and may even block, which binds it until the poll is over.
#[test]
fn a_turn_may_have_segments() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let turns = runtime.spawn_turns((0, 0), |(turn, sum)| {
        *turn += 1;
        let block = *turn % 2 == 0;
        let reached = with_segment(1 << 20, || {
            deep(100, &mut || {
                if block {
                    time::sleep(Duration::from_micros(50))
                }
            })
        });
        *sum += reached.unwrap();
        if *turn == 20 {
            Turn::Done(*sum)
        } else {
            Turn::Again
        }
    });
    assert_eq!(turns.join().unwrap(), 2000);
    wait_for_no_stacks(&runtime);
}

#[inline(never)]
fn marked_outermost(mut then: impl FnMut()) {
    with_segment(256 << 10, || marked_middle(&mut then)).unwrap();
    black_box(());
}

#[inline(never)]
fn marked_middle(then: &mut dyn FnMut()) {
    with_segment(1 << 20, || marked_innermost(then)).unwrap();
    black_box(());
}

#[inline(never)]
fn marked_innermost(then: &mut dyn FnMut()) {
    deep(40, then);
    black_box(());
}

const MARKS: [&str; 3] = ["marked_innermost", "marked_middle", "marked_outermost"];

fn names(frames: &[usize]) -> Vec<String> {
    let mut names = Vec::new();
    for &frame in frames {
        backtrace::resolve(frame as *mut _, |symbol| {
            names.extend(symbol.name().map(|name| name.to_string()));
        });
    }
    names
}

/// Whether all three are there, in order.
fn has_chain(names: &[String]) -> bool {
    let at = MARKS.map(|mark| names.iter().position(|name| name.contains(mark)));
    at.iter().all(Option::is_some) && at.is_sorted()
}

fn blocked_in_chain(runtime: &Runtime) -> (Handle, openwork::JoinHandle<()>) {
    let sleeper = runtime.spawn(|| marked_outermost(|| time::sleep(LONG)));
    until_blocked(&runtime.handle(), sleeper.id());
    (runtime.handle(), sleeper)
}

fn end(sleeper: openwork::JoinHandle<()>) {
    sleeper.abort();
    assert!(sleeper.join().is_err());
}

#[test]
fn a_dump_crosses_the_segments() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let (handle, sleeper) = blocked_in_chain(&runtime);
    let dump = profile::stacks(&handle).pop().unwrap();
    let names = names(&dump.frames.unwrap());
    assert!(has_chain(&names), "{names:#?}");
    assert!(
        !names.iter().any(|name| name.contains("WorkerCore")),
        "past the root"
    );
    end(sleeper);
}

#[test]
fn a_backtrace_crosses_the_segments() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let text = runtime.block_on(|| {
        let mut text = String::new();
        spawn_deep(&mut text);
        text
    });
    let names: Vec<_> = text.lines().map(str::to_owned).collect();
    assert!(has_chain(&names), "{text}");

    fn spawn_deep(text: &mut String) {
        marked_outermost(|| {
            // Its own needs are more than is left here in a debug build.
            *text = with_segment(1 << 20, || {
                std::backtrace::Backtrace::force_capture().to_string()
            })
            .unwrap();
        });
    }
}

#[inline(never)]
fn marked_around() {
    with_segment(256 << 10, marked_spinning).unwrap();
    black_box(());
}

#[inline(never)]
fn marked_spinning() {
    for n in 0..100_000u64 {
        black_box(n);
    }
    black_box(());
}

#[test]
fn a_cpu_profile_crosses_the_segments() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    // How many signals come in a time is up to the machine: on until one has.
    wait_for("a sample in a segment", || {
        let session = match cpu::start(&runtime.handle(), 500) {
            Ok(session) => session,
            Err(why) => {
                println!("no profile here: {why}");
                return true;
            }
        };
        runtime.block_on(|| {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(100) {
                marked_around();
            }
        });
        session.stop().samples.iter().any(|sample| {
            let names = names(&sample.frames);
            let at = |mark: &str| names.iter().position(|name| name.contains(mark));
            let inner = at("marked_spinning");
            inner.is_some() && at("marked_around").is_some_and(|outer| Some(outer) > inner)
        })
    });
}

fn parts(handle: &Handle, id: RoutineId) -> Vec<openwork::snapshot::StackDetailPart> {
    handle.stack(id).unwrap().parts
}

#[test]
fn the_chain_is_seen_with_what_each_part_uses() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let (handle, sleeper) = blocked_in_chain(&runtime);
    let view = handle.routine(sleeper.id()).unwrap().stack.unwrap();
    assert_eq!((view.segments, view.segments_entered), (2, 2));
    assert!(
        view.depth_bytes.unwrap() < 32 << 10,
        "its own alone: {view:?}"
    );
    let parts = parts(&handle, sleeper.id());
    let sizes: Vec<_> = parts.iter().map(|part| part.slot_bytes).collect();
    assert_eq!(sizes, [64 << 10, 256 << 10, 1 << 20]);
    for part in &parts {
        let guard = 4 << 10;
        assert!(part.depth_bytes + part.guard_distance_bytes + guard <= part.slot_bytes);
        assert!(
            part.resident_bytes.unwrap() + 4096 >= part.depth_bytes,
            "{part:?}"
        );
    }
    assert_eq!(parts[0].depth_bytes, view.depth_bytes.unwrap());
    assert!(parts[1].depth_bytes < 32 << 10 && parts[2].depth_bytes > 40 << 10);
    let stacks = runtime.snapshot().stacks;
    assert_eq!((stacks.in_use, stacks.segments), (3, 2));
    end(sleeper);
    wait_for_no_stacks(&runtime);
    assert_eq!(
        handle.stack(RoutineId::new(u64::MAX)),
        Err(profile::NoStack::Ended)
    );
}

/// All stacks of the chain were deep before and are parked shallow: their dead pages go, and not one
/// live byte.
#[test]
fn trimming_takes_the_dead_pages_of_every_part() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let handle = runtime.handle();
    let (wake, wait) = openwork::channel::rendezvous();
    let routine = Builder::new()
        .on(&handle)
        .stack_size(1 << 20)
        .spawn(move || {
            deep(300, &mut || ());
            // What lives in the frames is checked on the way back.
            deep(20, &mut || {
                with_segment(1 << 20, || {
                    deep(400, &mut || ());
                    deep(30, &mut || {
                        with_segment(1 << 20, || {
                            deep(500, &mut || ());
                            deep(40, &mut || wait.recv().unwrap());
                        })
                        .unwrap();
                    });
                })
                .unwrap();
            });
        });
    let routine = routine.unwrap();
    until_blocked(&handle, routine.id());
    let before = parts(&handle, routine.id());
    assert_eq!(handle.trim_parked_stacks(Duration::ZERO, 10), 1);
    let after = parts(&handle, routine.id());
    for (before, after) in before.iter().zip(&after) {
        let (before, after) = (
            before.resident_bytes.unwrap(),
            after.resident_bytes.unwrap(),
        );
        assert!(before > 300 << 10 && after < 100 << 10, "{before} {after}");
    }
    let fell = |parts: &[openwork::snapshot::StackDetailPart]| -> u64 {
        parts.iter().map(|part| part.resident_bytes.unwrap()).sum()
    };
    let stacks = runtime.snapshot().stacks;
    assert_eq!(
        (stacks.shrinks, stacks.shrunk_bytes),
        (1, fell(&before) - fell(&after))
    );
    wake.send(()).unwrap();
    routine.join().unwrap();
}

/// In a process of its own, which ends.
fn child(test: &str) -> Option<Output> {
    const MARK: &str = "OPENWORK_TEST_SEGMENT";
    if std::env::var_os(MARK).is_some() {
        return None;
    }
    let mut child = support::this_binary();
    let child = child.args(["--exact", test, "--nocapture"]).env(MARK, "1");
    Some(child.output().unwrap())
}

#[track_caller]
fn check(output: &Output, parts: &[&str]) {
    const SIGABRT: i32 = 6;
    assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let line = stderr.lines().find(|line| line.starts_with("openwork: "));
    let line = line.unwrap_or_else(|| panic!("no report in {stderr}"));
    for part in parts {
        assert!(line.contains(part), "{part:?} is missing in {line:?}");
    }
}

fn overflow_on_a_segment(test: &str, guard: GuardMode) {
    if let Some(output) = child(test) {
        check(
            &output,
            &[
                "routine ",
                " `parser` from ",
                "segments.rs:",
                " overflowed its segment of 256 KiB ",
            ],
        );
        return;
    }
    let runtime = Runtime::builder().workers(1).guard(guard).build().unwrap();
    let parser = Builder::new()
        .on(&runtime.handle())
        .name("parser")
        .spawn(|| {
            with_segment(1 << 20, || {
                with_segment(256 << 10, || deep(1_000_000, &mut || ())).unwrap();
            })
            .unwrap();
        });
    parser.unwrap().join().unwrap();
}

#[test]
fn an_overflow_of_a_segment_is_named() {
    overflow_on_a_segment("an_overflow_of_a_segment_is_named", GuardMode::Auto);
}

#[test]
fn an_overflow_of_a_segment_is_named_where_guards_are_mprotect() {
    overflow_on_a_segment(
        "an_overflow_of_a_segment_is_named_where_guards_are_mprotect",
        GuardMode::Mprotect,
    );
}

/// Back on its own stack it is that which overflows.
#[test]
fn after_a_segment_the_own_stack_is_named_again() {
    if let Some(output) = child("after_a_segment_the_own_stack_is_named_again") {
        check(&output, &["routine ", " overflowed its stack of 64 KiB "]);
        return;
    }
    let runtime = Runtime::builder().workers(1).build().unwrap();
    runtime.block_on(|| {
        with_segment(1 << 20, || deep(500, &mut yield_now)).unwrap();
        deep(1_000_000, &mut || ());
    });
}

#[test]
fn an_overflow_of_a_threads_segment_is_named() {
    if let Some(output) = child("an_overflow_of_a_threads_segment_is_named") {
        check(&output, &["thread ", " overflowed its segment of 1 MiB "]);
        return;
    }
    let _ = with_segment(1 << 20, || deep(1_000_000, &mut || ()));
}

/// Random chains that block, panic and are cancelled at random, on few workers: every value comes back,
/// every stack too, and each byte that lives over a pause is what it was.
#[test]
fn random_chains_lose_no_stack() {
    support::quiet_panics();
    let mut random = Random::new("random_chains_lose_no_stack");
    for workers in [1, 3] {
        let runtime = Runtime::builder().workers(workers).build().unwrap();
        let routines: Vec<_> = (0..300)
            .map(|_| {
                let seed = random.next();
                let routine = runtime.spawn(move || chain(&mut Random::from(seed), 0));
                (random.below(5) == 0, routine)
            })
            .collect();
        for (cancel, routine) in &routines {
            if *cancel {
                routine.abort();
            }
        }
        runtime.handle().trim_parked_stacks(Duration::ZERO, 1000);
        for (cancel, routine) in routines {
            match routine.join() {
                Ok(depth) => assert!(depth <= 4),
                Err(JoinError::Panicked(payload)) => {
                    assert_eq!(payload.downcast_ref::<&str>(), Some(&"by chance"));
                }
                Err(why) => assert!(cancel && matches!(why, JoinError::Cancelled)),
            }
        }
        wait_for_no_stacks(&runtime);
        assert_eq!(runtime.snapshot().routines.live(), 0);
    }
}

fn chain(random: &mut Random, depth: usize) -> usize {
    let mut reached = depth;
    for _ in 0..random.below(3) + 1 {
        let kib = random.below(8) as usize;
        deep(kib, &mut || match random.below(12) {
            0 => time::sleep(Duration::from_micros(random.below(300))),
            1 => assert_eq!(spawn(|| 7).join().unwrap(), 7),
            2 if depth > 0 && random.below(10) == 0 => std::panic::panic_any("by chance"),
            3..6 if depth < 4 => {
                let bytes = (64 << 10) << random.below(4);
                let below = with_segment(bytes, || chain(random, depth + 1)).unwrap();
                reached = reached.max(below);
            }
            _ => yield_now(),
        });
    }
    reached
}
