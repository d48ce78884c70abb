//! Where homes cannot be made: the same face, of which nothing can be had.

use std::io;

use crate::homes::NoHomes;
use crate::thread_state::ThreadState;

/// Bytes of the stack of none.
pub(crate) const STACK_BYTES: usize = 0;

/// None can be had.
#[derive(Debug)]
pub(crate) enum Donor {}

/// Mounts nothing.
#[derive(Debug)]
pub(crate) struct Carrier;

/// Room for homes, and what bounds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) homes: u64,
    pub(crate) by: &'static str,
}

pub(crate) fn prepare() -> Result<(), NoHomes> {
    Err(NoHomes::Platform)
}

pub(crate) fn room() -> Room {
    Room {
        homes: 0,
        by: "the platform",
    }
}

pub(crate) fn credentials_changed() -> u64 {
    0
}

pub(crate) fn check_not_forked() {}

impl Donor {
    pub(crate) fn start() -> io::Result<Donor> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn base(&self) -> usize {
        match *self {}
    }

    pub(crate) fn state(&self) -> *const ThreadState {
        match *self {}
    }

    pub(crate) fn wake_to_end(&self) {
        match *self {}
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        match *self {}
    }
}

impl Carrier {
    pub(crate) fn enter() -> Carrier {
        Carrier
    }

    pub(crate) fn thread_id(&self) -> u32 {
        0
    }

    /// # Safety
    /// 1. None: there is no base that this could be called with.
    pub(crate) unsafe fn run_under<R>(&self, _: usize, f: impl FnOnce() -> R) -> R {
        f()
    }
}
