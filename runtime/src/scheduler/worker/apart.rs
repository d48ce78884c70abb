//! Where a fresh routine starts: on the thread that holds the worker, or on another one to which the worker goes
//! with it ([`crate::scheduler::apart`] tells why).
//!
//! - *A routine of a suspect site* starts on a thread to which nothing is bound, so that nobody waits for it.
//! - *Any other* starts on the thread at hand, unless one that is suspect is bound there: it would wait for that one.
//!
//! The worker, which runs no turn, is given to a spare thread as in `serve_wanting`; the routine goes along in the
//! worker's own hand. If no thread will do, it starts here.

use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;

use super::WorkerCore;
use crate::routine::RoutineRef;
use crate::scheduler::threads::{Leaves, Tenants, ThreadSlot, Wanted};
use crate::snapshot::HandOff;

impl WorkerCore {
    /// A fresh routine, which was taken from a queue, is about to start. Whether it does so elsewhere: then the
    /// worker has gone with it, and this thread has none.
    #[inline(never)]
    pub(super) fn starts_elsewhere(&self, slot: &ThreadSlot, routine: RoutineRef) -> bool {
        let shared = slot.shared();
        let home = self.home();
        let site = routine.header().site();
        let tenants = home.tenants();
        let wanted = match tenants {
            Tenants::None => {
                home.has_suspect.store(shared.is_suspect(site), Relaxed);
                return false;
            }
            _ if shared.is_suspect(site) => Wanted::Apart,
            Tenants::Suspect => Wanted::Beside,
            Tenants::Some => return false,
        };
        let leaves = self.leaves_behind();
        let desk = &shared.threads.desk;
        let given = (desk.spare() > 0)
            .then(|| desk.hand_to_spare(home.index, self.index, leaves, wanted, || slot.let_go()));
        let Some(to) = given.flatten() else {
            shared.apart.beside.fetch_add(1, Relaxed);
            if shared.threads.total() < shared.tunables.max_threads() {
                shared.threads.need_spares();
            }
            return false;
        };
        // From here on this thread may be given another worker; this one is ours until it is given on.
        if wanted == Wanted::Apart {
            shared.apart.note_start(site);
        }
        self.first.set(routine.as_ptr());
        if leaves == Leaves::Work {
            shared.notify_work();
        } else {
            shared.look_again(home.index);
        }
        // SAFETY: 1: it was ours; 2: the desk has named the thread.
        unsafe {
            let core = std::ptr::from_ref(self).cast_mut();
            shared.give(core, to, HandOff::Apart);
        }
        true
    }

    /// The routine that was brought along for this thread.
    pub(super) fn take_first(&self) -> Option<RoutineRef> {
        let first = self.first.replace(null_mut());
        // SAFETY: it was taken from a queue for us, so its block is alive.
        (!first.is_null()).then(|| unsafe { RoutineRef::from_ptr(first) })
    }
}
