//! What a scope lends ends with it, and what is made in it is too young to be lent.

use openwork::{scope, spawn, try_scope};

fn main() {
    scope(|s| {
        let inside = 1;
        s.spawn(|| drop(inside.clone())); //~ E0373
    });
    let mut leaked = None;
    scope(|s| leaked = Some(s)); //~ E0521
    let mut handle = None;
    let text = String::from("text");
    scope(|s| handle = Some(s.spawn(|| text.len()))); //~ E0521
    let mut count = 0;
    scope(|s| {
        s.spawn(|| count += 1);
        s.spawn(|| count += 1); //~ E0499
    });
    let lent = String::from("lent");
    let borrowed = &lent;
    scope(|s| { //~ E0505
        s.spawn(move || borrowed.len());
        drop(lent);
        s.spawn(move || borrowed.len());
    });
    let mine = String::from("mine");
    scope(|s| {
        s.spawn(|| {
            spawn(|| mine.len()); //~ E0597
        });
    });
    let _ = try_scope::<_, (), &str>(|s| {
        let inside = String::from("inside");
        s.spawn(|| Err::<(), _>(inside.as_str())); //~ E0373
        Ok(())
    });
}
