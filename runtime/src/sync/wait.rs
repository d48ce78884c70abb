//! Sleeping in wait queues: routines by ticket, plain threads by unparking, async tasks by waker.
//!
//! A primitive describes what it would wait for as [`Arm`]s; a [`Group`] of them is entered into
//! their queues under all their locks at once, taken in the order of their addresses, so that no
//! arm can become ready unseen between two of them, and nobody can find a group half entered. A
//! routine is entered by its worker after the switch ([`block`]), with the locks that it took before.

use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::thread::Thread;
use std::time::Duration;

use crate::cancel::{self, Cancelled};
use crate::join;
use crate::routine::life::{CancelLevel, Ticket};
use crate::routine::{Held, RoutineRef, body, waker};
use crate::scheduler::block::{self, Caller, Context, Interrupt};
use crate::scheduler::explore;
use crate::scheduler::threads::{Here, section};
use crate::scheduler::timers::{self, Alarm, NEVER, Registration};
use crate::scheduler::{ready, threads, worker};
use crate::snapshot::{Source, WaitReason};
use crate::sync::lock::Word;
use crate::sync::wait_queue;
use crate::time;

/// One wait of one caller.
pub(crate) type Wait = wait_queue::Wait<Sleeper>;

/// Who sleeps in a wait.
pub(crate) enum Sleeper {
    Routine(RoutineRef, Ticket),
    Thread(Thread),
    Task(Waker),
    /// In the queues ahead of its sleep: nobody has to be woken yet.
    Nobody,
}

/// Wakes a sleeper whose wait is done; to be called once the queue's lock is given back.
#[must_use = "the sleeper would sleep for ever"]
pub(crate) struct Rouse(Roused);

enum Roused {
    /// With a reference if the caller does not keep the routine's runtime alive by itself.
    Routine(RoutineRef, Ticket, Option<Held>),
    Thread(Thread),
    Task(Waker),
    Nobody,
}

impl Sleeper {
    /// What wakes the sleeper even when its frame is gone; for `Claimed::complete`.
    ///
    /// Inlined, as what calls it is: sleepers are handed on in registers, where copies of a value
    /// whose parts were just written would wait for them.
    #[inline(always)]
    pub(crate) fn leave_frame(self) -> Rouse {
        Rouse(match self {
            Sleeper::Routine(routine, ticket) => {
                Roused::Routine(routine, ticket, hold_if_needed(routine))
            }
            Sleeper::Thread(thread) => Roused::Thread(thread),
            Sleeper::Task(waker) => Roused::Task(waker),
            Sleeper::Nobody => Roused::Nobody,
        })
    }
}

/// The routine may end before it is readied: then the ticket finds nothing, or something that looks
/// again. But the block must still be there: a worker of the same runtime keeps it mapped, others hold
/// it.
#[inline]
fn hold_if_needed(routine: RoutineRef) -> Option<Held> {
    let kept = worker::with_core_of(routine.shared(), |core| core.is_some());
    (!kept).then(|| Held::new(routine))
}

impl Rouse {
    /// Wakes the sleeper. Not in scheduler context, and under no lock: a waker is foreign code.
    #[inline(always)]
    pub(crate) fn rouse(self) {
        match self.0 {
            Roused::Routine(routine, ticket, held) => rouse_routine(routine, ticket, held),
            Roused::Thread(thread) => thread.unpark(),
            Roused::Task(waker) => rouse_task(waker),
            Roused::Nobody => {}
        }
    }
}

fn rouse_routine(routine: RoutineRef, ticket: Ticket, held: Option<Held>) {
    ready::ready(routine, ticket, Source::Inbox);
    drop(held);
}

fn rouse_task(waker: Waker) {
    match waker::routine_of(&waker) {
        Some(_) => waker.wake(),
        // Its panic is its own: our caller's part is done.
        None => body::swallow(move || waker.wake()),
    }
}

