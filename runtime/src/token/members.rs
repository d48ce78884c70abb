//! Who is asked when a token is cancelled: a list of members, and how far the cancel has gone.
//!
//! A member joins and leaves under the lock; a cancel raises the level under it and then goes over the
//! seats in batches, without the lock while it asks. Nobody joins a list whose level is raised, and
//! seats do not move, so each member of that moment is met at its seat or has left. Joining, leaving
//! and the step to the next member take constant time, and a seat that was left is taken again.
//!
//! Knows no routines, so that the model checker can run it.

use std::sync::atomic::Ordering::{Acquire, Release};

use crate::primitives::{AtomicU8, Mutex, MutexGuard};
use crate::routine::life::CancelLevel;

/// Members met while the lock is held once.
const BATCH: usize = 16;

/// Seats below which an empty list keeps its memory.
const SEATS_KEPT: usize = 64;

/// No seat.
pub(crate) const NO_SEAT: u32 = u32::MAX;

/// See the module's text. `C` says why.
pub(crate) struct Members<M, C> {
    /// A [`CancelLevel`]. Written under the lock.
    level: AtomicU8,
    list: Mutex<List<M, C>>,
}

struct List<M, C> {
    seats: Vec<Seat<M>>,
    /// First of the free seats, which are linked.
    free: u32,
    taken: usize,
    cause: Option<C>,
}

enum Seat<M> {
    Taken(M),
    Free { next: u32 },
}

impl<M, C: Clone> Members<M, C> {
    pub(crate) fn new() -> Members<M, C> {
        Members {
            level: AtomicU8::new(CancelLevel::None as u8),
            list: Mutex::new(List {
                seats: Vec::new(),
                free: NO_SEAT,
                taken: 0,
                cause: None,
            }),
        }
    }

    /// How far a cancel has gone. Takes no lock.
    pub(crate) fn level(&self) -> CancelLevel {
        // Acquire pairs with the store in `raise`: who sees the cancel sees what came before it.
        CancelLevel::from_u8(self.level.load(Acquire))
    }

    pub(crate) fn cause(&self) -> Option<C> {
        self.lock().cause.clone()
    }

    /// Takes a seat. If the list is cancelled the member stays out, and how far it has gone is returned.
    pub(crate) fn join(&self, member: M) -> Result<u32, CancelLevel> {
        let mut list = self.lock();
        match self.level() {
            CancelLevel::None => Ok(list.seat(member)),
            level => {
                drop(list);
                drop(member);
                Err(level)
            }
        }
    }

    /// Gives the seat up. To be dropped by the caller: the member may be foreign.
    pub(crate) fn leave(&self, seat: u32) -> M {
        self.lock().unseat(seat)
    }

    /// Raises the level. False if it was so high before: whoever raised it asks the members.
    pub(crate) fn raise(&self, level: CancelLevel, cause: &C) -> bool {
        let mut list = self.lock();
        if self.level() >= level {
            return false;
        }
        // The first one counts.
        if list.cause.is_none() {
            list.cause = Some(cause.clone());
        }
        // Release pairs with the acquire load in `level`.
        self.level.store(level as u8, Release);
        true
    }

    /// Calls `ask` with what `keep` made of each member under the lock; `ask` itself runs without it.
    pub(crate) fn ask_all<K>(&self, keep: impl Fn(&M) -> Option<K>, mut ask: impl FnMut(K)) {
        let mut at = 0;
        loop {
            let mut batch = [const { None }; BATCH];
            let mut kept = batch.iter_mut();
            {
                let list = self.lock();
                while at < list.seats.len() && kept.len() > 0 {
                    if let Seat::Taken(member) = &list.seats[at]
                        && let Some(keeps) = keep(member)
                    {
                        *kept.next().expect("counted above") = Some(keeps);
                    }
                    at += 1;
                }
            }
            let full = kept.len() == 0;
            batch.into_iter().flatten().for_each(&mut ask);
            if !full {
                return;
            }
        }
    }

