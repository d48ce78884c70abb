//! What is published of stacks: sizes add up, depth and memory are told by spawn site, and what is given
//! back is counted to the page.
#![cfg(not(feature = "portable"))]

mod support;

use std::hint::black_box;
use std::time::Duration;

use openwork::snapshot::{RoutineState, RoutineView, StackSite};
use openwork::{Builder, Handle, JoinHandle, RoutineId, Runtime, channel, time};
use support::{until, until_blocked};

const LONG: Duration = Duration::from_secs(3600);

/// Uses at least `kib` KiB of stack and calls `then` at the deepest point.
#[inline(never)]
fn deep(kib: usize, then: &mut dyn FnMut()) -> u8 {
    let filler = black_box([0u8; 1024]);
    if kib == 0 {
        then();
        return filler[0];
    }
    black_box(deep(kib - 1, then)) + filler[1023]
}

/// Waits until the routine has blocked for the `turns`th time. (It is measured where it suspends, and a wait
/// that is over at once is none.)
#[track_caller]
fn wait_for_turn(handle: &Handle, id: RoutineId, turns: u64) {
    let is_there =
        |view: RoutineView| view.turns == turns && matches!(view.state, RoutineState::Blocked(_));
    until("it has blocked", || {
        handle.routine(id).is_some_and(is_there)
    });
}

#[track_caller]
fn wait_for_blocked(runtime: &Runtime, sleepers: &[JoinHandle<()>]) {
    for sleeper in sleepers {
        until_blocked(&runtime.handle(), sleeper.id());
    }
}

fn end(sleepers: Vec<JoinHandle<()>>) {
    sleepers.iter().for_each(JoinHandle::abort);
    for sleeper in sleepers {
        assert!(sleeper.join().is_err());
    }
}

#[test]
fn sizes_add_up_to_the_totals() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    assert!(runtime.snapshot().stack_classes.is_empty());
    let asked = [32 << 10, 64 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];
    let sleepers = asked.map(|bytes| {
        let sized = Builder::new().on(&runtime.handle()).stack_size(bytes);
        sized.spawn(|| time::sleep(LONG)).unwrap()
    });
    wait_for_blocked(&runtime, &sleepers);
    let mut snapshot = runtime.snapshot();
    let in_use: Vec<_> = snapshot
        .stack_classes
        .iter()
        .map(|class| (class.slot_bytes as usize, class.in_use))
        .collect();
    let each = [
        (32 << 10, 1),
        (64 << 10, 2),
        (256 << 10, 1),
        (1 << 20, 1),
        (4 << 20, 1),
    ];
    assert_eq!(in_use, each);
    end(sleepers.into());
    // The last ones may still be on their way.
    until("no stack is in use", || {
        snapshot = runtime.snapshot();
        snapshot.stacks.in_use == 0
    });
    let classes = &snapshot.stack_classes;
    assert_eq!(classes.len(), 5, "{classes:?}");
    let stacks = snapshot.stacks;
    let sum = |of: fn(&openwork::snapshot::StackClassFigures) -> u64| -> u64 {
        classes.iter().map(of).sum()
    };
    assert_eq!(sum(|class| class.in_use), 0);
    assert_eq!(sum(|class| class.pooled), stacks.pooled);
    assert_eq!(sum(|class| class.free), stacks.free);
    assert_eq!(sum(|class| class.reserved_bytes), stacks.reserved_bytes);
    assert_eq!(stacks.pooled + stacks.free, asked.len() as u64);
}

fn of_line(handle: &Handle, line: u32) -> StackSite {
    let (sites, lost) = handle.stack_sites();
    assert_eq!(lost, 0);
    let mut here = sites.into_iter().filter(|found| found.site.line() == line);
    let found = here.next().expect("the site was measured");
    assert!(here.next().is_none(), "once for all workers");
    found
}

/// Over all routines that there were, ended ones included.
#[test]
fn depth_is_told_by_spawn_site() {
    // A turn is one turn: no worker is taken in the middle.
    let runtime = Runtime::builder().workers(2).hand_off(false).build();
    let runtime = runtime.unwrap();
    let handle = runtime.handle();
    let (go_on, gate) = channel::unbounded();
    let shallow_line = line!() + 2;
    for _ in 0..20 {
        let routine = runtime.spawn({
            let gate = gate.clone();
            move || gate.recv().unwrap()
        });
        wait_for_turn(&handle, routine.id(), 1);
        go_on.send(()).unwrap();
        routine.join().unwrap();
    }
    let sized_line = line!() + 4;
    for kib in [1, 70, 5] {
        let gate = gate.clone();
        let builder = Builder::new().on(&handle).stack_size(512 << 10);
        let routine = builder.spawn(move || {
            gate.recv().unwrap();
            deep(kib, &mut || gate.recv().unwrap());
        });
        let routine = routine.unwrap();
        for turn in 1..=2 {
            wait_for_turn(&handle, routine.id(), turn);
            go_on.send(()).unwrap();
        }
        routine.join().unwrap();
    }
    let [shallow, sized] = [shallow_line, sized_line].map(|line| of_line(&handle, line));
    assert_eq!((shallow.measured, shallow.slot_bytes), (20, 64 << 10));
    assert_eq!((sized.measured, sized.slot_bytes), (3, 512 << 10));
    assert!(shallow.high_water_bytes < 16 << 10, "{shallow:?}");
    let most = (70 << 10)..(400 << 10);
    assert!(
        most.contains(&(sized.high_water_bytes as usize)),
        "{sized:?}"
    );
    assert!(sized.growths >= 2, "{sized:?}");
    assert!(sized.advised_bytes() >= 2 * sized.high_water_bytes + (24 << 10));
    assert!(sized.advised_bytes() > shallow.advised_bytes());
}

#[test]
fn memory_is_told_by_spawn_site_and_what_comes_back_is_counted() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let spawn = |kib: usize| {
        let sized = Builder::new().on(&runtime.handle()).stack_size(1 << 20);
        let sleeper = sized.spawn(move || {
            deep(kib, &mut || ());
            time::sleep(LONG);
        });
        sleeper.unwrap()
    };
    let sleepers = vec![spawn(100), spawn(20)];
    wait_for_blocked(&runtime, &sleepers);
    let handle = runtime.handle();
    let before = handle.sample_site_residency(10).unwrap();
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!((before[0].routines, before[0].sampled), (2, 2));
    assert!(before[0].resident_bytes >= 120 << 10, "{before:?}");
    let figures = runtime.snapshot().stacks;
    assert_eq!((figures.shrinks, figures.shrunk_bytes), (0, 0));
    assert_eq!(handle.trim_parked_stacks(Duration::ZERO, 10), 2);
    let after = handle.sample_site_residency(10).unwrap();
    let figures = runtime.snapshot().stacks;
    assert_eq!(figures.shrinks, 2);
    let fell = before[0].resident_bytes - after[0].resident_bytes;
    assert_eq!(figures.shrunk_bytes, fell, "to the page");
    assert!(fell >= 100 << 10);
    end(sleepers);
}
