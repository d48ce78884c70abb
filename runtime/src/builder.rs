//! How a runtime is configured and started. The only reader of configuration.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use crossbeam_deque::Injector;

use crate::blocking::pool::{self, Pool, PoolConfig};
use crate::config::{
    ConfigChange, ConfigError, Placement, Preemption, RuntimeConfig, StealAmount, Strategy,
    Tunables, VictimOrder,
};
use crate::homes::{self, Homes, NoHomes};
use crate::monitor::{self, Monitor, Watch};
use crate::routine::slab::Slabs;
use crate::runtime::Runtime;
use crate::scheduler::apart::Apart;
use crate::scheduler::idle::{Idle, WORKERS_MAX};
use crate::scheduler::levels::Levels;
use crate::scheduler::lists::SharedLists;
use crate::scheduler::parker::Parker;
use crate::scheduler::roster::Roster;
use crate::scheduler::shutdown::End;
use crate::scheduler::stack_waiters::StackWaiters;
use crate::scheduler::stats::{ForeignStats, WorkerStats};
use crate::scheduler::strategy::assigned::Assigned;
use crate::scheduler::strategy::{Balance, Custom};
use crate::scheduler::threads::Threads;
use crate::scheduler::timers::Timers;
use crate::scheduler::worker::deque::Deque;
use crate::scheduler::{NO_HOME, PanicLog, Shared, WorkerShared, worker};
use crate::snapshot::{GuardMode, IoBackend};
use crate::stack::{StackArena, StackClass, StackConfig};
use crate::sync::holder;
use crate::time;
use crate::trace::Recorder;

/// A good number for [`RuntimeBuilder::travelling_homes`]: with the program's threads it stays under the 4,096
/// thread numbers that some libraries can tell apart.
///
/// ```
/// let rt = openwork::Runtime::builder().travelling_homes(openwork::DEFAULT_HOMES).build().unwrap();
/// assert_eq!(rt.block_on(|| 1), 1);
/// ```
pub const DEFAULT_HOMES: usize = 1024;

/// Homes that travel unless said otherwise: none, but in a build that tests them.
const HOMES: usize = if cfg!(openwork_travelling_homes) {
    DEFAULT_HOMES
} else {
    0
};

/// Most workers possible.
const MOST_WORKERS: usize = if cfg!(stackless) { 1 } else { WORKERS_MAX };

/// Workers that there is room for in any case, unless said otherwise.
const ROOM_FOR_WORKERS: usize = if cfg!(stackless) { 1 } else { 4 };

/// Size of a stack slot unless said otherwise, in bytes.
const STACK_BYTES: usize = 64 << 10;

/// Configures a [`Runtime`].
///
/// ```
/// let rt = openwork::Runtime::builder()
///     .workers(2)
///     .stack_size(128 << 10)
///     .record_turns(true)
///     .build()
///     .unwrap();
/// assert_eq!(rt.handle().workers(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct RuntimeBuilder {
    workers: Option<usize>,
    max_workers: Option<usize>,
    stack_bytes: usize,
    guard: GuardMode,
    max_stacks: Option<u64>,
    record_turns: bool,
    io_backend: IoBackend,
    pool: PoolConfig,
    homes: usize,
    config: ConfigChange,
    strategy: Option<Custom>,
}

