//! A routine as it travels through queues: one block of 192 bytes, three cache lines.
//!
//! The block holds the header below and, behind it, the closure or future (or a box of it, when it
//! is large) and later its result. Blocks come from [`slab`]: they are never given back to the
//! allocator while their runtime lives, so the slabs are at the same time the registry of all
//! routines, and a walker may read any block at any time. What a walker reads is therefore atomic;
//! a block whose `id` changed while it was read was recycled, and the reading is dropped.
//!
//! **Who may touch what.** `next` and the body belong to whoever owns the routine (see
//! [`life`]); `joiner` belongs to the side that [`join`](crate::join)'s protocol says. The block
//! itself lives as long as somebody holds a reference: the scheduler holds one until the routine
//! has ended, each handle and each waker holds one.

pub(crate) mod body;
#[cfg_attr(
    portable,
    allow(dead_code, reason = "a thread's stack has no segments")
)]
pub(crate) mod chain;
pub(crate) mod context;
pub(crate) mod extra;
pub(crate) mod life;
pub(crate) mod slab;
pub(crate) mod waker;

use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, fence};
use std::task::Waker;

use crate::id::{ObjectId, RoutineId, WorkerId, WorkloadId};
use crate::join::JoinState;
use crate::prefetch::{CACHE_LINE, prefetch};
use crate::primitives::{self, Place};
use crate::priority::Priority;
use crate::routine::context::StackPart;
use crate::routine::extra::{Extra, Published, Segments};
use crate::routine::life::Life;
use crate::scheduler::Shared;
use crate::scheduler::idle::WORKERS_MAX;
use crate::scheduler::strategy::class::{Deed, Habit};
use crate::scheduler::worker;
use crate::snapshot::{
    RoutineClass, RoutineKind, RoutineState, RoutineView, Source, StackView, WaitReason,
};
use crate::stack::StackClass;
use crate::workload::{Workload, WorkloadInner};

/// Bytes of a block that hold the body or the result.
pub(crate) const BODY_BYTES: usize = 48;

/// No worker, no home.
pub(crate) const NOBODY: u32 = u32::MAX;

/// In [`Header::last_worker`]: it has not run.
const NO_WORKER: u16 = u16::MAX;
const _: () = assert!(WORKERS_MAX < NO_WORKER as usize);

/// In [`Header::home`]: the routine was refused a stack because of the limit.
const OVER_LIMIT: u32 = u32::MAX - 1;
/// In [`Header::home`]: the routine was refused a stack by the system.
const REFUSED_BY_SYSTEM: u32 = u32::MAX - 2;

/// Parts of [`Header::kind`].
const KIND: u8 = 0b1;
const PRIORITY_SHIFT: u32 = 1;
const PRIORITY: u8 = 0b11 << PRIORITY_SHIFT;
const KEYED: u8 = 0b1000;
const CONTAINED: u8 = 0b1_0000;
/// Its [`Extra`] has its name.
const NAMED: u8 = 0b10_0000;
/// It ran on several workers, and its [`Extra`] says which.
const ROAMED: u8 = 0b100_0000;

