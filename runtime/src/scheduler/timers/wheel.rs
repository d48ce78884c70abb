//! Deadlines in order: a hierarchical timing wheel that goes down to the nanosecond.
//!
//! Deadlines are read as numbers to the base 64, with 11 digits. The *base* of the wheel is a moment
//! that has passed and that no entry lies before. An entry's *level* is the highest digit in which it
//! differs from the base, its slot that digit: so a slot of level 0 holds one nanosecond, one of level
//! 3 a quarter of a millisecond, one of level 5 a second. Inserting and cancelling are a few
//! instructions on a list, whatever is in the wheel.
//!
//! All entries of a level come before all of the next one, and those of a slot before those of the
//! slots after it: the earliest is in the first slot of the lowest level that has any. When that slot
//! is due, it is *opened*: the base moves to its earliest entry, and its entries go to lower levels. So
//! an entry moves ten times at the very most, and the wheel is exact: nothing is rounded, and equal
//! deadlines are served in the order of insertion.
//!
//! Of the slots' earliest entries only the times are kept, and not corrected by a cancel, which would
//! have to look at the whole slot. So the time may be too early, never too late, until the slot is
//! opened.
//!
//! **Opening early.** To open a slot with a hundred thousand entries takes milliseconds, in which others
//! come to be due. So in a wheel with many entries, each insertion and each pop also moves a few entries
//! of the next slot of a level to where they will be once it is opened: to the other one of two *banks*
//! of slots that the level below has. When the slot is due, the banks are exchanged.
//!
//! The wheels of Varghese and Lauck (Hashed and Hierarchical Timing Wheels, 1987) turn tick by tick, and
//! round to ticks; a base that jumps to the earliest entry, as in the radix heap (Ahuja and others,
//! Faster Algorithms for the Shortest Path Problem, 1990), does without both.

use super::slab::{NONE, Slab};

/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 64usize.div_ceil(BITS as usize);
/// Slots of a level, in both banks.
const STRIDE: usize = 2 * SLOTS;

/// Bits of a tag that hold the place: level, bank, slot.
const PLACE_BITS: u32 = 11;
const PLACE: u64 = (1 << PLACE_BITS) - 1;
const _: () = assert!(LEVELS * STRIDE <= 1 << PLACE_BITS);

/// Entries from which on slots are opened early: fewer are moved in less time than it takes to wake a
/// thread. In tests a few, so that small wheels do it too.
const MANY: usize = if cfg!(test) { 8 } else { 1024 };

/// The lowest level that does so: a slot of it is 17 ms wide, one of the level below a quarter of a
/// millisecond, which hardly has many. In tests the lowest one that can.
const EARLIEST_LEVEL: u32 = if cfg!(test) { 1 } else { 4 };

/// Entries that an operation moves early. An entry is moved once for each level from the lowest one on, and
/// as many may come to be due in one slot as in the next one: this is enough for crowds that are spread
/// over minutes.
const EARLY: usize = 4;

/// No slot.
const NO_SLOT: u8 = u8::MAX;

/// See the module's text. Moments are nanoseconds since process start.
pub(crate) struct Wheel<T> {
    base: u64,
    /// A bit for each level that has entries.
    levels: u32,
    /// What the levels' slots hold.
    occupied: [Level; LEVELS],
    /// The first entry of each slot's list; the lists are rings.
    heads: Box<[u32]>,
    /// No entry of the slot is before this.
    firsts: Box<[u64]>,
    /// A bit for each level of which a slot is being opened early.
    early: u32,
    /// Of these, the levels whose slot still has a list of its own.
    unfinished: u32,
    entries: Slab<T>,
    inserted: u64,
}

/// Which slots of a level hold entries.
#[derive(Clone, Copy)]
struct Level {
    /// The bank in use, 0 or 1.
    bank: u8,
    /// The slot of this level that is being opened early, into the other bank of the level below.
    early: u8,
    /// A bit for each slot that has entries, by bank. A slot that is being opened early has those in the
    /// other bank of the level below as well.
    slots: [u64; 2],
}

/// Names one insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    index: u32,
    number: u64,
}

