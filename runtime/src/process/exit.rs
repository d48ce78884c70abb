//! Waiting for a child's end without taking it out of the process table.

use std::io;
#[cfg(unix)]
use std::mem::MaybeUninit;
#[cfg(target_os = "linux")]
use std::os::fd::FromRawFd;
#[cfg(unix)]
use std::os::fd::OwnedFd;

/// What can be read from when a process has ended.
#[cfg(unix)]
pub(super) type Exit = OwnedFd;
/// There is none.
#[cfg(windows)]
pub(super) type Exit = std::os::windows::io::OwnedSocket;

/// A descriptor that can be read from when the process has ended; of kind
/// [`Unsupported`](io::ErrorKind::Unsupported) before Linux 5.3.
///
/// `pid` must be a child that was not waited for, or it may be another process's by now.
#[cfg(target_os = "linux")]
pub(super) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call reads two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made it, close-on-exec, for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// There are none.
#[cfg(not(target_os = "linux"))]
pub(super) fn pidfd(_: u32) -> io::Result<Exit> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Waits on this thread until the child has ended, and leaves it in the process table. Also returns when it
/// is no child any more.
#[cfg(unix)]
pub(super) fn wait_here(pid: u32) {
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::uninit();
        let flags = libc::WEXITED | libc::WNOWAIT;
        // SAFETY: the kernel writes to `info`, which lives through the call and is not read.
        let result =
            unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, info.as_mut_ptr(), flags) };
        let interrupted =
            result != 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
        if !interrupted {
            return;
        }
    }
}
