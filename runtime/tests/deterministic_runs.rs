//! Deterministic runs: the same seed makes the same run, in this process and in another; what goes
//! wrong is reported with everything needed to see it again.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use openwork::deterministic::{
    self, Config, Decision, FailureKind, Granularity, Schedule, Stepper, Strategy,
};
use openwork::snapshot::WaitReason;
use openwork::{Builder, JoinError, Runtime, blocking, current, fs, net, spawn_blocking};
use openwork::{
    channel, checkpoint, scope, select, spawn, spawn_future, spawn_turns, time, yield_now,
};
use support::this_binary;

/// Some of everything; returns what happened, in order.
fn program() -> Vec<String> {
    let (tx, rx) = channel::bounded(2);
    let (quick, slow) = (channel::unbounded(), channel::rendezvous());
    let mut routines = Vec::new();
    for name in 0..3 {
        let tx = tx.clone();
        routines.push(spawn(move || {
            for i in 0..4 {
                tx.send(format!("{name}:{i}")).unwrap();
                if i == name {
                    time::sleep(Duration::from_micros(30));
                }
            }
        }));
    }
    drop(tx);
    let turns = spawn_turns(0, move |n| {
        *n += 1;
        match *n {
            5 => openwork::Turn::Done(()),
            2 => openwork::Turn::Sleep(Duration::from_micros(20)),
            _ => openwork::Turn::Again,
        }
    });
    let (quick_tx, slow_tx) = (quick.0, slow.0);
    routines.push(spawn(move || {
        for i in 0..3 {
            quick_tx.send(format!("quick {i}")).unwrap();
            checkpoint();
            let _ = slow_tx.send_timeout(format!("slow {i}"), Duration::from_micros(40));
        }
    }));
    let mut log = Vec::new();
    let mut ends = 0;
    while ends < 3 {
        select! {
            value = rx.recv() => match value {
                Ok(value) => log.push(value),
                Err(_) => ends = 3,
            },
            value = quick.1.recv() => match value {
                Ok(value) => log.push(value),
                Err(_) => ends += 1,
            },
            value = slow.1.recv() => match value {
                Ok(value) => log.push(value),
                Err(_) => ends += 1,
            },
            after(Duration::from_micros(10)) => log.push(format!("nothing at {}", time::now_ns())),
        }
    }
    drop((rx, quick.1, slow.1));
    let data = [1, 2, 3];
    scope(|s| {
        for part in &data {
            s.spawn(move || {
                yield_now();
                *part
            });
        }
    });
    for routine in routines {
        log.push(format!("{:?}", routine.join().map_err(|e| e.message())));
    }
    turns.join().unwrap();
    log.push(format!("end at {}", time::now_ns()));
    log
}

fn tolerant_program() -> Vec<String> {
    std::panic::catch_unwind(program).unwrap_or_default()
}

/// What seeds 0 to `seeds` do, as text.
fn many(seeds: u64) -> String {
    let mut text = String::new();
    for seed in 0..seeds {
        let run = Config::new().run(seed, tolerant_program);
        match run {
            Ok(run) => text += &format!("{} {:?} {:?}\n", run.schedule, run.value, run.took),
            Err(failure) => text += &format!("{failure}\n"),
        }
    }
    text
}

#[test]
fn a_seed_makes_the_same_run_again() {
    let (first, second) = (many(100), many(100));
    assert!(first.len() > 10_000);
    assert!(first == second, "two runs of one seed differ");
}

/// The process that [`another_process_makes_the_same_run`] starts tells what its runs did.
const TELL: &str = "OPENWORK_TEST_TELL";

#[test]
fn another_process_makes_the_same_run() {
    let mine = many(20);
    if let Some(path) = std::env::var_os(TELL) {
        std::fs::write(path, mine).unwrap();
        return;
    }
    let path = std::env::temp_dir().join(format!("openwork-runs-{}", std::process::id()));
    let status = this_binary()
        .args(["--exact", "another_process_makes_the_same_run"])
        .env(TELL, &path)
        .output()
        .unwrap();
    assert!(status.status.success());
    let theirs = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(mine == theirs, "two processes differ");
}

/// A schedule is kept as text, and repeats the run to the letter.
#[test]
fn a_schedule_repeats_its_run() {
    for seed in 0..50 {
        let config = Config::new().spurious_wakes(seed % 2 == 0);
        let run = config.run(seed, tolerant_program).unwrap();
        let schedule: Schedule = run.schedule.to_string().parse().unwrap();
        let again = config.replay(&schedule, tolerant_program).unwrap();
        assert_eq!(again.schedule, run.schedule);
        assert_eq!((again.value, again.took), (run.value, run.took));
        assert_eq!(again.steps, run.steps);
    }
}

