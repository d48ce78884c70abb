//! What stands for the poller where there are no sockets: nobody makes one.

use std::time::Duration;

use crate::snapshot::IoFigures;

/// There is none.
pub(crate) enum Poller {}

/// As [`Poller`].
pub(crate) enum Seat {}

impl Poller {
    pub(crate) fn has_sources(&self) -> bool {
        match *self {}
    }

    pub(crate) fn take_seat(&self) -> Option<Seat> {
        match *self {}
    }

    pub(crate) fn ring(&self) {
        match *self {}
    }

    pub(crate) fn close(&self) {
        match *self {}
    }

    pub(crate) fn figures(&self) -> IoFigures {
        match *self {}
    }
}

impl Seat {
    pub(crate) fn wait(&mut self, _: Option<Duration>) {
        match *self {}
    }

    pub(crate) fn serve(self) -> u64 {
        match self {}
    }
}
