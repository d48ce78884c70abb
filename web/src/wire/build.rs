//! What this build and this machine are, and what the runtime made of them at its start.

use openwork::config::{self, StealAmount};
use openwork::snapshot::{HomeFigures, Snapshot, TopologyFigures};
use serde::Serialize;
use utoipa::ToSchema;

use crate::routes::runtime::{COMMIT, VERSION};

/// How the program was built, and what it found at its start.
#[derive(Debug, Serialize, ToSchema)]
pub struct Build {
    /// Version of the service.
    pub version: &'static str,
    /// Version of the library.
    pub library: &'static str,
    /// Commit it was built from; `null` if its build did not know.
    pub commit: Option<&'static str>,
    /// The processor's architecture.
    pub arch: &'static str,
    /// The operating system.
    pub os: &'static str,
    /// Whether it is a build for developers, which is slower.
    pub debug_assertions: bool,
    /// How one routine gives way to another: `stacks`, or `threads` in a portable build.
    pub switch: &'static str,
    /// Features of the library, each on or off.
    pub features: Vec<FeatureWire>,
    /// Whether frames can be walked for profiles and stack dumps.
    pub frame_pointers: bool,
    /// Whether allocations are counted; without that memory figures are `null`.
    pub allocator_counting: bool,
    /// Guard pages of stacks: `light`, `mprotect` or `system`.
    pub guard: &'static str,
    /// What started routines are bound to, and why.
    pub homes: HomesNow,
    /// Whether workers can be taken from threads asleep in the kernel.
    pub hand_off: Available,
    /// Whether routines that do not give way can be stopped.
    pub forced_preemption: Available,
    /// How sleeping threads are told: `proc`, or `clock` where `/proc` is missing.
    pub probe: &'static str,
    /// How sockets are watched: `epoll` or `io_uring`; `null` before the first.
    pub poller: Option<PollerChoice>,
    /// Which strategies are in force.
    pub strategies: Strategies,
    /// The machine; `null` where the system does not tell.
    pub topology: Option<TopologyWire>,
    /// The fields of this answer that are `null` because there is nothing to tell.
    pub unmeasured: Vec<&'static str>,
}

/// A feature of the library.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Feature)]
pub struct FeatureWire {
    /// Its name.
    pub name: &'static str,
    /// Whether it is on.
    pub on: bool,
    /// What it does.
    pub about: &'static str,
}

/// Whether something can be had here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Available {
    /// Whether it can.
    pub available: bool,
    /// Whether it is on now.
    pub on: bool,
    /// Why it cannot be had; `null` if it can.
    pub reason: Option<&'static str>,
}

impl Available {
    fn new(possible: Result<(), &'static str>, on: bool) -> Available {
        Available {
            available: possible.is_ok(),
            on,
            reason: possible.err(),
        }
    }
}

/// A way to watch sockets.
#[derive(Debug, Serialize, ToSchema)]
pub struct PollerChoice {
    /// `epoll` or `io_uring`.
    pub backend: &'static str,
    /// Why this one.
    pub reason: String,
}

/// How work is spread.
#[derive(Debug, Serialize, ToSchema)]
pub struct Strategies {
    /// Where fresh routines are queued.
    pub placement: &'static str,
    /// Whom idle workers steal from first.
    pub victims: &'static str,
    /// How much they take.
    pub steal: &'static str,
    /// What each worker takes at once now; `null` where that is half of a queue.
    pub steal_amounts: Vec<Option<u64>>,
    /// What happens to a routine that runs on while others wait.
    pub preemption: &'static str,
}

