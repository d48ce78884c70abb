//! The homes of a runtime: which are free, which are shared, when they end.

use std::cell::UnsafeCell;
use std::io;
use std::mem::ManuallyDrop;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

use super::NoHomes;
use super::door::Door;
use super::platform::{self, Carrier, Donor};
use crate::primitives::ShortLock;
use crate::routine::{Header, RoutineRef};
use crate::snapshot::TravellingFigures;
use crate::thread_state::ThreadState;

/// After the system has refused a donor, none is asked for during this time: it would refuse again.
const REFUSAL_NS: u64 = 100_000_000;

/// A home that nobody has wanted for so long ends, and what its allocator's cache has goes with it.
const IDLE_NS: u64 = 10_000_000_000;

/// Nothing is due.
const NEVER: u64 = u64::MAX;

/// A home, at a stable address as long as its runtime. Its donor may end and another take its place.
///
/// (`scheduler::threads::Home` is what version 1 binds routines to, and what a routine is bound to while it
/// holds its thread.)
pub(crate) struct Identity {
    index: u32,
    pub(crate) door: Door<RoutineRef>,
    /// Of the donor's block; 0 without a donor. Written while the home is put by.
    base: AtomicUsize,
    state: AtomicPtr<ThreadState>,
    /// Started routines that are bound to it. Changed by who has it mounted.
    routines: AtomicU32,
    /// The routine that holds its thread, or null, and the home of that thread. As long as it does, the door
    /// stays shut.
    holder: AtomicPtr<Header>,
    held_on: AtomicU32,
    /// Not to be used again.
    spoilt: AtomicBool,
    /// Of who has put the home by and knows it alone.
    donor: UnsafeCell<Option<Donor>>,
}

// SAFETY: the donor's place is touched by one party at a time: who makes the home and who retires it, of
// which there is one, because a home that is put by is in one place.
unsafe impl Sync for Identity {}
// SAFETY: a donor may be ended from any thread.
unsafe impl Send for Identity {}

impl Identity {
    fn new(index: u32) -> Identity {
        Identity {
            index,
            door: Door::new(),
            base: AtomicUsize::new(0),
            state: AtomicPtr::new(std::ptr::null_mut()),
            routines: AtomicU32::new(0),
            holder: AtomicPtr::new(std::ptr::null_mut()),
            held_on: AtomicU32::new(0),
            spoilt: AtomicBool::new(false),
            donor: UnsafeCell::new(None),
        }
    }

    /// Its place in the runtime's table.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// This crate's state in its block.
    ///
    /// # Safety
    /// 1. Exclusive: the caller has passed the door, and does not leave while the result is used.
    #[inline]
    pub(crate) unsafe fn state(&self) -> &ThreadState {
        // SAFETY: the block is the donor's, who sleeps as long as the home is not put by.
        unsafe { &*self.state.load(Relaxed) }
    }

    /// Started routines bound to it.
    #[inline]
    pub(crate) fn routines(&self) -> u32 {
        self.routines.load(Relaxed)
    }

    /// Whether it ends with its last routine, instead of being used again.
    pub(crate) fn is_spoilt(&self) -> bool {
        self.spoilt.load(Relaxed)
    }

    /// Has it end with its last routine. By who has it mounted.
    #[cold]
    pub(crate) fn spoil(&self) {
        self.spoilt.store(true, Relaxed);
    }

    /// `holder` holds its thread, whose home is `on`, or nobody does any more. By who has it mounted.
    pub(crate) fn hold(&self, holder: *mut Header, on: u32) {
        self.held_on.store(on, Relaxed);
        self.holder.store(holder, Relaxed);
    }

    /// The home of the thread that `routine`, which is bound to this identity, holds. Relaxed: who runs the
    /// routine or has won its wake sees what its last turn wrote.
    #[inline]
    pub(crate) fn held_on(&self, routine: RoutineRef) -> Option<u32> {
        (self.holder.load(Relaxed) == routine.as_ptr()).then(|| self.held_on.load(Relaxed))
    }

