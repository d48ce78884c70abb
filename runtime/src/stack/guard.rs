//! The page below a stack that traps: two ways to make one, and what the dearer one may cost.
//!
//! *Light* guards are markers in the page table (`MADV_GUARD_INSTALL`, Linux 6.13): 0.6 us each, no
//! mapping of their own, as many as there are stacks. *`mprotect`* guards split the mapping: each
//! stack costs two of the process's mappings, of which the kernel allows 65,530 by default. At that
//! limit every `mmap` of the process fails, the allocator's included, so we stop well before it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::page_bytes;
use crate::snapshot::GuardMode;

/// Not yet in every version of the C headers.
const MADV_GUARD_INSTALL: libc::c_int = 102;
/// As above.
const MADV_GUARD_REMOVE: libc::c_int = 103;

/// `vm.max_map_count` where /proc does not tell: the kernel's default.
const DEFAULT_MAX_MAPS: u64 = 65_530;
/// Mappings in use where /proc does not tell: an ordinary process has a few hundred.
const ASSUMED_MAPS: u64 = 2_000;
/// The share of all mappings that stays free for everything else in the process.
const RESERVE_SHARE: u64 = 8;

/// Guards made by [`Guards::Mprotect`] in this process: the mappings are the process's, whichever
/// runtime made them. Relaxed: a count, nothing is published by it.
static MPROTECT_GUARDS: AtomicU64 = AtomicU64::new(0);

/// How an arena makes its guards.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guards {
    Light,
    /// `budget`: most guards of this kind in the process.
    Mprotect {
        budget: u64,
    },
}

/// Why a guard was not made. The page is as it was.
#[derive(Debug)]
pub(super) enum GuardError {
    /// One more would use up mappings that the rest of the process needs.
    Budget,
    Kernel(io::Error),
}

impl Guards {
    /// Decides how guards will be made.
    ///
    /// # Errors
    ///
    /// `Light` was asked for by name and this kernel, or this process (`mlockall`), has none.
    pub(super) fn resolve(asked: GuardMode) -> io::Result<Guards> {
        match asked {
            GuardMode::Mprotect => Ok(Self::mprotect()),
            GuardMode::Light => probe().map(|()| Guards::Light),
            GuardMode::System => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "guard mode `system`: stacks are not the system's here, but in a build with the feature `portable`",
            )),
            GuardMode::Auto => Ok(probe().map_or_else(|_| Self::mprotect(), |()| Guards::Light)),
        }
    }

    fn mprotect() -> Guards {
        let max = read_max_maps().unwrap_or(DEFAULT_MAX_MAPS);
        let used = count_maps().unwrap_or(ASSUMED_MAPS);
        let guards = MPROTECT_GUARDS.load(Relaxed);
        Guards::Mprotect {
            budget: budget(max, used, guards),
        }
    }

    pub(super) fn mode(self) -> GuardMode {
        match self {
            Guards::Light => GuardMode::Light,
            Guards::Mprotect { .. } => GuardMode::Mprotect,
        }
    }

    /// Most stacks that may be in use at one time because of guards. An eighth of the budget is
    /// left for slots that are guarded and wait in a worker's pool, where no other worker gets them.
    pub(super) fn limit(self) -> Option<u64> {
        match self {
            Guards::Light => None,
            Guards::Mprotect { budget } => Some(budget - budget / 8),
        }
    }

    /// Makes the page at `page` trap.
    ///
    /// # Safety
    ///
    /// 1. Exclusive: nobody else uses the page, nor makes or removes its guard at the same time.
    /// 2. Alive: it is a page of a private anonymous mapping, and holds nothing of worth.
    pub(super) unsafe fn install(self, page: usize) -> Result<(), GuardError> {
        match self {
            Guards::Light => {
                // SAFETY: 1 and 2 are the caller's, so replacing the page by a marker harms nobody.
                check(unsafe { libc::madvise(page as *mut _, page_bytes(), MADV_GUARD_INSTALL) })
                    .map_err(GuardError::Kernel)
            }
            Guards::Mprotect { budget } => {
                let below = |n: u64| (n < budget).then_some(n + 1);
                if MPROTECT_GUARDS
                    .fetch_update(Relaxed, Relaxed, below)
                    .is_err()
                {
                    return Err(GuardError::Budget);
                }
                // SAFETY: 1 and 2 are the caller's.
                check(unsafe { libc::mprotect(page as *mut _, page_bytes(), libc::PROT_NONE) })
                    .map_err(|e| {
                        MPROTECT_GUARDS.fetch_sub(1, Relaxed);
                        GuardError::Kernel(e)
                    })
            }
        }
    }

    /// Takes an `mprotect` guard away and so gives its mappings back. Light guards cost none, there
    /// is never a reason to remove one.
    ///
    /// # Safety
    ///
    /// As [`Guards::install`], and the guard was made by it; no stack stands above the page.
    pub(super) unsafe fn remove(self, page: usize) -> io::Result<()> {
        if let Guards::Mprotect { .. } = self {
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: 1 and 2 of `install` are the caller's.
            check(unsafe { libc::mprotect(page as *mut _, page_bytes(), prot) })?;
            MPROTECT_GUARDS.fetch_sub(1, Relaxed);
        }
        Ok(())
    }

    /// `count` guards went with the mapping that they were in.
    pub(super) fn unmapped(self, count: u64) {
        if let Guards::Mprotect { .. } = self {
            MPROTECT_GUARDS.fetch_sub(count, Relaxed);
        }
    }
}

