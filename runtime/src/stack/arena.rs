//! Where slots come from: address space reserved in segments, and the slots nobody uses.
//!
//! A slot is *fresh* (never handed out, no guard yet), *in use*, *warm* in a worker's pool, or *free*
//! here: guarded, and holding no memory. Each class has its own shelf. Everything goes through one
//! lock, which a worker takes only when its pool cannot help: every use of it is next to a system
//! call that costs many times more.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::guard::{GuardError, Guards};
use super::segments::{self, SEGMENT_ALIGN, Segment};
use super::{ArenaFigures, Slot, StackClass, StackConfig, residency};
use crate::snapshot::{GuardMode, StackClassFigures};

/// Bytes of a segment, but for classes of which less than [`MIN_SLOTS`] would fit.
const SEGMENT_BYTES: usize = 1 << 30;
/// Fewest slots that a segment is reserved for at first.
const MIN_SLOTS: usize = 16;

/// All stacks of one runtime. The mappings go with the last `Arc`, unless a slot is still in use:
/// then all of them stay for ever.
#[derive(Debug)]
pub(crate) struct StackArena {
    guards: Guards,
    default_class: StackClass,
    limit: Option<u64>,
    /// Slots in use, kept only where there is a limit: it would be one contended cache line in the
    /// start and end of every routine. It publishes no slot (the ledger's lock does that, or the
    /// slot never changes hands), so that only [`StackArena::release`] and [`StackArena::has_room`]
    /// need an order, with those who wait for a stack.
    admitted: AtomicU64,
    ledger: Mutex<Ledger>,
    tally: Tally,
}

/// What happened to stacks, counted where it happens, which is next to a system call. Relaxed: nothing
/// is published by a count.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Stacks that memory was taken from while they went on, and how much.
    shrinks: AtomicU64,
    shrunk_bytes: AtomicU64,
    segments: AtomicU64,
    segments_entered: AtomicU64,
    contained: AtomicU64,
}

impl Tally {
    /// A routine overflowed and ended alone: its slots are never used again.
    pub(crate) fn contained(&self) {
        self.contained.fetch_add(1, Relaxed);
    }

    /// A routine enters a segment.
    pub(crate) fn segment_taken(&self) {
        self.segments.fetch_add(1, Relaxed);
        self.segments_entered.fetch_add(1, Relaxed);
    }

    /// It has left it.
    pub(crate) fn segment_given_back(&self) {
        self.segments.fetch_sub(1, Relaxed);
    }

    fn shrunk(&self, bytes: usize) {
        self.shrinks.fetch_add(1, Relaxed);
        self.shrunk_bytes.fetch_add(bytes as u64, Relaxed);
    }
}

#[derive(Debug)]
struct Ledger {
    shelves: [Shelf; StackClass::COUNT],
    segments: Vec<(Segment, segments::Entry)>,
    /// Slots that have a guard, wherever they are.
    guarded: u64,
    pools: Vec<Arc<WarmCount>>,
}

/// The slots of one class that are not out.
#[derive(Debug, Default)]
struct Shelf {
    /// Slots that went out and did not come back: in use or warm in a pool.
    out: u64,
    /// Guarded, without memory. Has room for every slot of the class, so that giving one back
    /// never allocates.
    free: Vec<Slot>,
    /// Went out once, but have no guard.
    bare: Vec<Slot>,
    /// Starts of the slots of the newest segment that were never handed out.
    fresh: Range<usize>,
}

/// Warm slots of one pool, written by its owner alone and read for figures. On cache lines of its
/// own (two, because they are fetched in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct WarmCount(pub(super) AtomicU64);

/// Why there is no stack to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutOfStacks {
    /// As many are in use as may be. One that is given back heals it.
    #[error("all stacks are in use")]
    Limit,
    /// Guards are `mprotect`'s, and this process can have no more of them: other runtimes, or other
    /// workers' warm slots, have the rest.
    #[error("no guard to be had for another stack: too many mappings")]
    Guards,
    /// The kernel refused address space or a guard.
    #[error("no memory for a stack: {}", io::Error::from_raw_os_error(*errno))]
    Kernel {
        /// The system's error number.
        errno: i32,
    },
}