    /// Members now.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().taken
    }

    /// Seats, taken or not.
    #[cfg(test)]
    pub(crate) fn seats(&self) -> usize {
        self.lock().seats.len()
    }

    fn lock(&self) -> MutexGuard<'_, List<M, C>> {
        // Nothing in here panics while the lock is held.
        self.list.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl<M, C> List<M, C> {
    fn seat(&mut self, member: M) -> u32 {
        self.taken += 1;
        let seat = self.free;
        if seat == NO_SEAT {
            self.seats.push(Seat::Taken(member));
            return (self.seats.len() - 1) as u32;
        }
        match std::mem::replace(&mut self.seats[seat as usize], Seat::Taken(member)) {
            Seat::Free { next } => self.free = next,
            Seat::Taken(_) => unreachable!("a free seat is free"),
        }
        seat
    }

    fn unseat(&mut self, seat: u32) -> M {
        let free = Seat::Free { next: self.free };
        let Seat::Taken(member) = std::mem::replace(&mut self.seats[seat as usize], free) else {
            unreachable!("a seat is left once");
        };
        self.free = seat;
        self.taken -= 1;
        if self.taken == 0 && self.seats.len() > SEATS_KEPT {
            self.seats = Vec::new();
            self.free = NO_SEAT;
        }
        member
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::primitives::AtomicU32;
    use loom::sync::Arc;
    use loom::thread;
    use std::sync::atomic::Ordering::SeqCst;

    /// A member that joins while a cancel runs is asked by one of the two, and one that has left
    /// before the cancel is not met. Breaks if `join` looks at the level without the lock.
    #[test]
    fn who_joins_during_a_cancel_is_asked() {
        loom::model(|| {
            let members = Arc::new(Members::<Arc<AtomicU32>, ()>::new());
            let gone = Arc::new(AtomicU32::new(0));
            let seat = members.join(gone.clone()).unwrap();
            drop(members.leave(seat));
            let asked = Arc::new(AtomicU32::new(0));
            let joiner = {
                let (members, asked) = (members.clone(), asked.clone());
                thread::spawn(move || match members.join(asked.clone()) {
                    Ok(_) => {}
                    Err(_) => {
                        asked.fetch_add(1, SeqCst);
                    }
                })
            };
            assert!(members.raise(CancelLevel::Asked, &()));
            members.ask_all(
                |member| Some(member.clone()),
                |member| {
                    member.fetch_add(1, SeqCst);
                },
            );
            joiner.join().unwrap();
            assert_eq!(asked.load(SeqCst), 1);
            assert_eq!(gone.load(SeqCst), 0);
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Seats are reused, and a list that is empty again has given its memory back.
    #[test]
    fn seats_that_were_left_are_taken_again() {
        let members = Members::<u32, ()>::new();
        for round in 0..10 {
            let first = members.join(round).unwrap();
            assert_eq!(members.leave(first), round);
        }
        assert_eq!(members.seats(), 1);
        let seats: Vec<u32> = (0..1000).map(|n| members.join(n).unwrap()).collect();
        for (n, seat) in seats.into_iter().enumerate() {
            assert_eq!(members.leave(seat), n as u32);
        }
        assert_eq!((members.len(), members.seats()), (0, 0));
    }

    /// Every member is met once, also beyond one batch and past seats that were left.
    #[test]
    fn a_cancel_meets_every_member() {
        let members = Members::<usize, &str>::new();
        let seats: Vec<u32> = (0..100).map(|n| members.join(n).unwrap()).collect();
        for n in (0..100).step_by(3) {
            members.leave(seats[n]);
        }
        assert!(members.raise(CancelLevel::Asked, &"first"));
        assert!(!members.raise(CancelLevel::Asked, &"second"));
        let mut met = Vec::new();
        members.ask_all(|n| Some(*n), |n| met.push(n));
        let left: Vec<usize> = (0..100).filter(|n| n % 3 != 0).collect();
        assert_eq!(met, left);
        assert_eq!(members.join(7), Err(CancelLevel::Asked));
        assert!(members.raise(CancelLevel::Told, &"third"));
        assert_eq!(members.cause(), Some("first"));
    }
}