/// The digit of a moment at a level.
fn digit(at: u64, level: usize) -> usize {
    (at >> (level as u32 * BITS)) as usize % SLOTS
}

impl<T> Wheel<T> {
    pub(crate) fn new() -> Wheel<T> {
        let level = Level {
            bank: 0,
            early: NO_SLOT,
            slots: [0; 2],
        };
        Wheel {
            base: 0,
            levels: 0,
            occupied: [level; LEVELS],
            heads: vec![NONE; LEVELS * STRIDE].into(),
            firsts: vec![NEVER; LEVELS * STRIDE].into(),
            early: 0,
            unfinished: 0,
            entries: Slab::new(),
            inserted: 0,
        }
    }

    /// Entries in the wheel.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The earliest deadline, or a moment before it if an earlier one was cancelled; [`NEVER`] without
    /// any.
    #[inline]
    pub(crate) fn earliest(&self) -> u64 {
        self.first_place().map_or(NEVER, |place| self.firsts[place])
    }

    /// Adds an entry. One that is overdue counts as due at the base.
    pub(crate) fn insert(&mut self, at: u64, value: T) -> Key {
        let number = self.inserted;
        self.inserted += 1;
        let index = self.entries.add(value);
        let entry = &mut self.entries[index];
        entry.at = at;
        entry.tag = number << PLACE_BITS;
        self.link(index, at.max(self.base));
        self.open_early();
        Key { index, number }
    }

    /// Takes the entry out, if it is still in.
    pub(crate) fn cancel(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get(key.index)?;
        if entry.tag >> PLACE_BITS != key.number {
            return None;
        }
        self.unlink(key.index);
        Some(self.entries.remove(key.index))
    }

    /// Takes the earliest entry out if it is due, with its deadline.
    pub(crate) fn pop(&mut self, now: u64) -> Option<(u64, T)> {
        self.open_early();
        loop {
            let place = self.first_place()?;
            let first = self.firsts[place];
            if first > now {
                return None;
            }
            // It is due and nothing lies before it.
            self.base = self.base.max(first);
            let (level, slot) = (place / STRIDE, place % SLOTS);
            let head = self.heads[place];
            let is_alone = self.occupied[level].early != slot as u8
                && self.entries[head].next == head
                && self.entries[head].at == first;
            if level == 0 || is_alone {
                self.unlink(head);
                let at = self.entries[head].at;
                return Some((at, self.entries.remove(head)));
            }
            self.open(level, slot);
        }
    }

    /// Takes all entries out of which `wanted` says no.
    pub(crate) fn sweep(&mut self, wanted: impl Fn(&T) -> bool) -> Vec<T> {
        let is_unwanted = |index: &u32| {
            let value = self.entries[*index].value.as_ref();
            !wanted(value.expect("it is in use"))
        };
        let unwanted: Vec<u32> = self.entries.indices().filter(is_unwanted).collect();
        unwanted
            .into_iter()
            .map(|index| {
                self.unlink(index);
                self.entries.remove(index)
            })
            .collect()
    }

