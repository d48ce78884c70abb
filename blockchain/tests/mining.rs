//! Mining on a runtime: every block is appended once, in order, and nothing that was appended is
//! lost, however the run ends.

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc;

use openwork::{Runtime, Workload};
use openwork_blockchain::{
    AppendError, Chain, ChainOptions, Difficulty, GENESIS_DATA, HashMeter, MineEnd, MineError,
    MineOutcome, MineRequest, MineRun, MineStartError, Mode, spawn_verify, verify,
};
use support::{Place, easy};

const WORKERS: usize = 2;

struct World {
    runtime: Runtime,
    chain: Chain,
    meter: Arc<HashMeter>,
}

fn world() -> World {
    world_with(Chain::in_memory(easy()).unwrap())
}

fn world_with(chain: Chain) -> World {
    let runtime = Runtime::builder().workers(WORKERS).build().unwrap();
    World {
        runtime,
        chain,
        meter: Arc::new(HashMeter::new(WORKERS)),
    }
}

impl World {
    fn start(&self, request: MineRequest, workload: &Workload) -> Result<MineRun, MineStartError> {
        openwork_blockchain::mine(
            &self.runtime.handle(),
            &self.chain,
            &self.meter,
            request,
            workload,
        )
    }

    fn run(&self, request: MineRequest) -> MineEnd {
        self.start(request, &Workload::new("test")).unwrap().wait()
    }
}

fn bits(bits: u64) -> Difficulty {
    Difficulty::new(bits).unwrap()
}

/// What holds for the figures of every run.
#[track_caller]
fn check_figures(outcome: &MineOutcome) {
    let sum = |field: fn(&openwork_blockchain::Share) -> u64| -> u64 {
        outcome.shares.iter().map(field).sum()
    };
    assert_eq!(sum(|share| share.attempts), outcome.attempts);
    assert_eq!(sum(|share| share.yields), outcome.yields);
    assert_eq!(sum(|share| share.rebases), outcome.rebases);
    assert!(sum(|share| share.blocks) <= outcome.blocks.len() as u64);
    assert!(outcome.attempts_on_old_tips <= outcome.attempts);
    let numbers: Vec<_> = outcome.shares.iter().map(|share| share.number).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    for pair in outcome.blocks.windows(2) {
        assert!(pair[0].index < pair[1].index, "blocks are in chain order");
    }
}

#[test]
fn n_routines_append_n_blocks() {
    let world = world();
    let outcome = world
        .run(MineRequest::chain("batch", 64, bits(10)))
        .unwrap();
    check_figures(&outcome);
    assert_eq!(outcome.blocks.len(), 64);
    assert_eq!((outcome.total_blocks, world.chain.length()), (65, 65));
    let data: HashSet<_> = outcome
        .blocks
        .iter()
        .map(|block| block.data.clone())
        .collect();
    assert_eq!(data, (0..64).map(|i| format!("batch-worker-{i}")).collect());
    for (place, block) in (1..).zip(&outcome.blocks) {
        assert_eq!(block.index, place);
        let mined_by = block.mined_by.expect("mined by a routine");
        assert!((mined_by.worker as usize) < WORKERS);
        let share = outcome.shares.iter().find(|share| {
            share
                .routine
                .is_some_and(|routine| routine.get() == mined_by.routine)
        });
        assert_eq!(
            block.data,
            format!("batch-worker-{}", share.unwrap().number)
        );
    }
    assert_eq!(outcome.shares.len(), 64);
    assert!(outcome.shares.iter().all(|share| share.blocks == 1));
    assert_eq!(world.meter.total(), outcome.attempts);
    assert_eq!(world.meter.hashes().iter().sum::<u64>(), outcome.attempts);
    assert!(verify(&world.chain).unwrap().valid);
}

