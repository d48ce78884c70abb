//! What the kernel says of another thread of this process: how much processor time it has used, whether
//! it sleeps, and in which system call.
//!
//! Called by the monitor, while threads may be frozen that hold the allocator's lock or that of a
//! stream. So nothing here allocates, frees or locks: paths and answers lie on the stack, and files are
//! opened, read and closed by bare system calls.
//!
//! The processor clock is the filter, at 0.7 us: a thread whose clock stands still is either asleep or
//! waits for a processor. `/proc` tells the two apart, at ten times the price.

use std::ffi::CStr;
use std::time::Duration;

use crate::snapshot::SystemCall;

/// What a thread does, as the kernel's scheduler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadState {
    /// It runs, or waits for a processor.
    Runnable,
    /// It waits for something, interruptibly or not.
    Asleep,
    /// It is stopped, traced or dying: nobody's to judge.
    Apart,
}

/// The clock that counts the CPU time of the thread `tid` of this process, as the kernel numbers
/// them: the thread's number inverted, the bit for "of a thread", and the kind that the scheduler
/// counts.
pub(crate) fn thread_clock(tid: i32) -> libc::clockid_t {
    const OF_A_THREAD: i32 = 4;
    const SCHEDULER: i32 = 2;
    (!tid << 3) | OF_A_THREAD | SCHEDULER
}

/// CPU time that the thread has used, in nanoseconds; `None` if it has ended.
pub(crate) fn cpu_ns(tid: i32) -> Option<u64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is on this frame; an unknown clock is an error, not undefined.
    let known = unsafe { libc::clock_gettime(thread_clock(tid), &mut time) } == 0;
    known.then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// As [`cpu_ns`].
pub(crate) fn cpu_time(tid: i32) -> Option<Duration> {
    cpu_ns(tid).map(Duration::from_nanos)
}

/// What the thread does; `None` if it has ended or `/proc` is not there.
pub(crate) fn thread_state(tid: i32) -> Option<ThreadState> {
    let mut buffer = [0; 512];
    let text = read(tid, b"/stat\0", &mut buffer)?;
    // "number (name) letter ..": the name may hold anything, brackets too.
    let name_end = text.iter().rposition(|&byte| byte == b')')?;
    Some(match *text.get(name_end + 2)? {
        b'R' => ThreadState::Runnable,
        b'S' | b'D' | b'I' => ThreadState::Asleep,
        _ => ThreadState::Apart,
    })
}

/// Whether the kernel tells what threads do.
pub(crate) fn tells_states() -> bool {
    thread_state(crate::thread_state::system_number()).is_some()
}

/// The system call in which the thread sleeps; `None` if it is in none, has ended, or `/proc` does not
/// say.
pub(crate) fn system_call(tid: i32) -> Option<SystemCall> {
    let mut buffer = [0; 512];
    parse_call(read(tid, b"/syscall\0", &mut buffer)?)
}

/// "number argument ..*6 stack-pointer program-counter" in decimal and hexadecimal, "running", or "-1 .." for a
/// thread that sleeps outside of calls.
fn parse_call(text: &[u8]) -> Option<SystemCall> {
    let mut words = text.split(|byte| byte.is_ascii_whitespace());
    let number = number(words.next()?, 10)?;
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = self::number(words.next()?.strip_prefix(b"0x")?, 16)?;
    }
    Some(SystemCall {
        number: u32::try_from(number).ok()?,
        arguments,
    })
}

fn number(digits: &[u8], base: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, &digit| {
        let digit = char::from(digit).to_digit(base)?;
        sum.checked_mul(base.into())?.checked_add(digit.into())
    })
}

/// The beginning of `/proc/self/task/TID` + `file`, which ends in a zero byte.
fn read<'a>(tid: i32, file: &[u8], buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut path = [0u8; 48];
    let path = task_path(u32::try_from(tid).ok()?, file, &mut path);
    // SAFETY: the path ends in a zero byte; the call touches nothing else of ours.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if fd < 0 {
        return None;
    }
    // SAFETY: the buffer is ours for its whole length; the descriptor was opened above and is closed
    // once.
    let read = unsafe {
        let read = libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len());
        libc::close(fd);
        read
    };
    let read = usize::try_from(read).ok().filter(|&read| read > 0)?;
    buffer.get(..read)
}

