//! The sampler on a real runtime.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openwork::snapshot::Source;
use openwork::{Builder, Runtime, Turn, spawn_turns};
use openwork_observatory::finding::Kind;
use openwork_observatory::profile;
use openwork_observatory::{Extra, Observatory, Sample, catalogue};

/// After so long without the awaited event, a test has failed.
const WATCHDOG: Duration = Duration::from_secs(120);

fn two_workers() -> (Runtime, Observatory) {
    let runtime = Runtime::builder()
        .workers(2)
        .record_turns(true)
        .build()
        .expect("a runtime");
    let observatory = Observatory::start(runtime.handle(), Extra::default).expect("a thread");
    (runtime, observatory)
}

/// The first sample after `from` that is as wanted; all samples up to it are passed to `wanted`.
#[track_caller]
fn await_sample(
    observatory: &Observatory,
    mut from: u64,
    mut wanted: impl FnMut(&Sample) -> bool,
) -> Arc<Sample> {
    loop {
        let newest = observatory
            .wait_newer(from, WATCHDOG)
            .expect("a newer sample");
        for sample in observatory.since(from).expect("60 s are kept") {
            if wanted(&sample) {
                return sample;
            }
        }
        from = newest.n;
    }
}

fn turns(sample: &Sample) -> u64 {
    sample
        .snapshot
        .workers
        .iter()
        .map(|worker| worker.turns())
        .sum()
}

/// A pile of short turn routines, spawned in one worker's queue so that the other steals.
fn pile(runtime: &Runtime) {
    runtime.block_on(|| {
        let piled: Vec<_> = (0..64)
            .map(|_| {
                spawn_turns(50u32, |left| {
                    let mut x = u64::from(*left);
                    for _ in 0..20_000 {
                        x = std::hint::black_box(x.wrapping_mul(31));
                    }
                    *left -= 1;
                    if *left == 0 {
                        Turn::Done(())
                    } else {
                        Turn::Again
                    }
                })
            })
            .collect();
        for routine in piled {
            routine.join().expect("no panic");
        }
    });
}

#[test]
fn equal_numbers_are_the_same_sample_and_none_is_missing() {
    let (_runtime, observatory) = two_workers();
    let told = Arc::new(Mutex::new(Vec::new()));
    observatory.on_sample({
        let told = told.clone();
        move |sample: &Arc<Sample>| told.lock().expect("no panic").push(sample.clone())
    });
    let _viewer = observatory.viewer();
    let first = observatory.latest().n;
    await_sample(&observatory, first, |sample| sample.n >= first + 6);

    let kept: HashMap<_, _> = observatory
        .since(first)
        .expect("kept")
        .into_iter()
        .map(|sample| (sample.n, sample))
        .collect();
    let newest = kept.keys().copied().max().expect("some are kept");
    let told = told.lock().expect("no panic");
    assert!(told.len() >= 5);
    for pair in told.windows(2) {
        assert_eq!(pair[0].n + 1, pair[1].n, "no gap");
        assert_eq!(pair[0].at_ns + pair[1].interval_ns, pair[1].at_ns);
    }
    // Newer ones may have come since.
    let is_kept = |sample: &&Arc<Sample>| (first + 1..=newest).contains(&sample.n);
    for sample in told.iter().filter(is_kept) {
        assert!(Arc::ptr_eq(sample, &kept[&sample.n]));
    }
    for sample in observatory.history(first).iter().filter(is_kept) {
        assert_eq!(
            turns(sample),
            turns(&kept[&sample.n]),
            "the 1 Hz history is the same samples"
        );
    }
}

#[test]
fn a_viewer_makes_it_ten_a_second_and_without_one_it_is_once() {
    // The pace is that of beginnings; a sample is dated a little later, on a loaded machine more than a little.
    const ONCE: u64 = 500_000_000;
    let (_runtime, observatory) = two_workers();
    let sample = await_sample(&observatory, 0, |sample| sample.n == 2);
    assert!(sample.interval_ns >= ONCE, "{}", sample.interval_ns);
    assert_eq!(sample.watching.viewers, 0);

    let viewer = observatory.viewer();
    let fast = await_sample(&observatory, 2, |sample| {
        sample.watching.viewers == 1 && sample.interval_ns < ONCE
    });
    let fast = await_sample(&observatory, fast.n, |_| true);
    assert!(
        fast.interval_ns >= 50_000_000,
        "not faster than 10 Hz: {}",
        fast.interval_ns
    );

    drop(viewer);
    let slow = await_sample(&observatory, fast.n, |sample| sample.watching.viewers == 0);
    let slow = await_sample(&observatory, slow.n, |_| true);
    assert!(slow.interval_ns >= ONCE, "{}", slow.interval_ns);
}

