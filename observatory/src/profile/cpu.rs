//! Where processor time went.

use std::time::SystemTime;

use openwork::profile::cpu::Profile;

use super::fold::{Fold, Frame, Label, Report, ValueKind, cut_at_root};
use super::symbol::Symbols;

/// What each stack of a CPU report has.
pub const VALUES: &[ValueKind] = &[
    ValueKind {
        name: "samples",
        unit: "count",
    },
    ValueKind {
        name: "cpu",
        unit: "nanoseconds",
    },
];

/// The report of a profile that has just been stopped. Looks up addresses, to cut the runtime's
/// frames at each routine's root.
///
/// Labels: `worker`; `routine`, its name or its number; `workload`. Samples without `routine` were
/// taken in the scheduler.
pub fn report(profile: &Profile, symbols: &Symbols) -> Report {
    let mut fold = Fold::default();
    for sample in &profile.samples {
        let frames = match sample.routine {
            Some(_) => cut_at_root(&sample.frames, symbols),
            None => sample.frames.iter().copied().map(Frame::Code).collect(),
        };
        let mut labels = vec![Label::new("worker", sample.worker.to_string())];
        if let Some(routine) = sample.routine {
            let name = sample.name.clone().unwrap_or_else(|| routine.to_string());
            labels.push(Label::new("routine", name));
        }
        if let Some(workload) = &sample.workload {
            labels.push(Label::new("workload", workload.as_str()));
        }
        let cpu_ns = i64::try_from(sample.cpu_ns).unwrap_or(i64::MAX);
        fold.add(frames, labels, &[1, cpu_ns]);
    }

    let mut report = Report::new(VALUES, 1);
    report.stacks = fold.stacks(1);
    let hz = profile
        .achieved_hz
        .filter(|hz| *hz > 0.0)
        .unwrap_or(f64::from(profile.asked_hz));
    report.period = Some((VALUES[1], (1e9 / hz) as i64));
    report.taken = SystemTime::now() - profile.duration;
    report.duration = Some(profile.duration);
    report.remarks = remarks(profile);
    report
}

fn remarks(profile: &Profile) -> Vec<String> {
    let mut remarks = vec![match profile.achieved_hz {
        Some(hz) => format!(
            "Asked for {} samples a second of processor time on each worker, got {hz:.1}.",
            profile.asked_hz
        ),
        None => format!(
            "Asked for {} samples a second of processor time on each worker; too little ran to tell the true rate.",
            profile.asked_hz
        ),
    }];
    if profile.skipped_in_switch > 0 {
        remarks.push(format!(
            "{} samples fell into a stack switch, where no stack can be read, and were skipped.",
            profile.skipped_in_switch
        ));
    }
    if profile.lost > 0 {
        remarks.push(format!(
            "{} samples were lost for want of room.",
            profile.lost
        ));
    }
    remarks
}
