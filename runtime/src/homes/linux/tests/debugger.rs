//! A debugger comes and goes while a home is mounted.

use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use super::*;
use crate::stack::child;

#[test]
fn gdb_attaches_lists_all_threads_and_lets_go() {
    if Command::new("gdb").arg("--version").output().is_err() {
        eprintln!("skipped: there is no gdb");
        return;
    }
    if child::passes("homes::platform::tests::debugger::gdb_attaches_lists_all_threads_and_lets_go")
    {
        return;
    }
    static RUNS: AtomicBool = AtomicBool::new(false);
    static DONE: AtomicBool = AtomicBool::new(false);
    let carrier = Carrier::enter();
    let idle: Vec<_> = (0..20).map(|_| Routine::new(|_| 1)).collect();
    let running = Routine::new(|yielder| {
        while !DONE.load(Relaxed) {
            RUNS.store(true, Relaxed);
            yielder.suspend(());
        }
    });
    thread::scope(|threads| {
        threads.spawn(move || running.finish(&Carrier::enter()));
        wait_until("it runs", || RUNS.load(Relaxed));
        let output = Command::new("gdb")
            .args(["-nx", "-batch", "-iex", "set debuginfod enabled off", "-p"])
            .arg(std::process::id().to_string())
            .args(["-ex", "thread apply all bt 3"])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        if String::from_utf8_lossy(&output.stderr).contains("Operation not permitted") {
            eprintln!("skipped: gdb may not attach here");
        } else {
            let donors = told.matches("openwork-home").count();
            assert!(donors >= 21, "{donors} donors in {told}\n{output:?}");
        }
        DONE.store(true, Relaxed);
    });
    // All goes on afterwards.
    for routine in idle {
        assert_eq!(routine.finish(&carrier), 1);
    }
}
