//! What does not travel: each entry of the list in `docs/hazards.md` that a program can show. Where the system
//! has no travelling homes, each test says so and passes.

mod support;

use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};

use openwork::{Runtime, blocking, channel, hold_thread, spawn, yield_now};
use support::{Watchdog, blocked_signals, travelling, travelling_with, until};

/// All routines run on one thread of the kernel's, one after the other: its worker stays with it.
fn on_one_thread(test: &str, homes: usize) -> Option<(Watchdog, Runtime)> {
    let builder = Runtime::builder().workers(1).hand_off(false);
    travelling_with(test, builder.travelling_homes(homes))
}

fn thread_name() -> String {
    let mut name = [0u8; 16];
    // SAFETY: the kernel writes at most 16 bytes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let end = name.iter().position(|&byte| byte == 0).unwrap();
    String::from_utf8_lossy(&name[..end]).into_owned()
}

/// Signal mask, name, affinity, priority, namespaces, capabilities: of the thread, which the next routine finds
/// as the last one left it.
#[test]
fn what_the_kernel_keeps_for_a_thread_stays_with_the_thread() {
    let Some((_watchdog, rt)) = on_one_thread("kernel_state", 32) else {
        return;
    };
    rt.block_on(|| {
        let (blocked, name) = spawn(|| {
            let before = (blocked_signals(), thread_name());
            let mut set = MaybeUninit::<libc::sigset_t>::uninit();
            // SAFETY: the set is initialised before it is used; the name ends with a zero byte.
            unsafe {
                libc::sigemptyset(set.as_mut_ptr());
                libc::sigaddset(set.as_mut_ptr(), libc::SIGUSR2);
                libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
                libc::prctl(libc::PR_SET_NAME, c"changed".as_ptr());
            }
            yield_now();
            before
        })
        .join()
        .unwrap();
        assert!(!blocked.contains(&libc::SIGUSR2));
        assert!(name.starts_with("openwork"));
        let found = spawn(|| (blocked_signals(), thread_name())).join().unwrap();
        assert!(found.0.contains(&libc::SIGUSR2));
        assert_eq!(found.1, "changed");
    });
}

/// A lock whose owner is the kernel's number of the thread is entered by two; one whose owner is the
/// address of a thread-local is not. (Under version 1 both are, on one thread.)
#[test]
fn locks_must_not_know_their_owner_by_the_kernels_number() {
    thread_local!(static PLACE: u8 = const { 0 });
    fn by_number() -> usize {
        // SAFETY: no arguments, no failure.
        unsafe { libc::gettid() as usize }
    }
    fn by_address() -> usize {
        PLACE.with(|place| ptr::from_ref(place) as usize)
    }
    /// Takes the lock, or finds that it has it already, as a reentrant one does.
    fn enter(owner: &AtomicUsize, me: fn() -> usize) -> bool {
        owner.compare_exchange(0, me(), SeqCst, SeqCst).is_ok() || owner.load(SeqCst) == me()
    }
    let Some((_watchdog, rt)) = on_one_thread("owners", 32) else {
        return;
    };
    let both_enter = |me: fn() -> usize| {
        rt.block_on(move || {
            let owner = Arc::new(AtomicUsize::new(0));
            let (entered, has_entered) = channel::bounded(1);
            let (go, wait) = channel::bounded::<()>(1);
            let first = spawn({
                let owner = owner.clone();
                move || {
                    assert!(enter(&owner, me));
                    entered.send(()).unwrap();
                    wait.recv().unwrap();
                }
            });
            has_entered.recv().unwrap();
            let second = spawn(move || enter(&owner, me)).join().unwrap();
            go.send(()).unwrap();
            first.join().unwrap();
            second
        })
    };
    assert!(both_enter(by_number), "both have it: a data race");
    assert!(!both_enter(by_address));
}

/// A signal to a home's `pthread_self()` is sent to its donor, where it waits for ever.
#[test]
fn signals_to_a_home_do_not_arrive() {
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn count(_: i32) {
        HANDLED.fetch_add(1, SeqCst);
    }
    let Some((_watchdog, rt)) = travelling("signals", 1, 32) else {
        return;
    };
    // SAFETY: zeros are an action with an empty mask; the handler uses an atomic alone.
    unsafe {
        let mut action = mem::zeroed::<libc::sigaction>();
        action.sa_sigaction = count as *const () as usize;
        libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut());
    }
    rt.block_on(|| {
        let (tell, told) = channel::bounded(1);
        let (go, wait) = channel::bounded::<()>(1);
        let routine = spawn(move || {
            // SAFETY: no arguments, no failure.
            tell.send(unsafe { libc::pthread_self() } as usize).unwrap();
            wait.recv().unwrap();
            // To itself it works: the C library asks the kernel who calls.
            // SAFETY: handled above.
            unsafe { libc::raise(libc::SIGUSR1) };
        });
        let home = told.recv().unwrap() as libc::pthread_t;
        // SAFETY: the home lives as long as its routine, which waits.
        assert_eq!(unsafe { libc::pthread_kill(home, libc::SIGUSR1) }, 0);
        assert_eq!(HANDLED.load(SeqCst), 0);
        go.send(()).unwrap();
        routine.join().unwrap();
        assert_eq!(HANDLED.load(SeqCst), 1, "its own");
    });
}