/// The block of one routine; see the module's text.
#[repr(C, align(64))]
pub(crate) struct Header {
    pub(crate) life: Life,
    /// Link of whichever list holds the routine.
    pub(crate) next: primitives::AtomicPtr<Header>,
    /// 0 while the block is free.
    pub(crate) id: AtomicU64,
    /// The home the routine is bound to, [`NOBODY`] before its first turn and between turns.
    pub(crate) home: AtomicU32,
    pub(crate) join: JoinState,
    source: AtomicU8,
    /// How it is run, its priority, whether a key brings it to a worker, and whether an overflow is contained.
    kind: AtomicU8,
    pub(crate) class: AtomicU8,
    last_worker: AtomicU16,
    /// What it has done of late: see [`class`](crate::scheduler::strategy::class).
    habit: AtomicU16,
    moves: AtomicU16,
    pub(crate) outcome: AtomicU8,
    /// Whether the unused pages of its stack were given back since its last turn.
    trimmed: AtomicBool,
    pub(crate) vtable: Cell<Option<&'static body::VTable>>,
    /// What the routine has only while it has a stack, at the top of that stack; null otherwise.
    pub(crate) stack: AtomicPtr<StackPart>,
    /// Bytes deep at the last suspension and at the deepest one; 0 before the first.
    pub(crate) depth: AtomicU32,
    pub(crate) high_water: AtomicU32,
    /// A strong reference, or null. Lives until the block is freed.
    pub(crate) workload: AtomicPtr<WorkloadInner>,
    /// Its number, for walkers, who may not follow the pointer; 0 for none.
    workload_id: AtomicU64,
    site: AtomicPtr<Location<'static>>,
    spawned_at: AtomicU64,
    state_since: AtomicU64,
    parent: AtomicU64,
    /// See [`extra`].
    extra: AtomicPtr<Extra>,
    pub(crate) joiner: Place<Waker>,
    pub(crate) body: UnsafeCell<MaybeUninit<[u64; BODY_BYTES / 8]>>,
}

const _: () = assert!(cfg!(loom) || size_of::<Header>() == 192);

// SAFETY: the fields that are not atomic are `vtable`, `joiner` and `body`. `vtable` is written
// before the routine is published and not afterwards; `joiner` and `body` are touched only by the
// side that the join protocol and the life's ownership name. Bodies are `Send`: the spawning
// functions demand it, except of a started body, which stays on its home's thread.
unsafe impl Sync for Header {}
// SAFETY: as for `Sync`.
unsafe impl Send for Header {}

/// An unowned pointer to a block. Whoever holds one in a queue owns the routine as [`life`] says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoutineRef(NonNull<Header>);

// SAFETY: it is an address; what may be done with it is argued where it is done.
unsafe impl Send for RoutineRef {}
// SAFETY: as for `Send`.
unsafe impl Sync for RoutineRef {}

impl RoutineRef {
    /// # Safety
    /// 1. Alive: `ptr` is a block of a runtime's slabs, and the slabs outlive every use.
    pub(crate) unsafe fn from_ptr(ptr: *mut Header) -> RoutineRef {
        // SAFETY: 1 by the caller; a block is never at address 0.
        RoutineRef(unsafe { NonNull::new_unchecked(ptr) })
    }

    pub(crate) fn as_ptr(self) -> *mut Header {
        self.0.as_ptr()
    }

    pub(crate) fn as_non_null(self) -> NonNull<Header> {
        self.0
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: blocks stay mapped and initialised as long as their runtime's slabs, and whoever
        // holds a `RoutineRef` keeps the slabs alive: by a reference count on a block, or by
        // holding the `Shared` itself.
        unsafe { self.0.as_ref() }
    }

    /// The runtime that the block belongs to.
    pub(crate) fn shared(&self) -> &Shared {
        // SAFETY: `self` is a block of slabs that are alive (see `header`), and live slabs keep
        // their `Shared` alive.
        unsafe { slab::shared_of(self.as_ptr()) }
    }

    /// Asks the processor for the block.
    pub(crate) fn prefetch(self) {
        for line in (0..size_of::<Header>()).step_by(CACHE_LINE) {
            prefetch(self.as_ptr().cast::<u8>().wrapping_add(line));
        }
    }

    /// One more reference to the block.
    pub(crate) fn retain(self) {
        self.header().life.refs.fetch_add(1, Relaxed);
    }

    /// One reference less; the last one frees the block.
    pub(crate) fn release(self) {
        // Release pairs with the acquire fence below: what other holders did to the block comes
        // before its reuse.
        if self.header().life.refs.fetch_sub(1, Release) == 1 {
            fence(Acquire);
            slab::free(self);
        }
    }
}

/// A reference to a block that gives itself back.
pub(crate) struct Held(RoutineRef);

