//! The poller: how the kernel tells a runtime that a socket has something.
//!
//! There is one for a runtime, made when the first routine waits for a socket. No thread belongs to
//! it: workers look into it when they have nothing else to do, and now and then in between; of those
//! that sleep, one does so *in* the poller. Who waits or looks holds the **seat**. `docs/scheduler.md`
//! says how that fits with waking and parking.
//!
//! [`source`] is what is known of each socket, [`epoll`] and [`uring`] ask the kernel, [`op`] is a routine's wait,
//! [`thread`] that of a plain thread, which needs no poller. In portable builds [`portable`] asks whatever
//! system there is; [`os`] has what sockets are called there.

#[cfg(not(portable))]
mod epoll;
mod op;
pub(crate) mod os;
#[cfg(portable)]
mod portable;
mod source;
mod thread;
#[cfg(not(portable))]
mod uring;

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use crate::snapshot::{IoBackend, IoFigures, IoReason, Source as From};
use os::RawSource;
use source::{Backend, Happened, Source, Sources, Token, Woken};

pub(crate) use op::wait_for;
pub(crate) use source::Direction;
pub(crate) use thread::hold_for;

/// How many events before it is served a socket's source is asked for: each is cold, and serving one takes
/// about as long as two fetches.
const PREFETCH_AHEAD: usize = 2;

/// See the module's text.
pub(crate) struct Poller {
    backend: Box<dyn Backend>,
    chosen: (IoBackend, IoReason),
    sources: Sources,
    seat: Mutex<Vec<(Token, Happened)>>,
    /// The runtime has ended: no event comes any more.
    closed: AtomicBool,
    figures: Figures,
}

/// Events and readied are written by who has the seat.
#[derive(Default)]
#[repr(align(128))]
struct Figures {
    watched: AtomicU64,
    unwatched: AtomicU64,
    waits: AtomicU64,
    looks: AtomicU64,
    events: AtomicU64,
    readied: AtomicU64,
    late: AtomicU64,
}

/// The back end for what was asked for; epoll if the kernel refuses that.
#[cfg(not(portable))]
fn choose(asked: IoBackend) -> io::Result<(Box<dyn Backend>, (IoBackend, IoReason))> {
    use epoll::Epoll;
    use uring::Uring;
    let refused = |errno| IoReason::Refused { errno };
    Ok(match asked {
        IoBackend::Uring => match Uring::new() {
            Ok(uring) => (Box::new(uring), (IoBackend::Uring, IoReason::Asked)),
            Err(why) => {
                let reason = refused(why.raw_os_error().unwrap_or(0));
                (Box::new(Epoll::new()?), (IoBackend::Epoll, reason))
            }
        },
        IoBackend::Epoll => (Box::new(Epoll::new()?), (asked, IoReason::Asked)),
        IoBackend::Auto => {
            let chosen = (IoBackend::Epoll, IoReason::Measured);
            (Box::new(Epoll::new()?), chosen)
        }
        IoBackend::Portable => {
            let chosen = (IoBackend::Epoll, refused(libc::EOPNOTSUPP));
            (Box::new(Epoll::new()?), chosen)
        }
    })
}

/// There is one.
#[cfg(portable)]
fn choose(asked: IoBackend) -> io::Result<(Box<dyn Backend>, (IoBackend, IoReason))> {
    let reason = match asked {
        IoBackend::Portable => IoReason::Asked,
        _ => IoReason::OnlyOne,
    };
    let backend = portable::Portable::new()?;
    Ok((Box::new(backend), (IoBackend::Portable, reason)))
}

/// The right to ask the kernel, and what it has said.
pub(crate) struct Seat<'a> {
    poller: &'a Poller,
    happened: MutexGuard<'a, Vec<(Token, Happened)>>,
}

impl Poller {
    /// With the back end that was asked for, or the usual one if the kernel refuses it.
    pub(crate) fn new(asked: IoBackend) -> io::Result<Poller> {
        let (backend, chosen) = choose(asked)?;
        Ok(Poller {
            backend,
            chosen,
            sources: Sources::new(),
            seat: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
            figures: Figures::default(),
        })
    }

    /// Watches a socket for as long as the value lives, which must end before the descriptor is
    /// closed.
    pub(crate) fn watch(self: &Arc<Poller>, fd: RawSource) -> io::Result<Watch> {
        let token = self.sources.take();
        if let Err(why) = self.backend.watch(fd, token) {
            self.sources.give_back(token);
            return Err(why);
        }
        self.figures.watched.fetch_add(1, Relaxed);
        Ok(Watch {
            poller: self.clone(),
            fd,
            token,
        })
    }