impl Rouse {
    /// As [`rouse`](Self::rouse), by a worker between two turns: foreign code is left to a routine.
    pub(crate) fn rouse_between_turns(self, source: Source) {
        match self.0 {
            Roused::Routine(routine, ticket, held) => {
                ready::ready(routine, ticket, source);
                drop(held);
            }
            Roused::Thread(thread) => thread.unpark(),
            Roused::Task(waker) => match waker::routine_of(&waker) {
                Some(routine) => waker::notify(routine, source),
                None => crate::spawn::spawn_wake(waker),
            },
            Roused::Nobody => {}
        }
    }
}

/// What an arm says when it is tried.
pub(crate) enum Attempt {
    /// It is done. There may be somebody to wake.
    Done(Option<Rouse>),
    /// It would have to wait.
    Wait,
}

/// One operation that may have to wait in one queue. While it is entered it must not move.
pub(crate) trait Arm {
    /// Names the lock, and what is waited for: the address of either, as long as it is always the same.
    fn lock_address(&self) -> *const ();

    /// The lock under which all else is done.
    fn lock(&self) -> &Word;

    /// Does the operation if that is possible now.
    ///
    /// # Safety
    /// 1. Exclusive: the caller holds the lock, and the arm is not entered.
    unsafe fn attempt(&self) -> Attempt;

    /// Enters the queue.
    ///
    /// # Safety
    /// 1. Exclusive: the caller holds the lock; the arm is not entered; the wait is open and armed.
    /// 2. Alive: arm and wait stay where they are until the arm is out of the queue and the wait, if
    ///    it was claimed, is done.
    unsafe fn enter(&self, wait: &Wait, number: u32);

    /// Leaves the queue, if the arm is still in.
    ///
    /// # Safety
    /// 1. Exclusive: the caller holds the lock.
    unsafe fn leave(&self);

    /// The next moment at which the arm becomes ready by itself, in nanoseconds since process start,
    /// or [`NEVER`].
    ///
    /// # Safety
    /// 1. Exclusive: the caller holds the lock.
    unsafe fn due(&self) -> u64;
}

/// Arms of which one is to be done.
pub(crate) struct Group<'a, A: Arm + ?Sized, const N: usize> {
    arms: [&'a A; N],
    wait: &'a Wait,
    /// Numbers of the arms in the order of their locks' addresses.
    order: [usize; N],
    /// In which order arms are tried.
    preference: [usize; N],
    entered: Cell<bool>,
    rouse: Cell<Option<Rouse>>,
}

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// This arm is done.
    Done(usize),
    /// The deadline has passed.
    TimedOut,
    /// The routine was asked to end, and has not been told before.
    Cancelled,
    /// The routine is panicking: it would have to hold its thread, perhaps for ever.
    Refused,
}

enum Entered {
    /// Done at once, or by a partner before.
    Done,
    /// In the queues; something is due then.
    Waits(u64),
}

impl<'a, A: Arm + ?Sized, const N: usize> Group<'a, A, N> {
    /// `preference` is the order in which arms are tried: a permutation of all numbers.
    pub(crate) fn new(arms: [&'a A; N], wait: &'a Wait, preference: [usize; N]) -> Self {
        let mut order: [usize; N] = std::array::from_fn(|i| i);
        if N > 1 {
            order.sort_unstable_by_key(|&i| arms[i].lock_address());
        }
        Group {
            arms,
            wait,
            order,
            preference,
            entered: Cell::new(false),
            rouse: Cell::new(None),
        }
    }

    /// The arms whose locks are to be taken: each lock once, in order.
    fn locks(&self) -> impl Iterator<Item = &'a A> {
        let address = |at: usize| self.arms[self.order[at]].lock_address();
        (0..N)
            .filter(move |&at| at == 0 || address(at - 1) != address(at))
            .map(|at| self.arms[self.order[at]])
    }