/// Where memory lies has no say: not for blocks, not for channels, whose locks are taken in the order of
/// their addresses.
#[test]
fn addresses_have_no_say() {
    let usual = many(20);
    let kept: Vec<Vec<u8>> = (0..200).map(|n| vec![1; 1 + n * 37 % 5000]).collect();
    let holes: Vec<_> = kept.into_iter().step_by(3).collect();
    assert!(usual == many(20), "with {} holes in the heap", holes.len());
    let reversed = Config::new().run(5, || pair_of_selects(true)).unwrap();
    let straight = Config::new().run(5, || pair_of_selects(false)).unwrap();
    assert_eq!(reversed.schedule, straight.schedule);
    assert_eq!(reversed.value, straight.value);
}

/// Two channels whose states lie in one order or the other.
fn pair_of_selects(swap: bool) -> Vec<u32> {
    let mut pool: Vec<_> = (0..8).map(|_| channel::bounded::<u32>(1)).collect();
    pool.sort_by_key(|(tx, _)| format!("{tx:p}"));
    let (a, b) = if swap {
        (pool.pop().unwrap(), pool.swap_remove(0))
    } else {
        (pool.swap_remove(0), pool.pop().unwrap())
    };
    drop(pool);
    let senders = [a.0, b.0];
    spawn(move || {
        for n in 0..6 {
            select! {
                sent = senders[0].send(n) => sent.unwrap(),
                sent = senders[1].send(n + 10) => sent.unwrap(),
            }
        }
    });
    let mut got = Vec::new();
    for _ in 0..6 {
        select! {
            value = a.1.recv() => got.push(value.unwrap()),
            value = b.1.recv() => got.push(value.unwrap()),
        }
    }
    got
}

/// A program that does what no seed decides is found out when it is repeated.
#[test]
fn a_program_that_leaves_its_schedule_is_found_out() {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    fn forgetful() {
        let routines = 2 + RUNS.fetch_add(1, Relaxed);
        let children: Vec<_> = (0..routines).map(|_| spawn(yield_now)).collect();
        children.into_iter().for_each(|child| child.join().unwrap());
    }
    let config = Config::new().strategy(Strategy::Uniform);
    let run = config.run(1, forgetful).unwrap();
    let failure = config.replay(&run.schedule, forgetful).unwrap_err();
    assert!(
        matches!(failure.kind, FailureKind::Diverged(_)),
        "{failure}"
    );
    assert!(
        failure.to_string().contains("left its schedule"),
        "{failure}"
    );
}

#[test]
fn seeds_make_different_runs() {
    for strategy in [
        Strategy::Uniform,
        Strategy::Sticky,
        Strategy::Priorities { depth: 3 },
        Strategy::Mixed,
    ] {
        let config = Config::new().strategy(strategy);
        let summary = config.explore(0..100, tolerant_program).unwrap();
        assert_eq!(summary.runs, 100);
        assert!(summary.distinct > 50, "{strategy:?}: {summary:?}");
    }
}

/// An hour passes in no time, in order, and exactly where steps take none.
#[test]
fn time_is_virtual() {
    let began = Instant::now();
    let config = Config::new().step_time(Duration::ZERO);
    let run = config.run(0, || {
        let order = Arc::new(Mutex::new(Vec::new()));
        let sleepers = [3u64, 1, 2].map(|hours| {
            let order = order.clone();
            spawn(move || {
                time::sleep(Duration::from_secs(3600 * hours));
                order.lock().unwrap().push((hours, time::now_ns()));
            })
        });
        sleepers.into_iter().for_each(|one| one.join().unwrap());
        let deadline = time::now() + Duration::from_secs(1);
        let (_tx, rx) = channel::bounded::<()>(1);
        assert!(rx.recv_deadline(deadline).is_err());
        assert_eq!(time::now(), deadline);
        // A real moment means the time that is left until it.
        let at = time::now_ns();
        assert!(
            rx.recv_deadline(Instant::now() + Duration::from_secs(60))
                .is_err()
        );
        assert_eq!(time::now_ns() - at, 60_000_000_000);
        order.lock().unwrap().clone()
    });
    let run = run.unwrap();
    const HOUR: u64 = 3_600_000_000_000;
    assert_eq!(run.value, [(1, HOUR), (2, 2 * HOUR), (3, 3 * HOUR)]);
    assert_eq!(run.took, Duration::from_secs(3 * 3600 + 61));
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "real time passed"
    );
}

