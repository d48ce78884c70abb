//! The same things done as they are meant: the other programs fail for what they mark, and not because
//! something is named wrongly.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use openwork::{
    Builder, Runtime, Turn, blocking, channel, hold_thread, routine_local, scope, spawn,
    spawn_future, spawn_turns, try_scope, yield_now,
};

routine_local! {
    static COUNT: Cell<u32> = Cell::new(0);
    static NAMES: RefCell<Vec<String>> = RefCell::default();
}

fn main() {
    let rt = Runtime::builder().build().unwrap();
    let text = String::from("borrowed");
    rt.block_on(|| {
        // What never leaves its routine need not be `Send`, also over a pause.
        spawn(|| {
            let mine = Rc::new(1);
            let lock = Mutex::new(2);
            let guard = lock.lock().unwrap();
            yield_now();
            drop((mine, guard));
        });
        let shared = Arc::new(1);
        let other = shared.clone();
        spawn(move || drop(other));
        spawn_future(async move { drop(shared) });
        spawn_turns(0, |n| if *n == 3 { Turn::Done(()) } else { *n += 1; Turn::Again });
        scope(|s| {
            s.spawn(|| text.len());
            s.spawn(|| s.spawn(|| text.len()));
        });
        let _ = try_scope(|s| {
            s.spawn(|| text.parse::<u32>());
            Ok(())
        });
        let length = blocking(|| text.len());
        let held = hold_thread(|| Rc::new(length));
        let (tx, rx) = channel::bounded(1);
        Builder::new().spawn(move || tx.send(1)).unwrap();
        drop((rx.recv(), held));
        COUNT.set(COUNT.get() + 1);
        NAMES.with_borrow_mut(|names| names.push(String::new()));
    });
}
