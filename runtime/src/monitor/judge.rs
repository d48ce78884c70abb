//! What the monitor remembers of a thread, and what it decides: no clock, no kernel, no other thread,
//! so that every rule is a test.
//!
//! A thread is looked at every millisecond or so. Of a turn that goes on from one look to the next the
//! processor clock tells whether it computes or stands still; of one that stands still `/proc` tells
//! whether it sleeps or waits for a processor.

use super::probe::{self, ThreadState};

/// A turn that used less than this part of the time between two looks stands still.
const BUSY_PART: u64 = 10;

/// How long a thread sleeps in the kernel before its worker is taken though no work waits: so that work
/// that comes finds a parked worker to wake, not one that the monitor has yet to notice.
const LINGER_NS: u64 = 10_000_000;

/// Where `/proc` is missing: how long a clock must stand still. A thread that waits for a processor
/// that long loses its worker too, which does no harm.
const STILL_NS: u64 = 10_000_000;

/// A turn is asked this part of its slice before it is forced.
const ASK_AHEAD: u64 = 8;

/// At so many looks in a row a turn has computed on: it most likely will at the next one.
const STEADY_LOOKS: u32 = 2;

/// Least time between two looks that says something about the clock between them.
const LOOK_NS: u64 = 100_000;

/// The kernel, or a test that plays it.
pub(super) trait Kernel {
    /// CPU time that the thread has used.
    fn cpu_ns(&self) -> Option<u64>;
    /// Whether it sleeps. The outer `None`: it cannot be told here.
    fn state(&self) -> Option<ThreadState>;
}

/// A thread of this process.
pub(super) struct Real {
    pub(super) tid: i32,
    /// Whether `/proc` may be asked.
    pub(super) by_proc: bool,
}

impl Kernel for Real {
    fn cpu_ns(&self) -> Option<u64> {
        probe::cpu_ns(self.tid)
    }

    fn state(&self) -> Option<ThreadState> {
        self.by_proc
            .then(|| probe::thread_state(self.tid))
            .flatten()
    }
}

/// Where a thread is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// In a routine's turn.
    Turn,
    /// Between two turns, and not to sleep there.
    Scheduler,
    /// Where it may sleep: parked, or without a worker.
    #[default]
    Bed,
}

/// One thread at one look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) turn: u64,
    pub(super) place: Place,
    pub(super) holds_worker: bool,
    /// A signal for it is on its way, or it is frozen already.
    pub(super) is_taken_care_of: bool,
    /// When it went on last after a freeze, 0 if it never was frozen.
    pub(super) thawed_at: u64,
}

/// What holds for all threads at one look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) now: u64,
    pub(super) slice_ns: u64,
    /// Turns may be asked to give way.
    pub(super) ask: bool,
    /// Those that do not may be frozen.
    pub(super) force: bool,
    /// Workers of threads blocked in the kernel may be taken.
    pub(super) hand_off: bool,
    /// There is work that another thread could run if it had a worker.
    pub(super) work_waits: bool,
    /// A worker that is taken would find a thread.
    pub(super) can_hand_on: bool,
}

impl Rules {
    /// How long a turn lasts until it is asked to give way: a little before its slice is over where it is forced
    /// then, so that it can.
    fn ask_ns(&self) -> u64 {
        if self.force {
            self.slice_ns - self.slice_ns / ASK_AHEAD
        } else {
            self.slice_ns
        }
    }
}

/// What is to be done about a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Nothing,
    /// Take the worker: the thread sleeps in the kernel, and has done so for so long as far as is known.
    Retake {
        slept_ns: u64,
    },
    /// The worker ought to be taken, but no thread is there to have it.
    NobodyToTake,
    /// It sleeps in the kernel between two turns: on something that a frozen thread may hold.
    StuckInside,
    /// Ask the turn to give way at the next place where it can.
    Ask,
    /// Freeze it.
    Force,
    /// It ought to be forced, but no thread would take the worker.
    AtCap,
}

