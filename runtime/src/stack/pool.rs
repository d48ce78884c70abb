//! A worker's own stacks: the last ones used, still in its cache and backed by memory.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::arena::WarmCount;
use super::{OutOfStacks, Slot, StackArena, StackClass, residency};

/// Most slots that a pool keeps. With [`KEPT_BYTES`] each that is 1 MiB of memory that nobody uses,
/// however large the burst was.
const CAPACITY: usize = 64;
/// Most bytes of address space that a pool keeps, and so of memory if every slot was used deeper
/// than anybody saw. Lowers [`CAPACITY`] where the default stack is larger than 256 KiB.
const WARM_BYTES: usize = 16 << 20;
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
    capacity: usize,
    count: Arc<WarmCount>,
}

impl StackPool {
    pub(crate) fn new(arena: Arc<StackArena>) -> StackPool {
        let count = arena.add_pool();
        let capacity = (WARM_BYTES / arena.default_class().bytes()).clamp(1, CAPACITY);
        StackPool {
            arena,
            warm: Vec::with_capacity(capacity),
            capacity,
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
            self.publish();
            return Ok(slot);
        }
        self.arena.take(class).inspect_err(|_| self.arena.release())
    }

    /// Takes back a slot of this pool's arena. `lowest_sp` is the lowest stack pointer seen while it
    /// was in use: a slot that was used deep, or that the pool has no room for, gives its memory
    /// back to the kernel.
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
        if slot.class() == self.arena.default_class() && self.warm.len() < self.capacity {
            let kept = slot.high() - KEPT_BYTES;
            if lowest_sp < kept {
                // SAFETY: `residency::discard` 1 and 2: the slot is owned, mapped, and by the
                // caller's 1 nothing on it is used any more.
                unsafe { residency::discard(slot.low(), kept) };
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

    fn publish(&self) {
        self.count.0.store(self.warm.len() as u64, Relaxed);
    }
}

impl Drop for StackPool {
    fn drop(&mut self) {
        self.arena.remove_pool(&self.count);
        for slot in self.warm.drain(..) {
            // SAFETY: a warm slot carries no routine and is this arena's, both by the contract of
            // the `give_back` that put it here.
            unsafe { self.arena.give_back(slot) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::GuardMode;
    use crate::stack::{StackConfig, arena::ArenaFigures, page_bytes, residency::resident_bytes};

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
        assert_eq!(resident(&again), KEPT_BYTES);
        give_back(&mut pool, again, deepest);
    }

    /// 100,000 sleepers that wake and end must not leave 400 MB behind: only what the pool keeps.
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
        assert_eq!(total(), CAPACITY * page_bytes());
        let figures = arena.figures();
        assert_eq!((figures.in_use, figures.pooled), (0, CAPACITY as u64));
        assert_eq!(figures.free, (burst - CAPACITY) as u64);
        drop(pool);
        assert_eq!(total(), 0);
        assert_eq!(arena.figures().free, burst as u64);
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