impl Held {
    /// Of a routine that the caller has or holds.
    pub(crate) fn new(routine: RoutineRef) -> Held {
        routine.retain();
        Held(routine)
    }

    /// For a bystander: `None` if the block is not the routine `id`'s any more.
    pub(crate) fn take(header: &Header, id: u64) -> Option<Held> {
        header.retain_if_live(id).map(Held)
    }

    pub(crate) fn routine(&self) -> RoutineRef {
        self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// What a spawn says of the routine.
pub(crate) struct Birth<'a> {
    pub(crate) id: u64,
    pub(crate) name: &'a str,
    pub(crate) site: &'static Location<'static>,
    pub(crate) kind: RoutineKind,
    pub(crate) priority: Priority,
    /// A key says where it starts.
    pub(crate) keyed: bool,
    /// See [`Builder::contain_overflow`](crate::Builder::contain_overflow).
    pub(crate) contained: bool,
    pub(crate) class: StackClass,
    pub(crate) parent: u64,
    pub(crate) workload: Option<Workload>,
    pub(crate) now: u64,
    pub(crate) vtable: &'static body::VTable,
    pub(crate) refs: u32,
}

impl Header {
    /// Fills in a free block that only the caller knows. `id` comes last: it makes the block
    /// visible to walkers.
    pub(crate) fn init(&self, birth: Birth<'_>) {
        // Release fence: a walker that reads one of the fields below also sees the 0 that `clear`
        // left in `id`; partner is the fence in `view`.
        fence(Release);
        self.life.reset();
        self.home.store(NOBODY, Relaxed);
        self.join.reset();
        self.source.store(Source::Local as u8, Relaxed);
        let keyed = if birth.keyed { KEYED } else { 0 };
        let contained = if birth.contained { CONTAINED } else { 0 };
        let priority = (birth.priority as u8) << PRIORITY_SHIFT;
        let kind = birth.kind as u8 | priority | keyed | contained;
        self.kind.store(kind, Relaxed);
        self.class.store(birth.class.raw(), Relaxed);
        self.last_worker.store(NO_WORKER, Relaxed);
        self.moves.store(0, Relaxed);
        self.habit.store(0, Relaxed);
        self.outcome.store(body::PENDING, Relaxed);
        self.trimmed.store(false, Relaxed);
        self.vtable.set(Some(birth.vtable));
        self.stack.store(std::ptr::null_mut(), Relaxed);
        self.depth.store(0, Relaxed);
        self.high_water.store(0, Relaxed);
        let workload_id = birth.workload.as_ref().map_or(0, |w| w.id().get());
        self.workload_id.store(workload_id, Relaxed);
        let workload = match birth.workload {
            Some(workload) => Arc::into_raw(workload.inner).cast_mut(),
            None => std::ptr::null_mut(),
        };
        self.workload.store(workload, Relaxed);
        self.site
            .store(std::ptr::from_ref(birth.site).cast_mut(), Relaxed);
        if !birth.name.is_empty() {
            self.set_name(birth.name);
        }
        self.spawned_at.store(birth.now, Relaxed);
        self.state_since.store(birth.now, Relaxed);
        self.parent.store(birth.parent, Relaxed);
        // Release pairs with the acquire load in `view`: who sees the id sees the fields above.
        self.id.store(birth.id, Release);
        // Release pairs with the acquire exchange in `retain_if_live`: whoever gets a reference sees
        // this id and not that of the block's routine before.
        self.life.refs.store(birth.refs, Release);
    }

    /// Ends the block's use. Called by the slab with the last reference gone.
    pub(crate) fn clear(&self) {
        self.id.store(0, Release);
        let workload = self.workload.swap(std::ptr::null_mut(), Relaxed);
        if !workload.is_null() {
            // SAFETY: `init` stored a strong reference here, and the swap took it out once.
            drop(unsafe { Arc::from_raw(workload.cast_const()) });
        }
    }

