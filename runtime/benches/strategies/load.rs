//! What is spawned, where and when: the loads under which strategies are compared.

/// Xorshift (Marsaglia 2003).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Every worker spawns as much as the others, of equal length.
    Uniform,
    /// One worker spawns everything.
    Skewed,
    /// Five hundred at once, each time by another worker.
    Bursty,
    /// Nine short ones for each that is a hundred times as long.
    Mixed,
}

/// Length of a short routine, in nanoseconds.
pub(crate) const SHORT: u64 = 5_000;
/// Routines that are spawned at once under [`Load::Bursty`].
pub(crate) const BURST: usize = 500;

impl Load {
    pub(crate) const ALL: [Load; 4] = [Load::Uniform, Load::Skewed, Load::Bursty, Load::Mixed];

    /// The length of the next routine.
    pub(crate) fn cost(self, random: &mut Random) -> u64 {
        match self {
            Load::Mixed if random.below(10) == 0 => 100 * SHORT,
            _ => SHORT,
        }
    }

    /// When, on which worker and how long: `count` routines that keep `workers` busy for this part of the time.
    pub(crate) fn arrivals(
        self,
        count: usize,
        workers: usize,
        busy: f64,
        random: &mut Random,
    ) -> Vec<(u64, usize, u64)> {
        let mut now = 0.0;
        let mut burst_on = 0;
        let mut work = 0.0;
        let arrival = |nth: usize| {
            let cost = self.cost(random);
            let worker = match self {
                Load::Uniform | Load::Mixed => random.below(workers as u64) as usize,
                Load::Skewed => 0,
                Load::Bursty => {
                    if nth.is_multiple_of(BURST) {
                        burst_on = random.below(workers as u64) as usize;
                    }
                    burst_on
                }
            };
            // Bursts come when what came before is due to be done.
            if self != Load::Bursty || nth.is_multiple_of(BURST) {
                now = work / (workers as f64 * busy);
            }
            work += cost as f64;
            (now as u64, worker, cost)
        };
        (0..count).map(arrival).collect()
    }
}
