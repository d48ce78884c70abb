//! How waiting for a socket ends other than by bytes: time, cancel, close, the peer's end, the end of the
//! runtime, a panic.

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use openwork::net::{TcpListener, TcpStream, UdpSocket};
use openwork::snapshot::{RoutineState, WaitReason};
use openwork::{Cancelled, Handle, JoinError, Runtime, scope, spawn, time};
use support::{Gate, Watchdog, io_backends, runtime, runtime_with, until};

const ANY: &str = "127.0.0.1:0";
const SOON: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(3600);

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(ANY).unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    (one, other)
}

fn is_cancel(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|e| e.is::<Cancelled>())
}

fn waiting_for_io(rt: &Handle) -> usize {
    let mut waiting = 0;
    rt.routines(&mut |view| {
        waiting += usize::from(view.state == RoutineState::Blocked(WaitReason::Io));
    });
    waiting
}

/// Runs `test` in a routine on one worker and on three, with each back end, and on a plain thread.
fn everywhere(name: &str, test: impl Fn() + Sync) {
    let dog = Watchdog::new(name);
    test();
    for (io, workers) in io_backends().into_iter().flat_map(|io| [(io, 1), (io, 3)]) {
        let rt = runtime_with(workers, io);
        dog.watch(name, &rt.handle());
        rt.block_on(&test);
        rt.shutdown(Duration::from_secs(10)).unwrap();
    }
}

#[test]
fn time_ends_every_wait() {
    everywhere("time", || {
        let timed_out = |result: io::Result<()>, at_least: Instant| {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
            assert!(Instant::now() >= at_least);
        };
        let (mut one, _other) = pair();
        one.set_read_timeout(Some(SOON)).unwrap();
        assert_eq!(one.read_timeout().unwrap(), Some(SOON));
        let at = Instant::now() + SOON;
        timed_out(one.read(&mut [0]).map(drop), at);
        one.set_read_timeout(None).unwrap();
        let at = Instant::now() + SOON;
        one.set_read_deadline(Some(at));
        timed_out(one.read(&mut [0]).map(drop), at);
        timed_out(one.read_exact(&mut [0; 8]), at);
        // Nobody reads at the other end: writing ends when the buffers are full.
        one.set_write_timeout(Some(SOON)).unwrap();
        timed_out(one.write_all(&vec![0; 64 << 20]), Instant::now());
        let listener = TcpListener::bind(ANY).unwrap();
        timed_out(listener.accept_timeout(SOON).map(drop), Instant::now());
        timed_out(listener.accept_deadline(at).map(drop), at);
        let socket = UdpSocket::bind(ANY).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        timed_out(socket.recv_from(&mut [0]).map(drop), Instant::now());
        assert_eq!(
            one.set_read_timeout(Some(Duration::ZERO))
                .unwrap_err()
                .kind(),
            ErrorKind::InvalidInput
        );
    });
}

