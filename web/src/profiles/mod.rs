//! Taking profiles, and keeping them.
//!
//! A CPU profile or a dhat session lasts as long as its client asked, on a thread of its own that sleeps meanwhile.
//! Whoever waits for it holds the end of a channel: when the waiting stops (the client went away, the run was
//! cancelled, the service ends), the channel closes, and the instrument is switched off at once.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use openwork::Handle;
use openwork::profile::cpu;
use openwork_observatory::Observatory;
use openwork_observatory::profile::{Node, Report, Symbols, heap, routines};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::bridge::off_thread;
use crate::error::{ApiError, Code};

mod store;

pub use store::{Contents, Part, Record, Store};

/// Samples asked for, per second of CPU time of each worker. The kernel's tick bounds what is got: 250 of them where
/// `CONFIG_HZ` is 250, and the profile says so.
pub const CPU_HZ: u32 = 100;

/// Frames that dhat keeps of a stack. Its default of 10 is less than what lies, in a debug build, between a routine's
/// code and the allocator.
const DHAT_FRAMES: usize = 32;

/// What a profile shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Where processor time goes.
    Cpu,
    /// What is held, by the place that allocated it.
    Heap,
    /// What was ever allocated, by place.
    Allocs,
    /// What routines do, by equal stack.
    Routine,
    /// Every allocation of a while, by dhat.
    Dhat,
}

impl Kind {
    /// The name on the wire and in ids.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Cpu => "cpu",
            Kind::Heap => "heap",
            Kind::Allocs => "allocs",
            Kind::Routine => "routine",
            Kind::Dhat => "dhat",
        }
    }

    /// Whether taking it lasts as long as asked.
    pub fn is_timed(self) -> bool {
        matches!(self, Kind::Cpu | Kind::Dhat)
    }
}

/// Profiles: the instruments, and what they gave. A cheap handle.
#[derive(Clone, Debug)]
pub struct Profiles {
    store: Store,
    cpu: Instrument,
    dhat: Instrument,
}

/// Something of which there is one.
#[derive(Clone, Debug, Default)]
struct Instrument(Arc<AtomicBool>);

/// The right to use an instrument, until it is dropped.
#[derive(Debug)]
pub struct Claim(Instrument);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

/// A profile that has been taken.
#[derive(Clone, Debug)]
pub struct Taken {
    kind: Kind,
    report: Report,
    took: Duration,
    cpu: Option<CpuFacts>,
}

#[derive(Clone, Copy, Debug)]
struct CpuFacts {
    asked_hz: u32,
    achieved_hz: Option<f64>,
    skipped_in_switch: u64,
    lost: u64,
}

impl Taken {
    /// The gzipped `profile.proto`.
    pub fn pprof(&self, symbols: &Symbols) -> Vec<u8> {
        self.report.pprof(symbols)
    }

    /// The folded stacks.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Samples in it.
    pub fn samples(&self) -> u64 {
        match self.kind {
            Kind::Cpu | Kind::Routine => self.report.total(0).unsigned_abs(),
            Kind::Heap | Kind::Allocs | Kind::Dhat => self.report.stacks.len() as u64,
        }
    }
}

