//! A stack that runs into its guard page is named before the process ends.
//!
//! The kernel delivers a fault in a guard page as SIGSEGV (SIGBUS on some machines) on the thread's
//! alternate stack. The handler finds out whether the address is a guard page of ours, writes one
//! line to standard error and to the file of [`report_to`], and aborts. Nothing better can be done: the
//! routine cannot go on, and ending it alone skips the destructors of every frame on its stack. Whoever
//! wants that nevertheless has to promise what follows from it
//! ([`contain_overflow`](crate::Builder::contain_overflow)).
//!
//! All that happens in the handler is async-signal-safe: no allocation, no lock, no formatting
//! machinery; a fixed buffer, `write`, `abort`.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::sync::{Once, OnceLock};

use super::page_bytes;
use super::segments::{self, Hit};
use crate::routine::context;

/// Bytes of the report: enough for a path of 700 bytes. A longer one is cut.
const REPORT_BYTES: usize = 1024;

/// What the report says about the routine that runs on the faulting thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoutineFacts {
    pub(crate) id: u64,
    /// Ends at its first zero byte; empty for a routine without a name.
    pub(crate) name: [u8; 32],
    /// Where it was spawned.
    pub(crate) site: &'static Location<'static>,
    /// Whether the routine may be ended alone.
    pub(crate) containment: Containment,
}

/// Whether a routine that ran over its stack may be ended alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Containment {
    /// Nobody asked for that.
    NotAsked,
    /// Not here and now, for this reason.
    Refused(&'static str),
    Possible,
}

/// A fault in the guard page of a slot of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// The slot.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Program counter and stack pointer of what was interrupted.
    pub(crate) pc: usize,
    pub(crate) sp: usize,
}

/// What the handler asks of those who know routines. Both are called in it, so they may only do what is
/// async-signal-safe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hooks {
    /// The routine that runs on the calling thread, `None` when none does, and whose the slot is.
    pub(crate) who_runs: fn(&Fault) -> (Option<RoutineFacts>, Whose),
    /// Lets that routine end when the handler returns, which has interrupted it and was given this context.
    ///
    /// Safety: 1. Exclusive: `who_runs` has just said that it is possible.
    pub(crate) contain: unsafe fn(context: *mut libc::c_void),
}

/// What the faulting thread has to do with the slot whose guard was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The routine that runs there runs on it.
    RoutinesOwn,
    /// It is a segment of the routine, or of a thread that runs none.
    Segment,
    /// Nothing.
    Others,
}

static HOOKS: OnceLock<Hooks> = OnceLock::new();

/// Where the report goes besides standard error; negative: nowhere. Relaxed: the number is all that
/// is published, the open file behind it is the kernel's.
static REPORT_FD: AtomicI32 = AtomicI32::new(-1);

/// Set by the first thread that reports. A second one must neither mix its line into the first nor
/// abort before that is written. Relaxed: it guards no memory.
static REPORTING: AtomicBool = AtomicBool::new(false);

/// What was installed for each signal before us. Set before our handler can run.
static BEFORE_SEGV: OnceLock<libc::sigaction> = OnceLock::new();
static BEFORE_BUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Takes SIGSEGV and SIGBUS over, once per process; later calls do nothing. Faults at addresses that
/// are no stack's guard go to whatever handler was there before, the standard library's as a rule.
pub(crate) fn install(hooks: Hooks) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Both are cached on first use; the handler must not be the first.
        page_bytes();
        let _ = HOOKS.set(hooks);
        take_over(libc::SIGSEGV, &BEFORE_SEGV);
        take_over(libc::SIGBUS, &BEFORE_BUS);
    });
}

/// Also writes the report of a stack overflow to `file`, from its current position.
///
/// The file stays open until the process ends. Of several calls the last one counts.
///
/// ```
/// use std::fs::File;
/// # let path = std::env::temp_dir().join(format!("openwork-crash-{}", std::process::id()));
/// openwork::overflow::report_to(File::create(&path)?);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn report_to(file: File) {
    // The file of an earlier call stays open too: a handler may be writing to it just now.
    REPORT_FD.store(file.into_raw_fd(), Relaxed);
}