impl OutOfStacks {
    /// Whether somebody outside the runtime may heal it: what there is too little of is the process's.
    pub(crate) fn may_heal_elsewhere(self) -> bool {
        matches!(self, OutOfStacks::Guards)
    }
}

impl StackArena {
    /// An arena without segments: address space is reserved when the first stack is asked for.
    ///
    /// # Errors
    ///
    /// Light guards were asked for by name and cannot be had.
    pub(crate) fn new(config: StackConfig) -> io::Result<Arc<StackArena>> {
        let guards = Guards::resolve(config.guard)?;
        let limit = match (guards.limit(), config.max_stacks) {
            (Some(guards), Some(asked)) => Some(asked.min(guards)),
            (guards, asked) => asked.or(guards),
        };
        Ok(Arc::new(StackArena {
            guards,
            default_class: config.default_class,
            limit,
            admitted: AtomicU64::new(0),
            ledger: Mutex::new(Ledger {
                shelves: Default::default(),
                segments: Vec::new(),
                guarded: 0,
                pools: Vec::new(),
            }),
            tally: Tally::default(),
        }))
    }

    /// How guards are made: `Light` or `Mprotect`, never `Auto`.
    pub(crate) fn mode(&self) -> GuardMode {
        self.guards.mode()
    }

    /// The class that pools keep warm.
    pub(crate) fn default_class(&self) -> StackClass {
        self.default_class
    }

    pub(crate) fn figures(&self) -> ArenaFigures {
        let ledger = self.ledger();
        let pooled: u64 = ledger.pools.iter().map(|warm| warm.0.load(Relaxed)).sum();
        ArenaFigures {
            // A pool may count a slot as warm before it has come to see here that it is out.
            in_use: ledger.out().saturating_sub(pooled),
            pooled,
            free: ledger.shelves.iter().map(|s| s.free.len() as u64).sum(),
            reserved_bytes: ledger.segments.iter().map(|(s, _)| s.bytes() as u64).sum(),
            limit: self.limit,
            shrinks: self.tally.shrinks.load(Relaxed),
            shrunk_bytes: self.tally.shrunk_bytes.load(Relaxed),
            segments: self.tally.segments.load(Relaxed),
            segments_entered: self.tally.segments_entered.load(Relaxed),
            contained: self.tally.contained.load(Relaxed),
        }
    }

    /// Each class that a slot was ever reserved of, smallest first.
    pub(crate) fn class_figures(&self) -> Vec<StackClassFigures> {
        let ledger = self.ledger();
        let warm: u64 = ledger.pools.iter().map(|warm| warm.0.load(Relaxed)).sum();
        let of_class = |index: usize| {
            let class = StackClass::SMALLEST.larger(index);
            let reserved = ledger.segments.iter().filter(|(s, _)| s.class == class);
            let reserved_bytes = reserved.map(|(s, _)| s.bytes() as u64).sum();
            let shelf = &ledger.shelves[index];
            let pooled = if class == self.default_class { warm } else { 0 };
            (reserved_bytes > 0).then(|| StackClassFigures {
                slot_bytes: class.bytes() as u64,
                in_use: shelf.out.saturating_sub(pooled),
                pooled,
                free: shelf.free.len() as u64,
                reserved_bytes,
            })
        };
        (0..StackClass::COUNT).filter_map(of_class).collect()
    }

    /// `bytes` of a stack went back to the kernel, while the stack goes on.
    pub(crate) fn note_shrunk(&self, bytes: usize) {
        self.tally.shrunk(bytes);
    }

