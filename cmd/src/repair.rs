//! `openwork chain repair`.

use std::path::Path;
use std::process::ExitCode;

use openwork_blockchain::RepairError;

use crate::data_dir::chain_file;
use crate::fail;

const INTERNAL: u8 = 1;
const DATA: u8 = 4;

/// Repairs the chain in `dir` and says what was done.
pub(crate) fn repair(dir: &Path) -> ExitCode {
    let file = chain_file(dir);
    let report = match openwork_blockchain::repair(&file) {
        Ok(report) => report,
        Err(error) => {
            let status = match error {
                RepairError::InUse { .. } | RepairError::NotFound { .. } => DATA,
                _ => INTERNAL,
            };
            return fail(&error.to_string(), status);
        }
    };
    match report.damage {
        None => println!("{}: {} blocks, nothing wrong", file.display(), report.kept),
        Some(damage) => {
            match damage.index {
                Some(index) => println!("block {index}: {}", damage.reason),
                None => println!("{}", damage.reason),
            }
            println!("{} blocks kept in {}", report.kept, file.display());
        }
    }
    if let Some(moved) = report.moved_to {
        println!("the old file is {}", moved.display());
    }
    ExitCode::SUCCESS
}
