//! The blocking pool: loans, panics, cancels, growth, retirement and the end. Each test names the
//! mistake that it would find.

mod support;

use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use openwork::config::StealAmount;
use openwork::snapshot::{BlockingFigures, RoutineState, WaitReason};
use openwork::{
    BlockingTimeoutError, BuildError, Cancelled, Handle, JoinError, Runtime, blocking,
    blocking_deadline, blocking_timeout, current, current_worker, deterministic, spawn,
    spawn_blocking, spawn_future, time,
};
use support::{Gate, Ledger, Random, Watchdog, drop_quietly, runtime, until};

const LONG: Duration = Duration::from_secs(100);

fn figures(handle: &Handle) -> BlockingFigures {
    handle.snapshot().blocking
}

#[track_caller]
fn check_sum(f: &BlockingFigures) {
    let parts = f.queued + f.running + f.done + f.withdrawn;
    assert_eq!(parts, f.submitted, "{f:?}");
}

/// Keeps the worker, or the caller's frame dies before the job is done.
#[test]
fn a_job_borrows_and_the_worker_runs_others() {
    let watchdog = Watchdog::new("borrow");
    let rt = runtime(1);
    watchdog.watch("borrow", &rt.handle());
    let numbers = rt.block_on(|| {
        let mut numbers = vec![1, 2];
        let (give, take) = mpsc::channel();
        // Only this routine ends the job's wait, and there is one worker.
        let giver = spawn(move || give.send(3).unwrap());
        let lent = &mut numbers;
        let last = blocking(move || {
            assert_eq!(current_worker(), None, "a thread of its own");
            lent.push(take.recv().unwrap());
            lent.last_mut().unwrap()
        });
        *last += 1;
        giver.join().unwrap();
        numbers
    });
    assert_eq!(numbers, [1, 2, 4]);
    let f = figures(&rt.handle());
    assert_eq!((f.submitted, f.done, f.queued, f.running), (1, 1, 0, 0));
    rt.shutdown(LONG).unwrap();
}

#[test]
fn a_plain_thread_runs_the_job_itself() {
    let here = thread::current().id();
    assert_eq!(blocking(|| thread::current().id()), here);
    // And so does a thread of the pool.
    let rt = runtime(1);
    rt.block_on(|| {
        blocking(|| {
            let here = thread::current().id();
            assert_eq!(blocking(|| thread::current().id()), here);
        });
    });
    assert_eq!(figures(&rt.handle()).submitted, 1);
}

/// A panic kills the pool's thread, or is lost.
#[test]
fn a_panic_resumes_in_the_caller() {
    let _watchdog = Watchdog::new("panic");
    let rt = runtime(1);
    rt.block_on(|| {
        let caught = catch_unwind(|| blocking(|| panic_any(7_u32)));
        assert_eq!(*caught.unwrap_err().downcast::<u32>().unwrap(), 7);
        let joined = spawn(|| blocking(|| panic!("in the pool"))).join();
        let Err(JoinError::Panicked(_)) = &joined else {
            panic!("{joined:?}")
        };
        assert_eq!(joined.unwrap_err().message(), "in the pool");
        let joined = spawn_blocking(|| panic!("in a job")).join();
        assert_eq!(joined.unwrap_err().message(), "in a job");
        assert_eq!(blocking(|| 1), 1);
    });
    let f = figures(&rt.handle());
    assert_eq!((f.submitted, f.done), (4, 4));
    rt.shutdown(LONG).unwrap();
}

