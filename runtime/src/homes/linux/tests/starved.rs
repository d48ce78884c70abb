//! Rule 13: the system's refusal is no error: homes are shared.

use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::homes::{Homes, NoHomes};
use crate::stack::child;

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_system_that_refuses_donors_makes_routines_share() {
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: only root can become a user without other processes");
        return;
    }
    if child::passes(
        "homes::platform::tests::starved::a_system_that_refuses_donors_makes_routines_share",
    ) {
        return;
    }
    end_if_it_hangs();
    let homes = Homes::new(100, 2).unwrap();
    // A user with no other process, so that the bound is this process's own.
    let user = 20_000 + std::process::id() % 40_000;
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().count() as u64;
    let limit = libc::rlimit {
        rlim_cur: tasks + 3,
        rlim_max: tasks + 3,
    };
    // SAFETY: reads `limit`; no other memory is involved.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &limit), 0);
        assert_eq!(libc::setresuid(user, user, user), 0);
    }
    let carrier = Carrier::enter();
    let me = carrier.thread_id();
    let mut taken = Vec::new();
    while let Some(home) = homes.take(0) {
        taken.push(home);
    }
    assert_eq!(
        taken.len(),
        5,
        "two that were there, three that were allowed"
    );
    assert_eq!(homes.counts().refused.load(Relaxed), 1);
    assert!(homes.take(1).is_none());
    assert_eq!(
        homes.counts().refused.load(Relaxed),
        1,
        "it is not asked again at once"
    );
    assert!(homes.take(SECOND).is_none());
    assert_eq!(homes.counts().refused.load(Relaxed), 2);
    assert!(homes.share(&carrier).is_none(), "none has a routine");
    for home in &taken {
        home.door.take_up(me);
        homes.bind(home);
        home.door.leave(me, |_| unreachable!());
    }
    // Twelve more on five homes: three on two of them, four on none, as even as can be.
    for _ in 0..7 {
        let home = homes.share(&carrier).unwrap();
        homes.bind(home);
        home.door.leave(me, |_| unreachable!());
    }
    let mut counts: Vec<_> = taken.iter().map(|home| home.routines()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [2, 2, 2, 3, 3]);
    assert_eq!(homes.counts().sharing.load(Relaxed), 12);
    assert_eq!(homes.counts().shared.load(Relaxed), 7);
    for home in taken {
        assert!(home.door.try_enter(me));
        while homes.unbind(home) {}
        home.door.put_by(me);
        homes.give_back(home, 0);
    }
    assert_eq!(homes.counts().sharing.load(Relaxed), 0);
    homes.end_free();
    assert_eq!(homes.counts().ended.load(Relaxed), 5);
}

#[test]
fn a_home_that_is_mounted_is_not_shared() {
    let homes = Homes::new(2, 2).unwrap();
    let carrier = Carrier::enter();
    let me = carrier.thread_id();
    let [kept, left] = [homes.take(0).unwrap(), homes.take(0).unwrap()];
    for home in [kept, left] {
        home.door.take_up(me);
        homes.bind(home);
    }
    assert!(homes.share(&carrier).is_none());
    left.door.leave(me, |_| unreachable!());
    assert_eq!(homes.share(&carrier).unwrap().index(), left.index());
}

#[test]
fn homes_that_nobody_wants_end_the_oldest_first() {
    let homes = Homes::new(3, 1).unwrap();
    let taken: Vec<_> = (0..3).map(|_| homes.take(0).unwrap()).collect();
    assert_eq!(homes.expires(), u64::MAX);
    for (home, at) in taken.iter().zip([1, 2, 3]) {
        homes.give_back(home, at * SECOND);
    }
    assert_eq!(homes.expires(), 11 * SECOND);
    homes.end_idle(10 * SECOND);
    assert_eq!(homes.free(), 3);
    homes.end_idle(11 * SECOND);
    assert_eq!((homes.free(), homes.expires()), (2, 12 * SECOND));
    homes.end_idle(100 * SECOND);
    assert_eq!(
        (homes.free(), homes.expires()),
        (1, u64::MAX),
        "one stays, however old"
    );
    assert_eq!(
        homes.take(0).unwrap().index(),
        taken[2].index(),
        "the warmest"
    );
    assert!(homes.take(0).is_some(), "a place is filled again");
    assert_eq!(homes.counts().made.load(Relaxed), 4);
}

#[test]
fn too_little_room_is_told() {
    let told = Homes::new(3, 4).err().unwrap().to_string();
    assert_eq!(
        told,
        "travelling_homes leaves room for 3 of them, and 4 are needed at least"
    );
    let room = super::super::room();
    let least = u32::try_from(room.homes)
        .unwrap_or(u32::MAX)
        .saturating_add(1);
    if let Err(NoHomes::Room { by, .. }) = Homes::new(least, least) {
        assert_eq!(by, room.by);
    }
}