/// Guards that fit: two mappings each, in what is free of `max` after a reserve. Of the `used`
/// mappings those of `guards` are counted again, since the budget is for all of the process.
fn budget(max: u64, used: u64, guards: u64) -> u64 {
    let others = used.saturating_sub(2 * guards);
    max.saturating_sub(others)
        .saturating_sub(max / RESERVE_SHARE)
        / 2
}

/// Tries a light guard on a page of its own, and whether it took the page: an emulator may say yes to advice that
/// it does not know.
fn probe() -> io::Result<()> {
    let bytes = page_bytes();
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the page is the one just mapped, readable and writable; nobody else knows it. It is read after its
    // guard was removed, or was never there.
    let took_it = unsafe {
        page.cast::<u8>().write_volatile(1);
        check(libc::madvise(page, bytes, MADV_GUARD_INSTALL))
            .and_then(|()| check(libc::madvise(page, bytes, MADV_GUARD_REMOVE)))
            .map(|()| page.cast::<u8>().read_volatile() == 0)
    };
    // SAFETY: the same page, and the last use of it.
    check(unsafe { libc::munmap(page, bytes) })?;
    match took_it {
        Ok(false) => Err(io::ErrorKind::Unsupported.into()),
        other => other.map(drop),
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn read_max_maps() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    text.trim().parse().ok()
}

fn count_maps() -> Option<u64> {
    let maps = std::fs::read("/proc/self/maps").ok()?;
    Some(maps.iter().filter(|&&b| b == b'\n').count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two mappings a guard, and always an eighth of all mappings left over.
    #[test]
    fn the_budget_leaves_an_eighth_of_all_mappings_free() {
        assert_eq!(budget(65_530, 330, 0), (65_530 - 330 - 8_191) / 2);
        assert_eq!(budget(65_530, 330 + 2 * 500, 500), budget(65_530, 330, 0));
        assert_eq!(budget(1_000, 5_000, 0), 0);
        assert_eq!(budget(0, 0, 0), 0);
    }

    #[test]
    fn mprotect_can_be_had_on_every_kernel_and_has_a_limit() {
        let guards = Guards::resolve(GuardMode::Mprotect).unwrap();
        assert_eq!(guards.mode(), GuardMode::Mprotect);
        let max = read_max_maps().unwrap_or(DEFAULT_MAX_MAPS);
        assert!(guards.limit().unwrap() < max / 2);
    }

    /// `Light` by name never falls back in silence; `Auto` takes it wherever it works.
    #[test]
    fn auto_agrees_with_what_light_by_name_says() {
        let auto = Guards::resolve(GuardMode::Auto).unwrap().mode();
        match Guards::resolve(GuardMode::Light) {
            Ok(light) => assert_eq!((light.mode(), auto), (GuardMode::Light, GuardMode::Light)),
            Err(_) => assert_eq!(auto, GuardMode::Mprotect),
        }
    }
}