    /// Under all locks: does an arm, or enters all with this sleeper. If they are entered already, only
    /// the sleeper is new.
    fn enter(&self, sleeper: Sleeper, done: &Cell<Option<usize>>) -> (Entered, Option<Sleeper>) {
        self.acquire();
        // SAFETY: 1: we are the waiter, and the locks were taken on the line above; they are given
        // back on the last one.
        unsafe {
            let entered = if self.entered.get() {
                self.enter_again(sleeper)
            } else if self.attempt(done) {
                (Entered::Done, Some(sleeper))
            } else {
                (Entered::Waits(self.enter_first(sleeper)), None)
            };
            self.release();
            entered
        }
    }

    fn acquire(&self) {
        self.locks().for_each(|arm| arm.lock().acquire());
    }

    /// # Safety
    /// 1. Exclusive: the caller holds the locks of all arms.
    unsafe fn release(&self) {
        for arm in self.locks() {
            // SAFETY: 1 by the caller; each once.
            unsafe { arm.lock().release() };
        }
    }

    /// The same in scheduler context, for the routine that took the locks.
    ///
    /// # Safety
    /// 1. Exclusive: as for [`release`](Self::release); the routine has suspended, and the caller acts for it.
    unsafe fn release_after_switch(&self) {
        for arm in self.locks() {
            // SAFETY: 1 by the caller; each once.
            unsafe { arm.lock().release_after_switch() };
        }
    }

    /// Does the first arm that can be done.
    ///
    /// # Safety
    /// 1. Exclusive: the caller holds the locks of all arms, and none is entered.
    unsafe fn attempt(&self, done: &Cell<Option<usize>>) -> bool {
        for &number in &self.preference {
            // SAFETY: 1 by the caller.
            if let Attempt::Done(rouse) = unsafe { self.arms[number].attempt() } {
                self.rouse.set(rouse);
                done.set(Some(number));
                return true;
            }
        }
        false
    }

    /// Enters all arms. Returns when something is due.
    ///
    /// # Safety
    /// 1. Exclusive: the caller holds the locks of all arms, which were tried in vain since they were
    ///    taken, and is the waiter.
    unsafe fn enter_first(&self, sleeper: Sleeper) -> u64 {
        // SAFETY: the locks are ours by 1. The waiter's frame holds arms and wait until `withdraw`
        // has taken all arms out: `sleep`, `Group`'s only user besides the futures, does not return
        // before, and futures are pinned and withdraw when dropped.
        unsafe {
            self.wait.arm(sleeper);
            for (number, arm) in self.arms.iter().enumerate() {
                arm.enter(self.wait, number as u32);
            }
            self.entered.set(true);
            self.due()
        }
    }

    /// Puts a new sleeper in the place of the one before, which it returns, if nobody has claimed the
    /// wait.
    ///
    /// # Safety
    /// 1. Exclusive: the caller holds the locks of all arms, which are entered, and is the waiter.
    unsafe fn enter_again(&self, sleeper: Sleeper) -> (Entered, Option<Sleeper>) {
        if !self.wait.is_open() {
            return (Entered::Done, Some(sleeper));
        }
        // SAFETY: open, and claims need a lock that is ours by 1.
        unsafe {
            let spare = self.wait.disarm();
            self.wait.arm(sleeper);
            (Entered::Waits(self.due()), Some(spare))
        }
    }

    /// The next moment at which an arm becomes ready by itself.
    ///
    /// # Safety
    /// 1. Exclusive: the caller holds the locks of all arms.
    unsafe fn due(&self) -> u64 {
        // SAFETY: 1 by the caller.
        let due = self.arms.iter().map(|arm| unsafe { arm.due() }).min();
        due.unwrap_or(NEVER)
    }

    /// Enters the queues ahead of a [`sleep`], for one who must be in them before it does something else.
    /// Not if an arm can be done at once.
    ///
    /// # Safety
    /// 1. Alive: arms and wait stay where they are until `sleep` or [`step_back`](Self::step_back) was
    ///    called, whatever happens in between.
    pub(crate) unsafe fn step_ahead(&self) {
        let done = Cell::new(None);
        let _ = self.enter(Sleeper::Nobody, &done);
        debug_assert!(done.get().is_none());
    }

