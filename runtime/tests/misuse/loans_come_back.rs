//! Nothing that `blocking` makes of a loan outlives it.

use openwork::blocking;

fn main() {
    let kept = blocking(|| {
        let inside = String::from("inside");
        inside.as_str() //~ E0515
    });
    println!("{kept}");
    let mut text = String::from("text");
    let lent = &mut text;
    blocking(|| text.clear()); //~ E0499
    lent.clear();
}
