//! A chat server, and guests who talk.
//!
//! One routine is the room: it alone knows who is there, so it needs no lock. Each guest has two routines,
//! one that reads lines and sends them to the room, and one that writes what the room says. A guest who
//! does not listen fills a small channel and is shown the door, instead of stopping everybody.
//!
//! ```text
//! cargo run -p openwork --example chat              # a scripted evening
//! cargo run -p openwork --example chat 127.0.0.1:7000   # a server for telnet
//! ```

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;

use openwork::channel::{self, Receiver, Sender};
use openwork::net::{TcpListener, TcpStream};
use openwork::{Builder, CancelToken, JoinHandle, Runtime, scope, spawn};

/// Lines that a guest may leave unread.
const UNREAD_MAX: usize = 64;

/// What happens in the room.
enum Event {
    Comes {
        guest: u64,
        name: String,
        ear: Sender<String>,
    },
    Says {
        guest: u64,
        text: String,
    },
    Leaves {
        guest: u64,
    },
}

/// The room: tells everybody what happens, until nobody can send events any more.
fn room(events: Receiver<Event>) {
    let mut guests: BTreeMap<u64, (String, Sender<String>)> = BTreeMap::new();
    for event in events {
        let line = match event {
            Event::Comes { guest, name, ear } => {
                let line = format!("* {name} has come");
                guests.insert(guest, (name, ear));
                line
            }
            Event::Says { guest, text } => match guests.get(&guest) {
                Some((name, _)) => format!("{name}: {text}"),
                None => continue,
            },
            Event::Leaves { guest } => match guests.remove(&guest) {
                Some((name, _)) => format!("* {name} has left"),
                None => continue,
            },
        };
        // Who does not listen loses the ear, and with it the connection.
        guests.retain(|_, (_, ear)| ear.try_send(line.clone()).is_ok());
    }
}

/// Takes guests in until the token is cancelled.
fn serve(listener: TcpListener, stop: &CancelToken) -> JoinHandle<()> {
    let (events, of_room) = channel::bounded(16);
    let server = Builder::new().name("door").cancel_with(stop);
    let server = server.spawn(move || {
        let room = Builder::new().name("room").spawn(move || room(of_room));
        let mut guest = 0;
        while let Ok((stream, _)) = listener.accept() {
            guest += 1;
            let events = events.clone();
            // A guest who goes away without a word is nobody's error.
            spawn(move || entertain(stream, guest, &events)).detach();
        }
        drop(events);
        drop(room);
    });
    server.expect("called by a routine")
}

/// Reads what a guest says: a name first, then lines.
fn entertain(stream: TcpStream, guest: u64, events: &Sender<Event>) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let (ear, to_write) = channel::bounded::<String>(UNREAD_MAX);
    let writes = spawn(move || -> io::Result<()> {
        for line in to_write {
            tell(&mut writer, &line)?;
        }
        Ok(()) // the writer is dropped: the guest sees the end
    });
    let mut lines = BufReader::new(reader).lines();
    if let Some(name) = lines.next().transpose()? {
        let _ = events.send(Event::Comes { guest, name, ear });
        for text in lines.map_while(Result::ok) {
            let _ = events.send(Event::Says { guest, text });
        }
        let _ = events.send(Event::Leaves { guest });
    }
    let _ = writes.join();
    Ok(())
}

/// Writes a line, at once: in two pieces the second would wait until the first has been acknowledged.
fn tell(to: &mut impl Write, line: &str) -> io::Result<()> {
    to.write_all(format!("{line}\n").as_bytes())
}

