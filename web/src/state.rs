//! The parts of the service, and the order in which they begin and end.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use openwork::{BuildError, Handle, Runtime, RuntimeBuilder};
use openwork_blockchain::{Chain, ChainOptions, HashMeter, OpenError};
use openwork_observatory::Observatory;

use crate::config::{Access, Config, Scheduling};
use crate::last_crash::LastCrash;
use crate::lifecycle::Lifecycle;
use crate::machine::WorkerCount;
use crate::profiles::Profiles;
use crate::security::host::HostRule;
use crate::security::token::{self, Token};
use crate::server::ServeError;
use crate::{limits, panic_log, routes, runs, stream, wire};

/// How long one bare hashing loop runs at start, to have something to compare hash rates with.
const BASELINE_TIME: Duration = Duration::from_millis(100);

/// File of the chain in the data directory.
const CHAIN_FILE: &str = "chain.redb";
/// Directory of the profiles in the data directory.
const PROFILES_DIR: &str = "profiles";

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
    /// Changes of the runtime's configuration.
    pub config_log: routes::config::ConfigLog,
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

impl AppState {
    /// The address for a person on this machine, with a slash at its end.
    pub fn url(&self) -> String {
        let ip = match self.listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("http://{}/", SocketAddr::new(ip, self.listen.port()))
    }
}

/// The parts themselves: what must be closed in order.
#[derive(Debug)]
pub struct Service {
    state: AppState,
    runtime: Runtime,
    new_token: Option<Token>,
    // Last, so that the directory goes after everything in it is closed.
    _ephemeral: Option<EphemeralDir>,
}

impl Service {
    /// Opens and starts every part. Blocks for as long as reading the chain takes.
    ///
    /// `listen` is the address that requests arrive at: the one of the socket, or any for a test without one.
    ///
    /// # Errors
    /// [`ServeError::Data`] if the data directory is in use, damaged or not accessible; [`ServeError::Internal`] if the
    /// system refuses threads or memory.
    pub fn open(config: Config, listen: SocketAddr) -> Result<Self, ServeError> {
        let ephemeral = match config.ephemeral.value {
            true => Some(
                EphemeralDir::make()
                    .map_err(|e| ServeError::Data(format!("no temporary directory: {e}")))?,
            ),
            false => None,
        };
        let dir = ephemeral
            .as_ref()
            .map_or_else(|| config.data_dir.value.clone(), |e| e.0.clone());
        let in_dir = |what: &str, e: &dyn std::fmt::Display| {
            ServeError::Data(format!("{what} in {}: {e}", dir.display()))
        };

        make_private(&dir).map_err(|e| in_dir("cannot use the data directory", &e))?;
        // The chain first: it holds the lock that keeps a second process out of the directory.
        let options = ChainOptions {
            max_bytes: config.max_chain_bytes.value,
            ..ChainOptions::default()
        };
        let chain = match ephemeral {
            Some(_) => Chain::in_memory(options),
            None => Chain::open(dir.join(CHAIN_FILE), options),
        }
        .map_err(refused)?;
        let last_crash =
            LastCrash::open(&dir).map_err(|e| in_dir("cannot open the crash report", &e))?;
        openwork::overflow::report_to(
            last_crash
                .file()
                .map_err(|e| in_dir("cannot open the crash report", &e))?,
        );
        let profiles = Profiles::open(dir.join(PROFILES_DIR))
            .map_err(|e| in_dir("cannot open the profiles", &e))?;
        let (token, new_token) = match &config.access.value {
            Access::Open => (None, None),
            Access::Token(token) => (Some(token.clone()), None),
            Access::Generate => {
                let (token, fresh) =
                    Token::kept_in(&dir).map_err(|e| in_dir("cannot keep a token", &e))?;
                (Some(token.clone()), fresh.then_some(token))
            }
        };

        let internal = |e: &dyn std::fmt::Display| ServeError::Internal(e.to_string());
        let workers = WorkerCount::decide(&config.workers);
        if let Some(max) = config.scheduling.max_threads.value
            && max <= workers.count
        {
            return Err(ServeError::Refused(format!(
                "--max-threads: {max} is out of range, from {} are possible with {} workers",
                workers.count + 1,
                workers.count
            )));
        }
        // Before the workers start, so that the loop has a CPU for itself.
        let baseline = openwork_blockchain::baseline(BASELINE_TIME);
        let builder = Runtime::builder().workers(workers.count).record_turns(true);
        let runtime =
            scheduled(builder, &config.scheduling)
                .build()
                .map_err(|error| match error {
                    BuildError::Config(error) => ServeError::Refused(as_flag(&error)),
                    error
                    @ (BuildError::MaxWorkers { .. } | BuildError::TravellingHomes { .. }) => {
                        ServeError::Refused(as_flag(&error))
                    }
                    other => internal(&other),
                })?;
        let handle = runtime.handle();
        let settings = runs::Settings {
            max_runs: config.max_runs.value,
            timeout: config.run_timeout.value,
        };
        let kept_in = ephemeral.is_none().then_some(&*dir);
        let runs = runs::Registry::open(kept_in, handle.clone(), settings)
            .map_err(|e| in_dir("cannot open the runs", &e))?;
        let meter = Arc::new(HashMeter::new(handle.max_workers()));
        let observatory = {
            let (runs, chain, meter, last_crash) = (
                runs.clone(),
                chain.clone(),
                meter.clone(),
                last_crash.clone(),
            );
            Observatory::start(handle.clone(), move || {
                wire::extra(&runs, &chain, &meter, &last_crash, Some(baseline))
            })
            .map_err(|e| internal(&e))?
        };
        panic_log::follow(&observatory, runtime.handle());
        let hub = stream::Hub::start(&observatory, &runs, &chain, limits::VIEWERS.max as usize);
        let host_rule = HostRule::new(listen.ip(), token.is_some(), &config.allow_hosts.value);
        let state = AppState {
            config: Arc::new(config),
            listen,
            data_dir: dir.into(),
            started_at: SystemTime::now(),
            workers,
            runtime: handle,
            observatory,
            chain,
            meter,
            runs,
            hub,
            config_log: routes::config::ConfigLog::default(),
            lifecycle: Lifecycle::ready(),
            profiles,
            last_crash,
            token,
            host_rule: Arc::new(host_rule),
        };
        Ok(Service {
            state,
            runtime,
            new_token,
            _ephemeral: ephemeral,
        })
    }