/// The machine as the scheduler sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Topology)]
pub struct TopologyWire {
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

impl From<&TopologyFigures> for TopologyWire {
    fn from(machine: &TopologyFigures) -> TopologyWire {
        TopologyWire {
            processors: machine.processors,
            cores: machine.cores,
            caches: machine.caches,
            packages: machine.packages,
            nodes: machine.nodes,
        }
    }
}

/// What started routines are bound to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Homes)]
pub struct HomesNow {
    /// `threads`: the thread on which they began. `travelling`: an identity that goes with them.
    pub version: &'static str,
    /// Why, in a sentence.
    pub reason: String,
    /// Figures of homes that travel; `null` where homes are threads.
    pub travelling: Option<TravellingHomes>,
}

/// Homes that travel.
#[derive(Debug, Serialize, ToSchema)]
pub struct TravellingHomes {
    /// Most at once.
    pub limit: u64,
    /// How many there are.
    pub homes: u64,
    /// Those that no routine has and no worker keeps ready.
    pub free: u64,
    /// Routines that share one with others now.
    pub sharing: u64,
    /// Made so far.
    pub made: u64,
    /// Ended so far.
    pub ended: u64,
    /// Those of them that could not be used again.
    pub spoilt: u64,
    /// Times that the system refused one.
    pub refused: u64,
    /// Turns that ran under one.
    pub mounts: u64,
    /// Turns that were put off because another routine of the same home ran.
    pub busy: u64,
    /// Address space of their stacks, in bytes.
    pub stack_bytes: u64,
}

impl From<&HomeFigures> for HomesNow {
    fn from(homes: &HomeFigures) -> HomesNow {
        HomesNow {
            version: homes.version.name(),
            reason: homes.reason.clone(),
            travelling: homes.travelling.as_ref().map(|figures| TravellingHomes {
                limit: figures.limit,
                homes: figures.homes,
                free: figures.free,
                sharing: figures.sharing,
                made: figures.made,
                ended: figures.ended,
                spoilt: figures.spoilt,
                refused: figures.refused,
                mounts: figures.mounts,
                busy: figures.busy,
                stack_bytes: figures.stack_bytes,
            }),
        }
    }
}

impl Build {
    /// As of a snapshot.
    pub fn new(snapshot: &Snapshot) -> Build {
        let build = openwork::build_info();
        let possible = config::availability();
        let set = &snapshot.config;
        let forced = set.preemption == config::Preemption::Forced;
        let absent = [
            ("commit", COMMIT.is_none()),
            ("poller", snapshot.io.is_none()),
            ("topology", snapshot.topology.is_none()),
        ];
        Build {
            version: VERSION,
            library: build.version,
            commit: COMMIT,
            arch: build.arch,
            os: build.os,
            debug_assertions: build.debug_assertions,
            switch: build.switch.name(),
            features: build
                .features
                .iter()
                .map(|feature| FeatureWire {
                    name: feature.name,
                    on: feature.on,
                    about: feature.about,
                })
                .collect(),
            frame_pointers: env!("OPENWORK_FRAME_POINTERS") == "yes",
            allocator_counting: openwork::memory::is_counting(),
            guard: snapshot.stacks.mode.name(),
            homes: HomesNow::from(&snapshot.homes),
            hand_off: Available::new(possible.hand_off, set.hand_off),
            forced_preemption: Available::new(possible.forced_preemption, forced),
            probe: snapshot.monitor.probe.name(),
            poller: snapshot.io.as_ref().map(|io| PollerChoice {
                backend: io.backend.name(),
                reason: io.reason.to_string(),
            }),
            strategies: Strategies {
                placement: set.placement.name(),
                victims: set.victims.name(),
                steal: set.steal.name(),
                steal_amounts: snapshot
                    .workers
                    .iter()
                    .map(|worker| worker.steal_amount)
                    .collect(),
                preemption: set.preemption.name(),
            },
            topology: snapshot.topology.as_ref().map(TopologyWire::from),
            unmeasured: absent
                .into_iter()
                .filter_map(|(field, is_absent)| is_absent.then_some(field))
                .collect(),
        }
    }

    /// The same as names and words, in the order in which a person reads them.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let commit = self
            .commit
            .map_or_else(String::new, |commit| format!(", commit {commit}"));
        let kind = if self.debug_assertions {
            ", a build for developers"
        } else {
            ""
        };
        let features: Vec<_> = self
            .features
            .iter()
            .map(|feature| format!("{} {}", feature.name, on_or_off(feature.on)))
            .collect();
        let can = |what: &Available| match what.reason {
            None => format!("can be had, {}", on_or_off(what.on)),
            Some(why) => format!("cannot be had: {why}"),
        };
        let steal = if self.strategies.steal == StealAmount::Half.name() {
            "half of a queue".to_owned()
        } else {
            let amounts = self.strategies.steal_amounts.iter().flatten();
            let amounts: Vec<_> = amounts.map(u64::to_string).collect();
            format!(
                "{}, now {} by worker",
                self.strategies.steal,
                amounts.join(", ")
            )
        };
        let topology = self.topology.as_ref().map_or_else(
            || "not told by the system".to_owned(),
            |machine| {
                format!(
                    "{}, {}, {}, {}, {}",
                    count(machine.processors, "processor", "processors"),
                    count(machine.cores, "core", "cores"),
                    count(machine.caches, "last-level cache", "last-level caches"),
                    count(machine.packages, "package", "packages"),
                    count(machine.nodes, "memory node", "memory nodes"),
                )
            },
        );
        vec![
            ("Version", format!("{}{commit}{kind}", self.version)),
            ("Runs on", format!("{} {}", self.os, self.arch)),
            ("Machine", topology),
            (
                "Routines switch by",
                match self.switch {
                    "stacks" => "exchanging stacks, on a worker's own thread".to_owned(),
                    _ => "changing threads: each routine has one".to_owned(),
                },
            ),
            ("Features", features.join(", ")),
            (
                "Homes",
                format!("{}: {}", self.homes.version, self.homes.reason),
            ),
            ("Guard pages", self.guard.to_owned()),
            ("Hand-off", can(&self.hand_off)),
            ("Forced preemption", can(&self.forced_preemption)),
            (
                "Threads are watched by",
                match self.probe {
                    "proc" => "their clocks and /proc".to_owned(),
                    _ => "their clocks: /proc is missing".to_owned(),
                },
            ),
            (
                "Sockets",
                self.poller.as_ref().map_or_else(
                    || "none yet".to_owned(),
                    |poller| format!("{}: {}", poller.backend, poller.reason),
                ),
            ),
            (
                "Fresh routines go",
                self.strategies.placement.replace('_', " "),
            ),
            (
                "Thieves look first at",
                format!("{} victims", self.strategies.victims.replace('_', " ")),
            ),
            ("Thieves take", steal),
            (
                "Profiles",
                if self.frame_pointers {
                    "by frame pointers".to_owned()
                } else {
                    "without frame pointers, so one function deep".to_owned()
                },
            ),
            (
                "Memory",
                if self.allocator_counting {
                    "every allocation is counted".to_owned()
                } else {
                    "allocations are not counted".to_owned()
                },
            ),
        ]
    }
}

fn on_or_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
