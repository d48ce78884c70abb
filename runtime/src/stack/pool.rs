//! A worker's own stacks: the last ones used, still in its cache and backed by memory.
//!
//! A slot that ends is kept warm, because to give its memory back and fault it in again costs some
//! microseconds, and an interrupt on each processor that runs a worker. A crowd that ends leaves many,
//! so what lay unused for a while goes back in batches ([`residency::discard_all`]): a batch at a time,
//! lest anybody waits for it. The pool keeps what it always keeps, [`CAPACITY`].

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::arena::WarmCount;
use super::residency::BATCH;
use super::{OutOfStacks, Slot, StackArena, StackClass, page_bytes, residency};
use crate::scheduler::timers::NEVER;
use crate::snapshot::GuardMode;

/// Slots that a pool keeps for good. With [`KEPT_BYTES`] each that is 1 MiB of memory that nobody
/// uses, however large the burst was.
const CAPACITY: usize = 64;
/// Bytes of address space of the slots that a pool keeps for good, and so of memory if every slot was
/// used deeper than anybody saw. Lowers [`CAPACITY`] where the default stack is larger than 256 KiB.
const WARM_BYTES: usize = 16 << 20;
/// Most slots that a pool holds at any time: 16 MiB if each had used one page, as most do. All of them
/// were in use at one time, so this never raises the most memory that a process takes.
const CROWD: usize = 4096;
/// Most bytes of address space that a pool holds at any time. Lowers [`CROWD`] as [`WARM_BYTES`] does
/// [`CAPACITY`].
const CROWD_BYTES: usize = 256 << 20;
/// Time between two batches that a busy worker gives back: they take up to 3 % of its time.
const BUSY_NS: u64 = 5_000_000;
/// The same for one that sleeps.
const IDLE_NS: u64 = 1_000_000;
/// Bytes at the top of a warm slot that stay resident: what routines commonly touch.
const KEPT_BYTES: usize = 16 << 10;

/// Stacks of the default class that one worker has ready. Others go through the arena.
///
/// Owned by the worker's thread; dropping it gives all warm slots to the arena.
#[derive(Debug)]
pub(crate) struct StackPool {
    arena: Arc<StackArena>,
    /// Last in, first out: the slot used last is the one still in the cache.
    warm: Vec<Slot>,
    /// Most slots in `warm`, which never grows beyond it.
    most: usize,
    /// Slots that stay in `warm` for good.
    capacity: usize,
    /// Fewest slots in `warm` since [`cool`](Self::cool) was last called: so many nobody has needed.
    unused: usize,
    /// When that was, in nanoseconds since process start.
    cooled_at: u64,
    count: Arc<WarmCount>,
}

impl StackPool {
    pub(crate) fn new(arena: Arc<StackArena>) -> StackPool {
        let count = arena.add_pool();
        let bytes = arena.default_class().bytes();
        let capacity = (WARM_BYTES / bytes).clamp(1, CAPACITY);
        let most = match arena.mode() {
            // Their guards are few, and those in a pool are of no use to others.
            GuardMode::Mprotect => capacity,
            _ => (CROWD_BYTES / bytes).clamp(capacity, CROWD),
        };
        StackPool {
            arena,
            warm: Vec::with_capacity(most),
            most,
            capacity,
            unused: 0,
            cooled_at: 0,
            count,
        }
    }

    /// Where the slots come from.
    pub(crate) fn arena(&self) -> Arc<StackArena> {
        self.arena.clone()
    }

    /// A guarded stack of `class`. Never allocates but when the arena grows.
    pub(crate) fn take(&mut self, class: StackClass) -> Result<Slot, OutOfStacks> {
        self.arena.admit()?;
        if class == self.arena.default_class()
            && let Some(slot) = self.warm.pop()
        {
            self.unused = self.unused.min(self.warm.len());
            self.publish();
            return Ok(slot);
        }
        self.arena.take(class).inspect_err(|_| self.arena.release())
    }

