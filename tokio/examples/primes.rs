//! A server whose sockets are tokio's and whose work is done by routines: send a number a line, get its
//! smallest factor. A client that goes away takes its work along.
//!
//! `cargo run --example primes` talks to itself and ends; with an address it serves there until its standard
//! input ends.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::time::Duration;

use openwork::{Runtime, Turn};
use openwork_tokio::{Bridge, Pair};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Candidates tried in one turn, some milliseconds' worth at most.
const TURN: u64 = 100_000;

/// A turn loop, so that long searches are spread over the workers.
fn smallest_factor(of: u64) -> impl FnOnce() -> u64 + Send {
    move || {
        let search = openwork::spawn_turns(2_u64, move |next| {
            for _ in 0..TURN {
                if next.saturating_mul(*next) > of {
                    return Turn::Done(of);
                }
                if of.is_multiple_of(*next) {
                    return Turn::Done(*next);
                }
                *next += 1;
            }
            Turn::Again
        });
        search.join().unwrap_or(0)
    }
}

async fn serve(bridge: Bridge, listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(bridge.clone(), stream));
    }
}

async fn answer(bridge: Bridge, mut stream: TcpStream) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = tokio::io::BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let reply = match line.trim().parse() {
            Ok(number) => match bridge.run(smallest_factor(number)).await {
                Ok(factor) => format!("{factor}\n"),
                Err(ended) => format!("{ended}\n"),
            },
            Err(wrong) => format!("{wrong}\n"),
        };
        write.write_all(reply.as_bytes()).await?;
    }
    Ok(())
}

/// The other way round: a routine that reads and writes tokio's sockets as if they blocked.
fn ask(bridge: &Bridge, to: SocketAddr, numbers: &[u64]) -> std::io::Result<Vec<String>> {
    let stream = bridge.block_on(TcpStream::connect(to))?;
    let mut stream = BufReader::new(bridge.blocking(stream));
    let mut replies = Vec::new();
    for number in numbers {
        writeln!(stream.get_mut(), "{number}")?;
        let mut reply = String::new();
        stream.read_line(&mut reply)?;
        replies.push(reply.trim().to_owned());
    }
    Ok(replies)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let pair = Pair::new(Runtime::builder().build()?, tokio)?;
    let bridge = pair.bridge().clone();
    let wanted = std::env::args().nth(1);
    let at = wanted.as_deref().unwrap_or("127.0.0.1:0").to_owned();
    let listener = bridge.block_on(TcpListener::bind(at))?;
    let address = listener.local_addr()?;
    let server = bridge.spawn_task(serve(bridge.clone(), listener));
    if wanted.is_some() {
        println!("{address}");
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    } else {
        let asker = bridge.clone();
        let numbers = [91, 1_000_003, 999_999_000_001, 31_607 * 31_607];
        let replies = bridge
            .spawn(move || ask(&asker, address, &numbers))
            .join()??;
        for (number, reply) in numbers.iter().zip(&replies) {
            println!("{number}: {reply}");
        }
        assert_eq!(replies, ["7", "1000003", "999999000001", "31607"]);
    }
    // No more new work; then the routines, then tokio.
    server.abort();
    pair.shutdown(Duration::from_secs(5))?;
    Ok(())
}
