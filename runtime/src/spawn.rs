//! Where routines are born.

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::fence;

use crate::handle::Handle;
use crate::join::JoinHandle;
use crate::priority::Priority;
use crate::routine::body::{self, Unrun, VTable};
use crate::routine::life::CancelLevel;
use crate::routine::{Birth, RoutineRef, slab};
use crate::scheduler::strategy::placement::{Newcomer, Start};
use crate::scheduler::threads;
use crate::scheduler::worker::{self, WorkerCore};
use crate::scheduler::{Shared, explore, ready, stats};
use crate::scope::ScopeData;
use crate::snapshot::RoutineKind;
use crate::stack::StackClass;
use crate::time;
use crate::token::CancelToken;
use crate::turns::{Turn, TurnLoop};
use crate::workload::Workload;

/// Why a routine could not be spawned.
///
/// ```
/// use openwork::{Builder, SpawnError};
/// assert_eq!(Builder::new().spawn(|| ()).unwrap_err(), SpawnError::NoRuntime);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The caller is no routine, and no runtime was named with [`Builder::on`].
    #[error("not inside a routine: name a runtime with `Builder::on`")]
    NoRuntime,
    /// [`Builder::contain_overflow`] was asked for where it cannot be had.
    #[error(
        "contain_overflow: only for closures that are spawned outside of scopes, and in no portable build"
    )]
    CannotContain,
    /// The stack size is over the largest one, in bytes.
    #[error("stack_size: {asked} bytes were asked for, at most {max} are possible")]
    StackSize {
        /// Bytes asked for.
        asked: usize,
        /// Most bytes possible.
        max: usize,
    },
}

/// Spawns a routine that runs `f` on a stack of its own, on the runtime of the calling routine.
///
/// Any worker may start it. From its first turn on it is bound to its home, an OS thread, because
/// what `f` holds over a blocking call need not be `Send`; see `docs/hazards.md`. It inherits the
/// caller's [`Workload`] and [`CancelToken`].
///
/// ```
/// let rt = openwork::Runtime::builder().workers(2).build().unwrap();
/// let answer = rt.block_on(|| openwork::spawn(|| 6 * 7).join().unwrap());
/// assert_eq!(answer, 42);
/// ```
///
/// What moves to another thread must be `Send`:
///
/// ```compile_fail,E0277
/// let shared = std::rc::Rc::new(1);
/// openwork::spawn(move || println!("{shared}"));
/// ```
///
/// # Panics
/// If called outside a routine; use [`Handle::spawn`](crate::Handle::spawn) there.
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let seed = Seed::new(RoutineKind::Stackful, body::closure_vtable::<F, T>());
    // SAFETY: 1: the vtable is the one of `F` and `T`; 2 and 3: both are `Send` and `'static`.
    unsafe { plant(seed, f) }
}

/// Spawns a routine that polls `future`, each poll being one turn on a borrowed stack.
///
/// Between polls it may move to another worker: the compiler has checked what lives across each
/// `.await`.
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// # rt.block_on(|| {
/// let sum = openwork::spawn_future(async {
///     let part = openwork::spawn(|| 40).await.unwrap();
///     part + 2
/// });
/// assert_eq!(sum.join().unwrap(), 42);
/// # });
/// ```
///
/// # Panics
/// As [`spawn`].
#[track_caller]
pub fn spawn_future<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let seed = Seed::new(RoutineKind::Turns, body::future_vtable::<F>());
    // SAFETY: as in `spawn`.
    unsafe { plant(seed, future) }
}

/// As [`Builder::launch`], for a seed of which nothing else is said.
///
/// # Safety
/// 1. As for [`Builder::launch`].
#[inline]
unsafe fn plant<B, T>(seed: Seed<'_>, body: B) -> JoinHandle<T> {
    // SAFETY: 1 by the caller.
    let routine = with_current(|shared| unsafe { born(shared, seed, body) });
    let routine = routine.unwrap_or_else(|e| panic!("{e}"));
    explore::point();
    JoinHandle::new(routine)
}

