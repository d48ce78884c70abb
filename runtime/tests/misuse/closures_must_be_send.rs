//! A fresh routine may begin on any worker, so what it takes along must be able to go there.

use std::cell::Cell;
use std::rc::Rc;

use openwork::{Builder, Runtime, spawn};

fn main() {
    let shared = Rc::new(1u8);
    spawn(move || drop(shared)); //~ E0277
    let borrowed: &'static Cell<u16> = Box::leak(Box::new(Cell::new(1)));
    spawn(move || borrowed.set(2)); //~ E0277
    let rt = Runtime::builder().build().unwrap();
    let shared = Rc::new(1u32);
    rt.spawn(move || drop(shared)); //~ E0277
    let raw = std::ptr::null_mut::<u64>();
    let _ = Builder::new().spawn(move || drop(raw)); //~ E0277
    let shared = Rc::new(1i8);
    rt.block_on(|| drop(shared.clone())); //~ E0277
}