    /// Runs `f` under this home.
    ///
    /// # Safety
    /// 1. Exclusive: the caller has passed the door as `carrier`, and does not leave before this returns.
    /// 2. Addresses: `f` itself has no thread-local in it.
    #[inline]
    pub(crate) unsafe fn run_under<R>(&self, carrier: &Carrier, f: impl FnOnce() -> R) -> R {
        // SAFETY: 1: a home that can be entered has a donor, which is woken only while it is put by; 2: by 1
        // of the caller; 3: by 2.
        unsafe { carrier.run_under(self.base.load(Relaxed), f) }
    }
}

/// The homes of a runtime.
pub(crate) struct Homes {
    table: Box<[OnceLock<Box<Identity>>]>,
    desk: ShortLock<Desk>,
    /// When the next free home will have been free for long, or [`NEVER`].
    expires: AtomicU64,
    /// Free homes that stay, however long.
    keep: usize,
    /// How few routines the poorest home has that can be shared; a hint.
    level: AtomicU32,
    counts: Counts,
    /// What bounds them, if not what was asked for.
    bound: Option<&'static str>,
}

struct Desk {
    /// Put by, the one used last at the end, with the time since when.
    free: Vec<(u32, u64)>,
    /// Places whose donor has ended.
    empty: Vec<u32>,
    /// Places of the table that were given out.
    used: u32,
    /// Donors that were woken to their end and not joined yet.
    ending: Vec<Donor>,
    /// Where the search for a home to share goes on.
    hand: u32,
    refused_until: u64,
}

/// What is published. Written rarely: on a donor's birth and end, and where homes are shared.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) made: AtomicU64,
    pub(crate) ended: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// Routines that share a home now.
    pub(crate) sharing: AtomicU64,
    /// Routines that were started on a home of others.
    pub(crate) shared: AtomicU64,
    pub(crate) spoilt: AtomicU64,
}

impl Homes {
    /// For at most `asked` homes, as many as the system bears, at least `least`, which are made at once.
    ///
    /// # Errors
    /// The platform has none, or not as many.
    pub(crate) fn new(asked: u32, least: u32) -> Result<Homes, NoHomes> {
        platform::prepare()?;
        let room = platform::room();
        let limit = u64::from(asked).min(room.homes);
        if limit < u64::from(least) {
            let by = if u64::from(asked) < room.homes {
                "travelling_homes"
            } else {
                room.by
            };
            return Err(NoHomes::Room {
                by,
                room: limit,
                least: u64::from(least),
            });
        }
        let homes = Homes {
            table: (0..limit).map(|_| OnceLock::new()).collect(),
            desk: ShortLock::new(Desk {
                free: Vec::new(),
                empty: Vec::new(),
                used: 0,
                ending: Vec::new(),
                hand: 0,
                refused_until: 0,
            }),
            expires: AtomicU64::new(NEVER),
            keep: least as usize,
            level: AtomicU32::new(1),
            counts: Counts::default(),
            bound: (room.homes < u64::from(asked)).then_some(room.by),
        };
        for _ in 0..least {
            let home = homes.make().map_err(NoHomes::Donor)?;
            homes.desk.lock().free.push((home.index, 0));
        }
        Ok(homes)
    }

    /// Most homes at once.
    pub(crate) fn limit(&self) -> u64 {
        self.table.len() as u64
    }

    /// Why there are travelling homes, and as many.
    pub(crate) fn reason(&self) -> String {
        let limit = self.limit();
        match self.bound {
            None => format!(
                "travelling homes were asked for, and all that was tried works: {limit} at most"
            ),
            Some(by) => {
                format!("travelling homes were asked for, but {by} leaves room for {limit} only")
            }
        }
    }