/// Spawns a routine that calls `step` with its state, one turn a call, until it says
/// [`Turn::Done`].
///
/// Between turns it may move to another worker, so long loops written in this way are rebalanced
/// while they run.
///
/// ```
/// use openwork::Turn;
/// let rt = openwork::Runtime::builder().workers(2).build().unwrap();
/// let sum = rt.block_on(|| {
///     openwork::spawn_turns((0u64, 0u64), |(next, sum)| {
///         if *next == 1_000 {
///             return Turn::Done(*sum);
///         }
///         *sum += *next;
///         *next += 1;
///         Turn::Again
///     })
///     .join()
///     .unwrap()
/// });
/// assert_eq!(sum, 499_500);
/// ```
///
/// # Panics
/// As [`spawn`].
#[track_caller]
pub fn spawn_turns<S, T, F>(state: S, step: F) -> JoinHandle<T>
where
    S: Send + 'static,
    T: Send + 'static,
    F: FnMut(&mut S) -> Turn<T> + Send + 'static,
{
    Builder::new()
        .spawn_turns(state, step)
        .unwrap_or_else(|e| panic!("{e}"))
}

/// Properties of a routine to be spawned.
///
/// ```
/// use openwork::{Builder, Runtime};
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let routine = Builder::new()
///     .name("reader")
///     .stack_size(256 << 10)
///     .on(&rt.handle())
///     .spawn(|| "read")
///     .unwrap();
/// assert_eq!(routine.join().unwrap(), "read");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    name: String,
    stack_bytes: Option<usize>,
    workload: Option<Workload>,
    bind: Bind,
    priority: Priority,
    affinity: Option<u64>,
    contained: bool,
    runtime: Option<Handle>,
}

/// Which token a routine is bound to.
#[derive(Clone, Debug, Default)]
enum Bind {
    /// Its parent's; in a scope, what the scope's owner passes on.
    #[default]
    Inherit,
    None,
    To(CancelToken),
}

impl Builder {
    /// Nothing set: no name, the runtime's stack size, the caller's workload, token and runtime.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// # rt.block_on(|| {
    /// let routine = openwork::Builder::new().spawn(|| 1).unwrap();
    /// assert_eq!(routine.join().unwrap(), 1);
    /// # });
    /// ```
    pub fn new() -> Builder {
        Builder::default()
    }

    /// A name for people: lists, profiles and reports show it. Its first 31 bytes are kept.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// # rt.block_on(|| {
    /// use openwork::Builder;
    /// let miner = Builder::new().name("miner").spawn(openwork::yield_now).unwrap();
    /// # miner.join().unwrap();
    /// # });
    /// ```
    pub fn name(mut self, name: &str) -> Builder {
        name.clone_into(&mut self.name);
        self
    }