    /// Takes back a slot of this pool's arena. `lowest_sp` is the lowest stack pointer seen while it
    /// was in use: a slot that was used deep gives its memory back to the kernel. If the pool has no
    /// room, those do that have been in it for longest.
    ///
    /// A depth that nobody saw (reached and left between two suspensions) stays resident while the
    /// slot is warm.
    ///
    /// # Safety
    ///
    /// 1. Exclusive: the routine that ran on the slot has ended, and nothing points into the slot.
    ///    (Otherwise drop the slot, which leaks it.)
    /// 2. Alive: the slot came from a pool of the same arena.
    pub(crate) unsafe fn give_back(&mut self, slot: Slot, lowest_sp: usize) {
        if slot.class() == self.arena.default_class() {
            let kept = slot.high() - KEPT_BYTES.next_multiple_of(page_bytes());
            if lowest_sp < kept {
                // Asked before, 1 us in 10 or more: what is given back is counted.
                let resident = residency::resident_bytes(slot.low(), kept).unwrap_or(0);
                if resident > 0 {
                    self.arena.note_shrunk(resident);
                }
                // SAFETY: `residency::discard` 1 and 2: the slot is owned, mapped, and by the
                // caller's 1 nothing on it is used any more.
                unsafe { residency::discard(slot.low(), kept) };
            }
            if self.warm.len() == self.most {
                self.give_oldest(self.most.div_ceil(2).min(BATCH));
            }
            self.warm.push(slot);
            self.publish();
        } else {
            // SAFETY: by the caller's 1 nothing on the slot is used; by its 2 it is this arena's.
            unsafe { self.arena.give_back(slot) };
        }
        // Last, so that whoever is admitted by it finds the slot where it was put.
        self.arena.release();
    }

    /// Cools the pool if that is due. For a busy worker, who takes a batch's time from others.
    pub(crate) fn cool_between_turns(&mut self, now: u64) {
        if self.is_crowded() && now.saturating_sub(self.cooled_at) >= BUSY_NS {
            self.cool(now);
        }
    }

    /// When a worker that falls asleep now wants to be woken, to cool the pool.
    pub(crate) fn cools_at(&self, now: u64) -> u64 {
        if self.is_crowded() {
            now + IDLE_NS
        } else {
            NEVER
        }
    }

    /// Cools the pool of a worker that slept since `asleep`, if nobody wanted it for long enough.
    pub(crate) fn cool_after_sleep(&mut self, asleep: u64, now: u64) {
        if self.is_crowded() && now.saturating_sub(asleep) >= IDLE_NS {
            self.cool(now);
        }
    }

    /// Whether there is more than the pool keeps for good.
    fn is_crowded(&self) -> bool {
        self.warm.len() > self.capacity
    }

    /// Gives back a batch of what nobody has needed since the last call, the oldest ones, unless it is
    /// what the pool keeps for good.
    #[inline(never)]
    fn cool(&mut self, now: u64) {
        let surplus = self.unused.saturating_sub(self.capacity);
        if surplus > 0 {
            self.give_oldest(surplus.min(BATCH));
            self.publish();
        }
        self.unused = self.warm.len();
        self.cooled_at = now;
    }

    /// Gives all warm slots to the arena; for a worker that nobody will hold for a while.
    pub(crate) fn give_all_back(&mut self) {
        self.give_oldest(self.warm.len());
        self.unused = 0;
        self.publish();
    }

    /// Gives the first so many to the arena.
    fn give_oldest(&mut self, count: usize) {
        // SAFETY: a warm slot carries no routine and is this arena's, both by the contract of the
        // `give_back` that put it here.
        unsafe { self.arena.give_back_first(&mut self.warm, count) };
    }

    fn publish(&self) {
        self.count.0.store(self.warm.len() as u64, Relaxed);
    }
}

