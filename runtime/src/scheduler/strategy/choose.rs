//! The strategies' decisions over plain values. No queues and no atomics, and nothing of this crate: the
//! model in `benches/strategies.rs` decides with this very file for more workers than a machine has.

/// Most routines that a thief takes at once: `crossbeam-deque` moves no more.
pub(crate) const BATCH_MAX: usize = 32;

/// Rounds over all victims before a searching worker gives up.
pub(crate) const ROUNDS_MAX: u32 = 4;

/// The worker with the largest load but `me`, if any has one.
pub(crate) fn most_loaded(count: usize, me: usize, load: impl Fn(usize) -> u64) -> Option<usize> {
    from(me, count)
        .skip(1)
        .map(|worker| (load(worker), worker))
        .filter(|(load, _)| *load > 0)
        .max_by_key(|(load, _)| *load)
        .map(|(_, worker)| worker)
}

/// All workers, from `first` on.
pub(crate) fn from(first: usize, count: usize) -> impl Iterator<Item = usize> + Clone {
    (first..count).chain(0..first)
}

/// Half of what there is, rounded up.
pub(crate) fn half(available: usize) -> usize {
    available.div_ceil(2).clamp(1, BATCH_MAX)
}

/// What a thief has learned of late: how many to take, and how often to look before it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appetite {
    /// A power of two up to [`BATCH_MAX`].
    pub(crate) amount: u32,
    /// Up to [`ROUNDS_MAX`].
    pub(crate) rounds: u32,
}

impl Appetite {
    pub(crate) const FIRST: Appetite = Appetite {
        amount: 4,
        rounds: ROUNDS_MAX,
    };

    /// After a theft: there is work to be had.
    pub(crate) fn fed(self) -> Appetite {
        Appetite {
            amount: (self.amount * 2).min(BATCH_MAX as u32),
            rounds: ROUNDS_MAX,
        }
    }

    /// After a search of all rounds that found nothing.
    pub(crate) fn starved(self) -> Appetite {
        Appetite {
            amount: (self.amount / 2).max(1),
            rounds: (self.rounds - 1).max(1),
        }
    }

    /// How many of those that a victim has.
    pub(crate) fn limit(self, available: usize) -> usize {
        half(available).min(self.amount as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_loaded_is_somebody_else_who_has_something() {
        let most = |loads: &[u64], me| most_loaded(loads.len(), me, |i| loads[i]);
        assert_eq!(most(&[9, 1, 4], 0), Some(2));
        assert_eq!(most(&[9, 1, 4], 2), Some(0));
        assert_eq!(most(&[9, 0, 0], 0), None);
        assert_eq!(most(&[9], 0), None);
    }

    #[test]
    fn an_appetite_follows_success_within_bounds() {
        let mut appetite = Appetite::FIRST;
        let fed: Vec<u32> = (0..5)
            .map(|_| {
                appetite = appetite.fed();
                appetite.amount
            })
            .collect();
        assert_eq!(fed, [8, 16, 32, 32, 32]);
        assert_eq!([1, 10, 63, 1000].map(|n| appetite.limit(n)), [1, 5, 32, 32]);
        for _ in 0..10 {
            appetite = appetite.starved();
        }
        assert_eq!(
            appetite,
            Appetite {
                amount: 1,
                rounds: 1
            }
        );
        assert_eq!(appetite.limit(1000), 1);
        assert_eq!(appetite.fed().rounds, ROUNDS_MAX);
    }
}