/// Why a runtime could not be started.
///
/// ```
/// let why = openwork::Runtime::builder().workers(0).build().unwrap_err();
/// assert_eq!(why.to_string(), "workers: 0 is out of range, from 1 to 256 are possible");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The number of workers is out of range.
    #[error("workers: {asked} is out of range, from 1 to {max} are possible")]
    Workers {
        /// Workers asked for.
        asked: usize,
        /// Most workers possible.
        max: usize,
    },
    /// The most workers that there may be is out of range.
    #[error("max_workers: {asked} is out of range, from {min} to {max} are possible")]
    MaxWorkers {
        /// Workers asked for.
        asked: usize,
        /// As many as there are at the start.
        min: usize,
        /// Most workers possible.
        max: usize,
    },
    /// The stack size is over the largest one.
    #[error("stack_size: {asked} bytes were asked for, at most {max} are possible")]
    StackSize {
        /// Bytes asked for.
        asked: usize,
        /// Most bytes possible.
        max: usize,
    },
    /// More travelling homes than can be had.
    #[error("travelling_homes: {asked} were asked for, at most {max} are possible")]
    TravellingHomes {
        /// Homes asked for.
        asked: usize,
        /// Most homes possible.
        max: usize,
    },
    /// The blocking pool must be allowed a thread.
    #[error("blocking_threads: 0 is out of range, from 1 are possible")]
    BlockingThreads,
    /// Part of the configuration is not possible.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Stacks cannot be made as asked.
    #[error("stacks: {0}")]
    Stacks(#[source] io::Error),
    /// A thread could not be started.
    #[error("worker thread: {0}")]
    Thread(#[source] io::Error),
    /// The standard library has no clock on this target.
    #[cfg(stackless)]
    #[error("no clock: this target's standard library has none; wasm32-wasip1's has")]
    NoClock,
}

impl RuntimeBuilder {
    pub(crate) fn new() -> RuntimeBuilder {
        RuntimeBuilder {
            workers: None,
            max_workers: None,
            stack_bytes: STACK_BYTES,
            guard: GuardMode::Auto,
            max_stacks: None,
            record_turns: false,
            io_backend: IoBackend::Auto,
            pool: PoolConfig {
                limit: pool::THREADS_MAX,
                keep_alive: pool::KEEP_ALIVE,
                stack_bytes: None,
            },
            homes: HOMES,
            config: ConfigChange::default(),
            strategy: None,
        }
    }

    /// Number of workers at the start, 1 to 256. Default: what
    /// [`available_parallelism`](thread::available_parallelism) says, which on Linux heeds the processors that
    /// the process may use and the quota of its control groups. See
    /// [`Handle::set_workers`](crate::Handle::set_workers) for later.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// assert_eq!(rt.snapshot().workers.len(), 1);
    /// ```
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Most workers that there may be while the runtime runs, from as many as there are at the start to 256; see
    /// [`Handle::set_workers`](crate::Handle::set_workers). Default: 4, or as many as there are processors for
    /// this process or workers at the start, if those are more. With
    /// [travelling homes](Self::travelling_homes) there are no more than homes.
    ///
    /// Room for a worker that was never active takes about 50 KiB of memory and no time of others; its rings of turns
    /// (some MiB, see [`record_turns`](Self::record_turns)) are made when it is active for the first time.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).max_workers(8).build().unwrap();
    /// assert_eq!((rt.handle().workers(), rt.handle().max_workers()), (1, 8));
    /// rt.handle().set_workers(2).unwrap();
    /// ```
    pub fn max_workers(mut self, max: usize) -> Self {
        self.max_workers = Some(max);
        self
    }

    /// Size of a routine's stack unless it asks for another, in bytes, guard page included: rounded
    /// up to a power of two and to 32 KiB. Default: 64 KiB. It is address space; memory comes page
    /// by page as the stack grows.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).stack_size(100_000).build().unwrap();
    /// assert_eq!(rt.snapshot().stacks.slot_bytes, 128 << 10);
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_bytes = bytes;
        self
    }

    /// How guard pages are made. Default: [`GuardMode::Auto`].
    ///
    /// ```
    /// use openwork::snapshot::GuardMode;
    /// let rt = openwork::Runtime::builder().workers(1).guard(GuardMode::Mprotect).build().unwrap();
    /// assert_eq!(rt.snapshot().stacks.mode, GuardMode::Mprotect);
    /// ```
    pub fn guard(mut self, mode: GuardMode) -> Self {
        self.guard = mode;
        self
    }

    /// Most stacks in use at once. Routines beyond wait for one; those that have one keep it while
    /// they wait for others, so a bound under the number of routines that wait for each other stops
    /// them all. Default: none, or what the guards allow.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).max_stacks(100).build().unwrap();
    /// assert_eq!(rt.snapshot().stacks.limit, Some(100));
    /// ```
    pub fn max_stacks(mut self, stacks: usize) -> Self {
        self.max_stacks = Some(stacks as u64);
        self
    }

    /// Whether workers record turns and thefts from the start, for who reads them by
    /// [`Handle::turns`](crate::Handle::turns). A turn costs about 30 ns more then, most of it for reading
    /// the clock twice, and its times are exact. Default: no.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).record_turns(true).build().unwrap();
    /// assert!(rt.handle().records_turns());
    /// ```
    pub fn record_turns(mut self, on: bool) -> Self {
        self.record_turns = on;
        self
    }

    /// How the kernel tells that sockets have something. Default: [`IoBackend::Auto`]. What it came to
    /// is in [`Snapshot::io`](crate::snapshot::Snapshot::io), once a routine has waited for a socket.
    ///
    /// ```
    /// use openwork::snapshot::{IoBackend, IoReason};
    ///
    /// let rt = openwork::Runtime::builder()
    ///     .workers(1)
    ///     .io_backend(IoBackend::Uring)
    ///     .build()
    ///     .unwrap();
    /// rt.block_on(|| {
    ///     let socket = openwork::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     socket.set_read_timeout(Some(std::time::Duration::from_millis(1))).unwrap();
    ///     socket.recv(&mut [0]).unwrap_err();
    /// });
    /// let io = rt.snapshot().io.unwrap();
    /// match io.reason {
    ///     IoReason::Refused { .. } => assert_eq!(io.backend, IoBackend::Epoll),
    ///     _ => assert_eq!(io.backend, IoBackend::Uring),
    /// }
    /// ```
    pub fn io_backend(mut self, backend: IoBackend) -> Self {
        self.io_backend = backend;
        self
    }

    /// Most threads of the pool that runs [`blocking`](crate::blocking) calls, 1 or more. Calls beyond
    /// wait for one. Default: 512. Threads are started when calls find none idle.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().blocking_threads(4).build().unwrap();
    /// assert_eq!(rt.snapshot().blocking.limit, 4);
    /// ```
    pub fn blocking_threads(mut self, max: usize) -> Self {
        self.pool.limit = max;
        self
    }

    /// How long a thread of the blocking pool stays without work. Default: 10 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// let rt = openwork::Runtime::builder().blocking_keep_alive(Duration::ZERO).build().unwrap();
    /// rt.block_on(|| openwork::blocking(|| ()));
    /// while rt.snapshot().blocking.threads > 0 {
    ///     std::thread::yield_now();
    /// }
    /// ```
    pub fn blocking_keep_alive(mut self, idle: Duration) -> Self {
        self.pool.keep_alive = idle;
        self
    }

    /// Stack size of the blocking pool's threads, in bytes. Default: that of
    /// [`std::thread`](thread::Builder::stack_size).
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().blocking_stack_size(64 << 10).build().unwrap();
    /// assert_eq!(rt.block_on(|| openwork::blocking(|| 1)), 1);
    /// ```
    pub fn blocking_stack_size(mut self, bytes: usize) -> Self {
        self.pool.stack_bytes = Some(bytes);
        self
    }

    /// Where fresh routines are queued; see [`Placement`]. Default: [`Placement::Local`].
    ///
    /// ```
    /// use openwork::config::Placement;
    /// let rt = openwork::Runtime::builder().placement(Placement::Local).build().unwrap();
    /// assert_eq!(rt.handle().config().placement, Placement::Local);
    /// ```
    pub fn placement(mut self, placement: Placement) -> Self {
        self.config.placement = Some(placement);
        self
    }

    /// Whom idle workers steal from first; see [`VictimOrder`]. Default: [`VictimOrder::Random`].
    ///
    /// ```
    /// use openwork::config::VictimOrder;
    /// let rt = openwork::Runtime::builder().victims(VictimOrder::Random).build().unwrap();
    /// assert_eq!(rt.handle().config().victims, VictimOrder::Random);
    /// ```
    pub fn victims(mut self, order: VictimOrder) -> Self {
        self.config.victims = Some(order);
        self
    }

    /// How much they take; see [`StealAmount`]. Default: [`StealAmount::Half`].
    ///
    /// ```
    /// use openwork::config::StealAmount;
    /// let rt = openwork::Runtime::builder().steal(StealAmount::Half).build().unwrap();
    /// assert_eq!(rt.handle().config().steal, StealAmount::Half);
    /// ```
    pub fn steal(mut self, amount: StealAmount) -> Self {
        self.config.steal = Some(amount);
        self
    }

    /// Whether work is moved from workers that have too much of it to those that have little. Default: no.
    /// See [`RuntimeConfig::rebalance_ratio`] for what is too much, and
    /// [`RuntimeConfig::rebalance_period`] for how often that is looked at.
    ///
    /// Idle workers steal in any case. What this adds: work also moves between busy workers, and routines
    /// with a key leave a worker that has too many; see [`Builder::affinity`](crate::Builder::affinity).
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(2).rebalance(true).build().unwrap();
    /// assert!(rt.handle().config().rebalance);
    /// ```
    pub fn rebalance(mut self, on: bool) -> Self {
        self.config.rebalance = Some(on);
        self
    }

    /// How many times the mean is too much, 1.1 to 100. Default: 1.5.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(4).rebalance_ratio(2.0).build().unwrap();
    /// assert_eq!(rt.handle().config().rebalance_ratio, 2.0);
    /// ```
    pub fn rebalance_ratio(mut self, ratio: f64) -> Self {
        self.config.rebalance_ratio = Some(ratio);
        self
    }

    /// How often the workers' loads are compared, 1 ms to 10 s. Default: 10 ms.
    ///
    /// ```
    /// use std::time::Duration;
    /// let period = Duration::from_millis(50);
    /// let rt = openwork::Runtime::builder().workers(4).rebalance_period(period).build().unwrap();
    /// assert_eq!(rt.handle().config().rebalance_period, period);
    /// ```
    pub fn rebalance_period(mut self, period: Duration) -> Self {
        self.config.rebalance_period = Some(period);
        self
    }

    /// A strategy of your own, to be asked while [`Placement::Custom`] or [`VictimOrder::Custom`] is set.
    /// See [`Strategy`].
    ///
    /// ```
    /// use openwork::config::{Placement, Strategy};
    ///
    /// struct AsUsual;
    /// impl Strategy for AsUsual {}
    ///
    /// let builder = openwork::Runtime::builder().strategy(AsUsual).placement(Placement::Custom);
    /// assert_eq!(builder.build().unwrap().block_on(|| 1), 1);
    /// let without = openwork::Runtime::builder().placement(Placement::Custom).build();
    /// assert!(without.is_err());
    /// ```
    pub fn strategy(mut self, strategy: impl Strategy) -> Self {
        self.strategy = Some(Custom(Arc::new(strategy)));
        self
    }

    /// What happens to routines that run on while others wait; see [`Preemption`]. Default:
    /// [`Preemption::Cooperative`].
    ///
    /// ```
    /// use openwork::config::Preemption;
    /// let rt = openwork::Runtime::builder().preemption(Preemption::Off).build().unwrap();
    /// assert_eq!(rt.handle().config().preemption, Preemption::Off);
    /// ```
    pub fn preemption(mut self, preemption: Preemption) -> Self {
        self.config.preemption = Some(preemption);
        self
    }

    /// How long a routine may run while others wait, 1 to 100 ms. Default: 10 ms.
    ///
    /// ```
    /// use std::time::Duration;
    /// let slice = Duration::from_millis(2);
    /// let rt = openwork::Runtime::builder().slice(slice).build().unwrap();
    /// assert_eq!(rt.handle().config().slice, slice);
    /// ```
    pub fn slice(mut self, slice: Duration) -> Self {
        self.config.slice = Some(slice);
        self
    }

    /// Most threads that run routines, from 2 to 4096, and more than there are workers: as many can sleep in
    /// the kernel or be stopped at once. Where all do, workers stay with them, and routines wait until one comes
    /// back. Default: 256. It can be lowered while the runtime runs, and raised to this number again.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).max_threads(4).build().unwrap();
    /// assert_eq!(rt.snapshot().threads.limit, 4);
    /// ```
    pub fn max_threads(mut self, max: usize) -> Self {
        self.config.max_threads = Some(max);
        self
    }

    /// Whether the worker of a thread that sleeps in the kernel is handed to another one, whatever call that is.
    /// Default: yes, where the kernel has `membarrier(2)`.
    ///
    /// ```no_run
    /// use std::io::{Read, Write};
    ///
    /// let rt = openwork::Runtime::builder().workers(1).hand_off(true).build().unwrap();
    /// let (mut reader, mut writer) = std::io::pipe().unwrap();
    /// let answer = rt.spawn(move || {
    ///     let mut byte = [0];
    ///     reader.read_exact(&mut byte).unwrap(); // blocks the thread, and the only worker goes on
    ///     byte[0]
    /// });
    /// rt.spawn(move || writer.write_all(&[42]).unwrap()).join().unwrap();
    /// assert_eq!(answer.join().unwrap(), 42);
    /// ```
    pub fn hand_off(mut self, on: bool) -> Self {
        self.config.hand_off = Some(on);
        self
    }

    /// Gives up to `max` started routines each a home that travels: a thread identity of their own, with which
    /// they go from worker to worker, in safe code. So nothing that is bound to a thread is shared by routines,
    /// and no thread that computes or sleeps keeps others waiting. Beyond `max` routines share homes.
    /// [`DEFAULT_HOMES`] is a good number. Default: 0, homes are OS threads. At most 65,536.
    ///
    /// Each home is a sleeping thread to the system: about 30 KiB, made in some 60 us when it is first needed and
    /// kept. It costs some 20 ns to change homes. On a system that has no travelling homes, or too little room for
    /// them, the runtime starts without: [`Snapshot::homes`](crate::snapshot::Snapshot::homes) says which it
    /// is, and why. What is bound to the kernel's thread does not travel; `docs/hazards.md` lists it.
    ///
    /// ```
    /// use openwork::snapshot::HomeVersion;
    /// let rt = openwork::Runtime::builder().workers(2).travelling_homes(100).build().unwrap();
    /// let homes = rt.snapshot().homes;
    /// match homes.version {
    ///     HomeVersion::Travelling => assert!(homes.travelling.unwrap().limit <= 100),
    ///     _ => println!("homes are threads: {}", homes.reason),
    /// }
    /// ```
    pub fn travelling_homes(mut self, max: usize) -> Self {
        self.homes = max;
        self
    }

    /// Starts the runtime: its workers' threads run when this returns.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(2).build()?;
    /// assert_eq!(rt.block_on(|| 6 * 7), 42);
    /// # Ok::<(), openwork::BuildError>(())
    /// ```
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(self) -> Result<Runtime, BuildError> {
        let (shared, queues) = self.prepare(Purpose::Threads)?;
        start_threads(shared, queues)
    }

    /// Everything but the threads: the common part, and a deque for each worker.
    pub(crate) fn prepare(self, purpose: Purpose) -> Result<(Arc<Shared>, Vec<Deque>), BuildError> {
        #[cfg(stackless)]
        if cfg!(target_os = "unknown") {
            return Err(BuildError::NoClock);
        }
        time::now_ns();
        let processors = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MOST_WORKERS);
        let count = self.workers.unwrap_or(processors);
        if !(1..=MOST_WORKERS).contains(&count) {
            return Err(BuildError::Workers {
                asked: count,
                max: MOST_WORKERS,
            });
        }
        let max_workers = match (&purpose, self.max_workers) {
            // Its one worker has no thread of its own.
            (Purpose::Exploration(_), _) => count,
            (Purpose::Threads, Some(max)) => max,
            (Purpose::Threads, None) => count.max(processors).max(ROOM_FOR_WORKERS),
        };
        if !(count..=MOST_WORKERS).contains(&max_workers) {
            return Err(BuildError::MaxWorkers {
                asked: max_workers,
                min: count,
                max: MOST_WORKERS,
            });
        }
        let default_class =
            StackClass::for_bytes(self.stack_bytes).map_err(|_| BuildError::StackSize {
                asked: self.stack_bytes,
                max: StackClass::LARGEST.bytes(),
            })?;
        if self.pool.limit == 0 {
            return Err(BuildError::BlockingThreads);
        }
        let purpose_has_threads = purpose.has_threads();
        let start = RuntimeConfig {
            workers: count,
            max_workers,
            hand_off: purpose_has_threads && monitor::prepare_hand_off().is_ok(),
            ..RuntimeConfig::default()
        };
        let config = start.with(&self.config, self.strategy.is_some())?;
        let stacks = StackConfig {
            default_class,
            guard: self.guard,
            max_stacks: self.max_stacks,
        };
        if self.homes > homes::MOST {
            return Err(BuildError::TravellingHomes {
                asked: self.homes,
                max: homes::MOST,
            });
        }
        let purpose_homes = match purpose {
            Purpose::Threads => Ok(()),
            Purpose::Exploration(_) => Err(NoHomes::Deterministic),
        };
        let (arena, recorder): (_, fn() -> Recorder) = match purpose {
            Purpose::Threads => (None, Recorder::new),
            Purpose::Exploration(arena) => (arena, Recorder::unread),
        };
        let arena = match arena {
            Some(arena) => arena,
            None => StackArena::new(stacks).map_err(BuildError::Stacks)?,
        };
        #[cfg(not(portable))]
        crate::stack::overflow::install(crate::current::OVERFLOW_HOOKS);
        // Of a deterministic run, the caller's own.
        let places = match purpose_has_threads {
            true => config.max_threads.max(count),
            false => 1,
        };
        let number = holder::number_runtime();
        let homes = match purpose_homes {
            Err(why) => Err(why),
            Ok(()) if self.homes == 0 => Err(NoHomes::NotAsked),
            Ok(()) => Homes::new(self.homes as u32, count as u32),
        };
        // A worker beyond them would find none to run anybody under.
        let max_workers = match &homes {
            Ok(homes) => max_workers.min(homes.limit() as usize),
            Err(_) => max_workers,
        };
        let queues: Vec<_> = (0..max_workers).map(|_| Deque::new()).collect();
        let watch = Arc::new(Watch::new());
        let shared = Arc::new(Shared {
            threads: Threads::new(places, number, &watch),
            monitor: Monitor::new(watch),
            homes,
            cores: queues.iter().map(|_| AtomicPtr::default()).collect(),
            roster: Roster::new(count, max_workers),
            workers: queues
                .iter()
                .map(|queue| WorkerShared {
                    stealer: queue.stealers(),
                    assigned: Assigned::new(),
                    own: SharedLists::new(),
                    home: AtomicU32::new(NO_HOME),
                    timers: Arc::new(Timers::new()),
                    parker: Parker::new(),
                    stats: WorkerStats::new(max_workers),
                    recorder: recorder(),
                })
                .collect(),
            injector: Injector::new(),
            levels: Levels::new(),
            idle: Idle::new(),
            slabs: Slabs::new(),
            arena,
            default_class,
            stack_waiters: StackWaiters::new(),
            next_id: AtomicU64::new(1),
            number,
            foreign: ForeignStats::default(),
            record: AtomicBool::new(self.record_turns),
            panics: Mutex::new(PanicLog::new()),
            pool: Pool::new(self.pool),
            end: End::new(),
            io_backend: self.io_backend,
            tunables: Tunables::new(&config),
            balance: Balance::new(self.strategy),
            apart: Apart::new(),
            poller: OnceLock::new(),
        });
        for worker in shared.spanned() {
            worker.recorder.prepare();
        }
        shared.slabs.keep(shared.clone());
        Ok((shared, queues))
    }
}

