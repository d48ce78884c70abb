//! A bounded ring of records of `W` words: one writer, any number of readers, losses counted.
//!
//! The writer never waits and never looks at readers. A reader copies a record and then asks
//! whether the writer had begun to overwrite it: records that it might have are dropped and counted
//! as lost (the idea of a sequence lock, with the head as the sequence).

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::primitives::{AtomicU64, fence, zeroed_records};
use crate::snapshot::RingRead;

/// See the module's text.
pub(crate) struct Ring<const W: usize> {
    places: Box<[[AtomicU64; W]]>,
    /// Records ever written.
    head: AtomicU64,
}

impl<const W: usize> Ring<W> {
    /// A ring that keeps the last `capacity` records, less one while the writer writes.
    pub(crate) fn new(capacity: usize) -> Ring<W> {
        Ring {
            places: zeroed_records(capacity),
            head: AtomicU64::new(0),
        }
    }

    /// Writes one record. Only one thread may write.
    pub(crate) fn push(&self, record: [u64; W]) {
        let head = self.head.load(Relaxed);
        let place = &self.places[(head % self.places.len() as u64) as usize];
        // Release fence: a reader that sees a word of this record also sees the head that was
        // stored before it; partner is the acquire fence in `read`.
        fence(Release);
        for (word, value) in place.iter().zip(record) {
            word.store(value, Relaxed);
        }
        // Release pairs with the acquire load in `read`: who sees the head sees the record.
        self.head.store(head + 1, Release);
    }

    /// Gives `visit` the records from `from` on that are still kept.
    pub(crate) fn read(&self, from: u64, mut visit: impl FnMut([u64; W])) -> RingRead {
        let capacity = self.places.len() as u64;
        // Acquire pairs with the release store in `push`.
        let end = self.head.load(Acquire);
        let start = from.max(end.saturating_sub(capacity)).min(end);
        let mut lost = start.saturating_sub(from);
        for index in start..end {
            let place = &self.places[(index % capacity) as usize];
            let record = std::array::from_fn(|i| place[i].load(Relaxed));
            // Partner is the release fence in `push`.
            fence(Acquire);
            // While the writer works on record `head`, it overwrites record `head - capacity`.
            if index + capacity > self.head.load(Relaxed) {
                visit(record);
            } else {
                lost += 1;
            }
        }
        RingRead { next: end, lost }
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::Ring;
    use loom::sync::Arc;
    use loom::thread;

    /// What a reader is given is one record, never a mixture of two, though the writer laps it; and
    /// each record is given or counted as lost. Breaks without either fence, with a relaxed store of
    /// the head, or if the check allows one record more.
    #[test]
    fn a_reader_never_gets_a_mixture() {
        loom::model(|| {
            let ring = Arc::new(Ring::<2>::new(2));
            // The reader is the thread that runs second: the checker backtracks from a load to the
            // stores before it, but not from a store that its own thread's load precedes.
            let reader = {
                let ring = ring.clone();
                thread::spawn(move || {
                    let mut got = 0;
                    let read = ring.read(0, |[a, b]| {
                        assert_eq!(b, a + 10);
                        got += 1;
                    });
                    assert_eq!(read.next, got + read.lost);
                })
            };
            for i in 1..=3 {
                ring.push([i, i + 10]);
            }
            reader.join().unwrap();
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Ring;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn a_reader_gets_each_record_once_or_counts_it_as_lost() {
        let ring = Ring::<2>::new(8);
        for i in 0..5 {
            ring.push([i, !i]);
        }
        let mut seen = Vec::new();
        let read = ring.read(0, |[a, _]| seen.push(a));
        assert_eq!(
            (seen.as_slice(), read.next, read.lost),
            (&[0, 1, 2, 3, 4][..], 5, 0)
        );
        for i in 5..25 {
            ring.push([i, !i]);
        }
        seen.clear();
        let read = ring.read(read.next, |[a, _]| seen.push(a));
        assert_eq!(read.next, 25);
        assert_eq!(read.lost as usize + seen.len(), 20);
        assert!(seen.iter().copied().eq(25 - seen.len() as u64..25));
    }

    /// Records are whole under a writer that laps the reader; each is delivered or lost.
    #[test]
    fn records_are_never_torn() {
        let ring = Ring::<3>::new(16);
        let stop = AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                let mut i = 0u64;
                while !stop.load(Relaxed) {
                    ring.push([i, i.wrapping_mul(3), !i]);
                    i += 1;
                }
            });
            let (mut at, mut got, mut lost) = (0, 0u64, 0);
            while got < 20_000 {
                let read = ring.read(at, |[a, b, c]| {
                    assert_eq!((b, c), (a.wrapping_mul(3), !a));
                    got += 1;
                });
                lost += read.lost;
                at = read.next;
                assert_eq!(at, got + lost);
            }
            stop.store(true, Relaxed);
        });
    }
}
