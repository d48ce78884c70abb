//! Spare threads, by what is bound to them: which one is best for what comes.
//!
//! Threads without bound routines are what routines start on that may hold their thread; so whoever only needs
//! some thread takes another one first. What is bound to a thread does not change while it is spare.

/// What is bound to a spare thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tenants {
    /// Nothing.
    None,
    /// Routines beside which others may start.
    Some,
    /// A routine that may hold the thread: nobody is to start beside it.
    Suspect,
}

/// What is to begin on a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Whatever comes.
    Any,
    /// One that may hold its thread: nothing else may be bound there.
    Apart,
    /// One that does not: not beside one that may.
    Beside,
}

impl Wanted {
    /// Who will do, best first.
    fn order(self) -> &'static [Tenants] {
        match self {
            Wanted::Any => &[Tenants::Some, Tenants::None, Tenants::Suspect],
            Wanted::Apart => &[Tenants::None],
            Wanted::Beside => &[Tenants::Some, Tenants::None],
        }
    }
}

/// Homes whose threads are spare. Within a kind the newest goes first.
pub(super) struct Spares([Vec<u32>; 3]);

impl Spares {
    /// Allocates all that it will need.
    pub(super) fn new(homes: u32) -> Spares {
        Spares(std::array::from_fn(|_| Vec::with_capacity(homes as usize)))
    }

    pub(super) fn push(&mut self, home: u32, tenants: Tenants) {
        self.0[tenants as usize].push(home);
    }

    pub(super) fn pop(&mut self, wanted: Wanted) -> Option<(u32, Tenants)> {
        wanted.order().iter().find_map(|&tenants| {
            let home = self.0[tenants as usize].pop()?;
            Some((home, tenants))
        })
    }

    /// Takes this one out. False if it is not there.
    pub(super) fn remove(&mut self, home: u32) -> bool {
        let before = self.len();
        for kind in &mut self.0 {
            kind.retain(|spare| *spare != home);
        }
        self.len() < before
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// How many have nothing bound to them.
    pub(super) fn unbound(&self) -> usize {
        self.0[Tenants::None as usize].len()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_comer_gets_the_thread_that_others_need_least() {
        let all = || {
            let mut spares = Spares::new(4);
            spares.push(0, Tenants::None);
            spares.push(1, Tenants::Some);
            spares.push(2, Tenants::Suspect);
            spares.push(3, Tenants::Some);
            assert_eq!((spares.len(), spares.unbound()), (4, 1));
            spares
        };
        let order = |wanted| {
            let mut spares = all();
            let homes: Vec<u32> =
                std::iter::from_fn(|| spares.pop(wanted).map(|(home, _)| home)).collect();
            homes
        };
        assert_eq!(order(Wanted::Any), [3, 1, 0, 2]);
        assert_eq!(order(Wanted::Beside), [3, 1, 0]);
        assert_eq!(order(Wanted::Apart), [0]);
        let mut spares = all();
        assert!(spares.remove(1) && !spares.remove(1));
        assert_eq!(spares.pop(Wanted::Any), Some((3, Tenants::Some)));
        assert_eq!(spares.pop(Wanted::Any), Some((0, Tenants::None)));
    }
}
