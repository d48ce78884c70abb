//! A stack that runs into its guard page is named before the process ends.
//!
//! The kernel delivers a fault in a guard page as SIGSEGV (SIGBUS on some machines) on the thread's
//! alternate stack. The handler finds out whether the address is a guard page of ours, writes one
//! line to standard error and to the file of [`report_to`], and aborts. Nothing else can be done: the
//! routine cannot go on, and ending it alone would skip the destructors of every frame on its stack.
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

/// Bytes of a worker thread's alternate stack: all signal handlers of the process run there, those
/// of profilers included, and with the widest vector registers the kernel's frame alone takes 11 KiB.
const ALTSTACK_BYTES: usize = 64 << 10;
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
    /// Lowest usable address of its stack, [`Slot::low`](super::Slot::low).
    pub(crate) stack_low: usize,
}

/// The routine that runs on the calling thread, `None` when none does. Called in the signal handler,
/// so it may only read what is async-signal-safe to read.
pub(crate) type WhoRuns = fn() -> Option<RoutineFacts>;

static WHO_RUNS: OnceLock<WhoRuns> = OnceLock::new();

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
pub(crate) fn install(who_runs: WhoRuns) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Both are cached on first use; the handler must not be the first.
        page_bytes();
        let _ = WHO_RUNS.set(who_runs);
        take_over(libc::SIGSEGV, &BEFORE_SEGV);
        take_over(libc::SIGBUS, &BEFORE_BUS);
    });
}

/// Also writes the report of a stack overflow to `file`, from its current position.
///
/// The file stays open until the process ends. Of several calls the last one counts.
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
    // `WHO_RUNS`, is set; 3 (thread): it may run on every thread, and uses only atomics, constants
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
            report_and_abort(address, &hit);
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

fn report_and_abort(address: usize, hit: &Hit) -> ! {
    if REPORTING.swap(true, Relaxed) {
        loop {
            // SAFETY: async-signal-safe; the other thread ends the process.
            unsafe { libc::pause() };
        }
    }
    let mut report = Report::new();
    let routine = WHO_RUNS.get().and_then(|who_runs| who_runs());
    write_report(&mut report, routine.as_ref(), address, hit);
    write_all(libc::STDERR_FILENO, report.bytes());
    let fd = REPORT_FD.load(Relaxed);
    if fd >= 0 {
        write_all(fd, report.bytes());
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

fn write_report(report: &mut Report, routine: Option<&RoutineFacts>, address: usize, hit: &Hit) {
    report.text("openwork: ");
    match routine {
        Some(routine) if routine.stack_low == hit.slot_start + page_bytes() => {
            report.text("routine ");
            report.decimal(routine.id);
            let name = routine.name.split(|&b| b == 0).next().unwrap_or_default();
            if !name.is_empty() {
                report.text(" `");
                report.line(name);
                report.text("`");
            }
            report.text(" from ");
            report.line(routine.site.file().as_bytes());
            report.text(":");
            report.decimal(u64::from(routine.site.line()));
            report.text(" overflowed its stack of ");
            report.size(hit.slot_bytes);
            report.text(" (fault at ");
            report.hexadecimal(address);
            report.text("); a larger one is had by Builder::stack_size; aborting\n");
        }
        // Not an overflow: this thread does not run on that stack.
        other => {
            report.text("stray access to the guard page of a stack of ");
            report.size(hit.slot_bytes);
            report.text(" (fault at ");
            report.hexadecimal(address);
            report.text(") by ");
            match other {
                Some(routine) => {
                    report.text("routine ");
                    report.decimal(routine.id);
                    report.text(", which runs on another stack");
                }
                None => report.text("a thread that runs no routine"),
            }
            report.text("; aborting\n");
        }
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

/// The alternate signal stack of one thread, in force until dropped. It cannot leave the thread: the
/// raw pointer keeps it from being `Send`, and that is meant so.
#[derive(Debug)]
#[must_use = "the alternate stack goes when this is dropped"]
pub(crate) struct ThreadAltStack {
    mapping: *mut libc::c_void,
    before: libc::stack_t,
}

/// Gives the calling thread an alternate signal stack of 64 KiB with a guard page below it, in place
/// of the small one that threads of the standard library have.
///
/// # Errors
///
/// The kernel has no memory for it; the thread keeps what it had.
pub(crate) fn thread_altstack() -> io::Result<ThreadAltStack> {
    let bytes = ALTSTACK_BYTES + page_bytes();
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let mapping = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
            -1,
            0,
        )
    };
    if mapping == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let ours = libc::stack_t {
        ss_sp: mapping.wrapping_byte_add(page_bytes()),
        ss_flags: 0,
        ss_size: ALTSTACK_BYTES,
    };
    let mut before = MaybeUninit::<libc::stack_t>::uninit();
    // SAFETY: the page is the lowest of the mapping just made, the rest of which is a stack that
    // stays mapped until `ThreadAltStack::drop` has taken it out of use; `before` is written by the
    // kernel on success.
    unsafe {
        if libc::mprotect(mapping, page_bytes(), libc::PROT_NONE) != 0
            || libc::sigaltstack(&ours, before.as_mut_ptr()) != 0
        {
            let error = io::Error::last_os_error();
            libc::munmap(mapping, bytes);
            return Err(error);
        }
        Ok(ThreadAltStack {
            mapping,
            before: before.assume_init(),
        })
    }
}

impl Drop for ThreadAltStack {
    fn drop(&mut self) {
        // SAFETY: `before` is what this thread had (the value cannot leave its thread). It was not
        // in use then or now: a handler does not run this. Only once the kernel has let go of ours
        // is it unmapped; if it has not, it stays.
        unsafe {
            if libc::sigaltstack(&self.before, ptr::null_mut()) == 0 {
                libc::munmap(self.mapping, ALTSTACK_BYTES + page_bytes());
            }
        }
    }
}