    /// Leaves the queues, if the group is still in them.
    pub(crate) fn step_back(&self) {
        self.give_up();
    }

    /// Takes all arms out of their queues. Afterwards the wait is done, or the waiter's alone.
    fn withdraw(&self) {
        if !self.entered.replace(false) {
            return;
        }
        let done = self.wait.done();
        for (number, arm) in self.arms.iter().enumerate() {
            // The partner has taken the arm out through which it came.
            if done != Some(number as u32) {
                arm.lock().acquire();
                // SAFETY: 1: taken on the line above.
                unsafe {
                    arm.leave();
                    arm.lock().release();
                }
            }
        }
    }

    /// The waiter gives up. Returns the arm that was done instead, if a partner was faster.
    fn give_up(&self) -> Option<usize> {
        if !self.entered.get() {
            return None;
        }
        let abandoned = self.wait.abandon();
        self.withdraw();
        if abandoned {
            // SAFETY: abandoned and withdrawn: the wait is ours alone.
            let sleeper = unsafe {
                let sleeper = self.wait.disarm();
                self.wait.reopen();
                sleeper
            };
            drop(sleeper);
            return None;
        }
        let arm = self.wait.done().expect("the claimer's lock was held since");
        Some(arm as usize)
    }

    /// The arm that a partner has done, if it is so; then the arms are withdrawn.
    fn take_done(&self) -> Option<usize> {
        let arm = self.wait.done()?;
        self.withdraw();
        Some(arm as usize)
    }

    fn rouse(&self) {
        if let Some(rouse) = self.rouse.take() {
            rouse.rouse();
        }
    }
}

/// Waits until one of the arms is done, or the deadline has passed: in nanoseconds since process
/// start, or [`NEVER`]. Whatever it returns, and also if it unwinds, no arm is entered afterwards.
///
/// A routine that was told to end unwinds.
pub(crate) fn sleep<A: Arm + ?Sized, const N: usize>(
    group: &Group<'_, A, N>,
    why: WaitReason,
    deadline: u64,
    call: &str,
) -> Woken {
    match block::context() {
        Context::Routine(me) => sleep_in_routine(group, me, why, deadline, None),
        _ => sleep_elsewhere(group, deadline, call),
    }
}

/// As [`sleep`], for a caller that has tried all arms in vain under their locks, which it still holds:
/// they are given back once the arms are entered, or when there is no waiting here.
///
/// # Safety
/// 1. Exclusive: the caller holds the locks of all arms, none of which is entered or can be done.
/// 2. Thread: `caller` is where the caller is.
///
/// Inlined, as is all between a channel's operation and the switch: see
/// [`suspend`](crate::routine::context::suspend).
#[inline(always)]
pub(crate) unsafe fn sleep_held<A: Arm + ?Sized, const N: usize>(
    group: &Group<'_, A, N>,
    caller: Caller,
    why: WaitReason,
    deadline: u64,
    call: &str,
) -> Woken {
    match caller.context {
        Context::Routine(me) => sleep_in_routine(group, me, why, deadline, Some(caller.here)),
        _ => {
            // SAFETY: 1 by the caller.
            unsafe { group.release() };
            sleep_elsewhere(group, deadline, call)
        }
    }
}

/// Where no routine may be suspended.
#[cold]
fn sleep_elsewhere<A: Arm + ?Sized, const N: usize>(
    group: &Group<'_, A, N>,
    deadline: u64,
    call: &str,
) -> Woken {
    match block::context() {
        // Whoever could end the wait may need this very thread. A deadline ends it in any case.
        Context::Panicking(_) if deadline == NEVER => match group.give_up() {
            Some(arm) => Woken::Done(arm),
            None => Woken::Refused,
        },
        Context::Scheduler => {
            group.give_up();
            block::refuse_in_scheduler(call)
        }
        _ => sleep_on_thread(group, deadline),
    }
}

