//! The parts of the service, and the order in which they begin and end.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use openwork::{Handle, Runtime};
use openwork_blockchain::{Chain, ChainOptions, HashMeter, OpenError};
use openwork_observatory::Observatory;

use crate::config::{Access, Config};
use crate::last_crash::LastCrash;
use crate::lifecycle::Lifecycle;
use crate::machine::{self, WorkerCount};
use crate::profiles::Profiles;
use crate::security::host::HostRule;
use crate::security::token::Token;
use crate::server::ServeError;
use crate::{limits, runs, stream, wire};

/// How long one bare hashing loop runs at start, to have something to compare hash rates with.
const BASELINE_TIME: Duration = Duration::from_millis(100);

/// Handles to every part. Cheap to clone; what handlers get.
#[derive(Clone, Debug)]
pub struct AppState {
    /// What the service was told at start.
    pub config: Arc<Config>,
    /// The address listened on, with the port that the kernel picked if it was asked to.
    pub listen: SocketAddr,
    /// Where things are kept; a temporary directory when ephemeral.
    pub data_dir: Arc<Path>,
    /// When this process began to serve.
    pub started_at: SystemTime,
    /// Workers and where their number comes from.
    pub workers: WorkerCount,
    /// The runtime on which all work runs.
    pub runtime: Handle,
    /// What watches the runtime.
    pub observatory: Observatory,
    /// The chain.
    pub chain: Chain,
    /// Counts hashes per worker.
    pub meter: Arc<HashMeter>,
    /// The runs, now and before.
    pub runs: runs::Registry,
    /// The streams of events.
    pub hub: stream::Hub,
    /// Whether new work is taken.
    pub lifecycle: Lifecycle,
    /// The profiles kept.
    pub profiles: Profiles,
    /// The crash of the process before.
    pub last_crash: LastCrash,
    /// The token that requests must carry.
    pub token: Option<Token>,
    /// The hosts under which the service may be addressed.
    pub host_rule: Arc<HostRule>,
}