/// What a scripted guest does.
enum Act {
    /// Waits until this line is heard.
    Hears(&'static str),
    Says(&'static str),
}

/// A guest in the room.
struct Guest {
    name: &'static str,
    stream: TcpStream,
    ears: Lines<BufReader<TcpStream>>,
    heard: Vec<String>,
}

impl Guest {
    /// Goes in; returns when the room has said so.
    fn enter(room: SocketAddr, name: &'static str) -> io::Result<Guest> {
        let stream = TcpStream::connect(room)?;
        let ears = BufReader::new(stream.try_clone()?).lines();
        let mut guest = Guest {
            name,
            stream,
            ears,
            heard: Vec::new(),
        };
        guest.says(name)?;
        guest.hears(&format!("* {name} has come"))?;
        Ok(guest)
    }

    fn says(&mut self, text: &str) -> io::Result<()> {
        tell(&mut self.stream, text)
    }

    fn hears(&mut self, expected: &str) -> io::Result<()> {
        loop {
            let line = self.ears.next().ok_or(io::ErrorKind::UnexpectedEof)??;
            let found = line == expected;
            self.heard.push(line);
            if found {
                return Ok(());
            }
        }
    }

    /// Does what the script says, and leaves.
    fn play(mut self, script: &[Act]) -> io::Result<Vec<String>> {
        for act in script {
            match act {
                Act::Hears(line) => self.hears(line)?,
                Act::Says(text) => self.says(text)?,
            }
        }
        Ok(self.heard)
    }
}

/// An evening with three guests; returns what each of them heard.
fn evening(room: SocketAddr) -> io::Result<Vec<(&'static str, Vec<String>)>> {
    use Act::{Hears, Says};
    let ada: &[Act] = &[
        Hears("* cleo has come"),
        Says("good evening"),
        Hears("bob: good evening, ada"),
        Hears("* bob has left"),
        Says("who is next?"),
        Hears("cleo: I am"),
    ];
    let bob: &[Act] = &[
        Hears("ada: good evening"),
        Says("good evening, ada"),
        Hears("bob: good evening, ada"),
    ];
    let cleo: &[Act] = &[
        Hears("ada: who is next?"),
        Says("I am"),
        Hears("cleo: I am"),
    ];

    let mut guests = Vec::new();
    for (name, script) in [("ada", ada), ("bob", bob), ("cleo", cleo)] {
        guests.push((Guest::enter(room, name)?, script));
    }
    scope(|s| {
        let visits: Vec<_> = guests
            .into_iter()
            .map(|(guest, script)| (guest.name, s.spawn(move || guest.play(script))))
            .collect();
        visits
            .into_iter()
            .map(|(name, visit)| Ok((name, visit.join().expect("no panic")?)))
            .collect()
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rt = Runtime::builder().build()?;
    let address = std::env::args().nth(1);
    rt.block_on(|| -> io::Result<()> {
        let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0"))?;
        let room = listener.local_addr()?;
        let stop = CancelToken::new();
        let server = serve(listener, &stop);
        if address.is_some() {
            let _ = server.join(); // until the program is ended
            return Ok(());
        }
        for (name, heard) in evening(room)? {
            println!("what {name} heard:");
            heard.iter().for_each(|line| println!("    {line}"));
        }
        stop.cancel();
        Ok(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_room<R: Send>(f: impl FnOnce(SocketAddr) -> R + Send) -> R {
        let rt = Runtime::builder().workers(2).build().unwrap();
        let result = rt.block_on(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let room = listener.local_addr().unwrap();
            let stop = CancelToken::new();
            let server = serve(listener, &stop);
            let result = f(room);
            stop.cancel();
            let _ = server.join();
            result
        });
        // The room and all guests have gone with the door.
        rt.shutdown(std::time::Duration::from_secs(60)).unwrap();
        result
    }

    /// Everybody hears the same lines in the same order, from coming to leaving.
    #[test]
    fn an_evening_goes_by_its_script() {
        let lines = [
            "* ada has come",
            "* bob has come",
            "* cleo has come",
            "ada: good evening",
            "bob: good evening, ada",
            "* bob has left",
            "ada: who is next?",
            "cleo: I am",
        ];
        for _ in 0..20 {
            let heard = with_room(evening).unwrap();
            let expected = [
                ("ada", &lines[..]),
                ("bob", &lines[1..5]),
                ("cleo", &lines[2..]),
            ];
            for ((name, heard), (expected_name, expected)) in heard.iter().zip(expected) {
                assert_eq!(*name, expected_name);
                assert_eq!(heard, expected, "what {name} heard");
            }
        }
    }

    /// A guest who never reads does not stop the others: what is said is more than the system keeps for a
    /// connection, and then more than the room does.
    #[test]
    fn who_does_not_listen_does_not_stop_the_others() {
        let [even, odd] = ["even", "odd"].map(|word| word.repeat(16 << 10));
        let heard = with_room(|room| {
            let deaf = Guest::enter(room, "deaf").unwrap();
            let mut loud = Guest::enter(room, "loud").unwrap();
            for text in [&even, &odd].into_iter().cycle().take(400) {
                loud.says(text).unwrap();
                loud.hears(&format!("loud: {text}")).unwrap();
            }
            drop(deaf);
            loud.heard
        });
        assert_eq!(heard.len(), 401); // its own coming, and what it has said
    }
}
