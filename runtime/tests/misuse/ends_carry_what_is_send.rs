//! A channel's ends go to other routines only with values that may.

use std::rc::Rc;

use openwork::{channel, spawn};

fn main() {
    let (tx, _rx) = channel::bounded::<Rc<u8>>(1);
    spawn(move || tx.send(Rc::new(1)).is_ok()); //~ E0277
    let (_tx, rx) = channel::bounded::<Rc<u16>>(1);
    spawn(move || rx.recv().is_ok()); //~ E0277
    let (tx, _rx) = channel::unbounded::<Rc<u32>>();
    spawn(move || drop(tx)); //~ E0277
    let (_tx, rx) = channel::rendezvous::<Rc<u64>>();
    spawn(move || for _ in rx {}); //~ E0277
}
