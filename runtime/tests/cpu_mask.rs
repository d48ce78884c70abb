//! As many workers as the process may use processors, by its mask and by the quota of its control group. Both belong
//! to the process, so a child of this program restricts itself and tells.
#![cfg(target_os = "linux")]

mod support;

use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::{fs, io};

use openwork::Runtime;
use openwork::config::VictimOrder;
use openwork::snapshot::WorkerState;
use support::{quiet_panics, until};

const CHILD: &str = "OPENWORK_TEST_PROCESSORS";
/// The control group that the child is to join.
const GROUP: &str = "OPENWORK_TEST_GROUP";

/// Lets this process use the first `count` of its processors.
fn restrict(count: usize) -> usize {
    // SAFETY: a set of bits, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: the set lives through the calls and has the size given; numbers are below its bits.
    unsafe {
        assert_eq!(libc::sched_getaffinity(0, size, &mut set), 0);
        let mut kept = 0;
        for processor in 0..libc::CPU_SETSIZE as usize {
            if libc::CPU_ISSET(processor, &set) {
                if kept < count {
                    kept += 1;
                } else {
                    libc::CPU_CLR(processor, &mut set);
                }
            }
        }
        assert_eq!(libc::sched_setaffinity(0, size, &set), 0);
        kept
    }
}

/// What the child does: a runtime of which nothing is asked.
fn runs_restricted(count: usize) {
    // A quota may leave less.
    let allowed = restrict(count).min(std::thread::available_parallelism().unwrap().get());
    let rt = Runtime::builder()
        // Asks on which processor it runs, and how far that is from others.
        .victims(VictimOrder::Nearest)
        .build()
        .unwrap();
    assert_eq!(rt.handle().workers(), allowed);
    assert_eq!(rt.snapshot().workers.len(), allowed);
    let sum = |rt: &Runtime| {
        rt.block_on(|| {
            let parts: Vec<_> = (0..100u64).map(|n| openwork::spawn(move || n)).collect();
            parts
                .into_iter()
                .map(|one| one.join().unwrap())
                .sum::<u64>()
        })
    };
    assert_eq!(sum(&rt), 4950);
    // More workers than processors take turns, and work.
    let most = rt.handle().max_workers();
    assert!(most > allowed);
    rt.handle().set_workers(most).unwrap();
    assert_eq!(sum(&rt), 4950);
    if let Some(machine) = rt.snapshot().topology {
        assert!(machine.processors >= allowed as u64, "{machine:?}");
    }
    rt.handle().set_workers(allowed).unwrap();
    until("the others have left", || {
        let workers = rt.snapshot().workers;
        let serving = workers.iter().filter(|w| w.state != WorkerState::Inactive);
        serving.count() == allowed
    });
    println!("{allowed} workers");
}

#[test]
fn there_are_as_many_workers_as_the_process_may_use_processors() {
    quiet_panics();
    if let Ok(count) = std::env::var(CHILD) {
        return runs_restricted(count.parse().unwrap());
    }
    for count in [1, 2] {
        let mut child = support::this_binary();
        child.args(["--exact", "--nocapture"]);
        child.arg("there_are_as_many_workers_as_the_process_may_use_processors");
        let output = child.env(CHILD, count.to_string()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert!(said.contains(" workers"), "{said}");
        if count == 1 {
            assert!(said.contains("1 workers"), "{said}");
        }
    }
}

/// A control group with a quota of processor time; gone when dropped.
struct Group(PathBuf);

impl Group {
    /// Half a processor more than one, which makes one worker.
    const QUOTA_US: u32 = 150_000;
    const PERIOD_US: u32 = 100_000;

    /// Makes one where control groups of the first or the second version are mounted, if this process may.
    fn new() -> io::Result<Group> {
        let name = format!("openwork-test-{}", std::process::id());
        let (quota, period) = (Self::QUOTA_US, Self::PERIOD_US);
        let first = Path::new("/sys/fs/cgroup/cpu");
        if first.join("cpu.cfs_quota_us").exists() {
            let group = Group(first.join(name));
            fs::create_dir(&group.0)?;
            fs::write(group.0.join("cpu.cfs_period_us"), period.to_string())?;
            fs::write(group.0.join("cpu.cfs_quota_us"), quota.to_string())?;
            return Ok(group);
        }
        let group = Group(Path::new("/sys/fs/cgroup").join(name));
        fs::create_dir(&group.0)?;
        fs::write(group.0.join("cpu.max"), format!("{quota} {period}"))?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Where this process may not make a control group, there is nothing to test, which is told.
#[test]
fn there_are_as_many_workers_as_the_quota_pays_for() {
    quiet_panics();
    if let Ok(group) = std::env::var(GROUP) {
        let me = std::process::id().to_string();
        fs::write(Path::new(&group).join("cgroup.procs"), me).unwrap();
        let rt = Runtime::builder().build().unwrap();
        // On a line of its own, whatever the harness has begun.
        println!("\n{} workers", rt.handle().workers());
        return;
    }
    let group = match Group::new() {
        Ok(group) => group,
        Err(error) => return eprintln!("not run: no control group can be made here: {error}"),
    };
    let mut child = support::this_binary();
    child.args(["--exact", "--nocapture"]);
    child.arg("there_are_as_many_workers_as_the_quota_pays_for");
    let output = child.env(GROUP, &group.0).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.lines().any(|line| line == "1 workers"), "{said}");
}
