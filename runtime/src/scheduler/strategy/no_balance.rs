//! In a build without the feature `balance`, what stands for [`chosen`](super) and `rebalance`: fresh routines
//! start where they are spawned, and what is queued stays there until a thief comes. Configurations that ask for more
//! are refused.

use super::placement::{Newcomer, Start};
use crate::config::Placement;
use crate::routine::Header;
use crate::scheduler::Shared;

impl Shared {
    /// Not asked: no other placement is accepted.
    pub(super) fn place(&self, _: Placement, _: &Newcomer<'_>) -> Start {
        Start::Here
    }

    /// Nothing is learned.
    pub(crate) fn note_class(&self, _: &Header) {}

    /// Nobody's.
    pub(crate) fn custom_victim(&self, _thief: u32) -> Option<usize> {
        None
    }

    /// Nothing is compared.
    pub(crate) fn rebalance_tick(&self, _now_ns: u64) {}
}