    /// The workload's number, 0 for none. For bystanders.
    pub(crate) fn workload_id(&self) -> u64 {
        self.workload_id.load(Relaxed)
    }

    /// Takes a reference for a bystander, if the block is still the routine `id`'s.
    pub(crate) fn retain_if_live(&self, id: u64) -> Option<RoutineRef> {
        let mut refs = self.life.refs.load(Relaxed);
        loop {
            // No references: the block is free or about to be, and must not be brought back.
            if id == 0 || refs == 0 {
                return None;
            }
            // Acquire pairs with the release store in `init`.
            match self
                .life
                .refs
                .compare_exchange_weak(refs, refs + 1, Acquire, Relaxed)
            {
                Ok(_) => break,
                Err(now) => refs = now,
            }
        }
        // SAFETY: `self` is a block of live slabs.
        let routine = unsafe { RoutineRef::from_ptr(std::ptr::from_ref(self).cast_mut()) };
        if self.id.load(Relaxed) == id {
            return Some(routine);
        }
        routine.release();
        None
    }

    #[cold]
    fn set_name(&self, name: &str) {
        self.extra_or_new().set_name(name);
        self.mark(NAMED);
    }

    /// The name's bytes, zero-padded, as little-endian words. Safe in signal handlers.
    pub(crate) fn name_words(&self) -> [u64; 4] {
        self.published(NAMED).map_or([0; 4], Published::name)
    }