fn take_over(signal: libc::c_int, before: &OnceLock<libc::sigaction>) {
    let mut old = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: asks for the current action and writes it to `old`.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), old.as_mut_ptr()) };
    assert_eq!(asked, 0, "SIGSEGV and SIGBUS may be handled");
    // SAFETY: sigaction has succeeded and so has filled `old`.
    let _ = before.set(unsafe { old.assume_init() });

    // SAFETY: all zeros is a sigaction: no flags, an empty mask, the default action.
    let mut ours = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    ours.sa_sigaction = on_fault as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `sa_mask` is ours. All signals wait meanwhile, so that no other handler runs on top of
    // a thread that is about to end the process.
    unsafe { libc::sigfillset(&mut ours.sa_mask) };
    // SAFETY: 1 (alive): `on_fault` is a function; 2 (complete): what it reads, `before` and
    // `HOOKS`, is set; 3 (thread): it may run on every thread, and uses only atomics, constants
    // and its own frame; 4 (unwinding): `extern "C"`, a panic aborts.
    unsafe { libc::sigaction(signal, &ours, ptr::null_mut()) };
}

extern "C" fn on_fault(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: 1 and 2: the kernel gives a handler with SA_SIGINFO an info of its own.
    let code = unsafe { (*info).si_code };
    // Codes up to 0 are signals sent by a process: they carry no address.
    if code > 0 {
        // SAFETY: as above; a positive code of these two signals comes with an address.
        let address = unsafe { (*info).si_addr() } as usize;
        if let Some(hit) = segments::find(address).filter(|hit| hit.in_guard) {
            // SAFETY: as above.
            unsafe { overflowed(address, &hit, context) };
            return;
        }
    }
    pass_on(signal, info, context);
}

/// Does what would have happened without us.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let before = if signal == libc::SIGSEGV {
        BEFORE_SEGV.get()
    } else {
        BEFORE_BUS.get()
    };
    match before {
        Some(before) if !matches!(before.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) => {
            if before.sa_flags & libc::SA_SIGINFO != 0 {
                // SAFETY: the flag says that the handler has this signature; it is called as the
                // kernel would, with what the kernel gave us, on the alternate stack.
                unsafe {
                    let handler: extern "C" fn(
                        libc::c_int,
                        *mut libc::siginfo_t,
                        *mut libc::c_void,
                    ) = std::mem::transmute(before.sa_sigaction);
                    handler(signal, info, context);
                }
            } else {
                // SAFETY: without the flag the handler takes the signal alone.
                unsafe {
                    let handler: extern "C" fn(libc::c_int) =
                        std::mem::transmute(before.sa_sigaction);
                    handler(signal);
                }
            }
        }
        _ => {
            set_default(signal);
            // SAFETY: async-signal-safe. The signal is blocked until this handler returns, and
            // then does what it does by default. (A fault would occur again by itself; a signal
            // that was sent would not.)
            unsafe { libc::raise(signal) };
        }
    }
}

/// Reports, and then ends the routine, if that may be ended alone, or else the process.
///
/// # Safety
/// 1. Alive: `context` is what the kernel passed to the handler that runs.
unsafe fn overflowed(address: usize, hit: &Hit, context: *mut libc::c_void) {
    // SAFETY: 1 by the caller.
    let (pc, sp) = unsafe { context::interrupted(context) };
    let fault = Fault {
        start: hit.slot_start,
        end: hit.slot_start + hit.slot_bytes,
        pc,
        sp,
    };
    let hooks = HOOKS.get();
    let (routine, whose) = hooks.map_or((None, Whose::Others), |hooks| (hooks.who_runs)(&fault));
    let contained = routine.is_some_and(|routine| routine.containment == Containment::Possible);
    if !contained && REPORTING.swap(true, Relaxed) {
        loop {
            // SAFETY: async-signal-safe; the other thread ends the process.
            unsafe { libc::pause() };
        }
    }
    let mut report = Report::new();
    write_report(&mut report, routine.as_ref(), whose, address, hit);
    write_all(libc::STDERR_FILENO, report.bytes());
    let fd = REPORT_FD.load(Relaxed);
    if fd >= 0 {
        write_all(fd, report.bytes());
    }
    if let Some(hooks) = hooks.filter(|_| contained) {
        // SAFETY: 1: it has just been said.
        unsafe { (hooks.contain)(context) };
        return;
    }
    // A handler of the program for SIGABRT would run in a process that is past saving.
    set_default(libc::SIGABRT);
    // SAFETY: async-signal-safe; unblocks SIGABRT, raises it, and does not return.
    unsafe { libc::abort() }
}