#[test]
fn a_deadlock_names_everybody() {
    fn waits_here(rx: &channel::Receiver<u32>) {
        let _ = rx.recv();
    }
    let (site, failure) = (
        line!() + 1,
        Config::new().run(9, || {
            let (tx, rx) = channel::bounded(1);
            let named = Builder::new().name("listener");
            let listener = named.spawn(move || waits_here(&rx)).unwrap();
            let task = spawn_future(std::future::pending::<()>());
            listener.join().unwrap();
            drop((tx, task));
        }),
    );
    let failure = failure.unwrap_err();
    let FailureKind::Deadlock(deadlock) = &failure.kind else {
        panic!("{failure}");
    };
    let reasons: Vec<_> = deadlock.routines.iter().map(|one| one.waits_for).collect();
    let expected = [WaitReason::Join, WaitReason::Channel, WaitReason::Future];
    assert_eq!(reasons, expected.map(Some));
    assert_eq!(deadlock.routines[0].site.line(), site);
    assert_eq!(deadlock.routines[1].name.as_deref(), Some("listener"));
    assert_eq!(deadlock.routines[1].parent, Some(deadlock.routines[0].id));
    // The function's name is in every build, its place in those with debug information.
    let place = deadlock.routines[1].waits_in.first();
    assert!(
        place.is_some_and(|place| place.contains("waits_here")),
        "{failure}"
    );
    let text = failure.to_string();
    for part in [
        "seed 9: deadlock: 3 routines",
        "`listener`",
        "OPENWORK_SEED=9",
        "\n  9:",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    // And it is the same one again.
    assert_eq!(failure.remaining, 3);
}

#[test]
fn a_panic_is_reported_with_its_seed() {
    let failure = Config::new().run(4, || panic!("on purpose")).unwrap_err();
    let text = failure.to_string();
    assert!(text.starts_with("seed 4: panic: on purpose"), "{text}");
    // One that somebody joins is that somebody's business.
    let joined = deterministic::run(4, || spawn(|| panic!("on purpose")).join());
    assert!(joined.is_err_and(|why: JoinError| why.is_panic()));
}

#[test]
fn a_run_that_goes_round_in_circles_ends() {
    let config = Config::new().steps_max(1000);
    for polling in [yield_now as fn(), checkpoint as fn()] {
        let failure = config
            .run(0, move || {
                let never = AtomicBool::new(false);
                while !never.load(Relaxed) {
                    polling();
                }
            })
            .unwrap_err();
        assert!(matches!(failure.kind, FailureKind::Steps), "{failure}");
    }
}

/// A routine that polls what another one is to do does not keep it from doing it, whatever the priorities.
#[test]
fn whoever_polls_is_not_alone() {
    let config = Config::new().strategy(Strategy::Priorities { depth: 2 });
    for polling in [yield_now as fn(), checkpoint as fn()] {
        let result = config.explore(0..50, move || {
            let flag = Arc::new(AtomicBool::new(false));
            let set = flag.clone();
            let setter = spawn(move || set.store(true, Relaxed));
            while !flag.load(Relaxed) {
                polling();
            }
            setter.join().unwrap();
        });
        result.unwrap();
    }
}

#[test]
fn a_thread_outside_disturbs() {
    let failure = Config::new().run(0, || {
        let (tx, rx) = channel::bounded(1);
        let waiting = Arc::new(AtomicBool::new(false));
        let seen = waiting.clone();
        let outside = std::thread::spawn(move || {
            while !seen.load(Relaxed) {
                std::thread::yield_now();
            }
            tx.send(()).unwrap();
        });
        // Keeps the run going, in real time, until the thread has sent.
        let watch = spawn(move || {
            waiting.store(true, Relaxed);
            outside.join().unwrap();
        });
        rx.recv().unwrap();
        watch.join().unwrap();
    });
    match failure {
        // It sent before anybody waited: nobody was readied.
        Ok(_) => {}
        Err(failure) => assert!(matches!(failure.kind, FailureKind::Disturbed), "{failure}"),
    }
}

#[test]
fn what_reaches_outside_is_refused_or_runs_in_place() {
    deterministic::run(0, || {
        assert_eq!(blocking(|| 6 * 7), 42);
        assert_eq!(spawn_blocking(|| 6 * 7).join().unwrap(), 42);
        let socket = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let refused = socket.recv_from(&mut [0; 8]).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::Unsupported);
        assert!(fs::read("Cargo.toml").is_ok());
    });
}