impl Profiles {
    /// Opens the profiles kept in `dir`.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        Ok(Profiles {
            store: Store::open(dir)?,
            cpu: Instrument::default(),
            dhat: Instrument::default(),
        })
    }

    /// The profiles kept.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Takes the instrument that profiles of this kind need, if they need one.
    ///
    /// # Errors
    /// 409 `profile_running` while another one uses it; 501 `not_supported` if this program cannot take such a profile.
    pub fn claim(&self, kind: Kind) -> Result<Option<Claim>, ApiError> {
        let instrument = match kind {
            Kind::Cpu => &self.cpu,
            Kind::Dhat => &self.dhat,
            Kind::Heap | Kind::Allocs => return counting().map(|()| None),
            Kind::Routine => return Ok(None),
        };
        if kind == Kind::Dhat {
            counting()?;
        }
        if instrument.0.swap(true, Ordering::Acquire) {
            let what = if kind == Kind::Cpu {
                "CPU profile"
            } else {
                "dhat session"
            };
            return Err(ApiError::new(
                Code::ProfileRunning,
                format!("a {what} is running; there can be one at a time"),
            ));
        }
        Ok(Some(Claim(instrument.clone())))
    }

    /// Samples where processor time goes for `time`. Dropping the future ends it and throws the samples away.
    ///
    /// # Errors
    /// The sampler could not be started.
    pub async fn cpu(
        &self,
        claim: Claim,
        observatory: &Observatory,
        time: Duration,
    ) -> Result<Taken, ApiError> {
        let observatory = observatory.clone();
        for_a_while(time, claim, move |wait| {
            let mut session = cpu::start(observatory.handle(), CPU_HZ).map_err(not_started)?;
            let began = Instant::now();
            wait(&mut || session.drain())?;
            let profile = session.stop();
            let facts = CpuFacts {
                asked_hz: profile.asked_hz,
                achieved_hz: profile.achieved_hz,
                skipped_in_switch: profile.skipped_in_switch,
                lost: profile.lost,
            };
            let report =
                openwork_observatory::profile::cpu::report(&profile, observatory.symbols());
            Ok(Taken {
                kind: Kind::Cpu,
                report,
                took: began.elapsed(),
                cpu: Some(facts),
            })
        })
        .await
    }

    /// What is held, or what was allocated, since the process began. With `time`: what came on top of it meanwhile.
    ///
    /// # Errors
    /// 501 `not_supported` if the program does not count its allocations.
    pub async fn heap(
        &self,
        kind: Kind,
        observatory: &Observatory,
        time: Option<Duration>,
    ) -> Result<Taken, ApiError> {
        let observatory = observatory.clone();
        let view = if kind == Kind::Allocs {
            heap::View::Allocated
        } else {
            heap::View::InUse
        };
        since_then(kind, time, move || {
            heap::report(view, observatory.symbols()).ok_or_else(not_counting)
        })
        .await
    }

    /// What each routine does now, by equal stack. With `time`: what changed meanwhile.
    ///
    /// # Errors
    /// `internal` if the walk panics.
    pub async fn routine(
        &self,
        observatory: &Observatory,
        time: Option<Duration>,
    ) -> Result<Taken, ApiError> {
        let observatory = observatory.clone();
        since_then(Kind::Routine, time, move || {
            Ok(walk(observatory.handle()).report(observatory.symbols()))
        })
        .await
    }

    /// Has dhat record every allocation for `time`, and keeps what it wrote. Dropping the future ends it.
    ///
    /// # Errors
    /// `storage` if the disk refuses.
    pub async fn dhat(&self, claim: Claim, time: Duration) -> Result<Record, ApiError> {
        let store = self.store.clone();
        for_a_while(time, claim, move |wait| {
            let id = store
                .new_id(Kind::Dhat, SystemTime::now())
                .map_err(ApiError::internal)?;
            let file = store.scratch(&id);
            let session = DhatSession::start(&file);
            let began = Instant::now();
            let waited = wait(&mut || {});
            drop(session);
            if let Err(gone) = waited {
                let _ = std::fs::remove_file(&file);
                return Err(gone);
            }
            let record = Record::new(id, Kind::Dhat, began.elapsed());
            store.add(record, Contents::Dhat(file)).map_err(refused)
        })
        .await
    }

    /// Keeps a profile. Looks up names and writes files: some milliseconds on a blocking thread.
    ///
    /// # Errors
    /// `storage` if the disk refuses.
    pub async fn keep(&self, taken: Taken, observatory: &Observatory) -> Result<Record, ApiError> {
        let (store, observatory) = (self.store.clone(), observatory.clone());
        off_thread(move || {
            let symbols = observatory.symbols();
            let id = store
                .new_id(taken.kind, SystemTime::now())
                .map_err(ApiError::internal)?;
            let mut record = Record::new(id, taken.kind, taken.took);
            record.samples = Some(taken.samples());
            if let Some(cpu) = taken.cpu {
                record.asked_hz = Some(cpu.asked_hz);
                record.achieved_hz = cpu.achieved_hz;
                record.skipped_in_switch = Some(cpu.skipped_in_switch);
                record.lost = Some(cpu.lost);
            }
            let tree = taken.report.icicle(taken.report.default_value, symbols);
            let icicle = IcicleWire {
                unit: tree.unit,
                root: NodeWire(&tree.root),
                remarks: &tree.remarks,
            };
            let icicle = serde_json::to_vec(&icicle).map_err(ApiError::internal)?;
            let contents = Contents::Pprof {
                pprof: taken.report.pprof(symbols),
                icicle,
            };
            store.add(record, contents).map_err(refused)
        })
        .await?
    }
}

/// A walk over all routines and their stacks.
pub fn walk(runtime: &Handle) -> routines::Routines {
    routines::Routines::take(runtime)
}

fn counting() -> Result<(), ApiError> {
    if openwork::memory::is_counting() {
        Ok(())
    } else {
        Err(not_counting())
    }
}

