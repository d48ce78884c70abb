//! A CPU profile: where the workers spend their time, and on whose behalf.
//!
//! Each thread of the runtime has a timer that counts its own CPU time, so an idle one is not sampled and
//! a busy one in proportion: spare threads too, since workers change threads. Threads that are started later are
//! found at [`Session::drain`]. Kernels whose CPU timers are driven by the clock tick deliver at most
//! one signal a tick (250 or 1,000 a second); the periods missed in between are counted in the
//! sample that comes ([`Sample::cpu_ns`]), and [`Profile::achieved_hz`] says what the rate really
//! was.
//!
//! Only Rust code built with frame pointers is walked whole. Where the innermost function has none
//! (the C library), a sample consists of that function alone or leaves its caller out.

use std::fmt;
use std::io;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

use super::ring::{self, SampleRing};
use super::signal::{self, InstallError, Timer};
use crate::handle::Handle;
use crate::id::{RoutineId, WorkerId, WorkloadId};

/// Most samples a second of CPU time that can be asked for.
pub const MAX_HZ: u32 = 1000;

/// How long a profile may last, at the rate asked for, before samples are lost for want of room,
/// unless [`Session::drain`] makes some; stacks being of medium depth.
const ROOM: Duration = Duration::from_secs(65);

/// Words reserved for a sample: the head and 53 frames.
const WORDS_PER_SAMPLE: u64 = 64;

/// Words of the largest ring, 32 MiB of address space, of which a minute at 250 Hz touches 8.
const MOST_WORDS: u64 = 4 << 20;

/// Whether a session exists.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// Why no profile was begun.
///
/// ```
/// use openwork::profile::cpu;
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let why = cpu::start(&rt.handle(), 0).unwrap_err();
/// assert!(matches!(why, cpu::StartError::Rate { hz: 0 } | cpu::StartError::Unsupported));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Another session exists; there is one `SIGPROF`.
    #[error("a CPU profile is being taken already")]
    AlreadyRunning,
    /// The rate is not in `1..=MAX_HZ`.
    #[error("{hz} samples a second were asked for; possible are 1 to {MAX_HZ}")]
    Rate {
        /// What was asked for.
        hz: u32,
    },
    /// The registers of this machine are not known here.
    #[error("CPU profiles need Linux on x86-64 or AArch64")]
    Unsupported,
    /// The runtime has more threads than can be sampled at once.
    #[error("{threads} threads; a CPU profile can watch {}", signal::STATIONS)]
    TooManyThreads {
        /// Threads there are.
        threads: usize,
    },
    /// Other code has put its own handler for `SIGPROF` over ours.
    #[error("another profiler has taken SIGPROF over")]
    SignalTaken,
    /// A system call failed.
    #[error("the system refuses a CPU profile: {0}")]
    Os(#[from] io::Error),
}

/// A finished profile.
///
/// ```
/// use openwork::profile::cpu;
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let session = cpu::start(&rt.handle(), 100)?;
/// rt.block_on(|| (0..5_000_000u64).fold(0, u64::wrapping_add));
/// let profile = session.stop();
/// assert_eq!(profile.asked_hz, 100);
/// println!("{} signals in {:?} of CPU time", profile.taken, profile.cpu);
/// # Ok::<(), cpu::StartError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Profile {
    /// In order of time for each thread, thread by thread as they were taken out.
    pub samples: Vec<Sample>,
    /// Samples a second of CPU time that were asked for.
    pub asked_hz: u32,
    /// Samples taken for each second of CPU time that the threads used; `None` if they used too
    /// little to tell, less than one period.
    pub achieved_hz: Option<f64>,
    /// Signals that came. Each is among the samples, skipped, or lost.
    pub taken: u64,
    /// Signals that found a thread between two stacks, where no walk is possible.
    pub skipped_in_switch: u64,
    /// Samples that found no room.
    pub lost: u64,
    /// Threads that were started meanwhile and could not be sampled, because there were too many or the system
    /// refused.
    pub unwatched: u64,
    /// CPU time of all threads while the profile was taken; of a thread that ended before the
    /// profile did, nothing.
    pub cpu: Duration,
    /// From start to stop.
    pub duration: Duration,
}

