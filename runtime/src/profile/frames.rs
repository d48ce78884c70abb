//! Walking a stack by its frame pointers: the one walker of heap samples, CPU samples and stack
//! dumps.
//!
//! A frame record is two words: the caller's frame pointer and the return address. A frame pointer points to
//! it, or on RISC-V to the end of it. The walk reads nothing outside the bounds it was given and only ever goes up, so a register that holds no frame
//! pointer (code built without them, a function's first instruction) ends the walk early or yields a
//! wrong address; it cannot fault and cannot loop.
//!
//! A return address is reported less one, so that every address lies within the instruction that was
//! executing and can be looked up as it is. Reported as it stands, a call that never returns would be
//! attributed to whatever function happens to follow.

use crate::routine::chain::Extent;

/// Frames kept of one stack; what lies nearer to the root is cut off.
pub(crate) const MAX_FRAMES: usize = 128;

/// Bytes of a frame record.
const RECORD: usize = 2 * size_of::<usize>();

/// From where a frame pointer points down to its record.
const DOWN_TO_RECORD: usize = if cfg!(target_arch = "riscv64") {
    RECORD
} else {
    0
};

/// How far below the frame that leaves for a segment its last record may lie: that of the code which
/// changes the stack pointer.
const BELOW_LEFT: usize = 1024;

/// Lowest value taken for a return address: nothing is mapped below.
const LOWEST_CODE: usize = 4096;

/// The part of the address space where frame records may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    low: usize,
    high: usize,
    /// The stack is a routine's. corosensei keeps a frame record of its own at its top, which leads
    /// to the thread that resumed the routine and whose return address is a made-up one: a record
    /// that leads out of the stack ends the walk unreported, unless it leads from a segment into the
    /// stack that was left for it.
    routine: Option<Extent>,
}

impl Bounds {
    /// A thread's own stack. `None` if the bounds are not known, which `high` tells by being 0.
    pub(crate) fn native(low: usize, high: usize) -> Option<Bounds> {
        (high > low).then_some(Bounds {
            low,
            high,
            routine: None,
        })
    }

    /// A routine's stacks. `None` while it is between two of them.
    pub(crate) fn routine(stacks: Extent) -> Option<Bounds> {
        Bounds::routine_above(stacks, stacks.low)
    }

    /// The same, of the frames from `low` on.
    fn routine_above(stacks: Extent, low: usize) -> Option<Bounds> {
        (stacks.base > low).then_some(Bounds {
            low,
            high: stacks.base,
            routine: Some(stacks),
        })
    }

    /// What was left for this stack, as far as it is in use. `None` if it is not a segment.
    ///
    /// # Safety
    /// 1. Alive: nobody executes on these stacks meanwhile, unless they are this thread's own.
    unsafe fn before(self) -> Option<Bounds> {
        // SAFETY: 1 by the caller.
        let (stacks, sp) = unsafe { self.routine?.before() }?;
        Bounds::routine_above(stacks, (sp - BELOW_LEFT).max(stacks.low))
    }

    /// Whether `address` is inside.
    pub(crate) fn contains(self, address: usize) -> bool {
        (self.low..self.high).contains(&address)
    }

    /// Whether a whole frame record at `address` is inside.
    fn holds_record(self, address: usize) -> bool {
        address.is_multiple_of(align_of::<usize>())
            && address >= self.low
            && address <= self.high.saturating_sub(RECORD)
    }
}