/// What is known of a thread's turn from earlier looks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    turn: u64,
    place: Place,
    /// First and last look at this turn.
    since: u64,
    looked_at: u64,
    cpu_ns: u64,
    /// Since when its clock stands still; 0 if it does not.
    still_since: u64,
    asleep: bool,
    asked_at: u64,
    at_cap: bool,
    /// Looks in a row at which it computed; a freeze between them counts for neither.
    computed: u32,
}

impl Memory {
    /// Looks at the thread and decides.
    pub(super) fn look(&mut self, seen: Seen, rules: &Rules, kernel: &impl Kernel) -> Verdict {
        if self.turn != seen.turn || self.place != seen.place || seen.place == Place::Bed {
            let is_up = seen.place != Place::Bed;
            let cpu_ns = if is_up { kernel.cpu_ns() } else { None };
            *self = Memory {
                turn: seen.turn,
                place: seen.place,
                since: rules.now,
                looked_at: rules.now,
                cpu_ns: cpu_ns.unwrap_or(0),
                ..Memory::default()
            };
            return Verdict::Nothing;
        }
        if seen.is_taken_care_of {
            self.looked_at = 0;
            return Verdict::Nothing;
        }
        let Some(cpu_ns) = kernel.cpu_ns() else {
            return Verdict::Nothing;
        };
        let before = self.looked_at;
        if before == 0 {
            // It was frozen meanwhile: its slice begins anew.
            self.since = self.since.max(seen.thawed_at).min(rules.now);
            self.asked_at = 0;
        }
        if before == 0 || rules.now < before + LOOK_NS {
            if before == 0 {
                self.looked_at = rules.now;
                self.cpu_ns = cpu_ns;
            }
            return Verdict::Nothing;
        }
        let used = cpu_ns.saturating_sub(self.cpu_ns);
        self.looked_at = rules.now;
        self.cpu_ns = cpu_ns;
        if used < (rules.now - before) / BUSY_PART {
            if self.still_since == 0 {
                self.still_since = before;
            }
            self.stands_still(seen, rules, kernel)
        } else {
            self.still_since = 0;
            self.asleep = false;
            self.computed = self.computed.saturating_add(1);
            match seen.place {
                Place::Turn => self.computes(seen, rules),
                _ => Verdict::Nothing,
            }
        }
    }

    fn stands_still(&mut self, seen: Seen, rules: &Rules, kernel: &impl Kernel) -> Verdict {
        self.computed = 0;
        let still_ns = rules.now - self.still_since;
        self.asleep = match kernel.state() {
            Some(state) => state == ThreadState::Asleep,
            None => still_ns >= STILL_NS,
        };
        if seen.place == Place::Scheduler {
            return match self.asleep {
                true => Verdict::StuckInside,
                false => Verdict::Nothing,
            };
        }
        let wanted = rules.work_waits || still_ns >= LINGER_NS;
        if !(self.asleep && seen.holds_worker && rules.hand_off && wanted) {
            Verdict::Nothing
        } else if rules.can_hand_on {
            Verdict::Retake { slept_ns: still_ns }
        } else {
            Verdict::NobodyToTake
        }
    }

    fn computes(&mut self, seen: Seen, rules: &Rules) -> Verdict {
        let age = rules.now - self.since;
        // One that has lost its worker and computes on takes a processor from those that have one.
        let is_due = rules.work_waits || !seen.holds_worker;
        if age < rules.ask_ns() || !is_due || !rules.ask {
            return Verdict::Nothing;
        }
        if self.asked_at == 0 {
            self.asked_at = rules.now;
            return Verdict::Ask;
        }
        if !rules.force || age < rules.slice_ns {
            return Verdict::Nothing;
        }
        if rules.can_hand_on || !seen.holds_worker {
            return Verdict::Force;
        }
        if std::mem::replace(&mut self.at_cap, true) {
            Verdict::Nothing
        } else {
            Verdict::AtCap
        }
    }