/// A cancel ends the loan while the borrower still writes.
#[test]
fn a_cancel_is_raised_when_the_job_is_done() {
    let watchdog = Watchdog::new("cancel");
    let ledger = Ledger::new();
    for told in [false, true] {
        let rt = runtime(2);
        watchdog.watch("cancel", &rt.handle());
        let (begun, has_begun) = mpsc::channel();
        let (give, take) = mpsc::channel::<()>();
        let left = Arc::new(AtomicBool::new(false));
        let (left_too, token) = (left.clone(), ledger.token());
        let routine = rt.spawn(move || {
            struct Left(Arc<AtomicBool>);
            impl Drop for Left {
                fn drop(&mut self) {
                    self.0.store(true, SeqCst);
                }
            }
            let _left = Left(left_too);
            blocking(move || {
                begun.send(()).unwrap();
                let _ = take.recv();
                token
            })
        });
        has_begun.recv().unwrap();
        if told {
            routine.abort();
        } else {
            routine.cancel(LONG);
        }
        // Whoever was woken by the cancel has had its turn when this one ends.
        for _ in 0..20 {
            rt.block_on(openwork::yield_now);
        }
        assert!(!left.load(SeqCst) && !routine.is_finished());
        give.send(()).unwrap();
        assert!(matches!(routine.join(), Err(JoinError::Cancelled)));
        assert!(left.load(SeqCst));
        ledger.check("the value is dropped");
        rt.shutdown(LONG).unwrap();
    }
}

/// A job that waits for a thread outlives its cancelled caller, or is dropped twice.
#[test]
fn a_queued_job_is_taken_back() {
    let watchdog = Watchdog::new("taken back");
    let ledger = Ledger::new();
    let rt = Runtime::builder()
        .workers(2)
        .blocking_threads(1)
        .build()
        .unwrap();
    let handle = rt.handle();
    watchdog.watch("taken back", &handle);
    let (give, take) = mpsc::channel::<()>();
    let holder = rt.spawn(move || blocking(move || take.recv()));
    until("the only thread is busy", || figures(&handle).running == 1);
    let (one, two) = (ledger.bad_token(), ledger.bad_token());
    let borrower = rt.spawn(move || {
        blocking(|| {
            let _one = one;
            unreachable!("it was taken back")
        })
    });
    let owner = rt.spawn_blocking(move || {
        let _two = two;
        unreachable!("it was taken back")
    });
    until("both wait", || figures(&handle).queued == 2);
    borrower.abort();
    owner.abort();
    drop_quietly(borrower.join());
    drop_quietly(owner.join());
    let f = figures(&handle);
    check_sum(&f);
    assert_eq!((f.queued, f.withdrawn, f.running), (0, 2, 1));
    assert!(f.longest_wait_ns > 0);
    ledger.check_soon("closures are dropped");
    give.send(()).unwrap();
    holder.join().unwrap().unwrap();
    rt.shutdown(LONG).unwrap();
}

/// A routine that is unwinding gives its stack to a job, or sleeps for ever.
#[test]
fn a_destructor_of_a_panicking_routine_may_call() {
    struct Calls<'a>(&'a AtomicUsize);
    impl Drop for Calls<'_> {
        fn drop(&mut self) {
            assert!(thread::panicking());
            let (calls, panicking) = blocking(|| {
                (
                    self.0.fetch_add(1, SeqCst) + 1,
                    // The panic is not the job's.
                    thread::panicking(),
                )
            });
            assert_eq!((calls, panicking), (1, false));
        }
    }
    let _watchdog = Watchdog::new("panicking");
    let rt = runtime(1);
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = calls.clone();
    let joined = rt
        .spawn(move || {
            let _calls = Calls(&seen);
            panic!("on purpose");
        })
        .join();
    assert!(joined.unwrap_err().is_panic());
    assert_eq!(calls.load(SeqCst), 1);
    rt.shutdown(LONG).unwrap();
}

/// A call within a poll takes the notice that was meant for the future.
#[test]
fn a_poll_may_call() {
    let watchdog = Watchdog::new("poll");
    let rt = runtime(2);
    watchdog.watch("poll", &rt.handle());
    let gate = Gate::new();
    let (opened, at) = (gate.clone(), gate.clone());
    let future = rt.spawn_future(async move {
        let mut wait = at.future();
        let first = std::future::poll_fn(|cx| {
            // The waker is out before the call blocks, and is used while it does.
            let polled = std::pin::Pin::new(&mut wait).poll(cx);
            blocking(|| opened.open());
            polled
        })
        .await;
        blocking(|| first)
    });
    future.join().unwrap();
    assert!(gate.is_open());
    rt.shutdown(LONG).unwrap();
}

