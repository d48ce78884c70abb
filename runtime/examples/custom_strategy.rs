//! A strategy of one's own: one worker is kept for what people wait for.
//!
//! A program answers requests while it also does heavy work in the background. With the usual placement a
//! request waits behind whatever its worker runs. Here routines named "request" go to worker 0, the rest to
//! the others, least loaded first; and worker 0 never steals from them while it has a request's time to keep. The
//! strategy is asked with plain values and can be exchanged while the runtime runs.
//!
//! ```sh
//! cargo run --release -p openwork --example custom_strategy
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use openwork::config::{ConfigChange, FreshRoutine, Placement, Strategy, VictimOrder, Workers};
use openwork::{Builder, Runtime, Turn, WorkerId, checkpoint};

/// Keeps worker 0 for requests, and counts them.
struct Reserved {
    requests: Arc<AtomicU64>,
}

impl Strategy for Reserved {
    fn place(&self, routine: &FreshRoutine<'_>, workers: &Workers<'_>) -> Option<WorkerId> {
        if routine.name == "request" {
            self.requests.fetch_add(1, Relaxed);
            return Some(WorkerId::new(0));
        }
        let others = workers.iter().skip(1);
        let least = others.min_by_key(|worker| worker.waiting + u64::from(worker.runs));
        least.map(|worker| worker.id)
    }

    /// The one with the most, but for the reserved one, whose requests are in good hands.
    fn victim(&self, thief: WorkerId, workers: &Workers<'_>) -> Option<WorkerId> {
        let robbed = workers.iter().skip(1).filter(|worker| worker.id != thief);
        robbed.max_by_key(|worker| worker.stealable).map(|w| w.id)
    }
}

/// Hashes on in turns of about 1 ms until told to end.
fn heavy_work(rt: &Runtime, end: &Arc<AtomicU64>) {
    let end = end.clone();
    let builder = Builder::new().name("heavy").on(&rt.handle());
    let step = move |sum: &mut u64| {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(1) {
            *sum = sum.wrapping_mul(31).wrapping_add(7);
            checkpoint();
        }
        match end.load(Relaxed) {
            0 => Turn::Again,
            _ => Turn::Done(*sum),
        }
    };
    builder
        .spawn_turns(1, step)
        .expect("no stack size was asked for")
        .detach();
}

/// Median time from spawn to start of some requests.
fn request_wait(rt: &Runtime) -> Duration {
    let mut waits: Vec<Duration> = (0..50)
        .map(|_| {
            let born = Instant::now();
            let builder = Builder::new().name("request").on(&rt.handle());
            let request = builder.spawn(move || born.elapsed());
            let request = request.expect("no stack size was asked for");
            request.join().expect("it does not panic")
        })
        .collect();
    waits.sort_unstable();
    waits[waits.len() / 2]
}

fn main() {
    let requests = Arc::new(AtomicU64::new(0));
    let strategy = Reserved {
        requests: requests.clone(),
    };
    let rt = Runtime::builder()
        .workers(4)
        .strategy(strategy)
        .build()
        .expect("four workers");
    let end = Arc::new(AtomicU64::new(0));
    (0..12).for_each(|_| heavy_work(&rt, &end));
    println!("as usual:      a request waits {:?}", request_wait(&rt));

    let mut change = ConfigChange::default();
    change.placement = Some(Placement::Custom);
    change.victims = Some(VictimOrder::Custom);
    rt.handle()
        .reconfigure(change)
        .expect("the runtime has a strategy");
    println!("with our own:  a request waits {:?}", request_wait(&rt));
    assert_eq!(requests.load(Relaxed), 50, "each was asked about once");
    assert_eq!(rt.snapshot().strategy_panics, 0);
    end.store(1, Relaxed);
}
