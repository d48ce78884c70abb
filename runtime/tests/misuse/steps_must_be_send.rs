//! So does the closure that makes the turns.

use std::rc::Rc;

use openwork::{Turn, spawn_turns};

fn main() {
    let shared = Rc::new(1u16);
    spawn_turns((), move |_| Turn::Done(*shared)); //~ E0277
}
