//! A routine-local goes where its routine goes, and stays with it.

use std::cell::Cell;
use std::rc::Rc;

use openwork::{routine_local, spawn};

routine_local!(static SHARED: Rc<u32> = Rc::new(1)); //~ E0277
routine_local!(static COUNT: Cell<u32> = Cell::new(0));

fn main() {
    COUNT.with(|count| spawn(|| count.set(1))); //~ E0277
}