fn task_path<'a>(tid: u32, file: &[u8], path: &'a mut [u8; 48]) -> &'a CStr {
    let mut len = 0;
    let mut push = |bytes: &[u8]| {
        path[len..len + bytes.len()].copy_from_slice(bytes);
        len += bytes.len();
    };
    push(b"/proc/self/task/");
    let mut digits = [0u8; 10];
    let mut first = digits.len();
    let mut rest = tid;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    push(&digits[first..]);
    push(file);
    CStr::from_bytes_until_nul(path).expect("every file's name ends in a zero byte")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn my_tid() -> i32 {
        // SAFETY: no arguments, no failure.
        unsafe { libc::gettid() }
    }

    /// Waits until `so`, for as long as a loaded machine may need.
    fn until(what: &str, so: impl Fn() -> bool) {
        let began = std::time::Instant::now();
        while !so() {
            assert!(began.elapsed().as_secs() < 60, "still not so: {what}");
            thread::yield_now();
        }
    }

    #[test]
    fn a_sleeper_is_seen_in_its_call_and_its_clock_stands_still() {
        let (tid_tx, tid_rx) = mpsc::channel();
        let (go_tx, go_rx) = mpsc::channel::<()>();
        let sleeper = thread::spawn(move || {
            tid_tx.send(my_tid()).unwrap();
            go_rx.recv().unwrap_err();
        });
        let tid = tid_rx.recv().unwrap();
        until("it sleeps", || {
            thread_state(tid) == Some(ThreadState::Asleep)
        });
        // It says that it sleeps a moment before it does.
        until("its clock stands still and its call is known", || {
            let before = cpu_ns(tid).unwrap();
            let call = system_call(tid);
            let is_futex = call.is_some_and(|call| call.name() == Some("futex"));
            is_futex && cpu_ns(tid) == Some(before)
        });
        let call = system_call(tid).unwrap();
        assert_ne!(call.arguments[0], 0, "the word's address");
        drop(go_tx);
        sleeper.join().unwrap();
        // The kernel may need a moment after the join.
        until("it is gone", || cpu_ns(tid).is_none());
        assert_eq!(thread_state(tid), None);
        assert_eq!(system_call(tid), None);
    }

    #[test]
    fn a_loop_is_runnable_and_its_clock_runs() {
        let (tid_tx, tid_rx) = mpsc::channel();
        let stop = AtomicBool::new(false);
        thread::scope(|threads| {
            threads.spawn(|| {
                tid_tx.send(my_tid()).unwrap();
                while !stop.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let tid = tid_rx.recv().unwrap();
            until("it runs, or waits for a processor", || {
                thread_state(tid) == Some(ThreadState::Runnable)
            });
            let before = cpu_ns(tid).unwrap();
            until("its clock runs", || cpu_ns(tid).unwrap() > before);
            stop.store(true, Relaxed);
        });
    }

    #[test]
    fn a_name_with_brackets_does_not_hide_the_state() {
        let (tid_tx, tid_rx) = mpsc::channel();
        let (go_tx, go_rx) = mpsc::channel::<()>();
        let named = thread::Builder::new().name("a) R (b".into());
        let sleeper = named
            .spawn(move || {
                tid_tx.send(my_tid()).unwrap();
                go_rx.recv().unwrap_err();
            })
            .unwrap();
        let tid = tid_rx.recv().unwrap();
        until("it sleeps", || {
            thread_state(tid) == Some(ThreadState::Asleep)
        });
        drop(go_tx);
        sleeper.join().unwrap();
    }

    #[test]
    fn what_is_no_call_is_none() {
        for text in [
            "running\n",
            "-1 0x7ffe 0x1\n",
            "",
            "12",
            "12 0x1 0x2 0x3 0x4 0x5",
            "x 0x1",
        ] {
            assert_eq!(parse_call(text.as_bytes()), None, "{text:?}");
        }
        let call = parse_call(b"202 0x55aa 0x80 0x0 0x0 0x0 0xffffffffffffffff 0x7ffe 0x7f00\n");
        let call = call.unwrap();
        assert_eq!(call.number, 202);
        assert_eq!(call.arguments, [0x55aa, 0x80, 0, 0, 0, u64::MAX]);
    }

    #[test]
    fn the_longest_path_fits() {
        let mut path = [0; 48];
        let path = task_path(u32::MAX, b"/syscall\0", &mut path);
        assert_eq!(path.to_str(), Ok("/proc/self/task/4294967295/syscall"));
        let mut path = [0; 48];
        let path = task_path(0, b"/stat\0", &mut path);
        assert_eq!(path.to_str(), Ok("/proc/self/task/0/stat"));
    }
}
