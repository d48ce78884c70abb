//! What the kernel says of this machine and this process, read from files. What is missing or reads
//! strangely is `None`.

use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;

use crate::measure::Figure;

/// The machine that a bench ran on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Model of its processors.
    pub cpu: Option<String>,
    /// Processors that this process may use.
    pub cores: usize,
    /// The kernel's name and release.
    pub kernel: Option<String>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
}

impl Machine {
    /// This machine.
    pub fn here() -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").ok();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        Machine {
            cpu: cpuinfo.and_then(|text| cpu_model(&text)),
            cores: cores(),
            kernel: release.map(|release| format!("Linux {}", release.trim())),
            memory_bytes: fs::read_to_string("/proc/meminfo")
                .ok()
                .and_then(|text| kib_field(&text, "MemTotal:")),
        }
    }
}

/// Processors that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Bytes that may be taken without harm to others on this machine.
pub(crate) fn available_memory() -> Option<u64> {
    kib_field(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// Memory of this process at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    resident: Option<u64>,
    page_tables: Option<u64>,
}

/// What was added to it between two moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grown {
    resident: Option<f64>,
    page_tables: Option<f64>,
}

impl Memory {
    pub(crate) fn read() -> Memory {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Memory {
            resident: kib_field(&status, "VmRSS:"),
            page_tables: kib_field(&status, "VmPTE:"),
        }
    }

    pub(crate) fn since(&self, before: &Memory) -> Grown {
        let grown = |now: Option<u64>, then: Option<u64>| Some(now? as f64 - then? as f64);
        Grown {
            resident: grown(self.resident, before.resident),
            page_tables: grown(self.page_tables, before.page_tables),
        }
    }
}

impl Grown {
    /// The figures of `count` routines that hold this, and the time that it took to make them and, where
    /// that was done, to let them go.
    pub(crate) fn figures(&self, count: u64, took: Duration) -> Vec<Figure> {
        let count = count as f64;
        let both = self.resident.zip(self.page_tables).map(|(a, b)| a + b);
        let bytes = [
            ("bytes", both),
            ("resident", self.resident),
            ("page_tables", self.page_tables),
        ];
        bytes
            .into_iter()
            .filter_map(|(name, grown)| Some(Figure::new(name, "B", grown? / count)))
            .chain([Figure::new("total", "ms", took.as_secs_f64() * 1e3)])
            .collect()
    }
}

/// The value of a `Name:   123 kB` line, in bytes.
fn kib_field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Processor time that the whole machine has spent on work, since it started.
pub(crate) fn machine_busy() -> Option<Duration> {
    busy(&fs::read_to_string("/proc/stat").ok()?).map(ticks)
}

/// Processor time of this process and of the children that it has waited for.
pub(crate) fn own_busy() -> Option<Duration> {
    own(&fs::read_to_string("/proc/self/stat").ok()?).map(ticks)
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs(count)
        / u32::try_from(clock_ticks_per_second())
            .unwrap_or(100)
            .max(1)
}

/// All but idle time and waiting for disks. Guests' time is in user time already.
fn busy(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let times: Vec<u64> = line
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    let [user, nice, system, _idle, _disk, irq, softirq, steal, ..] = times[..] else {
        return None;
    };
    Some(user + nice + system + irq + softirq + steal)
}

fn own(stat: &str) -> Option<u64> {
    // The name in brackets may hold anything; the fields after it are numbered from 3 in proc(5).
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    // utime, stime, cutime, cstime.
    Some(field(14)? + field(15)? + field(16)? + field(17)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_did_is_in_the_machines_time() {
        let stat = "cpu  10 20 30 1000 5 1 2 3 4 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n";
        assert_eq!(busy(stat), Some(66));
        assert_eq!(busy("cpu0 1 2"), None);
    }

    #[test]
    fn a_strange_name_does_not_move_the_fields() {
        let stat = "42 (a b) c) R 1 1 1 0 -1 0 0 0 0 0 7 8 9 10 20 0 1 0";
        assert_eq!(own(stat), Some(34));
    }

    #[test]
    fn this_process_is_in_memory_on_a_machine() {
        assert!(Memory::read().resident.is_some_and(|bytes| bytes > 0));
        assert!(Machine::here().cores > 0);
    }

    #[test]
    fn what_grew_is_shared_out() {
        let memory = |resident, page_tables| Memory {
            resident: Some(resident),
            page_tables: Some(page_tables),
        };
        let grown = memory(5_000, 300).since(&memory(1_000, 100));
        let figures = grown.figures(10, Duration::from_millis(3));
        let values: Vec<_> = figures.iter().map(|f| (f.name.as_str(), f.value)).collect();
        assert_eq!(
            values,
            [
                ("bytes", 420.0),
                ("resident", 400.0),
                ("page_tables", 20.0),
                ("total", 3.0)
            ]
        );
    }
}
