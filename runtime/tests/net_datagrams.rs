//! UDP and Unix sockets, from routines and plain threads.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use openwork::net::{
    TcpListener, TcpStream, ToSocketAddrs, UdpSocket, UnixDatagram, UnixListener, UnixStream,
};
use openwork::{scope, spawn, spawn_future};
use support::{Random, Watchdog, io_backends, runtime_with};

const ANY: &str = "127.0.0.1:0";
const LONG: Duration = Duration::from_secs(100);

/// A path that no other test has, which is gone afterwards.
struct Path(PathBuf);

impl Path {
    fn new() -> Path {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "openwork-net-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, SeqCst)
        );
        Path(std::env::temp_dir().join(name))
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs `test` in a routine on one worker and on three, with each back end.
fn in_routines(name: &str, test: impl Fn() + Sync) {
    let dog = Watchdog::new(name);
    for (io, workers) in io_backends().into_iter().flat_map(|io| [(io, 1), (io, 3)]) {
        let rt = runtime_with(workers, io);
        dog.watch(name, &rt.handle());
        rt.block_on(&test);
        rt.shutdown(Duration::from_secs(10)).unwrap();
    }
}

#[test]
fn datagrams_come_whole() {
    let seed = Random::new("datagrams").next();
    in_routines("datagrams", || {
        let server = UdpSocket::bind(ANY).unwrap();
        let address = server.local_addr().unwrap();
        scope(|s| {
            s.spawn(|| {
                let mut buf = [0; 2048];
                for _ in 0..8 * 50 {
                    let (len, from) = server.recv_from(&mut buf).unwrap();
                    assert_eq!(server.send_to(&buf[..len], from).unwrap(), len);
                }
            });
            for client in 0..8u64 {
                s.spawn(move || {
                    let mut random = Random::from(seed ^ (client << 20));
                    let socket = UdpSocket::bind(ANY).unwrap();
                    socket.connect(address).unwrap();
                    for _ in 0..50 {
                        let len = 1 + random.below(1000) as usize;
                        let sent: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
                        socket.send(&sent).unwrap();
                        let mut got = [0; 2048];
                        assert_eq!(socket.peek(&mut got).unwrap(), len);
                        assert_eq!(socket.recv(&mut got).unwrap(), len);
                        assert_eq!(got[..len], sent);
                    }
                });
            }
        });
    });
}

/// A datagram that nobody takes comes back as an error to a connected socket.
#[test]
fn nobody_takes_a_datagram() {
    in_routines("unreachable", || {
        // Nobody else gets the port, and this one takes datagrams of its own only.
        let deaf = UdpSocket::bind(ANY).unwrap();
        let address = deaf.local_addr().unwrap();
        deaf.connect(address).unwrap();
        let socket = UdpSocket::bind(ANY).unwrap();
        socket.connect(address).unwrap();
        socket.send(b"hello?").unwrap();
        let why = socket.recv(&mut [0; 8]).unwrap_err();
        assert_eq!(why.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn unix_streams_echo() {
    in_routines("unix streams", || {
        let path = Path::new();
        let listener = UnixListener::bind(&path.0).unwrap();
        scope(|s| {
            s.spawn(|| {
                for stream in listener.incoming().take(50) {
                    let mut stream = stream.unwrap();
                    spawn(move || {
                        let mut text = Vec::new();
                        stream.read_to_end(&mut text).unwrap();
                        stream.write_all(&text).unwrap();
                    });
                }
            });
            for client in 0..50u8 {
                let path = &path.0;
                s.spawn(move || {
                    let mut stream = UnixStream::connect(path).unwrap();
                    let sent = vec![client; 100_000];
                    stream.write_all(&sent).unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                    let mut got = Vec::new();
                    stream.read_to_end(&mut got).unwrap();
                    assert!(got == sent);
                });
            }
        });
    });
}

/// More connections than the listener's queue holds: connecting waits, as with the standard library.
#[test]
fn connecting_waits_for_a_full_queue() {
    in_routines("full queue", || {
        let path = Path::new();
        let raw = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        raw.bind(&socket2::SockAddr::unix(&path.0).unwrap())
            .unwrap();
        raw.listen(1).unwrap();
        let listener = UnixListener::from_std(OwnedFd::from(raw).into()).unwrap();
        scope(|s| {
            for _ in 0..20 {
                let path = &path.0;
                s.spawn(move || {
                    let mut text = String::new();
                    let mut stream = UnixStream::connect(path).unwrap();
                    stream.read_to_string(&mut text).unwrap();
                    assert_eq!(text, "welcome");
                });
            }
            for _ in 0..20 {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(b"welcome").unwrap();
            }
        });
        assert_eq!(
            listener
                .accept_timeout(Duration::from_millis(1))
                .unwrap_err()
                .kind(),
            ErrorKind::TimedOut
        );
    });
}

/// A sender waits while the receiver's queue is full, and nothing is lost.
#[test]
fn unix_datagrams_wait_for_room() {
    in_routines("unix datagrams", || {
        let path = Path::new();
        let server = UnixDatagram::bind(&path.0).unwrap();
        for connected in [true, false] {
            scope(|s| {
                s.spawn(|| {
                    let client = UnixDatagram::unbound().unwrap();
                    if connected {
                        client.connect(&path.0).unwrap();
                    }
                    for i in 0..300u32 {
                        let sent = match connected {
                            true => client.send(&i.to_le_bytes()),
                            false => client.send_to(&i.to_le_bytes(), &path.0),
                        };
                        assert_eq!(sent.unwrap(), 4);
                    }
                });
                for i in 0..300u32 {
                    let mut got = [0; 8];
                    let (len, _) = server.recv_from(&mut got).unwrap();
                    assert_eq!(&got[..len], i.to_le_bytes());
                }
            });
        }
    });
}

/// To the standard library and back, with clones; what was a blocking socket is one again.
#[test]
fn sockets_change_sides() {
    let std_listener = std::net::TcpListener::bind(ANY).unwrap();
    let address = std_listener.local_addr().unwrap();
    let listener = TcpListener::from_std(std_listener).unwrap();
    in_routines("change sides", || {
        let client = std::net::TcpStream::connect(address).unwrap();
        let client = TcpStream::from_std(client).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        let (server, _) = listener.accept().unwrap();
        let mut clone = client.try_clone().unwrap();
        assert_eq!(clone.read_timeout().unwrap(), Some(LONG));
        let reader = spawn(move || {
            let mut got = [0; 2];
            clone.read_exact(&mut got).unwrap();
            clone
        });
        (&server).write_all(b"ab").unwrap();
        // Also by another clone at the same time: each has a registration of its own.
        drop(reader.join().unwrap());
        (&server).write_all(b"c").unwrap();
        assert_eq!((&client).read(&mut [0; 8]).unwrap(), 1);
        client.set_nonblocking(true).unwrap();
        let why = (&client).read(&mut [0; 8]).unwrap_err();
        assert_eq!(why.kind(), ErrorKind::WouldBlock);
        let mut back = client.into_std().unwrap();
        let duplicate = back.as_fd().try_clone_to_owned().unwrap();
        (&server).write_all(b"d").unwrap();
        assert_eq!(back.read(&mut [0; 8]).unwrap(), 1, "it blocks");
        drop((duplicate, server));
    });
}

/// Futures poll sockets, each for itself, and are woken by the poller.
#[test]
fn futures_poll_sockets() {
    use std::future::poll_fn;
    in_routines("futures", || {
        let listener = TcpListener::bind(ANY).unwrap();
        let address = listener.local_addr().unwrap();
        let echo = spawn_future(async move {
            let (stream, _) = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
            let mut buf = [0; 100];
            loop {
                let n = poll_fn(|cx| stream.poll_read(cx, &mut buf)).await.unwrap();
                if n == 0 {
                    return;
                }
                let mut sent = 0;
                while sent < n {
                    sent += poll_fn(|cx| stream.poll_write(cx, &buf[sent..n]))
                        .await
                        .unwrap();
                }
            }
        });
        let (mut reader, mut writer) = TcpStream::connect(address).unwrap().split();
        let sent: Vec<u8> = (0..200_000).map(|i| i as u8).collect();
        let whole = sent.clone();
        spawn(move || writer.write_all(&whole).unwrap());
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert!(got == sent);
        echo.join().unwrap();
    });
}

#[test]
fn names_and_addresses() {
    let all = |text: &str| text.to_socket_addrs().map(Iterator::collect::<Vec<_>>);
    in_routines("names", || {
        assert_eq!(all("127.0.0.1:80").unwrap(), [([127, 0, 0, 1], 80).into()]);
        assert_eq!(all("[::1]:81").unwrap().len(), 1);
        let local = all("localhost:82").unwrap();
        assert!(local.iter().all(|a| a.ip().is_loopback() && a.port() == 82));
        assert!(!local.is_empty());
        for wrong in ["no port", "localhost:99999", "", ":"] {
            assert!(all(wrong).is_err(), "{wrong:?}");
        }
        let none: &[std::net::SocketAddr] = &[];
        let why = TcpStream::connect(none).unwrap_err();
        assert_eq!(why.kind(), ErrorKind::InvalidInput);
        let why = UdpSocket::bind(ANY)
            .unwrap()
            .send_to(b"x", none)
            .unwrap_err();
        assert_eq!(why.kind(), ErrorKind::InvalidInput);
    });
}
