//! A reference into a routine's frame goes to other routines only if what it refers to may be shared.

use std::cell::RefCell;

use openwork::{Builder, scope};

fn main() {
    let (cell, other) = (RefCell::new(1u8), RefCell::new(1u16));
    scope(|s| {
        s.spawn(|| *cell.borrow_mut() += 1); //~ E0277
        s.spawn_as(Builder::new(), || *other.borrow()).unwrap(); //~ E0277
    });
}
