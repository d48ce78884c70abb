//! epoll: three system calls, edge-triggered, one registration per socket for life.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::source::{Backend, Happened, Token};

/// Events taken at once; the rest comes with the next call.
const EVENTS_MAX: usize = 1024;

/// What is asked for. Hang-up and error need not be.
const INTEREST: i32 =
    libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLPRI | libc::EPOLLET;

const READABLE: i32 =
    libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
const WRITABLE: i32 = libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR;
const LASTING: i32 = libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;

/// See the module's text.
pub(crate) struct Epoll {
    epoll: OwnedFd,
    bell: Bell,
    /// The kernel has no `epoll_pwait2` (Linux 5.11): time-outs are rounded up to milliseconds.
    coarse: AtomicBool,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        let epoll = Epoll {
            // SAFETY: a fresh descriptor, which nobody else owns.
            epoll: unsafe { OwnedFd::from_raw_fd(fd) },
            bell: Bell::new()?,
            coarse: AtomicBool::new(false),
        };
        epoll.add(epoll.bell.fd(), libc::EPOLLIN | libc::EPOLLET, Token::BELL)?;
        Ok(epoll)
    }

    fn add(&self, fd: RawFd, interest: i32, token: Token) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest as u32,
            u64: token.0,
        };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: the kernel reads the event during the call.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) })?;
        Ok(())
    }

    /// Number of events; 0 also for a signal.
    fn wait_raw(
        &self,
        timeout: Option<Duration>,
        events: &mut [MaybeUninit<libc::epoll_event>; EVENTS_MAX],
    ) -> usize {
        let epoll = self.epoll.as_raw_fd();
        let first = events.as_mut_ptr().cast::<libc::epoll_event>();
        if let Some(timeout) = timeout
            && !timeout.is_zero()
            && !self.coarse.load(Relaxed)
        {
            let spec = libc::timespec {
                tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_nsec: timeout.subsec_nanos().into(),
            };
            // SAFETY: the kernel writes at most so many events to where there is room for them, and
            // reads the time; without a signal mask its size is not looked at.
            let got = unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    epoll,
                    first,
                    EVENTS_MAX,
                    &raw const spec,
                    std::ptr::null::<libc::sigset_t>(),
                    0,
                )
            };
            if got >= 0 {
                return got as usize;
            }
            if io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS) {
                return 0;
            }
            self.coarse.store(true, Relaxed);
        }
        let millis = timeout.map_or(-1, |timeout| {
            let up = timeout.as_nanos().div_ceil(1_000_000);
            i32::try_from(up).unwrap_or(i32::MAX)
        });
        // SAFETY: as above.
        let got = unsafe { libc::epoll_wait(epoll, first, EVENTS_MAX as i32, millis) };
        usize::try_from(got).unwrap_or(0)
    }
}

impl Backend for Epoll {
    fn watch(&self, fd: RawFd, token: Token) -> io::Result<()> {
        self.add(fd, INTEREST, token)
    }

    fn unwatch(&self, fd: RawFd, _token: Token) {
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: no event is needed to remove. It fails only if the descriptor is not watched.
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, std::ptr::null_mut()) };
    }

    fn wait(&self, timeout: Option<Duration>, each: &mut dyn FnMut(Token, Happened)) {
        let mut events = [const { MaybeUninit::uninit() }; EVENTS_MAX];
        let count = self.wait_raw(timeout, &mut events);
        for event in &events[..count] {
            // SAFETY: the kernel has written so many.
            let event = unsafe { event.assume_init_read() };
            let bits = event.events as i32;
            let what = Happened {
                readable: bits & READABLE != 0,
                writable: bits & WRITABLE != 0,
                lasting: bits & LASTING != 0,
            };
            each(Token(event.u64), what);
        }
    }

    fn ring(&self) {
        self.bell.ring();
    }

    fn descriptor(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

/// An eventfd that ends a wait.
pub(super) struct Bell(OwnedFd);

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        // SAFETY: no pointers.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: a fresh descriptor, which nobody else owns.
        Ok(Bell(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(super) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Every ring is an edge, so nobody reads the count. It is full after 2^64 of them.
    pub(super) fn ring(&self) {
        let one = 1u64;
        // SAFETY: the kernel reads eight bytes.
        unsafe { libc::write(self.fd(), (&raw const one).cast(), 8) };
    }
}

pub(super) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
