//! The threads behind the workers, and the processors that these run on.

/// Why a worker changed threads.
///
/// ```
/// let words: Vec<_> = openwork::snapshot::HandOff::ALL.iter().map(|why| why.name()).collect();
/// assert_eq!(words, ["blocked", "frozen", "direct", "apart"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandOff {
    /// Its thread slept in the kernel.
    Blocked,
    /// Its thread was stopped, because its turn lasted too long.
    Frozen,
    /// Its thread gave it to one that wanted a worker.
    Direct,
    /// Its thread gave it to another one on which a fresh routine began, because of what is bound to the first.
    Apart,
}

impl HandOff {
    /// How many reasons there are.
    pub const COUNT: usize = 4;

    /// Every reason, in the order of [`ThreadFigures::handed_off_by`].
    pub const ALL: [HandOff; HandOff::COUNT] = [
        HandOff::Blocked,
        HandOff::Frozen,
        HandOff::Direct,
        HandOff::Apart,
    ];

    /// The word shown to people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            HandOff::Blocked => "blocked",
            HandOff::Frozen => "frozen",
            HandOff::Direct => "direct",
            HandOff::Apart => "apart",
        }
    }
}

/// Threads that run routines: those that hold workers, and those that wait for one.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(2).build().unwrap();
/// let threads = rt.snapshot().threads;
/// assert_eq!((threads.total, threads.peak, threads.wanting), (2, 2, 0));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadFigures {
    /// Threads that there are.
    pub total: u64,
    /// Those that have no worker and nothing to run.
    pub spare: u64,
    /// Of these, those to which no routine is bound.
    pub unbound: u64,
    /// Homes that want a worker: their threads have come back from the kernel, are frozen, or have routines
    /// to run that are bound to them.
    pub wanting: u64,
    /// Threads that run a routine without a worker: in the kernel, as a rule.
    pub away: u64,
    /// Threads that were stopped because their turn lasted too long.
    pub frozen: u64,
    /// Most threads that there were at once.
    pub peak: u64,
    /// Most threads that there may be.
    pub limit: u64,
    /// There are as many as there may be, and none is spare. A routine that blocks its thread keeps its worker then,
    /// unless a home wants one, and one that computes on may keep it too; whoever waits goes on when they end.
    pub at_limit: bool,
    /// Threads that were started to have some spare.
    pub started: u64,
    /// Threads that the system refused.
    pub refused: u64,
    /// Threads that have gone because nobody needed them.
    pub retired: u64,
    /// Places in the program whose routines start on a thread without bound routines, because those before them held
    /// their thread: they slept in the kernel, or were stopped.
    pub suspect_sites: u64,
    /// Fresh routines that were to start on another thread when none was there for it. Those that did are hand-offs, of
    /// the reason [`HandOff::Apart`].
    pub beside: u64,
    /// Times that a worker changed threads, by reason; see [`HandOff::ALL`].
    pub handed_off_by: [u64; HandOff::COUNT],
}

/// How the processors of the machine are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopologyFigures {
    /// Processors that are on.
    pub processors: u64,
    /// Cores: groups of processors that share one.
    pub cores: u64,
    /// Groups of processors that share the last cache before memory.
    pub caches: u64,
    /// Packages.
    pub packages: u64,
    /// Memory nodes.
    pub nodes: u64,
}
