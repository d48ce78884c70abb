//! What only few routines have, beside the block: it has room for what all of them have.
//!
//! Null until a routine of the block needs something of it, then kept with the block and freed with the
//! slabs: a recycled block allocates nothing. It is empty when a routine is born, and emptied by its
//! end. All of it belongs to whoever owns the routine (see [`life`](super::life)).

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::local::table::Table;
use crate::routine::{Header, RoutineRef};
use crate::scope::ScopeData;
use crate::token::members::NO_SEAT;
use crate::token::node::Node;

/// See the module's text.
pub(crate) struct Extra {
    /// The scope that waits for this routine, and its seat with the scope's token.
    scope: Cell<Option<Arc<ScopeData>>>,
    scope_seat: Cell<u32>,
    /// What the routine's own spawns are bound to, and its seat there, if it has one.
    token: Cell<Option<Arc<Node>>>,
    token_seat: Cell<u32>,
    locals: RefCell<Table>,
    published: Published,
    /// Scopes that the routine has opened and not left, if its overflow may be contained.
    open_scopes: AtomicU32,
}

/// The only part of an [`Extra`] that bystanders read. Name and workers may be those of the block's routine
/// before: its header says whether they are its own.
#[derive(Debug, Default)]
pub(crate) struct Published {
    segments: Segments,
    /// Up to 31 bytes of UTF-8, zero-padded, in little-endian words.
    name: [AtomicU64; 4],
    /// The workers that it ran on, as bits.
    workers: AtomicU64,
}

impl Published {
    /// What is counted of the routine's segments.
    pub(crate) fn segments(&self) -> &Segments {
        &self.segments
    }

    fn set_name(&self, name: &str) {
        let cut = name.floor_char_boundary(31);
        let mut bytes = [0u8; 32];
        bytes[..cut].copy_from_slice(&name.as_bytes()[..cut]);
        for (word, part) in self.name.iter().zip(bytes.chunks_exact(8)) {
            let part: [u8; 8] = part.try_into().expect("chunks of eight");
            word.store(u64::from_le_bytes(part), Relaxed);
        }
    }

    /// The name as little-endian words. Async-signal-safe.
    pub(super) fn name(&self) -> [u64; 4] {
        std::array::from_fn(|i| self.name[i].load(Relaxed))
    }

    pub(super) fn set_workers(&self, bits: u64) {
        self.workers.store(bits, Relaxed);
    }

    pub(super) fn workers(&self) -> u64 {
        self.workers.load(Relaxed)
    }
}

/// The segments of a routine.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    in_use: AtomicU32,
    entered: AtomicU64,
}

impl Segments {
    /// How many the routine is in, one in the other.
    pub(crate) fn in_use(&self) -> u32 {
        self.in_use.load(Relaxed)
    }

    /// How many it was ever in.
    pub(crate) fn entered(&self) -> u64 {
        self.entered.load(Relaxed)
    }

    /// The routine is about to enter one. This and the next only by the routine.
    #[cfg(not(portable))]
    pub(crate) fn enter(&self) {
        self.in_use.store(self.in_use() + 1, Relaxed);
        self.entered.store(self.entered() + 1, Relaxed);
    }

    /// It has left one.
    #[cfg(not(portable))]
    pub(crate) fn leave(&self) {
        self.in_use.store(self.in_use() - 1, Relaxed);
    }

    fn forget(&self) {
        self.in_use.store(0, Relaxed);
        self.entered.store(0, Relaxed);
    }
}

impl Extra {
    fn new() -> Extra {
        Extra {
            scope: Cell::new(None),
            scope_seat: Cell::new(NO_SEAT),
            token: Cell::new(None),
            token_seat: Cell::new(NO_SEAT),
            locals: RefCell::new(Table::new()),
            published: Published::default(),
            open_scopes: AtomicU32::new(0),
        }
    }

    /// The routine's routine-locals.
    pub(crate) fn locals(&self) -> &RefCell<Table> {
        &self.locals
    }

    /// What is counted of the routine's segments.
    pub(crate) fn segments(&self) -> &Segments {
        self.published.segments()
    }

    /// What bystanders read.
    pub(super) fn published(&self) -> &Published {
        &self.published
    }

