//! `openwork bench`: measures what was asked for, and prints it.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use openwork_bench::table;
use openwork_bench::{Machine, Plan, Session, Told};

use crate::fail;

/// A failing exit status that is no wrong usage.
const FAILED: u8 = 1;

/// In which form results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Tables, one after the other as they come.
    Table,
    /// One JSON object at the end.
    Json,
}

/// Prints the benches and what they ask.
pub(crate) fn list() -> ExitCode {
    print!("{}", table::catalogue());
    ExitCode::SUCCESS
}

/// One measurement, in the process that another of these started for it.
pub(crate) fn measure(words: &[String]) -> ExitCode {
    match openwork_bench::answer(words) {
        Ok(figures) => {
            print!("{figures}");
            ExitCode::SUCCESS
        }
        Err(sentence) => fail(&sentence, FAILED),
    }
}

/// Measures everything of the plan. Fails when one of ours could not be measured.
pub(crate) fn run(plan: Plan, form: Form) -> ExitCode {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return fail(&format!("the program's own path: {error}"), FAILED),
    };
    let machine = Machine::here();
    let session = Session::new(plan, program, &["bench", "measure"]);
    let heading = session.heading(&machine, openwork_web::COMMIT);
    if form == Form::Table {
        println!("{heading}");
        session
            .left_out()
            .iter()
            .for_each(|sentence| println!("{sentence}"));
    }
    let lines = session.run(|told| match told {
        Told::Turn {
            bench,
            workers,
            peer,
            turn,
            turns,
        } => {
            say(&format!(
                "{} with {workers}: {peer}, {turn} of {turns}",
                bench.name
            ));
        }
        Told::Line(line) => {
            say("");
            if form == Form::Table {
                print!("\n{}", table::line(line));
                // Whoever reads them may have gone.
                let _closed = io::stdout().flush();
            }
        }
    });
    if lines.is_empty() {
        return fail(
            "none of these benches makes sense with so many workers",
            FAILED,
        );
    }
    if form == Form::Table && lines.len() > 1 {
        print!("\n{}", table::summary(&lines));
    }
    if form == Form::Json {
        println!(
            "{}",
            openwork_web::bench_json(&heading, session.left_out(), &lines)
        );
    }
    let ours = lines.iter().filter_map(|line| line.peers.first());
    match ours.filter(|ours| ours.failed.is_some()).count() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(FAILED),
    }
}

/// Where a long run is, on one line of a terminal that is written over.
fn say(sentence: &str) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        // Whoever reads it may have gone.
        let _closed = write!(stderr, "\r\x1b[K{sentence}").and_then(|()| stderr.flush());
    }
}
