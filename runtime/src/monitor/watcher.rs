//! The monitor's loop.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use super::deadlock::SUSPECT_NS;
use super::judge::{Memory, Place, Real, Rules, Seen, Standstill, Verdict};
use super::urgency;
use crate::config::Preemption;
use crate::scheduler::Shared;
use crate::scheduler::explore;
use crate::scheduler::threads::{Bed, SPARE_AHEAD, Taken, ThreadSlot};
use crate::snapshot::WorkerState;
use crate::time;

/// Time between two looks while work waits.
const BUSY: Duration = Duration::from_millis(1);
/// Right after a worker was taken from a sleeper, as others may sleep too.
const HOT: Duration = Duration::from_micros(250);
/// While workers run and nobody waits, or every turn computes and has done so for a while: what comes next is the end of
/// a slice, or a deadline, and it is known when.
const CALM: Duration = Duration::from_millis(5);

/// All workers have been parked for so long: there is nothing to watch.
const QUIET_NS: u64 = 50_000_000;

/// A deadline is overdue, and not just about to be served by its worker.
const OVERDUE_NS: u64 = 500_000;

/// Looks in which nothing got on until a frozen thread is let go, in slices.
const STANDSTILL_SLICES: u64 = 2;

/// Looks in a row at which a thread slept inside the runtime until a frozen thread is let go.
const STUCK_LOOKS: u32 = 2;

/// The body of the monitor's thread.
pub(super) fn main(shared: &Arc<Shared>) {
    let monitor = &shared.monitor;
    // SAFETY: no arguments, no failure.
    monitor.tid.store(unsafe { libc::gettid() }, Relaxed);
    urgency::ask_for_short_slices();
    let mut watcher = Watcher::new(shared);
    // Acquire pairs with the release store in `stop_monitor`.
    while !monitor.stop.load(Acquire) {
        let pause = watcher.look(time::real_now_ns());
        monitor.watch.sleep(pause);
        monitor.asleep.store(false, Relaxed);
    }
    monitor.tid.store(0, Relaxed);
}

/// What the monitor keeps from look to look: made once, so that looking allocates nothing.
struct Watcher<'a> {
    shared: &'a Shared,
    threads: Box<[Remembered]>,
    standstill: Standstill,
    /// Since when all workers are parked, 0 if they are not.
    quiet_since: u64,
    /// The monitor should look again soon.
    hot: bool,
    by_proc: bool,
    /// Turns under way that were asked to give way.
    asked: u32,
}

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        explore::note_asked(self.asked, 0);
    }
}

#[derive(Clone, Copy, Default)]
struct Remembered {
    memory: Memory,
    /// Looks in a row at which it slept inside the runtime.
    stuck: u32,
    hostages_since: u64,
    /// The turn whose sleep was reported.
    reported: u64,
    /// When the freeze began that was dealt with last.
    handled_freeze: u64,
}

/// What the looks at all threads came to.
#[derive(Default)]
struct Found {
    /// Changes whenever a turn begins.
    moves: u64,
    /// Some thread uses a processor, or waits for one.
    computing: bool,
    frozen: usize,
    oldest_frozen: Option<(u64, usize)>,
    stuck: bool,
    hostages: u64,
    hostages_since: u64,
    suspects: bool,
    asked: u32,
    /// A thread sleeps whose worker nobody could have.
    needs_spare: bool,
    /// When the next turn is to be asked or forced, if it computes on, or a deadline is overdue.
    next_due: u64,
    /// Some thread may be about to sleep, or to end its turn.
    is_unsteady: bool,
}

