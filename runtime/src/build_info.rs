//! What this build of the library is: what was decided when it was compiled, beside what is decided at a
//! runtime's start and while it runs ([`config`](crate::config)).

/// How this library was built; see [`build_info`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuildInfo {
    /// Version of the library.
    pub version: &'static str,
    /// The processor's architecture, as in [`std::env::consts::ARCH`].
    pub arch: &'static str,
    /// The operating system, as in [`std::env::consts::OS`].
    pub os: &'static str,
    /// Whether checks for developers are compiled in: slower, as in debug builds.
    pub debug_assertions: bool,
    /// How one routine gives way to another.
    pub switch: Switch,
    /// The features of the package, in the order of their names, and whether each is on.
    pub features: &'static [Feature],
}

/// How one routine gives way to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Switch {
    /// By a few instructions that exchange stacks; all routines of a worker share its thread.
    Stacks,
    /// By the system: each routine that has started has an OS thread, and one of a worker's runs at a time.
    Threads,
    /// Between two turns only: a routine has no stack of its own, and what would wait in the middle of a turn panics.
    /// On WebAssembly.
    Turns,
}

impl Switch {
    /// The word shown to people and programs.
    ///
    /// ```
    /// use openwork::Switch;
    /// assert_eq!([Switch::Stacks, Switch::Threads].map(Switch::name), ["stacks", "threads"]);
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Switch::Stacks => "stacks",
            Switch::Threads => "threads",
            Switch::Turns => "turns",
        }
    }
}

/// One feature of the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Feature {
    /// Its name in `Cargo.toml`.
    pub name: &'static str,
    /// Whether it was on.
    pub on: bool,
    /// What it does, in one sentence.
    pub about: &'static str,
}

/// How this library was built.
///
/// ```
/// let build = openwork::build_info();
/// assert_eq!(build.version, env!("CARGO_PKG_VERSION"));
/// for feature in build.features {
///     println!("{}: {} ({})", feature.name, feature.on, feature.about);
/// }
/// ```
pub const fn build_info() -> BuildInfo {
    BuildInfo {
        version: env!("CARGO_PKG_VERSION"),
        arch: std::env::consts::ARCH,
        os: std::env::consts::OS,
        debug_assertions: cfg!(debug_assertions),
        switch: if cfg!(stackless) {
            Switch::Turns
        } else if cfg!(portable) {
            Switch::Threads
        } else {
            Switch::Stacks
        },
        features: &[
            Feature {
                name: "balance",
                on: cfg!(feature = "balance"),
                about: "Placements that choose a worker, strategies of one's own, and rebalancing.",
            },
            Feature {
                name: "dhat",
                on: cfg!(feature = "dhat"),
                about: "The counting allocator can send allocations through dhat.",
            },
            Feature {
                name: "growth",
                on: cfg!(feature = "growth"),
                about: "A routine can make a deep call on a larger stack, linked to its own.",
            },
            Feature {
                name: "portable",
                on: cfg!(feature = "portable"),
                about: "Each routine runs on an OS thread of its own.",
            },
            Feature {
                name: "preemption",
                on: cfg!(feature = "preemption"),
                about: "A routine that never gives way can be stopped, by a signal.",
            },
        ],
    }
}

#[cfg(test)]
mod tests {
    /// Whoever adds a feature lists it.
    #[test]
    fn each_feature_of_the_package_is_listed() {
        let manifest = include_str!("../Cargo.toml");
        let section = manifest.split("[features]").nth(1).expect("a section");
        let section = section.split("\n[").next().expect("its end");
        let declared = section.lines().filter_map(|line| {
            let (name, _) = line.split_once('=')?;
            let name = name.trim();
            (!line.starts_with('#') && name != "default").then_some(name)
        });
        let mut declared: Vec<&str> = declared.collect();
        declared.sort_unstable();
        let listed: Vec<&str> = super::build_info()
            .features
            .iter()
            .map(|f| f.name)
            .collect();
        assert_eq!(listed, declared);
    }
}
