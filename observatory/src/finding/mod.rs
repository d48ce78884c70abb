//! Findings: the few sentences worth saying unasked.
//!
//! Each is one file: a pure function of what was measured, which says nothing unless it is true
//! now. An empty list means that there is nothing to say.

mod events_lost;
mod hostage_deadlock;
mod long_turn;
mod runnable_long;
mod stack_limit;
mod worker_stuck;

pub(crate) use events_lost::EventsLost;
pub(crate) use hostage_deadlock::HostageDeadlocks;
pub(crate) use long_turn::LongTurns;
pub(crate) use runnable_long::runnable_long;
pub(crate) use stack_limit::stack_limit;
pub(crate) use worker_stuck::worker_stuck;

/// From here on a turn, or a wait for a worker, is worth a sentence.
pub const LONG_NS: u64 = 1_000_000_000;
/// For how long after the fact a finding about something that ended is shown.
pub const SHOWN_NS: u64 = 10_000_000_000;

/// A sentence for a person, with the place to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which diagnosis.
    pub kind: Kind,
    /// One sentence with its figures.
    pub text: String,
    /// Anchor of the panel that shows it, `#lanes` for one.
    pub link: &'static str,
}

/// All diagnoses, those of the service included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A worker has been in one turn for over a second.
    WorkerStuck,
    /// A turn of over a second ended a short while ago.
    LongTurn,
    /// Routines have been runnable for over a second.
    RunnableLong,
    /// Events were overwritten before they were read.
    EventsLost,
    /// Routines wait for a stack.
    StackLimit,
    /// A thread sleeps on what a routine bound to it most likely holds.
    HostageDeadlock,
    /// The newest run failed. Found by the service.
    RunFailed,
    /// The process before this one crashed. Found by the service.
    LastCrash,
}

impl Kind {
    /// The word for it in data.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::WorkerStuck => "worker_stuck",
            Kind::LongTurn => "long_turn",
            Kind::RunnableLong => "runnable_long",
            Kind::EventsLost => "events_lost",
            Kind::StackLimit => "stack_limit",
            Kind::HostageDeadlock => "hostage_deadlock",
            Kind::RunFailed => "run_failed",
            Kind::LastCrash => "last_crash",
        }
    }
}

/// A duration as people say it: `850 ms`, `1.4 s`, `3 min`, `2 h`.
pub(crate) fn spoken(ns: u64) -> String {
    match ns / 1_000_000 {
        ms @ 0..1_000 => format!("{ms} ms"),
        ms @ 1_000..100_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        ms @ 100_000..7_200_000 => format!("{} min", ms / 60_000),
        ms => format!("{} h", ms / 3_600_000),
    }
}

