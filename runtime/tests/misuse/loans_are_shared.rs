//! `blocking` lends to another thread: what cannot be shared is not lent.

use std::cell::Cell;
use std::rc::Rc;

use openwork::blocking;

fn main() {
    let shared = Rc::new(1u8);
    blocking(|| drop(shared.clone())); //~ E0277
    let cell = Cell::new(1u16);
    blocking(|| cell.set(2)); //~ E0277
}