    /// Size of the stack in bytes, guard page included: rounded up to a power of two and to 32 KiB.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// # rt.block_on(|| {
    /// use openwork::{Builder, SpawnError};
    /// Builder::new().stack_size(1 << 20).spawn(|| ()).unwrap();
    /// let too_much = Builder::new().stack_size(usize::MAX).spawn(|| ());
    /// assert!(matches!(too_much, Err(SpawnError::StackSize { .. })));
    /// # });
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_bytes = Some(bytes);
        self
    }

    /// What the routine, and whatever it spawns, belongs to.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// # rt.block_on(|| {
    /// use openwork::{Builder, Workload};
    /// let mining = Workload::new("mining");
    /// Builder::new().workload(&mining).spawn(|| ()).unwrap().join().unwrap();
    /// assert_eq!(mining.counters().ended, 1);
    /// # });
    /// ```
    pub fn workload(mut self, workload: &Workload) -> Builder {
        self.workload = Some(workload.clone());
        self
    }

    /// Binds the routine, and whatever it spawns, to `token`: a cancel of that asks it to end. See
    /// [`CancelToken`].
    ///
    /// ```
    /// use openwork::{Builder, CancelToken, Runtime, time};
    /// use std::time::Duration;
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// let token = CancelToken::new();
    /// let bound = Builder::new().on(&rt.handle()).cancel_with(&token);
    /// let routine = bound.spawn(|| time::sleep(Duration::from_secs(3600))).unwrap();
    /// token.cancel();
    /// assert!(routine.join().is_err());
    /// ```
    pub fn cancel_with(mut self, token: &CancelToken) -> Builder {
        self.bind = Bind::To(token.clone());
        self
    }

    /// Binds the routine to no token, not even to its parent's: it outlives what the parent belongs to.
    ///
    /// ```
    /// use openwork::{Builder, CancelToken, Runtime};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// let token = CancelToken::new();
    /// let request = Builder::new().on(&rt.handle()).cancel_with(&token);
    /// let log = request
    ///     .spawn(|| Builder::new().without_token().spawn(|| CancelToken::current().is_none()))
    ///     .unwrap();
    /// assert!(log.join().unwrap().unwrap().join().unwrap());
    /// ```
    pub fn without_token(mut self) -> Builder {
        self.bind = Bind::None;
        self
    }

    /// Whether the routine goes before or after others. Default: [`Priority::Normal`], whatever the
    /// caller's: a routine that is urgent hands its work to others, which need not be.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// # rt.block_on(|| {
    /// use openwork::{Builder, Priority};
    /// let upkeep = Builder::new().priority(Priority::Low).spawn(|| "swept").unwrap();
    /// assert_eq!(upkeep.join().unwrap(), "swept");
    /// # });
    /// ```
    pub fn priority(mut self, priority: Priority) -> Builder {
        self.priority = priority;
        self
    }

    /// Routines with the same key start on the same worker, as long as the number of workers stays the same:
    /// what they share stays in one cache. A worker may have many keys.
    ///
    /// It holds under load, too: the routine is not stolen, and waits for that worker while others may
    /// be idle, behind a long turn as well. It yields to one thing: with
    /// [rebalancing](crate::RuntimeBuilder::rebalance), which is off by default, routines that wait at a worker
    /// with far more than the others are moved, keyed ones last. Only one that must wait for a stack starts wherever one comes
    /// free. A future is kept to the worker for its first turn, and may move afterwards. At shutdown it is
    /// drained or cancelled like any other. [`WorkerSnapshot::keyed`](crate::snapshot::WorkerSnapshot::keyed)
    /// counts what came to each worker.
    ///
    /// ```
    /// use openwork::{Builder, Runtime, current_worker};
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// let account = 4711;
    /// let on = |_| Builder::new().on(&rt.handle()).affinity(account).spawn(current_worker).unwrap();
    /// let workers: Vec<_> = (0..10).map(on).map(|routine| routine.join().unwrap()).collect();
    /// assert!(workers.iter().all(|worker| *worker == workers[0]));
    /// ```
    pub fn affinity(mut self, key: u64) -> Builder {
        self.affinity = Some(key);
        self
    }

    /// Ends the routine alone if it runs over its stack, in place of the whole process: its join returns
    /// [`JoinError::Overflowed`](crate::JoinError::Overflowed), and others go on.
    ///
    /// The routine does not unwind: its frames are left as they lie, no destructor runs, and its stack, with
    /// its segments, is never used again. So each overflow costs a slot for ever, and what the frames
    /// owned stays: memory is lost, locks stay locked, partners at channels wait. It is for code that must
    /// be tried although it may be too deep, a parser of foreign input say, and that owns nothing that
    /// others wait for. A larger [`stack_size`](Self::stack_size) or [`with_segment`](crate::with_segment) is
    /// the better answer where one is known that is enough.
    ///
    /// Contained is what overflows in the program's own code. The process ends as ever, with a report that
    /// says why, if it happens inside the runtime, inside a library with code of its own file (the C library's
    /// allocator, say, whose lock would stay locked), while the routine is panicking, or while it has a scope
    /// open, whose routines borrow from it. A routine of a scope and a future cannot be contained at all.
    ///
    /// # Safety
    /// 1. Alive: every value in a frame of the routine may be forgotten, at any call that it makes.
    /// 2. Exclusive: at each call that may overflow the routine has left whatever it shares with others, by
    ///    reference, thread-local or static, in a state that others can meet: what a destructor would have
    ///    put right, nobody does.
    ///
    /// ```
    /// use openwork::{Builder, JoinError, Runtime};
    ///
    /// fn depth(n: u64) -> u64 {
    ///     std::hint::black_box(if n == 0 { 0 } else { 1 + depth(n - 1) })
    /// }
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// // SAFETY: the routine shares nothing and owns nothing.
    /// let tried = unsafe { Builder::new().on(&rt.handle()).contain_overflow() };
    /// match tried.spawn(|| depth(1_000_000_000)).unwrap().join() {
    ///     Err(JoinError::Overflowed(why)) => println!("{why}"),
    ///     other => panic!("{other:?}"),
    /// }
    /// assert_eq!(rt.block_on(|| depth(100)), 100); // the runtime goes on
    /// ```
    pub unsafe fn contain_overflow(mut self) -> Builder {
        self.contained = true;
        self
    }

    /// The runtime to spawn on. From outside its workers the routine enters by the injector.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let routine = openwork::Builder::new().on(&rt.handle()).spawn(|| "from outside").unwrap();
    /// assert_eq!(routine.join().unwrap(), "from outside");
    /// ```
    pub fn on(mut self, runtime: &Handle) -> Builder {
        self.runtime = Some(runtime.clone());
        self
    }

    /// Spawns a closure; see [`spawn`].
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// # rt.block_on(|| {
    /// let routine = openwork::Builder::new().name("adder").spawn(|| 1 + 1).unwrap();
    /// assert_eq!(routine.join().unwrap(), 2);
    /// # });
    /// ```
    ///
    /// # Errors
    /// See [`SpawnError`].
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let seed = Seed::new(RoutineKind::Stackful, body::closure_vtable::<F, T>());
        // SAFETY: 1: the vtable is the one of `F` and `T`; 2 and 3: both are `Send` and `'static`.
        unsafe { self.launch(seed, f) }
    }

    /// Spawns a future; see [`spawn_future`].
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// # rt.block_on(|| {
    /// let routine = openwork::Builder::new().name("adder").spawn_future(async { 1 + 1 }).unwrap();
    /// assert_eq!(routine.join().unwrap(), 2);
    /// # });
    /// ```
    ///
    /// # Errors
    /// See [`SpawnError`].
    #[track_caller]
    pub fn spawn_future<F>(self, future: F) -> Result<JoinHandle<F::Output>, SpawnError>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let seed = Seed::new(RoutineKind::Turns, body::future_vtable::<F>());
        // SAFETY: as in `spawn`.
        unsafe { self.launch(seed, future) }
    }

    /// Spawns a turn loop; see [`spawn_turns`].
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// # rt.block_on(|| {
    /// use openwork::{Builder, Turn};
    /// let routine = Builder::new().name("once").spawn_turns((), |()| Turn::Done("done")).unwrap();
    /// assert_eq!(routine.join().unwrap(), "done");
    /// # });
    /// ```
    ///
    /// # Errors
    /// See [`SpawnError`].
    #[track_caller]
    pub fn spawn_turns<S, T, F>(self, state: S, step: F) -> Result<JoinHandle<T>, SpawnError>
    where
        S: Send + 'static,
        T: Send + 'static,
        F: FnMut(&mut S) -> Turn<T> + Send + 'static,
    {
        self.spawn_future(TurnLoop::new(state, step))
    }

    /// # Safety
    /// 1. Types: `B` is the body type of the seed's vtable and `T` its result type.
    /// 2. Thread: both may go to another thread.
    /// 3. Alive: both live until the routine has ended.
    unsafe fn launch<'a, B, T>(
        &'a self,
        mut seed: Seed<'a>,
        body: B,
    ) -> Result<JoinHandle<T>, SpawnError> {
        self.describe(&mut seed)?;
        let spawn_on = |shared: &Shared| {
            // SAFETY: 1 to 3 by the caller.
            unsafe { born(shared, seed, body) }
        };
        let routine = match &self.runtime {
            Some(handle) => spawn_on(&handle.shared),
            None => with_current(spawn_on)?,
        };
        explore::point();
        Ok(JoinHandle::new(routine))
    }

    #[inline]
    fn describe<'a>(&'a self, seed: &mut Seed<'a>) -> Result<(), SpawnError> {
        seed.name = &self.name;
        if let Some(asked) = self.stack_bytes {
            seed.class = Some(class_for(asked)?);
        }
        seed.workload = self.workload.clone();
        seed.bind = self.bind.clone();
        seed.priority = self.priority;
        seed.affinity = self.affinity;
        if self.contained {
            if seed.kind != RoutineKind::Stackful || cfg!(portable) {
                return Err(SpawnError::CannotContain);
            }
            seed.contained = true;
        }
        Ok(())
    }

    /// Spawns a closure that borrows from a scope, on `shared`.
    ///
    /// # Errors
    /// See [`SpawnError`].
    ///
    /// # Safety
    /// 1. Alive: what `f` and its result borrow lives until `ScopeData::child_ended` was called.
    #[track_caller]
    pub(crate) unsafe fn spawn_on_scope<F, T>(
        &self,
        shared: &Shared,
        f: F,
        scope: Arc<ScopeData>,
    ) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let mut seed = Seed::new(RoutineKind::Stackful, body::closure_vtable::<F, T>());
        self.describe(&mut seed)?;
        if seed.contained {
            return Err(SpawnError::CannotContain);
        }
        scope.child_begins();
        seed.scope = Some(scope);
        // SAFETY: 1 by the caller; the vtable is the one of `F` and `T`.
        Ok(JoinHandle::new(unsafe { born(shared, seed, f) }))
    }
}