/// Calls `visit` with each caller's address, nearest first, until it says `false` or the chain that
/// begins at `frame` ends.
///
/// # Safety
/// 1. Exclusive: nobody executes on the stack meanwhile, unless it is this thread's own stack.
/// 2. Alive: from `frame` up to its end the memory within `bounds` stays mapped and readable, and so do
///    the stacks that were left for it. Below `frame` nothing is read, so bounds may reach down into what
///    is not mapped yet.
/// 3. Thread: any.
/// 4. Unwinding: `visit` may panic; the walk holds nothing.
#[inline]
pub(crate) unsafe fn walk(frame: usize, bounds: Bounds, mut visit: impl FnMut(usize) -> bool) {
    let mut frame = frame;
    let mut bounds = bounds;
    while bounds.holds_record(frame.wrapping_sub(DOWN_TO_RECORD)) {
        // SAFETY: aligned and inside the bounds, as just checked; mapped by 2. Volatile, because the
        // words belong to other functions' frames, of which the compiler knows nothing here.
        let (caller, returns_to) = unsafe {
            let record = (frame - DOWN_TO_RECORD) as *const usize;
            (record.read_volatile(), record.add(1).read_volatile())
        };
        let is_last =
            bounds.routine.is_some() && !bounds.contains(caller.wrapping_sub(DOWN_TO_RECORD));
        let left = if is_last {
            // SAFETY: 1 and 2 by the caller.
            unsafe { bounds.before() }
        } else {
            None
        };
        let is_root = is_last && left.is_none();
        if is_root || returns_to < LOWEST_CODE || !visit(returns_to - 1) {
            return;
        }
        if let Some(left) = left {
            // Each crossing leads one stack back, so this ends.
            bounds = left;
            frame = caller;
            continue;
        }
        // Up, by a whole record at least: this is what ends a walk over garbage.
        if caller < frame + RECORD {
            return;
        }
        frame = caller;
    }
}

/// The frame pointer of the function this is inlined into, 0 where it cannot be read. `local` is a
/// variable of that function: by its address the instruction stays behind the prologue, which the
/// compiler otherwise may move down to where a frame is first needed.
#[inline(always)]
pub(crate) fn frame_pointer<T>(local: &T) -> usize {
    let local = std::ptr::from_ref(local).addr();
    let frame: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: copies a register; touches neither memory, stack nor flags.
    unsafe {
        std::arch::asm!(
            "mov {}, rbp",
            "/* {} */",
            lateout(reg) frame,
            in(reg) local,
            options(nomem, nostack, preserves_flags),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: copies a register; touches neither memory, stack nor flags.
    unsafe {
        std::arch::asm!(
            "mov {}, x29",
            "/* {} */",
            lateout(reg) frame,
            in(reg) local,
            options(nomem, nostack, preserves_flags),
        );
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: copies a register; touches neither memory, stack nor flags.
    unsafe {
        std::arch::asm!(
            "mv {}, s0",
            "/* {} */",
            lateout(reg) frame,
            in(reg) local,
            options(nomem, nostack, preserves_flags),
        );
    }
    #[cfg(not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )))]
    {
        _ = local;
        frame = 0;
    }
    frame
}

/// Lowest address and end of the calling thread's own stack, `None` if the system does not say.
///
/// Not for signal handlers: the C library allocates here (with its own `malloc`, so the allocator of
/// this crate may call it) and reads `/proc` for the first thread of the process.
#[cfg(all(target_os = "linux", not(miri)))]
#[cold]
#[inline(never)]
pub(crate) fn thread_stack() -> Option<(usize, usize)> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    let mut low = std::ptr::null_mut();
    let mut size = 0;
    // SAFETY: the calling thread is alive, so its handle is; the attributes are read only after the
    // call that initialises them succeeded, and destroyed exactly then.
    let found = unsafe {
        let read = libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) == 0;
        let found =
            read && libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size) == 0;
        if read {
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
        }
        found
    };
    found.then(|| (low as usize, low as usize + size))
}

/// Not known.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn thread_stack() -> Option<(usize, usize)> {
    None
}