    #[cfg(all(test, not(portable), target_env = "gnu"))]
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// All figures that are kept here.
    pub(crate) fn figures(&self) -> TravellingFigures {
        let counts = &self.counts;
        // Ends first: no home is counted ended that is not counted made.
        let ended = counts.ended.load(Acquire);
        let made = counts.made.load(Relaxed);
        TravellingFigures {
            limit: self.limit(),
            homes: made - ended,
            free: self.free(),
            sharing: counts.sharing.load(Relaxed),
            made,
            ended,
            spoilt: counts.spoilt.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            shared: counts.shared.load(Relaxed),
            stack_bytes: (made - ended) * platform::STACK_BYTES as u64,
            ..TravellingFigures::default()
        }
    }

    /// Homes that are put by.
    pub(crate) fn free(&self) -> u64 {
        self.desk.lock().free.len() as u64
    }

    /// The home at a place that was given out.
    #[inline]
    pub(crate) fn at(&self, index: u32) -> &Identity {
        self.table[index as usize]
            .get()
            .expect("a routine's home is there")
    }

    /// A clean home, put by, that the caller alone knows from now on. `None` if there is none and none can be
    /// made.
    pub(crate) fn take(&self, now: u64) -> Option<&Identity> {
        let mut desk = self.desk.lock();
        if let Some((index, _)) = desk.free.pop() {
            self.note_expiry(&desk);
            return Some(self.at(index));
        }
        let is_full = desk.empty.is_empty() && desk.used as usize == self.table.len();
        if is_full || now < desk.refused_until {
            return None;
        }
        drop(desk);
        match self.make() {
            Ok(home) => Some(home),
            Err(_) => {
                self.counts.refused.fetch_add(1, Relaxed);
                self.desk.lock().refused_until = now + REFUSAL_NS;
                None
            }
        }
    }

    /// Starts a donor for a place that has none.
    fn make(&self) -> io::Result<&Identity> {
        let donor = Donor::start()?;
        let mut desk = self.desk.lock();
        let index = desk.empty.pop().or_else(|| {
            let index = desk.used;
            ((index as usize) < self.table.len()).then(|| {
                desk.used += 1;
                index
            })
        });
        let ended = desk.take_ended();
        drop(desk);
        drop(ended);
        let Some(index) = index else {
            // Others took the last places meanwhile.
            return Err(io::ErrorKind::QuotaExceeded.into());
        };
        let home = self.table[index as usize].get_or_init(|| Box::new(Identity::new(index)));
        home.base.store(donor.base(), Relaxed);
        home.state.store(donor.state().cast_mut(), Relaxed);
        home.spoilt.store(false, Relaxed);
        // SAFETY: the place was given to us alone, and the home is put by.
        unsafe { *home.donor.get() = Some(donor) };
        self.counts.made.fetch_add(1, Relaxed);
        Ok(home)
    }

    /// Takes back a home that is put by and that the caller alone knows.
    pub(crate) fn give_back(&self, home: &Identity, now: u64) {
        if home.is_spoilt() {
            self.counts.spoilt.fetch_add(1, Relaxed);
            self.end(home);
        } else {
            let mut desk = self.desk.lock();
            desk.free.push((home.index, now));
            self.note_expiry(&desk);
        }
    }

