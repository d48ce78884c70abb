//! Where a thread's CPU samples wait to be read: bounded, one writer, one reader.
//!
//! The writer is a signal handler, so it neither waits nor allocates: what does not fit is counted
//! and dropped. Memory is reserved for the whole profile and touched only as samples arrive.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use super::frames::MAX_FRAMES;

/// Words of a sample before its frames.
const HEAD_WORDS: usize = 11;

// The first word has a byte for it.
const _: () = assert!(MAX_FRAMES <= 255);

/// Words of the longest sample.
const SAMPLE_WORDS: usize = HEAD_WORDS + MAX_FRAMES;

/// A name as it travels: bytes, zero-padded.
pub(super) type Label = [u64; 4];

/// What a sample says besides its frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Periods of the timer that this sample stands for: 1, and those that passed unseen.
    pub(super) periods: u32,
    /// The worker that the thread held.
    pub(super) worker: Option<u32>,
    /// 0 for none.
    pub(super) routine: u64,
    pub(super) name: Label,
    /// 0 for none.
    pub(super) workload: u64,
    pub(super) workload_name: Label,
}

/// The samples of one thread.
///
/// `head` and `tail` count words since the beginning and never wrap; the difference is what is
/// filled.
#[derive(Debug)]
pub(super) struct SampleRing {
    words: NonNull<AtomicU64>,
    /// Number of words, a power of two.
    capacity: usize,
    /// Written by the handler. `Release` after the words, so that the reader's `Acquire` sees them.
    head: AtomicUsize,
    /// Written by the reader. `Release` after reading, so that the handler's `Acquire` lets it
    /// overwrite only what was read.
    tail: AtomicUsize,
    /// Signals that came, and those that brought no sample. Written by the handler alone.
    taken: AtomicU64,
    skipped: AtomicU64,
    lost: AtomicU64,
}

// SAFETY: `words` blocks the automatic one. It points to a mapping of this value's own, of atomics;
// the other fields are atomics or never change.
unsafe impl Send for SampleRing {}
// SAFETY: as for `Send`.
unsafe impl Sync for SampleRing {}

