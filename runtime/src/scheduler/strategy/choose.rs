//! The strategies' decisions over plain values. No queues and no atomics, and nothing of this crate: the
//! model in `benches/strategies.rs` decides with this very file for more workers than a machine has.

/// Most routines that a thief takes at once: `crossbeam-deque` moves no more.
pub(crate) const BATCH_MAX: usize = 32;

/// Rounds over all victims before a searching worker gives up.
pub(crate) const ROUNDS_MAX: u32 = 4;

/// Less than so many more than the mean is no imbalance, whatever the ratio.
const EXCESS_MIN: f64 = 4.0;

/// The worker with the smallest load; among equals `here` if it is one, else the first from `here` on.
pub(crate) fn least_loaded(count: usize, here: usize, load: impl Fn(usize) -> u64) -> usize {
    let here = here % count;
    from(here, count)
        .min_by_key(|worker| load(*worker))
        .unwrap_or(here)
}

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

/// Work that is to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) count: u32,
}

/// What to move so that no worker has more than `ratio` times the mean. `movable` is what can leave a
/// worker, `load` all that waits there.
pub(crate) fn imbalance(
    count: usize,
    ratio: f64,
    movable: impl Fn(usize) -> u64,
    load: impl Fn(usize) -> u64,
) -> Option<Move> {
    if count < 2 {
        return None;
    }
    let (mut sum, mut most, mut least) = (0, (0, 0), (u64::MAX, 0));
    for worker in 0..count {
        let (movable, load) = (movable(worker), load(worker));
        sum += load;
        // What cannot be moved is no reason to try.
        most = most.max((movable.min(load), worker));
        if load < least.0 {
            least = (load, worker);
        }
    }
    let mean = sum as f64 / count as f64;
    let (from, to) = (most.1, least.1);
    let depth = load(from) as f64;
    if from == to || depth <= mean * ratio || depth - mean < EXCESS_MIN {
        return None;
    }
    // Up to the mean on both sides, and not beyond it.
    let excess = (depth - mean).min(mean - least.0 as f64).ceil();
    let count = (excess as u64).clamp(1, most.0.max(1)) as u32;
    (most.0 > 0).then_some(Move { from, to, count })
}
