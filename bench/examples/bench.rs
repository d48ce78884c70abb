//! The benches of `openwork bench`, without building the service.
//!
//! `cargo run --release -p openwork-bench --features peers --example bench -- 1,2 5 spawn yield_alone`
//!
//! Workers, rounds, and the names of benches or groups.

use std::alloc::System;
use std::process::ExitCode;

use openwork::memory::CountingAllocator;
use openwork_bench::table;
use openwork_bench::{Machine, Plan, Session, Told, answer};

/// As in the service: what is measured is measured as it is used.
#[global_allocator]
static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match carry_out(&words) {
        Ok(text) => print!("{text}"),
        Err(sentence) => {
            eprintln!("{sentence}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn carry_out(words: &[String]) -> Result<String, String> {
    match words {
        [first, words @ ..] if first == "measure" => answer(words),
        [workers, rounds, names @ ..] => {
            let numbers: Result<Vec<usize>, _> = workers.split(',').map(str::parse).collect();
            let workers = numbers.map_err(|_| format!("workers: `{workers}` are no numbers"))?;
            let rounds = rounds
                .parse()
                .map_err(|_| format!("rounds: `{rounds}` is no number"))?;
            let plan = Plan::new(names, &workers, &[], rounds, false).map_err(|e| e.to_string())?;
            let machine = Machine::here();
            let program = std::env::current_exe().map_err(|error| error.to_string())?;
            let session = Session::new(plan, program, &["measure"]);
            println!("{}", session.heading(&machine, None));
            session
                .left_out()
                .iter()
                .for_each(|sentence| println!("{sentence}"));
            let lines = session.run(|told| {
                if let Told::Line(line) = told {
                    println!("\n{}", table::line(line).trim_end());
                }
            });
            Ok(format!("\n{}", table::summary(&lines)))
        }
        _ => Ok(table::catalogue()),
    }
}