    /// Wakes the donor of a home that is put by and that the caller alone knows.
    #[cfg_attr(
        not(all(not(portable), target_env = "gnu")),
        allow(
            unreachable_code,
            unused_variables,
            reason = "elsewhere there is no donor"
        )
    )]
    fn end(&self, home: &Identity) {
        // SAFETY: nobody else knows the home.
        let donor = unsafe { (*home.donor.get()).take() };
        let donor = donor.expect("a home that was used has a donor");
        donor.wake_to_end();
        // Release pairs with the acquire load of the figures.
        self.counts.ended.fetch_add(1, Release);
        let mut desk = self.desk.lock();
        desk.empty.push(home.index);
        desk.ending.push(donor);
    }

    fn note_expiry(&self, desk: &Desk) {
        let oldest = desk.free.first().filter(|_| desk.free.len() > self.keep);
        let expires = oldest.map_or(NEVER, |(_, since)| since.saturating_add(IDLE_NS));
        self.expires.store(expires, Relaxed);
    }

    /// When [`end_idle`](Self::end_idle) has something to do; the end of time if nothing is free.
    #[inline]
    pub(crate) fn expires(&self) -> u64 {
        self.expires.load(Relaxed)
    }

    /// Ends homes that have been free for long, the oldest first. Those that workers need to begin with stay.
    pub(crate) fn end_idle(&self, now: u64) {
        let mut desk = self.desk.lock();
        let old = |(_, since): &&(u32, u64)| since.saturating_add(IDLE_NS) <= now;
        let old = desk.free.iter().take_while(old).count();
        let count = old.min(desk.free.len().saturating_sub(self.keep));
        let idle: Vec<_> = desk.free.drain(..count).collect();
        self.note_expiry(&desk);
        drop(desk);
        for (index, _) in idle {
            self.end(self.at(index));
        }
    }

    /// Ends all homes that are put by, and waits until the destructors of their thread-locals have run.
    pub(crate) fn end_free(&self) {
        let free = std::mem::take(&mut self.desk.lock().free);
        for (index, _) in free {
            self.end(self.at(index));
        }
        let ending = std::mem::take(&mut self.desk.lock().ending);
        // Joins.
        drop(ending);
    }

    /// A routine that `home` has mounted was bound to it. By who has it mounted.
    pub(crate) fn bind(&self, home: &Identity) {
        let before = home.routines();
        home.routines.store(before + 1, Relaxed);
        let more = match before {
            0 => return,
            1 => 2,
            _ => 1,
        };
        self.counts.sharing.fetch_add(more, Relaxed);
    }

    /// A routine that was bound to `home` has ended. By who has it mounted. Returns whether others are
    /// bound to it.
    pub(crate) fn unbind(&self, home: &Identity) -> bool {
        let left = home.routines() - 1;
        home.routines.store(left, Relaxed);
        match left {
            0 => return false,
            1 => self.counts.sharing.fetch_sub(2, Relaxed),
            _ => self.counts.sharing.fetch_sub(1, Relaxed),
        };
        self.level.fetch_min(left, Relaxed);
        true
    }

    /// A home of others, entered as `carrier`, for a routine for which there is no clean one: one of those
    /// with the fewest routines. `None` if all of them are mounted.
    ///
    /// Goes round the table from where the last search ended, over homes with as few routines as the poorest
    /// had then; so a search looks at few places as a rule.
    pub(crate) fn share(&self, carrier: &Carrier) -> Option<&Identity> {
        let mut level = self.level.load(Relaxed).max(1);
        let (used, hand) = {
            let desk = self.desk.lock();
            (desk.used, desk.hand)
        };
        loop {
            let mut next_level = u32::MAX;
            for index in (hand..used).chain(0..hand) {
                let Some(home) = self.table[index as usize].get() else {
                    continue; // its donor is being born
                };
                match home.routines() {
                    // Put by, or about to be.
                    0 => continue,
                    few if few <= level => {}
                    more => {
                        next_level = next_level.min(more);
                        continue;
                    }
                }
                if !home.is_spoilt() && home.door.try_enter(carrier.thread_id()) {
                    self.level.store(level, Relaxed);
                    self.desk.lock().hand = (index + 1) % used;
                    self.counts.shared.fetch_add(1, Relaxed);
                    return Some(home);
                }
            }
            if next_level == u32::MAX {
                return None;
            }
            level = next_level;
        }
    }
}

impl Desk {
    /// Donors that have come to their end; to be dropped without the lock.
    fn take_ended(&mut self) -> Vec<Donor> {
        self.ending
            .extract_if(.., |donor| donor.has_ended())
            .collect()
    }
}

impl Drop for Homes {
    /// Homes that routines are bound to are left alone for ever.
    fn drop(&mut self) {
        self.end_free();
        for home in self.table.iter_mut().filter_map(OnceLock::get_mut) {
            let _ = home.donor.get_mut().take().map(ManuallyDrop::new);
        }
    }
}