    /// The same as bytes.
    pub(crate) fn name_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (part, word) in bytes.chunks_exact_mut(8).zip(self.name_words()) {
            part.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// What bystanders may read of the routine's [`Extra`], if this mark says that it is there.
    fn published(&self, mark: u8) -> Option<&Published> {
        (self.kind.load(Relaxed) & mark != 0)
            .then(|| self.extra_of_bystander())
            .flatten()
    }

    /// Changes [`kind`](Header::kind) for good. Only by whoever owns the routine.
    fn mark(&self, mark: u8) {
        self.kind.store(self.kind.load(Relaxed) | mark, Relaxed);
    }

    /// The routine has run on more than one worker: on these two, and those that it ran on before.
    #[cold]
    fn note_roaming(&self, last: u32, worker: u32) {
        let bits = 1u64 << last.min(63) | 1u64 << worker.min(63);
        let before = self.workers_mask();
        self.extra_or_new().published().set_workers(before | bits);
        self.mark(ROAMED);
        self.note_migration();
    }

    /// Bit `i` for each worker `i` that it ran on, bit 63 for all from 63 on.
    fn workers_mask(&self) -> u64 {
        match self.published(ROAMED) {
            Some(published) => published.workers(),
            None => self
                .last_worker()
                .map_or(0, |worker| 1 << worker.get().min(63)),
        }
    }

    /// The name as text.
    pub(crate) fn name(&self) -> Option<String> {
        let bytes = self.name_bytes();
        let len = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        (len > 0).then(|| String::from_utf8_lossy(&bytes[..len]).into_owned())
    }

    pub(crate) fn site(&self) -> &'static Location<'static> {
        // SAFETY: `init` stored the address of a `&'static Location`, before the block was
        // published; a recycled block holds another such address.
        unsafe { &*self.site.load(Relaxed) }
    }

    #[inline]
    pub(crate) fn kind(&self) -> RoutineKind {
        if self.kind.load(Relaxed) & KIND == RoutineKind::Stackful as u8 {
            RoutineKind::Stackful
        } else {
            RoutineKind::Turns
        }
    }

    /// Whether its overflow ends it alone.
    #[inline]
    pub(crate) fn is_contained(&self) -> bool {
        self.kind.load(Relaxed) & CONTAINED != 0
    }

    pub(crate) fn priority(&self) -> Priority {
        Priority::from_u8((self.kind.load(Relaxed) & PRIORITY) >> PRIORITY_SHIFT)
    }

    /// Whether its priority is the normal one.
    #[inline]
    pub(crate) fn is_normal(&self) -> bool {
        self.kind.load(Relaxed) & PRIORITY == 0
    }

    /// The routine has come where its key says. By who took it from the queue.
    pub(crate) fn forget_key(&self) {
        self.kind.store(self.kind.load(Relaxed) & !KEYED, Relaxed);
    }

    pub(crate) fn set_source(&self, source: Source) {
        self.source.store(source as u8, Relaxed);
    }

    pub(crate) fn source(&self) -> Source {
        Source::from_u8(self.source.load(Relaxed))
    }

    pub(crate) fn routine_id(&self) -> RoutineId {
        RoutineId::new(self.id.load(Relaxed))
    }

    pub(crate) fn class(&self) -> StackClass {
        StackClass::from_raw(self.class.load(Relaxed))
    }

    /// The state changed at `now`.
    pub(crate) fn touch(&self, now: u64) {
        self.state_since.store(now, Relaxed);
    }

    /// When the state changed last, in nanoseconds since process start.
    pub(crate) fn state_since(&self) -> u64 {
        self.state_since.load(Relaxed)
    }

    pub(crate) fn is_trimmed(&self) -> bool {
        self.trimmed.load(Relaxed)
    }

    pub(crate) fn set_trimmed(&self, trimmed: bool) {
        self.trimmed.store(trimmed, Relaxed);
    }

    /// The routine goes to another worker than it was on.
    pub(crate) fn note_migration(&self) {
        let moves = self.moves.load(Relaxed);
        self.moves.store(moves.saturating_add(1), Relaxed);
    }

    /// A turn begins on `worker`. Only the thread that runs it calls this. Returns whether the one before was
    /// on another worker.
    pub(crate) fn note_turn(&self, worker: u32, now: u64) -> bool {
        let last = self.last_worker.load(Relaxed);
        let moved = u32::from(last) != worker && last != NO_WORKER;
        if u32::from(last) != worker {
            if moved {
                self.note_roaming(u32::from(last), worker);
            }
            self.last_worker.store(worker as u16, Relaxed);
        }
        self.trimmed.store(false, Relaxed);
        self.state_since.store(now, Relaxed);
        moved
    }

    /// The worker on which its last turn began.
    pub(crate) fn last_worker(&self) -> Option<WorkerId> {
        let worker = self.last_worker.load(Relaxed);
        (worker != NO_WORKER).then(|| WorkerId::new(u32::from(worker)))
    }

    /// The routine waits, gives way or has used the processor. Only the thread that runs it calls this.
    #[inline]
    pub(crate) fn note_habit(&self, deed: Deed) {
        let habit = Habit::from_bits(self.habit.load(Relaxed));
        self.habit.store(habit.with(deed).bits(), Relaxed);
    }

    /// Whether it computes or waits, as far as that can be told.
    pub(crate) fn behaviour(&self) -> Option<RoutineClass> {
        Habit::from_bits(self.habit.load(Relaxed)).class(worker::tick_ns())
    }

    /// The workload's counters.
    pub(crate) fn workload(&self) -> Option<&WorkloadInner> {
        // SAFETY: a strong reference sits here from `init` to `clear`; the caller holds the
        // routine or a reference to its block, so `clear` has not run.
        unsafe { self.workload.load(Relaxed).as_ref() }
    }

    /// The workload itself, for a child to inherit.
    pub(crate) fn clone_workload(&self) -> Option<Workload> {
        let ptr = self.workload.load(Relaxed).cast_const();
        if ptr.is_null() {
            return None;
        }
        // SAFETY: as in `workload`; the count is raised before the value that will lower it is
        // made.
        unsafe {
            Arc::increment_strong_count(ptr);
            Some(Workload {
                inner: Arc::from_raw(ptr),
            })
        }
    }

    /// The routine found no stack. Holds until it has one.
    pub(crate) fn set_awaiting_stack(&self, by_system: bool) {
        let home = if by_system {
            REFUSED_BY_SYSTEM
        } else {
            OVER_LIMIT
        };
        self.home.store(home, Relaxed);
    }

    /// Whether the routine was refused a stack before.
    pub(crate) fn awaits_stack(&self) -> bool {
        matches!(self.home.load(Relaxed), OVER_LIMIT | REFUSED_BY_SYSTEM)
    }

    /// Whether it was the system that refused it.
    pub(crate) fn was_refused_by_system(&self) -> bool {
        self.home.load(Relaxed) == REFUSED_BY_SYSTEM
    }

    /// The routine, which runs, is about to wait at this thing. The link is free for it: a routine that
    /// runs or is blocked is in no list.
    #[inline]
    pub(crate) fn set_waits_at(&self, object: *const ()) {
        self.next.store(object.cast_mut().cast(), Relaxed);
    }

    /// At what the routine waits. Right if the state was so before this was read, and is so after it.
    pub(crate) fn waits_at(&self, state: RoutineState) -> Option<*const ()> {
        let RoutineState::Blocked(reason) = state else {
            return None;
        };
        // Others do not say; and futures say their reason without being here.
        let says = matches!(
            reason,
            WaitReason::Lock
                | WaitReason::Channel
                | WaitReason::Semaphore
                | WaitReason::Condition
                | WaitReason::Barrier
                | WaitReason::Once
        );
        let has_stack = !self.stack.load(Relaxed).is_null();
        (says && has_stack).then(|| self.next.load(Relaxed).cast_const().cast())
    }

    /// What a bystander may say of the routine; `None` if the block is free or was recycled while
    /// it was read.
    pub(crate) fn view(&self) -> Option<RoutineView> {
        // Acquire pairs with the release store in `init`.
        let id = self.id.load(Acquire);
        if id == 0 {
            return None;
        }
        let state = self.life.state();
        let worker = self.last_worker();
        let home = self.home.load(Relaxed);
        let parent = self.parent.load(Relaxed);
        let has_stack = !self.stack.load(Relaxed).is_null();
        let high = self.high_water.load(Relaxed);
        let depth = self.depth.load(Relaxed);
        let workload = self.workload_id.load(Relaxed);
        let segments = self.extra_of_bystander().map(Published::segments);
        let waits_at = self.waits_at(state);
        // Acquire: what is read above is read before the state is read again.
        fence(Acquire);
        let waits_at = waits_at.filter(|_| self.life.state() == state);
        let view = RoutineView {
            id: RoutineId::new(id),
            name: self.name(),
            site: self.site(),
            state,
            state_since_ns: self.state_since.load(Relaxed),
            spawned_at_ns: self.spawned_at.load(Relaxed),
            parent: (parent != 0).then(|| RoutineId::new(parent)),
            worker,
            workload: (workload != 0).then(|| WorkloadId::new(workload)),
            turns: self.life.turns(),
            moves: u64::from(self.moves.load(Relaxed)),
            class: self.behaviour(),
            workers_mask: self.workers_mask(),
            kind: self.kind(),
            priority: self.priority(),
            home: (home < REFUSED_BY_SYSTEM).then_some(home),
            awaits_stack: matches!(home, OVER_LIMIT | REFUSED_BY_SYSTEM),
            stack: has_stack.then(|| StackView {
                size_bytes: self.class().bytes() as u64,
                depth_bytes: (depth != 0).then_some(u64::from(depth)),
                high_water_bytes: (high != 0).then_some(u64::from(high)),
                segments: segments.map_or(0, Segments::in_use),
                segments_entered: segments.map_or(0, Segments::entered),
            }),
            waits_at: waits_at.map(ObjectId::of),
            in_kernel: None,
            frozen_since_ns: None,
            busy_with: None,
        };
        // Partner is the fence in `init`.
        fence(Acquire);
        // If the block was recycled meanwhile, what was read is a mixture.
        (self.id.load(Relaxed) == id).then_some(view)
    }
}
