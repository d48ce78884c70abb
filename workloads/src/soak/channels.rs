//! Deeds at channels.

use std::sync::Arc;
use std::time::Duration;

use openwork::channel::{self, Receiver, Sender};
use openwork::{select, spawn, spawn_future, time, yield_now};

use super::deeds::{Random, SOON, World, poll_once};
use super::ledger::Token;

/// Who sent a value, which number it has there, and what must be dropped once.
type Value = (usize, u64, Token);

fn some_channel<T>(random: &mut Random) -> (Sender<T>, Receiver<T>) {
    match random.below(4) {
        0 => channel::rendezvous(),
        1 => channel::unbounded(),
        _ => channel::bounded(1 + random.below(8) as usize),
    }
}

/// Several senders and receivers at one channel; some of them give up, panic or are ended.
pub(super) fn pipeline(world: &Arc<World>, random: &mut Random) {
    let (tx, rx) = some_channel::<Value>(random);
    let senders = 1 + random.below(3) as usize;
    let mut ends = Vec::new();
    for sender in 0..senders {
        let (tx, world, seed) = (tx.clone(), world.clone(), random.next());
        ends.push(spawn(move || send_all(&world, &tx, sender, seed)));
    }
    drop(tx);
    for _ in 0..1 + random.below(3) {
        let (rx, world, seed) = (rx.clone(), world.clone(), random.next());
        ends.push(spawn(move || receive_all(&world, &rx, senders, seed)));
    }
    drop(rx);
    for end in ends {
        match random.below(12) {
            0 => end.abort(),
            1 => end.cancel(random.micros(200)),
            _ => drop(end.join()),
        }
    }
}

fn send_all(world: &Arc<World>, tx: &Sender<Value>, me: usize, seed: u64) {
    let random = &mut Random::new(seed);
    for number in 0..random.below(20) {
        let value = (me, number, world.token());
        let sent = match random.below(4) {
            // What was not sent comes back, and is dropped here: the numbers have gaps.
            0 => tx.send_timeout(value, random.micros(100)).is_ok(),
            1 => tx.try_send(value).is_ok(),
            _ => tx.send(value).is_ok(),
        };
        if !sent && random.percent(30) {
            return;
        }
        if random.percent(2) {
            world.raise();
        }
    }
}

fn receive_all(world: &Arc<World>, rx: &Receiver<Value>, senders: usize, seed: u64) {
    let random = &mut Random::new(seed);
    let mut last = vec![None; senders];
    loop {
        let value = match random.below(5) {
            0 => rx.recv_timeout(random.micros(100)).ok(),
            1 => rx.try_recv().ok(),
            _ => match rx.recv() {
                Ok(value) => Some(value),
                Err(_) => return,
            },
        };
        if let Some((sender, number, _token)) = value {
            let before = last[sender].replace(number);
            world.ledger.check(before < Some(number), || {
                format!("value {number} of sender {sender} came after {before:?}")
            });
        }
        if random.percent(3) {
            return;
        }
    }
}

/// A ping-pong in async code, whose futures are dropped half-way now and then.
pub(super) fn exchange(world: &Arc<World>, random: &mut Random) {
    let (ping, pong) = (some_channel::<Token>(random), some_channel::<Token>(random));
    let rounds = random.below(20);
    let partner = spawn_future(async move {
        while let Ok(token) = ping.1.recv_async().await {
            if pong.0.send_async(token).await.is_err() {
                return;
            }
        }
    });
    for _ in 0..rounds {
        if random.percent(10) {
            poll_once(pong.1.recv_async());
        }
        if ping.0.send(world.token()).is_err() || pong.1.recv_timeout(SOON).is_err() {
            break;
        }
    }
    if random.percent(20) {
        partner.abort();
    }
    drop((ping.0, pong.1));
}

/// Several channels and the clock at once.
pub(super) fn choice(world: &Arc<World>, random: &mut Random) {
    let (first, second) = (some_channel::<Token>(random), some_channel::<Token>(random));
    let (back, taken) = channel::bounded(1);
    let (tx1, tx2) = (first.0, second.0);
    let values = random.below(10);
    let feeder = {
        let (world, pause) = (world.clone(), random.micros(20));
        spawn(move || {
            for number in 0..values {
                let tx = if number % 2 == 0 { &tx1 } else { &tx2 };
                if tx.send(world.token()).is_err() {
                    return;
                }
                time::sleep(pause);
            }
            drop(taken.recv_timeout(SOON));
        })
    };
    let ticks = channel::tick(Duration::from_micros(30));
    for _ in 0..values {
        let token = world.token();
        select! {
            value = first.1.recv() => drop(value),
            value = second.1.recv() => drop(value),
            sent = back.send(token) => drop(sent),
            _ = ticks.recv() => {}
            after(random.micros(100)) => yield_now(),
        }
    }
    drop((first.1, second.1));
    if random.percent(20) {
        feeder.abort();
    }
}