/// A routine in another runtime, or in a run, cannot begin one.
#[test]
fn a_run_needs_a_plain_thread() {
    let refused = || std::panic::catch_unwind(|| deterministic::run(0, || ())).is_err();
    assert!(deterministic::run(0, refused));
    let rt = Runtime::builder().workers(1).build().unwrap();
    assert!(rt.block_on(refused));
    assert!(!refused());
}

/// Ordinary runtimes go on beside it, with their own clock.
#[test]
fn runtimes_live_side_by_side() {
    let rt = Runtime::builder().workers(2).build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let ordinary = rt.spawn(move || {
        let mut last = time::now_ns();
        let (tx, rx) = channel::rendezvous();
        let echo = spawn(move || while tx.send(()).is_ok() {});
        while !seen.load(Relaxed) {
            rx.recv().unwrap();
            let now = time::now_ns();
            assert!(now >= last && now - last < 600_000_000_000, "{last} {now}");
            last = now;
        }
        drop(rx);
        echo.join().unwrap();
    });
    let others = [0, 1].map(|_| std::thread::spawn(|| many(30)));
    let mine = many(30);
    for other in others {
        assert!(other.join().unwrap() == mine);
    }
    stop.store(true, Relaxed);
    ordinary.join().unwrap();
}

#[test]
fn the_rest_can_be_cancelled() {
    struct Released(Arc<AtomicBool>);
    impl Drop for Released {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let released = Arc::new(AtomicBool::new(false));
    let seen = released.clone();
    let run = Config::new().cancel_rest(true).run(3, move || {
        spawn(move || {
            let _held = Released(seen);
            loop {
                time::sleep(Duration::from_secs(1));
            }
        });
        time::sleep(Duration::from_secs(10));
        current().unwrap().routine.get()
    });
    assert_eq!(run.unwrap().value, 1);
    assert!(released.load(Relaxed));
}

/// By hand: the chosen one runs, the others do not; the same choices make the same run.
#[test]
fn a_person_can_choose_every_turn() {
    fn program() -> String {
        let (tx, rx) = channel::unbounded();
        for name in ['a', 'b'] {
            let tx = tx.clone();
            spawn(move || {
                tx.send(name).unwrap();
                yield_now();
                tx.send(name.to_ascii_uppercase()).unwrap();
            });
        }
        drop(tx);
        rx.iter().collect()
    }
    let by_hand = |wanted: &[u64]| {
        let mut stepper = Stepper::new(0, Granularity::Turn, program);
        for &id in wanted {
            assert!(stepper.step(openwork::RoutineId::new(id)), "{id} can run");
        }
        while let Some(&next) = stepper.runnable().first() {
            stepper.step(next);
        }
        assert!(stepper.deadlock().is_none());
        assert!(stepper.routines().is_empty());
        assert_eq!(stepper.schedule().decisions[0], Decision::Run(1));
        stepper.take_value().unwrap()
    };
    assert_eq!(by_hand(&[1, 3, 3, 2, 2]), "bBaA");
    assert_eq!(by_hand(&[1, 2, 3, 3, 2]), "abBA");

    let mut stepper = Stepper::new(0, Granularity::Point, program);
    assert!(!stepper.step(openwork::RoutineId::new(2)), "not yet born");
    let mut steps = 0;
    while let Some(&next) = stepper.runnable().last() {
        stepper.step(next);
        steps += 1;
    }
    assert!(steps > 10, "{steps} steps from point to point");
}

/// A stepper that is dropped in the middle unwinds what it has; one in a deadlock says so.
#[test]
fn a_stepper_ends_early_or_never() {
    let mut stepper = Stepper::new(0, Granularity::Turn, || {
        let (tx, rx) = channel::bounded::<()>(1);
        let _ = rx.recv();
        drop(tx);
    });
    while let Some(&next) = stepper.runnable().first() {
        stepper.step(next);
    }
    let routine = stepper.routines()[0].id;
    assert!(stepper.wake(routine), "a wake for no reason");
    assert!(stepper.step(routine));
    let deadlock = stepper.deadlock().expect("nobody sends");
    assert_eq!(deadlock.routines[0].waits_for, Some(WaitReason::Channel));
    assert!(stepper.runnable().is_empty() && !stepper.step(routine));
}
