//! Waiting for a socket while holding the thread: what plain threads do, and routines that panic.

use std::time::Duration;

use super::os::{self, AsSource};
use super::source::Direction;
use crate::scheduler::timers::NEVER;
use crate::time;

/// Waits until there may be something, or the deadline has passed: in nanoseconds since process
/// start. Returns whether it came in time.
#[cfg(not(portable))]
pub(crate) fn hold_for(socket: &impl AsSource, direction: Direction, deadline: u64) -> bool {
    let events = match direction {
        Direction::Read => libc::POLLIN | libc::POLLPRI | libc::POLLRDHUP,
        Direction::Write => libc::POLLOUT,
    };
    loop {
        let left = Duration::from_nanos(deadline.saturating_sub(time::now_ns()));
        let spec = libc::timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let timeout = match deadline {
            NEVER => std::ptr::null(),
            _ => &raw const spec,
        };
        let mut asked = libc::pollfd {
            fd: os::raw(socket),
            events,
            revents: 0,
        };
        // SAFETY: the kernel writes one `pollfd` and reads the time, both of this frame.
        let got = unsafe { libc::ppoll(&raw mut asked, 1, timeout, std::ptr::null()) };
        match got {
            1.. => return true,
            0 => return false,
            // A signal; or the kernel has no memory for the call, which a next one may find.
            _ if time::now_ns() >= deadline => return false,
            _ => {}
        }
    }
}

/// Waits until there may be something, or the deadline has passed: in nanoseconds since process
/// start. Returns whether it came in time.
#[cfg(portable)]
pub(crate) fn hold_for(socket: &impl AsSource, direction: Direction, deadline: u64) -> bool {
    loop {
        let left = Duration::from_nanos(deadline.saturating_sub(time::now_ns()));
        let timeout = (deadline != NEVER).then_some(left);
        match super::portable::wait_here(os::raw(socket), direction, timeout) {
            Ok(true) => return true,
            // Too early, or the system has nothing to wait with, which a next try may find.
            Ok(false) | Err(_) if time::now_ns() < deadline => {}
            Ok(false) | Err(_) => return false,
        }
    }
}