impl Purpose {
    fn has_threads(&self) -> bool {
        matches!(self, Purpose::Threads)
    }
}

/// What a runtime is built for.
pub(crate) enum Purpose {
    /// Workers with a thread each.
    Threads,
    /// A deterministic run, on the stacks of the one before it.
    Exploration(Option<Arc<StackArena>>),
}

/// On one thread: whoever waits for something runs its turns.
#[cfg(stackless)]
fn start_threads(shared: Arc<Shared>, queues: Vec<Deque>) -> Result<Runtime, BuildError> {
    for (index, queue) in queues.into_iter().enumerate() {
        shared.add_worker(index as u32, queue);
    }
    shared.threads.desk.begin(0, 0);
    worker::driven::enlist(&shared);
    Ok(Runtime::new(shared, Vec::new()))
}

#[cfg(not(stackless))]
fn start_threads(shared: Arc<Shared>, queues: Vec<Deque>) -> Result<Runtime, BuildError> {
    use std::sync::atomic::Ordering;

    let count = shared.roster.active();
    for (index, queue) in queues.into_iter().enumerate() {
        shared.add_worker(index as u32, queue);
    }
    let mut threads = Vec::with_capacity(count);
    for index in 0..count {
        let claimed = shared.threads.desk.claim();
        debug_assert_eq!(claimed, Some(index as u32), "places are given out in order");
        // What is asked for at the start there must be, whatever the limit.
        shared.threads.admit(usize::MAX);
        let of_thread = shared.clone();
        let spawned = thread::Builder::new()
            .name(format!("openwork-{index}"))
            // SAFETY: 1: the worker was just made, `Runtime` joins the thread before it drops workers,
            // and no other thread is given this one; 2: nor this slot.
            .spawn(move || unsafe { worker::main(&of_thread, index as u32, index as u32) });
        match spawned {
            Ok(thread) => threads.push(thread),
            Err(why) => {
                shared.threads.note_end();
                // Ends those that run.
                drop(Runtime::new(shared, threads));
                return Err(BuildError::Thread(why));
            }
        }
    }
    shared.end.wait_started(count);
    if shared.config().needs_monitor()
        && let Err(why) = shared.start_monitor()
    {
        drop(Runtime::new(shared, threads));
        return Err(BuildError::Thread(why));
    }
    debug_assert_eq!(shared.foreign.spawned.load(Ordering::Relaxed), 0);
    Ok(Runtime::new(shared, threads))
}
