//! Alternate signal stacks that know whose they are.
//!
//! All signal handlers of the process run on the thread's alternate stack: a routine's own may have no
//! room for them. All alternate stacks of workers' threads lie in one reserved range, in areas of one
//! size. So a handler finds whom it interrupted by the address of its own frame, in three
//! instructions and without a thread-local: under homes that travel the thread-local block belongs to
//! the routine, and during a switch it may be neither's.
//!
//! ```text
//!   area    ┌─────────────────────┐ 128 KiB each, aligned
//!           │ stack, growing down │ 64 KiB
//!           ├─────────────────────┤
//!           │ no access: guard    │ 64 KiB of addresses
//!           └─────────────────────┘
//! ```

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU64};

use crate::monitor::leash::Leash;

/// Bytes of an alternate stack. Handlers nest: profilers' and others' run on top of a freeze, and with
/// the widest vector registers the kernel's frame alone takes 11 KiB.
pub(super) const STACK_BYTES: usize = 64 << 10;
const AREA_BYTES: usize = 128 << 10;
/// Threads of workers, of all runtimes in the process, at once.
const AREAS: usize = 2048;

/// Where the areas begin; 0 if the system refused the range. 256 MiB of addresses, no memory.
static RANGE: OnceLock<usize> = OnceLock::new();
/// A bit for each area that is in use.
static TAKEN: [AtomicU64; AREAS / 64] = [const { AtomicU64::new(0) }; AREAS / 64];
static OWNERS: [AtomicPtr<Leash>; AREAS] = [const { AtomicPtr::new(ptr::null_mut()) }; AREAS];

/// The alternate signal stack of one thread, in force until dropped. It cannot leave the thread: the
/// raw pointer keeps it from being `Send`, and that is meant so.
#[derive(Debug)]
#[must_use = "the alternate stack goes when this is dropped"]
pub(crate) struct AltStack {
    area: usize,
    before: libc::stack_t,
}

impl AltStack {
    /// As [`take`](Self::take), for a thread that belongs to nobody.
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn plain() -> io::Result<AltStack> {
        // SAFETY: 1: null.
        unsafe { AltStack::take(ptr::null()) }
    }

    /// As [`plain`](Self::plain), for a thread that may have none. `None` if it has one, or there is no
    /// memory for it.
    pub(crate) fn if_none() -> Option<AltStack> {
        let mut now = MaybeUninit::<libc::stack_t>::uninit();
        // SAFETY: writes the present setting to `now`, which is read after success.
        let has_none = unsafe {
            libc::sigaltstack(ptr::null(), now.as_mut_ptr()) == 0
                && now.assume_init().ss_flags & libc::SS_DISABLE != 0
        };
        has_none.then(AltStack::plain)?.ok()
    }