impl<'a> Watcher<'a> {
    fn new(shared: &'a Shared) -> Watcher<'a> {
        let threads = shared.threads.slots().len();
        Watcher {
            shared,
            threads: vec![Remembered::default(); threads].into(),
            standstill: Standstill::default(),
            quiet_since: 0,
            hot: false,
            by_proc: shared.monitor.by_proc(),
            asked: 0,
        }
    }

    /// Looks at everything once. Returns how long to sleep; `None` until rung for.
    fn look(&mut self, now: u64) -> Option<Duration> {
        let shared = self.shared;
        let monitor = &shared.monitor;
        monitor.looks.fetch_add(1, Relaxed);
        self.hot = false;
        shared.rebalance_tick(now);
        let overdue_at = self.note_overdue(now);
        let work_waits = overdue_at <= now || shared.work_waits_for_a_worker();
        let preemption = shared.tunables.preemption();
        let rules = Rules {
            now,
            slice_ns: shared.tunables.slice_ns(),
            ask: preemption != Preemption::Off,
            force: preemption == Preemption::Forced,
            hand_off: shared.tunables.hand_off(),
            work_waits,
            can_hand_on: shared.threads.desk.spare() > 0 || shared.threads.desk.wanting() > 0,
        };
        let mut found = Found {
            // One that others have been told to serve is a reason to look again, but none to look at once.
            next_due: if overdue_at > now {
                overdue_at
            } else {
                u64::MAX
            },
            ..Found::default()
        };
        for index in 0..self.threads.len() {
            self.look_at_thread(index, &rules, &mut found);
        }
        monitor.hostages.now.store(found.hostages, Relaxed);
        monitor.hostages.since.store(found.hostages_since, Relaxed);
        explore::note_asked(self.asked, found.asked);
        self.asked = found.asked;
        self.keep_progress(&rules, &found);
        // Also where a frozen thread could have the worker: what is fresh needs one that is free.
        if (found.needs_spare || work_waits && (rules.hand_off || rules.force))
            && shared.threads.desk.spare() < SPARE_AHEAD
            && shared.threads.total() < shared.tunables.max_threads()
        {
            shared.threads.need_spares();
        }
        self.pause(now, work_waits, &found)
    }

    fn look_at_thread(&mut self, index: usize, rules: &Rules, found: &mut Found) {
        let slot = &self.shared.threads.slots()[index];
        let leash = &slot.leash;
        // Acquire pairs with the release store of the thread: it is in scheduler context at least.
        let tid = leash.tid.load(Acquire);
        let remembered = &mut self.threads[index];
        if tid == 0 {
            *remembered = Remembered::default();
            return;
        }
        let turn = leash.turn.load(Relaxed);
        found.moves = found.moves.wrapping_add(turn);
        let holds_worker = !slot.grip.peek().is_null();
        if let Some(since) = leash.frozen_since() {
            found.frozen += 1;
            // Once for each freeze: one that has just been given a worker, and is about to go on, keeps it.
            if remembered.handled_freeze != since {
                self.take_from_frozen(index, since);
                found.computing = true;
            } else if found.oldest_frozen.is_none_or(|(oldest, _)| since < oldest) {
                found.oldest_frozen = Some((since, index));
            }
        }
        let remembered = &mut self.threads[index];
        let seen = Seen {
            turn,
            place: self.shared.place_of(slot, holds_worker),
            holds_worker,
            is_taken_care_of: leash.is_requested() || leash.is_frozen(),
            thawed_at: leash.thawed_at(),
        };
        let kernel = Real {
            tid,
            by_proc: self.by_proc,
        };
        let verdict = remembered.memory.look(seen, rules, &kernel);
        // Who waits for a processor gets on when it has one. What a frozen one did before says nothing.
        let is_frozen = leash.is_frozen();
        let gets_on = !is_frozen && remembered.memory.asleep_since().is_none();
        found.computing |= seen.place != Place::Bed && gets_on;
        if seen.place == Place::Turn
            && !is_frozen
            && remembered.memory.computes_on()
            && let Some(due) = remembered.memory.due_at(rules)
        {
            found.next_due = found.next_due.min(due);
        }
        found.is_unsteady |=
            seen.place != Place::Bed && !is_frozen && !remembered.memory.is_steady();
        leash.set_asleep(turn, remembered.memory.asleep_since());
        self.carry_out(index, turn, verdict, rules, found);
        found.asked += u32::from(leash.is_asked());
        self.count_hostages(index, rules.now, found);
    }

    fn carry_out(
        &mut self,
        index: usize,
        turn: u64,
        verdict: Verdict,
        rules: &Rules,
        found: &mut Found,
    ) {
        let slot = &self.shared.threads.slots()[index];
        let counters = &self.shared.monitor.watch.counters;
        let mut is_stuck = verdict == Verdict::StuckInside;
        match verdict {
            Verdict::Nothing | Verdict::StuckInside => {}
            Verdict::NobodyToTake => found.needs_spare = true,
            Verdict::Retake { slept_ns } => {
                match self.shared.take_from_blocked(index, turn, slept_ns) {
                    Taken::Given { .. } => self.hot = true,
                    Taken::InSection => is_stuck = true,
                    _ => {}
                }
            }
            Verdict::Ask => {
                slot.leash.ask(turn);
                counters.requested.fetch_add(1, Relaxed);
            }
            Verdict::Force => {
                slot.leash.send_signal(turn, rules.now);
                // It may find the thread where it cannot be stopped.
                found.is_unsteady = true;
            }
            Verdict::AtCap => {
                counters.at_cap.fetch_add(1, Relaxed);
            }
        }
        let remembered = &mut self.threads[index];
        remembered.stuck = if is_stuck { remembered.stuck + 1 } else { 0 };
        found.stuck |= remembered.stuck >= STUCK_LOOKS;
    }

    /// The thread sleeps in its handler: somebody else gets its worker, and its home is queued for one.
    fn take_from_frozen(&mut self, index: usize, since: u64) {
        self.threads[index].handled_freeze = since;
        match self.shared.take_from_frozen(index) {
            // Nobody would run it: it goes on itself.
            Taken::NobodyToTake | Taken::Unsupported => {
                let counters = &self.shared.monitor.watch.counters;
                counters.at_cap.fetch_add(1, Relaxed);
                self.shared.threads.slots()[index].leash.thaw();
            }
            Taken::Busy => {
                self.threads[index].handled_freeze = 0;
                self.hot = true;
            }
            _ => {}
        }
    }

    /// The progress rule: a frozen thread may hold what all others wait for.
    fn keep_progress(&mut self, rules: &Rules, found: &Found) {
        let moves = found
            .moves
            .wrapping_add(if found.computing { rules.now } else { 0 });
        let patience_ns = STANDSTILL_SLICES * rules.slice_ns;
        let stands = self
            .standstill
            .look(rules.now, moves, found.frozen, patience_ns);
        if (stands || found.stuck)
            && let Some((_, index)) = found.oldest_frozen
            && self.shared.release_frozen(index)
        {
            let counters = &self.shared.monitor.watch.counters;
            counters.released.fetch_add(1, Relaxed);
            #[cfg(test)]
            counters
                .released_inside
                .fetch_add((found.stuck && !stands).into(), Relaxed);
        }
    }

    fn count_hostages(&mut self, index: usize, now: u64, found: &mut Found) {
        let shared = self.shared;
        let slot = &shared.threads.slots()[index];
        let remembered = &mut self.threads[index];
        let hostages = shared.hostages_of(slot);
        if hostages == 0 {
            remembered.hostages_since = 0;
            return;
        }
        if remembered.hostages_since == 0 {
            remembered.hostages_since = now;
            shared.monitor.hostages.episodes.fetch_add(1, Relaxed);
        }
        found.hostages += hostages;
        if found.hostages_since == 0 || remembered.hostages_since < found.hostages_since {
            found.hostages_since = remembered.hostages_since;
        }
        let turn = remembered.memory.turn();
        let Some(since) = remembered.memory.asleep_since() else {
            return;
        };
        if remembered.reported == turn {
            return;
        }
        found.suspects = true;
        // Both for a second: asleep, and with hostages.
        if now - since.max(remembered.hostages_since) >= SUSPECT_NS
            && shared.monitor.deadlocks.report(slot, since, now, hostages)
        {
            remembered.reported = turn;
        }
    }

    /// Has others serve the deadlines of a worker whose thread is in a long turn. Returns from when on the earliest of
    /// these is overdue: now at the latest where one is, and never if there are none.
    fn note_overdue(&self, now: u64) -> u64 {
        let roster = &self.shared.roster;
        let is_busy = |worker: usize| {
            let state = &self.shared.workers[worker].stats.state;
            // Of one that has left others serve them, and are busy too.
            state.load(Relaxed) == WorkerState::Running as u8 || roster.is_inactive(worker)
        };
        let mut earliest = u64::MAX;
        for worker in (0..roster.ever()).filter(|&worker| is_busy(worker)) {
            let next = self.shared.workers[worker].timers.next();
            let overdue_at = next.saturating_add(OVERDUE_NS);
            if overdue_at <= now && earliest > now {
                let overdue = &self.shared.monitor.overdue;
                overdue.store(worker as u32 + 1, Relaxed);
            }
            earliest = earliest.min(overdue_at);
        }
        earliest
    }

    fn all_parked(&self) -> bool {
        let shared = self.shared;
        shared.idle.all_parked(shared.roster.in_service())
    }

    fn pause(&mut self, now: u64, work_waits: bool, found: &Found) -> Option<Duration> {
        let quiet = self.all_parked() && found.frozen == 0 && !found.suspects;
        if !quiet {
            self.quiet_since = 0;
        } else if self.quiet_since == 0 {
            self.quiet_since = now;
        } else if now - self.quiet_since >= QUIET_NS {
            self.shared.monitor.fall_asleep();
            if self.all_parked() {
                return None;
            }
        }
        Some(if self.hot {
            HOT
        } else if work_waits || found.frozen > 0 {
            let until_due = Duration::from_nanos(found.next_due.saturating_sub(now));
            until_due.clamp(HOT, if found.is_unsteady { BUSY } else { CALM })
        } else {
            CALM
        })
    }
}

impl Shared {
    /// Where the thread is.
    fn place_of(&self, slot: &ThreadSlot, holds_worker: bool) -> Place {
        if slot.in_bed() != Bed::Up {
            return Place::Bed;
        }
        if !slot.routine.load(Relaxed).is_null() {
            return Place::Turn;
        }
        if !holds_worker {
            return Place::Bed;
        }
        // Which worker it holds may change meanwhile; then it is in the scheduler.
        let Some(worker) = self.threads.desk.worker_of(slot.index) else {
            return Place::Scheduler;
        };
        let parked = |w: &crate::scheduler::WorkerShared| {
            w.stats.state.load(Relaxed) == WorkerState::Parked as u8
        };
        match self.workers.get(worker as usize) {
            Some(worker) if !parked(worker) => Place::Scheduler,
            _ => Place::Bed,
        }
    }

