//! Where processor time went.

use std::time::{Duration, SystemTime};

use openwork::WorkerId;
use openwork::profile::cpu::Profile;

use super::fold::{Fold, Label, Report, ValueKind, cut_at_root};
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

/// The report of a profile that has just been stopped. Looks up addresses, to cut what starts a
/// routine or a thread off each stack.
///
/// Labels: `worker`, absent where the thread had none; `routine`, its name or its number; `workload`, likewise. Samples without
/// `routine` were taken in the scheduler.
pub fn report(profile: &Profile, symbols: &Symbols) -> Report {
    let samples = profile.samples.iter().map(|sample| Taken {
        frames: &sample.frames,
        worker: sample.worker,
        routine: sample
            .routine
            .map(|id| sample.name.clone().unwrap_or_else(|| id.to_string())),
        workload: sample
            .workload
            .clone()
            .or_else(|| sample.workload_id.map(|id| id.to_string())),
        cpu_ns: sample.cpu_ns,
    });
    let account = Account {
        asked_hz: profile.asked_hz,
        achieved_hz: profile.achieved_hz,
        skipped_in_switch: profile.skipped_in_switch,
        lost: profile.lost,
        unwatched: profile.unwatched,
        cpu: profile.cpu,
        duration: profile.duration,
    };
    fold(samples, &account, symbols)
}

/// One sample.
pub(super) struct Taken<'a> {
    pub(super) frames: &'a [usize],
    pub(super) worker: Option<WorkerId>,
    pub(super) routine: Option<String>,
    pub(super) workload: Option<String>,
    pub(super) cpu_ns: u64,
}

/// How the sampling went.
pub(super) struct Account {
    pub(super) asked_hz: u32,
    pub(super) achieved_hz: Option<f64>,
    pub(super) skipped_in_switch: u64,
    pub(super) lost: u64,
    pub(super) unwatched: u64,
    pub(super) cpu: Duration,
    pub(super) duration: Duration,
}

pub(super) fn fold<'a>(
    samples: impl Iterator<Item = Taken<'a>>,
    account: &Account,
    symbols: &Symbols,
) -> Report {
    let mut fold = Fold::default();
    for sample in samples {
        let frames = cut_at_root(sample.frames, symbols);
        let worker = sample.worker.map(|worker| worker.to_string());
        let mut labels: Vec<_> = worker
            .map(|id| Label::new("worker", id))
            .into_iter()
            .collect();
        labels.extend(sample.routine.map(|routine| Label::new("routine", routine)));
        labels.extend(
            sample
                .workload
                .map(|workload| Label::new("workload", workload)),
        );
        let cpu_ns = i64::try_from(sample.cpu_ns).unwrap_or(i64::MAX);
        fold.add(frames, labels, &[1, cpu_ns]);
    }
    symbols.release();

    let mut report = Report::new(VALUES, 1);
    report.stacks = fold.stacks(1);
    let hz = account.achieved_hz.filter(|hz| *hz > 0.0);
    let hz = hz.unwrap_or(f64::from(account.asked_hz));
    report.period = Some((VALUES[1], (1e9 / hz) as i64));
    report.taken = SystemTime::now() - account.duration;
    report.duration = Some(account.duration);
    report.remarks = account.remarks();
    report
}

impl Account {
    fn remarks(&self) -> Vec<String> {
        let asked = format!(
            "Asked for {} samples a second of processor time",
            self.asked_hz
        );
        let mut remarks = vec![
            match self.achieved_hz {
                Some(hz) => format!("{asked}, got {hz:.1}."),
                None => format!("{asked}; too little ran to tell the true rate."),
            },
            format!(
                "The runtime's threads used {:.2} s of processor time in {:.2} s.",
                self.cpu.as_secs_f64(),
                self.duration.as_secs_f64()
            ),
        ];
        if self.skipped_in_switch > 0 {
            remarks.push(format!(
                "{} samples fell into a stack switch, where no stack can be read, and were skipped.",
                self.skipped_in_switch
            ));
        }
        if self.lost > 0 {
            remarks.push(format!("{} samples were lost for want of room.", self.lost));
        }
        if self.unwatched > 0 {
            remarks.push(format!(
                "{} threads that were started meanwhile could not be sampled.",
                self.unwatched
            ));
        }
        remarks
    }
}
