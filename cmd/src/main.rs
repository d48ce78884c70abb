//! The `openwork` command: reads its flags, calls the service, and turns the outcome into an exit
//! status.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | ended as asked |
//! | 1 | internal error |
//! | 2 | wrong usage |
//! | 3 | the address is in use |
//! | 4 | the data directory is in use or damaged |
//!
//! After an overflow report the process ends by `SIGABRT`.
#![forbid(unsafe_code)]

mod bench;
mod data_dir;
mod flags;
mod log;
mod repair;

use std::process::ExitCode;

use flags::{Asked, UsageError};
use openwork::memory::CountingAllocator;
use openwork_web::Config;

/// Counts what each routine allocates. `dhat` is asked only while a profile of its kind is taken.
#[global_allocator]
static ALLOCATOR: CountingAllocator<dhat::Alloc> = CountingAllocator::new(dhat::Alloc);

const USAGE: u8 = 2;

fn main() -> ExitCode {
    match flags::read(std::env::args_os()) {
        Ok(Asked::Serve(config)) => serve(*config),
        Ok(Asked::RepairChain(dir)) => repair::repair(&dir),
        Ok(Asked::ListBenches) => bench::list(),
        Ok(Asked::Bench(plan, form)) => bench::run(plan, form),
        Ok(Asked::Measure(words)) => bench::measure(&words),
        Err(UsageError::Clap(error)) => error.exit(),
        Err(UsageError::Sentence(sentence)) => fail(&sentence, USAGE),
    }
}

fn serve(config: Config) -> ExitCode {
    if let Err(sentence) = log::install(&config.log.value, config.log_format.value) {
        return fail(&sentence, USAGE);
    }
    match openwork_web::serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string(), error.exit_code()),
    }
}

/// Says why on standard error.
fn fail(sentence: &str, status: u8) -> ExitCode {
    eprintln!("openwork: {sentence}");
    ExitCode::from(status)
}