/// `held`: by whom the locks are held, see [`sleep_held`].
///
/// The arms are tried before the routine is suspended, and their locks stay taken over the switch,
/// after which its worker enters it: nothing is between the two but the worker's own code.
#[inline(always)]
fn sleep_in_routine<A: Arm + ?Sized, const N: usize>(
    group: &Group<'_, A, N>,
    me: RoutineRef,
    why: WaitReason,
    deadline: u64,
    mut held: Option<Here>,
) -> Woken {
    let header = me.header();
    let alarm = Alarm::new();
    let object = group.arms.first().map(|arm| arm.lock_address());
    loop {
        let due = Cell::new(deadline);
        header.set_waits_at(object.unwrap_or(std::ptr::null()));
        if group.entered.get() {
            enter_again(group, me, &alarm, why, deadline, &due);
        } else {
            let here = match held.take() {
                Some(here) => here,
                None => {
                    if let Some(arm) = try_arms(group) {
                        return Woken::Done(arm);
                    }
                    Here::find()
                }
            };
            if !section::can_switch(here) {
                // The worker was taken while the thread slept in the kernel. Nobody waits for one with a lock
                // that those need who have one.
                // SAFETY: 1: taken by us or our caller.
                unsafe { group.release() };
                section::regain();
                continue;
            }
            block::block_me(me, why, Interrupt::ByCancel, &mut |routine, ticket| {
                // SAFETY: 1: the locks were taken before the switch, by us or our caller, and all
                // arms were tried in vain; the waiter is suspended, and we act for it.
                let at = unsafe {
                    let at = group.enter_first(Sleeper::Routine(routine, ticket));
                    group.release_after_switch();
                    at
                };
                wake_at(&alarm, routine, ticket, at.min(deadline), &due);
                true
            });
        }
        alarm.clear();
        if let Some(arm) = group.take_done() {
            return Woken::Done(arm);
        }
        let now = if due.get() == NEVER {
            0
        } else {
            time::now_ns()
        };
        let cancelled = header.life.cancel_level() != CancelLevel::None;
        if !cancelled && now < due.get() {
            continue;
        }
        if let Some(arm) = group.give_up() {
            return Woken::Done(arm);
        }
        if cancelled && let Err(Cancelled) = cancel::report_if_asked(me) {
            return Woken::Cancelled;
        }
        if now >= deadline {
            return Woken::TimedOut;
        }
        // An arm was due by itself: the next round tries it.
    }
}

/// Takes the locks and tries the arms. The locks stay taken if that was in vain.
fn try_arms<A: Arm + ?Sized, const N: usize>(group: &Group<'_, A, N>) -> Option<usize> {
    let done = Cell::new(None);
    group.acquire();
    // SAFETY: 1: taken on the line above; our caller has seen that no arm is entered.
    unsafe {
        if group.attempt(&done) {
            group.release();
        }
    }
    // Without the locks: wakers are foreign code.
    group.rouse();
    done.get()
}

/// Blocks the routine once more after it was woken for no reason.
#[cold]
fn enter_again<A: Arm + ?Sized, const N: usize>(
    group: &Group<'_, A, N>,
    me: RoutineRef,
    alarm: &Alarm,
    why: WaitReason,
    deadline: u64,
    due: &Cell<u64>,
) {
    block::block_me(me, why, Interrupt::ByCancel, &mut |routine, ticket| {
        group.acquire();
        // SAFETY: 1: taken on the line above; the waiter is suspended, and we act for it. Spare
        // sleepers are routines, which dropping does nothing to.
        let entered = unsafe {
            let entered = group.enter_again(Sleeper::Routine(routine, ticket)).0;
            group.release();
            entered
        };
        match entered {
            Entered::Done => false,
            Entered::Waits(at) => {
                wake_at(alarm, routine, ticket, at.min(deadline), due);
                true
            }
        }
    });
}