/// Whether an address lies in the code of the program or library that this crate is linked into.
/// Async-signal-safe.
#[cfg(not(portable))]
pub(crate) fn in_program(address: usize) -> bool {
    // Names that every linker for ELF defines: the beginning of what is linked, and the end of its
    // code.
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    (&raw const __executable_start as usize..&raw const etext as usize).contains(&address)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stack of words and the walk over it from the record at index `start`.
    fn addresses(words: &[usize], start: usize) -> Vec<usize> {
        let low = words.as_ptr() as usize;
        let bounds = Bounds::native(low, low + size_of_val(words)).unwrap();
        let mut seen = Vec::new();
        // SAFETY: 1 and 2 by the borrow of `words`; 3 and 4 need nothing.
        unsafe {
            walk(
                low + start * size_of::<usize>() + DOWN_TO_RECORD,
                bounds,
                |address| {
                    seen.push(address);
                    true
                },
            );
        }
        seen
    }

    /// Writes a chain of records at the given indices into `words`.
    fn chain(words: &mut [usize], at: &[usize]) {
        let base = words.as_ptr() as usize;
        for (i, &index) in at.iter().enumerate() {
            words[index] = at
                .get(i + 1)
                .map_or(0, |next| base + next * size_of::<usize>() + DOWN_TO_RECORD);
            words[index + 1] = 0x10_0001 + i;
        }
    }

    #[test]
    fn a_chain_is_followed_to_its_end() {
        let mut words = [0; 32];
        chain(&mut words, &[2, 7, 20, 30]);
        assert_eq!(
            addresses(&words, 2),
            [0x10_0000, 0x10_0001, 0x10_0002, 0x10_0003]
        );
    }

    /// A record whose caller lies below it, or is itself, would be walked for ever.
    #[test]
    fn a_chain_that_does_not_rise_ends() {
        let mut words = [0; 32];
        chain(&mut words, &[2, 7]);
        let base = words.as_ptr() as usize;
        for back in [2, 7, 8] {
            words[7] = base + back * size_of::<usize>() + DOWN_TO_RECORD;
            assert_eq!(addresses(&words, 2), [0x10_0000, 0x10_0001]);
        }
    }

    /// Garbage in the frame pointer: beside the stack, unaligned, or a record half outside.
    #[test]
    fn nothing_outside_the_bounds_is_read() {
        let words = [usize::MAX; 8];
        let low = words.as_ptr() as usize;
        let bounds = Bounds::native(low + 16, low + 48).unwrap();
        for record in [
            0,
            1,
            low,
            low + 8,
            low + 17,
            low + 40,
            low + 48,
            usize::MAX,
            usize::MAX - 7,
        ] {
            let start = record.wrapping_add(DOWN_TO_RECORD);
            // SAFETY: 1 and 2 by the borrow of `words`; 3 and 4 need nothing.
            unsafe { walk(start, bounds, |_| panic!("read a record at {start:#x}")) };
        }
    }

    /// The record at a routine's root leads to another stack and has no function behind it.
    #[test]
    fn a_routines_root_record_is_not_reported() {
        let mut words = [0; 32];
        chain(&mut words, &[2, 7, 30]);
        let low = words.as_ptr() as usize;
        words[30] = low + size_of_val(&words) + 64;
        let mut seen = Vec::new();
        let bounds = Bounds::routine(Extent::alone(low, low + size_of_val(&words))).unwrap();
        // SAFETY: 1 and 2 by the borrow of `words`; 3 and 4 need nothing.
        unsafe {
            walk(low + 16 + DOWN_TO_RECORD, bounds, |address| {
                seen.push(address);
                true
            });
        }
        assert_eq!(seen, [0x10_0000, 0x10_0001]);
    }

    /// The record at the frame pointer leads back into the caller, in optimised code too.
    #[test]
    fn the_frame_pointer_is_the_functions_own() {
        #[inline(never)]
        fn callee(early: bool) -> usize {
            if std::hint::black_box(early) {
                return 0;
            }
            let mut words = [0_usize; 64];
            std::hint::black_box(&mut words);
            let frame = frame_pointer(&words);
            let above = words.as_ptr_range().end as usize;
            assert!(
                (above..above + 256).contains(&frame),
                "{frame:#x}, {above:#x}"
            );
            let (low, high) = thread_stack().unwrap();
            let mut nearest = 0;
            // SAFETY: 1 and 2: it is this thread's own stack, and `frame` lies above `words`.
            unsafe {
                walk(frame, Bounds::native(low, high).unwrap(), |address| {
                    nearest = address;
                    false
                });
            }
            nearest
        }
        #[inline(never)]
        fn caller() -> usize {
            // Not the last thing it does, or there would be no return into it.
            std::hint::black_box(callee(false)) + 1
        }
        let start = caller as fn() -> usize as usize;
        let called_at = caller() - 1;
        assert!(
            (start..start + 4096).contains(&called_at),
            "{called_at:#x}, {start:#x}"
        );
        assert_eq!(callee(true), 0);
    }

    #[test]
    fn a_threads_own_stack_contains_its_locals() {
        let here = 0;
        let (low, high) = thread_stack().unwrap();
        assert!((low..high).contains(&(&raw const here as usize)));
    }
}
