//! What lies in a channel must live as long as the channel may.

use openwork::channel;

fn main() {
    let (tx, _rx) = channel::rendezvous();
    {
        let short = String::from("short");
        let _ = tx.send(&short); //~ E0597
    }
    drop(tx);
}
