//! What the machine grants, and who else uses it.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::available_parallelism;

use crate::config::Setting;

/// How many workers run, and who decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerCount {
    /// Number of workers.
    pub count: usize,
    /// Who decided it: `flag`, `environment`, `CPU quota`, `CPU affinity` or `CPUs online`.
    pub source: &'static str,
}

impl WorkerCount {
    /// The number asked for, or else what quota and affinity allow. Never more than one per CPU we may use: a further
    /// worker would only take turns with the others.
    pub fn decide(asked: &Setting<Option<usize>>) -> Self {
        if let Some(count) = asked.value {
            return WorkerCount {
                count,
                source: asked.source.name(),
            };
        }
        let granted = available_parallelism().map_or(1, |n| n.get());
        let allowed = list_in("/proc/self/status", "Cpus_allowed_list:");
        let online = list_in("/sys/devices/system/cpu/online", "");
        let source = match (allowed, online) {
            (Some(allowed), _) if granted < allowed => "CPU quota",
            (Some(allowed), Some(online)) if allowed < online => "CPU affinity",
            _ => "CPUs online",
        };
        WorkerCount {
            count: granted,
            source,
        }
    }
}

impl fmt::Display for WorkerCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (from {})", self.count, self.source)
    }
}

/// Number of CPUs in a list like `0-3,8` that stands in `file` after `key`.
fn list_in(file: &str, key: &str) -> Option<usize> {
    let text = fs::read_to_string(file).ok()?;
    let list = text.lines().find_map(|line| line.strip_prefix(key))?;
    list.trim().split(',').map(range_len).sum()
}

fn range_len(range: &str) -> Option<usize> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    last.checked_sub(first).map(|n| n + 1)
}

/// A process that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its id.
    pub(crate) pid: u32,
    /// Its name, as in `/proc/<pid>/comm`.
    pub(crate) name: String,
}

/// Who listens on the port of `address`, as far as `/proc` lets us see: the processes of others stay hidden.
pub(crate) fn holder_of(address: SocketAddr) -> Option<Holder> {
    let inodes: Vec<u64> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|table| listening_inodes(&table, address.port()))
        .collect();
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        holds_one_of(&entry.path(), &inodes).then(|| {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            Holder {
                pid,
                name: name.trim().escape_debug().to_string(),
            }
        })
    })
}

/// The sockets in a `/proc/net/tcp` table that listen on `port`.
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local = fields.get(1)?.rsplit_once(':')?.1;
        let listens = *fields.get(3)? == LISTEN && u16::from_str_radix(local, 16).ok()? == port;
        if listens {
            fields.get(9)?.parse().ok()
        } else {
            None
        }
    };
    table.lines().skip(1).filter_map(inode).collect()
}

fn holds_one_of(process: &Path, inodes: &[u64]) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    descriptors.flatten().any(|fd| {
        let target = fs::read_link(fd.path()).unwrap_or_default();
        let inode = target
            .to_str()
            .and_then(|t| t.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inode.is_some_and(|inode| inodes.contains(&inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let holder =
            holder_of(listener.local_addr().expect("an address")).expect("we may see ourselves");
        assert_eq!(holder.pid, std::process::id());
    }

    #[test]
    fn cpu_lists_are_counted() {
        assert_eq!(range_len("7"), Some(1));
        assert_eq!(range_len("0-3"), Some(4));
        assert_eq!(range_len("x"), None);
        assert_eq!(
            WorkerCount::decide(&Setting::flag(Some(3))),
            WorkerCount {
                count: 3,
                source: "flag"
            }
        );
    }
}
