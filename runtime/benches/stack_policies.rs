//! What would other ways to grow and to shrink a stack cost? `docs/stacks.md` has the verdicts.
//!
//! Three ways to the same 512 KiB of a fresh stack: the kernel's demand paging under one guard page, which is
//! what the runtime does; a guard over all but the top, which a signal handler takes back step by step; a
//! mapping that grows down (`MAP_GROWSDOWN`). And what a parked stack holds when its dead pages are given
//! back, or when its live bytes are copied out and back (*compact*). CPU times; page faults are part of them.
//! `cargo bench --bench stack_policies`; on systems without light guards it says so and ends.

#[cfg(all(target_os = "linux", not(feature = "portable")))]
fn main() {
    linux::main();
}

#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
fn main() {
    println!("needs Linux");
}

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod linux {
    use std::hint::black_box;
    use std::num::NonZeroUsize;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
    use std::time::Duration;

    use corosensei::stack::{Stack, StackPointer};
    use corosensei::{Coroutine, CoroutineResult};

    const PAGE: usize = 4096;
    const SLOT: usize = 1 << 20;
    const DEPTH: usize = 512 << 10;
    const ROUNDS: usize = 200;
    const GUARD_INSTALL: libc::c_int = 102;
    const GUARD_REMOVE: libc::c_int = 103;
    /// What a stack that grows in the handler begins with.
    const FIRST: usize = 16 << 10;

    pub(super) fn main() {
        if !has_guards() {
            return println!("this kernel has no light guards");
        }
        install_handler();
        println!("growth to {} KiB, median of {ROUNDS}:", DEPTH >> 10);
        // In turns, so that what else the machine does falls on all of them.
        let (mut demand, mut handler, mut down) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            demand.push(touch_fresh(&Mapping::new(SLOT)));
            handler.push(touch_fresh(&Mapping::growing()));
            down.push(touch_fresh(&Mapping::growing_down()));
        }
        let each = GROWTHS.load(Relaxed) as f64 / ROUNDS as f64;
        let (demand, handler) = (median(demand), median(handler));
        let pause = (handler.as_secs_f64() - demand.as_secs_f64()) / each * 1e6;
        println!("  demand paging         {demand:>9.1?}");
        println!(
            "  in the handler        {handler:>9.1?}  {each} growths, {pause:.1} us more each"
        );
        println!(
            "    read(2) below what was touched: {}",
            read_into_untouched()
        );
        println!("  grows down            {:>9.1?}", median(down));
        grows_down_hazards();
        parked();
    }

    /// CPU time of this thread: on a machine that does other things, too, wall time tells nothing.
    fn cpu_now() -> Duration {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` is on this frame.
        let told = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        assert_eq!(told, 0);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    fn median(mut all: Vec<Duration>) -> Duration {
        all.sort();
        all[all.len() / 2]
    }

    /// Address space of a stack, given back when dropped.
    struct Mapping {
        start: usize,
        high: usize,
    }

    impl Mapping {
        fn new(bytes: usize) -> Mapping {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
            let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, prot, flags, -1, 0) };
            assert_ne!(start, libc::MAP_FAILED);
            // SAFETY: advice on the mapping just made.
            unsafe { libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE) };
            Mapping {
                start: start as usize,
                high: start as usize + bytes,
            }
        }

        /// One page that grows down, with room for it: a hole of 4 MiB, in which nobody else happens to map
        /// anything meanwhile.
        fn growing_down() -> Mapping {
            let hole = Mapping::new(4 << 20);
            let high = hole.high;
            drop(hole);
            let at = (high - PAGE) as *mut libc::c_void;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_GROWSDOWN;
            let flags = flags | libc::MAP_FIXED_NOREPLACE;
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a mapping where there is none.
            let start = unsafe { libc::mmap(at, PAGE, prot, flags, -1, 0) };
            assert_eq!(start, at, "{}", std::io::Error::last_os_error());
            // What it grows to goes with it.
            Mapping {
                start: high - SLOT,
                high,
            }
        }

        /// With a guard over all but the top, known to the handler.
        fn growing() -> Mapping {
            let mapping = Mapping::new(SLOT);
            advise(mapping.start, SLOT - FIRST, GUARD_INSTALL);
            GROWING.store(mapping.start, Relaxed);
            mapping
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: nobody uses the mapping any more; of one that grows down what it never grew to is a hole.
            unsafe { libc::munmap(self.start as *mut _, self.high - self.start) };
        }
    }

    fn advise(start: usize, bytes: usize, advice: libc::c_int) {
        // SAFETY: callers name parts of their own mappings, whose content they do not need.
        let done = unsafe { libc::madvise(start as *mut _, bytes, advice) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    fn has_guards() -> bool {
        let page = Mapping::new(PAGE);
        // SAFETY: as in `advise`.
        unsafe { libc::madvise(page.start as *mut _, PAGE, GUARD_INSTALL) == 0 }
    }

    /// Writes to every page, from the top down, as a stack that grows does.
    fn touch_fresh(mapping: &Mapping) -> Duration {
        let began = cpu_now();
        for page in (mapping.high - DEPTH..mapping.high).step_by(PAGE).rev() {
            // SAFETY: within the mapping, or where it grows to.
            unsafe { (page as *mut u8).write_volatile(1) };
        }
        cpu_now() - began
    }

    /// Start of the one stack that grows in the handler.
    static GROWING: AtomicUsize = AtomicUsize::new(0);
    static GROWTHS: AtomicU64 = AtomicU64::new(0);

    extern "C" fn on_fault(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the kernel gives a handler with SA_SIGINFO an info of its own.
        let address = unsafe { (*info).si_addr() } as usize;
        let start = GROWING.load(Relaxed);
        let high = start + SLOT;
        if !(start..high).contains(&address) {
            // SAFETY: ends the process; nothing else may be done here.
            unsafe { libc::abort() };
        }
        // Twice what there was, which is always a power of two.
        let grown = (high - address).next_power_of_two().min(SLOT);
        // SAFETY: as in `advise`; async-signal-safe.
        unsafe { libc::madvise((high - grown) as *mut _, grown, GUARD_REMOVE) };
        GROWTHS.fetch_add(1, Relaxed);
    }

    fn install_handler() {
        // SAFETY: all zeros is a sigaction; the handler has the signature that SA_SIGINFO asks for.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                on_fault;
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            assert_eq!(
                libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()),
                0
            );
        }
    }

    /// What C code meets that hands a local array to the kernel before it has touched it.
    fn read_into_untouched() -> String {
        let stack = Mapping::growing();
        let file = std::fs::File::open("/dev/zero").expect("it is always there");
        let buffer = (stack.high - (200 << 10)) as *mut libc::c_void;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
        // SAFETY: writes into our own mapping, or fails.
        match unsafe { libc::read(fd, buffer, 64) } {
            64 => "succeeds".into(),
            _ => format!("fails, {}", std::io::Error::last_os_error()),
        }
    }

    fn maps() -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        maps.lines().count()
    }

    fn grows_down_hazards() {
        const STACKS: usize = 1000;
        let before = maps();
        let stacks: Vec<_> = (0..STACKS).map(|_| Mapping::growing_down()).collect();
        println!("    mappings of {STACKS} such stacks: {}", maps() - before);
        let lowest = stacks.iter().map(|stack| stack.high).min().unwrap_or(0);
        let wanted = (lowest - (1 << 20) - DEPTH) as *mut libc::c_void;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: a mapping where there is none.
        let other = unsafe { libc::mmap(wanted, PAGE, libc::PROT_READ, flags, -1, 0) };
        let free = other == wanted;
        println!("    others may map 1.5 MiB below one, where it would grow to: {free}");
        if free {
            // SAFETY: ours, and unused.
            unsafe { libc::munmap(other, PAGE) };
        }
    }

    impl Slot {
        fn low(&self) -> usize {
            self.0.start
        }
    }

    struct Slot(Mapping);

    // SAFETY: a megabyte of memory, of which these coroutines use half; it lives as long as the value.
    unsafe impl Stack for Slot {
        fn base(&self) -> StackPointer {
            NonZeroUsize::new(self.0.high).expect("no mapping ends at null")
        }

        fn limit(&self) -> StackPointer {
            NonZeroUsize::new(self.0.start).expect("no mapping begins at null")
        }
    }

    #[inline(never)]
    fn deep(kib: usize, then: &mut dyn FnMut()) -> u8 {
        let mut filler = [kib as u8; 1024];
        black_box(&mut filler);
        if kib == 0 {
            then();
        } else {
            deep(kib - 1, then);
        }
        assert!(black_box(&filler).iter().all(|&byte| byte == kib as u8));
        filler[0]
    }

    fn resident(low: usize, high: usize) -> usize {
        let mut pages = vec![0u8; (high - low) / PAGE];
        // SAFETY: reads no memory of the range, and writes one byte for each of its pages.
        let asked = unsafe { libc::mincore(low as *mut _, high - low, pages.as_mut_ptr()) };
        assert_eq!(asked, 0);
        pages.iter().filter(|&&page| page & 1 == 1).count() * PAGE
    }

    /// Routines that were 64 KiB deep and are parked 2 KiB deep.
    fn parked() {
        const ROUTINES: usize = 500;
        static PARKED_AT: AtomicUsize = AtomicUsize::new(0);
        let mut routines: Vec<_> = (0..ROUTINES)
            .map(|_| {
                let slot = Slot(Mapping::new(SLOT));
                let bounds = (slot.low(), slot.base().get());
                let mut routine = Coroutine::<(), (), (), Slot>::with_stack(slot, |yielder, ()| {
                    deep(64, &mut || ());
                    deep(1, &mut || {
                        let here = 0u8;
                        PARKED_AT.store(&raw const here as usize, Relaxed);
                        yielder.suspend(());
                    });
                });
                assert!(matches!(routine.resume(()), CoroutineResult::Yield(())));
                // The switch's own words lie below, and a red zone.
                let sp = PARKED_AT.load(Relaxed) - 1024;
                (routine, bounds, sp)
            })
            .collect();
        let held = |routines: &[(_, (usize, usize), usize)]| -> usize {
            let each = routines
                .iter()
                .map(|&(_, (low, high), _)| resident(low, high));
            each.sum::<usize>() / ROUTINES
        };
        println!("parked, bytes held for each of {ROUTINES}:");
        println!("  as it is              {:>9}", held(&routines));
        let began = cpu_now();
        for &(_, (low, _), sp) in &routines {
            advise(low, (sp - low) / PAGE * PAGE, libc::MADV_DONTNEED);
        }
        let each = (cpu_now() - began) / ROUTINES as u32;
        println!(
            "  dead pages given back {:>9}  {each:.1?} each",
            held(&routines)
        );
        let began = cpu_now();
        let copies: Vec<Vec<u8>> = routines
            .iter()
            .map(|&(_, (low, high), sp)| {
                // SAFETY: the live bytes of a coroutine that is suspended.
                let live = unsafe { std::slice::from_raw_parts(sp as *const u8, high - sp) };
                let copy = live.to_vec();
                advise(low, high - low, libc::MADV_DONTNEED);
                copy
            })
            .collect();
        let out = (cpu_now() - began) / ROUTINES as u32;
        let copied = copies.iter().map(Vec::len).sum::<usize>() / ROUTINES;
        let live = routines
            .iter()
            .map(|&(_, (_, high), sp)| high - sp)
            .sum::<usize>()
            / ROUTINES;
        assert_eq!(copied, live, "what is copied is what is live");
        println!(
            "  compact               {:>9}  {out:.1?} each",
            held(&routines) + copied
        );
        let began = cpu_now();
        for ((routine, _, sp), copy) in routines.iter_mut().zip(&copies) {
            // SAFETY: the same bytes at the same addresses, before the coroutine goes on.
            unsafe { std::ptr::copy_nonoverlapping(copy.as_ptr(), *sp as *mut u8, copy.len()) };
            assert!(matches!(routine.resume(()), CoroutineResult::Return(())));
        }
        let back = (cpu_now() - began) / ROUTINES as u32;
        println!("    and back, with the next turn: {back:.1?} each");
    }
}
