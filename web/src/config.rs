//! What the service is told at start, each value with where it came from.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use openwork::config::{Placement, Preemption, StealAmount, VictimOrder};

use crate::security::token::Token;

/// Where a setting's value came from. A flag wins over the environment, which wins over the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Neither flag nor environment named it.
    Default,
    /// An `OPENWORK_*` variable.
    Environment,
    /// A command line flag.
    Flag,
}

impl Source {
    /// The word shown to people and sent by `/api/v1/runtime`.
    pub fn name(self) -> &'static str {
        match self {
            Source::Default => "default",
            Source::Environment => "environment",
            Source::Flag => "flag",
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug)]
pub struct Setting<T> {
    /// The value in force.
    pub value: T,
    /// Where it came from.
    pub source: Source,
}

impl<T> Setting<T> {
    /// A value that nobody asked for.
    pub fn default(value: T) -> Self {
        Setting {
            value,
            source: Source::Default,
        }
    }

    /// A value of the environment.
    pub fn environment(value: T) -> Self {
        Setting {
            value,
            source: Source::Environment,
        }
    }

    /// A value of the command line.
    pub fn flag(value: T) -> Self {
        Setting {
            value,
            source: Source::Flag,
        }
    }
}

/// How log lines are written to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text an event.
    Text,
    /// One JSON object an event.
    Json,
}