/// A job that is awaited keeps a stack, or its waker is lost.
#[test]
fn jobs_are_awaited_from_futures_and_threads() {
    let watchdog = Watchdog::new("await");
    let rt = runtime(2);
    watchdog.watch("await", &rt.handle());
    let sum = rt.spawn_future(async {
        let jobs: Vec<_> = (0..50_u64).map(|n| spawn_blocking(move || n)).collect();
        let mut sum = 0;
        for job in jobs {
            sum += job.await.unwrap();
        }
        sum
    });
    assert_eq!(sum.join().unwrap(), 1225);
    let (give, take) = mpsc::channel::<u32>();
    let handle = rt.handle();
    let job = handle.spawn_blocking(move || take.recv().unwrap());
    until("it is blocked", || {
        handle.routine(job.id()).is_some_and(|view| {
            view.state == RoutineState::Blocked(WaitReason::Blocking) && view.stack.is_none()
        })
    });
    give.send(5).unwrap();
    assert_eq!(support::run_here(job).unwrap(), 5);
    rt.shutdown(LONG).unwrap();
}

/// A wait that is over early frees what the job has, or waits nevertheless.
#[test]
fn what_is_owned_is_waited_for_in_time() {
    let watchdog = Watchdog::new("in time");
    let ledger = Ledger::new();
    let rt = runtime(1);
    let handle = rt.handle();
    watchdog.watch("in time", &handle);
    let short = Duration::from_millis(2);
    let check = |ledger: &Ledger| {
        // A job that has not begun in time is taken back: then once more.
        loop {
            let (give, take) = mpsc::channel::<()>();
            let (begin, begun) = mpsc::channel();
            let token = ledger.token();
            let late = blocking_timeout(short, move || {
                begin.send(()).unwrap();
                (take.recv(), token).0
            });
            assert_eq!(late, Err(BlockingTimeoutError::Timeout));
            let late = io::Error::from(late.unwrap_err());
            assert_eq!(late.kind(), io::ErrorKind::TimedOut);
            if begun.recv().is_ok() {
                give.send(()).unwrap();
                break;
            }
        }
        assert_eq!(blocking_timeout(LONG, || 5), Ok(5));
        assert_eq!(blocking_deadline(Instant::now() + LONG, || 6), Ok(6));
        let panicked = catch_unwind(|| blocking_timeout(LONG, || panic_any(7_u32)));
        assert!(panicked.unwrap_err().is::<u32>());
    };
    rt.block_on(|| check(&ledger));
    check(&ledger);
    ledger.check_soon("what was left behind");
    until("nobody works on that any more", || {
        figures(&handle).running == 0
    });

    let (give, take) = mpsc::channel::<()>();
    let waiter = rt.spawn(move || blocking_timeout(LONG, move || take.recv()));
    until("it waits", || figures(&handle).running == 1);
    waiter.cancel(LONG);
    let told = waiter.join().unwrap();
    assert_eq!(told, Err(BlockingTimeoutError::Cancelled));
    assert!(
        io::Error::from(told.unwrap_err())
            .get_ref()
            .unwrap()
            .is::<Cancelled>()
    );
    give.send(()).unwrap();
    rt.shutdown(LONG).unwrap();
}

/// The pool does not grow while all its threads are stuck, or never shrinks.
#[test]
fn the_pool_grows_with_stuck_calls_and_shrinks_without() {
    const JOBS: usize = 40;
    let watchdog = Watchdog::new("growth");
    let rt = Runtime::builder()
        .workers(2)
        .blocking_keep_alive(Duration::from_millis(1))
        .build()
        .unwrap();
    let handle = rt.handle();
    watchdog.watch("growth", &handle);
    for round in 1..=2 {
        // Each job waits for all others: with fewer threads none of them ends.
        let barrier = Arc::new(Barrier::new(JOBS));
        let jobs: Vec<_> = (0..JOBS)
            .map(|_| {
                let barrier = barrier.clone();
                rt.spawn(move || blocking(|| barrier.wait().is_leader()))
            })
            .collect();
        let leaders = jobs.into_iter().map(|job| job.join().unwrap());
        assert_eq!(leaders.filter(|leads| *leads).count(), 1);
        assert!(figures(&handle).started >= JOBS as u64);
        until("all threads have retired", || figures(&handle).threads == 0);
        let f = figures(&handle);
        check_sum(&f);
        assert_eq!(f.retired, f.started);
        assert_eq!((f.done, f.idle), (round * JOBS as u64, 0));
    }
    rt.shutdown(LONG).unwrap();
}

