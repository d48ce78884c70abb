//! A routine may outlive whoever spawned it.

use openwork::{blocking, spawn, spawn_blocking, spawn_future};

fn main() {
    let text = String::from("text");
    spawn(|| text.len()); //~ E0373
    let borrowed = &text; //~ E0597
    spawn(move || borrowed.len());
    spawn_future(async { text.len() }); //~ E0373
    spawn_blocking(|| text.len()); //~ E0373
    blocking(|| text.len());
}