/// A time-out takes nothing away: what comes later is read.
#[test]
fn a_wait_that_timed_out_can_be_repeated() {
    everywhere("repeat", || {
        let (mut one, mut other) = pair();
        for round in 0..50u8 {
            one.set_read_timeout(Some(Duration::from_micros(200)))
                .unwrap();
            assert_eq!(one.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
            other.write_all(&[round]).unwrap();
            one.set_read_timeout(None).unwrap();
            let mut got = [0; 8];
            assert_eq!(one.read(&mut got).unwrap(), 1);
            assert_eq!(got[0], round);
        }
    });
}

/// As Go programs end a read from outside.
#[test]
fn a_deadline_in_the_past_ends_a_wait_that_has_begun() {
    let rt = runtime(2);
    let dog = Watchdog::new("past deadline");
    dog.watch("past deadline", &rt.handle());
    let (one, _other) = pair();
    let one = Arc::new(one);
    let reader = {
        let one = one.clone();
        rt.spawn(move || (&*one).read(&mut [0]).unwrap_err().kind())
    };
    until("the reader waits", || waiting_for_io(&rt.handle()) == 1);
    one.set_read_deadline(Some(Instant::now()));
    assert_eq!(reader.join().unwrap(), ErrorKind::TimedOut);
}

#[test]
fn nothing_listens() {
    everywhere("refused", || {
        // Bound, so that nobody else gets the port, and nobody listens there.
        let taken = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let taken = taken.unwrap();
        let any: std::net::SocketAddr = ANY.parse().unwrap();
        taken.bind(&any.into()).unwrap();
        let address = taken.local_addr().unwrap().as_socket().unwrap();
        let why = TcpStream::connect(address).unwrap_err();
        assert_eq!(why.kind(), ErrorKind::ConnectionRefused);
        let why = TcpStream::connect_timeout(&address, LONG).unwrap_err();
        assert_eq!(why.kind(), ErrorKind::ConnectionRefused);
        // Of several addresses the one that answers is taken.
        let listener = TcpListener::bind(ANY).unwrap();
        let both = [address, listener.local_addr().unwrap()];
        assert_eq!(
            TcpStream::connect(&both[..]).unwrap().peer_addr().unwrap(),
            both[1]
        );
    });
}

/// A full queue of connections lets further ones wait, and time ends that.
#[test]
fn connecting_takes_too_long() {
    everywhere("connect timeout", || {
        let raw = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let any: std::net::SocketAddr = ANY.parse().unwrap();
        raw.bind(&any.into()).unwrap();
        raw.listen(0).unwrap();
        let address = raw.local_addr().unwrap().as_socket().unwrap();
        let mut kept = Vec::new();
        let why = loop {
            match TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
                Ok(stream) => kept.push(stream),
                Err(why) => break why,
            }
            assert!(kept.len() < 100, "the queue has no end");
        };
        assert_eq!(why.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn the_first_cancel_is_an_error_and_the_second_unwinds() {
    let dog = Watchdog::new("cancel");
    for workers in [1, 2] {
        let rt = runtime(workers);
        dog.watch("cancel", &rt.handle());
        let (mut one, _other) = pair();
        let told = Arc::new(AtomicBool::new(false));
        let seen = told.clone();
        let reader = rt.spawn(move || {
            // `read_exact` repeats what was interrupted; a cancel is not.
            let why = one.read_exact(&mut [0; 8]).unwrap_err();
            assert!(is_cancel(&why), "{why:?}");
            seen.store(true, SeqCst);
            let _ = one.read(&mut [0]);
            unreachable!("the second call unwinds");
        });
        until("the reader waits", || waiting_for_io(&rt.handle()) == 1);
        reader.cancel(LONG);
        assert!(matches!(reader.join(), Err(JoinError::Cancelled)));
        assert!(told.load(SeqCst));
        until("the socket has gone", || {
            rt.snapshot().io.is_some_and(|io| io.sockets == 0)
        });
    }
}

/// Accept, connect and writes that wait end as reads do.
#[test]
fn each_wait_can_be_cancelled() {
    let rt = runtime(2);
    let dog = Watchdog::new("cancel each");
    dog.watch("cancel each", &rt.handle());
    let (one, _other) = pair();
    let (two, _another) = pair();
    let socket = UdpSocket::bind(ANY).unwrap();
    let listener = TcpListener::bind(ANY).unwrap();
    let waits: [Box<dyn FnOnce() -> io::Result<()> + Send>; 4] = [
        Box::new(move || (&one).write_all(&vec![0; 64 << 20])),
        Box::new(move || two.peek(&mut [0]).map(drop)),
        Box::new(move || socket.recv(&mut [0]).map(drop)),
        Box::new(move || listener.accept().map(drop)),
    ];
    let waits = waits.map(|wait| rt.spawn(move || is_cancel(&wait().unwrap_err())));
    until("all wait", || waiting_for_io(&rt.handle()) == 4);
    waits.iter().for_each(|wait| wait.cancel(LONG));
    for wait in waits {
        assert!(wait.join().unwrap());
    }
}

#[test]
fn closing_ends_all_waits() {
    let rt = runtime(2);
    let dog = Watchdog::new("close");
    dog.watch("close", &rt.handle());
    let (stream, _other) = pair();
    let listener = TcpListener::bind(ANY).unwrap();
    let socket = UdpSocket::bind(ANY).unwrap();
    let ends = AtomicU64::new(0);
    let closed = |result: io::Result<()>| {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::NotConnected);
        ends.fetch_add(1, SeqCst);
    };
    let calls: [&(dyn Fn() + Sync); 4] = [
        &|| closed((&stream).read(&mut [0]).map(drop)),
        &|| closed((&stream).write_all(&vec![0; 64 << 20])),
        &|| closed(listener.accept().map(drop)),
        &|| closed(socket.recv(&mut [0]).map(drop)),
    ];
    thread::scope(|threads| {
        for call in calls {
            threads.spawn(call);
        }
        rt.block_on(|| {
            scope(|s| {
                for call in calls {
                    s.spawn(call);
                }
                s.spawn(|| {
                    let me = rt.handle();
                    while waiting_for_io(&me) < 4 {
                        openwork::yield_now();
                    }
                    stream.close();
                    listener.close();
                    socket.close();
                });
            });
        });
    });
    assert_eq!(ends.load(SeqCst), 8, "four routines and four threads");
    closed((&stream).read(&mut [0]).map(drop));
}

/// The end of the peer, and of one's own direction, wakes who waits; bytes before the end are read first.
#[test]
fn the_end_comes_after_the_bytes() {
    everywhere("the end", || {
        for bytes in [0, 1, 3] {
            let (one, other) = pair();
            let mut got = Vec::new();
            let writer = thread::spawn(move || {
                (&other).write_all(&vec![7; bytes]).unwrap();
                other.shutdown(Shutdown::Write).unwrap();
                other
            });
            // With room for more than comes: a short read must not hide the end behind it.
            let mut buf = [0; 64];
            loop {
                match (&one).read(&mut buf).unwrap() {
                    0 => break,
                    n => got.extend_from_slice(&buf[..n]),
                }
            }
            assert_eq!((&one).read(&mut buf).unwrap(), 0, "and again");
            assert_eq!(got, vec![7; bytes]);
            writer.join().unwrap();
        }
    });
}

#[test]
fn a_reset_is_an_error() {
    everywhere("reset", || {
        let (mut one, other) = pair();
        let raw = socket2::SockRef::from(&other);
        raw.set_linger(Some(Duration::ZERO)).unwrap();
        drop(other);
        assert_eq!(
            one.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
    });
}

/// Urgent data ends a read short of what is there; the rest is found all the same.
#[test]
fn urgent_data_hides_nothing() {
    everywhere("urgent", || {
        let (one, other) = pair();
        let raw = socket2::SockRef::from(&other);
        (&other).write_all(b"before").unwrap();
        raw.send_out_of_band(b"!").unwrap();
        (&other).write_all(b"after").unwrap();
        other.shutdown(Shutdown::Write).unwrap();
        let mut text = Vec::new();
        (&one).read_to_end(&mut text).unwrap();
        assert_eq!(text, b"beforeafter");
    });
}

#[test]
fn the_end_of_the_runtime_ends_waits() {
    let dog = Watchdog::new("runtime's end");
    for workers in [1, 2] {
        let rt = runtime(workers);
        dog.watch("runtime's end", &rt.handle());
        let (one, _other) = pair();
        let one = Arc::new(one);
        let listener = Arc::new(TcpListener::bind(ANY).unwrap());
        for _ in 0..20 {
            let (one, listener) = (one.clone(), listener.clone());
            rt.spawn(move || (&*one).read(&mut [0]));
            rt.spawn(move || listener.accept().map(drop));
        }
        until("all wait", || waiting_for_io(&rt.handle()) == 40);
        rt.shutdown(Duration::ZERO).unwrap();
        assert_eq!(Arc::strong_count(&one), 1, "every frame was unwound");
    }
}

/// A socket outlives the runtime that watched it, and is watched by the next.
#[test]
fn a_socket_goes_from_runtime_to_runtime() {
    let dog = Watchdog::new("from runtime to runtime");
    let (one, other) = pair();
    for round in 0..4u8 {
        let rt = runtime(1 + usize::from(round % 2));
        dog.watch("from runtime to runtime", &rt.handle());
        let gate = Gate::new();
        rt.block_on(|| {
            scope(|s| {
                let reader = s.spawn(|| {
                    let mut got = [0; 16];
                    gate.open();
                    let n = (&one).read(&mut got).unwrap();
                    (n, got[0])
                });
                gate.wait();
                (&other).write_all(&[round]).unwrap();
                assert_eq!(reader.join().unwrap(), (1, round));
            });
        });
        rt.shutdown(Duration::from_secs(10)).unwrap();
    }
}

/// Two runtimes wait for one socket; when the one that watches it ends, the other's routine goes on
/// waiting.
#[test]
fn a_wait_survives_the_other_runtime() {
    let dog = Watchdog::new("other runtime");
    let (one, other) = pair();
    let one = Arc::new(one);
    let (first, second) = (runtime(1), runtime(1));
    dog.watch("other runtime", &second.handle());
    let read = |rt: &Runtime| {
        let one = one.clone();
        rt.spawn(move || (&*one).read(&mut [0; 4]).map_err(|e| is_cancel(&e)))
    };
    let watched = read(&first);
    until("the first waits", || waiting_for_io(&first.handle()) == 1);
    let borrowed = read(&second);
    until("the second waits", || waiting_for_io(&second.handle()) == 1);
    first.shutdown(Duration::ZERO).unwrap();
    assert!(watched.join().is_err(), "cancelled with its runtime");
    until("the second waits in its own poller", || {
        second.snapshot().io.is_some_and(|io| io.sockets == 1)
            && waiting_for_io(&second.handle()) == 1
    });
    (&other).write_all(b"x").unwrap();
    assert_eq!(borrowed.join().unwrap(), Ok(1));
}

/// In a destructor that an unwinding called, waiting for ever is refused and waiting for a time is not.
#[test]
fn a_panicking_routine_does_not_wait_for_ever() {
    struct Last(TcpStream, Arc<AtomicU64>);
    impl Drop for Last {
        fn drop(&mut self) {
            let why = self.0.read(&mut [0]).unwrap_err();
            assert_eq!(why.kind(), ErrorKind::Other);
            self.0.set_read_timeout(Some(SOON)).unwrap();
            let why = self.0.read(&mut [0]).unwrap_err();
            assert_eq!(why.kind(), ErrorKind::TimedOut);
            self.1.fetch_add(1, SeqCst);
        }
    }
    let dog = Watchdog::new("panicking");
    let rt = runtime(1);
    dog.watch("panicking", &rt.handle());
    let drops = Arc::new(AtomicU64::new(0));
    let (one, _other) = pair();
    let last = Last(one, drops.clone());
    let result = catch_unwind(AssertUnwindSafe(|| {
        rt.block_on(move || {
            let _last = last;
            panic!("on purpose");
        });
    }));
    assert!(result.is_err());
    assert_eq!(drops.load(SeqCst), 1);
}

/// A worker that never runs out of turns still looks into the poller.
#[test]
fn busy_routines_do_not_starve_sockets() {
    let dog = Watchdog::new("starving");
    for workers in [1, 2] {
        let rt = runtime(workers);
        dog.watch("starving", &rt.handle());
        let stop = Arc::new(AtomicBool::new(false));
        let spinners: Vec<_> = (0..8)
            .map(|_| {
                let stop = stop.clone();
                rt.spawn(move || {
                    while !stop.load(SeqCst) {
                        openwork::yield_now();
                    }
                })
            })
            .collect();
        rt.block_on(|| {
            let (one, mut other) = pair();
            let echo = spawn(move || {
                let mut buf = [0; 16];
                while let Ok(n @ 1..) = (&one).read(&mut buf) {
                    (&one).write_all(&buf[..n]).unwrap();
                }
            });
            for round in 0..20 {
                other.write_all(&[round]).unwrap();
                let mut got = [0];
                other.read_exact(&mut got).unwrap();
                assert_eq!(got[0], round);
            }
            drop(other);
            echo.join().unwrap();
        });
        stop.store(true, SeqCst);
        spinners.into_iter().for_each(|s| s.join().unwrap());
    }
}

/// A routine that computes and is alone gives way at its checkpoints, for sockets wait that nobody else
/// could look after.
#[test]
fn a_checkpoint_lets_sockets_be_served() {
    let dog = Watchdog::new("checkpoint");
    let rt = runtime(1);
    dog.watch("checkpoint", &rt.handle());
    let (one, mut other) = pair();
    let (came, seen) = (Arc::new(AtomicBool::new(false)), Gate::new());
    let computes = seen.clone();
    let reader = {
        let came = came.clone();
        rt.spawn(move || {
            (&one).read_exact(&mut [0]).unwrap();
            came.store(true, SeqCst);
        })
    };
    until("the reader waits", || waiting_for_io(&rt.handle()) == 1);
    let hog = rt.spawn(move || {
        computes.open();
        while !came.load(SeqCst) {
            openwork::checkpoint();
        }
    });
    until("it computes", || seen.is_open());
    other.write_all(b"x").unwrap();
    hog.join().unwrap();
    reader.join().unwrap();
}

/// Workers without work sleep, one of them in the poller, and stay asleep.
#[test]
fn idle_means_idle() {
    let dog = Watchdog::new("idle");
    let rt = runtime(2);
    dog.watch("idle", &rt.handle());
    let (one, mut other) = pair();
    let reader = rt.spawn(move || (&one).read(&mut [0]));
    until("the reader waits", || waiting_for_io(&rt.handle()) == 1);
    let figures = || {
        let snapshot = rt.snapshot();
        let parks: u64 = snapshot.workers.iter().map(|w| w.parks).sum();
        let asleep = snapshot
            .workers
            .iter()
            .all(|w| w.state == openwork::snapshot::WorkerState::Parked);
        let io = snapshot.io.unwrap();
        (asleep, parks, io.waits, io.looks)
    };
    // Falling asleep takes a while on a loaded machine; what wakes periodically never lets a window of
    // 300 ms be quiet.
    let quiet = (0..20).any(|_| {
        let before = figures();
        time::sleep(Duration::from_millis(300));
        before.0 && figures() == before
    });
    assert!(quiet, "somebody wakes all the time: {:?}", figures());
    other.write_all(b"x").unwrap();
    assert_eq!(reader.join().unwrap().unwrap(), 1);
}
