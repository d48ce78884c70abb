//! Routines and tasks that await each other, and the end of both.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use openwork::snapshot::{RoutineState, WaitReason};
use openwork::{JoinError, Runtime, time, yield_now};
use openwork_tokio::{Bridge, Pair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LONG: Duration = Duration::from_secs(100);
/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(360_000);

/// A pair with each kind of tokio's runtimes.
fn pairs(workers: usize) -> [Pair; 2] {
    let one = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let many = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    [one, many].map(|tokio| {
        let routines = Runtime::builder().workers(workers).build().unwrap();
        Pair::new(routines, tokio.unwrap()).unwrap()
    })
}

#[track_caller]
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < LONG, "still not so: {what}");
        thread::yield_now();
    }
}

fn waits_for_future(bridge: &Bridge, id: openwork::RoutineId) -> bool {
    bridge
        .routines()
        .routine(id)
        .is_some_and(|view| view.state == RoutineState::Blocked(WaitReason::Future))
}

/// Says when it is dropped.
struct Bomb(Arc<AtomicBool>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// The routine keeps its worker while it waits for tokio.
#[test]
fn a_routine_awaits_tokio() {
    for pair in pairs(1) {
        let bridge = pair.bridge().clone();
        let (tx, mut rx) = tokio::sync::mpsc::channel::<u32>(1);
        let waiter = pair.bridge().spawn(move || {
            let mine = Rc::new(1); // not `Send`
            bridge.block_on(async {
                let n = rx.recv().await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
                // Finds the runtime around it.
                n + *mine + tokio::spawn(async { 10 }).await.unwrap()
            })
        });
        until("it waits", || waits_for_future(pair.bridge(), waiter.id()));
        let sender = pair
            .bridge()
            .spawn(move || openwork::block_on(tx.send(100)));
        sender.join().unwrap().unwrap();
        assert_eq!(waiter.join().unwrap(), 111);
        pair.shutdown(LONG).unwrap();
    }
}

#[test]
fn a_task_awaits_routines() {
    for pair in pairs(2) {
        let bridge = pair.bridge().clone();
        let task = pair.bridge().spawn_task(async move {
            let parts: Vec<_> = (0..100_u64)
                .map(|n| {
                    bridge.run(move || {
                        time::sleep(Duration::from_micros(n));
                        n
                    })
                })
                .collect();
            let mut sum = 0;
            for part in parts {
                sum += part.await.unwrap();
            }
            let panicked = bridge.run(|| panic!("in the routine")).await.unwrap_err();
            assert_eq!(panicked.message(), "in the routine");
            sum
        });
        assert_eq!(openwork::block_on(task).unwrap(), 4950);
        // And a routine sees the panic of a task.
        let bridge = pair.bridge().clone();
        let seen = pair.bridge().spawn(move || {
            let task = bridge.spawn_task(async { panic!("in the task") });
            openwork::block_on(task).unwrap_err().is_panic()
        });
        assert!(seen.join().unwrap());
        pair.shutdown(LONG).unwrap();
    }
}

/// What nobody awaits any more goes on.
#[test]
fn a_dropped_future_takes_its_routine_along() {
    for pair in pairs(1) {
        let (dropped, begun) = (Arc::new(AtomicBool::new(false)), mpsc::channel());
        let (bridge, bomb, begins) = (pair.bridge().clone(), Bomb(dropped.clone()), begun.0);
        let task = pair.bridge().spawn_task(async move {
            let routine = bridge.run(move || {
                let _bomb = bomb;
                begins.send(()).unwrap();
                time::sleep(FOR_EVER);
            });
            tokio::select! {
                _ = routine => unreachable!("it sleeps"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        });
        openwork::block_on(task).unwrap();
        until("it was aborted", || {
            // One that never began was dropped whole.
            dropped.load(SeqCst)
        });
        drop(begun.1);
        // Detached, it goes on.
        let running = pair.bridge().run(|| 5);
        let handle = running.detach().unwrap();
        assert_eq!(handle.join().unwrap(), 5);
        pair.shutdown(LONG).unwrap();
    }
}

/// A future of tokio's on a runtime of routines, and one of ours on tokio.
#[test]
fn futures_are_polled_on_either_side() {
    for pair in pairs(2) {
        let bridge = pair.bridge().clone();
        let inner = bridge.clone();
        let routine = bridge.routines().spawn_future(bridge.in_tokio(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            inner.run(|| 1).await.unwrap()
        }));
        assert_eq!(routine.join().unwrap(), 1);
        let (tx, rx) = openwork::channel::rendezvous();
        let reader = bridge.spawn_task(async move {
            let mut sum = 0;
            while let Ok(n) = rx.recv_async().await {
                sum += n;
            }
            sum
        });
        let writer = bridge.spawn(move || (1..=100).for_each(|n| tx.send(n).unwrap()));
        writer.join().unwrap();
        assert_eq!(openwork::block_on(reader).unwrap(), 5050);
        pair.shutdown(LONG).unwrap();
    }
}

async fn echo(listener: tokio::net::TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut buf = [0; 64];
            while let Ok(n @ 1..) = stream.read(&mut buf).await {
                if stream.write_all(&buf[..n]).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Tokio's sockets in code that blocks.
#[test]
fn routines_talk_through_tokios_sockets() {
    for pair in pairs(1) {
        let bridge = pair.bridge().clone();
        let listener = bridge.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.unwrap();
        let to: SocketAddr = listener.local_addr().unwrap();
        let server = bridge.spawn_task(echo(listener));
        let clients: Vec<_> = (0..20_u8)
            .map(|client| {
                let bridge = bridge.clone();
                pair.bridge().spawn(move || {
                    let stream = bridge.block_on(tokio::net::TcpStream::connect(to)).unwrap();
                    let mut stream = bridge.blocking(stream);
                    for n in 0..50 {
                        stream.write_all(&[client, n]).unwrap();
                        stream.flush().unwrap();
                        let mut back = [0; 2];
                        stream.read_exact(&mut back).unwrap();
                        assert_eq!(back, [client, n]);
                        yield_now();
                    }
                    stream.shutdown().unwrap();
                    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        server.abort();
        pair.shutdown(LONG).unwrap();
    }
}

/// Our sockets in tokio's tasks: the poller of one runtime wakes tasks of the other.
#[test]
fn tasks_talk_through_our_sockets() {
    for pair in pairs(1) {
        let bridge = pair.bridge().clone();
        let listener = openwork::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        // A routine that echoes, and tasks that ask.
        let server = bridge.spawn(move || {
            openwork::scope(|s| {
                for _ in 0..10 {
                    let (mut stream, _) = listener.accept().unwrap();
                    s.spawn(move || {
                        let mut text = String::new();
                        stream.read_to_string(&mut text).unwrap();
                        stream.write_all(text.to_uppercase().as_bytes()).unwrap();
                    });
                }
            });
        });
        let clients: Vec<_> = (0..10_u32)
            .map(|client| {
                let stream = openwork::net::TcpStream::connect(to).unwrap();
                let stream = bridge.asynchronous(stream).unwrap();
                bridge.spawn_task(async move {
                    let (mut read, mut write) = tokio::io::split(stream);
                    let reading = tokio::spawn(async move {
                        let mut text = String::new();
                        read.read_to_string(&mut text).await.unwrap();
                        text
                    });
                    for n in 0..1000 {
                        write
                            .write_all(format!("c{client} n{n};").as_bytes())
                            .await
                            .unwrap();
                    }
                    write.shutdown().await.unwrap();
                    reading.await.unwrap()
                })
            })
            .collect();
        for (client, task) in clients.into_iter().enumerate() {
            let text = openwork::block_on(task).unwrap();
            assert!(text.ends_with(&format!("C{client} N999;")), "{text}");
            assert_eq!(text.matches(';').count(), 1000);
        }
        server.join().unwrap();
        let (reader, writer) = openwork::io::pipe().unwrap();
        let (mut reader, mut writer) = (
            bridge.asynchronous(reader).unwrap(),
            bridge.asynchronous(writer).unwrap(),
        );
        let sum = bridge.block_on(async {
            let writing = tokio::spawn(async move {
                writer.write_all(&[1; 300_000]).await.unwrap();
                writer.shutdown().await.unwrap();
                writer.write_all(&[1]).await.unwrap_err().kind()
            });
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).await.unwrap();
            assert_eq!(writing.await.unwrap(), std::io::ErrorKind::BrokenPipe);
            bytes.len()
        });
        assert_eq!(sum, 300_000);
        pair.shutdown(LONG).unwrap();
    }
}

#[test]
fn a_wait_for_tokios_streams_ends_in_time() {
    for pair in pairs(1) {
        let (here, there) = tokio::io::duplex(8);
        let bridge = pair.bridge().clone();
        let late = move || {
            let (mut here, mut there) = (bridge.blocking(here), bridge.blocking(there));
            here.set_timeout(Some(Duration::from_millis(2)));
            let late = here.read(&mut [0]).unwrap_err();
            there.write_all(b"x").unwrap();
            here.read_exact(&mut [0]).unwrap();
            here.set_timeout(None);
            there.shutdown().unwrap();
            assert_eq!(here.read(&mut [0]).unwrap(), 0);
            late.kind()
        };
        let late = pair.bridge().spawn(late).join().unwrap();
        assert_eq!(late, std::io::ErrorKind::TimedOut);
        pair.shutdown(LONG).unwrap();
    }
}

/// Tokio ends first: the routines wait for ever.
#[test]
fn routines_end_while_tokio_still_drives() {
    for pair in pairs(1) {
        let (dropped, bridge) = (Arc::new(AtomicBool::new(false)), pair.bridge().clone());
        let bomb = Bomb(dropped.clone());
        let sleeper = pair.bridge().spawn(move || {
            let _bomb = bomb;
            bridge.block_on(async { tokio::time::sleep(FOR_EVER).await });
        });
        until("it waits", || waits_for_future(pair.bridge(), sleeper.id()));
        let id = sleeper.id();
        // A task that awaits a routine is told of its end, if tokio still polls it before its own.
        let (tell, told) = mpsc::channel();
        pair.bridge()
            .spawn_task(async move { tell.send(sleeper.await).unwrap() });
        // This one ends by itself, for which it needs tokio's clock.
        let bridge = pair.bridge().clone();
        let short = pair.bridge().spawn(move || {
            bridge.block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
            bridge.spawn_task(async { 7 })
        });
        let bridge = pair.bridge().clone();
        // Far more than that one needs.
        pair.shutdown(Duration::from_secs(2)).unwrap();
        assert!(dropped.load(SeqCst));
        assert!(bridge.routines().routine(id).is_none());
        assert!(matches!(
            told.recv(),
            Ok(Err(JoinError::Cancelled)) | Err(mpsc::RecvError)
        ));
        assert!(short.join().is_ok());
    }
}

/// In the wrong order nothing hangs either.
#[test]
fn tokio_may_end_first() {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let routines = Runtime::builder().workers(1).build().unwrap();
    let bridge = Bridge::new(routines.handle(), tokio.handle().clone());
    let with = bridge.clone();
    let sleeper = bridge.spawn(move || {
        let sleep = with.in_tokio(async { tokio::time::sleep(FOR_EVER).await });
        // Tokio panics in the poll of a timer whose runtime has ended.
        catch_unwind(AssertUnwindSafe(|| openwork::block_on(sleep))).is_err()
    });
    until("it waits", || waits_for_future(&bridge, sleeper.id()));
    tokio.shutdown_timeout(LONG);
    // A task that was never to run again is dropped, and its routine with it.
    assert!(bridge.spawn_task(async {}).is_finished());
    routines.shutdown(Duration::ZERO).unwrap();
    assert!(matches!(
        sleeper.join(),
        Ok(true) | Err(JoinError::Cancelled)
    ));
}

/// Two routines of one thread enter tokio's context and leave it in the wrong order.
#[test]
fn a_poll_that_blocks_keeps_its_thread() {
    for pair in pairs(1) {
        let routines: Vec<_> = (0..20_u64)
            .map(|n| {
                let bridge = pair.bridge().clone();
                pair.bridge().spawn(move || {
                    bridge.block_on(async {
                        time::sleep(Duration::from_micros(100 - n));
                        tokio::task::yield_now().await;
                        tokio::runtime::Handle::current();
                    });
                })
            })
            .collect();
        for routine in routines {
            routine.join().unwrap();
        }
        pair.shutdown(LONG).unwrap();
    }
}

/// Within a task nothing may block.
#[test]
fn a_task_may_not_block() {
    for pair in pairs(1) {
        let bridge = pair.bridge().clone();
        let task = pair.bridge().spawn_task(async move {
            catch_unwind(AssertUnwindSafe(|| bridge.block_on(async {}))).is_err()
        });
        assert!(openwork::block_on(task).unwrap());
        pair.shutdown(LONG).unwrap();
    }
}
