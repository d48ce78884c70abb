//! What the deterministic suites share: every program is explored in all the ways there are.

use openwork::deterministic::{Config, Strategy, Summary};
use std::time::Duration;

/// Seeds per way. More in a nightly run: `OPENWORK_TEST_SEEDS=100000`.
const SEEDS: u64 = 100;

fn seeds() -> u64 {
    match std::env::var("OPENWORK_TEST_SEEDS") {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => SEEDS,
    }
}

/// Explores the program plainly, with wakes for no reason, with time standing still while somebody can
/// run, and with steps so long that any deadline may come before anything else.
#[track_caller]
pub(crate) fn explore(program: impl Fn() + Clone + Send + Sync + 'static) -> Summary {
    let ways = [
        Config::new(),
        Config::new().spurious_wakes(true),
        Config::new().step_time(Duration::ZERO),
        Config::new()
            .step_time(Duration::from_millis(10))
            .strategy(Strategy::Uniform),
    ];
    let mut last = None;
    for (number, way) in ways.into_iter().enumerate() {
        match way.explore(0..seeds(), program.clone()) {
            Ok(summary) => last = Some(summary),
            Err(failure) => panic!("way {number} ({way:?}): {failure}"),
        }
    }
    last.expect("some way")
}
