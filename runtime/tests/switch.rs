//! What a switch between routines costs the kernel, and what it leaves alone: no system call, no change of
//! the signal mask, and whatever a routine keeps in floating-point and vector registers.

#![cfg(not(feature = "portable"))]

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use openwork::{Runtime, spawn, time, yield_now};

/// Switches of the two routines together.
const SWITCHES: u64 = 1_000_000;

/// The system calls that the thread has made while it ran `f`: from within, a filter of the kernel's lets
/// none through but the one that ends the process.
///
/// In a process of its own, whose exit status tells.
fn allow_no_system_call() {
    // Of the calls' description: the number is its first word.
    const NUMBER: u32 = 0;
    let load = libc::sock_filter {
        code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
        jt: 0,
        jf: 0,
        k: NUMBER,
    };
    let is_exit = libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 1,
        jf: 0,
        k: libc::SYS_exit_group as u32,
    };
    let answer = |k: u32| libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let mut filter = [
        load,
        is_exit,
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: reads `program`; binds the calling thread alone.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &program), 0);
    }
}

#[test]
fn a_million_switches_make_no_system_call() {
    const MARK: &str = "OPENWORK_TEST_SWITCHES";
    const DONE: i32 = 42;
    if std::env::var_os(MARK).is_none() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let child = child.args(["--exact", "a_million_switches_make_no_system_call"]);
        let output = child.env(MARK, "1").output().unwrap();
        assert_eq!(output.status.code(), Some(DONE), "{output:?}");
        return;
    }
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let turns = |count: u64| {
        for _ in 0..count {
            yield_now();
        }
    };
    runtime.block_on(|| {
        // Both are started before the filter is there: memory for stacks comes by system calls.
        let others_turns = Arc::new(AtomicU64::new(0));
        let counted = others_turns.clone();
        let _other = spawn(move || {
            loop {
                counted.fetch_add(1, Relaxed);
                yield_now();
            }
        });
        turns(100);
        allow_no_system_call();
        let before = others_turns.load(Relaxed);
        turns(SWITCHES / 2);
        // Not a yield that finds nobody: those make no switch.
        let switched = others_turns.load(Relaxed) - before >= SWITCHES / 4;
        // SAFETY: ends the process; a test that panics would have another status, and one that a signal
        // ends has none.
        unsafe { libc::_exit(if switched { DONE } else { 1 }) };
    });
}

fn signal_mask() -> Vec<bool> {
    let mut mask = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: writes the present mask to `mask`, which is read after success.
    let mask = unsafe {
        let asked = libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr());
        assert_eq!(asked, 0);
        mask.assume_init()
    };
    // SAFETY: a set that the system has filled in, and numbers of signals.
    (1..=64)
        .map(|signal| unsafe { libc::sigismember(&mask, signal) } == 1)
        .collect()
}

/// The mask is the thread's: a routine finds it as the thread began with it, and as it was, before and after
/// each kind of switch.
#[test]
fn the_signal_mask_is_the_same_before_and_after() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let masks = runtime.block_on(|| {
        let mut masks = vec![signal_mask()];
        yield_now();
        masks.push(signal_mask());
        time::sleep(Duration::from_millis(1));
        masks.push(signal_mask());
        masks.push(spawn(signal_mask).join().unwrap());
        masks.push(signal_mask());
        masks
    });
    assert!(masks.iter().all(|mask| *mask == masks[0]), "{masks:?}");
}

/// Sums in vector registers, with a switch in the middle of each: routines on one thread do not meet in
/// them.
#[test]
fn vectors_survive_a_switch() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    runtime.block_on(|| {
        let routines: Vec<_> = (1..=8)
            .map(|seed| {
                spawn(move || {
                    let mut lanes: [f64; 16] = std::array::from_fn(|lane| (seed * lane) as f64);
                    for round in 0..10_000 {
                        for lane in &mut lanes {
                            *lane = lane.mul_add(0.5, black_box(seed as f64));
                        }
                        if round % 3 == 0 {
                            yield_now();
                        }
                    }
                    // The limit of x/2 + seed.
                    lanes
                        .iter()
                        .all(|lane| (lane - 2.0 * seed as f64).abs() < 1e-9)
                })
            })
            .collect();
        for routine in routines {
            assert!(routine.join().unwrap());
        }
    });
}

/// Rounding and masked exceptions of the floating-point unit: the ABI says that a call leaves them as they
/// are, and a switch looks like one. (A routine must not change them: Rust assumes them as they are at the
/// start, and they are the thread's. See `docs/hazards.md`.)
#[cfg(target_arch = "x86_64")]
#[test]
fn control_words_are_the_same_before_and_after() {
    fn words() -> (u32, u16) {
        const STICKY_FLAGS: u32 = 0x3f;
        let (mut vector, mut legacy) = (0u32, 0u16);
        // SAFETY: stores two registers to variables of this frame.
        unsafe {
            std::arch::asm!(
                "stmxcsr [{}]", "fnstcw [{}]",
                in(reg) &mut vector, in(reg) &mut legacy,
                options(nostack, preserves_flags)
            );
        }
        (vector & !STICKY_FLAGS, legacy)
    }
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let found = runtime.block_on(|| {
        let mut found = vec![words()];
        let others: Vec<_> = (0..4).map(|_| spawn(words)).collect();
        yield_now();
        found.push(words());
        time::sleep(Duration::from_millis(1));
        found.push(words());
        found.extend(others.into_iter().map(|other| other.join().unwrap()));
        found
    });
    // All exceptions masked, rounding to nearest; extended precision on the older unit.
    assert!(
        found.iter().all(|words| *words == (0x1f80, 0x037f)),
        "{found:x?}"
    );
}
