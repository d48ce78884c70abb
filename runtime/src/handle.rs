//! Reaching a runtime from anywhere: spawning on it, and looking into it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use crate::id::{RoutineId, WorkerId, WorkloadId};
use crate::join::JoinHandle;
use crate::monitor::leash::FROZEN_FRAMES;
use crate::profile::NoStack;
use crate::routine::Header;
use crate::scheduler::Shared;
use crate::snapshot::{
    AbsenceRecord, HostageDeadlock, PanicRecord, ResidencySample, RingRead, RoutineView,
    SiteResidency, Snapshot, StackDetail, StackSite, StealRecord, TurnRecord, WaitView,
};
use crate::spawn::Builder;
use crate::turns::Turn;

/// Reaches a [`Runtime`](crate::Runtime) from anywhere; cheap to clone.
///
/// A handle does not keep its runtime running: what is spawned after the shutdown is cancelled.
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let handle = rt.handle();
/// let routine = std::thread::spawn(move || handle.spawn(|| "from a thread")).join().unwrap();
/// assert_eq!(routine.join().unwrap(), "from a thread");
/// ```
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Handle {
    fn builder(&self) -> Builder {
        Builder::new().on(self)
    }

    /// Spawns a routine; see [`spawn`](crate::spawn).
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let routine = rt.handle().spawn(|| 6 * 7);
    /// assert_eq!(routine.join().unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.builder().spawn(f).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Spawns a future; see [`spawn_future`](crate::spawn_future).
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let routine = rt.handle().spawn_future(async { 6 * 7 });
    /// assert_eq!(routine.join().unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn spawn_future<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.builder()
            .spawn_future(future)
            .unwrap_or_else(|e| panic!("{e}"))
    }

    /// Spawns a turn loop; see [`spawn_turns`](crate::spawn_turns).
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::Turn;
    /// let counted = rt.handle().spawn_turns(0, |n| {
    ///     *n += 1;
    ///     if *n < 10 { Turn::Again } else { Turn::Done(*n) }
    /// });
    /// assert_eq!(counted.join().unwrap(), 10);
    /// ```
    #[track_caller]
    pub fn spawn_turns<S, T, F>(&self, state: S, step: F) -> JoinHandle<T>
    where
        S: Send + 'static,
        T: Send + 'static,
        F: FnMut(&mut S) -> Turn<T> + Send + 'static,
    {
        self.builder()
            .spawn_turns(state, step)
            .unwrap_or_else(|e| panic!("{e}"))
    }

    /// Number of active workers. They have the numbers below it. It may change: see
    /// [`set_workers`](Self::set_workers).
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(2).build().unwrap();
    /// assert_eq!(rt.handle().workers(), 2);
    /// ```
    pub fn workers(&self) -> usize {
        self.shared.roster.active()
    }

    /// Most workers that there may be while the runtime runs: all workers' numbers are below it.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).max_workers(3).build().unwrap();
    /// assert_eq!(rt.handle().max_workers(), 3);
    /// ```
    pub fn max_workers(&self) -> usize {
        self.shared.roster.max()
    }

    /// All figures of this moment.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// rt.handle().spawn(|| ()).join().unwrap();
    /// let snapshot = rt.handle().snapshot();
    /// assert_eq!((snapshot.workers.len(), snapshot.routines.spawned), (1, 1));
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    /// Calls `visit` with each live routine, in no order. Routines go on meanwhile: one that is
    /// born or ends during the walk may or may not be seen.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::time;
    /// let sleeper = rt.spawn(|| time::sleep(std::time::Duration::from_secs(3600)));
    /// let mut seen = Vec::new();
    /// rt.handle().routines(&mut |routine| seen.push(routine.id));
    /// assert_eq!(seen, [sleeper.id()]);
    /// ```
    pub fn routines(&self, visit: &mut dyn FnMut(&RoutineView)) {
        self.shared.for_each_live(visit);
    }

    /// One live routine. Takes a walk over all blocks.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let (tx, rx) = openwork::channel::rendezvous();
    /// let waits = rt.spawn(move || rx.recv());
    /// assert_eq!(rt.handle().routine(waits.id()).unwrap().id, waits.id());
    /// tx.send(()).unwrap();
    /// # waits.join().unwrap().unwrap();
    /// ```
    pub fn routine(&self, id: RoutineId) -> Option<RoutineView> {
        self.shared.find(id)
    }

    /// Calls `visit` with each routine that waits at a lock, a channel or the like, and with who holds
    /// that thing: what a graph of waits is made of. Each such routine is claimed while its lock is asked,
    /// and a wake that comes meanwhile is carried out after it. A look at one costs some 20 ns, no more
    /// than in [`routines`](Self::routines) (`benches/waits.rs`).
    ///
    /// ```
    /// use openwork::{Runtime, snapshot::Owner, sync::Mutex};
    /// use std::sync::Arc;
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// let lock = Arc::new(Mutex::new(()));
    /// let shared = lock.clone();
    /// let guard = lock.lock().unwrap(); // by this thread
    /// let waits = rt.spawn(move || drop(shared.lock()));
    /// let mut owner = None;
    /// while owner.is_none() {
    ///     rt.handle().waits(&mut |wait| {
    ///         assert_eq!((wait.routine, wait.object), (waits.id(), lock.id()));
    ///         owner = wait.owner;
    ///     });
    /// }
    /// assert_eq!(owner, lock.owner());
    /// assert!(matches!(owner, Some(Owner::Thread(_))));
    /// # drop(guard);
    /// # waits.join().unwrap();
    /// ```
    pub fn waits(&self, visit: &mut dyn FnMut(&WaitView)) {
        self.shared.for_each_wait(visit);
    }

    /// Aborts one routine; see [`JoinHandle::abort`]. False if there is none of that number.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::time;
    /// let sleeper = rt.spawn(|| time::sleep(std::time::Duration::from_secs(3600)));
    /// assert!(rt.handle().abort(sleeper.id()));
    /// assert!(sleeper.join().is_err());
    /// ```
    pub fn abort(&self, id: RoutineId) -> bool {
        self.shared
            .abort_where(|header| header.id.load(Relaxed) == id.get())
            > 0
    }

    pub(crate) fn abort_workload(&self, workload: WorkloadId) {
        self.shared.abort_where(|header| header.is_of(workload));
    }

    /// Appends the turns that `worker` ran from cursor `from` on; begin with 0. The last 65,536
    /// are kept.
    ///
    /// ```
    /// use openwork::{Runtime, WorkerId};
    /// let rt = Runtime::builder().workers(1).record_turns(true).build().unwrap();
    /// let id = rt.block_on(|| openwork::current().unwrap().routine);
    /// let mut turns = Vec::new();
    /// while turns.is_empty() {
    ///     // The record is written when the turn is over, which may be after `block_on`.
    ///     rt.handle().turns(WorkerId::new(0), 0, &mut turns);
    /// }
    /// assert_eq!(turns[0].routine, id);
    /// ```
    ///
    /// # Panics
    /// If there can be no such worker.
    pub fn turns(&self, worker: WorkerId, from: u64, into: &mut Vec<TurnRecord>) -> RingRead {
        self.shared.workers[worker.index()]
            .recorder
            .read_turns(from, into)
    }

    /// Appends the thefts of `worker` from cursor `from` on; begin with 0. The last 16,384 are
    /// kept.
    ///
    /// ```
    /// use openwork::WorkerId;
    /// let rt = openwork::Runtime::builder().workers(2).build().unwrap();
    /// let mut thefts = Vec::new();
    /// let read = rt.handle().steals(WorkerId::new(0), 0, &mut thefts);
    /// assert_eq!((read.lost, read.next), (0, thefts.len() as u64));
    /// ```
    ///
    /// # Panics
    /// If there can be no such worker.
    pub fn steals(&self, worker: WorkerId, from: u64, into: &mut Vec<StealRecord>) -> RingRead {
        self.shared.workers[worker.index()]
            .recorder
            .read_steals(worker, from, into)
    }

    /// Appends the turns that were given `worker` after they had lost theirs in the middle, from cursor `from` on;
    /// begin with 0. The last 16,384 are kept.
    ///
    /// ```
    /// use openwork::WorkerId;
    /// let rt = openwork::Runtime::builder().workers(2).build().unwrap();
    /// let mut absences = Vec::new();
    /// let read = rt.handle().absences(WorkerId::new(1), 0, &mut absences);
    /// assert_eq!((read.lost, read.next), (0, absences.len() as u64));
    /// ```
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn absences(&self, worker: WorkerId, from: u64, into: &mut Vec<AbsenceRecord>) -> RingRead {
        self.shared.workers[worker.index()]
            .recorder
            .read_absences(worker, from, into)
    }

    /// Appends the reports of threads that sleep on what a routine bound to them most likely holds, from
    /// cursor `from` on; begin with 0. The last 64 are kept, and each such sleep is reported once. Needs
    /// [hand-off](crate::RuntimeBuilder::hand_off) or forced preemption: without them nobody watches.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let mut found = Vec::new();
    /// let read = rt.handle().hostage_deadlocks(0, &mut found);
    /// for one in &found {
    ///     let call = one.call.name().unwrap_or("an unknown call");
    ///     println!("routine {} sleeps in {call} at {:#x}", one.routine, one.futex_address);
    /// }
    /// assert_eq!((found.len(), read.next), (0, 0));
    /// ```
    pub fn hostage_deadlocks(&self, from: u64, into: &mut Vec<HostageDeadlock>) -> RingRead {
        self.shared.monitor.deadlocks.read(from, into)
    }

    /// Appends the panics that ended routines from cursor `from` on; begin with 0. The last 256
    /// are kept.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// # std::panic::set_hook(Box::new(|_| {}));
    /// rt.spawn(|| panic!("no luck")).join().unwrap_err();
    /// let mut panics = Vec::new();
    /// let read = rt.handle().panics(0, &mut panics);
    /// assert_eq!((panics[0].message.as_str(), read.next), ("no luck", 1));
    /// ```
    pub fn panics(&self, from: u64, into: &mut Vec<PanicRecord>) -> RingRead {
        self.shared.read_panics(from, into)
    }

    /// Whether workers record turns and thefts.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// assert!(!rt.handle().records_turns(), "not unless asked for");
    /// ```
    pub fn records_turns(&self) -> bool {
        self.shared.record.load(Relaxed)
    }

    /// Starts or stops the recording of turns and thefts.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// rt.handle().record_turns(true);
    /// assert!(rt.handle().records_turns());
    /// ```
    pub fn record_turns(&self, on: bool) {
        self.shared.record.store(on, Relaxed);
    }

    /// Counts the resident pages of up to `max_routines` blocked routines' stacks; `None` where the
    /// system does not tell.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// if let Some(sample) = rt.handle().sample_residency(1000) {
    ///     println!("{} bytes of {} stacks", sample.resident_bytes, sample.sampled);
    /// }
    /// ```
    pub fn sample_residency(&self, max_routines: usize) -> Option<ResidencySample> {
        self.shared.sample_residency(max_routines)
    }

    /// The same by spawn site, in no order. Allocates, and looks at every block.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// for site in rt.handle().sample_site_residency(1000).unwrap_or_default() {
    ///     println!("{}: {} bytes of {} stacks", site.site, site.resident_bytes, site.sampled);
    /// }
    /// ```
    pub fn sample_site_residency(&self, max_routines: usize) -> Option<Vec<SiteResidency>> {
        self.shared.sample_site_residency(max_routines)
    }

    /// How deep the stacks of each spawn site were, in no order: of all routines so far that suspended at
    /// least once. Beside it the times that a depth was left out, because a worker knew 256 sites
    /// already. Adds up what workers keep; looks at no routine.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| openwork::time::sleep(std::time::Duration::from_millis(5)));
    /// let (sites, lost) = rt.handle().stack_sites();
    /// assert_eq!(lost, 0);
    /// for found in sites {
    ///     println!("{}: at most {} bytes", found.site, found.high_water_bytes);
    /// }
    /// ```
    pub fn stack_sites(&self) -> (Vec<StackSite>, u64) {
        self.shared.stack_sites()
    }

    /// The stacks of one blocked routine: its own and its segments, each with what is used of it, what is
    /// left of it and what memory it holds. Takes a walk over all blocks, and one system call for each.
    ///
    /// ```
    /// use openwork::{Runtime, time, with_segment};
    /// use std::time::Duration;
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// let parser = rt.spawn(|| {
    ///     with_segment(1 << 20, || time::sleep(Duration::from_secs(3600))).unwrap();
    /// });
    /// let stack = loop {
    ///     if let Ok(stack) = rt.handle().stack(parser.id()) {
    ///         break stack;
    ///     }
    /// };
    /// let sizes: Vec<_> = stack.parts.iter().map(|part| part.slot_bytes).collect();
    /// assert_eq!(sizes, [64 << 10, 1 << 20]);
    /// ```
    ///
    /// # Errors
    /// Why it could not be looked at; see [`NoStack`].
    pub fn stack(&self, id: RoutineId) -> Result<StackDetail, NoStack> {
        self.shared.stack_detail(id)
    }

    /// Gives back the stack pages that routines blocked for longer than `parked_for` do not use, for
    /// up to `max_routines` of them that have not been trimmed in their present wait. Returns how
    /// many that were. Costs about 1 us each and a look at every block.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let trimmed = rt.handle().trim_parked_stacks(std::time::Duration::from_secs(1), 1000);
    /// assert_eq!(trimmed, 0); // nobody has waited for so long
    /// ```
    pub fn trim_parked_stacks(&self, parked_for: Duration, max_routines: usize) -> usize {
        self.shared.trim_parked(parked_for, max_routines)
    }

    /// The kernel's numbers of all threads that may hold workers.
    pub(crate) fn thread_ids(&self) -> Vec<i32> {
        let slots = self.shared.threads.slots().iter();
        slots
            .map(|slot| slot.leash.tid.load(Relaxed))
            .filter(|tid| *tid != 0)
            .collect()
    }

    /// Where this routine stands, if the thread that runs it is frozen.
    pub(crate) fn frozen_frames(&self, header: &Header) -> Option<Vec<usize>> {
        self.shared.threads.slots().iter().find_map(|slot| {
            let mut frames = [0; FROZEN_FRAMES];
            let depth = slot.leash.while_frozen(|| {
                let runs = std::ptr::eq(slot.routine.load(Relaxed), header);
                runs.then(|| slot.leash.frozen_frames(&mut frames))
            });
            Some(frames[..depth??].to_vec())
        })
    }

    /// Calls `visit` with the block of each routine, ended ones included.
    pub(crate) fn for_each_header(&self, visit: &mut dyn FnMut(&Header)) {
        self.shared.slabs.for_each(|header| {
            // Acquire pairs with the release store in `Header::init`.
            if header.id.load(Acquire) != 0 {
                visit(header);
            }
        });
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}
