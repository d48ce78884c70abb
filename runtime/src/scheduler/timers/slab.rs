//! Where a wheel's entries lie: chunks that are taken and given back as a whole.
//!
//! A fresh entry goes to the lowest chunk that has room, so that after a burst the others run empty.
//! An empty chunk is given back, but for one that is kept: a single timer that comes and goes does not
//! allocate each time.

use std::ops::{Index, IndexMut};

/// Entries of a chunk: 12 KiB of them, few enough that one long-lived entry does not keep much.
const CHUNK: usize = 256;

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// One timer.
pub(super) struct Entry<T> {
    pub(super) at: u64,
    /// Number of the insertion, and below it the place in the wheel.
    pub(super) tag: u64,
    pub(super) prev: u32,
    /// In a free entry, the next free one of its chunk.
    pub(super) next: u32,
    /// Empty in a free entry.
    pub(super) value: Option<T>,
}

struct Chunk<T> {
    entries: Box<[Entry<T>]>,
    /// First free entry, by its number in the chunk.
    free: u32,
    used: usize,
}

/// See the module's text.
pub(super) struct Slab<T> {
    /// `None` are chunks that were given back.
    chunks: Vec<Option<Chunk<T>>>,
    /// A bit for each chunk with room, which those that were given back have.
    room: Vec<u64>,
    /// No word of `room` before this one has a bit.
    first_room: usize,
    /// Chunks that are there and have no entry in use.
    empty: usize,
    used: usize,
}

impl<T> Chunk<T> {
    fn new() -> Chunk<T> {
        let entry = |number: usize| Entry {
            at: 0,
            tag: 0,
            prev: NONE,
            next: if number + 1 < CHUNK {
                number as u32 + 1
            } else {
                NONE
            },
            value: None,
        };
        Chunk {
            entries: (0..CHUNK).map(entry).collect(),
            free: 0,
            used: 0,
        }
    }
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Slab<T> {
        Slab {
            chunks: Vec::new(),
            room: Vec::new(),
            first_room: 0,
            empty: 0,
            used: 0,
        }
    }

    /// Entries in use.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Entries that memory is held for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.chunks.iter().flatten().count() * CHUNK
    }

    /// The entry, if it is in use.
    pub(super) fn get(&self, index: u32) -> Option<&Entry<T>> {
        let chunk = self.chunks.get(index as usize / CHUNK)?.as_ref()?;
        let entry = &chunk.entries[index as usize % CHUNK];
        entry.value.is_some().then_some(entry)
    }

    /// Puts a value into a free entry.
    pub(super) fn add(&mut self, value: T) -> u32 {
        let number = self.chunk_with_room();
        let chunk = self.chunks[number].get_or_insert_with(|| {
            self.empty += 1;
            Chunk::new()
        });
        let free = chunk.free;
        let entry = &mut chunk.entries[free as usize];
        chunk.free = entry.next;
        entry.value = Some(value);
        self.empty -= usize::from(chunk.used == 0);
        chunk.used += 1;
        self.used += 1;
        if chunk.free == NONE {
            self.room[number / 64] &= !(1 << (number % 64));
        }
        (number * CHUNK) as u32 + free
    }

    fn chunk_with_room(&mut self) -> usize {
        while let Some(bits) = self.room.get(self.first_room) {
            if *bits != 0 {
                return self.first_room * 64 + bits.trailing_zeros() as usize;
            }
            self.first_room += 1;
        }
        let number = self.chunks.len();
        // 2^32 entries would be 200 GB.
        assert!((number + 1) * CHUNK < NONE as usize, "too many timers");
        self.chunks.push(None);
        if number / 64 == self.room.len() {
            self.room.push(0);
        }
        self.room[number / 64] |= 1 << (number % 64);
        self.first_room = number / 64;
        number
    }

    /// Takes the value of an entry that is in use.
    pub(super) fn remove(&mut self, index: u32) -> T {
        let (number, place) = (index as usize / CHUNK, index as usize % CHUNK);
        let chunk = self.chunks[number].as_mut().expect("its entry is in use");
        let entry = &mut chunk.entries[place];
        let value = entry.value.take().expect("it is in use");
        entry.next = chunk.free;
        chunk.free = place as u32;
        chunk.used -= 1;
        let is_empty = chunk.used == 0;
        self.used -= 1;
        self.room[number / 64] |= 1 << (number % 64);
        self.first_room = self.first_room.min(number / 64);
        if is_empty {
            self.empty += 1;
            if self.empty > 1 {
                self.give_back(number);
            }
        }
        value
    }

    fn give_back(&mut self, number: usize) {
        self.chunks[number] = None;
        self.empty -= 1;
        while let Some(None) = self.chunks.last() {
            self.chunks.pop();
            let last = self.chunks.len();
            self.room[last / 64] &= !(1 << (last % 64));
        }
    }

    /// Numbers of all entries in use.
    pub(super) fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        self.chunks.iter().enumerate().flat_map(|(number, chunk)| {
            let entries = chunk.iter().flat_map(|chunk| chunk.entries.iter());
            entries
                .enumerate()
                .filter(|(_, entry)| entry.value.is_some())
                .map(move |(place, _)| (number * CHUNK + place) as u32)
        })
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = Entry<T>;

    #[inline]
    fn index(&self, index: u32) -> &Entry<T> {
        let chunk = self.chunks[index as usize / CHUNK].as_ref();
        &chunk.expect("its entry is in use").entries[index as usize % CHUNK]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut Entry<T> {
        let chunk = self.chunks[index as usize / CHUNK].as_mut();
        &mut chunk.expect("its entry is in use").entries[index as usize % CHUNK]
    }
}
