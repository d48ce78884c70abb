//! Between two polls a future may move, so what lives across an `await` must be able to.

use std::rc::Rc;
use std::sync::Mutex;

use openwork::{spawn_future, time};

fn main() {
    spawn_future(async { //~ error
        static LOCK: Mutex<u32> = Mutex::new(1);
        let guard = LOCK.lock().unwrap();
        time::after(std::time::Duration::ZERO).await;
        drop(guard);
    });
    spawn_future(async { //~ error
        let shared = Rc::new(1);
        std::future::ready(()).await;
        drop(shared);
    });
}