    /// Whether there is work that another thread could run if it had a worker.
    fn work_waits_for_a_worker(&self) -> bool {
        self.has_stealable_work() || self.sockets_wait()
    }

    /// Whether the kernel has something for a socket and no worker is about to look.
    fn sockets_wait(&self) -> bool {
        !self.idle.is_seated() && self.poller().is_some_and(|poller| poller.has_news())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::SeqCst;
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::scheduler::threads::section::Section;
    use crate::{Handle, Runtime};

    fn until(what: &str, so: impl Fn() -> bool) {
        let began = Instant::now();
        while !so() {
            assert!(began.elapsed().as_secs() < 120, "still not so: {what}");
            thread::yield_now();
        }
    }

    fn released_inside(handle: &Handle) -> u64 {
        let counters = &handle.shared.monitor.watch.counters;
        counters.released_inside.load(Relaxed)
    }

    /// The only worker is with a thread that sleeps inside the runtime, from which it cannot be taken, on a lock that
    /// a frozen one holds; as an allocator's may be, or a stream's. Other frozen ones have waited for longer. So
    /// long a slice that nothing else lets them go before.
    #[test]
    fn who_sleeps_inside_has_frozen_threads_let_go() {
        let rt = Runtime::builder()
            .workers(1)
            .hand_off(true)
            .travelling_homes(0)
            .preemption(Preemption::Forced)
            .slice(Duration::from_millis(20))
            .build()
            .unwrap();
        let handle = rt.handle();
        let config = handle.config();
        if config.preemption != Preemption::Forced || !config.hand_off {
            eprintln!("skipped: no forced preemption here");
            return;
        }
        let began = Instant::now();
        // Again, where the sleeper was frozen before it came to the lock, or another rule was faster.
        while released_inside(&handle) == 0 {
            assert!(began.elapsed().as_secs() < 120, "nobody is let go");
            let lock = Arc::new(Mutex::new(()));
            let (held, waits) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
            let loops = [false, true].map(|holds| {
                let (lock, held, waits) = (lock.clone(), held.clone(), waits.clone());
                rt.spawn(move || {
                    let _guard = holds.then(|| lock.lock().unwrap());
                    held.fetch_or(holds, SeqCst);
                    while !waits.load(SeqCst) {
                        std::hint::spin_loop();
                    }
                })
            });
            until("it is held", || held.load(SeqCst));
            let sleeper = rt.spawn(move || {
                waits.store(true, SeqCst);
                let inside = Section::enter();
                drop(lock.lock().unwrap());
                drop(inside);
            });
            sleeper.join().unwrap();
            loops.into_iter().for_each(|one| one.join().unwrap());
        }
        assert_eq!(rt.spawn(|| 7).join().unwrap(), 7);
        rt.shutdown(Duration::from_secs(60)).unwrap();
    }
}