#[test]
fn lanes_hold_every_turn_and_show_what_was_stolen() {
    let (runtime, observatory) = two_workers();
    let viewer = observatory.viewer();
    let before = await_sample(&observatory, 0, |sample| {
        sample.watching.viewers == 1 && sample.snapshot.routines.live() == 0
    });
    pile(&runtime);
    let (mut drawn, mut merged, mut stolen, mut moved) = (0u64, 0, 0u64, 0u64);
    let after = await_sample(&observatory, before.n, |sample| {
        let cells = || sample.lanes.iter().flat_map(|lane| &lane.cells);
        drawn += cells().map(|cell| u64::from(cell.turns)).sum::<u64>();
        stolen += cells().filter(|cell| cell.source == Source::Stolen).count() as u64;
        moved += sample
            .steals
            .iter()
            .map(|steal| u64::from(steal.moved))
            .sum::<u64>();
        merged += sample.merged;
        assert!(
            cells().count() <= 202,
            "two workers of 100 cells and the unfinished turn"
        );
        sample.snapshot.routines.live() == 0 && drawn >= turns(sample) - turns(&before)
    });
    assert_eq!(after.watching.turns_lost, 0);
    assert_eq!(
        drawn,
        turns(&after) - turns(&before),
        "every turn is in one cell"
    );
    assert!(stolen > 0, "the second worker had to steal");
    assert!(merged > 0 && merged <= drawn);
    let counted = |sample: &Sample| {
        sample
            .snapshot
            .workers
            .iter()
            .map(|w| w.stolen)
            .sum::<u64>()
    };
    assert!(moved <= counted(&after) - counted(&before));

    drop(viewer);
    let timeline = observatory.timeline(before.at_ns, after.at_ns, 500);
    let again: u64 = timeline.cells().map(|cell| u64::from(cell.turns)).sum();
    assert_eq!(
        (again, timeline.lost),
        (drawn, 0),
        "the rings tell the same"
    );
    assert!(timeline.cells().any(|cell| cell.source == Source::Stolen));
}

#[test]
fn figures_add_up_at_rest() {
    let (runtime, observatory) = two_workers();
    pile(&runtime);
    let n = observatory.latest().n;
    let sample = await_sample(&observatory, n, |sample| {
        sample.snapshot.routines.live() == 0
    });
    let read = |name: &str| {
        let metric = catalogue::METRICS.iter().find(|metric| metric.name == name);
        let points = metric
            .unwrap_or_else(|| panic!("{name} is no metric"))
            .read(&sample);
        points
            .iter()
            .map(|point| point.value.as_f64() as u64)
            .sum::<u64>()
    };
    assert_eq!(
        read("openwork_routines_spawned_total"),
        read("openwork_routines_ended_total")
    );
    assert_eq!(read("openwork_routines"), 0);
    assert_eq!(read("openwork_turns_total"), turns(&sample));
    let stolen: u64 = sample
        .snapshot
        .workers
        .iter()
        .map(|worker| worker.stolen)
        .sum();
    assert_eq!(read("openwork_stolen_total"), stolen);
    for metric in catalogue::METRICS {
        for point in metric.read(&sample) {
            assert_eq!(point.labels.len(), metric.labels.len(), "{}", metric.name);
        }
    }
}

#[test]
fn a_worker_in_one_turn_is_told_while_it_lasts_and_afterwards() {
    let (runtime, observatory) = two_workers();
    let go_on = Arc::new(AtomicBool::new(true));
    let hog = runtime.spawn({
        let go_on = go_on.clone();
        move || {
            while go_on.load(Relaxed) {
                std::hint::spin_loop();
            }
        }
    });
    let has = |sample: &Sample, kind: Kind| {
        let mut of_kind = sample
            .findings
            .iter()
            .filter(|finding| finding.kind == kind);
        of_kind.next().map(|finding| finding.text.clone())
    };
    let stuck = await_sample(&observatory, 0, |sample| {
        has(sample, Kind::WorkerStuck).is_some()
    });
    let text = has(&stuck, Kind::WorkerStuck).expect("just seen");
    assert!(
        text.contains(&format!("routine {}", hog.id())) && text.contains(file!()),
        "{text}"
    );

    go_on.store(false, Relaxed);
    hog.join().expect("no panic");
    let told = await_sample(&observatory, stuck.n, |sample| {
        has(sample, Kind::WorkerStuck).is_none() && has(sample, Kind::LongTurn).is_some()
    });
    let text = has(&told, Kind::LongTurn).expect("just seen");
    assert!(text.contains(file!()), "{text}");
}

