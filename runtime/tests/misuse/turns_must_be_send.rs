//! What lives between two turns goes from worker to worker.

use std::rc::Rc;

use openwork::{Turn, spawn_turns};

fn main() {
    spawn_turns(Rc::new(1u8), |n| Turn::Done(**n)); //~ E0277
    spawn_turns((), |_| Turn::Done(Rc::new(1u32))); //~ E0277
}