    /// Where it is counted what happens to stacks.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Counts one more slot as in use, if the limit allows it.
    pub(super) fn admit(&self) -> Result<(), OutOfStacks> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        // Not "add, then look": a refused worker would for a moment hold the place that a slot just
        // given back had freed, and so have another one refused for nothing.
        self.admitted
            .fetch_update(Relaxed, Relaxed, |n| (n < limit).then_some(n + 1))
            .map(drop)
            .map_err(|_| OutOfStacks::Limit)
    }

    /// Whether one more slot would be admitted now. To be asked again by who was refused with
    /// [`OutOfStacks::Limit`] and has put itself where givers look.
    ///
    /// SeqCst, as is the store by which a waiter is queued before: its partners are the subtraction
    /// in [`StackArena::release`] and the giver's look at the queue after it. Of the two, waiter and
    /// giver, at least one sees the other.
    pub(crate) fn has_room(&self) -> bool {
        self.limit
            .is_none_or(|limit| self.admitted.load(SeqCst) < limit)
    }

    /// Takes back what [`StackArena::admit`] counted. For the SeqCst see [`StackArena::has_room`].
    pub(super) fn release(&self) {
        if self.limit.is_some() {
            let before = self.admitted.fetch_sub(1, SeqCst);
            debug_assert!(before > 0, "more slots came back than went out");
        }
    }

    /// A guarded slot of `class`, from the shelf or fresh.
    pub(super) fn take(&self, class: StackClass) -> Result<Slot, OutOfStacks> {
        let slot = {
            let mut ledger = self.ledger();
            let shelf = &mut ledger.shelves[class.index()];
            if let Some(slot) = shelf.free.pop() {
                shelf.out += 1;
                return Ok(slot);
            }
            let slot = match shelf.take_bare(class) {
                Some(slot) => slot,
                None => {
                    ledger.reserve(class)?;
                    let shelf = &mut ledger.shelves[class.index()];
                    shelf.take_bare(class).expect("a new segment has slots")
                }
            };
            ledger.shelves[class.index()].out += 1;
            slot
        };
        // Outside the lock: it costs more than all of the above.
        match self.guard(&slot) {
            Ok(()) => {
                self.ledger().guarded += 1;
                Ok(slot)
            }
            Err(refused) => {
                let mut ledger = self.ledger();
                let shelf = &mut ledger.shelves[class.index()];
                shelf.out -= 1;
                shelf.bare.push(slot);
                Err(refused)
            }
        }
    }

    fn guard(&self, slot: &Slot) -> Result<(), OutOfStacks> {
        loop {
            // SAFETY: `Guards::install` 1: we own the slot, which has just come off its shelf and
            // was given to nobody; 2: slots lie in segments, private and anonymous, and a stack
            // without a guard has never been used.
            match unsafe { self.guards.install(slot.start()) } {
                Ok(()) => return Ok(()),
                Err(GuardError::Kernel(e)) => return Err(kernel_refused(&e)),
                Err(GuardError::Budget) if self.ledger().unguard_a_free_slot(self.guards) => {}
                Err(GuardError::Budget) => return Err(OutOfStacks::Guards),
            }
        }
    }

    /// A guarded slot of `class`, for a thread that has no pool.
    pub(crate) fn take_apart(&self, class: StackClass) -> Result<Slot, OutOfStacks> {
        self.admit()?;
        self.take(class).inspect_err(|_| self.release())
    }

    /// Takes back what [`take_apart`](Self::take_apart) gave.
    ///
    /// # Safety
    ///
    /// As for [`give_back`](Self::give_back).
    pub(crate) unsafe fn give_back_apart(&self, slot: Slot) {
        // SAFETY: by the caller.
        unsafe { self.give_back(slot) };
        // Last, so that whoever is admitted by it finds the slot where it was put.
        self.release();
    }

    /// Keeps a slot for whoever needs one next. Its memory goes back to the kernel first.
    ///
    /// # Safety
    ///
    /// The slot is this arena's, and nothing on it is used any more: [`residency::discard`]'s contract
    /// for all of it.
    pub(super) unsafe fn give_back(&self, slot: Slot) {
        // SAFETY: `residency::discard` 1 and 2: we own the slot, and the caller says that nothing
        // on it is used any more.
        unsafe { residency::discard(slot.low(), slot.high()) };
        self.ledger().put_back(slot);
    }

    /// As [`give_back`](Self::give_back) for the first `count` of `slots`. Changes their order.
    ///
    /// # Safety
    ///
    /// As there, for each of them.
    pub(super) unsafe fn give_back_first(&self, slots: &mut Vec<Slot>, count: usize) {
        // SAFETY: `residency::discard_all` 1 and 2: we own the slots, and the caller says that nothing
        // on them is used any more.
        unsafe { residency::discard_all(&mut slots[..count]) };
        let mut ledger = self.ledger();
        slots.drain(..count).for_each(|slot| ledger.put_back(slot));
    }

    pub(super) fn add_pool(&self) -> Arc<WarmCount> {
        let warm = Arc::new(WarmCount::default());
        self.ledger().pools.push(Arc::clone(&warm));
        warm
    }

    pub(super) fn remove_pool(&self, warm: &Arc<WarmCount>) {
        self.ledger().pools.retain(|w| !Arc::ptr_eq(w, warm));
    }

    /// A panic under the lock can only be a failed assertion; the lists are whole at each of them.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StackArena {
    fn drop(&mut self) {
        let ledger = self
            .ledger
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if ledger.out() != 0 {
            return;
        }
        self.guards.unmapped(ledger.guarded);
        for (segment, entry) in ledger.segments.drain(..) {
            segments::withdraw(entry);
            // SAFETY: `unmap` 1: no slot is out and no `Arc` is left to take one; 2: the bounds
            // that `reserve_segment` made.
            unsafe { unmap(segment.start.get(), segment.bytes()) };
        }
    }
}