impl Drop for StackPool {
    fn drop(&mut self) {
        self.arena.remove_pool(&self.count);
        self.give_oldest(self.warm.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::GuardMode;
    use crate::stack::{ArenaFigures, StackConfig, residency::resident_bytes};

    const SMALL: usize = 64 << 10;

    fn class(bytes: usize) -> StackClass {
        StackClass::for_bytes(bytes).unwrap()
    }

    fn arena(guard: GuardMode, max_stacks: Option<u64>) -> Arc<StackArena> {
        StackArena::new(StackConfig {
            default_class: class(SMALL),
            guard,
            max_stacks,
        })
        .unwrap()
    }

    /// Writes to every page of the top `bytes`, as a stack that grows would, and returns how deep.
    fn touch(slot: &Slot, bytes: usize) -> usize {
        let deepest = slot.high() - bytes;
        assert!(deepest >= slot.low());
        for page in (deepest..slot.high()).step_by(page_bytes()).rev() {
            // SAFETY: the address is in the usable part of a slot that we own.
            unsafe { (page as *mut u8).write_volatile(1) };
        }
        deepest
    }

    fn give_back(pool: &mut StackPool, slot: Slot, lowest_sp: usize) {
        // SAFETY: 1: no routine ever ran on it and `touch` keeps no pointer; 2: all tests here
        // return a slot to a pool of the arena that it came from.
        unsafe { pool.give_back(slot, lowest_sp) };
    }

    fn resident(slot: &Slot) -> usize {
        resident_bytes(slot.low(), slot.high()).unwrap()
    }

    /// A slot is handed to one owner at a time: with a class of its own mistaken for another's, or
    /// a fresh slot carved twice, two of these ranges overlap.
    #[test]
    fn slots_of_all_classes_are_disjoint_and_usable_to_the_last_byte() {
        for guard in [GuardMode::Auto, GuardMode::Mprotect] {
            let arena = arena(guard, None);
            let mut pool = StackPool::new(Arc::clone(&arena));
            let mut slots = Vec::new();
            for log2 in 15..=30 {
                for _ in 0..3 {
                    let slot = pool.take(class(1 << log2)).unwrap();
                    assert_eq!(slot.bytes(), 1 << log2);
                    for byte in [slot.low(), slot.high() - 1] {
                        // SAFETY: the address is in the usable part of a slot that we own.
                        unsafe { (byte as *mut u8).write_volatile(1) };
                    }
                    slots.push(slot);
                }
            }
            slots.sort_by_key(Slot::low);
            for pair in slots.windows(2) {
                assert!(pair[0].high() < pair[1].low(), "{pair:?}");
            }
            assert_eq!(arena.figures().in_use, slots.len() as u64);
            for slot in slots {
                let low = slot.low();
                give_back(&mut pool, slot, low);
            }
            assert_eq!(arena.figures().in_use, 0);
        }
    }

    #[test]
    fn the_slot_given_back_last_is_taken_first_and_is_still_warm() {
        let arena = arena(GuardMode::Auto, None);
        let mut pool = StackPool::new(Arc::clone(&arena));
        let slot = pool.take(class(SMALL)).unwrap();
        let low = slot.low();
        let deepest = touch(&slot, 3 * page_bytes());
        give_back(&mut pool, slot, deepest);
        let again = pool.take(class(SMALL)).unwrap();
        assert_eq!(again.low(), low);
        assert_eq!(resident(&again), 3 * page_bytes());
        give_back(&mut pool, again, deepest);
    }

    #[test]
    fn a_slot_that_was_used_deep_keeps_only_its_top() {
        let arena = arena(GuardMode::Auto, None);
        let mut pool = StackPool::new(Arc::clone(&arena));
        let slot = pool.take(class(SMALL)).unwrap();
        let deepest = touch(&slot, 48 << 10);
        assert_eq!(resident(&slot), 48 << 10);
        give_back(&mut pool, slot, deepest);
        let again = pool.take(class(SMALL)).unwrap();
        let stays = KEPT_BYTES.next_multiple_of(page_bytes());
        assert_eq!(resident(&again), stays);
        let figures = arena.figures();
        let given_back = ((48 << 10) - stays) as u64;
        assert_eq!((figures.shrinks, figures.shrunk_bytes), (1, given_back));
        give_back(&mut pool, again, deepest);
    }

    /// Until the pool has only what it keeps for good. Returns how many batches that took.
    fn cool_down(pool: &mut StackPool) -> usize {
        let mut now = 0;
        let mut batches = 0;
        while pool.cools_at(now) != NEVER {
            let asleep = now;
            now = pool.cools_at(now);
            pool.cool_after_sleep(asleep, now);
            batches += 1;
            assert!(batches <= 2 + CROWD.div_ceil(BATCH), "it never cools");
        }
        batches
    }

    /// 100,000 sleepers that wake and end must not leave 400 MB behind: only what the pool holds for a
    /// while, and then what it keeps.
    #[test]
    fn a_burst_of_100_000_stacks_gives_its_memory_back() {
        const BURST: usize = 100_000;
        let arena = arena(GuardMode::Auto, None);
        let burst = if arena.mode() == GuardMode::Light {
            BURST
        } else {
            arena.figures().limit.unwrap() as usize
        };
        let mut pool = StackPool::new(Arc::clone(&arena));
        let slots: Vec<Slot> = (0..burst)
            .map(|_| pool.take(class(SMALL)).unwrap())
            .collect();
        let bounds: Vec<(usize, usize)> = slots.iter().map(|s| (s.low(), s.high())).collect();
        let total = || -> usize {
            let each = bounds.iter().map(|&(low, high)| resident_bytes(low, high));
            each.map(Option::unwrap).sum()
        };
        for slot in &slots {
            touch(slot, page_bytes());
        }
        assert_eq!(total(), burst * page_bytes());
        for slot in slots {
            let lowest_sp = slot.high() - page_bytes();
            give_back(&mut pool, slot, lowest_sp);
        }
        let held = arena.figures().pooled as usize;
        assert!((CAPACITY..=pool.most).contains(&held), "{held}");
        assert_eq!(total(), held * page_bytes());
        cool_down(&mut pool);
        assert_eq!(total(), CAPACITY * page_bytes());
        let figures = arena.figures();
        assert_eq!((figures.in_use, figures.pooled), (0, CAPACITY as u64));
        assert_eq!(figures.free, (burst - CAPACITY) as u64);
        drop(pool);
        assert_eq!(total(), 0);
        assert_eq!(arena.figures().free, burst as u64);
    }

    /// What is in use again and again is not given back in between.
    #[test]
    fn only_what_was_not_needed_since_the_last_time_goes_back() {
        const CROWD: usize = 500;
        let arena = arena(GuardMode::Auto, None);
        if arena.mode() == GuardMode::Mprotect {
            return; // its pools hold no crowd
        }
        let mut pool = StackPool::new(Arc::clone(&arena));
        let mut now = 0;
        for needed in [CROWD, CROWD, CROWD, 0] {
            let slots: Vec<Slot> = (0..needed)
                .map(|_| pool.take(class(SMALL)).unwrap())
                .collect();
            for slot in slots {
                let high = slot.high();
                give_back(&mut pool, slot, high);
            }
            // Not so soon again.
            for wait in [BUSY_NS, 0, BUSY_NS - 1] {
                now += wait;
                pool.cool_between_turns(now);
            }
            let gone = if needed == 0 { BATCH } else { 0 };
            let figures = arena.figures();
            assert_eq!(
                (figures.pooled, figures.free),
                ((CROWD - gone) as u64, gone as u64)
            );
        }
    }

    #[test]
    fn a_pool_of_large_stacks_keeps_fewer() {
        let large = class(1 << 20);
        let arena = StackArena::new(StackConfig {
            default_class: large,
            guard: GuardMode::Auto,
            max_stacks: None,
        })
        .unwrap();
        let mut pool = StackPool::new(Arc::clone(&arena));
        let slots: Vec<Slot> = (0..40).map(|_| pool.take(large).unwrap()).collect();
        for slot in slots {
            let high = slot.high();
            give_back(&mut pool, slot, high);
        }
        cool_down(&mut pool);
        assert_eq!(arena.figures().pooled as usize, WARM_BYTES / large.bytes());
    }

    /// The limit is on slots in use: neither those warm in another worker's pool nor those of
    /// another class may keep a worker from one that is free.
    #[test]
    fn at_the_limit_one_slot_given_back_is_one_slot_to_be_had() {
        for guard in [GuardMode::Auto, GuardMode::Mprotect] {
            let arena = arena(guard, Some(3));
            assert_eq!(arena.figures().limit, Some(3));
            let mut ours = StackPool::new(Arc::clone(&arena));
            let mut theirs = StackPool::new(Arc::clone(&arena));
            let mut held = vec![
                ours.take(class(SMALL)).unwrap(),
                ours.take(class(SMALL)).unwrap(),
                theirs.take(class(256 << 10)).unwrap(),
            ];
            assert_eq!(ours.take(class(SMALL)), Err(OutOfStacks::Limit));
            assert_eq!(theirs.take(class(1 << 20)), Err(OutOfStacks::Limit));

            let slot = held.remove(0);
            let high = slot.high();
            give_back(&mut ours, slot, high);
            held.push(theirs.take(class(1 << 20)).unwrap());
            assert_eq!(ours.take(class(SMALL)), Err(OutOfStacks::Limit));
            assert_eq!(
                arena.figures(),
                ArenaFigures {
                    in_use: 3,
                    pooled: 1,
                    free: 0,
                    ..arena.figures()
                }
            );
            for slot in held {
                let high = slot.high();
                give_back(&mut theirs, slot, high);
            }
            assert_eq!(arena.figures().in_use, 0);
            let slot = ours.take(class(SMALL)).unwrap();
            assert_eq!(slot.high(), high, "the warm slot was there all the time");
            give_back(&mut ours, slot, high);
        }
    }

    /// Conservation under all orders of taking and giving back, over two pools and three classes:
    /// in use + warm + free = slots ever handed out, and no slot has two owners.
    #[test]
    fn random_traffic_neither_loses_nor_doubles_a_slot() {
        let seed = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64
            | 1;
        println!("seed {seed}");
        let mut state = seed;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize % below
        };
        let arena = arena(GuardMode::Auto, Some(200));
        let mut pools = [
            StackPool::new(Arc::clone(&arena)),
            StackPool::new(Arc::clone(&arena)),
        ];
        let classes = [class(32 << 10), class(SMALL), class(128 << 10)];
        let mut held: Vec<Slot> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..20_000 {
            let pool = &mut pools[random(2)];
            if random(2) == 0 {
                match pool.take(classes[random(3)]) {
                    Ok(slot) => {
                        assert!(held.iter().all(|other| other.low() != slot.low()));
                        seen.insert(slot.low());
                        held.push(slot);
                    }
                    Err(refused) => {
                        assert_eq!((refused, held.len()), (OutOfStacks::Limit, 200));
                    }
                }
            } else if !held.is_empty() {
                let slot = held.swap_remove(random(held.len()));
                let high = slot.high();
                give_back(pool, slot, high);
            } else {
                cool_down(pool);
            }
            let figures = arena.figures();
            assert_eq!(figures.in_use, held.len() as u64);
            let accounted = figures.in_use + figures.pooled + figures.free;
            assert_eq!(accounted, seen.len() as u64);
        }
        for slot in held {
            let high = slot.high();
            give_back(&mut pools[0], slot, high);
        }
    }

    /// Two workers share one arena: what one frees the other may get, never both.
    #[test]
    fn workers_on_two_threads_never_share_a_slot() {
        let arena = arena(GuardMode::Auto, None);
        std::thread::scope(|threads| {
            for mark in [1u64, 2] {
                let arena = Arc::clone(&arena);
                threads.spawn(move || {
                    let mut pool = StackPool::new(arena);
                    for round in 0..200 {
                        let slots: Vec<Slot> = (0..CAPACITY + 8)
                            .map(|_| pool.take(class(SMALL)).unwrap())
                            .collect();
                        let mark = mark << 32 | round;
                        for slot in &slots {
                            // SAFETY: the last word of a slot that we own.
                            unsafe { ((slot.high() - 8) as *mut u64).write_volatile(mark) };
                        }
                        for slot in slots {
                            // SAFETY: as above.
                            let found = unsafe { ((slot.high() - 8) as *mut u64).read_volatile() };
                            assert_eq!(found, mark, "another thread wrote to our slot");
                            let high = slot.high();
                            give_back(&mut pool, slot, high);
                        }
                    }
                });
            }
        });
        let figures = arena.figures();
        assert_eq!((figures.in_use, figures.pooled), (0, 0));
    }
}