/// Whoever calls again at once finds its thread still busy, and the pool grows for nothing.
#[test]
fn one_caller_needs_one_thread() {
    let _watchdog = Watchdog::new("one caller");
    let rt = runtime(1);
    rt.block_on(|| {
        let mut count = 0;
        for _ in 0..1000 {
            blocking(|| count += 1);
        }
        assert_eq!(count, 1000);
    });
    assert_eq!(figures(&rt.handle()).started, 1);
    rt.shutdown(LONG).unwrap();
}

/// A thread that gives up waiting just when it is given a job takes the job along.
#[test]
fn retirement_races_with_jobs() {
    let watchdog = Watchdog::new("retirement races");
    let mut random = Random::new("retirement races");
    for keep_alive in [0, 1, 30] {
        let rt = Runtime::builder()
            .workers(2)
            .blocking_threads(3)
            .blocking_keep_alive(Duration::from_micros(keep_alive))
            .build()
            .unwrap();
        let handle = rt.handle();
        watchdog.watch("retirement races", &handle);
        let callers: Vec<_> = (0..6)
            .map(|_| {
                let mut random = Random::from(random.next());
                rt.spawn(move || {
                    let mut sum = 0;
                    for n in 0..300_u64 {
                        blocking(|| sum += n);
                        time::sleep(Duration::from_micros(random.below(60)));
                    }
                    sum
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.join().unwrap(), 299 * 300 / 2);
        }
        until("all threads have retired", || figures(&handle).threads == 0);
        let f = figures(&handle);
        check_sum(&f);
        assert_eq!((f.done, f.retired), (1800, f.started));
        rt.shutdown(LONG).unwrap();
    }
}

/// The end gives a job that was left behind less time than it was given.
#[test]
fn the_end_waits_for_what_was_left_behind() {
    let _watchdog = Watchdog::new("left behind");
    let rt = runtime(1);
    let handle = rt.handle();
    let (give, take) = mpsc::channel::<()>();
    let job = rt.spawn_blocking(move || take.recv());
    until("it runs", || figures(&handle).running == 1);
    job.abort();
    let ended = thread::spawn(move || rt.shutdown(LONG));
    // Longer than the time for each of many.
    thread::sleep(Duration::from_millis(1500));
    assert!(!ended.is_finished());
    give.send(()).unwrap();
    ended.join().unwrap().unwrap();
}

/// Jobs beyond the threads are lost, or threads go beyond their limit.
#[test]
fn ten_thousand_jobs_on_four_threads() {
    const JOBS: usize = 10_000;
    let watchdog = Watchdog::new("10k jobs");
    let rt = Runtime::builder()
        .workers(2)
        .blocking_threads(4)
        .build()
        .unwrap();
    let handle = rt.handle();
    watchdog.watch("10k jobs", &handle);
    let (now, most, sum) = <(AtomicUsize, AtomicUsize, AtomicUsize)>::default();
    let counts = Arc::new((now, most, sum));
    let job = |counts: &(AtomicUsize, AtomicUsize, AtomicUsize), n: usize| {
        let running = counts.0.fetch_add(1, SeqCst) + 1;
        counts.1.fetch_max(running, SeqCst);
        thread::yield_now();
        counts.2.fetch_add(n, SeqCst);
        counts.0.fetch_sub(1, SeqCst);
    };
    let jobs: Vec<_> = (0..JOBS)
        .map(|n| {
            let counts = counts.clone();
            if n % 2 == 0 {
                rt.spawn(move || blocking(|| job(&counts, n)))
            } else {
                rt.spawn_blocking(move || job(&counts, n))
            }
        })
        .collect();
    check_sum(&figures(&handle));
    for job in jobs {
        job.join().unwrap();
    }
    assert_eq!(counts.2.load(SeqCst), JOBS * (JOBS - 1) / 2);
    assert!(counts.1.load(SeqCst) <= 4);
    let f = figures(&handle);
    check_sum(&f);
    assert_eq!((f.done, f.limit), (JOBS as u64, 4));
    assert!(f.threads <= 4 && f.started <= 4);
    rt.shutdown(LONG).unwrap();
}

/// A system that refuses threads stops the callers.
#[test]
fn without_threads_the_caller_runs_the_job() {
    let _watchdog = Watchdog::new("refused");
    let rt = Runtime::builder()
        .workers(1)
        .blocking_stack_size(1 << 47) // The whole address space.
        .build()
        .unwrap();
    rt.block_on(|| {
        assert_eq!(blocking(|| 1), 1);
        assert_eq!(spawn_blocking(|| 2).join().unwrap(), 2);
    });
    let f = figures(&rt.handle());
    check_sum(&f);
    assert_eq!((f.refused, f.threads, f.started, f.done), (2, 0, 0, 2));
    rt.shutdown(LONG).unwrap();
}

/// The end waits for ever for a thread in a system call, or frees what it borrows.
#[test]
fn a_job_in_a_system_call_remains() {
    let _watchdog = Watchdog::new("shutdown");
    for owned in [false, true] {
        let rt = runtime(1);
        let handle = rt.handle();
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let (done, is_done) = mpsc::channel();
        let read = move || {
            let mut byte = [0];
            reader.read_exact(&mut byte).unwrap();
            done.send(byte[0]).unwrap();
        };
        if owned {
            rt.spawn_blocking(read);
        } else {
            rt.spawn(move || blocking(read));
        }
        until("it reads", || figures(&handle).running == 1);
        let remaining = rt.shutdown(Duration::ZERO).unwrap_err();
        assert_eq!(remaining.blocking_threads, 1, "{remaining}");
        if owned {
            // The routine has ended, and nothing of the runtime is lent to the job.
            assert_eq!((remaining.routines.len(), remaining.threads), (0, 0));
        } else {
            let state = RoutineState::Blocked(WaitReason::Blocking);
            assert_eq!(remaining.routines[0].state, state);
            assert_eq!(remaining.routines.len(), 1);
            // The worker's, and spare ones if the monitor has seen work wait.
            assert!(remaining.threads >= 1, "{remaining}");
        }
        writer.write_all(&[9]).unwrap();
        assert_eq!(is_done.recv().unwrap(), 9);
    }
}

/// Threads of the pool outlive their runtime.
#[test]
fn the_end_takes_the_threads_along() {
    let watchdog = Watchdog::new("end");
    for _ in 0..20 {
        let rt = runtime(2);
        let handle = rt.handle();
        watchdog.watch("end", &handle);
        for n in 0..20 {
            rt.spawn(move || blocking(|| n));
            rt.spawn_blocking(move || n);
        }
        rt.shutdown(LONG).unwrap();
        let f = figures(&handle);
        check_sum(&f);
        assert_eq!((f.threads, f.idle, f.queued, f.running), (0, 0, 0, 0));
        // Refused like any other spawn, and the closure is dropped.
        let ledger = Ledger::new();
        let token = ledger.token();
        let late = handle.spawn_blocking(move || drop(token));
        assert!(matches!(late.join(), Err(JoinError::Cancelled)));
        ledger.check("closure of a late job");
    }
}

/// A cancel at a bad moment: a closure or a value is dropped twice or never, a thread stays.
#[test]
fn the_end_comes_at_any_moment() {
    let watchdog = Watchdog::new("any moment");
    let mut random = Random::new("the end at any moment");
    for _ in 0..60 {
        let ledger = Ledger::new();
        let rt = Runtime::builder()
            .workers(1 + random.below(2) as usize)
            .blocking_threads(1 + random.below(3) as usize)
            .build()
            .unwrap();
        let handle = rt.handle();
        watchdog.watch("any moment", &handle);
        for _ in 0..20 {
            let nap = Duration::from_micros(random.below(200));
            let (given, value) = (ledger.token(), ledger.token());
            let job = move || {
                let _given = given;
                thread::sleep(nap);
                value
            };
            match random.below(4) {
                0 => drop(rt.spawn(move || blocking(job))),
                1 => drop(rt.spawn_blocking(job)),
                2 => drop(rt.spawn(move || blocking_timeout(nap / 2, job).is_ok())),
                _ => rt.spawn_blocking(job).abort(),
            }
        }
        for _ in 0..random.below(50) {
            thread::yield_now();
        }
        rt.shutdown(Duration::from_micros(random.below(3) * 500))
            .unwrap();
        let f = figures(&handle);
        check_sum(&f);
        assert_eq!((f.threads, f.queued, f.running), (0, 0, 0));
        ledger.check("closures and values");
    }
}

/// A destructor that the scheduler runs is suspended in the middle of a steal.
#[test]
fn scheduler_context_is_refused() {
    fn leave_garbage(said: Arc<std::sync::Mutex<Option<String>>>) {
        crossbeam_epoch::pin().defer(move || {
            // On a worker, and in no routine: the worker's own pin has brought it here.
            if current_worker().is_some() && current().is_none() {
                let refused = catch_unwind(AssertUnwindSafe(|| blocking(|| ()))).unwrap_err();
                *said.lock().unwrap() = refused.downcast_ref::<String>().cloned();
            }
        });
    }
    const CHILDREN: usize = 200;
    let watchdog = Watchdog::new("scheduler context");
    let builder = Runtime::builder().workers(2).steal(StealAmount::One);
    let rt = builder.build().unwrap();
    watchdog.watch("scheduler context", &rt.handle());
    let said = Arc::new(std::sync::Mutex::new(None));
    // Some leave garbage, all are stolen, one by one: what is collected at each so many pins most likely is in a theft.
    until("a worker has collected garbage", || {
        let with = said.clone();
        rt.block_on(move || {
            let ran = Arc::new(AtomicUsize::new(0));
            for nth in 0..CHILDREN {
                let (with, ran) = (with.clone(), ran.clone());
                let child = spawn(move || {
                    if nth % 4 == 0 {
                        leave_garbage(with);
                    }
                    ran.fetch_add(1, SeqCst);
                });
                child.detach();
            }
            // This worker is taken until then.
            until("all were stolen", || ran.load(SeqCst) == CHILDREN);
        });
        said.lock().unwrap().is_some()
    });
    let said = said.lock().unwrap().clone().unwrap();
    assert!(said.contains("`blocking` would block"), "{said}");
    rt.shutdown(LONG).unwrap();
}

/// A run that is to be repeated waits for the pool, which no seed decides.
#[test]
fn deterministic_runs_call_in_place() {
    deterministic::explore(20, || {
        let here = thread::current().id();
        assert_eq!(blocking(|| thread::current().id()), here);
        let owned = spawn_blocking(move || thread::current().id() == here);
        let timed = blocking_timeout(LONG, move || thread::current().id() == here);
        assert!(owned.join().unwrap() && timed.unwrap());
        let panicked = catch_unwind(|| blocking(|| panic_any(7_u32)));
        assert!(panicked.unwrap_err().is::<u32>());
        assert!(openwork::fs::exists("Cargo.toml").unwrap());
        // What must be waited for is refused.
        let (mut reader, _writer) = openwork::io::pipe().unwrap();
        let refused = reader.read(&mut [0]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
    });
}

#[test]
fn a_pool_needs_a_thread() {
    let refused = Runtime::builder().blocking_threads(0).build().unwrap_err();
    assert!(matches!(refused, BuildError::BlockingThreads));
    assert!(refused.to_string().starts_with("blocking_threads: 0"));
}

/// The outcome of an abandoned job is dropped under a lock, or not at all.
#[test]
fn an_abandoned_job_drops_its_value() {
    let watchdog = Watchdog::new("abandoned");
    let ledger = Ledger::new();
    let rt = runtime(1);
    let handle = rt.handle();
    watchdog.watch("abandoned", &handle);
    let (give, take) = mpsc::channel::<()>();
    let token = ledger.bad_token();
    let job = rt.spawn_blocking(move || {
        take.recv().unwrap();
        token
    });
    until("it runs", || figures(&handle).running == 1);
    job.abort();
    assert!(matches!(job.join(), Err(JoinError::Cancelled)));
    give.send(()).unwrap();
    ledger.check_soon("value of an abandoned job");
    // The thread is whole.
    rt.spawn_future(async { spawn_future(async { blocking(|| 3) }).await })
        .join()
        .unwrap()
        .unwrap();
    rt.shutdown(LONG).unwrap();
}