/// If two runs could both win the same place, or a lost race dropped a block, the numbers differ.
#[test]
fn runs_at_the_same_time_lose_and_double_nothing() {
    const RUNS: u32 = 8;
    const ROUTINES: u32 = 25;
    let place = Place::new();
    let world = world_with(place.open());
    let (seen, announced) = mpsc::channel();
    world
        .chain
        .on_append(move |block| seen.send(block.index).unwrap());

    let runs: Vec<_> = (0..RUNS)
        .map(|run| {
            let request = MineRequest::chain(format!("run {run}"), ROUTINES, bits(6));
            world.start(request, &Workload::new("test")).unwrap()
        })
        .collect();
    let mut hashes = HashSet::new();
    for run in runs {
        let outcome = run.wait().unwrap();
        check_figures(&outcome);
        assert_eq!(outcome.blocks.len() as u32, ROUTINES);
        hashes.extend(outcome.blocks.iter().map(|block| block.hash));
    }
    let expected = u64::from(RUNS * ROUTINES);
    assert_eq!(hashes.len() as u64, expected);
    assert_eq!(world.chain.length(), expected + 1);
    assert_eq!(world.chain.blocks_appended(), expected);
    let announced: Vec<u64> = announced.try_iter().collect();
    assert_eq!(
        announced,
        (1..=expected).collect::<Vec<_>>(),
        "each block once, in order"
    );
    let report = verify(&world.chain).unwrap();
    assert!(report.valid, "{report:?}");
    world.chain.close();
    assert_eq!(place.open().length(), expected + 1);
}

#[test]
fn a_race_appends_one_block_whose_data_is_unchanged() {
    let world = world();
    for routines in [1, 2, 50] {
        let before = world.chain.length();
        let outcome = world
            .run(MineRequest::race("prize", routines, bits(14)))
            .unwrap();
        check_figures(&outcome);
        assert_eq!(world.chain.length(), before + 1);
        let [block] = &outcome.blocks[..] else {
            panic!("one block")
        };
        assert_eq!(block.data, "prize");
        assert_eq!(
            outcome.shares.iter().map(|share| share.blocks).sum::<u64>(),
            1
        );
        assert_eq!(outcome.shares.len(), routines as usize);
    }
    assert!(verify(&world.chain).unwrap().valid);
}

/// Each race forces the others to rebase; none may append twice although many find a nonce at once
/// (1 bit: every second attempt fits).
#[test]
fn many_races_at_once_append_one_block_each() {
    let world = world();
    let runs: Vec<_> = (0..40)
        .map(|run| {
            let request = MineRequest::race(format!("race {run}"), 16, Difficulty::MIN);
            world.start(request, &Workload::new("test")).unwrap()
        })
        .collect();
    for run in runs {
        let outcome = run.wait().unwrap();
        check_figures(&outcome);
        assert_eq!(outcome.blocks.len(), 1);
    }
    assert_eq!(world.chain.length(), 41);
    assert!(verify(&world.chain).unwrap().valid);
}

#[test]
fn one_block_is_what_post_blocks_mines() {
    let world = world();
    let outcome = world
        .run(MineRequest::one_block("hello", Difficulty::DEFAULT))
        .unwrap();
    assert_eq!((outcome.mode, outcome.routines), (Mode::Race, 1));
    assert_eq!(outcome.blocks[0].data, "hello");
    assert!(outcome.blocks[0].hash.leading_zero_bits() >= 16);
    assert!(outcome.hashes_per_sec.is_some_and(|rate| rate > 0.0));
}

/// The blocks of the first tens of miners come quickly; then the run is cancelled while hundreds
/// search on.
#[test]
fn blocks_appended_before_a_cancel_stay_and_are_listed() {
    let world = world();
    let (seen, announced) = mpsc::channel();
    // The receiver goes away before the run has ended.
    world.chain.on_append(move |_| {
        let _ = seen.send(());
    });
    let workload = Workload::new("cancelled");
    let request = MineRequest {
        yield_every: 1_000,
        ..MineRequest::chain("x", 2_000, bits(12))
    };
    let run = world.start(request, &workload).unwrap();
    let watch = run.watch();
    for _ in 0..20 {
        announced.recv().unwrap();
    }
    run.cancel();
    let failure = run.wait().unwrap_err();
    assert_eq!(failure.error, MineError::Cancelled);
    let outcome = failure.so_far;
    check_figures(&outcome);
    let listed = outcome.blocks.len() as u64;
    assert!((20..2_000).contains(&listed), "{listed} blocks");
    assert_eq!(
        world.chain.length(),
        listed + 1,
        "every block in the chain is listed"
    );
    assert_eq!(watch.progress().blocks, listed);
    assert_eq!(watch.blocks().len() as u64, listed);
    assert!(verify(&world.chain).unwrap().valid);

    // Settled means settled: nobody mines on.
    let attempts = watch.progress().attempts;
    assert_eq!(world.meter.total(), attempts);
    let again = world.run(MineRequest::chain("after", 3, bits(4))).unwrap();
    assert_eq!(world.meter.total(), attempts + again.attempts);
}