/// `1 routine`, `2 routines`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use openwork::snapshot::{
        HostageDeadlock, MonitorFigures, RunningTurn, Source, SystemCall, TurnEnd, TurnRecord,
    };
    use openwork::{RoutineId, WorkerId};

    use super::*;
    use crate::waiting::Waiting;

    #[track_caller]
    fn check(found: impl IntoIterator<Item = Finding>, expected: &[(Kind, &str)]) {
        let found: Vec<_> = found.into_iter().map(|f| (f.kind, f.text)).collect();
        let expected: Vec<_> = expected.iter().map(|(k, t)| (*k, t.to_string())).collect();
        assert_eq!(found, expected);
    }

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_worker_is_stuck_after_a_second_in_one_turn() {
        let site = Location::caller();
        let turn = RunningTurn {
            start_ns: S,
            routine: RoutineId::new(17),
            site,
            source: Source::Local,
            workload: None,
        };
        let stuck = |for_ns| worker_stuck(WorkerId::new(1), &turn, S + for_ns);
        check(stuck(LONG_NS), &[]);
        let text =
            format!("Worker 1 has been in one turn for 3.2 s: routine 17, spawned at {site}.");
        check(stuck(3_250_000_000), &[(Kind::WorkerStuck, &text)]);
    }

    #[test]
    fn a_hostage_deadlock_is_told_as_long_as_there_are_hostages() {
        let site = Location::caller();
        let report = |routine| HostageDeadlock {
            at_ns: 3 * S,
            since_ns: 2 * S,
            routine: RoutineId::new(routine),
            name: Some("holder".to_owned()),
            site,
            thread_id: 1,
            call: SystemCall {
                number: u32::MAX,
                arguments: [0; 6],
            },
            futex_address: 0xbeef,
            hostages: 2,
        };
        let mut found = HostageDeadlocks {
            cursor: 0,
            reports: vec![report(1), report(17)],
        };
        let mut monitor = MonitorFigures {
            hostages: 2,
            ..MonitorFigures::default()
        };
        let text = format!(
            "Routine 17 `holder` has slept in a system call for 2.0 s, and 2 other routines can run on its thread alone: most likely one of them holds what it waits for, at 0xbeef; spawned at {site}."
        );
        check(
            found.found(&monitor, 4 * S),
            &[(Kind::HostageDeadlock, &text)],
        );
        assert!(found.found(&monitor, 5 * S).is_some(), "it stands on");
        monitor.hostages = 0;
        check(found.found(&monitor, 6 * S), &[]);
        monitor.hostages = 1;
        check(found.found(&monitor, 7 * S), &[]);
    }

    #[test]
    fn a_long_turn_is_told_for_ten_seconds_after_its_end() {
        let site = Location::caller();
        let turn = |start_ns, length_ns| TurnRecord {
            start_ns,
            length_ns,
            routine: RoutineId::new(17),
            site,
            source: Source::Local,
            workload: None,
            end: TurnEnd::Blocked,
        };
        let mut turns = LongTurns::default();
        turns.look(
            WorkerId::new(0),
            &[turn(0, S), turn(5 * S, 2 * S), turn(8 * S, 1)],
        );
        let text = format!(
            "Routine 17 ran for 2.0 s in one turn on worker 0 while others had to wait; spawned at {site}."
        );
        check(turns.found(7 * S), &[(Kind::LongTurn, &text)]);
        check(turns.found(17 * S), &[(Kind::LongTurn, &text)]);
        check(turns.found(17 * S + 1), &[]);
    }

    #[test]
    fn several_long_turns_are_one_sentence_about_the_longest() {
        let site = Location::caller();
        let turn = |routine, start_ns, length_ns| TurnRecord {
            start_ns,
            length_ns,
            routine: RoutineId::new(routine),
            site,
            source: Source::Local,
            workload: None,
            end: TurnEnd::Blocked,
        };
        let mut turns = LongTurns::default();
        turns.look(
            WorkerId::new(0),
            &[turn(1, 0, 2 * S), turn(2, 3 * S, 3 * S)],
        );
        let text = format!(
            "2 turns took over a second, the longest 3.0 s: routine 2 on worker 0; spawned at {site}."
        );
        check(turns.found(7 * S), &[(Kind::LongTurn, &text)]);
    }

    #[test]
    fn waits_of_over_a_second_are_counted() {
        let wait = |long, oldest_ns| runnable_long(Waiting { long, oldest_ns });
        check(wait(0, S - 1), &[]);
        check(
            wait(1, 2 * S),
            &[(
                Kind::RunnableLong,
                "1 routine has waited for a worker for over a second: 2.0 s.",
            )],
        );
        check(
            wait(12, 200 * S),
            &[(
                Kind::RunnableLong,
                "12 routines have waited for a worker for over a second, the longest for 3 min.",
            )],
        );
    }

    #[test]
    fn losses_are_told_while_they_are_recent() {
        let mut lost = EventsLost::default();
        check(lost.at(0, 0), &[]);
        let told = "5 events were overwritten in the last 10 s before they could be drawn.";
        check(lost.at(S, 5), &[(Kind::EventsLost, told)]);
        check(lost.at(11 * S, 5), &[(Kind::EventsLost, told)]);
        check(lost.at(11 * S + 1, 5), &[]);
        let told = "1 event was overwritten in the last 10 s before it could be drawn.";
        check(lost.at(12 * S, 6), &[(Kind::EventsLost, told)]);
    }

    #[test]
    fn a_stack_limit_is_told_when_a_routine_waits_for_it() {
        check(stack_limit(0, Some(512)), &[]);
        check(
            stack_limit(3, Some(512)),
            &[(
                Kind::StackLimit,
                "All 512 stacks are in use; 3 routines wait for one before their first turn.",
            )],
        );
        check(
            stack_limit(1, None),
            &[(
                Kind::StackLimit,
                "No more stacks are to be had; 1 routine waits for one before its first turn.",
            )],
        );
    }

    #[test]
    fn durations_are_spoken() {
        for (ns, words) in [
            (0, "0 ms"),
            (999_999_999, "999 ms"),
            (S, "1.0 s"),
            (99 * S, "99.0 s"),
        ] {
            assert_eq!(spoken(ns), words);
        }
        assert_eq!(spoken(100 * S), "1 min");
        assert_eq!(spoken(7_200 * S), "2 h");
    }
}
