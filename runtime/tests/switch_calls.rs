//! A switch between routines makes no system call: a filter on the worker's thread ends the process at the first
//! one, while a million switches pass. In a process of its own.
//!
//! Not in portable builds, where a switch is two exchanges between threads.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(portable)))]

use std::process::Command;

use openwork::{Runtime, spawn, yield_now};

const MARK: &str = "OPENWORK_TEST_SWITCH_CALLS";
const SWITCHES: u32 = 1_000_000;

#[test]
fn plain_switches_make_no_system_call() {
    if std::env::var_os(MARK).is_some() {
        without_calls();
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "plain_switches_make_no_system_call",
            "--nocapture",
        ])
        .env(MARK, "1")
        .status()
        .unwrap();
    assert_eq!(
        status.code(),
        Some(42),
        "{status}: a signal says which call was refused"
    );
}

fn without_calls() -> ! {
    let rt = Runtime::builder().workers(1).build().unwrap();
    rt.block_on(|| {
        let other = spawn(|| {
            loop {
                yield_now();
            }
        });
        for _ in 0..1000 {
            yield_now();
        }
        refuse_calls();
        for _ in 0..SWITCHES {
            yield_now();
        }
        // SAFETY: ends the process, and is what the filter lets through.
        unsafe { libc::syscall(libc::SYS_exit_group, 42) };
        drop(other);
    });
    unreachable!("the process has ended");
}

/// From now on this thread may end the process, and do nothing else.
fn refuse_calls() {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(LOAD_NUMBER, 0, 0, 0),
        step(IF_EQUAL, 0, 1, libc::SYS_exit_group as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
    ];
    let program = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the program is on this frame, and the kernel copies it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let filter = libc::SECCOMP_MODE_FILTER;
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, filter, &raw const program),
            0
        );
    }
}