#[test]
fn a_run_cancelled_before_it_starts_leaves_no_trace() {
    let world = world();
    let workload = Workload::new("still-born");
    workload.cancel(&world.runtime.handle());
    let run = world.start(MineRequest::chain("x", 10, bits(8)), &workload);
    if let Ok(run) = run {
        let failure = run.wait().unwrap_err();
        assert_eq!(failure.error, MineError::Cancelled);
        assert_eq!(failure.so_far.attempts, 0);
    }
    assert_eq!(world.chain.length(), 1);
}

#[test]
fn progress_counts_blocks_and_attempts() {
    let world = world();
    let run = world
        .start(
            MineRequest::chain("x", 8, bits(8)),
            &Workload::new("watched"),
        )
        .unwrap();
    let watch = run.watch();
    let start = watch.progress();
    assert_eq!((start.blocks_total, start.expected_attempts), (8, 8 * 256));
    let outcome = run.wait().unwrap();
    assert_eq!(
        (watch.progress().blocks, watch.progress().attempts),
        (8, outcome.attempts)
    );

    let race = world
        .start(MineRequest::race("x", 8, bits(8)), &Workload::new("race"))
        .unwrap();
    let progress = race.progress();
    assert_eq!(
        (progress.blocks_total, progress.expected_attempts),
        (1, 256)
    );
    race.wait().unwrap();
}

#[test]
fn a_chain_that_fills_up_ends_the_run_with_what_it_has() {
    let room = (217 + GENESIS_DATA.len() + 5 * (217 + "x-worker-0".len())) as u64;
    let options = ChainOptions {
        max_bytes: room,
        ..easy()
    };
    let world = world_with(Chain::in_memory(options).unwrap());
    let failure = world.run(MineRequest::chain("x", 10, bits(4))).unwrap_err();
    assert_eq!(
        failure.error,
        MineError::Append(AppendError::Full { limit_bytes: room })
    );
    check_figures(&failure.so_far);
    assert_eq!(failure.so_far.blocks.len(), 5);
    assert_eq!(world.chain.length(), 6);

    let refused = world.start(MineRequest::race("x", 1, bits(4)), &Workload::new("late"));
    assert!(matches!(
        refused,
        Err(MineStartError::Append(AppendError::Full { .. }))
    ));
}

#[test]
fn a_request_outside_the_limits_is_refused_before_anything_runs() {
    let world = world();
    let refused = world.start(MineRequest::chain("", 1, bits(4)), &Workload::new("bad"));
    assert!(matches!(
        refused,
        Err(MineStartError::Invalid(invalid)) if invalid.field == "data"
    ));
}

#[test]
fn a_run_is_a_future_and_so_is_a_verification() {
    let world = world();
    let run = world
        .start(
            MineRequest::chain("x", 16, bits(8)),
            &Workload::new("awaited"),
        )
        .unwrap();
    let outcome = world.runtime.spawn_future(run).join().unwrap().unwrap();
    assert_eq!(outcome.blocks.len(), 16);

    let workload = Workload::new("verify");
    let report = spawn_verify(&world.runtime.handle(), &world.chain, &workload)
        .unwrap()
        .join()
        .unwrap()
        .unwrap();
    assert_eq!(
        (report.valid, report.blocks, report.first_bad),
        (true, 17, None)
    );
}

#[test]
fn a_cancelled_verification_ends() {
    let world = world();
    let workload = Workload::new("verify");
    workload.cancel(&world.runtime.handle());
    if let Ok(verification) = spawn_verify(&world.runtime.handle(), &world.chain, &workload) {
        assert!(verification.join().is_err());
    }
}

