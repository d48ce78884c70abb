//! Which processors are near each other: what the kernel says of cores, caches, packages and memory
//! nodes, read once from a tree of small files. Tests read a tree of their own.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use crate::snapshot::TopologyFigures;

/// How far two processors are from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Distance {
    /// The same core, or the same processor.
    Core,
    /// They share the last cache before memory.
    Cache,
    /// The same memory node.
    Node,
    /// The same package.
    Package,
    /// None of these.
    Far,
}

impl Distance {
    /// From the nearest on.
    pub(crate) const ALL: [Distance; 5] = [
        Distance::Core,
        Distance::Cache,
        Distance::Node,
        Distance::Package,
        Distance::Far,
    ];
}

/// Where one processor lies. Groups are named by their lowest processor, packages and nodes by their
/// numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Processor {
    core: u32,
    cache: u32,
    node: u32,
    package: u32,
}

/// The processors of a machine, by number.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Topology {
    processors: Vec<Option<Processor>>,
    nodes: u64,
}

impl Topology {
    /// That of this machine; `None` where the system does not tell.
    pub(crate) fn of_machine() -> Option<&'static Topology> {
        static MACHINE: OnceLock<Option<Topology>> = OnceLock::new();
        MACHINE
            .get_or_init(|| Topology::read(Path::new("/sys/devices/system")))
            .as_ref()
    }

    /// Reads the directories `cpu` and `node` in `root`, which are as Linux has them.
    fn read(root: &Path) -> Option<Topology> {
        let online = list(&root.join("cpu/online"))?;
        let nodes = nodes(&root.join("node"));
        let last = *online.iter().max()? as usize;
        let mut processors = vec![None; last + 1];
        for number in online {
            let cpu = root.join(format!("cpu/cpu{number}"));
            // What is not told is taken for the smallest group there is: the processor alone.
            let lowest = |file: &str| list(&cpu.join(file))?.into_iter().min();
            let core = lowest("topology/thread_siblings_list").unwrap_or(number);
            let node = nodes
                .iter()
                .find(|(_, members)| members.contains(&number))
                .map_or(0, |(node, _)| *node);
            processors[number as usize] = Some(Processor {
                core,
                cache: last_cache(&cpu.join("cache")).unwrap_or(core),
                node,
                package: number_in(&cpu.join("topology/physical_package_id")).unwrap_or(0),
            });
        }
        let mut topology = Topology {
            processors,
            nodes: 0,
        };
        topology.nodes = topology.count(|p| p.node);
        Some(topology)
    }

    /// How far `one` is from `other`. An unknown processor is far from all.
    pub(crate) fn distance(&self, one: u32, other: u32) -> Distance {
        let (Some(a), Some(b)) = (self.get(one), self.get(other)) else {
            return Distance::Far;
        };
        if a.core == b.core {
            Distance::Core
        } else if a.cache == b.cache {
            Distance::Cache
        } else if a.node == b.node {
            Distance::Node
        } else if a.package == b.package {
            Distance::Package
        } else {
            Distance::Far
        }
    }

    /// `members`, those on processors near `here` first and otherwise in their order.
    pub(crate) fn nearest_first(
        &self,
        here: u32,
        members: impl Iterator<Item = usize> + Clone,
        processor: impl Fn(usize) -> u32 + Copy,
    ) -> impl Iterator<Item = usize> {
        Distance::ALL.into_iter().flat_map(move |wanted| {
            let of = members.clone();
            of.filter(move |member| self.distance(here, processor(*member)) == wanted)
        })
    }

    /// The memory node of a processor; `None` if there is one node only, or it is not known.
    pub(crate) fn node(&self, processor: u32) -> Option<u32> {
        let node = self.get(processor)?.node;
        (self.nodes > 1).then_some(node)
    }

    pub(crate) fn figures(&self) -> TopologyFigures {
        TopologyFigures {
            processors: self.processors.iter().flatten().count() as u64,
            cores: self.count(|p| p.core),
            caches: self.count(|p| p.cache),
            packages: self.count(|p| p.package),
            nodes: self.nodes,
        }
    }

    fn get(&self, processor: u32) -> Option<&Processor> {
        self.processors.get(processor as usize)?.as_ref()
    }

    fn count(&self, group: impl Fn(&Processor) -> u32) -> u64 {
        let mut groups: Vec<u32> = self.processors.iter().flatten().map(group).collect();
        groups.sort_unstable();
        groups.dedup();
        groups.len() as u64
    }
}

/// The processor that the calling thread runs on; `None` where the system does not tell.
pub(crate) fn processor_here() -> Option<u32> {
    #[cfg(target_os = "linux")]
    // SAFETY: no arguments; a failure is a negative number.
    return u32::try_from(unsafe { libc::sched_getcpu() }).ok();
    #[cfg(not(target_os = "linux"))]
    None
}

/// Each memory node with its processors.
fn nodes(root: &Path) -> Vec<(u32, Vec<u32>)> {
    let Ok(entries) = fs::read_dir(root) else {
        return Vec::new();
    };
    let node = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str()?.strip_prefix("node")?.parse();
        Some((number.ok()?, list(&entry.path().join("cpulist"))?))
    };
    entries.flatten().filter_map(node).collect()
}

