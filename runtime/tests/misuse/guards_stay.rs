//! A lock's guard belongs to the thread, or the routine, that took it.

use std::sync::Mutex;

use openwork::{scope, sync};

fn main() {
    let lock = Mutex::new(1);
    let guard = lock.lock().unwrap();
    scope(|s| {
        s.spawn(move || drop(guard)); //~ E0277
    });
    let lock = sync::Mutex::new(1);
    let guard = lock.lock().unwrap();
    scope(|s| {
        s.spawn(move || drop(guard)); //~ E0277
    });
}
