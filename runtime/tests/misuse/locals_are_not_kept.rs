//! Nobody keeps a reference to a routine-local, which must be a static.

use std::cell::Cell;

use openwork::{RoutineLocal, routine_local};

routine_local!(static COUNT: Cell<u32> = Cell::new(0));

fn main() {
    let mut kept = None;
    COUNT.with(|count| kept = Some(count)); //~ E0521
    let short = RoutineLocal::new(|| 1);
    short.with(|_| ()); //~ E0597
    drop(kept);
}