impl Shelf {
    /// A slot that has no guard yet.
    fn take_bare(&mut self, class: StackClass) -> Option<Slot> {
        if let Some(slot) = self.bare.pop() {
            return Some(slot);
        }
        if self.fresh.is_empty() {
            return None;
        }
        let start = NonZeroUsize::new(self.fresh.start)?;
        self.fresh.start += class.bytes();
        // SAFETY: 1: `fresh` has just been moved past the slot and never goes back; 2: it lies in a
        // segment, unmapped only when no slot is out; 3: every way out of the arena is through
        // `StackArena::take`, which makes the guard.
        Some(unsafe { Slot::new(start, class) })
    }
}

impl Ledger {
    /// Takes back a slot that holds no memory.
    fn put_back(&mut self, slot: Slot) {
        debug_assert!(
            self.segments.iter().any(|(s, _)| s.class == slot.class()
                && (s.start.get()..s.start.get() + s.bytes()).contains(&slot.start())),
            "the slot belongs to another arena",
        );
        let shelf = &mut self.shelves[slot.class().index()];
        shelf.out -= 1;
        shelf.free.push(slot);
    }

    /// Slots of all classes that went out and did not come back.
    fn out(&self) -> u64 {
        self.shelves.iter().map(|shelf| shelf.out).sum()
    }

    /// Adds a segment of slots of `class`. Half the size is tried where the kernel refuses, down to
    /// one slot: under a limit on address space (`ulimit -v`, strict overcommit) the usual segment
    /// may be too much where some stacks still fit.
    fn reserve(&mut self, class: StackClass) -> Result<(), OutOfStacks> {
        let least = class.bytes().max(SEGMENT_ALIGN);
        let mut bytes = SEGMENT_BYTES.max(class.bytes() * MIN_SLOTS);
        let start = loop {
            match reserve_segment(bytes, least) {
                Ok(start) => break start,
                Err(_) if bytes > least => bytes /= 2,
                Err(e) => return Err(kernel_refused(&e)),
            }
        };
        let segment = Segment {
            start,
            log2_bytes: bytes.trailing_zeros(),
            class,
        };
        let Some(entry) = segments::publish(segment) else {
            // SAFETY: `unmap` 1: reserved above, no slot of it exists; 2: the bounds it has.
            unsafe { unmap(start.get(), bytes) };
            return Err(OutOfStacks::Kernel {
                errno: libc::ENOMEM,
            });
        };
        self.segments.push((segment, entry));
        let slots = self
            .segments
            .iter()
            .filter(|(s, _)| s.class == class)
            .map(|(s, _)| s.bytes() / class.bytes())
            .sum::<usize>();
        let shelf = &mut self.shelves[class.index()];
        shelf.free.reserve(slots - shelf.free.len());
        debug_assert!(shelf.fresh.is_empty(), "the last segment is used up first");
        shelf.fresh = start.get()..start.get() + bytes;
        Ok(())
    }

