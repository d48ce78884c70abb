//! Raw arguments and environment to a [`Config`], each value with its source.
//!
//! The fields of [`ServeFlags`] are the one table: `--help`, the `OPENWORK_*` names and the checks
//! come from it. A flag wins over the environment, which wins over the default.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use openwork::config::{Placement, Preemption, StealAmount, VictimOrder};
use openwork_web::{Access, Config, LogFormat, Scheduling, Setting, Source, Token};

use openwork_bench::{Peer, Plan};

use crate::bench::Form;
use crate::data_dir;

/// Variable that holds the token itself. It has no flag: arguments are seen by every user of a
/// machine.
const TOKEN_VARIABLE: &str = "OPENWORK_TOKEN";

const HOUR_MS: u64 = 3_600_000;
/// Longest time that a flag takes: a week.
const LONGEST_HOURS: u64 = 7 * 24;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// To serve until told to end.
    Serve(Box<Config>),
    /// To repair the chain of this data directory.
    RepairChain(PathBuf),
    /// To list the benches.
    ListBenches,
    /// To run benches, and print the results in this form.
    Bench(Plan, Form),
    /// To make one measurement for a process that runs benches.
    Measure(Vec<String>),
}

/// Why the command line cannot be obeyed.
#[derive(Debug)]
pub(crate) enum UsageError {
    /// Found by the parser; `--help` and `--version` are of this kind too.
    Clap(clap::Error),
    /// Found afterwards.
    Sentence(String),
}

/// Routines on work-stealing workers, made to be watched.
///
/// Without a command it serves, as `openwork serve` does.
#[derive(Debug, Parser)]
#[command(
    name = "openwork",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "A flag wins over its environment variable, which wins over the default.\n\
        Exit status: 0 ended as asked, 1 internal error, 2 wrong usage, 3 address in use,\n\
        4 data directory in use or damaged."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeFlags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API and the dashboard until SIGINT or SIGTERM.
    Serve(ServeFlags),
    /// Look after the stored chain.
    #[command(subcommand)]
    Chain(ChainCommand),
    /// Measure the runtime, beside others where they are to be had.
    ///
    /// Every measurement is a process of its own; each round gives every runtime a turn. Go is measured when a `go` is on the
    /// path, tokio and may when this program was built with the feature `peers`. Look at the ratios: times move with what else
    /// the machine does.
    #[command(args_conflicts_with_subcommands = true)]
    Bench {
        #[command(subcommand)]
        command: Option<BenchCommand>,
        #[command(flatten)]
        run: BenchFlags,
    },
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Show the benches and what each asks.
    List,
    /// Run benches, as `openwork bench` with their names does.
    Run(BenchFlags),
    #[command(hide = true)]
    Measure { words: Vec<String> },
}

#[derive(Debug, Args)]
struct BenchFlags {
    /// Benches, groups of them, or `all`.
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Numbers of workers to run each bench with [default: 1 and one per processor].
    #[arg(long, value_name = "N", value_delimiter = ',')]
    workers: Vec<usize>,

    /// Turns that each runtime gets.
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,

    /// Compare with these alone: go, tokio, may, std [default: all that can be had].
    #[arg(long, value_name = "PEER", value_delimiter = ',')]
    peers: Vec<Peer>,

    /// Let our workers record turns and thefts, as those of the service do.
    #[arg(long)]
    recorder: bool,

    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum ChainCommand {
    /// Keep all blocks before the first damaged one; the old file is moved aside, nothing is deleted.
    Repair {
        /// Directory that holds the chain [default: as for serve].
        #[arg(long, env = "OPENWORK_DATA_DIR", value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct ServeFlags {
    /// Address and port; port 0 lets the system choose. Off loopback a token is required.
    #[arg(long, env = "OPENWORK_LISTEN", value_name = "ADDRESS:PORT", default_value_t = Config::DEFAULT_LISTEN)]
    listen: SocketAddr,

    /// Directory for chain, runs and profiles [default: $XDG_DATA_HOME/openwork or
    /// ~/.local/share/openwork].
    #[arg(long, env = "OPENWORK_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Keep everything in a directory that is removed at the end.
    #[arg(long, env = "OPENWORK_EPHEMERAL", value_parser = BoolishValueParser::new())]
    ephemeral: bool,

    /// Number of workers [default: what affinity mask and CPU quota allow].
    #[arg(long, env = "OPENWORK_WORKERS", value_name = "N", value_parser = workers_in_range)]
    workers: Option<usize>,

    /// What to log: error, warn, info, debug, trace, or a filter like `info,openwork_web=debug`.
    #[arg(
        long,
        env = "OPENWORK_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    log: String,

    /// Form of the log lines on standard error.
    #[arg(
        long,
        env = "OPENWORK_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value = "text"
    )]
    log_format: Format,