/// The lowest processor of those that share the cache of the highest level.
fn last_cache(root: &Path) -> Option<u32> {
    let caches = fs::read_dir(root).ok()?.flatten().filter_map(|entry| {
        let level = number_in(&entry.path().join("level"))?;
        let sharers = list(&entry.path().join("shared_cpu_list"))?;
        Some((level, sharers.into_iter().min()?))
    });
    caches
        .max_by_key(|(level, _)| *level)
        .map(|(_, lowest)| lowest)
}

fn number_in(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// A list of numbers as the kernel writes it: `0-3,8,10-11`. `None` if it is none.
fn list(file: &Path) -> Option<Vec<u32>> {
    let text = fs::read_to_string(file).ok()?;
    let mut numbers = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        numbers.extend(from.parse::<u32>().ok()?..=to.parse::<u32>().ok()?);
    }
    Some(numbers)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A tree like the kernel's, which goes when it is dropped.
    pub(crate) struct Tree(PathBuf);

    impl Tree {
        pub(crate) fn new(name: &str) -> Tree {
            let root = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(root.join("cpu")).unwrap();
            Tree(root)
        }

        fn put(&self, file: &str, text: &str) {
            let path = self.0.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }

        /// Two packages of two nodes each, each node with two caches over two cores of two threads.
        /// Threads of one core are 16 apart, as is usual.
        pub(crate) fn large(name: &str) -> Tree {
            let tree = Tree::new(name);
            tree.put("cpu/online", "0-31");
            for cpu in 0..32u32 {
                let core = cpu % 16;
                let cache = core / 2 * 2;
                let put =
                    |file: &str, text: String| tree.put(&format!("cpu/cpu{cpu}/{file}"), &text);
                put(
                    "topology/thread_siblings_list",
                    format!("{core},{}", core + 16),
                );
                put("topology/physical_package_id", format!("{}", core / 8));
                put("cache/index0/level", "1".into());
                put(
                    "cache/index0/shared_cpu_list",
                    format!("{core},{}", core + 16),
                );
                put("cache/index3/level", "3".into());
                let sharers = format!("{cache}-{},{}-{}", cache + 1, cache + 16, cache + 17);
                put("cache/index3/shared_cpu_list", sharers);
            }
            for node in 0..4u32 {
                let from = 4 * node;
                let list = format!("{from}-{},{}-{}", from + 3, from + 16, from + 19);
                tree.put(&format!("node/node{node}/cpulist"), &list);
            }
            tree.put("node/possible", "0-3");
            tree
        }

        pub(crate) fn read(&self) -> Option<Topology> {
            Topology::read(&self.0)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_large_machine_has_every_distance() {
        let machine = Tree::large("openwork-topology-large").read().unwrap();
        let figures = TopologyFigures {
            processors: 32,
            cores: 16,
            caches: 8,
            packages: 2,
            nodes: 4,
        };
        assert_eq!(machine.figures(), figures);
        let from_5 = [5, 21, 4, 20, 6, 22, 0, 16, 8, 31].map(|cpu| machine.distance(5, cpu));
        use Distance::*;
        assert_eq!(
            from_5,
            [
                Core, Core, Cache, Cache, Node, Node, Package, Package, Far, Far
            ]
        );
        assert_eq!(
            [0, 5, 12, 31].map(|cpu| machine.node(cpu)),
            [0, 1, 3, 3].map(Some)
        );
        assert_eq!(machine.distance(0, 99), Far, "nobody knows 99");
    }

    /// Eight workers seen from the one on processor 5, the third among them first.
    #[test]
    fn victims_are_grouped_by_distance() {
        let machine = Tree::large("openwork-topology-victims").read().unwrap();
        let processors = [31, 4, 0, 21, 6, 99, 16, 20];
        let order = machine.nearest_first(5, (2..8).chain(0..2), |worker| processors[worker]);
        let order: Vec<u32> = order.map(|worker| processors[worker]).collect();
        assert_eq!(order, [21, 20, 4, 6, 0, 16, 99, 31]);
    }

    #[test]
    fn one_node_is_none() {
        let tree = Tree::new("openwork-topology-small");
        tree.put("cpu/online", "0-1");
        tree.put("node/node0/cpulist", "0-1");
        let machine = tree.read().unwrap();
        assert_eq!((machine.nodes, machine.node(1)), (1, None));
        assert_eq!(
            machine.distance(0, 1),
            Distance::Node,
            "no file tells of more"
        );
    }

    /// A hole in the numbers, a processor that is off, a file that is no list.
    #[test]
    fn what_is_missing_is_not_made_up() {
        let tree = Tree::new("openwork-topology-holes");
        tree.put("cpu/online", "0,3");
        tree.put("cpu/cpu3/topology/thread_siblings_list", "nonsense");
        let machine = tree.read().unwrap();
        assert_eq!(
            (machine.figures().processors, machine.figures().cores),
            (2, 2)
        );
        assert_eq!(machine.distance(0, 1), Distance::Far);
        tree.put("cpu/online", "all of them");
        assert_eq!(tree.read(), None);
        assert_eq!(Topology::read(Path::new("/nowhere")), None);
    }

    #[test]
    fn this_machine_knows_the_processor_we_run_on() {
        if let (Some(machine), Some(here)) = (Topology::of_machine(), processor_here()) {
            assert!(machine.get(here).is_some(), "{here} of {machine:?}");
        }
    }
}
