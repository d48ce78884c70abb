//! How many donors the system would bear: a quarter of each limit that they count in.
//!
//! A donor is a task and two mappings to the kernel. A quarter leaves room for the program's own threads and
//! for its neighbours under the same limit. What the system then refuses all the same is no error:
//! routines share homes.

use std::fs;
use std::path::Path;

/// Parts of each limit that homes may not take.
const PART: u64 = 4;
/// Mappings of a donor: its stack and the guard.
const MAPPINGS: u64 = 2;

/// Room for homes, and the limit that bounds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) homes: u64,
    pub(crate) by: &'static str,
}

/// The narrowest of the system's limits.
pub(crate) fn room() -> Room {
    let limits = [
        ("pids.max", pids_max()),
        ("RLIMIT_NPROC", process_limit()),
        ("kernel.pid_max", number_in("/proc/sys/kernel/pid_max")),
        (
            "kernel.threads-max",
            number_in("/proc/sys/kernel/threads-max"),
        ),
        (
            "vm.max_map_count",
            number_in("/proc/sys/vm/max_map_count").map(|mappings| mappings / MAPPINGS),
        ),
    ];
    limits
        .into_iter()
        .filter_map(|(by, limit)| {
            Some(Room {
                homes: limit? / PART,
                by,
            })
        })
        .min_by_key(|room| room.homes)
        .unwrap_or(Room {
            homes: u64::MAX,
            by: "nothing",
        })
}

fn number_in(path: impl AsRef<Path>) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn process_limit() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: writes to `limit`.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &mut limit) };
    (failed == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// The lowest bound on tasks of this process's control group and the groups around it.
fn pids_max() -> Option<u64> {
    lowest_pids_max(
        &fs::read_to_string("/proc/self/cgroup").ok()?,
        Path::new("/sys/fs/cgroup"),
    )
}

/// As [`pids_max`], of a `/proc/<pid>/cgroup` and a place where groups are mounted.
fn lowest_pids_max(groups: &str, mounted: &Path) -> Option<u64> {
    groups
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let controllers = parts.nth(1)?;
            let path = Path::new(parts.next()?.trim_start_matches('/'));
            let hierarchy = match controllers {
                "" => mounted.to_owned(),
                "pids" => mounted.join("pids"),
                _ => return None,
            };
            path.ancestors()
                .filter_map(|group| number_in(hierarchy.join(group).join("pids.max")))
                .min()
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container's bound stands in a group above the process's own, as a rule.
    #[test]
    fn the_lowest_bound_of_all_groups_around_counts() {
        let mounted = std::env::temp_dir().join(format!("openwork-cgroup-{}", std::process::id()));
        let make = |path: &str, text: &str| {
            let path = mounted.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        make("box/app/pids.max", "max\n");
        make("box/pids.max", "1024\n");
        make("pids/old/pids.max", "400\n");
        let lowest = |groups| lowest_pids_max(groups, &mounted);
        assert_eq!(lowest("0::/box/app\n"), Some(1024));
        assert_eq!(lowest("8:pids:/old\n1:cpu:/\n0::/box/app\n"), Some(400));
        assert_eq!(lowest("8:pids:/elsewhere\n"), None);
        assert_eq!(lowest(""), None);
        fs::remove_dir_all(mounted).unwrap();
    }

    #[test]
    fn room_is_a_quarter_of_a_limit() {
        let room = room();
        assert!(room.homes > 0, "{room:?}");
        let pid_max = number_in("/proc/sys/kernel/pid_max").unwrap();
        assert!(room.homes <= pid_max / 4, "{room:?}");
    }
}