/// In scheduler context: the routine's wait ends at that moment at the latest.
#[inline]
fn wake_at(alarm: &Alarm, routine: RoutineRef, ticket: Ticket, at: u64, due: &Cell<u64>) {
    due.set(at);
    if at != NEVER {
        alarm.set(routine, ticket, at);
    }
}

fn sleep_on_thread<A: Arm + ?Sized, const N: usize>(
    group: &Group<'_, A, N>,
    deadline: u64,
) -> Woken {
    loop {
        let done = Cell::new(None);
        let (entered, spare) = group.enter(Sleeper::Thread(std::thread::current()), &done);
        drop(spare);
        group.rouse();
        let due = match entered {
            Entered::Done => NEVER,
            Entered::Waits(at) => at.min(deadline),
        };
        loop {
            if let Some(arm) = done.get().or_else(|| group.take_done()) {
                return Woken::Done(arm);
            }
            if due == NEVER {
                join::park();
                continue;
            }
            let now = time::now_ns();
            if now >= due {
                break;
            }
            // In a deterministic run a panicking routine comes here: it alone makes time pass.
            if !(explore::is_live() && explore::pass_until(due)) {
                join::park_timeout(Duration::from_nanos(due - now));
            }
        }
        if let Some(arm) = group.give_up() {
            return Woken::Done(arm);
        }
        if due == deadline {
            return Woken::TimedOut;
        }
    }
}

/// What a future keeps of its only arm between polls.
pub(crate) struct TaskState {
    entered: Cell<bool>,
    /// The moment at which the arm becomes ready by itself, and who will tell the task.
    due: RefCell<Option<(u64, Registration)>>,
}

impl TaskState {
    pub(crate) fn new() -> TaskState {
        TaskState {
            entered: Cell::new(false),
            due: RefCell::new(None),
        }
    }

    fn set_due(&self, at: u64, waker: &Waker) {
        let mut due = self.due.borrow_mut();
        let known = due.as_ref();
        if !known.is_some_and(|(known, task)| *known == at && task.wakes(waker)) {
            *due = (at != NEVER).then(|| (at, timers::register(at, waker)));
        }
    }

    /// The arm is out of its queue.
    fn left(&self) {
        self.entered.set(false);
        self.due.take();
    }
}

/// What a poll of a task's only arm found.
pub(crate) enum Polled {
    Done,
    Pending,
}

/// Polls for one arm: does it, or leaves the task's waker. Between polls the arm stays entered; see
/// [`leave_task`].
///
/// # Safety
/// 1. Alive: arm and wait stay where they are until this has returned `Done`, or [`leave_task`] was
///    called. `task` is theirs alone, and new at first.
pub(crate) unsafe fn poll_task<A: Arm>(
    arm: &A,
    wait: &Wait,
    task: &TaskState,
    why: WaitReason,
    cx: &std::task::Context<'_>,
) -> Polled {
    explore::point();
    let group = Group::new([arm], wait, [0]);
    loop {
        group.entered.set(task.entered.get());
        let done = Cell::new(None);
        // Cloned here: a waker is foreign code, which must not run under the lock.
        let (state, spare) = group.enter(Sleeper::Task(cx.waker().clone()), &done);
        task.entered.set(group.entered.get());
        drop(spare);
        group.rouse();
        let due = match state {
            Entered::Done => {
                // Done by a partner, the arm is out already.
                task.left();
                return Polled::Done;
            }
            Entered::Waits(due) => due,
        };
        if due != NEVER && time::now_ns() >= due {
            let faster = group.give_up();
            task.left();
            if faster.is_some() {
                return Polled::Done;
            }
            continue;
        }
        task.set_due(due, cx.waker());
        threads::poll_waits(why);
        return Polled::Pending;
    }
}

/// The task will not be polled again. Returns whether a partner has done the arm before that.
pub(crate) fn leave_task<A: Arm>(arm: &A, wait: &Wait, task: &TaskState) -> bool {
    let group = Group::new([arm], wait, [0]);
    group.entered.set(task.entered.get());
    task.left();
    group.give_up().is_some()
}