/// One look at a thread.
///
/// ```
/// use openwork::profile::cpu;
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let session = cpu::start(&rt.handle(), 100)?;
/// rt.block_on(|| (0..5_000_000u64).fold(0, u64::wrapping_add));
/// let profile = session.stop();
/// for sample in &profile.samples {
///     println!("{:?} on {:?}: {:#x?}", sample.routine, sample.worker, sample.frames.first());
/// }
/// # Ok::<(), cpu::StartError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// Addresses in the functions that were executing, innermost first: the interrupted instruction,
    /// then one within each call instruction. At most 128. A routine's end at its root.
    pub frames: Vec<usize>,
    /// The worker that the interrupted thread held; `None` for one that had none, as in a call that had lost its
    /// worker or on the way to one.
    pub worker: Option<WorkerId>,
    /// The routine that was running, `None` for the scheduler itself.
    pub routine: Option<RoutineId>,
    /// That routine's name.
    pub name: Option<String>,
    /// Name of its workload, its first 32 bytes.
    pub workload: Option<String>,
    /// The workload itself.
    pub workload_id: Option<WorkloadId>,
    /// CPU time that this sample stands for.
    pub cpu_ns: u64,
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sample")
            .field("frames", &format_args!("{:#x?}", self.frames))
            .field("worker", &self.worker)
            .field("routine", &self.routine)
            .field("name", &self.name)
            .field("workload", &self.workload)
            .field("workload_id", &self.workload_id)
            .field("cpu_ns", &self.cpu_ns)
            .finish()
    }
}

/// The session's claim to be the only one.
#[derive(Debug)]
struct OnlyOne;

impl OnlyOne {
    fn claim() -> Option<OnlyOne> {
        // Acquire with the Release in `drop`: the stations are empty again.
        RUNNING
            .compare_exchange(false, true, Acquire, Relaxed)
            .is_ok()
            .then_some(OnlyOne)
    }
}

impl Drop for OnlyOne {
    fn drop(&mut self) {
        // Release pairs with the acquire in `claim`.
        RUNNING.store(false, Release);
    }
}

/// A thread that is being sampled.
#[derive(Debug)]
struct Watched {
    tid: i32,
    cpu_before: Option<Duration>,
    timer: Timer,
}

/// Counts of those whose threads have ended.
#[derive(Debug, Default)]
struct Counts {
    taken: u64,
    skipped: u64,
    lost: u64,
}

impl Counts {
    fn add(&mut self, ring: &SampleRing) {
        self.taken += ring.taken();
        self.skipped += ring.skipped();
        self.lost += ring.lost();
    }
}

/// A profile being taken. Dropping it ends the sampling and throws the samples away.
///
/// ```
/// use openwork::profile::cpu;
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let session = cpu::start(&rt.handle(), 100)?;
/// assert!(cpu::start(&rt.handle(), 100).is_err(), "one at a time");
/// drop(session);
/// # Ok::<(), cpu::StartError>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping a session throws its samples away"]
pub struct Session {
    // Before `only_one`: the timers are gone when the next session may begin.
    watched: Vec<Watched>,
    /// Threads that could not be sampled, until they have ended, and how many that were so far.
    unwatched: Vec<i32>,
    refused: u64,
    ended: Counts,
    samples: Vec<Sample>,
    handle: Handle,
    hz: u32,
    period: Duration,
    began: Instant,
    _only_one: OnlyOne,
}

/// Begins to sample the threads of `handle`'s runtime, `hz` times a second of each one's CPU time.
///
/// ```
/// use openwork::profile::cpu;
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let session = cpu::start(&rt.handle(), 100)?;
/// # drop(session);
/// # Ok::<(), cpu::StartError>(())
/// ```
///
/// # Errors
/// [`StartError::AlreadyRunning`] while another session exists, at once; the others say themselves
/// what is wrong.
pub fn start(handle: &Handle, hz: u32) -> Result<Session, StartError> {
    if !signal::SUPPORTED {
        return Err(StartError::Unsupported);
    }
    if !(1..=MAX_HZ).contains(&hz) {
        return Err(StartError::Rate { hz });
    }
    let only_one = OnlyOne::claim().ok_or(StartError::AlreadyRunning)?;
    signal::install().map_err(|error| match error {
        InstallError::Replaced => StartError::SignalTaken,
        InstallError::Os(error) => StartError::Os(error),
    })?;
    let threads = handle.thread_ids();
    if threads.len() > signal::STATIONS {
        return Err(StartError::TooManyThreads {
            threads: threads.len(),
        });
    }
    let period = Duration::from_secs(1) / hz;
    let mut session = Session {
        watched: Vec::with_capacity(threads.len()),
        unwatched: Vec::new(),
        refused: 0,
        ended: Counts::default(),
        samples: Vec::new(),
        handle: handle.clone(),
        hz,
        period,
        began: Instant::now(),
        _only_one: only_one,
    };
    for tid in threads {
        let cpu_before = signal::cpu_time(tid);
        match session.watch(tid, cpu_before) {
            // It has ended since it was listed.
            Err(_) if signal::cpu_time(tid).is_none() => {}
            done => done?,
        }
    }
    Ok(session)
}

