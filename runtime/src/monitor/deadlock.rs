//! Threads that keep others from running and sleep on something that only those could release.
//!
//! A routine that is ready to run and bound to a home whose thread is stopped, or asleep in the kernel, is a
//! *hostage*. If that thread sleeps in `futex(2)` for a second while it has hostages, then most likely
//! one of them holds what it waits for: a lock of the standard library taken before a pause, the other end
//! of an `mpsc` channel. Nobody can help it; the monitor says who, where, and in which call, once for
//! each such sleep, in a ring that is written without a lock or an allocation.

use std::panic::Location;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

#[cfg(not(portable))]
use super::probe;
use crate::id::RoutineId;
#[cfg(not(portable))]
use crate::routine::Header;
#[cfg(not(portable))]
use crate::scheduler::threads::ThreadSlot;
use crate::snapshot::{HostageDeadlock, RingRead, SystemCall};
use crate::trace::ring::Ring;

/// How long a thread with hostages sleeps in `futex(2)` until that is reported.
pub(super) const SUSPECT_NS: u64 = 1_000_000_000;

const KEPT: usize = 64;
const WORDS: usize = 14;

/// The reports of a runtime. Written by its monitor alone.
pub(crate) struct Deadlocks {
    ring: Ring<WORDS>,
    made: AtomicU64,
}

impl Deadlocks {
    pub(super) fn new() -> Deadlocks {
        Deadlocks {
            ring: Ring::new(KEPT),
            made: AtomicU64::new(0),
        }
    }

    /// Reports the thread if it sleeps in `futex(2)`. False if it does not.
    #[cfg(not(portable))]
    pub(super) fn report(&self, slot: &ThreadSlot, since: u64, now: u64, hostages: u64) -> bool {
        let tid = slot.leash.tid.load(Relaxed);
        let Some(call) = probe::system_call(tid).filter(is_futex_wait) else {
            return false;
        };
        // SAFETY: blocks stay mapped and initialised as long as their slabs, which the runtime keeps.
        let Some(header) = (unsafe { slot.routine.load(Relaxed).as_ref() }) else {
            return false;
        };
        let mut record = [0; WORDS];
        record[0] = now;
        record[1] = since;
        record[2] = header.id.load(Relaxed);
        record[3] = std::ptr::from_ref::<Location<'static>>(header.site()) as u64;
        record[4] = tid as u64;
        record[5] = hostages;
        record[6] = call.number.into();
        record[7] = call.arguments[0];
        record[8] = call.arguments[1];
        record[9] = call.arguments[2];
        for (word, bytes) in record[10..].iter_mut().zip(name_of(header).chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
        }
        self.ring.push(record);
        self.made.fetch_add(1, Relaxed);
        true
    }

    pub(crate) fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }

    pub(crate) fn read(&self, from: u64, into: &mut Vec<HostageDeadlock>) -> RingRead {
        self.ring.read(from, |record| {
            let mut name = [0; 32];
            for (bytes, word) in name.chunks_exact_mut(8).zip(&record[10..]) {
                bytes.copy_from_slice(&word.to_ne_bytes());
            }
            let len = name.iter().position(|&byte| byte == 0).unwrap_or(32);
            into.push(HostageDeadlock {
                at_ns: record[0],
                since_ns: record[1],
                routine: RoutineId::new(record[2]),
                name: (len > 0).then(|| String::from_utf8_lossy(&name[..len]).into_owned()),
                // SAFETY: `report` wrote the address of a static location, and the ring gives whole records.
                site: unsafe { &*(record[3] as *const Location<'static>) },
                thread_id: record[4] as i32,
                hostages: record[5],
                call: SystemCall {
                    number: record[6] as u32,
                    arguments: [record[7], record[8], record[9], 0, 0, 0],
                },
                futex_address: record[7],
            });
        })
    }
}

#[cfg(not(portable))]
fn name_of(header: &Header) -> [u8; 32] {
    header.name_bytes()
}

/// Whether the call waits at a futex, in one of the ways of doing so.
#[cfg(not(portable))]
fn is_futex_wait(call: &SystemCall) -> bool {
    i64::from(call.number) == libc::SYS_futex || i64::from(call.number) == libc::SYS_futex_waitv
}