    /// Gives the calling thread an alternate signal stack in place of the small one that threads of
    /// the standard library have. What runs on it finds `owner`, if there is one.
    ///
    /// # Errors
    ///
    /// There are no addresses or no memory for it, or too many threads; the thread keeps what it had.
    ///
    /// # Safety
    /// 1. Alive: `owner` is null or lives until the returned value is dropped.
    pub(crate) unsafe fn take(owner: *const Leash) -> io::Result<AltStack> {
        let range = *RANGE.get_or_init(reserve);
        if range == 0 {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let area = claim().ok_or(io::ErrorKind::OutOfMemory)?;
        let stack = (range + area * AREA_BYTES + AREA_BYTES - STACK_BYTES) as *mut libc::c_void;
        let ours = libc::stack_t {
            ss_sp: stack,
            ss_flags: 0,
            ss_size: STACK_BYTES,
        };
        let mut before = MaybeUninit::<libc::stack_t>::uninit();
        // Before a signal can run there. Release: its handler reads what the owner was made with.
        OWNERS[area].store(owner.cast_mut(), Release);
        // SAFETY: the stack is the upper half of an area of our reserved range that nobody else has
        // claimed; it stays so until `drop` has taken it out of use; `before` is written by the
        // kernel on success.
        unsafe {
            if libc::mprotect(stack, STACK_BYTES, libc::PROT_READ | libc::PROT_WRITE) != 0
                || libc::sigaltstack(&ours, before.as_mut_ptr()) != 0
            {
                let error = io::Error::last_os_error();
                OWNERS[area].store(ptr::null_mut(), Relaxed);
                give_back(area);
                return Err(error);
            }
            Ok(AltStack {
                area,
                before: before.assume_init(),
            })
        }
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        OWNERS[self.area].store(ptr::null_mut(), Relaxed);
        // SAFETY: `before` is what this thread had (the value cannot leave its thread). It was not
        // in use then or now: a handler does not run this. Only once the kernel has let go of ours
        // may somebody else have it; if it has not, it stays taken.
        unsafe {
            if libc::sigaltstack(&self.before, ptr::null_mut()) != 0 {
                return;
            }
            let stack =
                RANGE.get().expect("it lies there") + (self.area + 1) * AREA_BYTES - STACK_BYTES;
            // Its memory; the addresses stay ours.
            libc::madvise(stack as *mut _, STACK_BYTES, libc::MADV_DONTNEED);
        }
        give_back(self.area);
    }
}

/// Whose alternate stack the address lies in, null for nobody's. Async-signal-safe. For a handler that asks
/// about its own frame the owner is alive: it deregisters on the thread that the handler runs on.
pub(crate) fn owner_of(address: usize) -> *const Leash {
    let Some(&range) = RANGE.get() else {
        return ptr::null();
    };
    let offset = address.wrapping_sub(range);
    if range == 0 || offset >= AREAS * AREA_BYTES {
        return ptr::null();
    }
    // Acquire pairs with the release store in `take`.
    OWNERS[offset / AREA_BYTES].load(Acquire)
}

/// Addresses for all areas, aligned; 0 if the system refuses them.
fn reserve() -> usize {
    let bytes = (AREAS + 1) * AREA_BYTES;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let mapping = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if mapping == libc::MAP_FAILED {
        return 0;
    }
    (mapping as usize).next_multiple_of(AREA_BYTES)
}

fn claim() -> Option<usize> {
    for (index, word) in TAKEN.iter().enumerate() {
        let mut bits = word.load(Relaxed);
        while bits != u64::MAX {
            let bit = !bits & bits.wrapping_add(1);
            // Acquire pairs with the release in `give_back`: the last owner's use of the area is over.
            bits = word.fetch_or(bit, Acquire);
            if bits & bit == 0 {
                return Some(index * 64 + bit.trailing_zeros() as usize);
            }
        }
    }
    None
}

fn give_back(area: usize) {
    // Release pairs with the acquire in `claim`.
    TAKEN[area / 64].fetch_and(!(1 << (area % 64)), Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current() -> (*mut libc::c_void, usize, libc::c_int) {
        let mut now = MaybeUninit::<libc::stack_t>::uninit();
        // SAFETY: writes the current setting to `now`, which is read after success.
        let now = unsafe {
            assert_eq!(libc::sigaltstack(ptr::null(), now.as_mut_ptr()), 0);
            now.assume_init()
        };
        (now.ss_sp, now.ss_size, now.ss_flags)
    }

    #[test]
    fn a_dropped_altstack_leaves_the_thread_what_it_had() {
        let before = current();
        // SAFETY: nobody owns it.
        let ours = unsafe { AltStack::take(ptr::null()) }.unwrap();
        assert_eq!(current().1, STACK_BYTES);
        drop(ours);
        assert_eq!(current(), before);
    }

    /// Every byte of a stack leads to its owner, and no other address does.
    #[test]
    fn an_address_finds_its_owner() {
        std::thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    let owner = Leash::apart();
                    // SAFETY: 1: dropped below, before the owner.
                    let stack = unsafe { AltStack::take(&raw const owner) }.unwrap();
                    let low = current().0 as usize;
                    for address in [low, low + 1, low + STACK_BYTES / 2, low + STACK_BYTES - 1] {
                        assert_eq!(owner_of(address), &raw const owner);
                    }
                    assert_ne!(owner_of(low + STACK_BYTES), &raw const owner);
                    assert_eq!(owner_of(&raw const owner as usize), ptr::null());
                    drop(stack);
                    assert_ne!(owner_of(low), &raw const owner);
                });
            }
        });
    }
}
