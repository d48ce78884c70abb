//! Models of the desk.

use super::*;
use crate::primitives::{AtomicU64, fence};
use loom::sync::Arc;
use loom::thread;
use std::sync::atomic::Ordering::SeqCst;

/// Homes 0 and 1; home 0 has worker 0, home 1 wants one.
struct World {
    desk: Desk,
    /// Of home 0.
    inbox: AtomicU64,
    woken: AtomicU64,
}

impl World {
    fn new() -> Arc<World> {
        let world = World {
            desk: Desk::new(3),
            inbox: AtomicU64::new(0),
            woken: AtomicU64::new(0),
        };
        world.desk.begin(0, 0);
        assert!(world.desk.want(1));
        Arc::new(world)
    }

    fn push(&self) {
        self.inbox.fetch_add(1, Relaxed);
        fence(SeqCst);
        if let Pushed::Wake(0) = self.desk.pushed(0) {
            self.woken.store(1, Relaxed);
        }
    }

    /// Pushes in a thread of its own.
    fn pusher(world: &Arc<World>) -> thread::JoinHandle<()> {
        let world = world.clone();
        thread::spawn(move || world.push())
    }

    /// What home 0 leaves behind, as its thread sees it.
    fn leaves(&self) -> Leaves {
        if self.inbox.load(Relaxed) > 0 {
            Leaves::Work
        } else {
            Leaves::Nothing(Tenants::None)
        }
    }

    fn look_again(&self) {
        fence(SeqCst);
        if self.inbox.load(Relaxed) > 0 {
            self.desk.pushed(0);
        }
    }
}

/// Something comes into the inbox of a home whose thread gives its worker away: the home is queued then,
/// once. Breaks without either fence, or if the leaver does not look again.
#[test]
fn a_push_reaches_a_home_that_loses_its_worker() {
    loom::model(|| {
        let world = World::new();
        let pusher = World::pusher(&world);
        let leaves = world.leaves();
        assert_eq!(world.desk.hand_over(0, 0, leaves, || {}), Some(1));
        if leaves != Leaves::Work {
            world.look_again();
        }
        pusher.join().unwrap();
        assert_eq!(world.desk.wanting(), 1);
        assert_eq!(
            world.desk.spare(),
            0,
            "queued, so not to be had for anything"
        );
        assert_eq!(
            world
                .desk
                .hand_over(1, 0, Leaves::Nothing(Tenants::None), || {}),
            Some(0)
        );
    });
}

/// The same while the monitor tries to take the worker and the thread turns out to be awake: it
/// goes on and parks, and must be woken. Breaks if the monitor does not look again.
#[test]
fn a_push_reaches_a_home_that_seemed_to_be_away() {
    loom::model(|| {
        let world = World::new();
        let pusher = World::pusher(&world);
        assert_eq!(world.desk.take(0, 0, false, || false), Err(Refused::Kept));
        fence(SeqCst);
        if world.inbox.load(Relaxed) > 0
            && let Pushed::Wake(0) = world.desk.pushed(0)
        {
            world.woken.store(1, Relaxed);
        }
        pusher.join().unwrap();
        assert_eq!(world.woken.load(Relaxed), 1);
    });
}

/// A spare thread is given a worker by one side or queued by the other, never both.
#[test]
fn a_spare_thread_is_had_once() {
    loom::model(|| {
        let desk = Arc::new(Desk::new(2));
        desk.begin(0, 0);
        assert!(desk.rest(1));
        let pusher = {
            let desk = desk.clone();
            thread::spawn(move || desk.pushed(1))
        };
        // Spare, or wanting: it is had either way.
        assert_eq!(taken(&desk), 1);
        let told = pusher.join().unwrap();
        assert!(matches!(told, Pushed::Queued | Pushed::Wake(0)));
        assert_eq!(desk.wanting() + desk.spare(), 0);
    });
}

/// A home gives its worker to a spare thread, for a fresh routine, while something comes into its inbox: it is queued
/// then, once, and the spare thread is had once, though the monitor wants it too. Breaks as the first one.
#[test]
fn a_push_reaches_a_home_whose_worker_goes_to_a_spare_thread() {
    loom::model(|| {
        let world = World {
            desk: Desk::new(3),
            inbox: AtomicU64::new(0),
            woken: AtomicU64::new(0),
        };
        world.desk.begin(0, 0);
        world.desk.begin(2, 1);
        assert!(world.desk.rest(1));
        let world = Arc::new(world);
        let pusher = World::pusher(&world);
        let leaves = world.leaves();
        let desk = &world.desk;
        let lost = desk.hand_to_spare(0, 0, leaves, Wanted::Apart, || {});
        assert_eq!(lost, Some(1));
        if leaves != Leaves::Work {
            world.look_again();
        }
        pusher.join().unwrap();
        assert_eq!((desk.wanting(), desk.spare(), desk.unbound()), (1, 0, 0));
        // Nobody else is there to begin on, but the home is served.
        let leaves = Leaves::Nothing(Tenants::Some);
        assert_eq!(desk.hand_to_spare(1, 0, leaves, Wanted::Apart, || {}), None);
        assert_eq!(desk.hand_over(1, 0, leaves, || {}), Some(0));
        assert_eq!((desk.spare(), desk.unbound()), (1, 0));
    });
}

/// One spare thread, wanted by a home for a fresh routine and by the monitor for another worker: one gets it.
#[test]
fn a_spare_thread_is_had_by_the_monitor_or_by_a_fresh_routine() {
    loom::model(|| {
        let desk = Arc::new(Desk::new(3));
        desk.begin(0, 0);
        desk.begin(2, 1);
        assert!(desk.rest(1));
        let starter = {
            let desk = desk.clone();
            thread::spawn(move || {
                let leaves = Leaves::Nothing(Tenants::Some);
                desk.hand_to_spare(0, 0, leaves, Wanted::Apart, || {})
            })
        };
        let taken = desk.take(2, 1, false, || true);
        let started = starter.join().unwrap();
        match (taken, started) {
            // What the one leaves behind is spare for the other.
            (Ok(0), Some(1)) | (Ok(1), None) => {}
            (Err(Refused::Busy), Some(1)) => {}
            had => panic!("{had:?}"),
        }
    });
}

/// As the first one, where the worker goes out of service: the home is queued, and gets the next worker. Breaks
/// without either fence, or if the leaver does not look again.
#[test]
fn a_push_reaches_a_home_whose_worker_is_put_down() {
    loom::model(|| {
        let world = World::new();
        let pusher = World::pusher(&world);
        let leaves = world.leaves();
        assert!(world.desk.put_down(0, leaves, || true));
        if leaves != Leaves::Work {
            world.look_again();
        }
        pusher.join().unwrap();
        assert_eq!((world.desk.wanting(), world.desk.spare()), (2, 0));
        // Home 1 has wanted one for longer.
        let served = [world.desk.assign(0), world.desk.assign(1)];
        assert_eq!(served, [Some(1), Some(0)]);
    });
}

fn taken(desk: &Desk) -> u32 {
    loop {
        match desk.take(0, 0, false, || true) {
            Ok(to) => return to,
            Err(Refused::Busy) => loom::thread::yield_now(),
            Err(other) => panic!("{other:?}"),
        }
    }
}