    fn first_place(&self) -> Option<usize> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        Some(self.place(level, self.first_slot(level)))
    }

    /// Of a level that has entries.
    fn first_slot(&self, level: usize) -> usize {
        let Level { bank, slots, .. } = self.occupied[level];
        slots[bank as usize].trailing_zeros() as usize
    }

    /// Of a slot in the bank in use.
    fn place(&self, level: usize, slot: usize) -> usize {
        level * STRIDE + self.occupied[level].bank as usize * SLOTS + slot
    }

    /// Moves the entries of the first slot of all, whose time the base has come to, to lower levels.
    fn open(&mut self, level: usize, slot: usize) {
        // Those that were moved early were inserted before the rest.
        if self.occupied[level].early == slot as u8 {
            let below = &mut self.occupied[level - 1];
            debug_assert_eq!(below.slots[below.bank as usize], 0);
            below.bank ^= 1;
            if below.slots[below.bank as usize] != 0 {
                self.levels |= 1 << (level - 1);
            }
            self.end_early(level);
            // What shares one more digit with the base belongs to a lower level still.
            let shared = digit(self.base, level - 1);
            let below = &self.occupied[level - 1];
            if level > 1 && below.slots[below.bank as usize] & (1 << shared) != 0 {
                self.spread(level - 1, shared);
            }
        }
        self.spread(level, slot);
    }

    /// Links the entries of a slot's list anew.
    fn spread(&mut self, level: usize, slot: usize) {
        let place = self.place(level, slot);
        let head = self.heads[place];
        self.clear(place);
        if head == NONE {
            return;
        }
        let mut index = head;
        loop {
            let entry = &self.entries[index];
            let (at, next) = (entry.at, entry.next);
            self.link(index, at);
            index = next;
            if index == head {
                break;
            }
        }
    }

    /// Does a part of opening slots early.
    #[inline]
    fn open_early(&mut self) {
        if self.entries.len() >= MANY {
            self.move_early();
        }
    }

    fn move_early(&mut self) {
        let mut beginning = self.levels & !self.early & !((1 << EARLIEST_LEVEL) - 1);
        while beginning != 0 {
            let level = beginning.trailing_zeros() as usize;
            beginning &= beginning - 1;
            self.occupied[level].early = self.first_slot(level) as u8;
            self.early |= 1 << level;
            self.unfinished |= 1 << level;
        }
        if self.unfinished == 0 {
            return;
        }
        // The lowest level's is due first.
        let level = self.unfinished.trailing_zeros() as usize;
        let place = self.place(level, self.occupied[level].early as usize);
        for _ in 0..EARLY {
            let index = self.heads[place];
            if index == NONE {
                self.unfinished &= !(1 << level);
                break;
            }
            let at = self.entries[index].at;
            self.take_from_list(index, place);
            self.link_early(index, at, level);
        }
    }

    /// No slot of the level is being opened early any more.
    fn end_early(&mut self, level: usize) {
        self.occupied[level].early = NO_SLOT;
        self.early &= !(1 << level);
        self.unfinished &= !(1 << level);
    }

    /// Puts an entry where it belongs. `at` is not before the base.
    fn link(&mut self, index: u32, at: u64) {
        // The lowest digit belongs to level 0 even if it does not differ.
        let differs = (at ^ self.base) | (SLOTS as u64 - 1);
        let level = ((63 - differs.leading_zeros()) / BITS) as usize;
        let slot = digit(at, level);
        let place = self.place(level, slot);
        self.firsts[place] = self.firsts[place].min(at);
        // Behind the others of its slot, wherever they are.
        if self.occupied[level].early == slot as u8 && self.unfinished & (1 << level) == 0 {
            self.link_early(index, at, level);
            return;
        }
        self.levels |= 1 << level;
        let Level { bank, slots, .. } = &mut self.occupied[level];
        slots[*bank as usize] |= 1 << slot;
        self.add_to_list(index, place);
    }

    /// Puts an entry of the slot that `level` opens early where it will belong.
    fn link_early(&mut self, index: u32, at: u64, level: usize) {
        let slot = digit(at, level - 1);
        let below = &mut self.occupied[level - 1];
        let bank = usize::from(below.bank ^ 1);
        below.slots[bank] |= 1 << slot;
        let place = (level - 1) * STRIDE + bank * SLOTS + slot;
        self.firsts[place] = self.firsts[place].min(at);
        self.add_to_list(index, place);
    }

    fn add_to_list(&mut self, index: u32, place: usize) {
        let head = self.heads[place];
        let last = if head == NONE {
            self.heads[place] = index;
            index
        } else {
            std::mem::replace(&mut self.entries[head].prev, index)
        };
        let entry = &mut self.entries[index];
        entry.tag = (entry.tag & !PLACE) | place as u64;
        entry.prev = last;
        entry.next = if head == NONE { index } else { head };
        if head != NONE {
            self.entries[last].next = index;
        }
    }

    /// Returns whether the list is empty now.
    fn take_from_list(&mut self, index: u32, place: usize) -> bool {
        let entry = &self.entries[index];
        let (prev, next) = (entry.prev, entry.next);
        if next == index {
            self.heads[place] = NONE;
            return true;
        }
        self.entries[prev].next = next;
        self.entries[next].prev = prev;
        if self.heads[place] == index {
            self.heads[place] = next;
        }
        false
    }

    fn unlink(&mut self, index: u32) {
        let place = (self.entries[index].tag & PLACE) as usize;
        if !self.take_from_list(index, place) {
            return;
        }
        let (level, slot) = (place / STRIDE, place % SLOTS);
        let in_use = place == self.place(level, slot);
        // The slot that is being opened early, of which this list is a part.
        let (above, opened) = if in_use {
            (level, slot)
        } else {
            self.clear(place);
            (level + 1, usize::from(self.occupied[level + 1].early))
        };
        if self.occupied[above].early != opened as u8 {
            self.clear(place);
            return;
        }
        let below = &self.occupied[above - 1];
        let place = self.place(above, opened);
        if below.slots[usize::from(below.bank ^ 1)] == 0 && self.heads[place] == NONE {
            self.end_early(above);
            self.clear(place);
        }
    }

    /// Makes the slot empty.
    fn clear(&mut self, place: usize) {
        let (level, bank, slot) = (place / STRIDE, place / SLOTS % 2, place % SLOTS);
        self.heads[place] = NONE;
        self.firsts[place] = NEVER;
        let Level {
            bank: used, slots, ..
        } = &mut self.occupied[level];
        slots[bank] &= !(1 << slot);
        if slots[*used as usize] == 0 {
            self.levels &= !(1 << level);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Marsaglia's xorshift, from a seed that is printed.
    struct Random(u64);

    impl Random {
        fn new() -> Random {
            let seed = match std::env::var("OPENWORK_TEST_SEED") {
                Ok(text) => text.parse().expect("a number"),
                Err(_) => std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap()
                    .as_nanos() as u64,
            };
            println!("to repeat, set OPENWORK_TEST_SEED={seed}");
            Random(seed | 1)
        }

        fn below(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) % n
        }

        /// A distance of any order of magnitude.
        fn distance(&mut self) -> u64 {
            let bits = self.below(54);
            self.below(1 << bits)
        }
    }

    /// The slow and plain way: all entries in order of deadline and insertion.
    #[derive(Default)]
    struct Model {
        entries: BTreeMap<(u64, u64), Key>,
        inserted: u64,
    }

    impl Model {
        fn pop(&mut self, now: u64) -> Option<(u64, u64)> {
            let (&(at, number), _) = self.entries.first_key_value()?;
            (at <= now).then(|| {
                self.entries.remove(&(at, number));
                (at, number)
            })
        }

        fn any(&self, random: &mut Random) -> Option<((u64, u64), Key)> {
            let len = self.entries.len() as u64;
            let pick = (len > 0).then(|| random.below(len) as usize)?;
            self.entries.iter().nth(pick).map(|(at, key)| (*at, *key))
        }
    }

    /// The wheel agrees with the model at every step: in what is due and in which order, in what can be
    /// cancelled, in how many there are; and its earliest deadline is never too late.
    #[test]
    fn the_wheel_is_a_sorted_list() {
        let mut random = Random::new();
        for _ in 0..200 {
            let (mut wheel, mut model) = (Wheel::new(), Model::default());
            let mut now = random.distance();
            let mut gone = Vec::new();
            for _ in 0..500 {
                match random.below(8) {
                    0..=3 => {
                        // Equal deadlines are frequent among the short ones.
                        let at = now.saturating_add(1 + random.distance());
                        let number = model.inserted;
                        model.inserted += 1;
                        let key = wheel.insert(at, number);
                        model.entries.insert((at, number), key);
                    }
                    4 | 5 => {
                        if let Some((id, key)) = model.any(&mut random) {
                            model.entries.remove(&id);
                            assert_eq!(wheel.cancel(key), Some(id.1));
                            gone.push(key);
                        }
                    }
                    6 => {
                        // Often to the very moment of an entry, or just before it.
                        now = match model.any(&mut random) {
                            Some(((at, _), _)) if random.below(2) == 0 => {
                                now.max(at - random.below(2))
                            }
                            _ => now.saturating_add(random.distance()),
                        };
                        loop {
                            let first =
                                model.entries.first_key_value().map(|(id, key)| (*id, *key));
                            let (popped, expected) = (wheel.pop(now), model.pop(now));
                            assert_eq!(popped, expected);
                            if popped.is_none() {
                                break;
                            }
                            gone.extend(first.map(|(_, key)| key));
                        }
                    }
                    _ => {
                        if !gone.is_empty() {
                            let key = gone[random.below(gone.len() as u64) as usize];
                            assert_eq!(wheel.cancel(key), None, "it is gone");
                        }
                    }
                }
                let earliest = model
                    .entries
                    .first_key_value()
                    .map_or(NEVER, |(id, _)| id.0);
                assert!(wheel.earliest() <= earliest);
                assert_eq!(wheel.earliest() == NEVER, model.entries.is_empty());
                assert_eq!(wheel.len(), model.entries.len());
            }
        }
    }

    /// What is overdue when it is added is due at once; each entry comes out once.
    #[test]
    fn overdue_entries_are_due() {
        let mut random = Random::new();
        let mut wheel = Wheel::new();
        let mut now = 1 << 40;
        for round in 0..200u64 {
            let added = 1 + random.below(20);
            for number in 0..added {
                wheel.insert(now - random.distance().min(now), round << 32 | number);
            }
            wheel.insert(now + 1, u64::MAX);
            let mut seen: Vec<_> = std::iter::from_fn(|| wheel.pop(now)).collect();
            assert!(seen.iter().all(|(at, _)| *at <= now));
            seen.sort_by_key(|(_, value)| *value);
            let values: Vec<_> = seen.iter().map(|(_, value)| *value).collect();
            assert_eq!(
                values,
                (0..added).map(|n| round << 32 | n).collect::<Vec<_>>()
            );
            assert_eq!(wheel.pop(now), None);
            now += 1;
            assert_eq!(wheel.pop(now), Some((now, u64::MAX)));
        }
    }

    /// A deadline that never comes can be added and cancelled, and is no deadline.
    #[test]
    fn never_is_no_deadline() {
        let mut wheel = Wheel::new();
        let never = wheel.insert(NEVER, 1);
        wheel.insert(NEVER - 1, 2);
        assert_eq!(wheel.earliest(), NEVER - 1);
        assert_eq!(wheel.pop(NEVER - 1), Some((NEVER - 1, 2)));
        assert_eq!((wheel.earliest(), wheel.pop(NEVER - 1)), (NEVER, None));
        assert_eq!((wheel.cancel(never), wheel.cancel(never)), (Some(1), None));
        assert_eq!(wheel.len(), 0);
    }

    /// A burst's memory goes back, whichever way its entries go.
    #[test]
    fn memory_is_given_back() {
        const BURST: u64 = 100_000;
        let mut random = Random::new();
        let mut wheel = Wheel::new();
        for cancelled in [BURST, BURST / 2, 0] {
            let mut now = wheel.base;
            let mut keys: Vec<_> = (0..BURST)
                .map(|i| wheel.insert(now + 1 + random.below(1 << 30), i))
                .collect();
            assert!(wheel.entries.capacity() as u64 >= BURST);
            for _ in 0..cancelled {
                let key = keys.swap_remove(random.below(keys.len() as u64) as usize);
                wheel.cancel(key).unwrap();
            }
            now += 1 << 30;
            let served = std::iter::from_fn(|| wheel.pop(now)).count() as u64;
            assert_eq!(served + cancelled, BURST);
            assert!(wheel.entries.capacity() <= 256, "one chunk is kept");
        }
    }

    /// A sweep takes out what is not wanted, and nothing else.
    #[test]
    fn a_sweep_leaves_the_rest_in_order() {
        let mut wheel = Wheel::new();
        for at in 0..1000u64 {
            wheel.insert(at * at, at);
        }
        let mut swept = wheel.sweep(|at| at % 3 == 0);
        swept.sort_unstable();
        assert_eq!(
            swept,
            (0..1000).filter(|at| at % 3 != 0).collect::<Vec<_>>()
        );
        let left: Vec<_> = std::iter::from_fn(|| wheel.pop(NEVER - 1)).collect();
        let expected: Vec<_> = (0..1000).step_by(3).map(|at| (at * at, at)).collect();
        assert_eq!(left, expected);
    }
}
