//! Descriptors: when there are none left, and when there are very many. One test, as the limit is the
//! process's.

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use openwork::config::Preemption;
use openwork::net::{TcpListener, TcpStream};
use openwork::{Runtime, channel, scope, spawn};
use support::{Gate, Watchdog, runtime};

const ANY: &str = "127.0.0.1:0";
/// Tells the test that it is the client of another one.
const SERVER: &str = "OPENWORK_TEST_SERVER";
/// In portable builds each is a thread.
const MANY: usize = if cfg!(portable) { 1_000 } else { 10_000 };

fn limit() -> libc::rlimit {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one `rlimit`.
    assert_eq!(0, unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit)
    });
    limit
}

fn set_limit(soft: u64) {
    let limit = libc::rlimit {
        rlim_cur: soft,
        ..limit()
    };
    // SAFETY: the kernel reads one `rlimit`.
    assert_eq!(0, unsafe {
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    });
}

#[test]
fn descriptors() {
    if let Ok(server) = std::env::var(SERVER) {
        return many_clients(server.parse().unwrap());
    }
    none_left();
    a_storm_of_connections();
    many_connections();
}

/// Accepting fails while there are no descriptors, says why, and goes on when there are some.
fn none_left() {
    let dog = Watchdog::new("no descriptors");
    let before = limit();
    for workers in [1, 2] {
        // No monitor: it has a file of `/proc` open for a moment now and then.
        let rt = Runtime::builder()
            .workers(workers)
            .hand_off(false)
            .preemption(Preemption::Off)
            .build()
            .unwrap();
        dog.watch("no descriptors", &rt.handle());
        rt.block_on(|| {
            let listener = TcpListener::bind(ANY).unwrap();
            let address = listener.local_addr().unwrap();
            // The poller gets its descriptors now.
            assert!(listener.accept_timeout(Duration::from_millis(1)).is_err());
            let mut clients: Vec<_> = (0..3)
                .map(|_| TcpStream::connect(address).unwrap())
                .collect();
            drop(listener.accept().unwrap());
            assert_eq!(clients[0].read(&mut [0]).unwrap(), 0);
            // All below the lowest free one are in use.
            let lowest_free = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
            set_limit(lowest_free as u64);
            for _ in 0..3 {
                let why = listener.accept().unwrap_err();
                assert_eq!(why.raw_os_error(), Some(libc::EMFILE), "{why}");
            }
            drop(clients.pop());
            let (accepted, _) = listener.accept().unwrap();
            set_limit(before.rlim_cur);
            drop(accepted);
            assert!(listener.accept_timeout(Duration::from_secs(60)).is_ok());
        });
    }
}

/// Many accept from one listener, while connections come all at once and go at once.
fn a_storm_of_connections() {
    let dog = Watchdog::new("storm");
    for workers in [1, 4] {
        let rt = runtime(workers);
        dog.watch("storm", &rt.handle());
        let connections = 3000;
        let accepted = AtomicU64::new(0);
        rt.block_on(|| {
            let listener = TcpListener::bind(ANY).unwrap();
            let address = listener.local_addr().unwrap();
            scope(|s| {
                for _ in 0..8 {
                    s.spawn(|| {
                        while let Ok((mut stream, _)) = listener.accept() {
                            let mut got = [0];
                            if stream.read(&mut got).unwrap() == 1 {
                                stream.write_all(&got).unwrap();
                            }
                            if accepted.fetch_add(1, SeqCst) + 1 == connections {
                                listener.close();
                            }
                        }
                    });
                }
                for i in 0..connections {
                    s.spawn(move || {
                        let mut stream = TcpStream::connect(address).unwrap();
                        if i % 3 == 0 {
                            return; // gone before it was served
                        }
                        stream.write_all(&[i as u8]).unwrap();
                        let mut got = [0];
                        stream.read_exact(&mut got).unwrap();
                        assert_eq!(got[0], i as u8);
                    });
                }
            });
        });
        assert_eq!(accepted.load(SeqCst), connections);
        assert_eq!(rt.snapshot().io.unwrap().sockets, 0);
    }
}

/// Ten thousand connections are open at once, and each gets an answer. The clients are a process of
/// their own: both ends in one would need twice the descriptors.
fn many_connections() {
    let needed = MANY as u64 + 200;
    let before = limit();
    if before.rlim_max < needed {
        println!(
            "SKIPPED: {MANY} connections need {needed} descriptors, the hard limit is {}",
            before.rlim_max
        );
        return;
    }
    set_limit(before.rlim_cur.max(needed));
    let dog = Watchdog::new("many connections");
    let rt = runtime(2);
    dog.watch("many connections", &rt.handle());
    rt.block_on(|| {
        let listener = TcpListener::bind(ANY).unwrap();
        let mut clients = support::this_binary()
            .args(["--exact", "descriptors"])
            .env(SERVER, listener.local_addr().unwrap().to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let all_here = Gate::new();
        let echoes: Vec<_> = (0..MANY)
            .map(|_| {
                let (mut stream, _) = listener.accept().unwrap();
                let all_here = all_here.clone();
                spawn(move || {
                    let mut got = [0; 8];
                    stream.read_exact(&mut got).unwrap();
                    all_here.wait();
                    stream.write_all(&got).unwrap();
                    assert_eq!(stream.read(&mut got).unwrap(), 0);
                })
            })
            .collect();
        all_here.open();
        echoes.into_iter().for_each(|echo| echo.join().unwrap());
        let ended = openwork::blocking(|| clients.wait().unwrap());
        assert!(ended.success(), "the clients: {ended}");
    });
    set_limit(before.rlim_cur);
}

fn many_clients(server: SocketAddr) {
    set_limit(limit().rlim_cur.max(MANY as u64 + 200));
    let rt = runtime(2);
    rt.block_on(|| {
        let (done, all) = channel::bounded(MANY);
        let served = Arc::new(AtomicU64::new(0));
        for i in 0..MANY as u64 {
            let (done, served) = (done.clone(), served.clone());
            spawn(move || {
                let mut stream = TcpStream::connect(server).unwrap();
                stream.write_all(&i.to_le_bytes()).unwrap();
                let mut got = [0; 8];
                stream.read_exact(&mut got).unwrap();
                assert_eq!(got, i.to_le_bytes());
                served.fetch_add(1, SeqCst);
                done.send(()).unwrap();
            });
        }
        drop(done);
        assert_eq!(all.iter().count(), MANY);
        assert_eq!(served.load(SeqCst), MANY as u64);
    });
}