    /// The routine's name, cut to what there is room for.
    pub(super) fn set_name(&self, name: &str) {
        self.published.set_name(name);
    }

    /// How many scopes are open, for a routine whose overflow may be contained. Written by the routine
    /// alone, and read by handlers that interrupt it.
    pub(crate) fn open_scopes(&self) -> &AtomicU32 {
        &self.open_scopes
    }

    /// Makes the routine one of the scope's.
    pub(crate) fn enter_scope(&self, routine: RoutineRef, scope: Arc<ScopeData>) {
        self.scope_seat.set(scope.token.bind(routine));
        self.scope.set(Some(scope));
    }

    /// Binds the routine and what it spawns.
    pub(crate) fn bind(&self, routine: RoutineRef, token: Arc<Node>) {
        self.token_seat.set(token.bind(routine));
        self.token.set(Some(token));
    }

    /// Binds what the routine spawns, but not itself.
    pub(crate) fn pass_on(&self, token: Arc<Node>) {
        self.token.set(Some(token));
    }

    /// What the routine's own spawns are bound to.
    pub(crate) fn inherited(&self) -> Option<Arc<Node>> {
        look(&self.token)
    }

    /// The token that cancels the routine.
    pub(crate) fn bound_to(&self) -> Option<Arc<Node>> {
        look(&self.scope).map_or_else(|| self.inherited(), |scope| Some(scope.token.clone()))
    }

    /// The routine ends: no token asks it any more. Foreign code may run: a token's reason goes with
    /// the last who has the token.
    pub(crate) fn unbind(&self) {
        self.segments().forget();
        self.open_scopes.store(0, Relaxed);
        if let Some(token) = self.token.take() {
            token.leave(self.token_seat.replace(NO_SEAT));
        }
        let scope = self.scope.take();
        if let Some(scope) = &scope {
            scope.token.leave(self.scope_seat.replace(NO_SEAT));
        }
        self.scope.set(scope);
    }

    /// Takes the scope that waits.
    pub(crate) fn take_scope(&self) -> Option<Arc<ScopeData>> {
        self.scope.take()
    }
}

fn look<T: Clone>(cell: &Cell<Option<T>>) -> Option<T> {
    let value = cell.take();
    let seen = value.clone();
    cell.set(value);
    seen
}

impl Header {
    /// What the routine has beside its block, if its block ever needed any. Only for whoever owns the
    /// routine.
    pub(crate) fn extra(&self) -> Option<&Extra> {
        // Relaxed: written by an owner of the block, and owners hand it over with more than that.
        // SAFETY: once stored it stays as long as the block; see `free_extra`.
        unsafe { self.extra.load(Relaxed).as_ref() }
    }

    /// The same, made if need be.
    pub(crate) fn extra_or_new(&self) -> &Extra {
        match self.extra() {
            Some(extra) => extra,
            None => {
                let extra = Box::into_raw(Box::new(Extra::new()));
                // Release pairs with the load in `extra_of_bystander`.
                self.extra.store(extra, Release);
                // SAFETY: as in `extra`.
                unsafe { &*extra }
            }
        }
    }

    /// What bystanders may read of it.
    pub(super) fn extra_of_bystander(&self) -> Option<&Published> {
        // Acquire pairs with the store in `extra_or_new`: a bystander sees a whole one.
        // SAFETY: as in `extra`; of the content only atomics are handed out.
        unsafe { self.extra.load(Acquire).as_ref() }.map(Extra::published)
    }

    /// Gives it up: the block's next routine begins without.
    #[cfg(not(portable))]
    pub(crate) fn forget_extra(&self) {
        self.extra.store(std::ptr::null_mut(), Relaxed);
    }

    /// Frees it, with the block.
    ///
    /// # Safety
    /// 1. Exclusive: the slabs are being dropped: nobody uses the block any more.
    pub(crate) unsafe fn free_extra(&self) {
        let extra = self.extra.load(Relaxed);
        if !extra.is_null() {
            // SAFETY: it was made by `extra_or_new`, and by 1 nobody has it.
            drop(unsafe { Box::from_raw(extra) });
        }
    }
}