fn set_default(signal: libc::c_int) {
    // SAFETY: all zeros is a sigaction with the default action; sigaction is async-signal-safe.
    unsafe {
        let default = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        libc::sigaction(signal, &default, ptr::null_mut());
    }
}

fn write_report(
    report: &mut Report,
    routine: Option<&RoutineFacts>,
    whose: Whose,
    address: usize,
    hit: &Hit,
) {
    report.text("openwork: ");
    if whose == Whose::Others {
        // Not an overflow: this thread does not run on that stack.
        report.text("stray access to the guard page of a stack of ");
        report.size(hit.slot_bytes);
        report.text(" (fault at ");
        report.hexadecimal(address);
        report.text(") by ");
        match routine {
            Some(routine) => {
                report.text("routine ");
                report.decimal(routine.id);
                report.text(", which runs on another stack");
            }
            None => report.text("a thread that runs no routine"),
        }
        report.text("; aborting\n");
        return;
    }
    match routine {
        Some(routine) => report.routine(routine),
        None => {
            report.text("thread ");
            // SAFETY: no arguments, no failure.
            report.decimal(unsafe { libc::gettid() } as u64);
        }
    }
    report.text(if whose == Whose::Segment {
        " overflowed its segment of "
    } else {
        " overflowed its stack of "
    });
    report.size(hit.slot_bytes);
    report.text(" (fault at ");
    report.hexadecimal(address);
    report.text("); a larger one is had by ");
    report.text(if whose == Whose::Segment {
        "with_segment"
    } else {
        "Builder::stack_size"
    });
    match routine.map(|routine| routine.containment) {
        Some(Containment::Possible) => report.text("; contained: the routine ends alone\n"),
        Some(Containment::Refused(why)) => {
            report.text("; not contained ");
            report.text(why);
            report.text("; aborting\n");
        }
        Some(Containment::NotAsked) | None => report.text("; aborting\n"),
    }
}