fn not_counting() -> ApiError {
    ApiError::new(
        Code::NotSupported,
        "this program was built without the counting allocator",
    )
}

fn not_started(error: cpu::StartError) -> ApiError {
    match error {
        cpu::StartError::AlreadyRunning => ApiError::new(Code::ProfileRunning, error.to_string()),
        cpu::StartError::Unsupported
        | cpu::StartError::TooManyThreads { .. }
        | cpu::StartError::SignalTaken => ApiError::new(Code::NotSupported, error.to_string()),
        error => ApiError::internal(error),
    }
}

fn refused(error: io::Error) -> ApiError {
    ApiError::storage(format!("the profile could not be kept: {error}"))
}

/// How often something is done while a profile is taken.
const STEP: Duration = Duration::from_millis(100);

/// Waits until a profile's time is over, and now and then does what it is given.
type Wait<'a> = &'a dyn Fn(&mut dyn FnMut()) -> Result<(), ApiError>;

/// Runs `take` on a blocking thread; `take` gets a function that waits for `time`, and fails at once when nobody waits
/// for the result any more.
async fn for_a_while<T: Send + 'static>(
    time: Duration,
    claim: Claim,
    take: impl FnOnce(Wait<'_>) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let (waiting, gone) = mpsc::channel::<()>();
    let taken = off_thread(move || {
        let _claim = claim;
        take(&|meanwhile| {
            let over = Instant::now() + time;
            loop {
                let left = over.saturating_duration_since(Instant::now());
                match gone.recv_timeout(left.min(STEP)) {
                    Err(RecvTimeoutError::Timeout) if left <= STEP => return Ok(()),
                    Err(RecvTimeoutError::Timeout) => meanwhile(),
                    _ => {
                        return Err(ApiError::new(
                            Code::Cancelled,
                            "nobody waits for this profile any more",
                        ));
                    }
                }
            }
        })
    })
    .await;
    drop(waiting);
    taken?
}

/// A report now, or what came on top of one during `time`.
async fn since_then(
    kind: Kind,
    time: Option<Duration>,
    report: impl Fn() -> Result<Report, ApiError> + Send + Sync + 'static,
) -> Result<Taken, ApiError> {
    let began = Instant::now();
    let report = Arc::new(report);
    let take = || {
        let report = report.clone();
        off_thread(move || report())
    };
    let mut taken = take().await??;
    if let Some(time) = time {
        tokio::time::sleep(time).await;
        taken = take().await??.since(&taken);
    }
    Ok(Taken {
        kind,
        report: taken,
        took: began.elapsed(),
        cpu: None,
    })
}

/// dhat recording into a file. There is one at a time: whoever makes it holds the claim.
struct DhatSession(Option<dhat::Profiler>);

impl DhatSession {
    fn start(file: &std::path::Path) -> Self {
        let profiler = dhat::Profiler::builder()
            .file_name(file)
            .trim_backtraces(Some(DHAT_FRAMES))
            .build();
        // Only now: dhat ignores what it sees without a profiler, but takes its lock for it.
        openwork::memory::divert(true);
        DhatSession(Some(profiler))
    }
}

impl Drop for DhatSession {
    fn drop(&mut self) {
        openwork::memory::divert(false);
        // Writes the file, and a summary to standard error.
        drop(self.0.take());
    }
}

impl Record {
    fn new(id: String, kind: Kind, took: Duration) -> Self {
        let since_1970 = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Record {
            id,
            kind,
            taken_at_ms: since_1970.as_millis() as u64,
            duration_ns: took.as_nanos() as u64,
            file_size_bytes: 0,
            kept_bytes: 0,
            samples: None,
            asked_hz: None,
            achieved_hz: None,
            skipped_in_switch: None,
            lost: None,
        }
    }
}

#[derive(Serialize)]
struct IcicleWire<'a> {
    unit: &'static str,
    root: NodeWire<'a>,
    remarks: &'a [String],
}

struct NodeWire<'a>(&'a Node);

impl Serialize for NodeWire<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let Node {
            name,
            package,
            own,
            total,
            children,
        } = self.0;
        let mut node = serializer.serialize_struct("Node", 5)?;
        node.serialize_field("name", name)?;
        node.serialize_field("package", package)?;
        node.serialize_field("own", own)?;
        node.serialize_field("total", total)?;
        let children: Vec<_> = children.iter().map(NodeWire).collect();
        node.serialize_field("children", &children)?;
        node.end()
    }
}