/// Spawns a closure for `f` that may borrow from the caller's frame.
///
/// # Safety
/// 1. Alive: the caller waits for the routine's end, whatever happens, before what is borrowed dies.
#[track_caller]
pub(crate) unsafe fn spawn_borrowing<F, T>(shared: &Shared, f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let seed = Seed::new(RoutineKind::Stackful, body::closure_vtable::<F, T>());
    // SAFETY: 1 by the caller; the vtable is the one of `F` and `T`.
    JoinHandle::new(unsafe { born(shared, seed, f) })
}

/// Wakes a task of somebody else's by a routine of its own. Also if that is cancelled before it begins, as the
/// runtime ends: whoever waits would wait for ever.
pub(crate) fn spawn_wake(waker: std::task::Waker) {
    struct Wakes(Option<std::task::Waker>);
    impl Drop for Wakes {
        fn drop(&mut self) {
            if let Some(waker) = self.0.take() {
                waker.wake();
            }
        }
    }
    let wakes = Wakes(Some(waker));
    spawn_internal("waker", move || drop(wakes));
}

/// Spawns a routine of the runtime's own from scheduler context.
pub(crate) fn spawn_internal(name: &'static str, f: impl FnOnce() + Send + 'static) {
    if let Ok(handle) = Builder::new().name(name).spawn(f) {
        handle.detach();
    }
}