#[test]
fn a_running_turn_is_in_the_lane_before_it_ends() {
    let (runtime, observatory) = two_workers();
    let _viewer = observatory.viewer();
    let go_on = Arc::new(AtomicBool::new(true));
    let hog = runtime.spawn({
        let go_on = go_on.clone();
        move || {
            while go_on.load(Relaxed) {
                std::hint::spin_loop();
            }
        }
    });
    let id = hog.id();
    let mut begun = None;
    await_sample(&observatory, 0, |sample| {
        let cells = sample.lanes.iter().flat_map(|lane| &lane.cells);
        let open: Vec<_> = cells
            .filter(|cell| cell.routine == id && cell.turns == 0)
            .collect();
        let Some(cell) = open.first() else {
            return false;
        };
        assert_eq!(open.len(), 1);
        match begun {
            None => begun = Some(**cell),
            Some(before) => assert_eq!(cell.start_ns, before.start_ns),
        }
        begun.is_some_and(|before| cell.length_ns > before.length_ns)
    });
    go_on.store(false, Relaxed);
    hog.join().expect("no panic");
    let start_ns = begun.expect("seen").start_ns;
    await_sample(&observatory, 0, |sample| {
        let mut cells = sample.lanes.iter().flat_map(|lane| &lane.cells);
        cells.any(|cell| cell.start_ns == start_ns && cell.turns == 1)
    });
}

#[test]
fn every_routine_is_told_with_its_stack_and_its_spawner() {
    let (runtime, observatory) = two_workers();
    let handle = runtime.handle();
    let sleeper = Builder::new()
        .name("sleeper")
        .on(&handle)
        .spawn(|| openwork::time::sleep(Duration::from_secs(3_600)))
        .expect("spawned");
    // Counted as blocked it is a moment before its own state says so.
    let sleeps = |view: openwork::snapshot::RoutineView| view.wait_reason().is_some();
    while !handle.routine(sleeper.id()).is_some_and(sleeps) {
        std::thread::yield_now();
    }

    let symbols = observatory.symbols();
    let routines = profile::routines::Routines::take(&handle);
    assert_eq!(routines.len(), 1);
    let text = routines.text_each(10, symbols);
    let head = format!("routine {} \"sleeper\" [blocked, sleep, ", sleeper.id());
    assert!(text.starts_with(&head), "{text}");
    assert!(text.contains("openwork::time::sleep"), "{text}");
    assert!(text.contains(&format!("created at {}", file!())), "{text}");

    let report = routines.report(symbols);
    assert_eq!(report.total(0), 1);
    let labels: Vec<_> = report.stacks[0]
        .labels
        .iter()
        .map(|l| (l.key, l.value.as_str()))
        .collect();
    assert_eq!(labels, [("state", "blocked"), ("wait_reason", "sleep")]);
    let groups = routines.groups(symbols);
    assert_eq!((groups.len(), groups[0].count), (1, 1));
    assert_eq!(groups[0].some, [sleeper.id()]);
    sleeper.abort();
}

#[inline(never)]
fn burn_for_the_profile(go_on: &AtomicBool) -> u64 {
    let mut x = 1u64;
    while go_on.load(Relaxed) {
        x = std::hint::black_box(x.wrapping_mul(31) ^ 7);
    }
    x
}

#[test]
fn a_cpu_profile_names_the_function_and_the_routine_that_burnt_time() {
    let (runtime, observatory) = two_workers();
    let go_on = Arc::new(AtomicBool::new(true));
    let burner = Builder::new()
        .name("burner")
        .on(&runtime.handle())
        .spawn({
            let go_on = go_on.clone();
            move || burn_for_the_profile(&go_on)
        })
        .expect("spawned");
    // How much of a processor it gets is up to the machine: again, until some samples have come.
    let symbols = observatory.symbols();
    let report = loop {
        let session = profile_session(&runtime);
        std::thread::sleep(Duration::from_millis(500));
        let taken = session.stop();
        if taken.samples.len() >= 10 {
            break profile::cpu::report(&taken, symbols);
        }
    };
    go_on.store(false, Relaxed);
    burner.join().expect("no panic");
    let icicle = report.icicle(report.default_value, symbols);
    assert_eq!(icicle.root.total, report.total(report.default_value) as u64);
    fn find<'a>(node: &'a profile::Node, name: &str) -> Option<&'a profile::Node> {
        let here = node.name.ends_with(name).then_some(node);
        here.or_else(|| node.children.iter().find_map(|child| find(child, name)))
    }
    let found =
        find(&icicle.root, "::burn_for_the_profile").unwrap_or_else(|| panic!("{icicle:#?}"));
    assert!(
        found.total * 2 > icicle.root.total,
        "most of the time went there: {icicle:#?}"
    );
    let labelled = report.stacks.iter().filter(|stack| {
        stack
            .labels
            .iter()
            .any(|label| label.key == "routine" && label.value == "burner")
    });
    assert!(labelled.count() > 0);
    assert!(!report.pprof(symbols).is_empty());
}

fn profile_session(runtime: &Runtime) -> openwork::profile::cpu::Session {
    openwork::profile::cpu::start(&runtime.handle(), 250).expect("no other profile in this process")
}

#[test]
fn it_ends_when_told_and_keeps_what_it_saw() {
    let (_runtime, observatory) = two_workers();
    let clone = observatory.clone();
    observatory.stop();
    let last = clone.latest();
    assert!(clone.wait_newer(last.n, WATCHDOG).is_none());
    assert!(
        clone
            .since(last.n)
            .is_some_and(|samples| samples.is_empty())
    );
    assert!(clone.since(last.n + 1).is_none(), "never given out");
}