    /// Time that running work gets to end after a signal, like 10s or 500ms.
    #[arg(long, env = "OPENWORK_DRAIN_TIMEOUT", value_name = "TIME", default_value_t = Time(Config::DEFAULT_DRAIN_TIMEOUT))]
    drain_timeout: Time,

    /// Longest time of a run, like 10m.
    #[arg(long, env = "OPENWORK_RUN_TIMEOUT", value_name = "TIME", value_parser = time_above_zero, default_value_t = Time(Config::DEFAULT_RUN_TIMEOUT))]
    run_timeout: Time,

    /// Runs at once; a further one is refused.
    #[arg(long, env = "OPENWORK_MAX_RUNS", value_name = "N", value_parser = runs_in_range, default_value_t = Config::DEFAULT_MAX_RUNS)]
    max_runs: usize,

    /// Size in bytes at which the chain takes no more blocks.
    #[arg(long, env = "OPENWORK_MAX_CHAIN_BYTES", value_name = "BYTES", default_value_t = Config::DEFAULT_MAX_CHAIN_BYTES)]
    max_chain_bytes: u64,

    /// File that holds the token which requests must carry: 16 characters at least, readable by you
    /// alone. The variable OPENWORK_TOKEN may hold the token itself.
    #[arg(long, env = "OPENWORK_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Require a token of 128 random bits, kept in the data directory and printed once.
    #[arg(long, env = "OPENWORK_GENERATE_TOKEN", value_parser = BoolishValueParser::new())]
    generate_token: bool,

    /// Further host name under which the service may be addressed; may be repeated.
    #[arg(
        long,
        env = "OPENWORK_ALLOW_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    allow_host: Vec<String>,

    /// What happens to a routine that runs on while others wait: off, cooperative or forced.
    /// This and the next five can be changed while it runs, by PATCH /api/v1/config.
    #[arg(long, env = "OPENWORK_PREEMPTION", value_name = "HOW", value_parser = preemption)]
    preemption: Option<Preemption>,

    /// How long a routine may run while others wait, from 1ms to 100ms.
    #[arg(long, env = "OPENWORK_SLICE", value_name = "TIME", value_parser = slice)]
    slice: Option<Time>,

    /// Whether a thread that is blocked in the kernel has its worker taken: true or false.
    #[arg(long, env = "OPENWORK_HAND_OFF", value_name = "YES", value_parser = BoolishValueParser::new())]
    hand_off: Option<bool>,

    /// Where fresh routines are queued: local, least_loaded, round_robin, affinity or by_class.
    #[arg(long, env = "OPENWORK_PLACEMENT", value_name = "WHERE", value_parser = placement)]
    placement: Option<Placement>,

    /// Whom idle workers steal from first: random, most_loaded or nearest.
    #[arg(long, env = "OPENWORK_VICTIMS", value_name = "WHOM", value_parser = victims)]
    victims: Option<VictimOrder>,

    /// How much they take: half, one or adaptive.
    #[arg(long, env = "OPENWORK_STEAL", value_name = "HOW_MUCH", value_parser = steal)]
    steal: Option<StealAmount>,

    /// Most workers that there may be while it runs, up to 256 and at least as many as at the start [default: 4, or
    /// as many as at the start if those are more].
    #[arg(long, env = "OPENWORK_MAX_WORKERS", value_name = "N", value_parser = most_workers_in_range)]
    max_workers: Option<usize>,

    /// Most threads that run routines, from 2 to 4096 and more than there are workers: as many can sleep in the
    /// kernel or be stopped at once [default: 256]. Can be lowered while it runs, and raised to this again.
    #[arg(long, env = "OPENWORK_MAX_THREADS", value_name = "N", value_parser = threads_in_range)]
    max_threads: Option<usize>,

    /// Give up to N started routines, 1024 without a number, a thread identity each, with which they go from worker
    /// to worker; 0 to 65536, 0 is off. Where the system cannot, it starts without and says why.
    #[arg(
        long,
        env = "OPENWORK_TRAVELLING_HOMES",
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1024",
        value_parser = homes_in_range
    )]
    travelling_homes: Option<usize>,

    /// Allow POST /api/v1/faults: a panic, or an overflow that ends the process.
    #[arg(long, env = "OPENWORK_DEMO_FAULTS", value_parser = BoolishValueParser::new())]
    demo_faults: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A line of text an event.
    Text,
    /// A JSON object an event.
    Json,
}

