//! TCP: what a connection is promised, from routines and plain threads, on one worker and many.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use openwork::net::{TcpListener, TcpStream};
use openwork::{scope, spawn, yield_now};
use support::{Random, Watchdog, io_backends, runtime, runtime_with};

const ANY: &str = "127.0.0.1:0";

/// Two ends of one connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(ANY).unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    (one, other)
}

fn echo(mut stream: TcpStream) -> u64 {
    let mut buf = [0; 4096];
    let mut total = 0;
    loop {
        let n = stream.read(&mut buf).unwrap();
        if n == 0 {
            return total;
        }
        total += n as u64;
        stream.write_all(&buf[..n]).unwrap();
    }
}

fn serve(listener: TcpListener, connections: usize) {
    let echoes: Vec<_> = (0..connections)
        .map(|_| {
            let (stream, _) = listener.accept().unwrap();
            spawn(move || echo(stream))
        })
        .collect();
    echoes.into_iter().for_each(|echo| {
        echo.join().unwrap();
    });
}

/// Every byte comes back, to each of many clients, in requests of random sizes.
#[test]
fn a_thousand_connections_get_their_own_bytes_back() {
    let dog = Watchdog::new("echo");
    let seed = Random::new("echo").next();
    let backends = io_backends().into_iter();
    for (io, workers) in backends.flat_map(|io| [(io, 1), (io, 2), (io, 4)]) {
        let rt = runtime_with(workers, io);
        dog.watch("echo", &rt.handle());
        let connections = 1000;
        rt.block_on(|| {
            let listener = TcpListener::bind(ANY).unwrap();
            let address = listener.local_addr().unwrap();
            let server = spawn(move || serve(listener, connections));
            let clients: Vec<_> = (0..connections as u64)
                .map(|client| {
                    spawn(move || {
                        let mut random = Random::from(seed ^ (client << 20));
                        let mut stream = TcpStream::connect(address).unwrap();
                        for _ in 0..5 {
                            let len = 1 + random.below(3000) as usize;
                            let sent: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
                            stream.write_all(&sent).unwrap();
                            let mut got = vec![0; len];
                            stream.read_exact(&mut got).unwrap();
                            assert_eq!(sent, got);
                        }
                    })
                })
                .collect();
            clients.into_iter().for_each(|c| c.join().unwrap());
            server.join().unwrap();
        });
        let io = rt.snapshot().io.unwrap();
        assert_eq!(io.sockets, 0, "every socket has gone: {io:?}");
        assert!(io.events > 0 && io.readied > 0, "{io:?}");
        rt.shutdown(Duration::from_secs(10)).unwrap();
    }
}

#[test]
fn a_half_closed_connection_still_answers() {
    let dog = Watchdog::new("half close");
    let rt = runtime(2);
    dog.watch("half close", &rt.handle());
    rt.block_on(|| {
        let (mut client, mut server) = pair();
        let all = spawn(move || {
            let mut text = String::new();
            server.read_to_string(&mut text).unwrap();
            server.write_all(text.to_uppercase().as_bytes()).unwrap();
        });
        client.write_all(b"before the end").unwrap();
        yield_now();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "BEFORE THE END");
        assert_eq!(
            client.write(b"x").unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
        all.join().unwrap();
    });
}

#[test]
fn both_directions_carry_much_at_once() {
    const BYTES: usize = 8 << 20;
    let dog = Watchdog::new("much at once");
    let seed = Random::new("much at once").next();
    let bytes = |seed: u64| {
        let mut random = Random::from(seed);
        (0..BYTES / 8)
            .flat_map(|_| random.next().to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let data = [bytes(seed), bytes(!seed)];
    for workers in [1, 3] {
        let rt = runtime(workers);
        dog.watch("much at once", &rt.handle());
        rt.block_on(|| {
            let (one, other) = pair();
            scope(|s| {
                for (stream, mine, theirs) in
                    [(&one, &data[0], &data[1]), (&other, &data[1], &data[0])]
                {
                    s.spawn(move || {
                        let mut stream = stream;
                        stream.write_all(mine).unwrap();
                        stream.shutdown(Shutdown::Write).unwrap();
                    });
                    s.spawn(move || {
                        let mut stream = stream;
                        let mut got = Vec::new();
                        stream.read_to_end(&mut got).unwrap();
                        assert!(got == *theirs, "what came is what was sent");
                    });
                }
            });
        });
    }
}