    /// Whether any socket is watched: otherwise looking is for nothing.
    pub(crate) fn has_sources(&self) -> bool {
        self.figures.watched.load(Relaxed) != self.figures.unwatched.load(Relaxed)
    }

    /// Whether the kernel has something for the next wait. For whoever may neither allocate nor lock.
    #[cfg(not(portable))]
    pub(crate) fn has_news(&self) -> bool {
        let mut asked = libc::pollfd {
            fd: self.backend.descriptor(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry, on this frame.
        self.has_sources() && unsafe { libc::poll(&mut asked, 1, 0) } == 1
    }

    /// Takes the seat, unless somebody has it.
    pub(crate) fn take_seat(&self) -> Option<Seat<'_>> {
        let happened = match self.seat.try_lock() {
            Ok(happened) => happened,
            Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Seat {
            poller: self,
            happened,
        })
    }

    /// Ends the sleep of who has the seat, or else the next one.
    pub(crate) fn ring(&self) {
        self.backend.ring();
    }

    /// The runtime has ended. Who still waits for a socket through it is sent to look elsewhere.
    pub(crate) fn close(&self) {
        // Release pairs with the acquire load in `is_closed`; what comes after stirs whoever has not
        // seen it.
        self.closed.store(true, Release);
        self.sources.stir_all(|woken| {
            woken.each(|rouse| rouse.rouse());
        });
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Acquire)
    }

    pub(crate) fn figures(&self) -> IoFigures {
        let f = &self.figures;
        let unwatched = f.unwatched.load(Relaxed);
        IoFigures {
            backend: self.chosen.0,
            reason: self.chosen.1,
            sockets: f.watched.load(Relaxed).saturating_sub(unwatched),
            waits: f.waits.load(Relaxed),
            looks: f.looks.load(Relaxed),
            events: f.events.load(Relaxed),
            readied: f.readied.load(Relaxed),
            late: f.late.load(Relaxed),
        }
    }
}

/// Adds to a figure that only the holder of the seat writes.
fn add(figure: &AtomicU64, n: u64) {
    figure.store(figure.load(Relaxed) + n, Relaxed);
}

impl Seat<'_> {
    /// Asks the kernel, and waits until it has something, at most so long.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) {
        let figures = &self.poller.figures;
        let looks = timeout.is_some_and(|timeout| timeout.is_zero());
        add(
            if looks {
                &figures.looks
            } else {
                &figures.waits
            },
            1,
        );
        let happened = &mut *self.happened;
        self.poller.backend.wait(timeout, &mut |token, what| {
            if token != Token::BELL {
                happened.push((token, what));
            }
        });
    }

    /// Readies all that the kernel has said something for. Returns how many woke.
    ///
    /// Between two turns of a worker.
    pub(crate) fn serve(mut self) -> u64 {
        let figures = &self.poller.figures;
        let mut readied = 0;
        add(&figures.events, self.happened.len() as u64);
        for at in 0..self.happened.len() {
            let (token, what) = self.happened[at];
            if let Some((ahead, _)) = self.happened.get(at + PREFETCH_AHEAD) {
                self.poller.sources.prefetch(*ahead);
            }
            match self.poller.sources.happened(token, what) {
                Some(woken) => {
                    readied += woken.each(|rouse| rouse.rouse_between_turns(From::Poller));
                }
                None => add(&figures.late, 1),
            }
        }
        self.happened.clear();
        add(&figures.readied, readied);
        readied
    }
}

/// One socket in the poller.
pub(crate) struct Watch {
    poller: Arc<Poller>,
    fd: RawSource,
    token: Token,
}

impl Watch {
    pub(crate) fn source(&self) -> &Source {
        self.poller.sources.of(self.token)
    }

    /// Whether events still come.
    pub(crate) fn is_live(&self) -> bool {
        !self.poller.is_closed()
    }

    /// To be called before a wait for the next event, after the look at the tick.
    pub(crate) fn arm(&self, direction: Direction) -> io::Result<()> {
        self.poller.backend.arm(self.token, direction)
    }

