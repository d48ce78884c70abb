//! Soaks a runtime until the time is over: `soak [SECONDS] [SEED] [WORKERS] [DEEDS]`.
//!
//! The seed is printed; to repeat a soak, give it again with the same workers and deeds.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use openwork_workloads::soak::{Request, run};

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut next = |default: u64| match numbers.next() {
        None => Some(default),
        Some(number) => number.ok(),
    };
    let fresh = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |since| since.as_nanos() as u64);
    let usual = Request::default();
    let asked = (
        next(10),
        next(fresh),
        next(usual.workers),
        next(usual.deeds),
    );
    let (Some(seconds), Some(seed), Some(workers), Some(deeds)) = asked else {
        eprintln!("usage: soak [SECONDS] [SEED] [WORKERS] [DEEDS]");
        return ExitCode::from(2);
    };
    let request = Request {
        seed,
        duration: Duration::from_secs(seconds),
        workers,
        deeds,
    };
    println!("soak {seconds} {seed} {workers} {deeds}");
    let began = Instant::now();
    let mut shown = began;
    let ended = run(&request, |report| {
        if shown.elapsed() >= Duration::from_secs(10) {
            shown = Instant::now();
            println!("{:?}: {report:?}", began.elapsed());
        }
    });
    match ended {
        Ok(report) => {
            println!("{:?}: {report:?}", began.elapsed());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