fn class_for(asked: usize) -> Result<StackClass, SpawnError> {
    StackClass::for_bytes(asked).map_err(|_| SpawnError::StackSize {
        asked,
        max: StackClass::LARGEST.bytes(),
    })
}

/// What is known of a routine before its block exists.
struct Seed<'a> {
    kind: RoutineKind,
    vtable: &'static VTable,
    site: &'static Location<'static>,
    name: &'a str,
    class: Option<StackClass>,
    workload: Option<Workload>,
    scope: Option<Arc<ScopeData>>,
    bind: Bind,
    priority: Priority,
    affinity: Option<u64>,
    contained: bool,
}

impl<'a> Seed<'a> {
    #[track_caller]
    fn new(kind: RoutineKind, vtable: &'static VTable) -> Seed<'a> {
        Seed {
            kind,
            vtable,
            site: Location::caller(),
            name: "",
            class: None,
            workload: None,
            scope: None,
            bind: Bind::Inherit,
            priority: Priority::Normal,
            affinity: None,
            contained: false,
        }
    }
}

/// Runs `f` on the runtime whose worker this thread is.
fn with_current<R>(f: impl FnOnce(&Shared) -> R) -> Result<R, SpawnError> {
    threads::with_slot(|slot| slot.map(|slot| f(slot.shared()))).ok_or(SpawnError::NoRuntime)
}

/// Makes the block, publishes it and queues the routine.
///
/// # Safety
/// 1. As for [`Builder::launch`].
unsafe fn born<B>(shared: &Shared, seed: Seed<'_>, body: B) -> RoutineRef {
    let start = if seed.affinity.is_none() && shared.all_start_here() {
        Start::Here
    } else {
        shared.start_of(&Newcomer {
            name: seed.name,
            site: seed.site,
            kind: seed.kind,
            priority: seed.priority,
            key: seed.affinity,
            workload: seed.workload.as_ref().map_or(0, |own| own.id().get()),
        })
    };
    shared.levels.note(seed.priority);
    let (routine, refused) = worker::with_core_of(shared, |core| {
        let routine = slab::allocate(shared, core);
        let header = routine.header();
        // SAFETY: nobody else knows the block yet, and it holds no body.
        unsafe { body::put(header, body) };
        let parent = match core {
            Some(core) => core.running(),
            None => threads::running_here().filter(|me| std::ptr::eq(me.shared(), shared)),
        };
        let inherited = || parent.and_then(|parent| parent.header().clone_workload());
        let workload = seed.workload.or_else(inherited);
        let counted = workload.clone();
        header.init(Birth {
            id: core.map_or_else(|| shared.next_id.fetch_add(1, Relaxed), WorkerCore::next_id),
            name: seed.name,
            site: seed.site,
            kind: seed.kind,
            priority: seed.priority,
            keyed: matches!(start, Start::Keyed(_)),
            contained: seed.contained,
            class: seed.class.unwrap_or(shared.default_class),
            parent: parent.map_or(0, |parent| parent.header().id.load(Relaxed)),
            workload,
            now: core.map_or_else(time::now_ns, |core| core.now.get()),
            vtable: seed.vtable,
            // One for the scheduler, one for the handle.
            refs: 2,
        });
        if let Some(workload) = &counted {
            workload.inner.spawned.fetch_add(1, Relaxed);
        }
        let is_cancelled = || {
            shared.end.is_cancelling()
                || counted
                    .as_ref()
                    .is_some_and(|workload| workload.inner.cancelled.load(SeqCst))
        };
        bind(routine, parent, seed.scope, seed.bind);
        // SeqCst fences below: block first, flags after; partner is the fence in
        // `Shared::abort_where`, which stands between the flags' stores and the walk. Either the walk
        // finds the block, or we find the flag.
        match core {
            Some(core) => {
                // What was cancelled before the spawn never runs.
                let born_cancelled = is_cancelled();
                if born_cancelled {
                    let _ = header.life.ask_cancel(CancelLevel::Told);
                }
                stats::add(&core.stats().spawned, 1);
                // One fence for two: see `push_fresh`. The routine may run by now; the handle's
                // reference keeps the block.
                let look = || {
                    if !born_cancelled && is_cancelled() {
                        ready::cancel(routine, CancelLevel::Told);
                    }
                };
                match start {
                    Start::Here => core.push_fresh(routine, look),
                    Start::On(worker) => core.push_placed(routine, worker, look),
                    Start::Keyed(worker) => core.push_keyed(routine, worker, look),
                }
                (routine, false)
            }
            None => {
                fence(SeqCst);
                if is_cancelled() {
                    let _ = header.life.ask_cancel(CancelLevel::Told);
                }
                (routine, !enter_from_outside(shared, routine, start))
            }
        }
    });
    if refused {
        end_refused(shared, routine);
    }
    routine
}

/// Tells scope and token of a routine that nobody has queued yet. They ask it now if they are cancelled.
fn bind(
    routine: RoutineRef,
    parent: Option<RoutineRef>,
    scope: Option<Arc<ScopeData>>,
    bind: Bind,
) {
    let header = routine.header();
    match (bind, &scope) {
        (Bind::None, _) => {}
        (Bind::To(token), _) => header.extra_or_new().bind(routine, token.node),
        // The scope's own token is below this one, so it is enough to be asked by that.
        (Bind::Inherit, Some(scope)) => {
            if let Some(token) = scope.inherited() {
                header.extra_or_new().pass_on(token);
            }
        }
        (Bind::Inherit, None) => {
            let inherited = parent.and_then(|parent| parent.header().extra()?.inherited());
            if let Some(token) = inherited {
                header.extra_or_new().bind(routine, token);
            }
        }
    }
    if let Some(scope) = scope {
        header.extra_or_new().enter_scope(routine, scope);
    }
}

/// Queues a routine spawned by a thread that holds no worker of `shared`. False if the runtime is
/// closed.
fn enter_from_outside(shared: &Shared, routine: RoutineRef, start: Start) -> bool {
    // SeqCst: counted first, looked whether the runtime is closed after; partner is
    // `Shared::close`, after which the drain reads the count. So either the runtime waits for this
    // routine, or we see that it will not.
    shared.foreign.spawned.fetch_add(1, SeqCst);
    // A routine whose thread has lost its worker is none of those outside.
    if shared.end.is_closed() && !threads::is_inside(shared) {
        return false;
    }
    match start {
        Start::Here => shared.inject(routine),
        Start::On(worker) => {
            shared.workers[worker].assigned.push_placed(routine);
            shared.notify_placed(worker);
        }
        Start::Keyed(worker) => {
            shared.workers[worker].assigned.push_keyed(routine);
            // As in `WorkerCore::push_keyed`.
            fence(SeqCst);
            shared.check_assigned(worker);
            shared.wake_worker_after_fence(worker);
        }
    }
    true
}

/// Ends a routine whose runtime is closed: perhaps there is no worker any more to do it.
fn end_refused(shared: &Shared, routine: RoutineRef) {
    let header = routine.header();
    // SAFETY: 1: the routine was put in no queue; 2: it has never run.
    unsafe { (header.vtable.get().expect("set at birth").end_unrun)(routine, Unrun::Closed) };
    header.life.end();
    routine.release();
    // SeqCst: counted first, the flag of the drain looked at after; partner is the fence in `wait_drained`.
    shared.foreign.gone.fetch_add(1, SeqCst);
    // The drain may have counted it.
    shared.end.note_idle(shared);
}
