//! The choices of a configuration that are one of several: enums with a word for each.

/// Where a routine of normal priority that is spawned without a key is queued. Whatever it says, idle
/// workers take from busy ones.
///
/// ```
/// use openwork::config::Placement;
/// assert_eq!(Placement::from_name("least_loaded"), Some(Placement::LeastLoaded));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Placement {
    /// On the worker that spawns it; from outside, in the injector.
    #[default]
    Local,
    /// On the worker with the fewest routines that wait or run. Each spawn looks at all workers.
    LeastLoaded,
    /// On one worker after the other.
    RoundRobin,
    /// With its relatives, as if it had a key: those of one workload on one worker; without a workload,
    /// those that were spawned at one place in the program.
    Affinity,
    /// What is known to compute goes to the least loaded worker, what is known to wait stays local: see
    /// [`RoutineClass`](crate::snapshot::RoutineClass). A fresh routine is taken for what those before it were that were spawned at the same place in the
    /// program.
    ByClass,
    /// As the runtime's own [`Strategy`](crate::config::Strategy) says.
    Custom,
}

/// Which worker an idle one tries to steal from first.
///
/// ```
/// use openwork::config::VictimOrder;
/// assert_eq!(VictimOrder::default().name(), "random");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum VictimOrder {
    /// From a random one on, all of them.
    #[default]
    Random,
    /// The one with the most routines that can be stolen, then as [`Random`](Self::Random).
    MostLoaded,
    /// Those whose processors share a cache with the thief's, then those of the same memory node, then of
    /// the same package, then the others; from a random one on among equals. Where the system does not tell
    /// what is near, as [`Random`](Self::Random).
    Nearest,
    /// As the runtime's own [`Strategy`](crate::config::Strategy) says, then as [`Random`](Self::Random).
    Custom,
}

/// How much a thief takes at once.
///
/// ```
/// use openwork::config::StealAmount;
/// assert_eq!(StealAmount::Adaptive.name(), "adaptive");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum StealAmount {
    /// Half of what the victim has, at most 32.
    #[default]
    Half,
    /// One routine.
    One,
    /// Follows the thief's own success: twice as many after each theft, half as many after each search
    /// that found nothing, from 1 to 32 and never more than half of what the victim has. A thief that
    /// finds nothing again and again also looks fewer times before it sleeps.
    Adaptive,
}

/// What happens to a routine that runs on while others wait.
///
/// ```
/// use openwork::config::Preemption;
/// assert_eq!(Preemption::from_name("off"), Some(Preemption::Off));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Preemption {
    /// Nothing: it runs until it waits, yields or ends.
    Off,
    /// It gives way at [`checkpoint`](crate::checkpoint) when its slice is over.
    #[default]
    Cooperative,
    /// As [`Cooperative`](Self::Cooperative), and one that never asks is stopped wherever it is.
    Forced,
}

/// The words of an enum, for people and programs, and the way back from a byte.
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $name {
            /// Every one there is.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// The word shown to people and programs.
            pub const fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $word),+
                }
            }

            /// The one with this word.
            pub fn from_name(name: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|one| one.name() == name)
            }

            pub(crate) fn from_u8(raw: u8) -> $name {
                $name::ALL[raw as usize]
            }
        }
    };
}

words!(Placement {
    Local = "local",
    LeastLoaded = "least_loaded",
    RoundRobin = "round_robin",
    Affinity = "affinity",
    ByClass = "by_class",
    Custom = "custom",
});

words!(VictimOrder {
    Random = "random",
    MostLoaded = "most_loaded",
    Nearest = "nearest",
    Custom = "custom",
});

words!(StealAmount {
    Half = "half",
    One = "one",
    Adaptive = "adaptive",
});

words!(Preemption {
    Off = "off",
    Cooperative = "cooperative",
    Forced = "forced",
});

#[cfg(test)]
mod tests {
    use super::*;

    /// The byte that is stored is the place in the list.
    #[test]
    fn each_comes_back_from_its_byte_and_its_word() {
        fn check<T: Copy + PartialEq + std::fmt::Debug>(
            all: &[T],
            byte: impl Fn(T) -> u8,
            back: impl Fn(u8) -> T,
        ) {
            for (index, one) in all.iter().enumerate() {
                assert_eq!((byte(*one) as usize, back(byte(*one))), (index, *one));
            }
        }
        check(Placement::ALL, |x| x as u8, Placement::from_u8);
        check(VictimOrder::ALL, |x| x as u8, VictimOrder::from_u8);
        check(StealAmount::ALL, |x| x as u8, StealAmount::from_u8);
        check(Preemption::ALL, |x| x as u8, Preemption::from_u8);
        for one in Placement::ALL {
            assert_eq!(Placement::from_name(one.name()), Some(*one));
        }
        assert_eq!(Placement::from_name("Local"), None);
    }
}