/// A time on the command line: a number with a unit `ms`, `s`, `m` or `h`; seconds without one.
#[derive(Clone, Copy, Debug)]
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            ms if ms % 1_000 == 0 => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Time, String> {
        let wrong = || "use a number with ms, s, m or h, like 500ms or 10m".to_owned();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let milliseconds = match &text[digits.len()..] {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" => 60_000,
            "h" => HOUR_MS,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        match number.checked_mul(milliseconds) {
            Some(total) if total <= LONGEST_HOURS * HOUR_MS => {
                Ok(Time(Duration::from_millis(total)))
            }
            _ => Err(format!("at most {LONGEST_HOURS}h")),
        }
    }
}

impl From<clap::Error> for UsageError {
    fn from(error: clap::Error) -> UsageError {
        UsageError::Clap(error)
    }
}

impl From<String> for UsageError {
    fn from(sentence: String) -> UsageError {
        UsageError::Sentence(sentence)
    }
}

/// Reads arguments, the first being the program's name, and the environment.
pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, UsageError> {
    let matches = Cli::command().try_get_matches_from(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    match cli.command {
        None => serve(cli.serve, &matches),
        Some(Command::Serve(flags)) => {
            let own = matches.subcommand_matches("serve");
            serve(flags, own.unwrap_or(&matches))
        }
        Some(Command::Chain(ChainCommand::Repair { data_dir })) => {
            Ok(Asked::RepairChain(match data_dir {
                Some(dir) => dir,
                None => data_dir::standard()?,
            }))
        }
        Some(Command::Bench { command, run }) => match command {
            Some(BenchCommand::List) => Ok(Asked::ListBenches),
            Some(BenchCommand::Measure { words }) => Ok(Asked::Measure(words)),
            Some(BenchCommand::Run(run)) => bench(&run),
            None => bench(&run),
        },
    }
}

fn bench(flags: &BenchFlags) -> Result<Asked, UsageError> {
    let form = match flags.json {
        true => Form::Json,
        false => Form::Table,
    };
    let plan = Plan::new(
        &flags.names,
        &flags.workers,
        &flags.peers,
        flags.rounds,
        flags.recorder,
    );
    let plan = plan.map_err(|error| error.to_string())?;
    Ok(Asked::Bench(plan, form))
}

fn serve(flags: ServeFlags, matches: &ArgMatches) -> Result<Asked, UsageError> {
    let asked = Sources(matches);
    let access = access(&flags, &asked)?;
    let data_dir = match flags.data_dir {
        Some(dir) => dir,
        // An ephemeral service makes a directory of its own and needs no home.
        None if flags.ephemeral => PathBuf::new(),
        None => data_dir::standard()?,
    };
    let mut config = Config::with_data_dir(data_dir);
    config.listen = asked.setting("listen", flags.listen);
    config.data_dir.source = asked.source("data_dir");
    config.ephemeral = asked.setting("ephemeral", flags.ephemeral);
    config.workers = asked.setting("workers", flags.workers);
    config.log = asked.setting("log", flags.log);
    config.log_format = asked.setting(
        "log_format",
        match flags.log_format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        },
    );
    config.drain_timeout = asked.setting("drain_timeout", flags.drain_timeout.0);
    config.run_timeout = asked.setting("run_timeout", flags.run_timeout.0);
    config.max_runs = asked.setting("max_runs", flags.max_runs);
    config.max_chain_bytes = asked.setting("max_chain_bytes", flags.max_chain_bytes);
    config.access = access;
    config.allow_hosts = asked.setting("allow_host", flags.allow_host);
    config.scheduling = Scheduling {
        preemption: asked.setting("preemption", flags.preemption),
        slice: asked.setting("slice", flags.slice.map(|slice| slice.0)),
        hand_off: asked.setting("hand_off", flags.hand_off),
        placement: asked.setting("placement", flags.placement),
        victims: asked.setting("victims", flags.victims),
        steal: asked.setting("steal", flags.steal),
        max_workers: asked.setting("max_workers", flags.max_workers),
        max_threads: asked.setting("max_threads", flags.max_threads),
        travelling_homes: asked.setting("travelling_homes", flags.travelling_homes),
    };
    config.demo_faults = asked.setting("demo_faults", flags.demo_faults);
    Ok(Asked::Serve(Box::new(config)))
}

