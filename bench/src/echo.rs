//! The echo benches: a server in the measuring process, a client in the one that started it.
//!
//! The client is one thread over all connections, each with one request on its way. On few cores it
//! competes with the server, for every peer alike; with one worker on two cores it has one to itself.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::Timespec;

use crate::measure::{CPU, Figure, TIME, percentiles, process_cpu};

/// What is sent, and echoed.
const REQUEST: [u8; 64] = [b'x'; 64];
/// Before anything is counted.
const WARMING: Duration = Duration::from_millis(200);
/// How long is counted.
const COUNTING: Duration = Duration::from_secs(1);
/// No answer for so long ends the client.
const SILENCE_MAX: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};
/// The figure in which a server tells what it has spent.
const SERVER_CPU: &str = "server_cpu";

/// What a server does in the measuring process: tells where it listens, lives until standard input
/// closes, and tells what it has spent.
pub(crate) fn serve(listening: io::Result<SocketAddr>) -> Vec<Figure> {
    let address = listening.expect("a port of this machine");
    println!("port {}", address.port());
    io::stdout().flush().expect("somebody reads the port");
    let told_to_end = io::stdin().read(&mut [0]);
    told_to_end.expect("standard input is a pipe");
    vec![Figure::new(
        SERVER_CPU,
        "ns",
        process_cpu().as_nanos() as f64,
    )]
}

/// The port that a server tells first.
pub(crate) fn port(from_server: &mut impl io::BufRead) -> Result<u16, String> {
    let mut line = String::new();
    let read = from_server.by_ref().take(64).read_line(&mut line);
    read.map_err(|error| error.to_string())?;
    let port = line
        .trim()
        .strip_prefix("port ")
        .and_then(|port| port.parse().ok());
    port.ok_or_else(|| "the server told no port".to_owned())
}

/// What a client has counted.
#[derive(Debug)]
pub(crate) struct Counted {
    took: Duration,
    /// With those of the warm-up.
    all: u64,
    latencies_ns: Vec<u64>,
}

impl Counted {
    /// The bench's figures, with what the server has told at its end.
    pub(crate) fn figures(self, server: &[Figure]) -> Vec<Figure> {
        let requests = self.latencies_ns.len() as f64;
        let each = self.took.as_nanos() as f64 / requests;
        let mut figures = vec![Figure::new(TIME, "ns", each)];
        if let Some(spent) = server.iter().find(|figure| figure.name == SERVER_CPU) {
            figures.push(Figure::new(CPU, "ns", spent.value / self.all as f64));
        }
        if let Some([p50, p99, _]) = percentiles(self.latencies_ns) {
            figures.push(Figure::new("p50", "us", p50 as f64 / 1e3));
            figures.push(Figure::new("p99", "us", p99 as f64 / 1e3));
        }
        figures.push(Figure::new("rate", "1/s", 1e9 / each));
        figures
    }
}

struct Connection {
    stream: TcpStream,
    sent: Instant,
    /// Bytes of the answer that have come.
    answered: usize,
}

/// Keeps a request on its way on each of so many connections.
pub(crate) fn load(port: u16, connections: u64) -> io::Result<Counted> {
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut all = Vec::new();
    for index in 0..connections {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&poll, &stream, EventData::new_u64(index), EventFlags::IN)?;
        all.push(Connection {
            stream,
            sent: Instant::now(),
            answered: 0,
        });
    }
    let mut counted = Counted {
        took: COUNTING,
        all: 0,
        latencies_ns: Vec::new(),
    };
    for connection in &mut all {
        connection.send()?;
    }
    let from = Instant::now() + WARMING;
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), Some(&SILENCE_MAX))?;
        if events.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the server does not answer",
            ));
        }
        for event in &events {
            let connection = &mut all[event.data.u64() as usize];
            if !connection.receive()? {
                continue;
            }
            let now = Instant::now();
            counted.all += 1;
            if now >= from {
                let latency = now.duration_since(connection.sent);
                counted.latencies_ns.push(latency.as_nanos() as u64);
            }
            connection.send()?;
        }
        let counting = from.elapsed();
        if counting >= COUNTING {
            counted.took = counting;
            return Ok(counted);
        }
    }
}

impl Connection {
    fn send(&mut self) -> io::Result<()> {
        self.sent = Instant::now();
        self.answered = 0;
        // One request is on its way at a time: there is room for it.
        self.stream.write_all(&REQUEST)
    }

    /// Whether the answer is complete.
    fn receive(&mut self) -> io::Result<bool> {
        let mut bytes = [0; REQUEST.len()];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.answered += count;
                Ok(self.answered == REQUEST.len())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn the_port_is_the_first_thing_told() {
        let read = |text: &str| port(&mut BufReader::new(text.as_bytes()));
        assert_eq!(read("port 8080\nfigure"), Ok(8080));
        assert!(read("").is_err());
        assert!(read("port x\n").is_err());
    }

    #[test]
    fn requests_are_counted_with_their_latency() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut bytes = [0; 256];
                    while let Ok(count @ 1..) = stream.read(&mut bytes) {
                        stream.write_all(&bytes[..count]).unwrap();
                    }
                });
            }
        });
        let counted = load(port, 3).unwrap();
        assert!(counted.all > counted.latencies_ns.len() as u64);
        let figures = counted.figures(&[Figure::new(SERVER_CPU, "ns", 1e9)]);
        let names: Vec<_> = figures.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(names, ["time", "cpu", "p50", "p99", "rate"]);
    }
}