/// Writes what can be written. On a full disk or a closed pipe nobody is left to tell.
fn write_all(fd: libc::c_int, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the pointer and length are of a live slice; write is async-signal-safe.
        let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(0) => return,
            Ok(n) => bytes = &bytes[n..],
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Text in a fixed buffer. What does not fit is cut, but for the end of the line.
struct Report {
    buffer: [u8; REPORT_BYTES],
    len: usize,
}

impl Report {
    fn new() -> Report {
        Report {
            buffer: [b'\n'; REPORT_BYTES],
            len: 0,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    fn push(&mut self, byte: u8) {
        // The last byte is the line end that the buffer was made with.
        if self.len < REPORT_BYTES - 1 {
            self.buffer[self.len] = byte;
            self.len += 1;
        } else {
            self.len = REPORT_BYTES;
        }
    }

    fn text(&mut self, text: &str) {
        text.bytes().for_each(|b| self.push(b));
    }

    /// Text that is not ours: it must not end the line or command the terminal.
    fn line(&mut self, text: &[u8]) {
        for &byte in text {
            self.push(if byte.is_ascii_control() { b'?' } else { byte });
        }
    }

    /// Who it is, and from where.
    fn routine(&mut self, routine: &RoutineFacts) {
        self.text("routine ");
        self.decimal(routine.id);
        let name = routine.name.split(|&b| b == 0).next().unwrap_or_default();
        if !name.is_empty() {
            self.text(" `");
            self.line(name);
            self.text("`");
        }
        self.text(" from ");
        self.line(routine.site.file().as_bytes());
        self.text(":");
        self.decimal(u64::from(routine.site.line()));
    }

    fn decimal(&mut self, n: u64) {
        if n >= 10 {
            self.decimal(n / 10);
        }
        self.push(b'0' + (n % 10) as u8);
    }

    fn hexadecimal(&mut self, n: usize) {
        self.text("0x");
        let digits = (n | 1).ilog2() / 4;
        for digit in (0..=digits).rev() {
            self.push(b"0123456789abcdef"[n >> (4 * digit) & 0xf]);
        }
    }

    fn size(&mut self, bytes: usize) {
        let (count, unit) = match bytes {
            b if b >= 1 << 30 => (b >> 30, " GiB"),
            b if b >= 1 << 20 => (b >> 20, " MiB"),
            b => (b >> 10, " KiB"),
        };
        self.decimal(count as u64);
        self.text(unit);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Output;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use corosensei::{Coroutine, CoroutineResult};

    use super::*;
    use crate::snapshot::GuardMode;
    use crate::stack::altstack::AltStack;
    use crate::stack::{Slot, StackArena, StackClass, StackConfig, StackPool, child};

    /// [`Slot::low`] of the pretended routine.
    static RUNNING_ON: AtomicUsize = AtomicUsize::new(0);

    const PRETENDED: Hooks = Hooks {
        who_runs: pretended_routine,
        contain: |_| unreachable!("it was not asked for"),
    };

    fn pretended_routine(fault: &Fault) -> (Option<RoutineFacts>, Whose) {
        let mut name = [0; 32];
        name[..7].copy_from_slice(b"mi\nner\x1b");
        let routine = RoutineFacts {
            id: 17,
            name,
            site: SITE,
            containment: Containment::NotAsked,
        };
        let is_here = (fault.start..fault.end).contains(&RUNNING_ON.load(Relaxed));
        let whose = if is_here {
            Whose::RoutinesOwn
        } else {
            Whose::Others
        };
        (Some(routine), whose)
    }

    static SITE: &Location<'static> = Location::caller();

    fn slot(guard: GuardMode, bytes: usize) -> Slot {
        let class = StackClass::for_bytes(bytes).unwrap();
        let arena = StackArena::new(StackConfig {
            default_class: class,
            guard,
            max_stacks: None,
        })
        .unwrap();
        StackPool::new(Arc::clone(&arena)).take(class).unwrap()
    }

    #[inline(never)]
    fn recurse(depth: u64) -> u64 {
        let frame = std::hint::black_box([depth; 64]);
        if depth == 0 {
            return 0;
        }
        recurse(depth - 1) + frame[depth as usize % 64]
    }

    fn run_on(slot: Slot, depth: u64) -> u64 {
        RUNNING_ON.store(slot.low(), Relaxed);
        let mut routine = Coroutine::<(), (), u64, Slot>::with_stack(slot, move |_, ()| {
            recurse(std::hint::black_box(depth))
        });
        match routine.resume(()) {
            CoroutineResult::Return(sum) => sum,
            CoroutineResult::Yield(()) => unreachable!("it never suspends"),
        }
    }

    #[track_caller]
    fn aborted_saying(output: &Output, expected: &[&str]) -> String {
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let line = stderr
            .lines()
            .find(|line| line.starts_with("openwork: "))
            .unwrap_or_else(|| panic!("no report in {output:?}"));
        for part in expected {
            assert!(line.contains(part), "{part:?} is missing in {line:?}");
        }
        line.to_owned()
    }

    fn an_overflow_is_named(test: &str, guard: GuardMode) {
        let path = |parent: u32| std::env::temp_dir().join(format!("openwork-{test}-{parent}"));
        let full_name = format!("stack::overflow::tests::{test}");
        if let Some(output) = child::run(&full_name) {
            let path = path(std::process::id());
            let line = aborted_saying(
                &output,
                &[
                    "openwork: routine 17 `mi?ner?` from ",
                    "overflow.rs:",
                    " overflowed its stack of 64 KiB (fault at 0x",
                ],
            );
            let file = std::fs::read_to_string(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            assert_eq!(file, format!("{line}\n"));
            return;
        }
        install(PRETENDED);
        report_to(File::create(path(std::os::unix::process::parent_id())).unwrap());
        let _altstack = AltStack::plain().unwrap();
        assert!(
            run_on(slot(guard, 64 << 10), 10) > 0,
            "a shallow one ends well"
        );
        run_on(slot(guard, 64 << 10), 1_000_000);
    }

    #[test]
    fn an_overflow_into_the_chosen_guard_is_named() {
        an_overflow_is_named(
            "an_overflow_into_the_chosen_guard_is_named",
            GuardMode::Auto,
        );
    }

    #[test]
    fn an_overflow_into_an_mprotect_guard_is_named() {
        an_overflow_is_named(
            "an_overflow_into_an_mprotect_guard_is_named",
            GuardMode::Mprotect,
        );
    }

    /// A guard page that is hit by a thread that runs elsewhere is a stray pointer, and blaming the
    /// routine that happens to run would send people on the wrong track.
    #[test]
    fn a_stray_pointer_into_a_guard_is_not_called_an_overflow() {
        let test = "stack::overflow::tests::a_stray_pointer_into_a_guard_is_not_called_an_overflow";
        if let Some(output) = child::run(test) {
            aborted_saying(
                &output,
                &[
                    "stray access",
                    "stack of 1 MiB",
                    "by routine 17, which runs on another stack",
                ],
            );
            return;
        }
        install(PRETENDED);
        let guard = slot(GuardMode::Auto, 1 << 20).low() - 8;
        // SAFETY: none: the fault is what is tested.
        unsafe { (guard as *mut u64).write_volatile(1) };
    }

    /// The standard library's own message for a thread's stack must survive our handler.
    #[test]
    fn a_thread_that_overflows_gets_the_message_it_would_get_without_us() {
        let test = "stack::overflow::tests::a_thread_that_overflows_gets_the_message_it_would_get_without_us";
        if let Some(output) = child::run(test) {
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(stderr.contains("has overflowed its stack"), "{output:?}");
            assert!(!stderr.contains("openwork:"), "{output:?}");
            assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
            return;
        }
        install(PRETENDED);
        recurse(std::hint::black_box(10_000_000));
    }

    #[test]
    fn a_bad_pointer_still_ends_in_sigsegv() {
        let test = "stack::overflow::tests::a_bad_pointer_still_ends_in_sigsegv";
        if let Some(output) = child::run(test) {
            assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{output:?}");
            assert!(!String::from_utf8_lossy(&output.stderr).contains("openwork:"));
            return;
        }
        install(PRETENDED);
        let _altstack = AltStack::plain().unwrap();
        // SAFETY: none: the fault is what is tested.
        unsafe { std::hint::black_box(16 as *mut u64).write_volatile(1) };
    }

    /// Memory of a stack that somebody took the rights from is no guard.
    #[test]
    fn a_fault_above_the_guard_is_not_called_an_overflow() {
        let test = "stack::overflow::tests::a_fault_above_the_guard_is_not_called_an_overflow";
        if let Some(output) = child::run(test) {
            assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{output:?}");
            assert!(!String::from_utf8_lossy(&output.stderr).contains("openwork:"));
            return;
        }
        install(PRETENDED);
        let _altstack = AltStack::plain().unwrap();
        let slot = slot(GuardMode::Auto, 64 << 10);
        // SAFETY: the slot is ours and carries no routine. The write faults, as it should.
        unsafe {
            libc::mprotect(slot.low() as *mut _, page_bytes(), libc::PROT_NONE);
            (slot.low() as *mut u64).write_volatile(1);
        }
    }

    /// Several routines overflow at once: one line, whole, and one abort.
    #[test]
    fn of_several_overflows_at_once_one_is_reported_whole() {
        let test = "stack::overflow::tests::of_several_overflows_at_once_one_is_reported_whole";
        if let Some(output) = child::run(test) {
            aborted_saying(&output, &["aborting"]);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(stderr.matches("openwork:").count(), 1, "{stderr}");
            return;
        }
        install(PRETENDED);
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    let _altstack = AltStack::plain().unwrap();
                    let slot = slot(GuardMode::Auto, 64 << 10);
                    start.wait();
                    run_on(slot, 1_000_000);
                });
            }
        });
    }

    #[test]
    fn a_report_too_long_is_cut_and_still_ends_its_line() {
        let mut report = Report::new();
        (0..300).for_each(|_| report.text("four"));
        assert_eq!(report.bytes().len(), REPORT_BYTES);
        assert!(report.bytes().ends_with(b"fou\n"));
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for n in [0, 1, 9, 10, 15, 16, 255, 4096, 0x7fff_1234_5678, usize::MAX] {
            let mut report = Report::new();
            report.decimal(n as u64);
            report.text(" ");
            report.hexadecimal(n);
            assert_eq!(report.bytes(), format!("{n} {n:#x}").as_bytes());
        }
        for (bytes, text) in [(32 << 10, "32 KiB"), (1 << 20, "1 MiB"), (1 << 30, "1 GiB")] {
            let mut report = Report::new();
            report.size(bytes);
            assert_eq!(report.bytes(), text.as_bytes());
        }
    }
}
