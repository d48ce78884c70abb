//! Whoever joins may be elsewhere.

use std::rc::Rc;

use openwork::{blocking, scope, spawn, try_scope};

fn main() {
    spawn(|| Rc::new(1u8)); //~ E0277
    scope(|s| {
        s.spawn(|| Rc::new(1u16)); //~ E0277
    });
    blocking(|| Rc::new(1u32)); //~ E0277
    let _ = try_scope(|s| { //~ E0277
        s.spawn(|| Err::<(), _>(Rc::new(1u64))); //~ E0277
        Ok(())
    });
}