impl Session {
    /// Samples this thread from now on.
    fn watch(&mut self, tid: i32, cpu_before: Option<Duration>) -> io::Result<()> {
        let words = (u64::from(self.hz) * ROOM.as_secs() * WORDS_PER_SAMPLE).min(MOST_WORDS);
        let is_free = |station: &usize| {
            let mut stations = self.watched.iter().map(|watched| watched.timer.station());
            !stations.any(|taken| taken == *station)
        };
        let station = (0..signal::STATIONS).find(is_free);
        let station = station.ok_or(io::ErrorKind::QuotaExceeded)?;
        let ring = SampleRing::new(words as usize)?;
        let timer = Timer::start(tid, self.period, station, ring)?;
        self.watched.push(Watched {
            tid,
            cpu_before,
            timer,
        });
        Ok(())
    }

    /// Finds out which threads have come and gone.
    fn follow(&mut self) {
        let threads = self.handle.thread_ids();
        let has_ended = |watched: &mut Watched| !threads.contains(&watched.tid);
        for mut gone in self.watched.extract_if(.., has_ended) {
            gone.timer.disarm();
            take_out(&gone, self.period, &mut self.samples);
            self.ended.add(gone.timer.ring());
        }
        self.unwatched.retain(|tid| threads.contains(tid));
        for tid in threads {
            let is_known = self.watched.iter().any(|watched| watched.tid == tid);
            if is_known || self.unwatched.contains(&tid) {
                continue;
            }
            // All its time is of this profile.
            if self.watch(tid, Some(Duration::ZERO)).is_err() && signal::cpu_time(tid).is_some() {
                self.unwatched.push(tid);
                self.refused += 1;
            }
        }
    }

    /// Makes room for further samples by taking those that are there into the profile, which is needed for
    /// profiles of more than a minute; and begins to sample threads that were started since the last call. What such a thread
    /// does before is not sampled, so that whoever lets a profile run calls this ten times a second.
    ///
    /// ```
    /// use openwork::profile::cpu;
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let mut session = cpu::start(&rt.handle(), 100)?;
    /// for _part in 0..3 {
    ///     rt.block_on(|| (0..1_000_000u64).fold(0, u64::wrapping_add));
    ///     session.drain();
    /// }
    /// let profile = session.stop();
    /// assert_eq!(profile.lost, 0);
    /// # Ok::<(), cpu::StartError>(())
    /// ```
    pub fn drain(&mut self) {
        self.follow();
        self.take_all_out();
    }

    fn take_all_out(&mut self) {
        for watched in &self.watched {
            take_out(watched, self.period, &mut self.samples);
        }
    }

    /// Ends the sampling and hands the profile over.
    ///
    /// ```
    /// use openwork::profile::cpu;
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let session = cpu::start(&rt.handle(), 100)?;
    /// rt.block_on(|| (0..5_000_000u64).fold(0, u64::wrapping_add));
    /// let profile = session.stop();
    /// println!("{} samples", profile.samples.len());
    /// # Ok::<(), cpu::StartError>(())
    /// ```
    pub fn stop(mut self) -> Profile {
        let mut cpu = Duration::ZERO;
        for watched in &mut self.watched {
            watched.timer.disarm();
            if let (Some(before), Some(after)) = (watched.cpu_before, signal::cpu_time(watched.tid))
            {
                cpu += after.saturating_sub(before);
            }
        }
        let duration = self.began.elapsed();
        self.take_all_out();
        let mut counts = std::mem::take(&mut self.ended);
        for watched in &self.watched {
            counts.add(watched.timer.ring());
        }
        let Counts {
            taken,
            skipped,
            lost,
        } = counts;
        Profile {
            asked_hz: self.hz,
            achieved_hz: (cpu >= self.period).then(|| taken as f64 / cpu.as_secs_f64()),
            taken,
            skipped_in_switch: skipped,
            lost,
            unwatched: self.refused,
            cpu,
            duration,
            samples: std::mem::take(&mut self.samples),
        }
    }
}

/// Moves what the thread's ring holds into the profile.
fn take_out(watched: &Watched, period: Duration, samples: &mut Vec<Sample>) {
    while let Some((head, frames)) = watched.timer.ring().pop() {
        samples.push(Sample {
            frames,
            worker: head.worker.map(WorkerId::new),
            routine: (head.routine != 0).then(|| RoutineId::new(head.routine)),
            name: ring::text(head.name),
            workload: ring::text(head.workload_name),
            workload_id: (head.workload != 0).then(|| WorkloadId::new(head.workload)),
            cpu_ns: period.as_nanos() as u64 * u64::from(head.periods),
        });
    }
}