/// The clock of `pthread_self()` is the donor's, which sleeps; the kernel's clock of the calling thread runs.
#[test]
fn the_cpu_clock_of_a_home_stands_still() {
    fn read(clock: libc::clockid_t) -> u64 {
        let mut time = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: written before it is read, if the clock can be read, which is checked.
        unsafe {
            assert_eq!(libc::clock_gettime(clock, time.as_mut_ptr()), 0);
            let time = time.assume_init();
            time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
        }
    }
    let Some((_watchdog, rt)) = travelling("clock", 1, 32) else {
        return;
    };
    rt.block_on(|| {
        let mut clock = 0;
        // SAFETY: writes to `clock`.
        unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        // As soon as the donor, which may have been started a moment ago, has fallen asleep.
        until("it stands still", || {
            let began = (read(clock), read(libc::CLOCK_THREAD_CPUTIME_ID));
            while read(libc::CLOCK_THREAD_CPUTIME_ID) - began.1 < 5_000_000 {
                std::hint::spin_loop();
            }
            read(clock) == began.0
        });
    });
}

/// A mutex with priority inheritance.
struct Inheriting(std::cell::UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a mutex is made to be shared.
unsafe impl Sync for Inheriting {}
// SAFETY: it is not locked while it moves.
unsafe impl Send for Inheriting {}

impl Inheriting {
    fn new() -> Box<Inheriting> {
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let mutex = Box::new(Inheriting(libc::PTHREAD_MUTEX_INITIALIZER.into()));
        // SAFETY: the attributes are initialised before they are used; the mutex does not move any more.
        unsafe {
            libc::pthread_mutexattr_init(attributes.as_mut_ptr());
            libc::pthread_mutexattr_setprotocol(
                attributes.as_mut_ptr(),
                libc::PTHREAD_PRIO_INHERIT,
            );
            libc::pthread_mutex_init(mutex.0.get(), attributes.as_ptr());
        }
        mutex
    }

    fn lock(&self) {
        // SAFETY: initialised, and alive while it is borrowed.
        assert_eq!(unsafe { libc::pthread_mutex_lock(self.0.get()) }, 0);
    }

    fn unlock(&self) {
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(self.0.get()) }, 0);
    }
}

/// The kernel knows the owner of such a mutex by its thread, the C library by its block. Contended, it is lost if a
/// home has locked it; so the whole span belongs on a thread whose identity is its own.
#[test]
fn mutexes_that_inherit_priority_belong_into_blocking() {
    let Some((_watchdog, rt)) = travelling("inheriting", 2, 32) else {
        return;
    };
    let mutex: Arc<Inheriting> = Arc::from(Inheriting::new());
    let sum = Arc::new(AtomicU64::new(0));
    rt.block_on(|| {
        let routines: Vec<_> = (0..8)
            .map(|_| {
                let (mutex, sum) = (mutex.clone(), sum.clone());
                spawn(move || {
                    for _ in 0..50 {
                        yield_now();
                        blocking(|| {
                            mutex.lock();
                            let seen = sum.load(SeqCst);
                            std::thread::yield_now();
                            sum.store(seen + 1, SeqCst);
                            mutex.unlock();
                        });
                    }
                })
            })
            .collect();
        routines
            .into_iter()
            .for_each(|routine| routine.join().unwrap());
    });
    assert_eq!(sum.load(SeqCst), 400);
}

/// What must stay on one kernel thread, but not on one of its own, is done while the thread is held.
#[test]
fn a_held_thread_is_the_same_to_the_kernel() {
    let Some((_watchdog, rt)) = travelling("held", 2, 32) else {
        return;
    };
    rt.block_on(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let others: Vec<_> = (0..4)
            .map(|_| {
                let stop = stop.clone();
                spawn(move || {
                    while !stop.load(SeqCst) {
                        yield_now();
                    }
                })
            })
            .collect();
        // SAFETY: no arguments, no failure.
        let thread = || unsafe { libc::gettid() };
        for _ in 0..20 {
            hold_thread(|| {
                let before = thread();
                yield_now();
                assert_eq!(thread(), before);
            });
        }
        stop.store(true, SeqCst);
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}