impl SampleRing {
    /// A ring of `words` words, rounded up to a power of two that holds at least one sample.
    ///
    /// Mapped, not allocated: the profile shall not show in the program's heap.
    pub(super) fn new(words: usize) -> io::Result<SampleRing> {
        let capacity = words.max(SAMPLE_WORDS).next_power_of_two();
        let address = map(capacity * size_of::<AtomicU64>())?;
        Ok(SampleRing {
            words: address.cast(),
            capacity,
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        // SAFETY: masked to the mapping's length; zeroed memory is a valid atomic; unmapped only
        // when `self` is dropped.
        unsafe { self.words.add(at & (self.capacity - 1)).as_ref() }
    }

    /// A signal came. Writer only, as `skip` and `push`.
    pub(super) fn take(&self) {
        bump(&self.taken);
    }

    /// It found the thread between two stacks.
    pub(super) fn skip(&self) {
        bump(&self.skipped);
    }

    /// Writes a sample whose frames `frames` hands over one by one, innermost first, to the function
    /// it is given, until that says `false`. Counts a loss where there is no room for the longest.
    pub(super) fn push(&self, sample: Head, frames: impl FnOnce(&mut dyn FnMut(usize) -> bool)) {
        let head = self.head.load(Relaxed);
        // Acquire pairs with the release store in `pop`: what is overwritten has been read.
        if head - self.tail.load(Acquire) + SAMPLE_WORDS > self.capacity {
            bump(&self.lost);
            return;
        }
        let mut depth = 0;
        frames(&mut |frame| {
            self.word(head + HEAD_WORDS + depth)
                .store(frame as u64, Relaxed);
            depth += 1;
            depth < MAX_FRAMES
        });
        let put = |at: usize, value: u64| self.word(head + at).store(value, Relaxed);
        let worker = sample.worker.map_or(0, |worker| u64::from(worker) + 1);
        put(
            0,
            depth as u64 | (worker & 0xff_ffff) << 8 | u64::from(sample.periods) << 32,
        );
        put(1, sample.routine);
        put(2, sample.workload);
        for i in 0..4 {
            put(3 + i, sample.name[i]);
            put(7 + i, sample.workload_name[i]);
        }
        // Release pairs with the acquire in `pop`: who sees the head sees the sample.
        self.head.store(head + HEAD_WORDS + depth, Release);
    }

    /// Takes the oldest sample out. Reader only.
    pub(super) fn pop(&self) -> Option<(Head, Vec<usize>)> {
        let tail = self.tail.load(Relaxed);
        // Acquire pairs with the release store in `push`.
        if tail == self.head.load(Acquire) {
            return None;
        }
        let get = |at: usize| self.word(tail + at).load(Relaxed);
        let depth = get(0) as u8 as usize;
        let sample = Head {
            periods: (get(0) >> 32) as u32,
            worker: (get(0) as u32 >> 8).checked_sub(1),
            routine: get(1),
            workload: get(2),
            name: std::array::from_fn(|i| get(3 + i)),
            workload_name: std::array::from_fn(|i| get(7 + i)),
        };
        let frames = (0..depth).map(|i| get(HEAD_WORDS + i) as usize).collect();
        // Release pairs with the acquire in `push`.
        self.tail.store(tail + HEAD_WORDS + depth, Release);
        Some((sample, frames))
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    pub(super) fn skipped(&self) -> u64 {
        self.skipped.load(Relaxed)
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

impl Drop for SampleRing {
    fn drop(&mut self) {
        let bytes = self.capacity * size_of::<AtomicU64>();
        // SAFETY: the mapping made in `new`, of this length; `&mut self` says nobody reads it.
        unsafe { unmap(self.words.cast(), bytes) };
    }
}

/// Zeroed memory of a mapping's own, which comes page by page.
#[cfg(unix)]
fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    #[cfg(target_os = "linux")]
    const FLAGS: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    #[cfg(not(target_os = "linux"))]
    const FLAGS: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANON;
    // SAFETY: a new mapping at an address of the system's choice; nobody else's memory is
    // touched.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            FLAGS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// Gives it back.
///
/// # Safety
/// 1. Exclusive: `map` gave it, with this length, and nobody reads it any more.
#[cfg(unix)]
unsafe fn unmap(address: NonNull<u8>, bytes: usize) {
    // SAFETY: 1 by the caller.
    unsafe { libc::munmap(address.as_ptr().cast(), bytes) };
}

/// No ring is made where nothing is sampled.
#[cfg(not(unix))]
fn map(_: usize) -> io::Result<NonNull<u8>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is nothing to give back.
///
/// # Safety
/// None.
#[cfg(not(unix))]
unsafe fn unmap(_: NonNull<u8>, _: usize) {}

/// One writer: no read-modify-write needed.
fn bump(counter: &AtomicU64) {
    counter.store(counter.load(Relaxed) + 1, Relaxed);
}

/// The text of a label, `None` if it is empty. A character cut in half at its end is left out.
pub(super) fn text(label: Label) -> Option<String> {
    let mut bytes = [0; 32];
    for (part, word) in bytes.chunks_exact_mut(8).zip(label) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    let whole = match std::str::from_utf8(&bytes[..end]) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    (!whole.is_empty()).then(|| whole.to_owned())
}

/// The first 32 bytes of a text.
pub(super) fn label(text: &str) -> Label {
    let mut bytes = [0; 32];
    let end = text.len().min(bytes.len());
    bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
    std::array::from_fn(|i| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[i * 8..(i + 1) * 8]);
        u64::from_le_bytes(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &SampleRing, routine: u64, frames: &[usize]) {
        ring.take();
        let head = Head {
            periods: 1,
            routine,
            ..Head::default()
        };
        ring.push(head, |visit| {
            for &frame in frames {
                if !visit(frame) {
                    return;
                }
            }
        });
    }

    #[test]
    fn samples_come_out_as_they_went_in() {
        let ring = SampleRing::new(0).unwrap();
        let head = Head {
            periods: 3,
            worker: Some(5),
            routine: 17,
            name: label("miner"),
            workload: 4,
            workload_name: label("mine run"),
        };
        ring.push(head, |visit| {
            visit(1);
            visit(2);
        });
        assert_eq!(ring.pop(), Some((head, vec![1, 2])));
        assert_eq!(ring.pop(), None);
    }

    #[test]
    fn a_stack_deeper_than_the_limit_is_cut_at_its_root() {
        let ring = SampleRing::new(0).unwrap();
        let deep: Vec<usize> = (0..MAX_FRAMES + 50).collect();
        push(&ring, 1, &deep);
        assert_eq!(ring.pop().unwrap().1, deep[..MAX_FRAMES]);
    }

    /// Many times round a small ring, with losses: what came out and what was lost is what went in,
    /// in order.
    #[test]
    fn a_full_ring_counts_what_it_drops() {
        let ring = SampleRing::new(0).unwrap();
        let mut delivered = Vec::new();
        for round in 0..500 {
            push(&ring, round, &vec![round as usize; round as usize % 40]);
            if round % 7 == 0 {
                while let Some((head, frames)) = ring.pop() {
                    assert!(frames.iter().all(|&f| f == head.routine as usize));
                    delivered.push(head.routine);
                }
            }
        }
        while let Some((head, _)) = ring.pop() {
            delivered.push(head.routine);
        }
        assert!(delivered.is_sorted());
        assert!(ring.lost() > 0);
        assert_eq!(ring.taken(), delivered.len() as u64 + ring.lost());
    }

    #[test]
    fn a_label_keeps_whole_characters() {
        assert_eq!(text(label("")), None);
        assert_eq!(text(label("miner")).as_deref(), Some("miner"));
        let long = "€".repeat(11);
        assert_eq!(text(label(&long)), Some("€".repeat(10)));
    }
}
