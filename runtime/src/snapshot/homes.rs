//! What started routines are bound to.

/// What a started routine is bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HomeVersion {
    /// The OS thread on which it began.
    #[default]
    Threads,
    /// A thread identity that goes with it from thread to thread.
    Travelling,
}

impl HomeVersion {
    /// The word shown to people and programs.
    ///
    /// ```
    /// assert_eq!(openwork::snapshot::HomeVersion::Travelling.name(), "travelling");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            HomeVersion::Threads => "threads",
            HomeVersion::Travelling => "travelling",
        }
    }
}

/// What started routines are bound to, and how many of that there are.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).travelling_homes(16).build().unwrap();
/// let homes = rt.snapshot().homes;
/// println!("{}: {}", homes.version.name(), homes.reason);
/// assert!(homes.travelling.is_none_or(|figures| figures.limit <= 16));
/// ```
#[derive(Clone, Debug, Default)]
pub struct HomeFigures {
    /// Which version is on.
    pub version: HomeVersion,
    /// Why, in a sentence.
    pub reason: String,
    /// Figures of travelling homes, `None` where there are none.
    pub travelling: Option<TravellingFigures>,
}

/// Figures of travelling homes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TravellingFigures {
    /// Most homes at once: what was asked for, or what the system bears.
    pub limit: u64,
    /// Homes now.
    pub homes: u64,
    /// Homes that no routine has and no worker keeps ready.
    pub free: u64,
    /// Routines that share a home with others now.
    pub sharing: u64,
    /// Homes that were made so far.
    pub made: u64,
    /// Homes that have ended so far.
    pub ended: u64,
    /// Those of them that could not be used again: left in the middle of a panic, or mounted while the
    /// process changed its credentials.
    pub spoilt: u64,
    /// Times that the system refused a home.
    pub refused: u64,
    /// Routines that began on a home of others, so far.
    pub shared: u64,
    /// Turns that ran under a home.
    pub mounts: u64,
    /// Turns that were put off because another routine of the same home ran.
    pub busy: u64,
    /// Address space of all homes' stacks, in bytes. Resident is about a fifth of it as a rule, and what
    /// allocators keep for threads comes on top.
    pub stack_bytes: u64,
}