/// Reading goes on while blocks are mined and committed, and sees only whole prefixes of the chain.
#[test]
fn the_chain_can_be_read_and_verified_while_it_grows() {
    let place = Place::new();
    let world = world_with(place.open());
    let run = world
        .start(
            MineRequest::chain("x", 300, bits(8)),
            &Workload::new("growing"),
        )
        .unwrap();
    let mut seen = 0;
    while seen < 301 {
        let report = verify(&world.chain).unwrap();
        assert!(report.valid, "{report:?}");
        assert!(report.blocks >= seen);
        seen = report.blocks;
        let newest = world.chain.newest(10).unwrap();
        for pair in newest.windows(2) {
            assert_eq!(pair[0].previous_hash, pair[1].hash);
        }
    }
    run.wait().unwrap();
}

/// All miners start in the queue of the worker that ran the root; the others have to come for them.
#[test]
fn the_miners_of_one_queue_are_stolen() {
    let world = world();
    let workload = Workload::new("stolen");
    let run = world
        .start(MineRequest::chain("x", 64, Difficulty::MAX), &workload)
        .unwrap();
    // Ends with the event; if nobody steals, the test's time-out tells.
    while workload.counters().stolen == 0 || world.meter.hashes().contains(&0) {
        std::thread::yield_now();
    }
    run.cancel();
    let failure = run.wait().unwrap_err();
    assert_eq!(failure.error, MineError::Cancelled);
    assert_eq!(failure.so_far.shares.len(), 64);
}

/// A turn of ten million attempts takes half a second and more. Neither the figures nor a cancel wait
/// for its end.
#[test]
fn a_long_turn_is_seen_and_cancelled_before_its_end() {
    let world = world();
    for mode in [MineRequest::chain, MineRequest::race] {
        let request = MineRequest {
            yield_every: *MineRequest::YIELD_EVERY.end(),
            ..mode(String::from("x"), 1, Difficulty::MAX)
        };
        let run = world.start(request, &Workload::new("long")).unwrap();
        while run.progress().attempts == 0 {
            std::thread::yield_now();
        }
        run.cancel();
        let so_far = run.wait().unwrap_err().so_far;
        let turn = *MineRequest::YIELD_EVERY.end();
        assert!(
            (1..turn).contains(&so_far.attempts),
            "{} attempts",
            so_far.attempts
        );
    }
}

/// A hog's turn ends with its block, with the chain's tip or with its run: never of itself.
#[test]
fn a_hog_never_gives_way() {
    let world = world();
    for mode in [MineRequest::chain, MineRequest::race] {
        let request = MineRequest {
            yield_every: 0,
            ..mode(String::from("x"), 1, bits(18))
        };
        let outcome = world.run(request).unwrap();
        check_figures(&outcome);
        assert_eq!((outcome.blocks.len(), outcome.yields), (1, 0));
        let endless = MineRequest {
            yield_every: 0,
            ..mode(String::from("x"), 3, Difficulty::MAX)
        };
        let run = world.start(endless, &Workload::new("hogs")).unwrap();
        while run.progress().attempts == 0 {
            std::thread::yield_now();
        }
        run.cancel();
        assert_eq!(run.wait().unwrap_err().error, MineError::Cancelled);
    }
    assert!(verify(&world.chain).unwrap().valid);
}

/// With one worker and the writer held, a miner that waited on its worker would stop everything.
#[test]
fn waiting_for_the_disk_holds_no_worker() {
    let chain = Chain::in_memory(easy()).unwrap();
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let (held, is_held) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    chain.on_append(move |_| {
        let _ = held.send(());
        let _ = may_go_on.lock().unwrap().recv();
    });
    let meter = Arc::new(HashMeter::new(1));
    let request = MineRequest::chain("x", 4, Difficulty::MIN);
    let run = openwork_blockchain::mine(
        &runtime.handle(),
        &chain,
        &meter,
        request,
        &Workload::new("held"),
    )
    .unwrap();
    is_held.recv().unwrap();
    assert_eq!(runtime.spawn(|| 6 * 7).join().unwrap(), 42);
    drop(go_on);
    assert_eq!(run.wait().unwrap().blocks.len(), 4);
}