impl LogFormat {
    /// The word of the flag.
    pub fn name(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

/// Which token, if any, a request must carry.
#[derive(Clone, Debug)]
pub enum Access {
    /// None: possible on a loopback address only.
    Open,
    /// This one, read from a file or the environment.
    Token(Token),
    /// The one kept in the data directory; made and printed once if there is none yet.
    Generate,
}

/// How the runtime treats work. `None` is what the runtime does by itself.
#[derive(Clone, Debug)]
pub struct Scheduling {
    /// What happens to a routine that runs on while others wait.
    pub preemption: Setting<Option<Preemption>>,
    /// How long a routine may run while others wait.
    pub slice: Setting<Option<Duration>>,
    /// Whether a thread that is blocked in the kernel has its worker taken.
    pub hand_off: Setting<Option<bool>>,
    /// Where fresh routines are queued.
    pub placement: Setting<Option<Placement>>,
    /// Whom idle workers steal from first.
    pub victims: Setting<Option<VictimOrder>>,
    /// How much they take.
    pub steal: Setting<Option<StealAmount>>,
    /// Most workers that there may be. Cannot be changed while it runs.
    pub max_workers: Setting<Option<usize>>,
    /// Most threads that run routines.
    pub max_threads: Setting<Option<usize>>,
    /// Most homes that travel; 0 for none. Cannot be changed while it runs.
    pub travelling_homes: Setting<Option<usize>>,
}

impl Default for Scheduling {
    fn default() -> Self {
        Scheduling {
            preemption: Setting::default(None),
            slice: Setting::default(None),
            hand_off: Setting::default(None),
            placement: Setting::default(None),
            victims: Setting::default(None),
            steal: Setting::default(None),
            max_workers: Setting::default(None),
            max_threads: Setting::default(None),
            travelling_homes: Setting::default(None),
        }
    }
}

impl Scheduling {
    fn rows(&self) -> [(&'static str, String, Source); 9] {
        fn row<T>(
            name: &'static str,
            setting: &Setting<Option<T>>,
            word: impl Fn(&T) -> String,
        ) -> (&'static str, String, Source) {
            let value = setting.value.as_ref().map(word);
            let value = value.unwrap_or_else(|| "as the runtime does".to_owned());
            (name, value, setting.source)
        }
        [
            row("preemption", &self.preemption, |v| v.name().to_owned()),
            row("slice", &self.slice, |v| format!("{v:?}")),
            row("hand_off", &self.hand_off, bool::to_string),
            row("placement", &self.placement, |v| v.name().to_owned()),
            row("victims", &self.victims, |v| v.name().to_owned()),
            row("steal", &self.steal, |v| v.name().to_owned()),
            row("max_workers", &self.max_workers, usize::to_string),
            row("max_threads", &self.max_threads, usize::to_string),
            row("travelling_homes", &self.travelling_homes, usize::to_string),
        ]
    }
}

/// Everything the service is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0 lets the kernel pick one.
    pub listen: Setting<SocketAddr>,
    /// Where chain, runs, profiles and the last crash are kept. Unused when `ephemeral`.
    pub data_dir: Setting<PathBuf>,
    /// Keep everything in a directory that is removed at the end.
    pub ephemeral: Setting<bool>,
    /// Number of workers; `None` takes what the CPU quota and affinity allow.
    pub workers: Setting<Option<usize>>,
    /// Log filter as `tracing` reads it. Told for `/api/v1/runtime`; the binary installs the subscriber.
    pub log: Setting<String>,
    /// Form of the log lines. Told for `/api/v1/runtime`; the binary installs the subscriber.
    pub log_format: Setting<LogFormat>,
    /// Time from the first signal to the end of the process.
    pub drain_timeout: Setting<Duration>,
    /// Longest time that a run may take.
    pub run_timeout: Setting<Duration>,
    /// Runs that may run at once.
    pub max_runs: Setting<usize>,
    /// Size in bytes at which the chain takes no more blocks.
    pub max_chain_bytes: Setting<u64>,
    /// Token that requests must carry.
    pub access: Setting<Access>,
    /// Host names beside `localhost` under which the service may be addressed.
    pub allow_hosts: Setting<Vec<String>>,
    /// How the runtime treats work at start; each may be changed while it runs, but then is not kept.
    pub scheduling: Scheduling,
    /// Whether `POST /api/v1/faults` may break things on purpose.
    pub demo_faults: Setting<bool>,
}

impl Config {
    /// The address listened on without a flag.
    pub const DEFAULT_LISTEN: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
    /// Time from the first signal to the end of the process, without a flag.
    pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
    /// Longest time of a run, without a flag.
    pub const DEFAULT_RUN_TIMEOUT: Duration = Duration::from_secs(600);
    /// Runs at once, without a flag.
    pub const DEFAULT_MAX_RUNS: usize = 8;
    /// Size of the chain in bytes, without a flag.
    pub const DEFAULT_MAX_CHAIN_BYTES: u64 = 4 << 30;

    /// Defaults everywhere, with this data directory.
    pub fn with_data_dir(data_dir: PathBuf) -> Self {
        Config {
            listen: Setting::default(Self::DEFAULT_LISTEN),
            data_dir: Setting::default(data_dir),
            ephemeral: Setting::default(false),
            workers: Setting::default(None),
            log: Setting::default("info".to_owned()),
            log_format: Setting::default(LogFormat::Text),
            drain_timeout: Setting::default(Self::DEFAULT_DRAIN_TIMEOUT),
            run_timeout: Setting::default(Self::DEFAULT_RUN_TIMEOUT),
            max_runs: Setting::default(Self::DEFAULT_MAX_RUNS),
            max_chain_bytes: Setting::default(Self::DEFAULT_MAX_CHAIN_BYTES),
            access: Setting::default(Access::Open),
            allow_hosts: Setting::default(Vec::new()),
            scheduling: Scheduling::default(),
            demo_faults: Setting::default(false),
        }
    }

    /// Name, value as text, and source of every setting. The token itself is never among them.
    pub fn rows(&self) -> Vec<(&'static str, String, Source)> {
        fn row<T: fmt::Display>(
            name: &'static str,
            s: &Setting<T>,
        ) -> (&'static str, String, Source) {
            (name, s.value.to_string(), s.source)
        }
        let seconds =
            |name, s: &Setting<Duration>| (name, format!("{}s", s.value.as_secs_f64()), s.source);
        let workers = self
            .workers
            .value
            .map_or_else(|| "as the machine allows".to_owned(), |n| n.to_string());
        let access = match self.access.value {
            Access::Open => "none",
            Access::Token(_) => "given",
            Access::Generate => "generated",
        };
        let mut rows = vec![
            row("listen", &self.listen),
            (
                "data_dir",
                self.data_dir.value.display().to_string(),
                self.data_dir.source,
            ),
            row("ephemeral", &self.ephemeral),
            ("workers", workers, self.workers.source),
            row("log", &self.log),
            (
                "log_format",
                self.log_format.value.name().to_owned(),
                self.log_format.source,
            ),
            seconds("drain_timeout", &self.drain_timeout),
            seconds("run_timeout", &self.run_timeout),
            row("max_runs", &self.max_runs),
            row("max_chain_bytes", &self.max_chain_bytes),
            ("token", access.to_owned(), self.access.source),
            (
                "allow_hosts",
                self.allow_hosts.value.join(","),
                self.allow_hosts.source,
            ),
            row("demo_faults", &self.demo_faults),
        ];
        rows.extend(self.scheduling.rows());
        rows
    }
}