    /// Handles to the parts.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Tells the person at the terminal what runs here; one fact a line, on standard error.
    pub(crate) fn announce(&self) {
        let state = &self.state;
        let stacks = state.runtime.snapshot().stacks;
        let guards = match stacks.limit {
            Some(limit) => format!("{}, at most {limit} stacks", stacks.mode.name()),
            None => stacks.mode.name().to_owned(),
        };
        let kept = if state.config.ephemeral.value {
            " (removed at the end)"
        } else {
            ""
        };
        eprintln!(
            "openwork {}{}",
            routes::runtime::VERSION,
            routes::runtime::commit_in_parentheses()
        );
        eprintln!("workers: {}", state.workers);
        eprintln!("guards: {guards}");
        eprintln!("frame pointers: {}", env!("OPENWORK_FRAME_POINTERS"));
        eprintln!("data directory: {}{kept}", state.data_dir.display());
        eprintln!("blocks loaded: {}", state.chain.length());
        if let Some(crash) = state.last_crash.get() {
            eprintln!(
                "last crash: {}",
                crash.text.lines().next().unwrap_or_default().escape_debug()
            );
        }
        if let Some(token) = &self.new_token {
            let file = state.data_dir.join(token::FILE);
            eprintln!(
                "token: {} (kept in {}, shown this once)",
                token.reveal(),
                file.display()
            );
        }
    }

    /// Ends every part, in the reverse order of their beginning. Blocks for at most about `time`.
    ///
    /// What does not end in time (a routine in a system call) is left to the end of the process, and logged.
    pub fn close(self, time: Duration) {
        let Service { state, runtime, .. } = self;
        let deadline = Instant::now() + time;
        state.lifecycle.drain();
        state.runs.drain();
        state.hub.bye();
        state.runs.cancel_all();
        state.observatory.stop();
        // The chain's writer and the runs' store take what the last routines hand them, so they close after these.
        if let Err(remaining) = runtime.shutdown(deadline.saturating_duration_since(Instant::now()))
        {
            tracing::warn!(?remaining, "not everything ended in time");
        }
        state.chain.close();
        state.runs.close();
    }
}

/// What is wrong with a setting, under the flag's name: `max_threads: ..` is about `--max-threads`.
fn as_flag(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    match text.split_once(':') {
        Some((field, why)) => format!("--{}:{why}", field.replace('_', "-")),
        None => text,
    }
}

/// The builder with what was asked for.
fn scheduled(mut builder: RuntimeBuilder, asked: &Scheduling) -> RuntimeBuilder {
    if let Some(preemption) = asked.preemption.value {
        builder = builder.preemption(preemption);
    }
    if let Some(slice) = asked.slice.value {
        builder = builder.slice(slice);
    }
    if let Some(hand_off) = asked.hand_off.value {
        builder = builder.hand_off(hand_off);
    }
    if let Some(placement) = asked.placement.value {
        builder = builder.placement(placement);
    }
    if let Some(victims) = asked.victims.value {
        builder = builder.victims(victims);
    }
    if let Some(steal) = asked.steal.value {
        builder = builder.steal(steal);
    }
    if let Some(max) = asked.max_workers.value {
        builder = builder.max_workers(max);
    }
    if let Some(max) = asked.max_threads.value {
        builder = builder.max_threads(max);
    }
    if let Some(homes) = asked.travelling_homes.value {
        builder = builder.travelling_homes(homes);
    }
    builder
}

/// Why the chain could not be opened, with what to do about it.
fn refused(error: OpenError) -> ServeError {
    let advice = match &error {
        OpenError::Damaged { .. } => {
            "; `openwork chain repair` keeps all before it and deletes nothing"
        }
        OpenError::InUse { .. } => {
            "; end the other process, or start with another --data-dir or --ephemeral"
        }
        _ => "",
    };
    ServeError::Data(format!("{error}{advice}"))
}

fn make_private(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

/// A directory that is removed with everything in it.
#[derive(Debug)]
struct EphemeralDir(PathBuf);

impl EphemeralDir {
    fn make() -> io::Result<Self> {
        let mut bits = [0; 8];
        getrandom::fill(&mut bits).map_err(io::Error::other)?;
        let name = format!(
            "openwork-{}-{:016x}",
            std::process::id(),
            u64::from_ne_bytes(bits)
        );
        let path = std::env::temp_dir().join(name);
        // Not recursive: a directory that somebody else has put there is refused.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(EphemeralDir(path))
    }
}

impl Drop for EphemeralDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