/// Where each value came from.
struct Sources<'a>(&'a ArgMatches);

impl Sources<'_> {
    fn source(&self, id: &str) -> Source {
        match self.0.value_source(id) {
            Some(ValueSource::CommandLine) => Source::Flag,
            Some(ValueSource::EnvVariable) => Source::Environment,
            _ => Source::Default,
        }
    }

    fn setting<T>(&self, id: &str, value: T) -> Setting<T> {
        Setting {
            value,
            source: self.source(id),
        }
    }
}

/// The token that was asked for. Two ways of asking from the same source contradict each other; from
/// different sources the flag wins.
fn access(flags: &ServeFlags, asked: &Sources<'_>) -> Result<Setting<Access>, UsageError> {
    let variable = std::env::var(TOKEN_VARIABLE).ok();
    for source in [Source::Flag, Source::Environment] {
        let file = flags
            .token_file
            .as_deref()
            .filter(|_| asked.source("token_file") == source);
        let generate = flags.generate_token && asked.source("generate_token") == source;
        let given = variable
            .as_deref()
            .filter(|_| source == Source::Environment);
        let value = match (file, generate, given) {
            (None, false, None) => continue,
            (Some(path), false, None) => Access::Token(token_of_file(path)?),
            (None, true, None) => Access::Generate,
            (None, false, Some(text)) => {
                Access::Token(token(text, format_args!("{TOKEN_VARIABLE}"))?)
            }
            _ => {
                let rivals = match source {
                    Source::Environment => {
                        "OPENWORK_TOKEN_FILE, OPENWORK_TOKEN and OPENWORK_GENERATE_TOKEN"
                    }
                    _ => "--token-file and --generate-token",
                };
                return Err(format!("only one of {rivals} can be given").into());
            }
        };
        return Ok(Setting { value, source });
    }
    Ok(Setting::default(Access::Open))
}

fn token_of_file(path: &Path) -> Result<Token, String> {
    let shown = path.display();
    let metadata = fs::metadata(path).map_err(|error| format!("token file {shown}: {error}"))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(format!(
            "token file {shown} can be read by others: run `chmod 600 {shown}`"
        ));
    }
    let text = fs::read_to_string(path).map_err(|error| format!("token file {shown}: {error}"))?;
    token(&text, format_args!("token file {shown}"))
}

fn token(text: &str, place: fmt::Arguments<'_>) -> Result<Token, String> {
    Token::new(text.to_owned()).map_err(|error| format!("{place}: {error}"))
}

fn time_above_zero(text: &str) -> Result<Time, String> {
    match text.parse()? {
        Time(Duration::ZERO) => Err("it must be above zero".to_owned()),
        time => Ok(time),
    }
}

fn slice(text: &str) -> Result<Time, String> {
    const RANGE: std::ops::RangeInclusive<u128> = 1..=100;
    match text.parse()? {
        Time(slice) if RANGE.contains(&slice.as_millis()) => Ok(Time(slice)),
        _ => Err("a time from 1ms to 100ms".to_owned()),
    }
}

fn preemption(text: &str) -> Result<Preemption, String> {
    one_of(text, Preemption::ALL, Preemption::name)
}

fn placement(text: &str) -> Result<Placement, String> {
    one_of(text, Placement::ALL, Placement::name)
}

fn victims(text: &str) -> Result<VictimOrder, String> {
    one_of(text, VictimOrder::ALL, VictimOrder::name)
}

fn steal(text: &str) -> Result<StealAmount, String> {
    one_of(text, StealAmount::ALL, StealAmount::name)
}

/// The choice of this name.
fn one_of<T: Copy>(text: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<T, String> {
    let found = all.iter().find(|choice| name(**choice) == text).copied();
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|choice| name(*choice)).collect();
        format!("one of {}", names.join(", "))
    })
}

fn workers_in_range(text: &str) -> Result<usize, String> {
    in_range(text, 1, 256)
}

fn runs_in_range(text: &str) -> Result<usize, String> {
    in_range(text, 1, 1_000)
}

fn most_workers_in_range(text: &str) -> Result<usize, String> {
    in_range(text, 1, 256)
}

fn threads_in_range(text: &str) -> Result<usize, String> {
    in_range(text, 2, 4_096)
}

fn homes_in_range(text: &str) -> Result<usize, String> {
    in_range(text, 0, 65_536)
}

fn in_range(text: &str, min: usize, max: usize) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| format!("a number from {min} to {max}"))
}
