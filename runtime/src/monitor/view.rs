//! What the monitor knows, for those who look at a runtime.

use std::sync::atomic::Ordering::Relaxed;

use super::{Monitor, probe};
use crate::id::RoutineId;
use crate::routine::Header;
use crate::scheduler::Shared;
use crate::scheduler::threads::ThreadSlot;
use crate::snapshot::{
    InKernel, MonitorFigures, MonitorState, Probe, RoutineState, RoutineView, WaitReason,
};

impl Monitor {
    /// Whether `/proc` tells what threads do.
    pub(super) fn by_proc(&self) -> bool {
        probe::tells_states()
    }
}

impl Shared {
    pub(crate) fn monitor_figures(&self) -> MonitorFigures {
        let monitor = &self.monitor;
        let watch = &monitor.watch;
        let counters = &watch.counters;
        let tid = monitor.tid.load(Relaxed);
        let since = monitor.hostages.since.load(Relaxed);
        MonitorFigures {
            state: match tid {
                0 => MonitorState::Off,
                _ if monitor.asleep.load(Relaxed) => MonitorState::Asleep,
                _ => MonitorState::Watching,
            },
            probe: if monitor.by_proc() {
                Probe::Proc
            } else {
                Probe::Clock
            },
            looks: monitor.looks.load(Relaxed),
            cpu_ns: if tid == 0 { None } else { probe::cpu_ns(tid) },
            requested: counters.requested.load(Relaxed),
            honoured: counters.honoured.load(Relaxed),
            deferred: counters.deferred.load(Relaxed),
            forced: counters.forced.load(Relaxed),
            stale: counters.stale.load(Relaxed),
            at_cap: counters.at_cap.load(Relaxed),
            retaken: counters.retaken.load(Relaxed),
            released: counters.released.load(Relaxed),
            timers_rescued: counters.timers_rescued.load(Relaxed),
            signal_to_frozen: watch.signal_to_frozen.read(),
            frozen_to_running: watch.frozen_to_running.read(),
            blocked_to_noticed: watch.blocked_to_noticed.read(),
            hostages: monitor.hostages.now.load(Relaxed),
            hostages_since_ns: (since != 0).then_some(since),
            hostage_episodes: monitor.hostages.episodes.load(Relaxed),
            hostage_deadlocks: monitor.deadlocks.made(),
        }
    }

    /// Adds what the routine's thread tells about it.
    pub(crate) fn dress(&self, header: &Header, view: &mut RoutineView) {
        match view.state {
            RoutineState::Running => {
                let runs = |slot: &&ThreadSlot| std::ptr::eq(slot.routine.load(Relaxed), header);
                let Some(slot) = self.threads.slots().iter().find(runs) else {
                    return;
                };
                view.frozen_since_ns = slot.leash.frozen_since();
                view.in_kernel = slot.leash.asleep_since().map(|since_ns| InKernel {
                    since_ns,
                    call: probe::system_call(slot.leash.tid.load(Relaxed)),
                });
            }
            RoutineState::Runnable => {
                let Some(home) = view.home else { return };
                let Some(slot) = self.threads.slots().get(home as usize) else {
                    return;
                };
                if let Some(by) = busy_with(slot) {
                    view.state = RoutineState::Blocked(WaitReason::ThreadBusy);
                    view.busy_with = Some(by);
                }
            }
            _ => {}
        }
    }

    /// Routines that are ready and cannot run because of what the thread of their home does.
    pub(super) fn hostages_of(&self, slot: &ThreadSlot) -> u64 {
        match busy_with(slot) {
            Some(_) => self.threads.home(slot.index).queued(),
            None => 0,
        }
    }

    /// Hostages of all threads.
    pub(crate) fn hostages(&self) -> u64 {
        self.threads
            .slots()
            .iter()
            .map(|slot| self.hostages_of(slot))
            .sum()
    }
}

/// The routine that keeps the thread from running others though it holds no worker, or sleeps with it.
fn busy_with(slot: &ThreadSlot) -> Option<RoutineId> {
    let header = slot.routine.load(Relaxed);
    let stands =
        slot.grip.peek().is_null() || slot.leash.is_frozen() || slot.leash.asleep_since().is_some();
    // SAFETY: blocks stay mapped and initialised as long as their slabs, which the runtime keeps.
    let header = unsafe { header.as_ref() }.filter(|_| stands)?;
    let id = header.id.load(Relaxed);
    (id != 0).then(|| RoutineId::new(id))
}