    /// When the turn is to be asked or forced if it computes on. `None` if it is not, or that is due already.
    pub(super) fn due_at(&self, rules: &Rules) -> Option<u64> {
        let age = match self.asked_at {
            0 if rules.ask => rules.ask_ns(),
            0 => return None,
            _ => rules.slice_ns,
        };
        let due = self.since + age;
        (due > rules.now).then_some(due)
    }

    /// Since when the thread has slept in the kernel within one turn, as far as looks can tell.
    pub(super) fn asleep_since(&self) -> Option<u64> {
        self.asleep.then_some(self.still_since)
    }

    /// Whether the turn computes and will most likely go on doing so.
    pub(super) fn is_steady(&self) -> bool {
        self.place == Place::Turn && self.computed >= STEADY_LOOKS
    }

    /// The turn that this is about.
    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    /// Whether it has used a processor between the last two looks, or has just been seen there.
    pub(super) fn computes_on(&self) -> bool {
        self.still_since == 0
    }
}

/// Nothing gets on: no turn ended, no processor was used, while threads are frozen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standstill {
    since: u64,
    moves: u64,
}

impl Standstill {
    /// `moves` is a sum that changes whenever anything gets on; `frozen` is how many threads are. True if
    /// the oldest of them is to be let go.
    pub(super) fn look(&mut self, now: u64, moves: u64, frozen: usize, patience_ns: u64) -> bool {
        if self.moves != moves || frozen == 0 || self.since == 0 {
            self.moves = moves;
            self.since = now;
            return false;
        }
        let so = now - self.since >= patience_ns;
        if so {
            // The next one gets its own time.
            self.since = now;
        }
        so
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const MS: u64 = 1_000_000;

    struct Fake {
        cpu: Cell<u64>,
        state: Option<ThreadState>,
    }

    impl Kernel for Fake {
        fn cpu_ns(&self) -> Option<u64> {
            Some(self.cpu.get())
        }

        fn state(&self) -> Option<ThreadState> {
            self.state
        }
    }

    const RULES: Rules = Rules {
        now: 0,
        slice_ns: 10 * MS,
        ask: true,
        force: true,
        hand_off: true,
        work_waits: true,
        can_hand_on: true,
    };

    const IN_TURN: Seen = Seen {
        turn: 3,
        place: Place::Turn,
        holds_worker: true,
        is_taken_care_of: false,
        thawed_at: 0,
    };

    /// Looks every millisecond from 1 ms on, at a thread that uses `used` ns in each; gives what was decided
    /// besides nothing, with the time in ms.
    fn course(
        looks: u64,
        used: u64,
        state: Option<ThreadState>,
        rules: Rules,
        seen: impl Fn(u64) -> Seen,
    ) -> Vec<(u64, Verdict)> {
        let mut memory = Memory::default();
        let kernel = Fake {
            cpu: Cell::new(0),
            state,
        };
        (1..=looks)
            .map(|ms| {
                kernel.cpu.set(kernel.cpu.get() + used);
                let rules = Rules {
                    now: ms * MS,
                    ..rules
                };
                (ms, memory.look(seen(ms), &rules, &kernel))
            })
            .filter(|&(_, verdict)| verdict != Verdict::Nothing)
            .collect()
    }

    #[test]
    fn a_loop_is_asked_before_its_slice_is_over_and_forced_then() {
        let done = course(11, MS, Some(ThreadState::Runnable), RULES, |_| IN_TURN);
        assert_eq!(done, [(10, Verdict::Ask), (11, Verdict::Force)]);
    }

    #[test]
    fn what_is_due_next_is_ahead() {
        let kernel = Fake {
            cpu: Cell::new(0),
            state: Some(ThreadState::Runnable),
        };
        let due = |rules: Rules| {
            let mut memory = Memory::default();
            let look = |ms: u64| {
                kernel.cpu.set(kernel.cpu.get() + MS);
                let rules = Rules {
                    now: ms * MS,
                    ..rules
                };
                memory.look(IN_TURN, &rules, &kernel);
                memory.due_at(&rules)
            };
            [1, 2, 10, 11].map(look)
        };
        let (ask, force) = (Some(9_750_000), Some(11 * MS));
        assert_eq!(due(RULES), [ask, ask, force, None]);
        let cooperative = Rules {
            force: false,
            ..RULES
        };
        let ask = Some(11 * MS);
        assert_eq!(due(cooperative), [ask, ask, ask, None]);
        let off = Rules {
            ask: false,
            ..cooperative
        };
        assert_eq!(due(off), [None; 4]);
    }

    #[test]
    fn who_has_computed_for_a_while_is_steady_until_it_stands_still() {
        let mut memory = Memory::default();
        let kernel = Fake {
            cpu: Cell::new(0),
            state: Some(ThreadState::Asleep),
        };
        let mut looks = [MS, MS, MS, MS, 0, MS, MS].into_iter().zip(1..);
        let mut steady = |seen| {
            let (used, ms) = looks.next().unwrap();
            kernel.cpu.set(kernel.cpu.get() + used);
            let rules = Rules {
                now: ms * MS,
                ..RULES
            };
            memory.look(seen, &rules, &kernel);
            memory.is_steady()
        };
        let before = [(); 5].map(|()| steady(IN_TURN));
        assert_eq!(before, [false, false, true, true, false]);
        let after = [(); 2].map(|()| steady(IN_TURN));
        assert_eq!(after, [false, true]);
    }

    #[test]
    fn a_deferred_one_is_forced_again() {
        let done = course(14, MS, Some(ThreadState::Runnable), RULES, |_| IN_TURN);
        let forced = done.iter().filter(|(_, v)| *v == Verdict::Force).count();
        assert_eq!(forced, 4, "{done:?}");
    }

    #[test]
    fn nobody_is_asked_where_no_work_waits_or_preemption_is_off() {
        for rules in [
            Rules {
                work_waits: false,
                ..RULES
            },
            Rules {
                ask: false,
                ..RULES
            },
        ] {
            let done = course(50, MS, Some(ThreadState::Runnable), rules, |_| IN_TURN);
            assert_eq!(done, [], "{rules:?}");
        }
    }

    #[test]
    fn the_cooperative_mode_asks_once() {
        let rules = Rules {
            force: false,
            ..RULES
        };
        let done = course(50, MS, Some(ThreadState::Runnable), rules, |_| IN_TURN);
        assert_eq!(done, [(11, Verdict::Ask)]);
    }

    #[test]
    fn short_turns_are_never_asked() {
        let seen = |ms: u64| Seen {
            turn: ms / 9,
            ..IN_TURN
        };
        assert_eq!(
            course(100, MS, Some(ThreadState::Runnable), RULES, seen),
            []
        );
    }

    #[test]
    fn without_a_thread_the_cap_is_noted_once() {
        let rules = Rules {
            can_hand_on: false,
            ..RULES
        };
        let done = course(50, MS, Some(ThreadState::Runnable), rules, |_| IN_TURN);
        assert_eq!(done, [(10, Verdict::Ask), (11, Verdict::AtCap)]);
    }

    #[test]
    fn a_sleeper_loses_its_worker_at_the_second_look() {
        let done = course(2, 0, Some(ThreadState::Asleep), RULES, |_| IN_TURN);
        assert_eq!(done, [(2, Verdict::Retake { slept_ns: MS })]);
    }

    #[test]
    fn a_sleeper_keeps_its_worker_for_a_while_if_no_work_waits() {
        let rules = Rules {
            work_waits: false,
            ..RULES
        };
        let done = course(11, 0, Some(ThreadState::Asleep), rules, |_| IN_TURN);
        assert_eq!(
            done,
            [(
                11,
                Verdict::Retake {
                    slept_ns: LINGER_NS
                }
            )]
        );
    }

    #[test]
    fn a_sleeper_whose_worker_nobody_could_have_calls_for_a_thread() {
        let rules = Rules {
            work_waits: false,
            can_hand_on: false,
            ..RULES
        };
        let done = course(12, 0, Some(ThreadState::Asleep), rules, |_| IN_TURN);
        let wanted = Verdict::NobodyToTake;
        assert_eq!(done, [(11, wanted), (12, wanted)]);
    }

    #[test]
    fn who_waits_for_a_processor_is_no_sleeper_and_no_hog() {
        assert_eq!(
            course(50, 0, Some(ThreadState::Runnable), RULES, |_| IN_TURN),
            []
        );
    }

    #[test]
    fn a_stopped_thread_is_let_be() {
        assert_eq!(
            course(50, 0, Some(ThreadState::Apart), RULES, |_| IN_TURN),
            []
        );
    }

    #[test]
    fn without_proc_the_clock_alone_decides_after_a_while() {
        let done = course(11, 0, None, RULES, |_| IN_TURN);
        assert_eq!(done, [(11, Verdict::Retake { slept_ns: STILL_NS })]);
    }

    #[test]
    fn a_sleeper_without_worker_or_without_hand_off_is_let_be() {
        let done = course(50, 0, Some(ThreadState::Asleep), RULES, |_| Seen {
            holds_worker: false,
            ..IN_TURN
        });
        assert_eq!(done, []);
        let rules = Rules {
            hand_off: false,
            ..RULES
        };
        assert_eq!(
            course(50, 0, Some(ThreadState::Asleep), rules, |_| IN_TURN),
            []
        );
    }

    /// It came back from the kernel and computes without a worker.
    #[test]
    fn one_without_worker_is_forced_after_a_slice_though_no_work_waits() {
        let rules = Rules {
            work_waits: false,
            ..RULES
        };
        let done = course(11, MS, Some(ThreadState::Runnable), rules, |_| Seen {
            holds_worker: false,
            ..IN_TURN
        });
        assert_eq!(done, [(10, Verdict::Ask), (11, Verdict::Force)]);
    }

    #[test]
    fn a_slice_begins_anew_after_a_freeze() {
        let seen = |ms: u64| Seen {
            is_taken_care_of: (12..=40).contains(&ms),
            thawed_at: if ms > 40 { 40 * MS } else { 0 },
            ..IN_TURN
        };
        let done = course(50, MS, Some(ThreadState::Runnable), RULES, seen);
        assert_eq!(
            done,
            [
                (10, Verdict::Ask),
                (11, Verdict::Force),
                (49, Verdict::Ask),
                (50, Verdict::Force)
            ]
        );
    }

    #[test]
    fn who_is_in_the_scheduler_is_let_be_unless_it_sleeps_there() {
        let seen = |_| Seen {
            place: Place::Bed,
            ..IN_TURN
        };
        assert_eq!(course(50, 0, Some(ThreadState::Asleep), RULES, seen), []);
        let seen = |_| Seen {
            place: Place::Scheduler,
            ..IN_TURN
        };
        let runnable = Some(ThreadState::Runnable);
        assert_eq!(course(50, MS, runnable, RULES, seen), []);
        let done = course(3, 0, Some(ThreadState::Asleep), RULES, seen);
        assert_eq!(done, [(2, Verdict::StuckInside), (3, Verdict::StuckInside)]);
    }

    #[test]
    fn looks_too_close_together_say_nothing() {
        let mut memory = Memory::default();
        let kernel = Fake {
            cpu: Cell::new(5),
            state: Some(ThreadState::Asleep),
        };
        for now in [MS, MS + 1, MS + 2] {
            let rules = Rules { now, ..RULES };
            assert_eq!(memory.look(IN_TURN, &rules, &kernel), Verdict::Nothing);
        }
    }

    #[test]
    fn a_standstill_lets_one_go_each_time_its_patience_is_over() {
        let mut still = Standstill::default();
        let looks: Vec<u64> = (1..=30)
            .filter(|&ms| still.look(ms * MS, 7, 2, 10 * MS))
            .collect();
        assert_eq!(looks, [11, 21]);
        assert!(!still.look(31 * MS, 8, 2, 10 * MS), "something moved");
        assert!(!still.look(60 * MS, 8, 0, 10 * MS), "nobody is frozen");
        assert!(
            !still.look(61 * MS, 8, 1, 10 * MS),
            "it begins to count anew"
        );
    }
}