    /// Takes the guard of some free slot, of whatever class, for another one's sake.
    fn unguard_a_free_slot(&mut self, guards: Guards) -> bool {
        let Some(shelf) = self.shelves.iter_mut().find(|s| !s.free.is_empty()) else {
            return false;
        };
        let Some(slot) = shelf.free.pop() else {
            return false;
        };
        // SAFETY: `Guards::install` 1: the slot is off its shelf and ours; 2: as for all slots; a
        // free slot carries no stack.
        match unsafe { guards.remove(slot.start()) } {
            Ok(()) => {
                self.guarded -= 1;
                shelf.bare.push(slot);
                true
            }
            Err(_) => {
                shelf.free.push(slot);
                false
            }
        }
    }
}

fn kernel_refused(error: &io::Error) -> OutOfStacks {
    OutOfStacks::Kernel {
        errno: error.raw_os_error().unwrap_or(libc::ENOMEM),
    }
}

/// Reserves `bytes`, aligned to `align`, both powers of two. Readable, writable, without memory, and
/// without huge pages: one touched byte of a stack would become 2 MiB.
fn reserve_segment(bytes: usize, align: usize) -> io::Result<NonZeroUsize> {
    let mapped = bytes + align;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            mapped,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let address = address as usize;
    let start = address.next_multiple_of(align);
    // SAFETY: `unmap` 1: mapped above, known to nobody; 2: both pieces lie in it, outside of
    // `start..start + bytes`, since start - address < align.
    unsafe {
        unmap(address, start - address);
        unmap(start + bytes, address + align - start);
    }
    // Neither of these changes what the memory does, so a kernel without them (no huge pages; no
    // named mappings) may refuse. The name is what /proc/self/maps shows.
    // SAFETY: advice on a mapping that is ours.
    unsafe { libc::madvise(start as *mut _, bytes, libc::MADV_NOHUGEPAGE) };
    // SAFETY: names a mapping that is ours; the kernel copies the text.
    unsafe {
        libc::prctl(
            libc::PR_SET_VMA,
            libc::PR_SET_VMA_ANON_NAME as libc::c_ulong,
            start,
            bytes,
            c"openwork stacks".as_ptr(),
        )
    };
    NonZeroUsize::new(start).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

/// Unmaps a range, which may be empty.
///
/// # Safety
///
/// 1. Exclusive: nobody has or can get an address in it.
/// 2. It is whole pages of mappings made by [`reserve_segment`].
unsafe fn unmap(start: usize, bytes: usize) {
    if bytes > 0 {
        // SAFETY: 1 and 2 are the caller's. It can fail only at the limit of mappings, and then the
        // address space stays reserved, which harms nobody.
        unsafe { libc::munmap(start as *mut _, bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::page_bytes;
    use crate::stack::{StackPool, child};

    fn class(bytes: usize) -> StackClass {
        StackClass::for_bytes(bytes).unwrap()
    }

    fn arena(guard: GuardMode) -> Arc<StackArena> {
        StackArena::new(StackConfig {
            default_class: class(64 << 10),
            guard,
            max_stacks: None,
        })
        .unwrap()
    }

    fn mappings_named_ours() -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines()
            .filter(|line| line.ends_with("[anon:openwork stacks]"))
            .count()
    }

    /// In a process of its own, since the mappings of other tests' arenas look the same.
    #[test]
    fn mappings_go_with_the_arena_unless_a_slot_is_still_in_use() {
        if child::passes(
            "stack::arena::tests::mappings_go_with_the_arena_unless_a_slot_is_still_in_use",
        ) {
            return;
        }
        for guard in [GuardMode::Auto, GuardMode::Mprotect] {
            let arena = arena(guard);
            let mut pool = StackPool::new(Arc::clone(&arena));
            let slots: Vec<Slot> = [32 << 10, 64 << 10, 1 << 20]
                .map(|bytes| pool.take(class(bytes)).unwrap())
                .into();
            let low = slots[0].low();
            assert!(segments::find(low).is_some());
            for slot in slots {
                let high = slot.high();
                // SAFETY: 1: no routine ran on it; 2: it is the only arena here.
                unsafe { pool.give_back(slot, high) };
            }
            drop((arena, pool));
            assert_eq!(segments::find(low), None);
            assert_eq!(mappings_named_ours(), 0);
        }

        let arena = arena(GuardMode::Auto);
        let mut pool = StackPool::new(Arc::clone(&arena));
        let live = pool.take(class(64 << 10)).unwrap();
        drop((arena, pool));
        let word = (live.high() - 8) as *mut u64;
        // SAFETY: the promise under test: the slot was not given back, so its memory is there.
        unsafe { word.write_volatile(7) };
        assert!(segments::find(live.low()).is_some());
    }

    /// The budget of `mprotect` guards is the process's. Free slots keep their guards, yet a class
    /// whose turn comes later must not starve on those.
    #[test]
    fn the_guard_of_a_free_slot_is_given_up_for_another_class() {
        if child::passes(
            "stack::arena::tests::the_guard_of_a_free_slot_is_given_up_for_another_class",
        ) {
            return;
        }
        const BUDGET: usize = 10;
        let arena = arena_with_budget(BUDGET as u64);
        let (small, large) = (class(32 << 10), class(1 << 20));
        let take = |class, n| -> Vec<Slot> { (0..n).map(|_| arena.take(class).unwrap()).collect() };
        let give_back = |slots: Vec<Slot>| {
            // SAFETY: no routine ran on them, and they are this arena's.
            slots
                .into_iter()
                .for_each(|slot| unsafe { arena.give_back(slot) });
        };
        for (now, then) in [(small, large), (large, small), (small, large)] {
            let slots = take(now, BUDGET);
            assert_eq!(arena.take(now), Err(OutOfStacks::Guards));
            assert_eq!(arena.take(then), Err(OutOfStacks::Guards));
            give_back(slots);
            let slots = take(then, BUDGET / 2);
            // Half of the guards went over, the other half is where it was.
            let rest = take(now, BUDGET / 2);
            assert_eq!(arena.take(now), Err(OutOfStacks::Guards));
            give_back(slots);
            give_back(rest);
        }
        assert_eq!(arena.figures().in_use, 0);
        drop(arena);
        arena_with_budget(1)
            .take(small)
            .expect("a dropped arena's guards are free again");
    }

    fn arena_with_budget(budget: u64) -> Arc<StackArena> {
        let mut arena = arena(GuardMode::Mprotect);
        let only = Arc::get_mut(&mut arena).expect("it was made here");
        only.guards = Guards::Mprotect { budget };
        arena
    }

    /// Half the usual segment, and so on down, rather than no stack at all.
    #[test]
    fn little_address_space_is_enough_for_a_few_stacks() {
        if child::passes("stack::arena::tests::little_address_space_is_enough_for_a_few_stacks") {
            return;
        }
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
        let left = 64 << 20;
        let limit = libc::rlimit {
            rlim_cur: pages * page_bytes() as u64 + left,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: reads `limit`.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        let arena = StackArena::new(StackConfig {
            default_class: class(64 << 10),
            guard: GuardMode::Auto,
            max_stacks: Some(1_000_000),
        })
        .unwrap();
        let mut pool = StackPool::new(Arc::clone(&arena));
        let mut slots = Vec::new();
        let refused = loop {
            match pool.take(class(64 << 10)) {
                Ok(slot) => slots.push(slot),
                Err(refused) => break refused,
            }
        };
        assert!(matches!(
            refused,
            OutOfStacks::Kernel {
                errno: libc::ENOMEM
            }
        ));
        assert!(slots.len() << 16 > left as usize / 2, "{}", slots.len());
        let admitted = arena.admitted.load(Relaxed);
        assert_eq!(admitted, slots.len() as u64, "the one refused counts");
        for slot in slots {
            let high = slot.high();
            // SAFETY: 1: no routine ran on it; 2: it is the only arena here.
            unsafe { pool.give_back(slot, high) };
        }
        pool.take(class(64 << 10)).expect("given back, to be had");
    }
}
