//! Looking at stacks from outside: how deep they are, what memory they hold, and taking back what they do
//! not need.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use crate::id::RoutineId;
use crate::profile::{NoStack, unclaimed};
use crate::routine::chain::Extent;
use crate::scheduler::Shared;
use crate::scheduler::walk::InspectGuard;
use crate::snapshot::{ResidencySample, SiteResidency, StackDetail, StackDetailPart, StackSite};
use crate::stack::{self, residency};
use crate::time;

/// One of the stacks of a routine that is held inspected.
#[derive(Clone, Copy)]
struct HeldStack {
    low: usize,
    /// End of its frames.
    base: usize,
    /// Stack pointer of the frame that left it.
    sp: usize,
}

impl HeldStack {
    fn resident_bytes(self) -> Option<usize> {
        residency::resident_bytes(self.low, self.base)
    }

    fn detail(self) -> StackDetailPart {
        let (start, end) = stack::slot_of(self.low).unwrap_or((self.low, self.base));
        StackDetailPart {
            slot_bytes: (end - start) as u64,
            depth_bytes: (end - self.sp) as u64,
            guard_distance_bytes: (self.sp - self.low) as u64,
            resident_bytes: self.resident_bytes().map(|bytes| bytes as u64),
        }
    }
}

impl InspectGuard {
    /// The routine's stacks: the one it blocked on, and those it left before, its own last. None where
    /// stacks cannot be looked at.
    fn stacks(&self) -> impl Iterator<Item = HeldStack> {
        let first = self.facts.map(|facts| (facts.extent, facts.saved_sp));
        let next = |&(at, _): &(Extent, usize)| {
            // SAFETY: 1: the routine is held inspected.
            unsafe { at.before() }
        };
        let all = std::iter::successors(first, next);
        all.map(|(at, sp)| HeldStack {
            low: at.low,
            base: at.base,
            sp,
        })
    }

    /// Memory of all its stacks; `None` where the system does not tell.
    fn resident_bytes(&self) -> Option<usize> {
        self.facts?;
        self.stacks().map(HeldStack::resident_bytes).sum()
    }
}

impl Shared {
    /// How deep stacks were, by spawn site, and how many depths found no room.
    pub(crate) fn stack_sites(&self) -> (Vec<StackSite>, u64) {
        let mut all = Vec::new();
        let mut lost = 0;
        for worker in &self.workers {
            worker.stats.sites.add_to(&mut all);
            lost += worker.stats.sites.lost();
        }
        (all, lost)
    }

    /// Counts the resident pages of up to `max` stacks.
    pub(crate) fn sample_residency(&self, max: usize) -> Option<ResidencySample> {
        let mut sample = ResidencySample {
            routines: 0,
            sampled: 0,
            resident_bytes: 0,
        };
        self.each_residency(max, &mut |_, bytes| {
            sample.routines += 1;
            if let Some(bytes) = bytes {
                sample.sampled += 1;
                sample.resident_bytes += bytes;
            }
        })
        .then_some(sample)
    }

    /// The same by spawn site.
    pub(crate) fn sample_site_residency(&self, max: usize) -> Option<Vec<SiteResidency>> {
        let mut by_site: HashMap<&'static Location<'static>, SiteResidency> = HashMap::new();
        self.each_residency(max, &mut |site, bytes| {
            let of_site = by_site.entry(site).or_insert(SiteResidency {
                site,
                routines: 0,
                sampled: 0,
                resident_bytes: 0,
            });
            of_site.routines += 1;
            if let Some(bytes) = bytes {
                of_site.sampled += 1;
                of_site.resident_bytes += bytes;
            }
        })
        .then(|| by_site.into_values().collect())
    }

    /// Calls `visit` for each routine that has a stack with where it was spawned and, of the first `max` of
    /// them that are blocked, the resident bytes. Returns whether the system tells.
    fn each_residency(
        &self,
        max: usize,
        visit: &mut dyn FnMut(&'static Location<'static>, Option<u64>),
    ) -> bool {
        let mut sampled = 0;
        let mut tells = true;
        self.slabs.for_each(|header| {
            if header.id.load(Relaxed) == 0 || header.stack.load(Relaxed).is_null() {
                return;
            }
            let site = header.site();
            let mut bytes = None;
            if sampled < max
                && tells
                && let Some(guard) = InspectGuard::take(header)
            {
                bytes = guard.resident_bytes();
                tells = bytes.is_some();
                sampled += 1;
            }
            visit(site, bytes.map(|bytes| bytes as u64));
        });
        tells
    }

    /// Gives back the pages below the stack pointer of up to `max` routines that have been blocked
    /// for longer than `parked_for`, once in a wait. Returns how many stacks were trimmed.
    pub(crate) fn trim_parked(&self, parked_for: Duration, max: usize) -> usize {
        let before = time::now_ns().saturating_sub(parked_for.as_nanos() as u64);
        let mut trimmed = 0;
        self.slabs.for_each(|header| {
            if trimmed >= max || header.is_trimmed() || header.state_since() > before {
                return;
            }
            let Some(guard) = InspectGuard::take(header) else {
                return;
            };
            if guard.facts.is_none() {
                return;
            }
            let mut bytes = 0;
            for stack in guard.stacks() {
                // SAFETY: 1: the routine is held inspected, so nobody uses its stacks below the frames
                // in which it left them; 2: they are its own meanwhile; 3: `sp` lies in such a frame.
                bytes += unsafe { residency::trim(stack.low, stack.sp) };
            }
            if bytes > 0 {
                self.arena.note_shrunk(bytes);
            }
            header.set_trimmed(true);
            trimmed += 1;
        });
        trimmed
    }

    /// The stacks of one routine.
    pub(crate) fn stack_detail(&self, id: RoutineId) -> Result<StackDetail, NoStack> {
        let mut found = Err(NoStack::Ended);
        self.slabs.for_each(|header| {
            // Acquire pairs with the release store in `Header::init`.
            if header.id.load(Acquire) != id.get() {
                return;
            }
            found = match InspectGuard::take(header) {
                Some(guard) if guard.facts.is_none() => Err(NoStack::Elsewhere),
                Some(guard) => {
                    let parts: Vec<_> = guard.stacks().collect();
                    let parts = parts.into_iter().rev().map(HeldStack::detail).collect();
                    Ok(StackDetail { routine: id, parts })
                }
                None => Err(header
                    .view()
                    .and_then(|view| unclaimed(&view))
                    .unwrap_or(NoStack::Ended)),
            };
        });
        found
    }
}