    /// Lets all who wait in the direction look again.
    pub(crate) fn stir(&self, direction: Direction) {
        let woken: Woken = self.source().stir(direction);
        woken.each(|rouse| rouse.rouse());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.poller.backend.unwatch(self.fd, self.token);
        self.poller.sources.give_back(self.token);
        self.poller.figures.unwatched.fetch_add(1, Relaxed);
    }
}

#[cfg(all(test, loom))]
mod model {
    use crate::primitives::{AtomicU32, fence};
    use crate::scheduler::idle::Idle;
    use crate::scheduler::parker::{Parker, Woken};
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;
    use std::sync::atomic::Ordering::{Relaxed, SeqCst};

    /// What a wait in the kernel's poller waits for.
    #[derive(Default)]
    struct Kernel {
        rung: bool,
        event: bool,
    }

    /// Two workers, of which one must serve the one event there is; the shape of `WorkerCore::park`.
    struct World {
        idle: Idle,
        parkers: [Parker; 2],
        /// Work for worker 0 alone.
        inbox: AtomicU32,
        made: AtomicU32,
        over: AtomicU32,
        seat: Mutex<()>,
        kernel: Mutex<Kernel>,
        bell: Condvar,
    }

    impl World {
        fn start(made: bool) -> (Arc<World>, [thread::JoinHandle<()>; 2]) {
            let world = Arc::new(World {
                idle: Idle::new(),
                parkers: [Parker::new(), Parker::new()],
                inbox: AtomicU32::new(0),
                made: AtomicU32::new(u32::from(made)),
                over: AtomicU32::new(0),
                seat: Mutex::new(()),
                kernel: Mutex::default(),
                bell: Condvar::new(),
            });
            let workers = [0, 1].map(|me| {
                let world = world.clone();
                thread::spawn(move || world.run(me))
            });
            (world, workers)
        }

        fn wake(&self, worker: usize) {
            fence(SeqCst);
            if self.idle.claim(worker) {
                self.parkers[worker].wake(false, || {
                    self.kernel.lock().unwrap().rung = true;
                    self.bell.notify_one();
                });
            }
        }

        fn happen(&self) {
            self.kernel.lock().unwrap().event = true;
            self.bell.notify_one();
        }

        fn wait(&self) -> bool {
            let mut kernel = self.kernel.lock().unwrap();
            while !kernel.rung && !kernel.event {
                kernel = self.bell.wait(kernel).unwrap();
            }
            kernel.rung = false;
            std::mem::take(&mut kernel.event)
        }

        fn run(&self, me: usize) {
            while self.over.load(Relaxed) == 0 {
                if me == 0 && self.inbox.load(Relaxed) > 0 {
                    self.inbox.store(0, Relaxed);
                    continue;
                }
                self.park(me);
            }
        }

        fn park(&self, me: usize) {
            self.idle.prepare_park(me, false);
            let stay = self.over.load(Relaxed) != 0 || (me == 0 && self.inbox.load(Relaxed) > 0);
            let mut seat = None;
            let mut event = false;
            let woken = if stay {
                Woken::TimedOut
            } else {
                if self.made.load(Relaxed) != 0 {
                    seat = self.seat.try_lock().ok();
                }
                match seat {
                    Some(_) => self.parkers[me].park_elsewhere(|| event = self.wait()),
                    None => self.parkers[me].park(None),
                }
            };
            if woken == Woken::TimedOut && !self.idle.cancel_park(me) {
                self.parkers[me].take_token();
            }
            drop(seat);
            if event {
                self.over.store(1, Relaxed);
                self.wake(1 - me);
            }
        }
    }

    fn check(model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(model);
    }

    /// An event is served although the worker in the poller is woken for something else meanwhile.
    /// Breaks if whoever sleeps keeps the seat from others (sleeps in its bed with the seat), or never
    /// tries for it again.
    #[test]
    fn somebody_serves_the_event() {
        check(|| {
            let (world, workers) = World::start(true);
            world.inbox.store(1, Relaxed);
            world.wake(0);
            world.happen();
            workers
                .into_iter()
                .for_each(|worker| worker.join().unwrap());
        });
    }

    /// Workers that sleep while the poller is made learn of it. Breaks if they look for it before they
    /// announce their sleep, or if whoever makes it wakes nobody.
    #[test]
    fn a_poller_is_made_while_all_sleep() {
        check(|| {
            let (world, workers) = World::start(false);
            world.made.store(1, Relaxed);
            world.wake(0);
            world.wake(1);
            world.happen();
            workers
                .into_iter()
                .for_each(|worker| worker.join().unwrap());
        });
    }
}
