//! What routines wait for outside the runtime: sockets, blocking calls, deadlines.

mod service;

use std::sync::mpsc;
use std::time::Duration;

use openwork::net::UdpSocket;
use openwork::{Workload, time};
use serde_json::Value;
use service::{Running, within};

/// The first answer of `/api/v1/io` that `wanted` accepts.
async fn io_once(service: &Running, wanted: impl Fn(&Value) -> bool) -> Value {
    within(async {
        loop {
            let io = service.get("/api/v1/io").await.json();
            if wanted(&io) {
                return io;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Breaks if a figure of the poller, the pool or the timers stays behind in the runtime, is made up before there is
/// anything, or differs from the sample of the same number.
#[tokio::test]
async fn sockets_blocking_calls_and_deadlines_are_shown() {
    let service = Running::start();
    let before = io_once(&service, |_| true).await;
    assert_eq!(before["io"], Value::Null);
    assert_eq!(before["unmeasured"][0], "io");

    let workload = Workload::new("outside");
    let spawn = |body: Box<dyn FnOnce() + Send>| {
        let builder = openwork::Builder::new().workload(&workload);
        builder.on(&service.state.runtime).spawn(body).unwrap()
    };
    let (port, bound) = mpsc::channel();
    let receiver = spawn(Box::new(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        port.send(socket.local_addr().unwrap()).unwrap();
        socket.recv_from(&mut [0; 8]).unwrap();
    }));
    let (release, held) = mpsc::channel::<()>();
    let blocked = spawn(Box::new(move || {
        openwork::blocking(move || held.recv().unwrap());
    }));
    let sleeper = spawn(Box::new(|| time::sleep(Duration::from_secs(3600))));

    let shown = io_once(&service, |io| {
        io["io"]["sockets"] == 1 && io["pool"]["running"] == 1 && io["timers"]["pending"] == 1
    })
    .await;
    let poller = &shown["io"];
    assert_eq!(poller["backend"], "epoll");
    assert_eq!(poller["reason"], "measured to be better");
    let pool = &shown["pool"];
    let number = |value: &Value| value.as_u64().expect("a number");
    let parts = ["queued", "running", "done", "withdrawn"];
    let sum: u64 = parts.iter().map(|part| number(&pool[part])).sum();
    assert_eq!(sum, number(&pool["submitted"]));
    let by_worker = shown["timers_by_worker"].as_array().expect("workers");
    let pending: u64 = by_worker.iter().map(|w| number(&w["pending"])).sum();
    assert_eq!(pending, 1);

    // The same sample, elsewhere.
    within(async {
        loop {
            let stats = service.get("/stats").await.json();
            let io = service.get("/api/v1/io").await.json();
            if stats["sample"]["n"] == io["n"] {
                for part in ["io", "pool", "timers"] {
                    assert_eq!(stats["sample"][part], io[part], "{part}");
                }
                return;
            }
        }
    })
    .await;
    let metrics = service.get("/metrics").await;
    let metrics = std::str::from_utf8(&metrics.body).unwrap();
    for line in [
        "openwork_io_sockets{backend=\"epoll\"} 1",
        "openwork_blocking_jobs{state=\"running\"} 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in {metrics}");
    }

    let address = bound.recv().unwrap();
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"x", address).unwrap();
    release.send(()).unwrap();
    workload.cancel(&service.state.runtime);
    let ended = tokio::task::spawn_blocking(move || {
        let woken = (receiver.join(), blocked.join());
        (woken, sleeper.join())
    });
    let (_either, slept) = within(ended).await.unwrap();
    assert!(slept.is_err(), "the sleeper was cancelled");
    let after = io_once(&service, |io| {
        io["timers"]["cancelled"] == 1 && io["pool"]["done"] == 1
    })
    .await;
    assert_eq!(after["timers"]["pending"], 0);
    assert_eq!(after["pool"]["running"], 0);
}
